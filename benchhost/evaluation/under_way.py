"""Evaluations that are judged together, and those who wait for them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

from benchhost.store import Evaluation


class UnderWay:
    """One promise for all of some ``claims``, by their ids. They are judged to their end, whoever waits for them."""

    def __init__(self, claims: Mapping[str, Evaluation]) -> None:
        self.claims = claims
        self._ended: dict[str, Evaluation] = {}
        self._error: Exception | None = None
        self._over = False
        self._unread: list[Evaluation] = []
        self._news = asyncio.Event()
        self._waiting: dict[str, list[asyncio.Future[Evaluation]]] = {}

    def outcome(self, id_: str) -> asyncio.Future[Evaluation]:
        """Return a future of what comes of one of the evaluations, for its caller alone, who may cancel it."""
        future: asyncio.Future[Evaluation] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(id_, []).append(future)
        if self._over or id_ in self._ended:
            self._settle([id_])
        return future

    def result(self, id_: str) -> Evaluation:
        """Return what has come of one of the evaluations, now that it is over.

        Raises what stood in the way of judging it.
        """
        if self._error is not None and id_ not in self._ended:
            raise self._error
        return self._ended[id_]

    async def outcomes(self) -> AsyncIterator[list[Evaluation]]:
        """Yield what comes of the evaluations, those together that end together. To be called once.

        Raises what stood in the way of judging them.
        """
        while True:
            if self._unread:
                unread, self._unread = self._unread, []
                yield unread
            elif not self._over:
                self._news.clear()
                await self._news.wait()
            elif self._error is not None:
                raise self._error
            else:
                return

    def left(self) -> list[str]:
        """Say which of the evaluations have not ended."""
        return [id_ for id_ in self.claims if id_ not in self._ended]

    def ended(self, evaluations: Sequence[Evaluation]) -> None:
        """Take what has come of some of them."""
        self._unread += evaluations
        for each in evaluations:
            self._ended[each.id] = each
        self._news.set()
        if self._waiting:
            self._settle([each.id for each in evaluations])

    def over(self, error: Exception | None) -> None:
        """Take that nothing more comes; ``error`` is why some of them have not ended.

        Without, those that have not ended were given up: whoever waits for one is cancelled.
        """
        self._error = error
        self._over = True
        self._news.set()
        if self._waiting:
            self._settle(list(self._waiting))

    def _settle(self, ids: Sequence[str]) -> None:
        """Tell those who wait for some of them what there is to tell."""
        for id_ in ids:
            evaluation = self._ended.get(id_)
            if evaluation is None and not self._over:
                continue
            for future in self._waiting.pop(id_, ()):
                if future.done():  # cancelled
                    continue
                if evaluation is not None:
                    future.set_result(evaluation)
                elif self._error is not None:
                    future.set_exception(self._error)
                    future.exception()  # whoever waited may be gone, and that nobody looks is no fault
                else:
                    future.cancel()
