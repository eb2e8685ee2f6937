"""Beginning no more attempts than the model has room for."""

from __future__ import annotations

import asyncio

from benchhost.models import Limiter
from benchhost.runner.progress import Progress

AHEAD = 2
"""How many attempts may be under way for each call that may be."""

LOOK_EVERY = 0.02
"""Seconds between two looks at whether there is room."""


class Pace:
    """Holds attempts back while the model is what they would wait for.

    A run may make hundreds of attempts at once, for the case that the provider takes so many calls. Where
    it takes sixteen, all others would be begun only to queue, and would still have to be finished, and
    paid for, once the run is stopped or its budget spent. Attempts that do other things than calling
    the model leave it idle, so these are begun all the same, one at each look.
    """

    def __init__(self, progress: Progress, limiter: Limiter | None) -> None:
        self._progress = progress
        self._limiter = limiter
        self._turn = asyncio.Lock()

    async def wait(self) -> None:
        """Wait until another attempt should begin."""
        if self._limiter is None or not self._is_crowded(self._limiter):
            return
        async with self._turn:
            while self._is_crowded(self._limiter):
                await asyncio.sleep(LOOK_EVERY)
                if self._progress.stopping is not None or self._is_idle(self._limiter):
                    return

    def _is_crowded(self, limiter: Limiter) -> bool:
        return self._progress.generating >= AHEAD * limiter.limit

    def _is_idle(self, limiter: Limiter) -> bool:
        return limiter.in_use + limiter.waiting < limiter.limit
