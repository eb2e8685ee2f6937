"""Quotas in a dict."""

from __future__ import annotations

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.quota_protocol import QuotaStore
from benchhost.store.quota_records import Period, Quota, in_order, in_the_way, returned


class MemoryQuotas(QuotaStore):
    """The part of :class:`~benchhost.store.MemoryStore` that is about quotas."""

    _quotas: dict[tuple[str, str, Period], Quota] | None = None

    async def set_quota(self, quota: Quota) -> None:
        quotas, key = self._open_quotas(), (quota.tenant, quota.benchmark, quota.period)
        quotas[key] = msgspec.structs.replace(quotas.get(key, quota), limit=quota.limit)

    async def remove_quota(self, tenant: str, benchmark: str, period: Period | None = None) -> int:
        quotas = self._open_quotas()
        removed = [key for key in quotas if key[:2] == (tenant, benchmark) and period in (None, key[2])]
        for key in removed:
            del quotas[key]
        return len(removed)

    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        return in_order(quota for quota in self._open_quotas().values() if tenant in (None, quota.tenant))

    async def spend(self, tenant: str, benchmark: str, number: int, at: float) -> Quota | None:
        quotas = [quota.at(at) for quota in self._of(tenant, benchmark)]
        if (refused := in_the_way(quotas, number)) is not None:
            return refused
        for quota in quotas:
            self._keep(msgspec.structs.replace(quota, used=quota.used + number))
        return None

    async def give_back(self, tenant: str, benchmark: str, number: int, at: float) -> None:
        for quota in self._of(tenant, benchmark):
            if (after := returned(quota, number, at)) is not None:
                self._keep(after)

    def _of(self, tenant: str, benchmark: str) -> list[Quota]:
        return [quota for key, quota in self._open_quotas().items() if key[:2] == (tenant, benchmark)]

    def _keep(self, quota: Quota) -> None:
        self._open_quotas()[quota.tenant, quota.benchmark, quota.period] = quota

    def _open_quotas(self) -> dict[tuple[str, str, Period], Quota]:
        if self._quotas is None:
            raise StoreFailed("the store is not open")
        return self._quotas
