"""Which processes are judging, and whether one that was is still alive.

An evaluation that is recorded as running belongs to the process that runs it. Each such process holds
a lock on a file of its own, which the kernel lets go when the process ends, whatever ended it; so
anybody can tell an evaluation that is running from one whose process was killed.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import uuid
from pathlib import Path

from benchhost.errors import StoreFailed
from benchhost.log import get_logger

_log = get_logger()


class Owner:
    """This process, as the owner of what it judges. ``folder`` is shared by all processes of the host.

    Raises :class:`~benchhost.errors.StoreFailed` when its file cannot be made.
    """

    def __init__(self, folder: Path) -> None:
        self.id = uuid.uuid4().hex
        self._folder = folder
        self._path = folder / self.id
        self._file = self._lock()

    def hold(self) -> None:
        """Make sure that others see that this process is alive: before it claims what it is to judge.

        Whoever tidies up the folder may have removed the file, and the lock with it; then it is made again.
        Raises :class:`~benchhost.errors.StoreFailed` when it cannot be made.
        """
        if not self._is_ours(self._file):
            _log.warning("the lock file of a running host was removed; it is made again", path=str(self._path))
            os.close(self._file)
            self._file = self._lock()

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

    def sweep(self) -> None:
        """Remove the files of all owners that are gone."""
        for path in self._folder.iterdir():
            if path.is_file():
                self.is_alive(path.name)

    def folder(self, parent: Path) -> Path:
        """Make a folder for files of this process alone, and remove those that processes left which are gone.

        ``parent`` is shared by all processes of the host.
        """
        parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        for path in parent.iterdir():
            if not self.is_alive(path.name):
                shutil.rmtree(path, ignore_errors=True)
        own = parent / self.id
        own.mkdir(mode=0o700, exist_ok=True)
        return own

    def close(self) -> None:
        """Stop being an owner."""
        self._path.unlink(missing_ok=True)
        os.close(self._file)

    def _lock(self) -> int:
        try:
            while True:
                self._folder.mkdir(parents=True, exist_ok=True)
                file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                fcntl.flock(file, fcntl.LOCK_EX)
                if self._is_ours(file):
                    return file
                os.close(file)  # another process has swept it away before it was locked
        except OSError as error:
            raise StoreFailed(f"the lock file {self._path} cannot be made: {error}") from error

    def _is_ours(self, file: int) -> bool:
        """Say whether it is the file that others find under the name of this process."""
        try:
            return os.path.samestat(os.fstat(file), self._path.stat())
        except FileNotFoundError:
            return False
