"""What every store promises about access."""

from __future__ import annotations

import abc
from collections.abc import Mapping, Sequence

from benchhost.store.access_records import AccessEvent, KeyRecord, TenantRecord


class AccessStore(abc.ABC):
    """Keeps tenants and keys. What :class:`~benchhost.store.Store` says of errors is true here.

    Every change is durable, is noted in the log with ``at`` and ``by`` in the same transaction, and
    makes :meth:`access_generation` another one; a change that changes nothing does neither.
    """

    @abc.abstractmethod
    async def grant(
        self, tenant: str, datasets: Sequence[str], *, trial: bool | None = None, at: float, by: str
    ) -> TenantRecord:
        """Grant datasets to a tenant, who may be new or revoked, and return the tenant as it is then.

        ``trial`` puts it on trial, or ends that; ``None`` leaves it.
        """

    @abc.abstractmethod
    async def revoke(self, tenant: str, datasets: Sequence[str] = (), *, at: float, by: str) -> tuple[str, ...]:
        """Take datasets from a tenant, and return those that it had been granted.

        Without ``datasets`` the tenant is revoked altogether: its datasets are taken, all its keys
        revoked, and it is marked, also if it was not known here.
        """

    @abc.abstractmethod
    async def tenants(self) -> list[TenantRecord]:
        """Return every tenant that was ever granted something here, or revoked, by name."""

    @abc.abstractmethod
    async def add_key(self, key: KeyRecord, *, by: str) -> None:
        """Record a new key; its time in the log is that of its creation.

        Raises :class:`~benchhost.errors.StoreFailed` also when there is one of that id or digest.
        """

    @abc.abstractmethod
    async def key(self, digest: bytes) -> KeyRecord | None:
        """Return the key of that digest, whether it is still good or not, or ``None``."""

    @abc.abstractmethod
    async def keys(self, tenant: str | None = None) -> list[KeyRecord]:
        """Return the keys of a tenant, or all, in the order in which they were made."""

    @abc.abstractmethod
    async def revoke_key(self, key_id: str, *, at: float, by: str) -> bool:
        """Revoke a key; ``False`` when there is none of that id that is not revoked yet."""

    @abc.abstractmethod
    async def used(self, keys: Mapping[str, float]) -> None:
        """Note when keys, by their ids, were last used: no change of access, and perhaps lost in a power cut."""

    @abc.abstractmethod
    async def access_generation(self) -> int:
        """Return the number of the last change: cheap, since every worker asks again and again."""

    @abc.abstractmethod
    async def access_log(self, tenant: str | None = None, *, limit: int = 1000) -> list[AccessEvent]:
        """Return the newest changes, the newest first, of one tenant or of all."""
