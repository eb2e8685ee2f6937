"""What every store promises about tenants and keys, asked of each of them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from benchhost.errors import StoreFailed
from benchhost.store import KeyRecord, Store, TenantRecord, open_store

pytestmark = pytest.mark.anyio

NOW = {"at": 100.0, "by": "operator"}
LATER = {"at": 200.0, "by": "another"}


@pytest.fixture(params=["memory", "sqlite"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Store]:
    async with open_store({"memory": "memory:", "sqlite": f"{tmp_path}/store.db"}[request.param]) as store:
        yield store


def key_of(number: int, **changes: Any) -> KeyRecord:
    fields = {"id": f"key-{number}", "digest": bytes([number]) * 32, "tenant": "acme", "created_at": 100.0}
    return KeyRecord(**fields | changes)


async def test_what_is_granted_adds_up(store):
    await store.grant("acme", ["b/validation", "a/test"], **NOW)
    after = await store.grant("acme", ["a/test", "a/default"], **NOW)
    assert after == TenantRecord(name="acme", datasets=("a/default", "a/test", "b/validation"))
    assert await store.tenants() == [after]


async def test_a_tenant_is_on_trial_until_that_is_ended(store):
    assert (await store.grant("acme", [], trial=True, **NOW)).trial is True
    assert (await store.grant("acme", ["a/test"], **NOW)).trial is True
    assert (await store.grant("acme", [], trial=False, **NOW)).trial is False


async def test_datasets_are_taken_from_the_tenant_who_has_them(store):
    await store.grant("acme", ["a/test", "a/default"], **NOW)
    await store.grant("other", ["a/test"], **NOW)
    assert await store.revoke("acme", ["a/test", "a/never"], **LATER) == ("a/test",)
    assert [tenant.datasets for tenant in await store.tenants()] == [("a/default",), ("a/test",)]


async def test_a_tenant_revoked_altogether_loses_its_datasets_and_its_keys(store):
    await store.grant("acme", ["a/test"], trial=True, **NOW)
    await store.add_key(key_of(1), by="operator")
    await store.add_key(key_of(2, tenant="other"), by="operator")
    assert await store.revoke("acme", **LATER) == ("a/test",)
    assert await store.tenants() == [TenantRecord(name="acme", trial=True, revoked_at=200.0)]
    assert [key.revoked_at for key in await store.keys()] == [200.0, None]


async def test_a_tenant_may_be_revoked_who_was_never_granted_anything(store):
    assert await store.revoke("file-only", **NOW) == ()
    assert await store.tenants() == [TenantRecord(name="file-only", revoked_at=100.0)]


async def test_a_revoked_tenant_that_is_granted_something_is_let_in_again_and_its_old_keys_are_not(store):
    await store.add_key(key_of(1), by="operator")
    await store.revoke("acme", **NOW)
    assert (await store.grant("acme", ["a/test"], **LATER)).revoked_at is None
    assert [key.revoked_at for key in await store.keys()] == [100.0]


async def test_a_key_is_found_by_its_digest(store):
    key = key_of(1, datasets=("a/test",), label="for CI", expires_at=900.0)
    await store.add_key(key, by="operator")
    assert await store.key(key.digest) == key
    assert await store.key(bytes(32)) is None


async def test_keys_are_listed_as_they_were_made(store):
    for number, tenant in enumerate(["zoo", "acme", "zoo"]):
        await store.add_key(key_of(number, tenant=tenant), by="operator")
    assert [key.id for key in await store.keys()] == ["key-0", "key-1", "key-2"]
    assert [key.id for key in await store.keys("zoo")] == ["key-0", "key-2"]


@pytest.mark.parametrize("same", ["id", "digest"])
async def test_no_two_keys_are_the_same(store, same):
    await store.add_key(key_of(1), by="operator")
    with pytest.raises(StoreFailed, match="already"):
        await store.add_key(msgspec.structs.replace(key_of(2), **{same: getattr(key_of(1), same)}), by="operator")
    assert len(await store.keys()) == len(await store.access_log()) == 1


async def test_a_key_is_revoked_once(store):
    await store.add_key(key_of(1), by="operator")
    assert await store.revoke_key("key-1", **LATER)
    assert not await store.revoke_key("key-1", at=300.0, by="operator")
    assert not await store.revoke_key("nobody", **LATER)
    assert (await store.key(key_of(1).digest)).revoked_at == 200.0


async def test_the_last_use_of_a_key_is_the_latest_that_any_worker_saw(store):
    await store.add_key(key_of(1), by="operator")
    generation = await store.access_generation()
    for at in (500.0, 400.0):
        await store.used({"key-1": at, "gone": at})
    assert (await store.key(key_of(1).digest)).used_at == 500.0
    assert await store.access_generation() == generation


async def test_every_change_is_logged_and_makes_another_generation(store):
    seen = [await store.access_generation()]
    for change in (
        store.grant("acme", ["a/test"], **NOW),
        store.add_key(key_of(1, datasets=("a/test",)), by="operator"),
        store.revoke_key("key-1", **LATER),
        store.revoke("acme", ["a/test"], **LATER),
        store.revoke("acme", **LATER),
        store.grant("acme", [], **LATER),
    ):
        await change
        seen.append(await store.access_generation())
    assert len(set(seen)) == 7
    log = await store.access_log()
    assert [event.number for event in log] == [6, 5, 4, 3, 2, 1]
    assert [(event.kind, event.datasets, event.key, event.at, event.by) for event in reversed(log)] == [
        ("grant", ("a/test",), "", 100.0, "operator"),
        ("key-created", ("a/test",), "key-1", 100.0, "operator"),
        ("key-revoked", ("a/test",), "key-1", 200.0, "another"),
        ("revoke", ("a/test",), "", 200.0, "another"),
        ("revoke", (), "", 200.0, "another"),
        ("grant", (), "", 200.0, "another"),
    ]


async def test_what_changes_nothing_is_no_change(store):
    await store.grant("acme", ["a/test"], trial=False, **NOW)
    await store.revoke("gone", **NOW)
    generation = await store.access_generation()
    await store.grant("acme", ["a/test"], trial=False, **LATER)
    await store.revoke("acme", ["a/never"], **LATER)
    await store.revoke("gone", **LATER)
    assert await store.access_generation() == generation


async def test_the_log_can_be_asked_for_one_tenant_and_for_its_end(store):
    for tenant in ("acme", "other", "acme"):
        await store.grant(tenant, [f"a/{await store.access_generation()}"], **NOW)
    assert [event.number for event in await store.access_log("acme")] == [3, 1]
    assert [event.number for event in await store.access_log(limit=1)] == [3]
