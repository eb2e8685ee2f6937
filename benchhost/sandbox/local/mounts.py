"""Mounts made by descriptor: a mount is first made detached, then attached to a directory that is held open.

No path is resolved at the moment of mounting, so that nothing which lies in a sandbox's root, a planted symbolic
link above all, decides where a mount goes. Needs Linux 5.12; its numbers are the same on every machine.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Mapping

from benchhost.sandbox.local import kernel
from benchhost.sandbox.local.kernel import syscall

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT, _OPENAT2, _MOUNT_SETATTR = 428, 429, 430, 431, 432, 437, 442

_AT_FDCWD = -100
_AT_EMPTY_PATH = 0x1000
_AT_RECURSIVE = 0x8000
_OPEN_TREE_CLONE = 1
_BOTH_BY_DESCRIPTOR = 0x4 | 0x40  # MOVE_MOUNT_F_EMPTY_PATH, MOVE_MOUNT_T_EMPTY_PATH
_FSOPEN_CLOEXEC = _FSMOUNT_CLOEXEC = 1
_SET_FLAG, _SET_STRING, _CREATE = 0, 1, 6

READ_ONLY = 0x1
NO_SETUID = 0x2
NO_DEVICES = 0x4
NO_PROGRAMS = 0x8
_IDMAP = 0x0010_0000
_PRIVATE = 1 << 18

_mount, _target = kernel.Word(), kernel.Word()
_ATTACH = kernel.prepare(_MOVE_MOUNT, _mount, b"", _target, b"", _BOTH_BY_DESCRIPTOR)

_NO_MAGICLINKS, _NO_SYMLINKS, _IN_ROOT = 0x02, 0x04, 0x10


def open_inside(root: int, path: str, flags: int = os.O_PATH) -> int:
    """Open what lies at ``path`` below the directory ``root``, through no symbolic link and never outside of it."""
    how = struct.pack("=QQQ", flags | os.O_CLOEXEC, 0, _IN_ROOT | _NO_SYMLINKS | _NO_MAGICLINKS)
    return syscall(_OPENAT2, root, path.lstrip("/").encode() or b".", how, len(how))


def make_private() -> None:
    """Have no mount of this namespace appear elsewhere, nor one from elsewhere here."""
    attributes = struct.pack("=QQQQ", 0, 0, _PRIVATE, 0)
    syscall(_MOUNT_SETATTR, _AT_FDCWD, b"/", _AT_RECURSIVE, attributes, len(attributes))


def copy(path: str) -> int:
    """Return a detached copy of what is mounted at and below ``path``, to be attached elsewhere (a bind mount)."""
    return syscall(_OPEN_TREE, _AT_FDCWD, os.fsencode(path), _OPEN_TREE_CLONE | _AT_RECURSIVE | os.O_CLOEXEC)


class Recipe:
    """How to make a filesystem: a ``tmpfs``, ``proc``, ``devpts`` or ``overlay``.

    An option whose value is ``None`` is one that is just set. All that can be done before it is made is done at once
    (:func:`~benchhost.sandbox.local.kernel.prepare`).
    """

    def __init__(self, kind: str, options: Mapping[str, str | None] = {}, attributes: int = 0) -> None:
        context = self._context = kernel.Word()
        self._open = kernel.prepare(_FSOPEN, kind.encode(), _FSOPEN_CLOEXEC)
        self._configure = [
            kernel.prepare(_FSCONFIG, context, _SET_FLAG, key.encode(), None, 0)
            if value is None
            else kernel.prepare(_FSCONFIG, context, _SET_STRING, key.encode(), os.fsencode(value), 0)
            for key, value in options.items()
        ]
        self._configure.append(kernel.prepare(_FSCONFIG, context, _CREATE, None, None, 0))
        self._mount = kernel.prepare(_FSMOUNT, context, _FSMOUNT_CLOEXEC, attributes)

    def make(self) -> int:
        """Return a new, detached filesystem."""
        context = self._context.value = kernel.make(self._open)
        try:
            for call in self._configure:
                kernel.make(call)
            return kernel.make(self._mount)
        finally:
            os.close(context)


def fresh(kind: str, options: Mapping[str, str | None] = {}, attributes: int = 0) -> int:
    """Return a new, detached filesystem (see :class:`Recipe`)."""
    return Recipe(kind, options, attributes).make()


def restrict(mount: int, attributes: int, *, recursive: bool = True) -> None:
    """Set attributes of a mount, and of those below it, such as ``READ_ONLY``."""
    packed = struct.pack("=QQQQ", attributes, 0, 0, 0)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    syscall(_MOUNT_SETATTR, mount, b"", flags, packed, len(packed))


def shift_ids(mount: int, namespace: int) -> None:
    """Have the files of a detached mount belong to whom a namespace of users (an open descriptor) says they do."""
    packed = struct.pack("=QQQQ", _IDMAP, 0, 0, namespace)
    syscall(_MOUNT_SETATTR, mount, b"", _AT_EMPTY_PATH, packed, len(packed))


def attach(mount: int, target: int) -> None:
    """Attach a detached mount to an open directory or file, and close both."""
    _mount.value, _target.value = mount, target
    try:
        kernel.make(_ATTACH)
    finally:
        os.close(mount)
        os.close(target)


def detach(path: str) -> None:
    """Let go of a mount, as soon as nobody uses it any more."""
    if ctypes.CDLL(None, use_errno=True).umount2(os.fsencode(path), 2) < 0:  # MNT_DETACH
        failure = ctypes.get_errno()
        raise OSError(failure, os.strerror(failure), path)
