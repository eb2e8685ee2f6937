"""The function of a submission, as tests see it: a call goes into the sandbox, and a plain value comes back."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from benchhost.errors import CandidateFailed, CandidateRaised
from benchhost.sandbox.judge.judged import LENGTH, MESSAGE
from benchhost.sandbox.judge.limits import Limits
from benchhost.sandbox.judge.nursery import Fork
from benchhost.sandbox.judge.values import NotPlain, read, write

ArgumentT = TypeVar("ArgumentT")
ValueT = TypeVar("ValueT")

SMALLEST = 8192
"""Bytes that a frame may have in any case: what is said of an exception is no answer."""

_LOOKS_UP = struct.pack("ll", 0, 100_000)
"""After how many seconds and microseconds it is seen whether the time is up, as a ``struct timeval``.

The kernel keeps it: with a timeout of Python's own, each exchange would take two more system calls.
"""

_WORDS = {"memory": "memory_limit", "lifetime": "timeout"}
_SIGXCPU = -24


class Candidate:
    """Call it as the function itself.

    Arguments are copied: what the function does to them is not seen here. They must be plain values
    (:mod:`benchhost.sandbox.judge.values`), and so must the answer be.

    A call raises :class:`~benchhost.errors.CandidateRaised` when the function has raised an exception, which
    then is of the same built-in kind, too, so that a test may expect a ``ValueError``; and
    :class:`~benchhost.errors.CandidateFailed` when there is no answer for another reason: then no further call is
    answered either, and ``failure`` is set. Raises ``TypeError`` when an argument is not a plain value.
    """

    def __init__(self, fork: Fork, name: str, limits: Limits) -> None:
        self.__name__ = name
        self.failure: CandidateFailed | None = None
        self._fork = fork
        self._limits = limits
        self._number = 0
        self._used = 0.0
        self._starved = 0.0
        self._ends = time.monotonic() + limits.lifetime
        for way in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            fork.channel.setsockopt(socket.SOL_SOCKET, way, _LOOKS_UP)

    def load(self, texts: Sequence[str]) -> None:
        """Have the first of the texts loaded that is Python. Raises as a call does."""
        self._exchange(write([list(texts), self.__name__]))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._number += 1
        try:
            request = write([self._number, args, kwargs])
        except NotPlain as error:
            raise TypeError(f"{self.__name__} was called with a value that is {error}") from None
        return self._exchange(request)

    def _exchange(self, request: bytes) -> Any:
        if self.failure is not None:
            raise self.failure
        self._send(memoryview(len(request).to_bytes(LENGTH, "big") + request))
        try:
            said = read(self._receive())
        except NotPlain as error:
            raise self._failed("garbled", str(error)) from None
        match said:
            case [int(number), "value", value] if number == self._number:
                return value
            case [int(number), "raised", [*names], str(message)] if number == self._number:
                raise CandidateRaised([str(name)[:MESSAGE] for name in names[:20]], message[:MESSAGE])
            case [int(number), "other", str(what)] if number == self._number:
                raise self._failed("not_plain", f"the answer is {what[:MESSAGE]}")
            case [int(number), "long", int(length)] if number == self._number:
                raise self._failed("too_large", f"the answer has {length} bytes; {self._limits.answer} are allowed")
            case [0, "missing", None] if self._number == 0:
                raise self._failed("missing", f"there is no function {self.__name__}")
        raise self._failed("garbled", "not an answer to what was asked")

    def _send(self, left: memoryview) -> None:
        while left:
            sent = self._within_time(self._fork.channel.send, left)
            if sent is None:
                raise self._ended()
            left = left[sent:]

    def _receive(self) -> bytes:
        """Return the text of exactly one frame."""
        largest = max(self._limits.answer, SMALLEST)
        data = bytearray()
        length = None
        while length is None or len(data) < LENGTH + length:
            part = self._within_time(self._fork.channel.recv, 65536)
            if not part:
                raise self._ended()
            data += part
            if length is None and len(data) >= LENGTH:
                length = int.from_bytes(data[:LENGTH], "big")
                if length > largest:
                    raise self._failed("too_large", f"the answer has more than {self._limits.answer} bytes")
        if len(data) > LENGTH + length:
            raise self._failed("garbled", "more was said than was asked")
        return bytes(data[LENGTH:])

    def _within_time(self, operation: Callable[[ArgumentT], ValueT], argument: ArgumentT) -> ValueT | None:
        """Return what an operation on the channel returns, or ``None`` when the other end is gone."""
        while True:
            began = time.monotonic()
            try:
                done: ValueT | None = operation(argument)
            except BlockingIOError:
                waits, done = True, None
            except OSError:  # the connection is broken
                waits, done = False, None
            else:
                waits = False
            now = time.monotonic()
            self._used += now - began
            if self._left() <= 0:
                self._starved = self._fork.starved()
            if self._left() <= 0 or now > self._ends:  # whatever came: it may have come a byte at a time
                raise self._failed("timeout", f"it took more than {self._limits.seconds:g} s")
            if not waits:
                return done

    def _left(self) -> float:
        return self._limits.seconds - (self._used - self._starved)

    def _ended(self) -> CandidateFailed:
        reason, code = self._fork.end()
        if reason == "ended" and code == _SIGXCPU:
            reason = "lifetime"
        return self._failed(_WORDS.get(reason, "ended"), f"its process ended with {code}")

    def _failed(self, reason: str, message: str) -> CandidateFailed:
        self.failure = CandidateFailed(reason, message)
        return self.failure
