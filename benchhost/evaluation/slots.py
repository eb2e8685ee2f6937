"""A number of slots that several processes on one machine share, and that a killed process gives back.

Each slot is one byte of a file, and whoever holds the lock on it (``fcntl``) has the slot. The kernel
lets go of the locks of a process that ends, whatever ended it.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class Slots:
    """``number`` slots in the file at ``path``, which is made if it is not there."""

    def __init__(self, path: Path, number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._number = number
        self._free = list(range(number))  # not held by this process; the others may hold them
        self._held: list[int] = []

    def take(self) -> bool:
        """Take a slot, if one is free."""
        # The lock of a byte never conflicts within one process, so what is held here is known here.
        for position in range(len(self._free) - 1, -1, -1):
            slot = self._free[position]
            try:
                fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError:
                continue
            del self._free[position]
            self._held.append(slot)
            return True
        return False

    def give_back(self) -> None:
        """Give back one of the slots that this process holds."""
        slot = self._held.pop()
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, slot)
        self._free.append(slot)

    def close(self) -> None:
        """Give back everything."""
        os.close(self._file)
