"""How many evaluations run, and how many wait, before a caller is asked to come back later.

Tenants take turns: however many evaluations of one wait, the first of another waits for one of each at most.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections import OrderedDict, deque
from pathlib import Path

import msgspec

from benchhost.errors import BatchTooLarge, Busy
from benchhost.evaluation.slots import Slots

POLL = 0.01
"""Seconds between two looks at whether another process has given back a slot."""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """``running`` and ``queued`` evaluations of one benchmark, and ``running_per_tenant`` of them, at most.

    ``workers`` is the number of processes that serve: they share the slots of running evaluations
    through files in ``folder``, and each queues its part of ``queued``.
    """

    running: int = 64
    queued: int = 1000
    running_per_tenant: int | None = None
    workers: int = 1
    folder: Path | None = None


class Gate:
    """Lets evaluations of one benchmark run, at most ``most`` at once: by turns those of each tenant, in their order.

    The gate of a ``tenant`` stands ``before`` that of the benchmark: what has passed the one waits at
    the other.
    """

    def __init__(self, name: str, limits: Limits, most: int, *, tenant: str = "", before: Gate | None = None) -> None:
        self._name = name
        self._most = most
        self._tenant = tenant
        self._before = before
        self._share = most // limits.workers
        self._places = most + math.ceil(limits.queued / limits.workers)
        self._running = 0
        self._entered = 0
        self._entered_by: dict[str, int] = {}
        self._waiters: OrderedDict[str, deque[_Waiter]] = OrderedDict()  # whose turn is next, first
        self._polling = False
        self._seconds = 0.1  # that one evaluation takes: a moving average, to say honestly when to come back
        self._slots: Slots | None = None
        # Who may have as many as there are needs no count of their own that holds for all workers.
        limiting = before is None or most < limits.running
        if limits.workers > 1 and limits.folder is not None and limiting:
            whose = "" if before is None else f"@{hashlib.sha256(tenant.encode()).hexdigest()[:32]}"
            self._slots = Slots(limits.folder / f"{name}{whose}.slots", most)

    @property
    def waiting(self) -> int:
        """How many wait here to run."""
        return sum(map(len, self._waiters.values()))

    @property
    def idle(self) -> bool:
        """Whether nobody is in, and nobody has waited so lately that it still looks for slots."""
        return not self._entered and not self._polling

    def close(self) -> None:
        """Let go of what it shares with other processes; it must be idle, and nobody may enter any more."""
        if self._slots is not None:
            self._slots.close()

    def enter(self, number: int, tenant: str = "") -> None:
        """Count evaluations as begun: those that do not run yet are queued.

        When all places are taken, a tenant is let in that has less than its part of them: so many as there are,
        divided by the tenants that are here. Raises :class:`~benchhost.errors.Busy` when there is no room for
        them now, and :class:`~benchhost.errors.BatchTooLarge` when there never is.
        """
        if number > self._places:
            raise BatchTooLarge(f"The benchmark {self._name} takes at most {self._places} at once.")
        own = self._entered_by.get(tenant, 0)
        if self._entered + number > self._places:
            part = self._places // (len(self._entered_by) + (tenant not in self._entered_by))
            if own + number > part:
                waiting = self._entered + number - self._most
                seconds = min(60.0, max(1.0, waiting * self._seconds / self._most))
                raise Busy(
                    f"The benchmark {self._name} has {self._entered} evaluations running or waiting; retry later.",
                    seconds,
                )
        if self._before is not None:
            self._before.enter(number, self._tenant)
        self._entered += number
        if number:
            self._entered_by[tenant] = own + number

    def leave(self, number: int, tenant: str = "") -> None:
        """Count evaluations as over."""
        self._entered -= number
        left = self._entered_by.get(tenant, 0) - number
        if left > 0:
            self._entered_by[tenant] = left
        else:
            self._entered_by.pop(tenant, None)
        if self._before is not None:
            self._before.leave(number, self._tenant)

    def take(self, most: int = 1) -> int:
        """Let as many run as may run at once, but no more than ``most``; return how many these are."""
        number = self._take(most)
        if number and self._before is not None:
            passed = self._before.take(number)
            if passed < number:
                self._give_back(number - passed)
            return passed
        return number

    async def wait(self, most: int = 1, tenant: str = "") -> int:
        """Wait until one may run, let as many run as may by then, no more than ``most``; return how many these are."""
        if number := self.take(most):
            return number
        number = await self._wait(most, tenant)
        if self._before is not None:
            try:
                passed = await self._before.wait(number, self._tenant)
            except BaseException:
                self._give_back(number)
                raise
            if passed < number:
                self._give_back(number - passed)
            return passed
        return number

    def took(self, seconds: float, number: int = 1) -> None:
        """Learn how long evaluations took, each of so many."""
        self._seconds += (1 - 0.9**number) * (seconds - self._seconds)
        if self._before is not None:
            self._before.took(seconds, number)

    def give_back(self, number: int = 1) -> None:
        """Count some as no longer running."""
        if self._before is not None:
            self._before.give_back(number)
        self._give_back(number)

    def _take(self, most: int) -> int:
        if self._waiters:
            return 0
        free = min(most, self._most - self._running)
        if free <= 0 or self._slots is None:
            return self._let(free)
        number = 0
        while number < free and not self._gives_way(self._slots) and self._let(1):
            number += 1
        self._slots.want(number < free)
        return number

    def _let(self, most: int) -> int:
        """Let run as many as there is room for."""
        number = max(0, min(most, self._most - self._running))
        if self._slots is not None:
            number = self._slots.take(number)
        self._running += number
        return number

    def _gives_way(self, slots: Slots) -> bool:
        """Whether another process waits, and this one has its share: else it would take back what it gives back."""
        return slots.held >= self._share and slots.others_want()

    async def _wait(self, most: int, tenant: str) -> int:
        if number := self._take(most):
            return number
        waiter = _Waiter(most)
        self._waiters.setdefault(tenant, deque()).append(waiter)
        self._poll_later()
        try:
            return await waiter.let
        except BaseException:
            if waiter.let.done() and not waiter.let.cancelled():
                self._give_back(waiter.let.result())
            else:
                own = self._waiters.get(tenant, deque())
                if waiter in own:  # else it was found cancelled, and left out, before this was run
                    own.remove(waiter)
                    if not own:
                        del self._waiters[tenant]
            raise

    def _give_back(self, number: int) -> None:
        self._running -= number
        if self._slots is not None:
            self._slots.give_back(number)
            if self._waiters and self._gives_way(self._slots):
                self._poll_later()
                return
        self._admit()

    def _admit(self) -> None:
        """Let in who waits: by turns, each tenant with as large a part of the room as the others that wait."""
        while self._waiters:
            tenant, own = next(iter(self._waiters.items()))
            waiter = own[0]
            if not waiter.let.done():
                room = self._most - self._running
                number = self._let(min(waiter.most, math.ceil(room / len(self._waiters))))
                if not number:
                    return
                waiter.let.set_result(number)
            own.popleft()
            if own:
                self._waiters.move_to_end(tenant)
            else:
                del self._waiters[tenant]

    def _poll_later(self) -> None:
        # A slot that another process gives back wakes nobody here.
        if self._slots is not None and not self._polling:
            self._polling = True
            asyncio.get_running_loop().call_later(POLL, self._poll)

    def _poll(self) -> None:
        self._polling = False
        self._admit()
        if self._waiters:
            self._poll_later()
        elif self._slots is not None:
            self._slots.want(False)


class _Waiter:
    """Who waits to let up to ``most`` evaluations run; ``let`` is how many it may let."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.let: asyncio.Future[int] = asyncio.get_running_loop().create_future()
