"""Who has been granted what, as a worker knows it."""

from __future__ import annotations

import asyncio
import time

import pytest

from benchhost.access import Datasets, Listed, new_key
from benchhost.access import register as module
from benchhost.access.register import Register, together
from benchhost.errors import StoreFailed
from benchhost.store import KeyRecord, TenantRecord

pytestmark = pytest.mark.anyio

BY = {"at": 1.0, "by": "operator"}


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY", 0.01)


@pytest.fixture
async def register(store):
    """A register without an allowlist."""
    register = Register(store, {})
    await register.open()
    yield register
    await register.close()


async def soon(is_so):
    """Wait until something is so."""
    async with asyncio.timeout(5):
        while not is_so():  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def add_key(store, **changes):
    made = new_key()
    fields = {"id": made.id, "digest": made.digest, "tenant": "acme", "created_at": 1.0}
    await store.add_key(KeyRecord(**fields | changes), by="operator")
    return made.key.encode(), made.id


async def test_a_grant_counts_soon_and_so_does_its_end(store, register):
    assert register.tenant("acme") is None
    await store.grant("acme", ["b/default"], **BY)
    await soon(lambda: register.tenant("acme") == Listed(Datasets(frozenset(["b/default"]))))
    await store.revoke("acme", ["b/default"], **BY)
    await soon(lambda: register.tenant("acme") is None)


async def test_a_key_is_good_at_once_and_so_is_what_its_tenant_was_granted_with_it(store, monkeypatch):
    monkeypatch.setattr(module, "LOOK_EVERY", 1000)
    register = Register(store, {})
    await register.open()
    key, _ = await add_key(store, datasets=("b/default",))
    await store.grant("acme", ["b/default"], **BY)
    assert (await register.key(key)).scope == Datasets(frozenset(["b/default"]))
    assert register.tenant("acme") is not None
    await register.close()


async def test_a_revoked_key_is_good_no_more_soon(store, register):
    key, key_id = await add_key(store)
    assert await register.key(key) is not None
    await store.revoke_key(key_id, **BY)
    async with asyncio.timeout(5):
        while await register.key(key) is not None:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0.005)


async def test_a_key_that_nobody_made_is_none(register):
    assert await register.key(new_key().key.encode()) is None


async def test_a_key_ends_by_itself_also_when_it_is_remembered(store, register):
    key, _ = await add_key(store, expires_at=time.time() + 0.15)
    assert await register.key(key) is not None
    await asyncio.sleep(0.2)
    assert await register.key(key) is None


async def test_a_key_is_read_from_the_store_once(store, register, monkeypatch):
    key, _ = await add_key(store)
    await soon(lambda: register._generation == 1)
    reads = []
    read = store.key
    monkeypatch.setattr(store, "key", lambda digest: reads.append(digest) or read(digest))
    for _ in range(5):
        assert await register.key(key) is not None
    assert len(reads) == 1


async def test_when_a_key_was_last_used_is_noted(store, monkeypatch):
    monkeypatch.setattr(module, "NOTE_USE_EVERY", 1000)
    register = Register(store, {})
    await register.open()
    key, _ = await add_key(store)
    before = time.time()
    await register.key(key)
    await register.close()
    [kept] = await store.keys()
    assert kept.used_at >= before


async def test_while_the_store_cannot_be_asked_what_is_known_is_believed_for_a_while_and_then_no_longer(
    store, monkeypatch
):
    monkeypatch.setattr(module, "BELIEVE_FOR", 0.2)
    await store.grant("acme", ["b/default"], **BY)
    register = Register(store, {})
    await register.open()

    async def fails():
        raise StoreFailed("the disk is gone")

    with monkeypatch.context() as failing:
        failing.setattr(store, "access_generation", fails)
        await soon(lambda: register._failing_since is not None)
        assert register.tenant("acme") is not None
        await asyncio.sleep(0.25)
        with pytest.raises(StoreFailed):
            register.tenant("acme")
    await soon(lambda: register._failing_since is None)
    assert register.tenant("acme") is not None
    await register.close()


def test_what_is_granted_in_the_store_is_added_to_the_allowlist():
    listed = {"acme": Listed(Datasets(frozenset(["b/test"])), trial=True), "other": Listed()}
    known = together(listed, [TenantRecord(name="acme", datasets=("b/default",)), TenantRecord(name="new")])
    assert known == {"acme": Listed(Datasets(frozenset(["b/test", "b/default"])), trial=True), "other": Listed()}


def test_a_trial_of_the_allowlist_can_be_ended_in_the_store():
    listed = {"acme": Listed(Datasets(frozenset(["b/test"])), trial=True)}
    assert together(listed, [TenantRecord(name="acme", trial=False)])["acme"].trial is False


def test_what_was_revoked_altogether_is_nobody_whatever_the_allowlist_says():
    listed = {"acme": Listed(Datasets(frozenset(["b/test"])))}
    assert together(listed, [TenantRecord(name="acme", revoked_at=1.0)]) == {}


async def test_the_use_of_a_key_that_could_not_be_noted_is_noted_later_and_nobody_is_kept_out(
    store, register, monkeypatch
):
    monkeypatch.setattr(module, "NOTE_USE_EVERY", 0.0)
    monkeypatch.setattr(module, "BELIEVE_FOR", 0.0)
    await store.grant("acme", ["b/d"], **BY)
    key, key_id = await add_key(store)
    note, tried = store.used, []

    async def full(used):
        tried.append(used)
        raise StoreFailed("the disk is full")

    monkeypatch.setattr(store, "used", full)
    assert await register.key(key) is not None
    await soon(lambda: len(tried) > 2)
    assert register.tenant("acme") is not None
    monkeypatch.setattr(store, "used", note)
    await register.close()
    assert [each.used_at is not None for each in await store.keys() if each.id == key_id] == [True]
