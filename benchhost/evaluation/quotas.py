"""Quotas where evaluations begin: one that is begun anew is counted, one that fails because of us is not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import Self

from benchhost.errors import QuotaReached, QuotaUnavailable, StoreFailed
from benchhost.log import get_logger
from benchhost.store import Evaluation, Period, Quota, Spent, Store
from benchhost.store.quota_records import bounds

_log = get_logger()

BELIEVED = 0.5
"""Seconds for which it is believed who has quotas at all: what they are, and what is left, is asked each time."""


class Spending:
    """What some evaluations were counted for, for the length of an ``async with``.

    Those of which :meth:`judged` is told stay counted. ``ids`` are those that were counted. It is no generator,
    which would cost each evaluation more than to see that it is not to be counted.
    """

    ids: frozenset[str] = frozenset()

    def __init__(self, quotas: Quotas, claims: Sequence[Evaluation]) -> None:
        self._quotas = quotas
        self._claims = claims
        self._spent = Spent()
        self._judged: set[str] = set()

    async def __aenter__(self) -> Self:
        if self._claims and self._claims[0].tenant:  # a caller of no tenant has no quota
            self.ids, self._spent = await self._quotas.count(self._claims)
        return self

    async def __aexit__(self, *_: object) -> None:
        if owed := self.owed:
            await self._quotas.give_back(self._spent, owed)

    def judged(self, evaluations: Sequence[Evaluation], owner: str) -> None:
        """Learn what came of evaluations: what another process has judged, and what failed for a cause, is free."""
        if not self.ids:
            return
        self._judged.update(
            each.id for each in evaluations if each.owner == owner and each.cause is None and each.status != "running"
        )

    @property
    def owed(self) -> int:
        """How many are to be given back."""
        return len(self.ids - self._judged)


class Quotas:
    """The quotas of tenants, as they are kept in the store for all processes.

    ``listed`` are those of the operator's allowlist, by tenant: so many evaluations of a period, at each benchmark.
    """

    def __init__(self, store: Store, listed: Mapping[str, tuple[int, Period]] | None = None) -> None:
        self.listed = dict(listed or {})
        self._store = store
        self._known: frozenset[tuple[str, str]] = frozenset()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    def spend(self, claims: Sequence[Evaluation]) -> Spending:
        """Count the evaluations that begin, of one tenant and benchmark, until the end of an ``async with``.

        That raises what :meth:`count` does.
        """
        return Spending(self, claims)

    async def count(self, claims: Sequence[Evaluation]) -> tuple[frozenset[str], Spent]:
        """Count the evaluations of a tenant and benchmark that begin: which those are, and where they were counted.

        Raises :class:`~benchhost.errors.QuotaReached`, and :class:`~benchhost.errors.QuotaUnavailable` when the store
        cannot say whether it is.
        """
        tenant, benchmark = claims[0].tenant, claims[0].benchmark
        try:
            while fresh := await self._fresh(claims):
                now = time.time()
                spent = await self._store.spend(tenant, benchmark, len(fresh), now, self._listed_for(tenant, benchmark))
                if spent.refused_by is None:
                    return frozenset(fresh), spent
                if await self._fresh(claims) == fresh:  # else somebody has begun some of them meanwhile: all are joined
                    await self._store.refuse(spent.refused_by, len(fresh), now)
                    raise reached(spent.refused_by, len(fresh), now)
        except StoreFailed as error:
            raise QuotaUnavailable from error
        return frozenset(), Spent()

    async def give_back(self, spent: Spent, number: int) -> None:
        """Give back what was counted for so many evaluations, as far as the store can."""
        try:
            await self._store.give_back(spent.counted, number)
        except StoreFailed as error:  # the outcome is what the caller waits for
            tenants = sorted({quota.tenant for quota in spent.counted})
            _log.warning("quota was not given back", tenants=tenants, evaluations=number, cause=str(error))

    async def _fresh(self, claims: Sequence[Evaluation]) -> list[str]:
        """Say which of these evaluations would be begun anew by somebody who has quotas."""
        tenant, benchmark = claims[0].tenant, claims[0].benchmark
        if tenant not in self.listed and (tenant, benchmark) not in await self._limited():
            return []
        known = await self._store.evaluations([claim.id for claim in claims])
        return [id_ for id_ in (claim.id for claim in claims) if id_ not in known or _may_begin(known[id_])]

    def _listed_for(self, tenant: str, benchmark: str) -> list[Quota]:
        if tenant not in self.listed:
            return []
        limit, period = self.listed[tenant]
        return [Quota(tenant=tenant, benchmark=benchmark, period=period, limit=limit, listed=True)]

    async def _limited(self) -> frozenset[tuple[str, str]]:
        if time.monotonic() - self._read_at > BELIEVED:
            async with self._reading:  # by one; the others wait, and go by nothing that is older
                if (now := time.monotonic()) - self._read_at > BELIEVED:
                    self._known = frozenset((quota.tenant, quota.benchmark) for quota in await self._store.quotas())
                    self._read_at = now
        return self._known


def _may_begin(evaluation: Evaluation) -> bool:
    return evaluation.status in ("error", "interrupted")


def reached(quota: Quota, number: int, now: float) -> QuotaReached:
    """Make the error of evaluations for which a quota has no room."""
    _, ends = bounds(quota.period, now)
    wanted = f" {number} more would begin, and {quota.limit - quota.used} are left." if number > 1 else ""
    return QuotaReached(f"{quota.limit:,} per {quota.period}", quota.benchmark, wanted, ends, ends - now)
