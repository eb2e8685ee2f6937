"""Quotas in a dict."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.access_records import HOST
from benchhost.store.memory_access import MemoryAccess
from benchhost.store.quota_protocol import QuotaStore
from benchhost.store.quota_records import Period, Quota, Spent, in_force, in_order, returned, spent


class MemoryQuotas(MemoryAccess, QuotaStore):
    """The part of :class:`~benchhost.store.MemoryStore` that is about quotas."""

    _quotas: dict[tuple[str, str, Period], Quota] | None = None

    async def set_quota(self, quota: Quota, *, at: float, by: str) -> None:
        quotas, key = self._open_quotas(), (quota.tenant, quota.benchmark, quota.period)
        before = quotas.get(key, msgspec.structs.replace(quota, since=at))
        quotas[key] = msgspec.structs.replace(before, limit=quota.limit, listed=False)
        self._open_access().note("quota-set", quota.tenant, quota.datasets, at, by, quota=quota.said)

    async def remove_quota(
        self, tenant: str, benchmark: str, period: Period | None = None, *, at: float, by: str
    ) -> int:
        removed = [
            quota for quota in self._of(tenant, benchmark) if not quota.listed and period in (None, quota.period)
        ]
        for quota in removed:
            del self._open_quotas()[tenant, benchmark, quota.period]
            self._open_access().note("quota-removed", tenant, quota.datasets, at, by, quota=quota.said)
        return len(removed)

    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        return in_order(quota for quota in self._open_quotas().values() if tenant in (None, quota.tenant))

    async def spend(self, tenant: str, benchmark: str, number: int, at: float, listed: Sequence[Quota] = ()) -> Spent:
        outcome = spent([quota.at(at) for quota in in_force(self._of(tenant, benchmark), listed)], number)
        for quota in outcome.counted:
            self._keep(quota)
        return outcome

    async def give_back(self, counted: Sequence[Quota], number: int) -> None:
        for each in counted:
            for kept in self._of(each.tenant, each.benchmark):
                if (after := returned(kept, each, number)) is not None:
                    self._keep(after)

    async def refuse(self, quota: Quota, number: int, at: float) -> None:
        key = (quota.tenant, quota.benchmark, quota.period)
        kept = self._open_quotas().get(key, quota).at(at)
        self._keep(msgspec.structs.replace(kept, refused=kept.refused + number))
        if not kept.refused:
            self._open_access().note("quota-reached", quota.tenant, quota.datasets, at, HOST, quota=quota.said)

    def _of(self, tenant: str, benchmark: str) -> list[Quota]:
        return [quota for key, quota in self._open_quotas().items() if key[:2] == (tenant, benchmark)]

    def _keep(self, quota: Quota) -> None:
        self._open_quotas()[quota.tenant, quota.benchmark, quota.period] = quota

    def _open_quotas(self) -> dict[tuple[str, str, Period], Quota]:
        if self._quotas is None:
            raise StoreFailed("the store is not open")
        return self._quotas
