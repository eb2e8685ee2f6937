"""Files and sockets of a sandbox, as its holder opens them: every path and port is one of there."""

from __future__ import annotations

import contextlib
import os
import socket
import stat
from collections.abc import Iterator
from typing import Any

from benchhost.sandbox.local.messages import Message

ENTRIES_AT_ONCE = 500
"""Entries of a directory in one message."""

_ODD = os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK
"""Nothing is waited for: a pipe, or a device, may lie where a file is expected."""


def do(request: Message) -> Iterator[tuple[Message, int | None]]:
    """Do what is asked for; yield answers, the last one without ``more``, each perhaps with a descriptor to pass on.

    Raises ``OSError``.
    """
    path = str(request.get("path", ""))
    match request["op"]:
        case "read":
            follow = 0 if request.get("follow", True) else os.O_NOFOLLOW
            yield {}, os.open(path, os.O_RDONLY | follow | _ODD)
        case "write":
            os.makedirs(os.path.dirname(path), exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _ODD, 0o600)
            with contextlib.suppress(PermissionError):  # it was there, and is somebody else's
                os.fchmod(file, request["mode"])
            yield {}, file
        case "mkdir":
            os.makedirs(path, exist_ok=True)
            with contextlib.suppress(PermissionError):
                os.chmod(path, request["mode"])
            yield {}, None
        case "symlink":
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
            os.symlink(request["to"], path)
            yield {}, None
        case "listen":
            yield {}, _listening(request["port"])
        case "look":
            yield {"entry": _described(path, os.stat(path))}, None
        case "list":
            yield from _listed(path)
        case other:
            raise OSError(22, f"nothing is called {other}")


def _listening(port: int) -> int:
    """Listen on the loopback of the sandbox, which only what is inside can reach."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(128)
        return listener.detach()
    finally:
        listener.close()


def _listed(path: str) -> Iterator[tuple[Message, None]]:
    entries: list[Message] = []
    with os.scandir(path) as found:
        for each in found:
            with contextlib.suppress(OSError):  # it has gone meanwhile
                entries.append(_described(each.path, each.stat(follow_symlinks=False)))
            if len(entries) == ENTRIES_AT_ONCE:
                yield {"entries": entries, "more": True}, None
                entries = []
    yield {"entries": entries}, None


def _described(path: str, status: os.stat_result) -> Message:
    kind = {stat.S_IFREG: "file", stat.S_IFDIR: "folder", stat.S_IFLNK: "link"}.get(
        stat.S_IFMT(status.st_mode), "other"
    )
    entry: dict[str, Any] = {
        "name": os.path.basename(path),
        "kind": kind,
        "mode": stat.S_IMODE(status.st_mode),
        "size": status.st_size,
    }
    if kind == "link":
        entry["to"] = os.readlink(path)
    return entry
