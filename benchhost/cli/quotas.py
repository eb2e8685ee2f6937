"""What the commands about quotas do: they change and read what is in the store, where servers find it."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.access import is_benchmark, is_tenant, quotas_of, read_allowlist
from benchhost.cli.stored import opened_store
from benchhost.cli.words import user
from benchhost.errors import UsageError
from benchhost.settings import Settings
from benchhost.store import PERIODS, Period, Quota
from benchhost.store.quota_records import bounds, in_force, in_order

_LIMIT = re.compile(r"([1-9]\d{0,11})/(\w+)", re.ASCII)


async def set_quotas(settings: Settings, tenant: str, benchmark: str, limits: Sequence[str]) -> list[str]:
    """Set quotas, and say in lines how they are then.

    Raises :class:`~benchhost.errors.UsageError`; nothing is set then.
    """
    if not is_tenant(tenant):
        raise UsageError(f"{tenant!r} can be no tenant")
    if not is_benchmark(benchmark):
        raise UsageError(f"{benchmark!r} can be no name of a benchmark; a quota is for one benchmark")
    wanted: dict[Period, int] = {}
    for limit in limits:
        said = _LIMIT.fullmatch(limit)
        if said is None:
            raise UsageError(f"{limit!r} is no quota; expected a number and a period, such as 1000/day")
        wanted[_period(said[2])] = int(said[1])
    async with opened_store(settings) as store:
        for period, most in wanted.items():
            quota = Quota(tenant=tenant, benchmark=benchmark, period=period, limit=most)
            await store.set_quota(quota, at=time.time(), by=user())
        held = held_quotas(settings, await store.quotas(tenant))
        return [line_of(told_quota(each)) for each in held if (each.tenant, each.benchmark) == (tenant, benchmark)]


async def told_quotas(settings: Settings, tenant: str | None) -> list[dict[str, Any]]:
    """Tell of the quotas of a tenant, or of all."""
    async with opened_store(settings) as store:
        held = held_quotas(settings, await store.quotas())
        return [told_quota(quota) for quota in held if tenant in (None, quota.tenant)]


def held_quotas(settings: Settings, kept: Sequence[Quota]) -> list[Quota]:
    """Say which quotas hold: those that are kept in the store, and those of the allowlist.

    One of the allowlist is told at each benchmark at which something was counted, and at ``*`` before there was any.
    """
    held: list[Quota] = []
    listed = {
        tenant: Quota(tenant=tenant, benchmark="*", period=period, limit=limit, listed=True)
        for tenant, (limit, period) in quotas_of(read_allowlist(settings.allowlist_json, settings.allowlist)).items()
    }
    for tenant, benchmark in sorted({(quota.tenant, quota.benchmark) for quota in kept}):
        own = [quota for quota in kept if (quota.tenant, quota.benchmark) == (tenant, benchmark)]
        anew = [msgspec.structs.replace(listed[tenant], benchmark=benchmark)] if tenant in listed else []
        held += in_force(own, anew)
    counted = {quota.tenant for quota in held if quota.listed}
    return in_order([*held, *(quota for tenant, quota in listed.items() if tenant not in counted)])


async def removed_quotas(settings: Settings, tenant: str, benchmark: str, periods: Sequence[str]) -> int:
    """Remove quotas, and say how many.

    Raises :class:`~benchhost.errors.UsageError` for one that there is not; nothing is removed then.
    """
    wanted = [_period(period) for period in periods]
    async with opened_store(settings) as store:
        kept = await store.quotas(tenant)
        there = [each.period for each in kept if each.benchmark == benchmark and not each.listed]
        missing = [f" per {period}" for period in wanted if period not in there] or ([] if there else [""])
        if missing:
            listed = tenant in quotas_of(read_allowlist(settings.allowlist_json, settings.allowlist))
            raise UsageError(
                f"{tenant} does not have a quota{missing[0]} at {benchmark} that was set here"
                f"{' (the allowlist has one)' if listed else ''}. Look at: benchhost quota list"
            )
        now = time.time()
        removed = [await store.remove_quota(tenant, benchmark, period, at=now, by=user()) for period in wanted or there]
        return sum(removed)


def line_of(told: dict[str, Any]) -> str:
    """Tell of a quota in a line."""
    ends = dt.datetime.fromtimestamp(told["ends_at"], dt.UTC).strftime("%Y-%m-%d %H:%M UTC")
    used = f"{told['used']:,} used until {ends}"
    refused = f", {told['refused']:,} refused" if told["refused"] else ""
    where = " (allowlist)" if told["in_allowlist"] else ""
    return f"{told['tenant']}  {told['benchmark']}  {told['limit']:,}/{told['period']}{where}  {used}{refused}"


def _period(text: str) -> Period:
    for period in PERIODS:
        if text == period:
            return period
    raise UsageError(f"{text!r} is no period; expected one of: {', '.join(PERIODS)}")


def told_quota(quota: Quota) -> dict[str, Any]:
    """Tell of a quota, as it is now."""
    now = time.time()
    current = quota.at(now)
    return {
        "tenant": quota.tenant,
        "benchmark": quota.benchmark,
        "period": quota.period,
        "limit": quota.limit,
        "used": current.used,
        "refused": current.refused,
        "in_allowlist": quota.listed,
        "ends_at": bounds(quota.period, now)[1],
    }
