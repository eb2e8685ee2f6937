"""Quotas: how many evaluations a tenant may begin at a benchmark in a period of the calendar."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import msgspec

Period = Literal["minute", "hour", "day", "week", "month", "year"]

PERIODS: tuple[Period, ...] = get_args(Period)


class Quota(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """At most ``limit`` evaluations of a tenant at a benchmark are begun in each ``period``.

    ``used`` are those that it has counted since ``since``, in seconds since 1970, which is when it was set, or when its
    first evaluation of the period began; ``refused`` are those that it had no room for. One that is ``listed`` is the
    allowlist's: what is used of it is kept, and it holds for as long as whoever spends says so.
    """

    tenant: str
    benchmark: str
    period: Period
    limit: int
    used: int = 0
    since: float = 0.0
    refused: int = 0
    listed: bool = False

    @property
    def said(self) -> str:
        """The limit and the period, as the command line reads them: ``1000/day``."""
        return f"{self.limit}/{self.period}"

    @property
    def datasets(self) -> tuple[str, ...]:
        """The datasets that it is about, as they are written in grants."""
        return (f"{self.benchmark}/*",)

    def at(self, now: float) -> Quota:
        """Return it as it is at a time: in a new period, nothing is used."""
        begins, _ = bounds(self.period, now)
        return self if begins <= self.since else msgspec.structs.replace(self, used=0, refused=0, since=now)


class Spent(msgspec.Struct, frozen=True):
    """What came of evaluations that were to begin: the quotas that have counted them, or the one that has no room."""

    counted: tuple[Quota, ...] = ()
    refused_by: Quota | None = None


def bounds(period: Period, at: float) -> tuple[float, float]:
    """Say when the period begins in which a time lies, and when the next one does: both in UTC."""
    now = dt.datetime.fromtimestamp(at, dt.UTC).replace(second=0, microsecond=0)
    midnight = now.replace(hour=0, minute=0)
    if period == "year":
        begins = midnight.replace(month=1, day=1)
        return begins.timestamp(), begins.replace(year=begins.year + 1).timestamp()
    if period == "month":
        begins = midnight.replace(day=1)
        return begins.timestamp(), (begins + dt.timedelta(days=32)).replace(day=1).timestamp()
    monday = midnight - dt.timedelta(days=now.weekday())
    begins = {"week": monday, "day": midnight, "hour": now.replace(minute=0), "minute": now}[period]
    return begins.timestamp(), (begins + dt.timedelta(**{f"{period}s": 1})).timestamp()


def in_order(quotas: Iterable[Quota]) -> list[Quota]:
    """Sort quotas by tenant, benchmark and the length of the period."""
    return sorted(quotas, key=lambda quota: (quota.tenant, quota.benchmark, PERIODS.index(quota.period)))


def in_force(kept: Iterable[Quota], listed: Sequence[Quota]) -> list[Quota]:
    """Say which quotas of a tenant at a benchmark hold: those that were set, and else those of the allowlist.

    ``kept`` are those in the store, and say what was used.
    """
    by_period = {quota.period: quota for quota in kept}
    held = {period: quota for period, quota in by_period.items() if not quota.listed}
    for quota in listed:
        used = by_period.get(quota.period, quota)
        held.setdefault(quota.period, msgspec.structs.replace(used, limit=quota.limit, listed=True))
    return in_order(held.values())


def in_the_way(quotas: Sequence[Quota], number: int) -> Quota | None:
    """Find the quota that has no room for so many more, and has none for the longest time."""
    full = [quota for quota in quotas if quota.used + number > quota.limit]
    return max(full, key=lambda quota: bounds(quota.period, quota.since)[1], default=None)


def spent(quotas: Sequence[Quota], number: int) -> Spent:
    """Count so many more at each of the quotas; or, if one has no room for them, at none."""
    if (refused := in_the_way(quotas, number)) is not None:
        return Spent(refused_by=refused)
    return Spent(tuple(msgspec.structs.replace(quota, used=quota.used + number) for quota in quotas))


def returned(kept: Quota, counted: Quota, number: int) -> Quota | None:
    """Return a quota with less used, or ``None`` when it is not the one that has counted them, of the same period."""
    if (kept.period, kept.since) != (counted.period, counted.since):
        return None
    return msgspec.structs.replace(kept, used=kept.used - number)
