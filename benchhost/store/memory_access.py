"""Access in dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.access_protocol import AccessStore
from benchhost.store.access_records import AccessEvent, AccessKind, KeyRecord, TenantRecord


class _Access:
    def __init__(self) -> None:
        self.tenants: dict[str, TenantRecord] = {}
        self.keys: dict[str, KeyRecord] = {}
        self.log: list[AccessEvent] = []

    def note(
        self,
        kind: AccessKind,
        tenant: str,
        datasets: Sequence[str],
        at: float,
        by: str,
        key: str = "",
        quota: str = "",
    ) -> None:
        self.log.append(
            AccessEvent(
                number=len(self.log) + 1,
                at=at,
                by=by,
                kind=kind,
                tenant=tenant,
                datasets=tuple(datasets),
                key=key,
                quota=quota,
            )
        )


class MemoryAccess(AccessStore):
    """The part of :class:`~benchhost.store.MemoryStore` that is about access."""

    _access: _Access | None = None

    async def grant(
        self, tenant: str, datasets: Sequence[str], *, trial: bool | None = None, at: float, by: str
    ) -> TenantRecord:
        access = self._open_access()
        before = access.tenants.get(tenant, TenantRecord(name=tenant))
        after = TenantRecord(
            name=tenant,
            datasets=tuple(sorted({*before.datasets, *datasets})),
            trial=before.trial if trial is None else trial,
        )
        if after != before or tenant not in access.tenants:
            access.tenants[tenant] = after
            access.note("grant", tenant, sorted(set(datasets)), at, by)
        return after

    async def revoke(self, tenant: str, datasets: Sequence[str] = (), *, at: float, by: str) -> tuple[str, ...]:
        access = self._open_access()
        before = access.tenants.get(tenant, TenantRecord(name=tenant))
        if datasets:
            taken = tuple(sorted({*before.datasets} & {*datasets}))
            if taken:
                left = tuple(name for name in before.datasets if name not in taken)
                access.tenants[tenant] = msgspec.structs.replace(before, datasets=left)
                access.note("revoke", tenant, taken, at, by)
            return taken
        if before.revoked_at is None:
            access.tenants[tenant] = msgspec.structs.replace(before, datasets=(), revoked_at=at)
            for key in access.keys.values():
                if key.tenant == tenant and key.revoked_at is None:
                    access.keys[key.id] = msgspec.structs.replace(key, revoked_at=at)
            access.note("revoke", tenant, before.datasets, at, by)
        return before.datasets

    async def tenants(self) -> list[TenantRecord]:
        return sorted(self._open_access().tenants.values(), key=lambda tenant: tenant.name)

    async def add_key(self, key: KeyRecord, *, by: str) -> None:
        access = self._open_access()
        if key.id in access.keys or any(key.digest == other.digest for other in access.keys.values()):
            raise StoreFailed(f"there is a key {key.id} already")
        access.keys[key.id] = key
        access.note("key-created", key.tenant, key.datasets, key.created_at, by, key.id)

    async def key(self, digest: bytes) -> KeyRecord | None:
        return next((key for key in self._open_access().keys.values() if key.digest == digest), None)

    async def keys(self, tenant: str | None = None) -> list[KeyRecord]:
        return [key for key in self._open_access().keys.values() if tenant in (None, key.tenant)]

    async def revoke_key(self, key_id: str, *, at: float, by: str) -> bool:
        access = self._open_access()
        key = access.keys.get(key_id)
        if key is None or key.revoked_at is not None:
            return False
        access.keys[key_id] = msgspec.structs.replace(key, revoked_at=at)
        access.note("key-revoked", key.tenant, key.datasets, at, by, key_id)
        return True

    async def used(self, keys: Mapping[str, float]) -> None:
        access = self._open_access()
        for key_id, at in keys.items():
            if (key := access.keys.get(key_id)) is not None:
                access.keys[key_id] = msgspec.structs.replace(key, used_at=max(at, key.used_at or 0.0))

    async def access_generation(self) -> int:
        return len(self._open_access().log)

    async def access_log(self, tenant: str | None = None, *, limit: int = 1000) -> list[AccessEvent]:
        return [event for event in reversed(self._open_access().log) if tenant in (None, event.tenant)][:limit]

    def _open_access(self) -> _Access:
        if self._access is None:
            raise StoreFailed("the store is not open")
        return self._access

    def _forget_access(self, *, opened: bool) -> None:
        self._access = _Access() if opened else None
