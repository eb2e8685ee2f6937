"""Messages between host, keeper and holders: JSON in packets of Unix sockets, with descriptors beside it."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any

Message = dict[str, Any]

MOST_FILES = 4
"""Descriptors that travel with one message."""
MOST_IN_PACKET = 64 * 1024
"""Bytes of a message; a longer one travels as a file in memory."""
MOST = 4 * 1024 * 1024
"""Bytes of the longest message."""

_BESIDE = b"@"
"""In the place of a message that travels as a file."""

NAME = "socket"
"""The name of the socket in the folder of whoever listens there."""


class Closed(Exception):
    """The other side has hung up."""


def listen(folder: int) -> socket.socket:
    """Listen in a folder, which is given by a descriptor: no path is too long for that."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(NAME, dir_fd=folder)
    listener.bind(f"/proc/self/fd/{folder}/{NAME}")
    listener.listen(1024)
    listener.setblocking(False)
    return listener


def connect(folder: str) -> socket.socket:
    """Connect to who listens in a folder. The socket does not block.

    Raises ``FileNotFoundError`` or ``ConnectionRefusedError`` when nobody does, and ``BlockingIOError`` when too
    many wait to be answered.
    """
    place = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.setblocking(False)
        try:
            connection.connect(f"/proc/self/fd/{place}/{NAME}")
        except BaseException:
            connection.close()
            raise
    finally:
        os.close(place)
    return connection


def send(connection: socket.socket, message: Message, files: Sequence[int] = ()) -> None:
    """Send a message with descriptors, which stay open here.

    Raises ``OSError``, among others for a message that is too long.
    """
    data = json.dumps(message, separators=(",", ":")).encode("utf-8", "surrogateescape")
    if len(data) <= MOST_IN_PACKET:
        socket.send_fds(connection, [data], list(files))
        return
    if len(data) > MOST:
        raise OSError(90, f"a message of {len(data)} bytes is too long")
    body = os.memfd_create("message")
    try:
        with open(body, "wb", closefd=False) as file:
            file.write(data)
        socket.send_fds(connection, [_BESIDE], [body, *files])
    finally:
        os.close(body)


def receive(connection: socket.socket) -> tuple[Message, list[int]]:
    """Receive a message and its descriptors, which are the receiver's to close.

    Raises :class:`Closed`, ``ValueError`` for what is no message, and ``BlockingIOError`` when there is none.
    """
    try:
        data, files, _, _ = socket.recv_fds(connection, MOST_IN_PACKET, MOST_FILES)
    except ConnectionError:
        raise Closed from None
    if not data:
        raise Closed
    try:
        if data == _BESIDE and files:
            body = files.pop(0)
            try:
                data = os.pread(body, MOST, 0)
            finally:
                os.close(body)
        message = json.loads(data.decode("utf-8", "surrogateescape"))
        if not isinstance(message, dict):
            raise ValueError("a message is an object")  # noqa: TRY004 - like what is no JSON
    except BaseException:
        for file in files:
            os.close(file)
        raise
    return message, files
