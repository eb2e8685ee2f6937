"""The host's side of one grader process."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import time
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from benchhost.discovery import Entry
from benchhost.errors import GraderDied, PluginFault
from benchhost.evaluation import zygote
from benchhost.evaluation.frames import (
    Alive,
    Answer,
    Call,
    Failed,
    Faulty,
    Frames,
    FromGrader,
    Loaded,
    Note,
    Refused,
)
from benchhost.registry import Description

GRACE = 5.0
"""Seconds that a grader may be silent beyond the deadline of its calls before it is ended."""

Outcome = Answer | Refused | Failed
Tell = Callable[[str], None]


class Zygote:
    """The process that forks graders. It is started by :meth:`open` and ends with :meth:`close`."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    async def open(self) -> None:
        """Start it and learn which plugins are installed.

        Raises :class:`~benchhost.errors.GraderDied` when it cannot be started.
        """
        self._process, self._socket = zygote.start()
        self._socket.setblocking(False)
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._asking = asyncio.Lock()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._socket.fileno(), self._read)
        self.entries = msgspec.msgpack.decode(await self._reply(), type=zygote.Installed).entries

    async def spawn(self, entry: Entry, settings: Mapping[str, Any]) -> tuple[int, socket.socket]:
        """Fork a grader for a plugin; return its process id and the socket to talk to it."""
        ours, theirs = socket.socketpair()
        request = msgspec.msgpack.encode(zygote.Spawn(entry, dict(settings)), enc_hook=str)
        async with self._asking:
            with theirs:
                socket.send_fds(self._socket, [request], [theirs.fileno()])
            try:
                return msgspec.msgpack.decode(await self._reply(), type=int), ours
            except BaseException:
                ours.close()
                raise

    def kill(self, pid: int) -> None:
        """End a grader at once."""
        with contextlib.suppress(OSError):  # then the zygote is gone, and every grader with it
            self._socket.send(msgspec.msgpack.encode(zygote.Kill(pid)))

    async def close(self) -> None:
        """Hang up, which ends every grader that was forked."""
        self._loop.remove_reader(self._socket.fileno())
        self._socket.close()
        await self._loop.run_in_executor(None, self._process.wait)

    async def _reply(self) -> bytes:
        reply = await self._replies.get()
        if not reply:
            self._replies.put_nowait(b"")
            raise GraderDied("the process that starts graders has ended")
        return reply

    def _read(self) -> None:
        try:
            reply = self._socket.recv(zygote.MOST)
        except BlockingIOError:
            return
        except OSError:
            reply = b""
        if not reply:
            self._loop.remove_reader(self._socket.fileno())
        self._replies.put_nowait(reply)


class _Pending:
    __slots__ = ("call", "future", "tell")

    def __init__(self, call: Call, future: asyncio.Future[Outcome], tell: Tell | None) -> None:
        self.call = call
        self.future = future
        self.tell = tell


class GraderProcess:
    """One grader: a plugin, loaded in a process of its own.

    A call's future is given what the grader answers, or :class:`Lost` when it ended before it answered.
    """

    _numbers = itertools.count(1)

    def __init__(self, mother: Zygote, entry: Entry, settings: Mapping[str, Any]) -> None:
        self._mother = mother
        self._entry = entry
        self._settings = settings
        self._pid: int | None = None
        self._outstanding: dict[int, _Pending] = {}
        self._heard = time.monotonic()
        self._blocked = False
        self.retired = False

    async def open(self, timeout: float) -> Description:
        """Fork the process and wait until it has loaded the plugin, at most ``timeout`` seconds.

        Raises :class:`~benchhost.errors.PluginFault`.
        """
        loop = asyncio.get_running_loop()
        self._loading: asyncio.Future[Loaded | Faulty | None] = loop.create_future()
        self._pid, connection = await self._mother.spawn(self._entry, self._settings)
        self._frames: Frames[FromGrader] = Frames(list[FromGrader], self._take, self._lost)
        await loop.create_unix_connection(lambda: self._frames, sock=connection)
        try:
            loaded = await asyncio.wait_for(self._loading, timeout)
        except TimeoutError:
            self.kill()
            raise PluginFault("load-timeout", f"{self._entry} did not finish loading within {timeout:g} s") from None
        if loaded is None:
            raise PluginFault("load-died", f"the process of {self._entry} ended while it was loading")
        if isinstance(loaded, Faulty):
            raise PluginFault(loaded.reason, loaded.cause)
        return loaded.description

    @property
    def outstanding(self) -> int:
        """The number of calls that wait for their answer."""
        return len(self._outstanding)

    def call(
        self, operation: str, dataset: str, task: str, body: bytes, deadline: float, tell: Tell | None = None
    ) -> asyncio.Future[Outcome]:
        """Ask for an operation; ``tell`` is given its messages as they come."""
        number = next(self._numbers)
        call = Call(number, operation, dataset, task, body, deadline)
        future: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        if not self._outstanding:
            self._heard = time.monotonic()
        self._outstanding[number] = _Pending(call, future, tell)
        self._frames.send(call)
        return future

    def check(self) -> None:
        """End the process if it has been silent for longer than its calls may take: then it is blocked."""
        if not self._outstanding:
            return
        allowed = max(pending.call.deadline for pending in self._outstanding.values()) + GRACE
        if time.monotonic() - self._heard > allowed:
            self._blocked = True
            self.kill()

    def retire(self) -> None:
        """Give it no more calls; end it when the last one is answered."""
        self.retired = True
        if not self._outstanding:
            self.kill()

    def kill(self) -> None:
        """End the process at once. What is outstanding is then lost."""
        self.retired = True
        if self._pid is not None:
            self._mother.kill(self._pid)

    def _take(self, messages: list[FromGrader]) -> None:
        self._heard = time.monotonic()
        for message in messages:
            if isinstance(message, (Answer, Refused, Failed)):
                pending = self._outstanding.pop(message.number)
                if isinstance(message, Failed) and message.stuck:
                    self.retired = True  # a hook that cannot be stopped is left behind in it
                if not pending.future.done():
                    pending.future.set_result(message)
            elif isinstance(message, Note):
                if (tell := self._outstanding[message.number].tell) is not None:
                    tell(message.text)
            elif not isinstance(message, Alive) and not self._loading.done():
                self._loading.set_result(message)
        if self.retired and not self._outstanding:
            self.kill()

    def _lost(self) -> None:
        self._pid = None
        self.retired = True
        if not self._loading.done():
            self._loading.set_result(None)
        lost = Lost(alone=len(self._outstanding) == 1, blocked=self._blocked)
        for pending in self._outstanding.values():
            if not pending.future.done():
                pending.future.set_exception(lost)
        self._outstanding.clear()


class Lost(Exception):
    """The grader ended before it answered.

    ``alone`` says that no other call can have been the cause; ``blocked`` that the host ended it, since
    it had been silent for longer than its calls may take.
    """

    def __init__(self, *, alone: bool, blocked: bool) -> None:
        super().__init__("the grader ended before it answered")
        self.alone = alone
        self.blocked = blocked
