"""How many bytes of requests a worker holds at once, for whom, and how long it waits for them."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Self

from benchhost.errors import Busy, Malformed, TooLarge
from benchhost.server.refused import TooSlow

if TYPE_CHECKING:  # a run at the command line opens a host, and serves nothing
    from litestar.types import Receive, ReceiveMessage, Scope

TIMES = 4
"""How many of the largest bodies may be under way at once."""

SLOWEST = 64 * 1024
"""Bytes per second, beside the time that every body is given: what comes more slowly does not end."""


DISCARD_FOR = 2.0
"""Seconds for which the rest of a body that is refused is read and thrown away."""


class Bodies:
    """Keeps count of the bodies under way, ``held`` in all and ``held_by`` tenants; ``patience`` is in seconds.

    A tenant never holds more than it leaves free. So one that is alone has half of the room, each of two a third, and
    for others there is some left. Callers of no tenant are not told apart, and may take all that is free.
    """

    def __init__(self, largest: int, patience: float) -> None:
        self.largest = largest
        self._patience = patience
        self.most = TIMES * largest
        self.held = 0
        self.held_by: Counter[str] = Counter()

    def room(self, tenant: str = "") -> Room:
        """Make room for a body of a tenant, of nothing yet."""
        return Room(self, tenant)

    async def read(self, receive: Receive, room: Room) -> bytes:
        """Read a body, which is held in the room as it comes: what is only announced takes none from others.

        Raises :class:`~benchhost.server.refused.TooSlow`, :class:`~benchhost.errors.TooLarge`,
        :class:`~benchhost.errors.Busy`, and :class:`~benchhost.errors.Malformed` when it ends early.
        """
        room.begun = True
        # The parts are not taken from `arriving`: for a body of one part, that costs more than to decode it.
        parts: list[bytes] = []
        more = True
        try:
            with _Patience(self._patience) as patience:
                while more:
                    part, more = _part(await receive())
                    room.take(len(part))
                    parts.append(part)
                    if room.size == room.announced:  # the message that nothing more comes takes as long as a part
                        break
                    patience.grow(len(part) / SLOWEST)
        except TimeoutError:
            raise self._too_slow() from None
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def arriving(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read a body in parts, as they come. What is done with them takes nothing from the time of the client.

        Raises :class:`~benchhost.server.refused.TooSlow`, and :class:`~benchhost.errors.Malformed` when it ends early.
        """
        loop = asyncio.get_running_loop()
        more, left = True, self._patience
        while more:
            since = loop.time()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                raise self._too_slow() from None
            part, more = _part(message)
            left += len(part) / SLOWEST - (loop.time() - since)
            yield part

    def _too_slow(self) -> TooSlow:
        return TooSlow(
            f"The body did not arrive within {self._patience:g} s, and a second more for each {SLOWEST // 1024} KiB "
            "of it."
        )


def _part(message: ReceiveMessage) -> tuple[bytes, bool]:
    """Take a part of a body out of a message, and whether more of them come."""
    if message["type"] == "http.disconnect":
        raise Malformed("the body ended early")
    assert message["type"] == "http.request"
    return message["body"], message["more_body"]


async def discard_rest(scope: Scope, receive: Receive, *, begun: bool) -> None:
    """Let a client finish sending, for a while: one that is still sending when we hang up may never see the answer.

    One that asks before it sends (RFC 9110, section 10.1.1) is told to when its body is ``begun`` to be read; before
    that, it sends nothing.
    """
    if not begun and any(name == b"expect" and value.lower() == b"100-continue" for name, value in scope["headers"]):
        return
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(DISCARD_FOR):
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass


class _Patience(AbstractContextManager["_Patience"]):
    """A time, in seconds, after which what a task waits for in a ``with`` is ended by ``TimeoutError``.

    It is for tasks that are cancelled by nobody else meanwhile, and may :meth:`grow`. So it takes a third of the time
    of :func:`asyncio.timeout`, of which there would be one for each request.
    """

    def __init__(self, seconds: float) -> None:
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + seconds
        self._over = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task(self._loop)
        self._timer = self._loop.call_at(self._until, self._look)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._timer.cancel()
        if self._over and kind is asyncio.CancelledError and self._task is not None and not self._task.uncancel():
            raise TimeoutError

    def grow(self, seconds: float) -> None:
        """Give so much more time."""
        self._until += seconds

    def _look(self) -> None:
        if self._loop.time() < self._until:  # it has grown
            self._timer = self._loop.call_at(self._until, self._look)
        elif self._task is not None:
            self._over = True
            self._task.cancel()


class Room:
    """What is held of one body, until :meth:`let_go`: ``size`` bytes, of those that were ``announced``, if any were.

    ``begun`` says whether it is being read, or was.
    """

    def __init__(self, bodies: Bodies, tenant: str) -> None:
        self.size = 0
        self.announced: int | None = None
        self.begun = False
        self._bodies = bodies
        self._tenant = tenant

    def must_fit(self, size: int) -> None:
        """Make sure that so many bytes more could be held now, before any of them is read.

        Raises :class:`~benchhost.errors.TooLarge` and :class:`~benchhost.errors.Busy`.
        """
        bodies = self._bodies
        if self.size + size > bodies.largest:
            raise TooLarge(f"The body is larger than the {bodies.largest // (1024 * 1024)} MB that this host accepts.")
        free = bodies.most - bodies.held - size
        if free < 0:
            raise Busy("Too many large requests are under way; retry later.", 1.0)
        if self._tenant and bodies.held_by[self._tenant] + size > free:
            raise Busy("Too many large requests of yours are under way; retry later.", 1.0)

    def expect(self, size: int) -> None:
        """Hear how long the body is, of which nothing is read yet.

        Raises what :meth:`must_fit` raises.
        """
        self.must_fit(size)
        self.announced = size

    def take(self, size: int) -> None:
        """Hold so many bytes more.

        Raises what :meth:`must_fit` raises.
        """
        self.must_fit(size)
        self.size += size
        self._bodies.held += size
        self._bodies.held_by[self._tenant] += size

    def let_go(self) -> None:
        """Let go of all of it."""
        bodies, tenant = self._bodies, self._tenant
        bodies.held -= self.size
        bodies.held_by[tenant] -= self.size
        if not bodies.held_by[tenant]:
            del bodies.held_by[tenant]
        self.size = 0
