"""Access in a file of SQLite."""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import abc
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.access_protocol import AccessStore
from benchhost.store.access_records import AccessEvent, AccessKind, KeyRecord, TenantRecord
from benchhost.store.commits import Commits

_KEY = KeyRecord.__struct_fields__
_SELECT_KEY = f"SELECT {', '.join(_KEY)} FROM access_key"
_INSERT_KEY = f"INSERT INTO access_key ({', '.join(_KEY)}) VALUES ({', '.join('?' for _ in _KEY)})"

_EVENT = AccessEvent.__struct_fields__
_SELECT_EVENT = f"SELECT {', '.join(_EVENT)} FROM access_event"
_INSERT_EVENT = f"INSERT INTO access_event ({', '.join(_EVENT[1:])}) VALUES (?, ?, ?, ?, ?, ?, ?)"

_SELECT_TENANT = """
    SELECT name, trial, revoked_at, (
        SELECT json_group_array(dataset) FROM (SELECT dataset FROM granted WHERE tenant = name ORDER BY dataset)
    ) FROM tenant
"""


class SQLiteAccess(AccessStore):
    """The part of :class:`~benchhost.store.SQLiteStore` that is about access."""

    @abc.abstractmethod
    def _writer(self) -> Commits: ...

    @abc.abstractmethod
    async def _read(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    async def grant(
        self, tenant: str, datasets: Sequence[str], *, trial: bool | None = None, at: float, by: str
    ) -> TenantRecord:
        return await self._writer().write(_grant, (tenant, datasets, trial, at, by), durable=True)

    async def revoke(self, tenant: str, datasets: Sequence[str] = (), *, at: float, by: str) -> tuple[str, ...]:
        return await self._writer().write(_revoke, (tenant, datasets, at, by), durable=True)

    async def tenants(self) -> list[TenantRecord]:
        return [_tenant(row) for row in await self._read(f"{_SELECT_TENANT} ORDER BY name")]

    async def add_key(self, key: KeyRecord, *, by: str) -> None:
        await self._writer().write(_add_key, (key, by), durable=True)

    async def key(self, digest: bytes) -> KeyRecord | None:
        rows = await self._read(f"{_SELECT_KEY} WHERE digest = ?", (digest,))
        return _key(rows[0]) if rows else None

    async def keys(self, tenant: str | None = None) -> list[KeyRecord]:
        only, of = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        return [_key(row) for row in await self._read(f"{_SELECT_KEY} {only} ORDER BY rowid", of)]

    async def revoke_key(self, key_id: str, *, at: float, by: str) -> bool:
        return await self._writer().write(_revoke_key, (key_id, at, by), durable=True)

    async def used(self, keys: Mapping[str, float]) -> None:
        await self._writer().write(_used, keys, durable=False)

    async def access_generation(self) -> int:
        return int((await self._read("SELECT coalesce(max(number), 0) FROM access_event"))[0][0])

    async def access_log(self, tenant: str | None = None, *, limit: int = 1000) -> list[AccessEvent]:
        only, of = ("WHERE tenant = ?", (tenant,)) if tenant is not None else ("", ())
        rows = await self._read(f"{_SELECT_EVENT} {only} ORDER BY number DESC LIMIT ?", (*of, limit))
        return [AccessEvent(**_with_datasets(_EVENT, row)) for row in rows]


def _grant(cursor: sqlite3.Cursor, what: tuple[str, Sequence[str], bool | None, float, str]) -> TenantRecord:
    tenant, datasets, trial, at, by = what
    before = _find(cursor, tenant)
    cursor.execute("INSERT INTO tenant (name) VALUES (?) ON CONFLICT (name) DO UPDATE SET revoked_at = NULL", (tenant,))
    if trial is not None:
        cursor.execute("UPDATE tenant SET trial = ? WHERE name = ?", (trial, tenant))
    for dataset in datasets:
        cursor.execute("INSERT INTO granted (tenant, dataset) VALUES (?, ?) ON CONFLICT DO NOTHING", (tenant, dataset))
    after = _find(cursor, tenant)
    assert after is not None
    if after != before:
        note(cursor, "grant", tenant, sorted(set(datasets)), at, by)
    return after


def _revoke(cursor: sqlite3.Cursor, what: tuple[str, Sequence[str], float, str]) -> tuple[str, ...]:
    tenant, datasets, at, by = what
    before = _find(cursor, tenant) or TenantRecord(name=tenant)
    if datasets:
        taken = tuple(sorted({*before.datasets} & {*datasets}))
        for dataset in taken:
            cursor.execute("DELETE FROM granted WHERE tenant = ? AND dataset = ?", (tenant, dataset))
        if taken:
            note(cursor, "revoke", tenant, taken, at, by)
        return taken
    if before.revoked_at is None:
        cursor.execute("DELETE FROM granted WHERE tenant = ?", (tenant,))
        cursor.execute(
            "INSERT INTO tenant (name, revoked_at) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET revoked_at = excluded.revoked_at",
            (tenant, at),
        )
        cursor.execute("UPDATE access_key SET revoked_at = ? WHERE tenant = ? AND revoked_at IS NULL", (at, tenant))
        note(cursor, "revoke", tenant, before.datasets, at, by)
    return before.datasets


def _add_key(cursor: sqlite3.Cursor, what: tuple[KeyRecord, str]) -> None:
    key, by = what
    values = [_json(value) if isinstance(value, tuple) else value for value in msgspec.structs.astuple(key)]
    try:
        cursor.execute(_INSERT_KEY, values)
    except sqlite3.IntegrityError:
        raise StoreFailed(f"there is a key {key.id} already") from None
    note(cursor, "key-created", key.tenant, key.datasets, key.created_at, by, key.id)


def _revoke_key(cursor: sqlite3.Cursor, what: tuple[str, float, str]) -> bool:
    key_id, at, by = what
    found = cursor.execute(f"{_SELECT_KEY} WHERE id = ? AND revoked_at IS NULL", (key_id,)).fetchone()
    if found is None:
        return False
    key = _key(found)
    cursor.execute("UPDATE access_key SET revoked_at = ? WHERE id = ?", (at, key_id))
    note(cursor, "key-revoked", key.tenant, key.datasets, at, by, key_id)
    return True


def _used(cursor: sqlite3.Cursor, keys: Mapping[str, float]) -> None:
    cursor.executemany(
        "UPDATE access_key SET used_at = max(?, coalesce(used_at, 0)) WHERE id = ?",
        [(at, key_id) for key_id, at in keys.items()],
    )


def note(
    cursor: sqlite3.Cursor,
    kind: AccessKind,
    tenant: str,
    datasets: Sequence[str],
    at: float,
    by: str,
    key: str = "",
    quota: str = "",
) -> None:
    """Note a change of access, within its transaction."""
    cursor.execute(_INSERT_EVENT, (at, by, kind, tenant, _json(datasets), key, quota))


def _find(cursor: sqlite3.Cursor, tenant: str) -> TenantRecord | None:
    row = cursor.execute(f"{_SELECT_TENANT} WHERE name = ?", (tenant,)).fetchone()
    return None if row is None else _tenant(row)


def _tenant(row: Sequence[Any]) -> TenantRecord:
    name, trial, revoked_at, datasets = row
    return TenantRecord(
        name=name,
        datasets=tuple(msgspec.json.decode(datasets)),
        trial=None if trial is None else bool(trial),
        revoked_at=revoked_at,
    )


def _key(row: Sequence[Any]) -> KeyRecord:
    return KeyRecord(**_with_datasets(_KEY, row))


def _with_datasets(names: Sequence[str], row: Sequence[Any]) -> dict[str, Any]:
    fields = dict(zip(names, row, strict=True))
    fields["datasets"] = tuple(msgspec.json.decode(fields["datasets"]))
    return fields


def _json(datasets: Sequence[str]) -> str:
    return msgspec.json.encode(datasets).decode()
