"""Tenants of a host that is searched or attacked."""

from __future__ import annotations

import time

from benchhost.access.keys import new_key
from benchhost.server.host import Host
from benchhost.store import KeyRecord


async def key_of(host: Host, tenant: str, *, trial: bool = False) -> dict[str, str]:
    """Have a tenant that may use everything, and return the headers of its requests."""
    key, now = new_key(), time.time()
    await host.store.grant(tenant, ["*/*"], trial=trial, at=now, by="integrity")
    await host.store.add_key(KeyRecord(id=key.id, digest=key.digest, tenant=tenant, created_at=now), by="integrity")
    return {"authorization": f"Bearer {key.key}"}
