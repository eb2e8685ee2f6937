"""How many bytes of requests a worker holds at once, and how long it waits for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from benchhost.errors import Busy, Malformed, TooLarge
from benchhost.server.refused import TooSlow

if TYPE_CHECKING:  # a run at the command line opens a host, and serves nothing
    from litestar.types import Receive

TIMES = 4
"""How many of the largest bodies may be under way at once."""

SLOWEST = 64 * 1024
"""Bytes per second, beside the time that every body is given: what comes more slowly does not end."""


class Bodies:
    """Keeps count of the bodies under way; ``largest`` is in bytes, ``patience`` in seconds."""

    def __init__(self, largest: int, patience: float) -> None:
        self.largest = largest
        self._patience = patience
        self._most = TIMES * largest
        self._held = 0

    def room(self) -> Room:
        """Make room for a body, of nothing yet."""
        return Room(self)

    def must_fit(self, size: int) -> None:
        """Make sure that a body of a size could be held now, before any of it is read.

        Raises :class:`~benchhost.errors.TooLarge` and :class:`~benchhost.errors.Busy`.
        """
        if size > self.largest:
            raise TooLarge(f"The body is larger than the {self.largest // (1024 * 1024)} MB that this host accepts.")
        if self._held + size > self._most:
            raise Busy("Too many large requests are under way; retry later.", 1.0)

    async def read(self, receive: Receive, room: Room) -> bytes:
        """Read a body, which is held in the room as it comes: what is only announced takes none from others.

        Raises :class:`~benchhost.server.refused.TooSlow`, :class:`~benchhost.errors.TooLarge`,
        :class:`~benchhost.errors.Busy`, and :class:`~benchhost.errors.Malformed` when it ends early.
        """
        parts: list[bytes] = []
        async for part in self.arriving(receive):
            room.take(len(part))
            parts.append(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def arriving(self, receive: Receive) -> AsyncIterator[bytes]:
        """Read a body in parts, as they come. What is done with them takes nothing from the time of the client.

        Raises :class:`~benchhost.server.refused.TooSlow`, and :class:`~benchhost.errors.Malformed` when it ends early.
        """
        loop = asyncio.get_running_loop()
        left = self._patience
        while True:
            since = loop.time()
            try:
                async with asyncio.timeout(left):
                    message = await receive()
            except TimeoutError:
                raise TooSlow(
                    f"The body did not arrive within {self._patience:g} s, and a second more for each "
                    f"{SLOWEST // 1024} KiB of it."
                ) from None
            left -= loop.time() - since
            if message["type"] == "http.disconnect":
                raise Malformed("the body ended early")
            assert message["type"] == "http.request"
            yield message["body"]
            if not message["more_body"]:
                return
            left += len(message["body"]) / SLOWEST


class Room:
    """What is held of one body, until :meth:`let_go`; ``size`` is in bytes."""

    def __init__(self, bodies: Bodies) -> None:
        self.size = 0
        self._bodies = bodies

    def take(self, size: int) -> None:
        """Hold so many bytes more.

        Raises :class:`~benchhost.errors.TooLarge` and :class:`~benchhost.errors.Busy` when there is no room.
        """
        bodies = self._bodies
        if self.size + size > bodies.largest:
            bodies.must_fit(self.size + size)
        bodies.must_fit(size)
        self.size += size
        bodies._held += size  # noqa: SLF001 - a room is a part of it

    def let_go(self) -> None:
        """Let go of all of it."""
        self._bodies._held -= self.size  # noqa: SLF001 - likewise
        self.size = 0
