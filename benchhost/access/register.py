"""Who has been granted what: the allowlist and the store together, as every worker knows it within a second.

Each worker asks the store twice a second for the number of the newest change, and reads what was
changed when that is another one. Nothing else of the store is asked for a request, but a key that this
worker has not seen since the last change; with it, that number is asked for too, so that a new key is
good at once.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from benchhost.access.allowlist import Listed
from benchhost.access.datasets import EVERY, Datasets
from benchhost.access.keys import digest_of, is_key
from benchhost.access.remembered import Remembered
from benchhost.errors import StoreFailed
from benchhost.log import get_logger
from benchhost.store import KeyRecord, Store, TenantRecord

_log = get_logger()

LOOK_EVERY = 0.5
"""Seconds between two looks at whether anything was changed."""

BELIEVE_FOR = 10.0
"""Seconds for which what is known is believed while the store cannot be asked."""

NOTE_USE_EVERY = 5.0
"""Seconds between two notes of when keys were used."""

KEEP_KEY_FOR = 3600.0
"""Seconds for which a key is remembered while nothing is changed."""


class KnownKey(NamedTuple):
    """A key that was read from the store, and the datasets that it is for."""

    record: KeyRecord
    scope: Datasets


class Register:
    """Tenants and keys, from :meth:`open` to :meth:`close`. ``listed`` is the allowlist."""

    def __init__(self, store: Store, listed: Mapping[str, Listed]) -> None:
        self._store = store
        self._listed = dict(listed)
        self._known: dict[str, Listed] = {}
        self._revoked: frozenset[str] = frozenset()
        self._generation = -1
        self._keys: Remembered[KnownKey] = Remembered()
        self._used: dict[str, float] = {}
        self._noted_at = 0.0
        self._failing_since: float | None = None
        self._looking: asyncio.Task[None] | None = None
        self._one_look = asyncio.Lock()

    async def open(self) -> None:
        """Read what there is, and begin to look for changes."""
        await self._look()
        self._looking = asyncio.create_task(self._look_again_and_again())

    async def close(self) -> None:
        """Stop looking, and note what keys were used."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
            await self._note_use()

    def tenant(self, name: str) -> Listed | None:
        """Return a tenant that may use anything at all.

        Raises :class:`~benchhost.errors.StoreFailed` when it cannot be known whether that is still true.
        """
        if self._failing_since is not None and time.monotonic() - self._failing_since > BELIEVE_FOR:
            raise StoreFailed("it cannot be read from the store who may call")
        return self._known.get(name)

    def is_revoked(self, name: str) -> bool:
        """Whether a tenant was revoked altogether."""
        return name in self._revoked

    async def key(self, credential: bytes) -> KnownKey | None:
        """Return a key that is good now, and note that it was used."""
        digest = digest_of(credential)
        known = self._keys.get(digest)
        if known is None:
            if not is_key(credential):
                return None
            generation = self._generation
            found = await self._store.key(digest)
            if found is None:
                return None
            await self._look()  # its tenant may be as new
            known = KnownKey(found, Datasets(frozenset(found.datasets)) if found.datasets else EVERY)
            if generation == self._generation:  # else it may have been revoked meanwhile
                self._keys.put(digest, known, KEEP_KEY_FOR)
        record, now = known.record, time.time()
        if record.revoked_at is not None or (record.expires_at is not None and now >= record.expires_at):
            return None
        self._used[record.id] = now
        return known

    async def _look_again_and_again(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            try:
                await self._look()
                if time.monotonic() - self._noted_at >= NOTE_USE_EVERY:
                    await self._note_use()
            except Exception as error:  # whatever it is, what is known is believed for a while and then no longer
                if self._failing_since is None:
                    self._failing_since = time.monotonic()
                    _log.error("it cannot be read from the store who may call", cause=str(error))
            else:
                self._failing_since = None

    async def _look(self) -> None:
        async with self._one_look:  # of two, the one that read the older state might end last
            generation = await self._store.access_generation()
            if generation == self._generation:
                return
            tenants = await self._store.tenants()
            self._known = together(self._listed, tenants)
            self._revoked = frozenset(tenant.name for tenant in tenants if tenant.revoked_at is not None)
            self._keys.clear()
            self._generation = generation

    async def _note_use(self) -> None:
        self._noted_at = time.monotonic()
        if self._used:
            used, self._used = self._used, {}
            try:
                await self._store.used(used)
            except StoreFailed as error:  # such as a full disk, of which it can still be read who may call
                self._used = used | self._used
                _log.warning("the last use of keys was not recorded", cause=str(error))


def together(listed: Mapping[str, Listed], tenants: list[TenantRecord]) -> dict[str, Listed]:
    """Add what was granted in the store to the allowlist, and take away what was revoked altogether."""
    known = dict(listed)
    for tenant in tenants:
        if tenant.revoked_at is not None:
            known.pop(tenant.name, None)
            continue
        before = known.get(tenant.name)
        if before is None and not tenant.datasets:
            continue
        before = before or Listed()
        known[tenant.name] = msgspec.structs.replace(
            before,
            datasets=Datasets(before.datasets.patterns | frozenset(tenant.datasets)),
            trial=before.trial if tenant.trial is None else tenant.trial,
        )
    return known
