"""Which processes are judging, and whether one that was is still alive.

An evaluation that is recorded as running belongs to the process that runs it. Each such process holds
a lock on a file of its own, which the kernel lets go when the process ends, whatever ended it; so
anybody can tell an evaluation that is running from one whose process was killed.
"""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path


class Owner:
    """This process, as the owner of what it judges. ``folder`` is shared by all processes of the host."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.id = uuid.uuid4().hex
        self._folder = folder
        self._path = folder / self.id
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._file, fcntl.LOCK_EX)

    def is_alive(self, owner: str) -> bool:
        """Say whether the process of an owner still runs. The file of one that does not is removed."""
        if owner == self.id:
            return True
        path = self._folder / owner
        try:
            file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        else:
            path.unlink(missing_ok=True)
            return False
        finally:
            os.close(file)

    def close(self) -> None:
        """Stop being an owner."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)
