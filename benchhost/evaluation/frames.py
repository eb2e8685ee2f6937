"""How the host and its grader processes talk: lists of messages, each list one frame on a Unix socket.

A frame is four bytes of length, big-endian, and a msgpack list. Messages that are sent during one
turn of the event loop travel in one frame: under load, that is what makes the second process cheap.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar, cast

import msgspec

from benchhost.contract import Submission
from benchhost.discovery import Entry
from benchhost.registry import Description

IncomingT = TypeVar("IncomingT")

_LENGTH = 4

ROOM = 256 * 1024
"""Bytes that are kept ready for what comes in, for as long as no frame is larger."""


class Item(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What one call is about: a task, if it is about one, and a ``body``, which holds what the operation wants."""

    task: str
    body: bytes


class Call(msgspec.Struct, array_like=True, tag="call", kw_only=True):
    """Run an operation (:data:`~benchhost.evaluation.operations.OPERATIONS`) on each of some items.

    Each is run and answered by itself. The answers go by numbers: that of the first item is ``first``, and those of
    the others follow it. ``deadline`` is in seconds from when the hook starts.
    """

    first: int = 0
    operation: str
    dataset: str
    deadline: float
    items: Sequence[Item]


class InSandbox(msgspec.Struct, array_like=True, frozen=True):
    """The body of a call about a sandbox: where it is, what is to be placed in it, and how far its hook had come.

    ``provider`` and ``config`` are what a provider is opened by, ``id`` what it finds the sandbox by;
    ``resume_state`` is JSON.
    """

    provider: str
    config: dict[str, str]
    id: str
    submission: Submission | None = None
    resume_state: bytes | None = None


class Resumed(msgspec.Struct, array_like=True, frozen=True):
    """The body of a call that resumes the judging of a response: its text, if it is known, and a state as JSON."""

    text: str
    resume_state: bytes


class Load(msgspec.Struct, array_like=True, tag="load"):
    """Load a plugin: the first message to a grader.

    ``settings`` are the operator's for this plugin, in msgpack, and ``key`` is the secret that digests
    are keyed with.
    """

    entry: Entry
    settings: bytes
    key: bytes


class Loaded(msgspec.Struct, array_like=True, tag="loaded"):
    """The plugin is ready; the first message of a grader that succeeds."""

    description: Description


class Faulty(msgspec.Struct, array_like=True, tag="faulty"):
    """The plugin cannot be served; the only message of a grader that fails."""

    reason: str
    cause: str


class Answer(msgspec.Struct, array_like=True, tag="answer"):
    """What a hook gave, as JSON; ``private`` is the part that is recorded and never sent.

    ``held`` is for how many seconds at a stretch an ``async def`` hook kept the event loop to itself.
    """

    number: int
    data: bytes
    private: bytes | None = None
    held: float = 0.0


class Refused(msgspec.Struct, array_like=True, tag="refused"):
    """There is no answer, and the caller may read why: the author said so, or the request was wrong.

    ``slug`` names the error (:mod:`benchhost.errors`); it is empty for an author's own words.
    """

    number: int
    slug: str
    message: str
    location: list[str | int] = []


class Failed(msgspec.Struct, array_like=True, tag="failed"):
    """A hook failed. ``slug`` names the error (:mod:`benchhost.errors`), ``cause`` is for the operator.

    ``stuck`` says that the hook is still running although it was given up.
    """

    number: int
    slug: str
    cause: str
    stuck: bool = False


class Note(msgspec.Struct, array_like=True, tag="note"):
    """Lines of progress from a streaming hook."""

    number: int
    text: str


class State(msgspec.Struct, array_like=True, tag="state"):
    """How far a streaming hook has come, as JSON."""

    number: int
    data: bytes


class Alive(msgspec.Struct, array_like=True, tag="alive"):
    """The grader's event loop turns, although none of its hooks may have finished lately."""


ToGrader = Load | Call
FromGrader = Loaded | Faulty | Answer | Refused | Failed | Note | State | Alive


class Frames(asyncio.BufferedProtocol, Generic[IncomingT]):
    """One end of the conversation. ``on_messages`` is given each frame's messages, ``on_lost`` the end of it all."""

    def __init__(
        self, incoming: Any, on_messages: Callable[[list[IncomingT]], None], on_lost: Callable[[], None]
    ) -> None:
        self._decoder: msgspec.msgpack.Decoder[list[IncomingT]] = msgspec.msgpack.Decoder(incoming)
        self._encoder = msgspec.msgpack.Encoder()
        self._on_messages = on_messages
        self._on_lost = on_lost
        self._buffer = bytearray(ROOM)
        self._held = 0
        self._outgoing: list[Any] = []
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._writable = asyncio.Event()
        self._writable.set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's own class does not derive from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self._on_lost()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def get_buffer(self, sizehint: int) -> memoryview:
        return memoryview(self._buffer)[self._held :]

    def buffer_updated(self, nbytes: int) -> None:
        self._held += nbytes
        start, held = 0, memoryview(self._buffer)[: self._held]
        while (end := start + self._size(held[start:])) <= self._held:
            self._on_messages(self._decoder.decode(held[start + _LENGTH : end]))
            start = end
        rest = held[start:]
        room = max(ROOM, end - start)  # for the frame that is not whole yet
        if start or room > len(self._buffer):
            buffer = self._buffer if room == len(self._buffer) else bytearray(room)
            buffer[: len(rest)] = rest
            self._buffer, self._held = buffer, len(rest)

    def _size(self, frame: memoryview) -> int:
        """Say how many bytes a frame has that begins so; as many as say it, and more than are there, if it does not."""
        return _LENGTH + int.from_bytes(frame[:_LENGTH], "big") if len(frame) >= _LENGTH else _LENGTH

    def send(self, message: Any) -> None:
        """Send a message, together with the others of this turn of the event loop."""
        if not self._outgoing:
            self._loop.call_soon(self._flush)
        self._outgoing.append(message)

    async def sent(self) -> None:
        """Let the event loop turn, and wait until the other end has read enough to be sent more."""
        await asyncio.sleep(0)
        await self._writable.wait()

    def close(self) -> None:
        """Send what is waiting, then hang up."""
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Hang up at once."""
        if self._transport is not None:
            self._transport.abort()

    def _flush(self) -> None:
        if not self._outgoing:
            return
        outgoing, self._outgoing = self._outgoing, []
        frame = bytearray(_LENGTH)
        self._encoder.encode_into(outgoing, frame, _LENGTH)
        frame[:_LENGTH] = (len(frame) - _LENGTH).to_bytes(_LENGTH, "big")
        if self._transport is not None:
            self._transport.write(frame)
