"""The host's side of one grader process."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

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
    Load,
    Loaded,
    Note,
    Refused,
    State,
)
from benchhost.evaluation.outcomes import Lost, Said
from benchhost.registry import Description

GRACE = 5.0
"""Seconds that a grader may be silent beyond the deadline of its calls before it is ended."""

SILENCE = 2.0
"""Seconds after which a grader that works and says nothing is given no more calls if another one can be had."""

Tell = Callable[[Note | State], None]
"""What is given whatever a hook says before its answer."""


class Plugin(msgspec.Struct, frozen=True):
    """What a grader is to load: an entry with the operator's settings, and the secret that digests are keyed with."""

    entry: Entry
    settings: Mapping[str, Any]
    key: bytes


class Zygote:
    """The process that forks graders. It is started by :meth:`open` and ends with :meth:`close`.

    When it ends although it should not, and its graders with it, the next :meth:`spawn` starts another.
    """

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self._process: subprocess.Popen[bytes] | None = None
        self._asking = asyncio.Lock()
        self._closed = False

    async def open(self) -> None:
        """Start it and learn which plugins are installed.

        Raises :class:`~benchhost.errors.GraderDied` when it cannot be started.
        """
        self.entries = await self._begin()

    async def spawn(self) -> tuple[int, socket.socket]:
        """Fork a grader; return the process id of its watcher, by which it is ended, and the socket to talk to it.

        Raises :class:`~benchhost.errors.GraderDied`.
        """
        # Whoever waits may be cancelled; the reply must be read all the same, since the next one is not for us.
        spawning = asyncio.ensure_future(self._spawn())
        try:
            return await asyncio.shield(spawning)
        except asyncio.CancelledError:
            spawning.add_done_callback(_hang_up)
            raise

    def kill(self, pid: int) -> None:
        """End a grader at once, and all that its hooks have started."""
        with contextlib.suppress(OSError):  # then the zygote is gone, and every grader with it
            self._socket.send(msgspec.msgpack.encode(zygote.Kill(pid)))

    async def close(self) -> None:
        """Hang up, which ends every grader that was forked."""
        self._closed = True
        async with self._asking:
            await self._end()

    async def _begin(self) -> list[Entry]:
        self._loop = asyncio.get_running_loop()
        try:
            self._process, self._socket = zygote.start()
        except OSError as error:
            raise GraderDied(f"the process that starts graders could not be started: {error}") from error
        self._socket.setblocking(False)
        self._ended = False
        self._replies: asyncio.Queue[bytes] = asyncio.Queue()
        self._loop.add_reader(self._socket.fileno(), self._read)
        return msgspec.msgpack.decode(await self._reply(), type=zygote.Installed).entries

    async def _end(self) -> None:
        if self._process is not None:
            process, self._process = self._process, None
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            await self._loop.run_in_executor(None, process.wait)

    async def _spawn(self) -> tuple[int, socket.socket]:
        async with self._asking:
            if self._closed:
                raise GraderDied("the benchmark is no longer served, so no grader of it is started")
            if self._process is None or self._ended:
                await self._end()
                await self._begin()
            try:
                ours, theirs = socket.socketpair()
            except OSError as error:
                raise GraderDied(f"no grader could be started: {error}") from error
            try:
                with theirs:
                    socket.send_fds(self._socket, [msgspec.msgpack.encode(zygote.Spawn())], [theirs.fileno()])
                forked = msgspec.msgpack.decode(await self._reply(), type=int | str)
                if isinstance(forked, str):
                    raise GraderDied(f"no grader could be started: {forked}")
            except OSError as error:
                ours.close()
                raise GraderDied(f"the process that starts graders cannot be reached: {error}") from error
            except BaseException:
                ours.close()
                raise
            return forked, ours

    async def _reply(self) -> bytes:
        reply = await self._replies.get()
        if not reply:
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
            self._ended = True
            self._loop.remove_reader(self._socket.fileno())
        self._replies.put_nowait(reply)


def _hang_up(spawning: asyncio.Future[tuple[int, socket.socket]]) -> None:
    """Let a grader go that nobody waits for any more."""
    if not spawning.cancelled() and spawning.exception() is None:
        spawning.result()[1].close()


class Promise(Protocol):
    """Who waits for what comes of a call."""

    def settle(self, position: int, outcome: Said | Exception, /) -> None:
        """Take what came of the item at a position of the call: what the grader said, or why it said nothing."""
        ...


class _Pending:
    __slots__ = ("call", "promise", "tell")

    def __init__(self, promise: Promise, call: Call, tell: Tell | None) -> None:
        self.promise = promise
        self.call = call
        self.tell = tell


class GraderProcess:
    """One grader: a plugin, loaded in a process of its own.

    A call's promise is given what the grader answers, or :class:`~benchhost.evaluation.outcomes.Lost` when it
    ended before it answered.
    """

    def __init__(self, mother: Zygote, plugin: Plugin) -> None:
        self._mother = mother
        self._plugin = plugin
        self._pid: int | None = None
        self._frames: Frames[FromGrader] | None = None
        self._outstanding: dict[int, _Pending] = {}
        self._heard = time.monotonic()
        self._blocked = False
        self._given = 0
        self.retired = False
        """Whether it is given no more calls, and is ended when the last one is answered."""

    async def open(self, timeout: float) -> Description:
        """Fork the process and wait until it has loaded the plugin, at most ``timeout`` seconds.

        Raises :class:`~benchhost.errors.PluginFault`, and :class:`~benchhost.errors.GraderDied` when
        there is nothing to fork it from. The process is ended then.
        """
        loop = asyncio.get_running_loop()
        self._loading: asyncio.Future[Loaded | Faulty | None] = loop.create_future()
        plugin = self._plugin
        try:
            settings = msgspec.msgpack.encode(plugin.settings, enc_hook=str)
        except (OverflowError, TypeError) as error:
            raise PluginFault("wrong-settings", f"its settings cannot be passed on to it: {error}") from error
        self._pid, connection = await self._mother.spawn()
        frames: Frames[FromGrader] = Frames(list[FromGrader], self._take, self._lost)
        self._frames = frames
        try:
            await loop.create_unix_connection(lambda: frames, sock=connection)
            frames.send(Load(plugin.entry, settings, plugin.key))
            loaded = await asyncio.wait_for(self._loading, timeout)
            if loaded is None:
                raise PluginFault("load-died", f"the process of {plugin.entry} ended while it was loading")
            if isinstance(loaded, Faulty):
                raise PluginFault(loaded.reason, loaded.cause)
        except TimeoutError:
            self.kill()
            raise PluginFault("load-timeout", f"{plugin.entry} did not finish loading within {timeout:g} s") from None
        except BaseException:
            self.kill()
            raise
        return loaded.description

    @property
    def outstanding(self) -> int:
        """The number of calls that wait for their answer."""
        return len(self._outstanding)

    @property
    def usable(self) -> bool:
        """Whether it may be given calls, and is heard of."""
        return not self.retired and not self.silent

    @property
    def silent(self) -> bool:
        """Whether nothing was heard of it for long although it works: a hook may hold the interpreter's lock."""
        return bool(self._outstanding) and time.monotonic() - self._heard > SILENCE

    def call(self, promise: Promise, call: Call, tell: Tell | None = None) -> None:
        """Make a call, which is numbered here; ``tell`` is given what its hooks say as it comes."""
        pending = _Pending(promise, call, tell)
        if self._frames is None:  # it has ended since it was chosen
            lost = Lost(alone=False, blocked=False)
            for position in range(len(call.items)):
                promise.settle(position, lost)
            return
        if not self._outstanding:
            self._heard = time.monotonic()
        call.first = self._given
        self._given += len(call.items)
        self._outstanding.update(dict.fromkeys(range(call.first, self._given), pending))
        self._frames.send(call)

    def check(self) -> None:
        """End the process if it has been silent for longer than its calls may take: then it is blocked."""
        if not self._outstanding:
            return
        allowed = max(pending.call.deadline for pending in self._outstanding.values()) + GRACE
        if time.monotonic() - self._heard > allowed:
            self._blocked = True
            self.kill()

    def kill(self) -> None:
        """End the process at once. What is outstanding is then lost."""
        self.retired = True
        if self._pid is not None:
            self._mother.kill(self._pid)
        if self._frames is not None:
            self._frames.abort()  # for whatever else holds the other end of it may outlive the process

    def _take(self, messages: list[FromGrader]) -> None:
        self._heard = time.monotonic()
        for message in messages:
            if isinstance(message, (Answer, Refused, Failed)):
                pending = self._outstanding.pop(message.number, None)
                if type(message) is Failed and message.stuck:  # isinstance is slow to say no of a struct
                    self.retired = True  # a hook that cannot be stopped is left behind in it
                if pending is not None:
                    pending.promise.settle(message.number - pending.call.first, message)
            elif isinstance(message, (Note, State)):
                pending = self._outstanding.get(message.number)
                if pending is not None and pending.tell is not None:
                    pending.tell(message)
            elif not isinstance(message, Alive) and not self._loading.done():
                self._loading.set_result(message)
        if self.retired and not self._outstanding:
            self.kill()

    def _lost(self) -> None:
        if self._pid is not None:
            self._mother.kill(self._pid)  # a hook may have closed the connection, and the process still run
        self._pid = self._frames = None
        self.retired = True
        if not self._loading.done():
            self._loading.set_result(None)
        lost = Lost(alone=self._given == 1, blocked=self._blocked)
        outstanding, self._outstanding = self._outstanding, {}
        for number, pending in outstanding.items():
            pending.promise.settle(number - pending.call.first, lost)
