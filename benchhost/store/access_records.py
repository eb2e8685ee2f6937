"""What a store keeps of access: tenants and what they were granted, keys, and the log of both.

A dataset is written ``benchmark/dataset`` here; what the parts may be is for ``benchhost.access`` to say.
Times are in seconds since 1970.
"""

from __future__ import annotations

from typing import Literal

import msgspec

AccessKind = Literal["grant", "revoke", "key-created", "key-revoked", "quota-set", "quota-removed", "quota-reached"]

HOST = "@host"
"""Who notes what nobody has done by hand."""


class TenantRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A tenant, with the datasets that it was granted, sorted.

    ``trial`` is whether it is on trial, or ``None`` when that was never said. One that was revoked
    altogether has a ``revoked_at``, and no datasets, until it is granted something again.
    """

    name: str
    datasets: tuple[str, ...] = ()
    trial: bool | None = None
    revoked_at: float | None = None


class KeyRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A key of a tenant, which is itself not kept: ``digest`` is.

    ``datasets`` narrow what the tenant was granted; none means all of that.
    """

    id: str
    digest: bytes
    tenant: str
    datasets: tuple[str, ...] = ()
    label: str = ""
    created_at: float
    expires_at: float | None = None
    revoked_at: float | None = None
    used_at: float | None = None


class AccessEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A change of access: when, by whom (a user of the host's machine), to whom.

    ``number`` counts them from 1. ``datasets`` are those that were granted, revoked, named by the key, or are under
    a quota; ``key`` is the id of a key, and ``quota`` the limit and period of a quota: ``1000/day``.
    """

    number: int
    at: float
    by: str
    kind: AccessKind
    tenant: str
    datasets: tuple[str, ...] = ()
    key: str = ""
    quota: str = ""
