"""A command in a sandbox, as the host hears it: its outputs are pipes, and how it ends is a message."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import select
import socket
import time
from collections.abc import AsyncIterator

import anyio

from benchhost.contract import Exited, ExitReason, Output, Process, Stderr, Stdout
from benchhost.sandbox.local import messages
from benchhost.sandbox.local.messages import Closed, Message

CHUNK = 64 * 1024
"""Bytes that are read at once."""

ENDS_WITHIN = 15.0
"""Seconds after its deadline, or after it was told to end, by which a command has ended, or is taken for gone."""


class Pipes:
    """The three ends of a command that the sandbox is given, and the two that are kept."""

    def __init__(self, stdin: bytes) -> None:
        self._opened: set[int] = set()
        try:
            self.out, their_out = self._pipe()
            self.err, their_err = self._pipe()
            their_in = _readable(stdin)
        except BaseException:  # there are no descriptors left, say
            self.close()
            raise
        self._opened.add(their_in)
        self.theirs = their_in, their_out, their_err
        """What the command gets: its input, output and error output."""

    def _pipe(self) -> tuple[int, int]:
        ours, theirs = os.pipe2(os.O_CLOEXEC)
        self._opened |= {ours, theirs}
        os.set_blocking(ours, False)
        return ours, theirs

    def give_away(self) -> None:
        """Close what the command has got by now."""
        self._close(self._opened.intersection(self.theirs))

    def close(self) -> None:
        """Close what is still open."""
        self._close(self._opened)

    def _close(self, files: set[int]) -> None:
        for file in files:
            os.close(file)
        self._opened = self._opened - files


def _readable(data: bytes) -> int:
    """Open something that has the bytes to be read, which nobody can change."""
    if not data:
        return os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
    file = os.memfd_create("stdin", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        with open(file, "wb", closefd=False) as writing:
            writing.write(data)
        fcntl.fcntl(file, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK)
        os.lseek(file, 0, os.SEEK_SET)
    except BaseException:
        os.close(file)
        raise
    return file


class LocalProcess(Process):
    """A command that runs; :meth:`close` ends it if it still does.

    It is ``lost`` when its holder did not end it when it had to: then nothing in the sandbox can be relied upon.
    """

    def __init__(self, connection: socket.socket, pipes: Pipes, timeout: float | None, max_output: int) -> None:
        self._connection = connection
        self._pipes = pipes
        self._left = max_output
        self._began = time.monotonic()
        self._ends = None if timeout is None else self._began + timeout + ENDS_WITHIN
        self._reason: ExitReason | None = None
        self._exited: Exited | None = None
        self._dropped = 0
        self.lost = False
        self._epoll = select.epoll()
        for file in (connection.fileno(), pipes.out, pipes.err):
            self._epoll.register(file, select.EPOLLIN)

    async def __aiter__(self) -> AsyncIterator[Output]:
        kinds: dict[int, type[Stdout | Stderr]] = {self._pipes.out: Stdout, self._pipes.err: Stderr}
        ended: Message | None = None
        while ended is None:
            await self._wait()
            if self._ends is not None and time.monotonic() > self._ends:
                self.lost = True
                break
            for file, _ in self._epoll.poll(0):
                if file == self._connection.fileno():
                    ended = self._heard()
                elif data := self._read(file):
                    yield kinds[file](data)
        if ended is not None:
            for file, kind in kinds.items():  # what it wrote before it ended is there by now
                while data := self._read(file):
                    yield kind(data)
        self._exited = self._end(ended or {})
        yield self._exited

    async def kill(self) -> None:
        self._stop("cancelled")

    async def close(self) -> None:
        """End it, if it has not ended, and wait for that; then forget it."""
        try:
            if self._exited is None:
                self._stop("cancelled")
                with anyio.move_on_after(ENDS_WITHIN, shield=True) as waiting:
                    await self._wait_for_end()
                self.lost = waiting.cancelled_caught
        finally:
            self._epoll.close()
            self._pipes.close()
            self._connection.close()

    async def _wait_for_end(self) -> None:
        while self._heard() is None:
            await anyio.wait_readable(self._connection)

    async def _wait(self) -> None:
        if self._ends is None:
            await anyio.wait_readable(self._epoll.fileno())
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._ends - time.monotonic()):
                await anyio.wait_readable(self._epoll.fileno())

    def _read(self, file: int) -> bytes:
        """Read what is there, up to the limit of all output; beyond it, the command is told to end."""
        try:
            data = os.read(file, CHUNK)
        except BlockingIOError:
            return b""
        if not data:
            with contextlib.suppress(FileNotFoundError):
                self._epoll.unregister(file)
            return b""
        passed, self._left = data[: self._left], max(0, self._left - len(data))
        if len(passed) < len(data):
            self._dropped += len(data) - len(passed)
            self._stop("output_limit")
        return passed

    def _stop(self, reason: ExitReason) -> None:
        if self._reason is None:
            self._reason = reason
            self._ends = time.monotonic() + ENDS_WITHIN
            with contextlib.suppress(OSError):  # it has ended
                messages.send(self._connection, {"op": "kill", "reason": reason})

    def _heard(self) -> Message | None:
        """Hear what the holder says: nothing yet, or how the command has ended."""
        try:
            said, files = messages.receive(self._connection)
        except BlockingIOError:
            return None
        except Closed:
            self._reason = self._reason or "sandbox_gone"
            return {}
        for file in files:
            os.close(file)
        if "ending" in said:
            self._reason = self._reason or said["ending"]
            return None
        return said

    def _end(self, said: Message) -> Exited:
        code = said.get("code")
        reason: ExitReason = "sandbox_gone" if code is None else "exited" if code >= 0 else "signal"
        return Exited(
            code=code,
            reason=self._reason or reason,
            seconds=time.monotonic() - self._began,
            dropped=self._dropped,
            peak_memory=said.get("peak"),
        )
