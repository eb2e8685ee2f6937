"""Quotas in a file of SQLite."""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import abc
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.store.access_records import HOST
from benchhost.store.commits import Commits
from benchhost.store.quota_protocol import QuotaStore
from benchhost.store.quota_records import Period, Quota, Spent, in_force, in_order, returned, spent
from benchhost.store.sqlite_access import note

_COLUMNS = ("tenant", "benchmark", "period", "most", "used", "since", "refused", "listed")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM quota"
_OF = "tenant = ? AND benchmark = ?"
_INSERT = f"""
    INSERT INTO quota ({", ".join(_COLUMNS)}) VALUES ({", ".join("?" for _ in _COLUMNS)})
    ON CONFLICT (tenant, benchmark, period) DO UPDATE SET
"""
_SET = f"{_INSERT} most = excluded.most, listed = 0"
_KEEP = f"{_INSERT} most = excluded.most, used = excluded.used, since = excluded.since, refused = excluded.refused"


class SQLiteQuotas(QuotaStore):
    """The part of :class:`~benchhost.store.SQLiteStore` that is about quotas."""

    @abc.abstractmethod
    def _writer(self) -> Commits: ...

    @abc.abstractmethod
    async def _read(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    async def set_quota(self, quota: Quota, *, at: float, by: str) -> None:
        await self._writer().write(_set, (quota, at, by), durable=True)

    async def remove_quota(
        self, tenant: str, benchmark: str, period: Period | None = None, *, at: float, by: str
    ) -> int:
        return await self._writer().write(_remove, (tenant, benchmark, period, at, by), durable=True)

    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        only, of = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        return in_order([_quota(row) for row in await self._read(f"{_SELECT} {only}", of)])

    async def spend(self, tenant: str, benchmark: str, number: int, at: float, listed: Sequence[Quota] = ()) -> Spent:
        return await self._writer().write(_spend, (tenant, benchmark, number, at, listed), durable=False)

    async def give_back(self, counted: Sequence[Quota], number: int) -> None:
        await self._writer().write(_give_back, (counted, number), durable=False)

    async def refuse(self, quota: Quota, number: int, at: float) -> None:
        await self._writer().write(_refuse, (quota, number, at), durable=False)


def _quota(row: Sequence[Any]) -> Quota:
    tenant, benchmark, period, most, used, since, refused, listed = row
    return Quota(
        tenant=tenant,
        benchmark=benchmark,
        period=period,
        limit=most,
        used=used,
        since=since,
        refused=refused,
        listed=bool(listed),
    )


def _set(cursor: sqlite3.Cursor, what: tuple[Quota, float, str]) -> None:
    quota, at, by = what
    cursor.execute(_SET, msgspec.structs.astuple(msgspec.structs.replace(quota, since=at)))
    note(cursor, "quota-set", quota.tenant, quota.datasets, at, by, quota=quota.said)


def _remove(cursor: sqlite3.Cursor, what: tuple[str, str, Period | None, float, str]) -> int:
    tenant, benchmark, period, at, by = what
    removed = [each for each in _of(cursor, tenant, benchmark) if not each.listed and period in (None, each.period)]
    for quota in removed:
        cursor.execute(f"DELETE FROM quota WHERE {_OF} AND period = ?", (tenant, benchmark, quota.period))
        note(cursor, "quota-removed", tenant, quota.datasets, at, by, quota=quota.said)
    return len(removed)


def _of(cursor: sqlite3.Cursor, tenant: str, benchmark: str) -> list[Quota]:
    return [_quota(row) for row in cursor.execute(f"{_SELECT} WHERE {_OF}", (tenant, benchmark)).fetchall()]


def _keep(cursor: sqlite3.Cursor, quota: Quota) -> None:
    cursor.execute(_KEEP, msgspec.structs.astuple(quota))


def _spend(cursor: sqlite3.Cursor, what: tuple[str, str, int, float, Sequence[Quota]]) -> Spent:
    tenant, benchmark, number, at, listed = what
    outcome = spent([quota.at(at) for quota in in_force(_of(cursor, tenant, benchmark), listed)], number)
    for quota in outcome.counted:
        _keep(cursor, quota)
    return outcome


def _give_back(cursor: sqlite3.Cursor, what: tuple[Sequence[Quota], int]) -> None:
    counted, number = what
    for each in counted:
        for kept in _of(cursor, each.tenant, each.benchmark):
            if (after := returned(kept, each, number)) is not None:
                _keep(cursor, after)


def _refuse(cursor: sqlite3.Cursor, what: tuple[Quota, int, float]) -> None:
    quota, number, at = what
    found = [each for each in _of(cursor, quota.tenant, quota.benchmark) if each.period == quota.period]
    kept = (found[0] if found else quota).at(at)
    _keep(cursor, msgspec.structs.replace(kept, refused=kept.refused + number))
    if not kept.refused:
        note(cursor, "quota-reached", quota.tenant, quota.datasets, at, HOST, quota=quota.said)
