"""Quotas in a file of SQLite."""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import abc
import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.store.commits import Commits
from benchhost.store.quota_protocol import QuotaStore
from benchhost.store.quota_records import Period, Quota, in_order, in_the_way, returned

_COLUMNS = ("tenant", "benchmark", "period", "most", "used", "since")
_SELECT = f"SELECT {', '.join(_COLUMNS)} FROM quota"
_OF = "tenant = ? AND benchmark = ?"
_SET = f"""
    INSERT INTO quota ({", ".join(_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)
    ON CONFLICT (tenant, benchmark, period) DO UPDATE SET most = excluded.most
"""
_USE = f"UPDATE quota SET used = ?, since = ? WHERE {_OF} AND period = ?"


class SQLiteQuotas(QuotaStore):
    """The part of :class:`~benchhost.store.SQLiteStore` that is about quotas."""

    @abc.abstractmethod
    def _writer(self) -> Commits: ...

    @abc.abstractmethod
    async def _read(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    async def set_quota(self, quota: Quota) -> None:
        await self._writer().write(_set, quota, durable=True)

    async def remove_quota(self, tenant: str, benchmark: str, period: Period | None = None) -> int:
        return await self._writer().write(_remove, (tenant, benchmark, period), durable=True)

    async def quotas(self, tenant: str | None = None) -> list[Quota]:
        only, of = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        return in_order([_quota(row) for row in await self._read(f"{_SELECT} {only}", of)])

    async def spend(self, tenant: str, benchmark: str, number: int, at: float) -> Quota | None:
        return await self._writer().write(_spend, (tenant, benchmark, number, at), durable=False)

    async def give_back(self, tenant: str, benchmark: str, number: int, at: float) -> None:
        await self._writer().write(_give_back, (tenant, benchmark, number, at), durable=False)


def _quota(row: Sequence[Any]) -> Quota:
    return Quota(tenant=row[0], benchmark=row[1], period=row[2], limit=row[3], used=row[4], since=row[5])


def _set(cursor: sqlite3.Cursor, quota: Quota) -> None:
    cursor.execute(_SET, msgspec.structs.astuple(quota))


def _remove(cursor: sqlite3.Cursor, which: tuple[str, str, Period | None]) -> int:
    tenant, benchmark, period = which
    if period is None:
        return cursor.execute(f"DELETE FROM quota WHERE {_OF}", (tenant, benchmark)).rowcount
    return cursor.execute(f"DELETE FROM quota WHERE {_OF} AND period = ?", (tenant, benchmark, period)).rowcount


def _of(cursor: sqlite3.Cursor, tenant: str, benchmark: str) -> list[Quota]:
    return [_quota(row) for row in cursor.execute(f"{_SELECT} WHERE {_OF}", (tenant, benchmark)).fetchall()]


def _keep(cursor: sqlite3.Cursor, quota: Quota) -> None:
    cursor.execute(_USE, (quota.used, quota.since, quota.tenant, quota.benchmark, quota.period))


def _spend(cursor: sqlite3.Cursor, what: tuple[str, str, int, float]) -> Quota | None:
    tenant, benchmark, number, at = what
    quotas = [quota.at(at) for quota in _of(cursor, tenant, benchmark)]
    if (refused := in_the_way(quotas, number)) is not None:
        return refused
    for quota in quotas:
        _keep(cursor, msgspec.structs.replace(quota, used=quota.used + number))
    return None


def _give_back(cursor: sqlite3.Cursor, what: tuple[str, str, int, float]) -> None:
    tenant, benchmark, number, at = what
    for quota in _of(cursor, tenant, benchmark):
        if (after := returned(quota, number, at)) is not None:
            _keep(cursor, after)
