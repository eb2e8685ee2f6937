"""How many calls may be under way at once, and finding that number out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable

from benchhost.errors import UsageError

START = 16
"""Where an adaptive limit starts."""

MOST = 500
"""Where an adaptive limit ends, unless told otherwise. A connection costs a file descriptor."""

CUT = 0.7
"""What an adaptive limit is multiplied by when the provider throttles."""

PAUSE = 10.0
"""Seconds for which a limit does not grow after the provider failed."""


class AdaptiveLimit:
    """A limit that looks for the rate at which a provider begins to throttle (AIMD, as in RFC 5681).

    It doubles once per round of calls until the first throttling, then grows by one per round. It is
    cut once for all the calls that were under way together, and grows only when it is what holds the
    caller back.
    """

    def __init__(self, start: int = START, *, most: int = MOST) -> None:
        self._exact = float(min(start, most))
        self._most = most
        self._doubling = True
        self._cut_at = float("-inf")
        self._grow_from = float("-inf")

    @property
    def value(self) -> int:
        """How many calls may be under way."""
        return int(self._exact)

    def succeeded(self, in_use: int, now: float) -> None:
        """A call succeeded while ``in_use`` calls, itself included, were under way."""
        if in_use >= self.value and now >= self._grow_from:
            self._exact = min(self._most, self._exact + (1 if self._doubling else 1 / self._exact))

    def throttled(self, began: float, now: float) -> None:
        """A call that began at ``began`` was throttled."""
        if began > self._cut_at:
            self._exact = max(1.0, self._exact * CUT)
            self._doubling = False
            self._cut_at = now

    def failed(self, now: float) -> None:
        """A call failed on the provider's side."""
        self._grow_from = now + PAUSE


class FixedLimit:
    """A limit that stays as it was set."""

    def __init__(self, value: int) -> None:
        self.value = value

    def succeeded(self, in_use: int, now: float) -> None:
        """Change nothing."""

    def throttled(self, began: float, now: float) -> None:
        """Change nothing."""

    def failed(self, now: float) -> None:
        """Change nothing."""


class Limiter:
    """Hands out permits for calls, under a limit that may change; first come, first served.

    ``limit`` is a number that stays, or ``"auto"``; ``most`` is the highest that it can become. When a
    provider asks one call to wait, all wait. Raises :class:`~benchhost.errors.UsageError` for a number
    below 1.
    """

    def __init__(self, limit: int | str = "auto", *, clock: Callable[[], float] = time.monotonic) -> None:
        if limit == "auto":
            self._limit: AdaptiveLimit | FixedLimit = AdaptiveLimit()
            self.most = MOST
        elif isinstance(limit, int) and limit >= 1:
            self._limit = FixedLimit(limit)
            self.most = limit
        else:
            raise UsageError(f'the number of connections must be at least 1, or "auto", not {limit!r}')
        self.clock = clock
        self._queue: deque[asyncio.Future[None]] = deque()
        self._held_until = float("-inf")
        self._timer: asyncio.TimerHandle | None = None
        self.in_use = 0

    @property
    def limit(self) -> int:
        """How many calls may be under way at the moment."""
        return self._limit.value

    @property
    def waiting(self) -> int:
        """How many calls wait for a permit."""
        return len(self._queue)

    def try_acquire(self) -> bool:
        """Take a permit if there is one at once and nobody waits for it."""
        if self._queue or self.in_use >= self._limit.value or self.clock() < self._held_until:
            return False
        self.in_use += 1
        return True

    async def acquire(self, *, first: bool = False) -> None:
        """Wait for a permit, at the end of the queue or before everybody else."""
        if self.try_acquire():
            return
        permit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        (self._queue.appendleft if first else self._queue.append)(permit)
        self._grant()
        try:
            await permit
        except asyncio.CancelledError:
            if permit.done() and not permit.cancelled():
                self.release()  # granted and cancelled in the same moment
            elif permit in self._queue:
                self._queue.remove(permit)
            raise

    def release(self) -> None:
        """Give a permit back."""
        self.in_use -= 1
        self._grant()

    def succeeded(self) -> None:
        """Give a permit back after a completion."""
        self._limit.succeeded(self.in_use, self.clock())
        self.release()

    def throttled(self, began: float, hold: float = 0.0) -> None:
        """Give back the permit of a call that was throttled; it began at ``began``, by the clock.

        No permit is granted for the next ``hold`` seconds.
        """
        now = self.clock()
        self._limit.throttled(began, now)
        self._held_until = max(self._held_until, now + hold)
        self.release()

    def failed(self) -> None:
        """Give a permit back after a failure on the provider's side."""
        self._limit.failed(self.clock())
        self.release()

    def _grant(self) -> None:
        if not self._queue:
            return
        held = self._held_until - self.clock()
        if held > 0:
            if self._timer is None:
                self._timer = asyncio.get_running_loop().call_later(held, self._wake)
            return
        while self._queue and self.in_use < self._limit.value:
            permit = self._queue.popleft()
            if not permit.done():
                self.in_use += 1
                permit.set_result(None)

    def _wake(self) -> None:
        self._timer = None
        self._grant()
