"""What every store promises about quotas."""

from __future__ import annotations

import abc

from benchhost.store.quota_records import Period, Quota


class QuotaStore(abc.ABC):
    """Keeps quotas and what was used of them. What :class:`~benchhost.store.Store` says of errors is true here.

    Several processes may spend at once: together never more than a limit, and never fewer while there is room.
    What was spent outlives a killed process, but perhaps not a power cut.
    """

    @abc.abstractmethod
    async def set_quota(self, quota: Quota) -> None:
        """Set the limit of a period, durably; what was used of one that was set before stays used."""

    @abc.abstractmethod
    async def remove_quota(self, tenant: str, benchmark: str, period: Period | None = None) -> int:
        """Remove the quota of a period, or of all, and return how many there were."""

    @abc.abstractmethod
    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        """Return the quotas of a tenant, or all, by tenant, benchmark and period."""

    @abc.abstractmethod
    async def spend(self, tenant: str, benchmark: str, number: int, at: float) -> Quota | None:
        """Count evaluations that begin, if every quota has room for all of them.

        Returns ``None`` then; and else the quota that stands in the way longest, and nothing is counted.
        """

    @abc.abstractmethod
    async def give_back(self, tenant: str, benchmark: str, number: int, at: float) -> None:
        """Uncount evaluations that were counted at a time, wherever the period of that time is not over."""
