"""Landlock: a process renounces, for good, what lies outside of the paths it names. No privilege is needed.

The rules are those of the kernel's documentation (Documentation/userspace-api/landlock.rst); its numbers are the
same on every machine.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Iterable

from benchhost.sandbox.local.kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION = 1
_PATH_BENEATH = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_MAKE_CHAR, _MAKE_BLOCK = 1 << 6, 1 << 11
_TRUNCATE = 1 << 14
_IOCTL_DEV = 1 << 15
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE | _IOCTL_DEV

_RIGHTS = {1: 13, 2: 14, 3: 15, 4: 15}
"""How many rights to files there are, by version of the interface; 16 from 5 on."""
_TCP = 0b11
"""To bind, and to connect."""
_SCOPES = 0b11
"""Abstract Unix sockets, and signals."""

SIGNALS_SINCE = 6
"""The version of the interface that keeps signals, and abstract sockets, inside."""


def version() -> int:
    """Return the version of the kernel's interface; 0 where there is none."""
    try:
        return syscall(_CREATE_RULESET, None, 0, _VERSION)
    except OSError:
        return 0


def restrict(read: Iterable[str], write: Iterable[str], devices: Iterable[str] = ()) -> None:
    """Renounce all files but those below the given paths, all of TCP, and signals to whoever is not inside.

    What is below ``read`` may be read and executed, what is below ``write`` may be used in every way but to make
    devices, and ``devices`` may be read and written. Paths that are not there are left out. Processes that are
    started later are inside too. Needs :func:`kernel.refuse_new_privileges`.
    """
    supported = version()
    files = (1 << _RIGHTS.get(supported, 16)) - 1
    rules = struct.pack("=QQQ", files, _TCP if supported >= 4 else 0, _SCOPES if supported >= SIGNALS_SINCE else 0)
    size = 24 if supported >= SIGNALS_SINCE else 16 if supported >= 4 else 8
    ruleset = syscall(_CREATE_RULESET, rules, size, 0)
    try:
        for paths, rights in (
            (read, _EXECUTE | _READ_FILE | _READ_DIR),
            (write, files & ~(_MAKE_CHAR | _MAKE_BLOCK)),
            (devices, _READ_FILE | _WRITE_FILE | _IOCTL_DEV),
        ):
            for path in paths:
                _allow(ruleset, path, rights & files)
        syscall(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(place).st_mode):
            rights &= _OF_FILES
        syscall(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, place), 0)
    finally:
        os.close(place)
