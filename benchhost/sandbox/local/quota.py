"""How much memory and disk a sandbox uses, measured from outside, where the kernel does not count it for us."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from benchhost.sandbox.local.execution import descendants

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BLOCK = 512


def memory_of_machine() -> int:
    """Return the memory of this machine in bytes."""
    return os.sysconf("SC_PHYS_PAGES") * _PAGE


def is_active(holder: int) -> bool:
    """Say whether anything runs in a sandbox beside its holder."""
    try:
        with open(f"/proc/{holder}/task/{holder}/children", "rb") as file:
            return bool(file.read(1))
    except OSError:
        return False


def memory_used(holder: int, most: int) -> tuple[int, int]:
    """Return how many processes a sandbox has, and the bytes of memory that they use.

    What they share is counted for each of them at first, and only once when that would be more than ``most``.
    """
    processes = descendants(holder)
    used = sum(_resident(pid) for pid in processes)
    return len(processes), used if used <= most else sum(_proportional(pid) for pid in processes)


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm", "rb") as file:
            return int(file.read().split()[1]) * _PAGE
    except OSError:
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                if line.startswith(b"Pss:"):
                    return int(line.split()[1]) * 1024
    except PermissionError:
        return _resident(pid)
    except OSError:
        pass
    return 0


def disk_used(folder: str, holder: int, most: int) -> int:
    """Return the bytes that lie in a folder which nobody trusts, or more than ``most`` as soon as there are more.

    Files that have been removed and are still open in the sandbox count as well, wherever they lay: an overlay does
    not say which disk is below. Only what lies in no file system is none of it. No link is followed.
    """
    nowhere = _device_of_nowhere()
    used = 0
    for size in _sizes(folder):
        used += size
        if used > most:
            return used
    for pid in descendants(holder):
        with contextlib.suppress(OSError):
            for name in os.listdir(f"/proc/{pid}/fd"):
                with contextlib.suppress(OSError):
                    status = os.stat(f"/proc/{pid}/fd/{name}")
                    if status.st_nlink == 0 and stat.S_ISREG(status.st_mode) and status.st_dev != nowhere:
                        used += status.st_blocks * _BLOCK
    return used


def _device_of_nowhere() -> int:
    """Return what the kernel says of files in memory that lie in no directory, such as the input of a command."""
    file = os.memfd_create("nowhere", os.MFD_CLOEXEC)
    try:
        return os.fstat(file).st_dev
    finally:
        os.close(file)


def _sizes(folder: str) -> Iterator[int]:
    left = [os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)]
    try:
        while left:
            here = left.pop()
            with contextlib.suppress(OSError):
                yield from _sizes_here(here, left)
            os.close(here)
    finally:
        for each in left:
            os.close(each)


def _sizes_here(here: int, left: list[int]) -> Iterator[int]:
    with os.scandir(here) as entries:
        for entry in entries:
            with contextlib.suppress(OSError):
                status = entry.stat(follow_symlinks=False)
                yield status.st_blocks * _BLOCK
                if stat.S_ISDIR(status.st_mode):
                    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
                    left.append(os.open(entry.name, flags, dir_fd=here))
