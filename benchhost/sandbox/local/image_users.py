"""Who an image says that its processes are: looked up in the image, of which nothing is believed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from benchhost.errors import ImageUnavailable
from benchhost.sandbox.local import mounts

MOST = 1024 * 1024
"""Bytes of ``/etc/passwd`` or ``/etc/group`` that are read."""

_HIGHEST = 2**31 - 1


class ImageUser(msgspec.Struct, frozen=True):
    """A user in a sandbox: numbers, the ``name`` that goes with them, and a home."""

    user: int
    group: int
    name: str
    home: str


ROOT = ImageUser(0, 0, "root", "/root")
"""Who runs in a sandbox whose image names nobody."""


def find_user(root: Path, said: str | None) -> ImageUser:
    """Find whom an image names, as ``user`` or ``user:group``, each a name or a number.

    A user that is only a number need not be known there; its group is 0 then, and its home ``/``.
    Raises :class:`~benchhost.errors.ImageUnavailable`.
    """
    named, _, of_group = (said or "").partition(":")
    user = ROOT if not named else _user(root, named)
    if not of_group:
        return user
    return msgspec.structs.replace(user, group=_group(root, of_group))


def _user(root: Path, named: str) -> ImageUser:
    for name, _, user, group, _, home, *_ in _lines(root, "etc/passwd", 7):
        if named in (name, user) and user.isdecimal() and group.isdecimal():
            return ImageUser(_number(user, named), _number(group, named), name, home or "/")
    if not named.isdecimal():
        raise ImageUnavailable(f"the image says that its user is {named!r}, whom its /etc/passwd does not name")
    return ImageUser(_number(named, named), 0, named, "/")


def _group(root: Path, named: str) -> int:
    for name, _, group, *_ in _lines(root, "etc/group", 4):
        if named == name and group.isdecimal():
            return _number(group, named)
    if not named.isdecimal():
        raise ImageUnavailable(f"the image says that its group is {named!r}, which its /etc/group does not name")
    return _number(named, named)


def _number(text: str, named: str) -> int:
    if len(text) > len(str(_HIGHEST)) or int(text) > _HIGHEST:
        raise ImageUnavailable(f"the image names {named!r}, whose number is none that a user or group may have")
    return int(text)


def _lines(root: Path, path: str, fields: int) -> Iterator[list[str]]:
    """Read a table of an image, through no link: one may lead to the same file of this machine."""
    with contextlib.suppress(OSError):
        place = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            file = mounts.open_inside(place, path, os.O_RDONLY | os.O_NONBLOCK)
        finally:
            os.close(place)
        with open(file, "rb") as table:
            said = table.read(MOST).decode("utf-8", "replace")
        yield from (found for line in said.splitlines() if len(found := line.split(":")) >= fields)
