"""Keys of Descope, exchanged by its own SDK at a double of its endpoint."""

from __future__ import annotations

import asyncio

import pytest

from benchhost.access import descope as module
from benchhost.access.descope import Descope, DescopeOptions
from benchhost.errors import Busy, IdentityUnavailable

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make(descope, project):
    """Make what exchanges keys."""

    async def make(**changes):
        options = {"project_id": project, "base_uri": descope.url} | changes
        made = Descope(DescopeOptions(**options))
        await made.open()
        return made

    return make


async def test_a_key_is_exchanged_for_its_one_tenant(descope, make):
    descope.keys["good"] = ["acme"]
    assert await (await make()).tenant(b"good") == "acme"


@pytest.mark.parametrize("tenants", [[], ["acme", "other"], ["unauthenticated"], ["_legacy"], [" acme"]], ids=str)
async def test_a_key_of_no_tenant_of_two_or_of_one_that_can_be_none_is_refused(descope, make, tenants):
    descope.keys["odd"] = tenants
    assert await (await make()).tenant(b"odd") is None


@pytest.mark.parametrize("key", [b"wrong", b"", b" ", "ü".encode(), b"good ", b"a\tb", b"good:more", b"\x7f"], ids=str)
async def test_a_wrong_key_is_refused_and_asked_again(descope, make, key):
    descope.keys["good"] = ["acme"]
    exchanges = await make()
    assert await exchanges.tenant(key) is None
    descope.keys[key.decode()] = ["acme"]
    assert await exchanges.tenant(b"good") == "acme"


async def test_a_key_that_becomes_good_is_let_in_at_once(descope, make):
    exchanges = await make()
    assert await exchanges.tenant(b"new") is None
    descope.keys["new"] = ["acme"]
    assert await exchanges.tenant(b"new") == "acme"


async def test_an_answer_is_believed_for_a_while_and_a_revoked_key_is_refused_then(descope, make):
    descope.keys["good"] = ["acme"]
    exchanges = await make(believed_for=0.3)
    assert await exchanges.tenant(b"good") == "acme"
    del descope.keys["good"]
    assert await exchanges.tenant(b"good") == "acme"
    assert descope.exchanged == 1
    await asyncio.sleep(0.35)
    assert await exchanges.tenant(b"good") is None


async def test_no_answer_is_believed_for_longer_than_the_session_that_it_gives(descope, make):
    descope.keys["good"] = ["acme"]
    descope.lasts = 1
    exchanges = await make()
    assert await exchanges.tenant(b"good") == "acme"
    del descope.keys["good"]
    await asyncio.sleep(1.1)
    assert await exchanges.tenant(b"good") is None


async def test_with_no_seconds_nothing_is_believed(descope, make):
    descope.keys["good"] = ["acme"]
    exchanges = await make(believed_for=0)
    assert [await exchanges.tenant(b"good") for _ in range(3)] == ["acme"] * 3
    assert descope.exchanged == 3


async def test_the_same_key_is_exchanged_once_for_all_who_show_it_meanwhile(descope, make):
    descope.keys["good"] = ["acme"]
    descope.delay = 0.1
    exchanges = await make()
    assert await asyncio.gather(*[exchanges.tenant(b"good") for _ in range(20)]) == ["acme"] * 20
    assert descope.exchanged == 1


async def test_one_who_hangs_up_takes_the_answer_from_nobody(descope, make):
    descope.keys["good"] = ["acme"]
    descope.delay = 0.2
    exchanges = await make()
    first = asyncio.create_task(exchanges.tenant(b"good"))
    await asyncio.sleep(0.05)
    second = asyncio.create_task(exchanges.tenant(b"good"))
    await asyncio.sleep(0)
    first.cancel()
    assert await second == "acme"
    assert descope.exchanged == 1


async def test_no_more_keys_wait_than_may(descope, make, monkeypatch):
    monkeypatch.setattr(module, "WAITING", 3)
    descope.delay = 0.2
    exchanges = await make()
    waiting = [asyncio.create_task(exchanges.tenant(f"wrong {n}".encode())) for n in range(3)]
    await asyncio.sleep(0)
    with pytest.raises(Busy, match="come back"):
        await exchanges.tenant(b"one more")
    assert await asyncio.gather(*waiting) == [None] * 3
    assert await exchanges.tenant(b"one more") is None


@pytest.mark.parametrize("status", [500, 502, 429])
async def test_that_descope_cannot_answer_is_no_refusal_and_its_words_are_not_repeated(descope, make, status):
    descope.keys["good"] = ["acme"]
    exchanges = await make()
    descope.fails = status
    with pytest.raises(IdentityUnavailable) as raised:
        await exchanges.tenant(b"good")
    assert "good" not in str(raised.value)
    descope.fails = None
    assert await exchanges.tenant(b"good") == "acme"


async def test_that_descope_is_not_there_is_no_refusal(make):
    exchanges = await make(base_uri="http://127.0.0.1:1")
    with pytest.raises(IdentityUnavailable):
        await exchanges.tenant(b"good")


async def test_nobody_waits_for_descope_without_end(descope, make, monkeypatch):
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    descope.keys["good"] = ["acme"]
    descope.delay = 0.3
    exchanges = await make()
    with pytest.raises(IdentityUnavailable):
        await exchanges.tenant(b"good")
    monkeypatch.setattr(module, "PATIENCE", 5)
    assert await exchanges.tenant(b"good") == "acme"


async def test_a_session_that_another_key_has_signed_is_refused(descope, make, signing_key):
    descope.keys["good"] = ["acme"]
    exchanges = await make()
    descope.signer = signing_key("SK2one")
    assert await exchanges.tenant(b"good") is None


async def test_descope_may_change_its_keys(descope, make, signing_key):
    descope.keys |= {"first": ["acme"], "second": ["acme"]}
    exchanges = await make()
    assert await exchanges.tenant(b"first") == "acme"
    descope.signer = signing_key("SK2two")
    descope.published = [descope.signer.public]
    assert await exchanges.tenant(b"second") == "acme"


async def test_a_key_of_another_project_is_refused(descope, make):
    descope.keys["good"] = ["acme"]
    assert await (await make(project_id="P2another0000000000000000000")).tenant(b"good") is None


async def test_without_a_project_nobody_has_a_key():
    exchanges = Descope(DescopeOptions(project_id=None))
    await exchanges.open()
    assert await exchanges.tenant(b"good") is None
