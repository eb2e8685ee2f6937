"""A number of slots that several processes on one machine share, and that a killed process gives back.

Each slot is one byte of a file, and whoever holds the lock on it (``fcntl``) has the slot. The kernel
lets go of the locks of a process that ends, whatever ended it. Further bytes are flags, by which a
process tells the others that it waits for a slot.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

FLAGS = 256
"""The most processes that can say that they wait."""


class Slots:
    """``number`` slots in the file at ``path``, which is made if it is not there."""

    def __init__(self, path: Path, number: int) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._number = number
        self._free = list(range(number))  # not held by this process; the others may hold them
        self._held: list[int] = []
        self._flag: int | None = None

    def take(self, most: int = 1) -> int:
        """Take as many slots as are free, but no more than ``most``; return how many these are."""
        taken = 0
        # The lock of a byte never conflicts within one process, so what is held here is known here.
        for position in range(len(self._free) - 1, -1, -1):
            if taken == most:
                break
            slot = self._free[position]
            if self._lock(slot, 1):
                del self._free[position]
                self._held.append(slot)
                taken += 1
        return taken

    def give_back(self, number: int = 1) -> None:
        """Give back some of the slots that this process holds."""
        for _ in range(number):
            slot = self._held.pop()
            self._unlock(slot, 1)
            self._free.append(slot)

    @property
    def held(self) -> int:
        """The number of slots that this process holds."""
        return len(self._held)

    def want(self, wanted: bool) -> None:
        """Tell the other processes whether this one waits for a slot."""
        if wanted and self._flag is None:
            flags = range(self._number, self._number + FLAGS)
            self._flag = next((flag for flag in flags if self._lock(flag, 1)), None)
        elif not wanted and self._flag is not None:
            self._unlock(self._flag, 1)
            self._flag = None

    def others_want(self) -> bool:
        """Say whether another process waits for a slot."""
        first, end = self._number, self._number + FLAGS
        ranges = [(first, end)] if self._flag is None else [(first, self._flag), (self._flag + 1, end)]
        return any(not self._is_free(start, stop - start) for start, stop in ranges if stop > start)

    def _is_free(self, start: int, length: int) -> bool:
        if not self._lock(start, length):
            return False
        self._unlock(start, length)
        return True

    def _lock(self, start: int, length: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, length, start)
        except OSError:
            return False
        return True

    def _unlock(self, start: int, length: int) -> None:
        fcntl.lockf(self._file, fcntl.LOCK_UN, length, start)

    def close(self) -> None:
        """Give back everything."""
        os.close(self._file)
