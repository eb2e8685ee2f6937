"""What the commands about quotas do: they change and read what is in the store, where servers find it."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Sequence
from typing import Any

from benchhost.access import is_tenant
from benchhost.cli.stored import opened_store
from benchhost.errors import UsageError
from benchhost.settings import Settings
from benchhost.store import PERIODS, Period, Quota
from benchhost.store.quota_records import bounds

_LIMIT = re.compile(r"([1-9]\d{0,11})/(\w+)", re.ASCII)


async def set_quotas(settings: Settings, tenant: str, benchmark: str, limits: Sequence[str]) -> list[str]:
    """Set quotas, and say in lines how they are then.

    Raises :class:`~benchhost.errors.UsageError`; nothing is set then.
    """
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} can be no tenant")
    wanted: dict[Period, int] = {}
    for limit in limits:
        said = _LIMIT.fullmatch(limit)
        if said is None:
            raise UsageError(f"{limit!r} is no quota; expected a number and a period, such as 1000/day")
        wanted[_period(said[2])] = int(said[1])
    async with opened_store(settings) as store:
        for period, most in wanted.items():
            await store.set_quota(Quota(tenant=tenant, benchmark=benchmark, period=period, limit=most))
        return [line_of(_told(each)) for each in await store.quotas(tenant) if each.benchmark == benchmark]


async def told_quotas(settings: Settings, tenant: str | None) -> list[dict[str, Any]]:
    """Tell of the quotas of a tenant, or of all."""
    async with opened_store(settings) as store:
        return [_told(quota) for quota in await store.quotas(tenant)]


async def removed_quotas(settings: Settings, tenant: str, benchmark: str, periods: Sequence[str]) -> int:
    """Remove quotas, and say how many.

    Raises :class:`~benchhost.errors.UsageError` for one that there is not; nothing is removed then.
    """
    wanted = [_period(period) for period in periods]
    async with opened_store(settings) as store:
        there = [each.period for each in await store.quotas(tenant) if each.benchmark == benchmark]
        missing = [f" per {period}" for period in wanted if period not in there] or ([] if there else [""])
        if missing:
            raise UsageError(
                f"{tenant} does not have a quota{missing[0]} at {benchmark}. Look at: benchhost quota list"
            )
        return sum([await store.remove_quota(tenant, benchmark, period) for period in wanted or there])


def line_of(told: dict[str, Any]) -> str:
    """Tell of a quota in a line."""
    ends = dt.datetime.fromtimestamp(told["ends_at"], dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    used = f"{told['used']:,} used until {ends}"
    return f"{told['tenant']}  {told['benchmark']}  {told['limit']:,}/{told['period']}  {used}"


def _period(text: str) -> Period:
    for period in PERIODS:
        if text == period:
            return period
    raise UsageError(f"{text!r} is no period; expected one of: {', '.join(PERIODS)}")


def _told(quota: Quota) -> dict[str, Any]:
    now = time.time()
    current = quota.at(now)
    return {
        "tenant": quota.tenant,
        "benchmark": quota.benchmark,
        "period": quota.period,
        "limit": quota.limit,
        "used": current.used,
        "ends_at": bounds(quota.period, now)[1],
    }
