"""One operation on many items: begun a piece at a time, each as large as the limits allow just then.

What begins together travels together, and what ends together is told together. So what a call costs
beside its hook is shared by all of a piece.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Callable

import msgspec

from benchhost.evaluation.frames import Answer, Call, Failed, Refused
from benchhost.evaluation.graders import Graders
from benchhost.evaluation.limits import Gate
from benchhost.evaluation.outcomes import Lost, Said, error_of

Ended = list[tuple[int, Answer | Exception]]
"""What came of items, each with its position."""


async def in_pieces(
    graders: Graders, call: Call, allowed: Gate, on_begin: Callable[[int, int], None]
) -> AsyncGenerator[Ended, None]:
    """Run the operation of a call on all of its items; yield what came of them as it comes.

    ``allowed`` is asked before items are begun, and given back after; ``on_begin`` is told from which position to which
    they are begun.
    """
    items, begun, under_way = call.items, 0, 0
    inbox = _Inbox()
    turn: asyncio.Task[int] | None = None
    alone: set[asyncio.Task[Said]] = set()
    try:
        while begun < len(items) or under_way:
            if begun < len(items) and (turn is None or turn.done()):
                number = allowed.take(len(items) - begun) if turn is None else turn.result()
                turn = None
                under_way += number
                on_begin(begun, begun + number)
                for piece in _divided(call, begun, begun + number, graders.lanes, inbox):
                    await graders.begin(piece, piece.call)
                begun += number
            if begun < len(items) and turn is None:
                turn = asyncio.create_task(allowed.wait(len(items) - begun))
                turn.add_done_callback(inbox.wake)
            ended: Ended = []
            for piece in await inbox.taken():
                before = len(ended)
                for position, outcome in piece.taken():
                    if isinstance(outcome, Answer):
                        ended.append((piece.first + position, outcome))
                    elif isinstance(outcome, Lost) and not outcome.alone:  # the others need not wait for this one
                        asking = asyncio.create_task(graders.ask_alone(piece.of(position)))
                        alone.add(asking)
                        asking.add_done_callback(piece.settler(position))
                        asking.add_done_callback(alone.discard)
                    else:
                        ended.append((piece.first + position, _failure(outcome, graders, call)))
                allowed.took(time.monotonic() - piece.began, len(ended) - before)
            if ended:
                under_way -= len(ended)
                allowed.give_back(len(ended))
                yield ended
    finally:
        if turn is not None and not turn.cancel():
            under_way += turn.result()
        for asking in alone:
            asking.cancel()
        if under_way:
            allowed.give_back(under_way)


def _divided(call: Call, start: int, stop: int, lanes: int, inbox: _Inbox) -> list[_Piece]:
    """Divide what is begun among so many processes."""
    size = math.ceil((stop - start) / lanes) or 1
    return [_Piece(call, first, min(first + size, stop), inbox) for first in range(start, stop, size)]


def _failure(outcome: Refused | Failed | Exception, graders: Graders, call: Call) -> Exception:
    """Say why there is no answer about an item."""
    if isinstance(outcome, Lost):
        return graders.blame(outcome, call)
    return outcome if isinstance(outcome, Exception) else error_of(outcome)


class _Piece:
    """Items of a call that are begun together: a call of their own, and who waits for what comes of it."""

    def __init__(self, whole: Call, first: int, stop: int, inbox: _Inbox) -> None:
        self.first = first
        self.call = msgspec.structs.replace(whole, items=whole.items[first:stop])
        self.began = time.monotonic()
        self._inbox = inbox
        self._arrived: list[tuple[int, Said | Exception]] = []

    def settle(self, position: int, outcome: Said | Exception) -> None:
        if not self._arrived:
            self._inbox.put(self)
        self._arrived.append((position, outcome))

    def taken(self) -> list[tuple[int, Said | Exception]]:
        """Take what has come of the items, with their positions."""
        arrived, self._arrived = self._arrived, []
        return arrived

    def of(self, position: int) -> Call:
        """Make the call about one of the items alone."""
        return msgspec.structs.replace(self.call, items=[self.call.items[position]])

    def settler(self, position: int) -> Callable[[asyncio.Task[Said]], None]:
        """Make what settles an item by what a task comes to."""

        def settle(task: asyncio.Task[Said]) -> None:
            if not task.cancelled():
                error = task.exception()
                self.settle(position, error if isinstance(error, Exception) else task.result())

        return settle


class _Inbox:
    """The pieces for which something has come that was not looked at yet."""

    def __init__(self) -> None:
        self._pieces: list[_Piece] = []
        self._news = asyncio.Event()

    def put(self, piece: _Piece) -> None:
        self._pieces.append(piece)
        self._news.set()

    def wake(self, _: object) -> None:
        """Have whoever waits look, though there is nothing."""
        self._news.set()

    async def taken(self) -> list[_Piece]:
        """Wait for something, and take all pieces that there are."""
        await self._news.wait()
        self._news.clear()
        pieces, self._pieces = self._pieces, []
        return pieces
