"""What every store promises about quotas."""

from __future__ import annotations

import abc
from collections.abc import Sequence

from benchhost.store.quota_records import Period, Quota, Spent


class QuotaStore(abc.ABC):
    """Keeps quotas and what was used of them. What :class:`~benchhost.store.Store` says of errors is true here.

    Several processes may spend at once: together never more than a limit, and never fewer while there is room.
    What was spent outlives a killed process, but perhaps not a power cut. Changes of quotas, and the first refusal of
    a period, are noted in the log of access.
    """

    @abc.abstractmethod
    async def set_quota(self, quota: Quota, *, at: float, by: str) -> None:
        """Set the limit of a period, durably; what was used of one that was there before stays used."""

    @abc.abstractmethod
    async def remove_quota(
        self, tenant: str, benchmark: str, period: Period | None = None, *, at: float, by: str
    ) -> int:
        """Remove the quota of a period, or of all, that was set; return how many there were."""

    @abc.abstractmethod
    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        """Return the quotas of a tenant, or all, by tenant, benchmark and period; those that are ``listed``, too."""

    @abc.abstractmethod
    async def spend(self, tenant: str, benchmark: str, number: int, at: float, listed: Sequence[Quota] = ()) -> Spent:
        """Count evaluations that begin, if every quota has room for all of them.

        ``listed`` are those of the allowlist: each holds unless one was set for its period. Returns by which quotas
        they are counted; or the quota that stands in the way longest, and then nothing is counted.
        """

    @abc.abstractmethod
    async def give_back(self, counted: Sequence[Quota], number: int) -> None:
        """Uncount evaluations at the quotas that have counted them, wherever the period of that is not over.

        A quota that was set meanwhile has not counted them, also where it stands in the place of one that has.
        """

    @abc.abstractmethod
    async def refuse(self, quota: Quota, number: int, at: float) -> None:
        """Count evaluations that were refused for a quota; the first of a period is noted in the log, by ``@host``."""
