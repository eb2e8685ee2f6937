"""What the commands about access do: they change and read what is in the store, where servers find it."""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Sequence
from typing import Any, NamedTuple

from benchhost.access import Listed, is_tenant, new_key, pattern, read_allowlist, together
from benchhost.cli.quotas import held_quotas, told_quota
from benchhost.cli.stored import opened_store
from benchhost.cli.words import line, moment, user
from benchhost.errors import UsageError
from benchhost.server.policy import describe, modes_of, policy_of
from benchhost.settings import Settings
from benchhost.store import KeyRecord, Store, TenantRecord

_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 604800}
_LAST = dt.datetime.max.replace(tzinfo=dt.UTC).timestamp()
_FROM_NOW = re.compile(r"([1-9]\d{0,5})([mhdw])")


class CreatedKey(NamedTuple):
    """A new key, what is told of it, and whether its tenant may use anything."""

    key: str
    told: dict[str, Any]
    grants: bool


async def created_key(
    settings: Settings, tenant: str, datasets: Sequence[str], expires_at: float | None, label: str
) -> CreatedKey:
    """Make a key; the datasets that it is for are granted to its tenant.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    _check_tenant(tenant)
    names = tuple(pattern(name) for name in datasets)
    made, now = new_key(), time.time()
    record = KeyRecord(
        id=made.id,
        digest=made.digest,
        tenant=tenant,
        datasets=names,
        label=label,
        created_at=now,
        expires_at=expires_at,
    )
    async with opened_store(settings) as store:
        await _must_not_be_revoked(store, tenant, names)
        if names:
            await store.grant(tenant, names, at=now, by=user())
        await store.add_key(record, by=user())
        known = together(_listed(settings), await store.tenants())
    return CreatedKey(made.key, _told(record), tenant in known)


async def told_keys(settings: Settings, tenant: str | None) -> list[dict[str, Any]]:
    """Tell of the keys of a tenant, or of all."""
    async with opened_store(settings) as store:
        return [_told(key) for key in await store.keys(tenant)]


async def revoked_keys(settings: Settings, ids: Sequence[str]) -> None:
    """Revoke keys; those that are revoked already stay so.

    Raises :class:`~benchhost.errors.UsageError` for an id that no key has; nothing is revoked then.
    """
    async with opened_store(settings) as store:
        known = {key.id for key in await store.keys()}
        for key_id in ids:
            if key_id not in known:
                raise UsageError(f"no key has the id {key_id[:12]!r}. Look at: benchhost keys list")
        for key_id in ids:
            await store.revoke_key(key_id, at=time.time(), by=user())


async def granted(settings: Settings, tenant: str, datasets: Sequence[str], trial: bool | None) -> TenantRecord:
    """Grant datasets, or change whether a tenant is on trial.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    _check_tenant(tenant)
    if not datasets and trial is None:
        raise UsageError(f"say what {tenant} is granted: benchhost grant {tenant} BENCHMARK/DATASET, or --trial")
    async with opened_store(settings) as store:
        return await store.grant(tenant, [pattern(name) for name in datasets], trial=trial, at=time.time(), by=user())


async def revoked(settings: Settings, tenant: str, datasets: Sequence[str]) -> tuple[str, ...]:
    """Take datasets from a tenant, or all access; return what was taken.

    Raises :class:`~benchhost.errors.UsageError` for a dataset that was not granted here.
    """
    _check_tenant(tenant)
    names = [pattern(name) for name in datasets]
    async with opened_store(settings) as store:
        has = {name for record in await store.tenants() if record.name == tenant for name in record.datasets}
        if missing := [name for name in names if name not in has]:
            listed = _listed(settings).get(tenant)
            where = "the allowlist grants it" if listed and missing[0] in listed.datasets.patterns else "it never was"
            raise UsageError(
                f"{tenant} was not granted {missing[0]} here ({where}); granted here are: "
                f"{', '.join(sorted(has)) or 'none'}. To take all access from it: benchhost revoke {tenant}"
            )
        return await store.revoke(tenant, names, at=time.time(), by=user())


async def audited(settings: Settings, tenant: str | None, limit: int) -> dict[str, Any]:
    """Tell who may use what, by which keys, and what was changed."""
    policy = policy_of(settings)
    async with opened_store(settings) as store:
        records = {record.name: record for record in await store.tenants()}
        keys = await store.keys()
        log = await store.access_log(tenant, limit=limit)
        quotas = held_quotas(settings, await store.quotas())
    known = together(policy.listed, list(records.values()))
    names = sorted({*known, *records, *(key.tenant for key in keys), *(quota.tenant for quota in quotas)})
    return {
        "modes": list(policy.modes),
        "enforced": describe(policy, settings),
        "tenants": [
            {
                "tenant": name,
                "datasets": sorted(known.get(name, Listed()).datasets.patterns),
                "trial": known.get(name, Listed()).trial,
                "revoked_at": records[name].revoked_at if name in records else None,
                "in_allowlist": name in policy.listed,
                "keys": [_told(key) for key in keys if key.tenant == name],
                "quotas": [told_quota(quota) for quota in quotas if quota.tenant == name],
            }
            for name in names
            if tenant in (None, name)
        ],
        "log": [
            {
                "number": event.number,
                "at": event.at,
                "by": event.by,
                "kind": event.kind,
                "tenant": event.tenant,
                "datasets": list(event.datasets),
                "key": event.key or None,
                "quota": event.quota or None,
            }
            for event in log
        ],
    }


def when(text: str) -> float:
    """Read when a key ends, as seconds since 1970.

    Raises :class:`~benchhost.errors.UsageError` also for what is past, and for what no calendar has a name for.
    """
    if found := _FROM_NOW.fullmatch(text):
        seconds = time.time() + int(found[1]) * _UNITS[found[2]]
    else:
        try:
            at = dt.datetime.fromisoformat(text)
        except ValueError:
            wanted = "a time from now (90d, 12h) nor a date (2027-01-31)"
            raise UsageError(f"--expires: {text!r} is neither {wanted}") from None
        seconds = (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
    if seconds <= time.time():
        raise UsageError(f"--expires: {text} is past")
    if seconds >= _LAST:
        raise UsageError(f"--expires: {text} is beyond the year 9999; without --expires, the key never ends")
    return seconds


def moment_or_never(seconds: float | None) -> str:
    """Say a time, in UTC."""
    return "never" if seconds is None else moment(seconds)


def key_line(key: dict[str, Any]) -> str:
    """Say of a key what it is for and in which state it is."""
    said = [", ".join(key["datasets"]) or "all that its tenant is granted", key["state"]]
    said.append(f"expires {moment_or_never(key['expires_at'])}")
    said.append(f"last used {moment_or_never(key['used_at'])}")
    if key["label"]:
        said.append(line(key["label"]))
    return "; ".join(said)


def where_keys_count(settings: Settings) -> str | None:
    """Say that keys are not asked for, if they are not."""
    modes = modes_of(settings)
    if "keys" in modes:
        return None
    return f"a host with these settings lets callers in by {', '.join(modes)}, and by no key: set auth to keys"


def where_tenants_count(settings: Settings) -> str | None:
    """Say that tenants are not told apart, if they are not."""
    modes = modes_of(settings)
    if set(modes) & {"keys", "descope", "oidc"}:
        return None
    return f"a host with these settings lets callers in by {', '.join(modes)}, which tells no tenants: see auth"


async def _must_not_be_revoked(store: Store, tenant: str, datasets: Sequence[str]) -> None:
    """A key for a revoked tenant would be of no use, unless it grants something and so lets it in again."""
    if datasets:
        return
    if any(record.name == tenant and record.revoked_at is not None for record in await store.tenants()):
        raise UsageError(f"{tenant} is revoked. To let it in again: benchhost grant {tenant} BENCHMARK/DATASET")


def _told(key: KeyRecord) -> dict[str, Any]:
    expired = key.expires_at is not None and key.expires_at <= time.time()
    return {
        "id": key.id,
        "tenant": key.tenant,
        "datasets": list(key.datasets),
        "label": key.label,
        "state": "revoked" if key.revoked_at is not None else "expired" if expired else "good",
        "created_at": key.created_at,
        "expires_at": key.expires_at,
        "revoked_at": key.revoked_at,
        "used_at": key.used_at,
    }


def _check_tenant(name: str) -> None:
    if not is_tenant(name):
        raise UsageError(f"{name!r} can be no name of a tenant: it is empty, reserved, too long, or not to be printed")


def _listed(settings: Settings) -> dict[str, Listed]:
    return read_allowlist(settings.allowlist_json, settings.allowlist)
