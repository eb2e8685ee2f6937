"""Starting the keeper of a folder, and asking it for something."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import anyio.to_thread

from benchhost.errors import SandboxBusy, SandboxError, SandboxUnavailable, SandboxUnsupported
from benchhost.sandbox.alone import PROGRAM
from benchhost.sandbox.local import messages
from benchhost.sandbox.local.keeper import READY
from benchhost.sandbox.local.messages import Closed, Message

STARTS_WITHIN = 20.0
"""Seconds until a keeper must answer."""

ERRORS: dict[str, type[SandboxError]] = {
    "busy": SandboxBusy,
    "unavailable": SandboxUnavailable,
    "unsupported": SandboxUnsupported,
}

KEEPER = "benchhost.sandbox.local.keeper"
LOG = "log"

_host: tuple[socket.socket, socket.socket] | None = None
"""What a keeper hears the end of a host by, whose processes come and go."""


def tie_to_host() -> None:
    """Have a keeper that is started by this process, or one that it forks later, last as long as any of them."""
    global _host  # noqa: PLW0603 - forks have it too, and pass it on to nobody
    _host = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


async def attach(folder: Path, request: Message) -> tuple[socket.socket, Message]:
    """Connect to the keeper of a folder, which is started if there is none, and stay connected.

    Raises :class:`~benchhost.errors.SandboxUnavailable`.
    """
    until = time.monotonic() + STARTS_WITHIN
    while True:
        try:
            connection = await connected(folder)
        except (FileNotFoundError, ConnectionRefusedError):
            await anyio.to_thread.run_sync(_start, folder)
        except OSError as error:
            raise SandboxUnavailable(f"the keeper of the sandboxes in {folder} cannot be reached: {error}") from error
        else:
            try:
                return connection, checked(await _asked(connection, request))
            except Closed:  # it was about to end
                connection.close()
            except BaseException:
                connection.close()
                raise
        if time.monotonic() > until:
            raise SandboxUnavailable(f"the keeper of the sandboxes in {folder} does not answer; see {folder / LOG}")
        await asyncio.sleep(0.02)


async def ask(folder: Path, request: Message) -> Message:
    """Ask the keeper for something, and return its answer.

    Raises :class:`~benchhost.errors.SandboxError`.
    """
    try:
        with await connected(folder) as connection:
            answer = checked(await _asked(connection, request))
            if request["op"] == "create":  # it ends with who hangs up before this, and never knew of it
                messages.send(connection, {"op": "taken", "id": answer["id"]})
            return answer
    except (OSError, Closed) as error:
        raise SandboxUnavailable(f"the keeper of the sandboxes is gone: {error}; see {LOG} in its folder") from error


def checked(answer: Message) -> Message:
    """Return an answer that is no error.

    Raises :class:`~benchhost.errors.SandboxError`.
    """
    if "error" in answer:
        raise ERRORS.get(answer["error"], SandboxUnavailable)(answer["message"])
    return answer


async def connected(folder: Path) -> socket.socket:
    """Connect to who listens in a folder, waiting while too many do.

    Raises ``FileNotFoundError`` and ``ConnectionRefusedError``.
    """
    for wait in (0.001, 0.01, 0.1, 0.5, 1.0, 2.0):
        with contextlib.suppress(BlockingIOError):
            return messages.connect(str(folder))
        await asyncio.sleep(wait)
    return messages.connect(str(folder))


async def received(connection: socket.socket) -> tuple[Message, list[int]]:
    """Wait for a message.

    Raises :class:`~benchhost.sandbox.local.messages.Closed`.
    """
    while True:
        await anyio.wait_readable(connection)
        with contextlib.suppress(BlockingIOError):
            return messages.receive(connection)


async def _asked(connection: socket.socket, request: Message, files: Sequence[int] = ()) -> Message:
    try:
        messages.send(connection, request, files)
    except ConnectionError:
        raise Closed from None
    answer, unwanted = await received(connection)
    for file in unwanted:
        os.close(file)
    return answer


def _start(folder: Path) -> None:
    """Start a keeper and wait until it listens, or another one does."""
    host = [] if _host is None else [_host[1].fileno()]
    command: list[str] = [sys.executable, "-I", "-S", "-X", "utf8", PROGRAM, KEEPER, str(folder.resolve())]
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (folder / LOG).open("ab") as log:
            said = subprocess.run(
                [*command, *map(str, host)],
                check=False,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                env={},
                pass_fds=host,
                timeout=STARTS_WITHIN,
            ).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SandboxUnavailable(f"no keeper of sandboxes can be started: {error}") from error
    if said != READY:
        why = said.decode(errors="replace") or f"see {folder / LOG}"
        raise SandboxUnavailable(f"the keeper of the sandboxes in {folder} has ended: {why}")
