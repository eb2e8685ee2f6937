"""Which way to be let in is asked about a credential, and what nobody knows is nobody's."""

from __future__ import annotations

import asyncio
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.access import EVERY, Caller, Datasets, DescopeOptions, Gatekeeper, Listed, OidcOptions, Policy, new_key
from benchhost.errors import Unauthorized
from benchhost.store import KeyRecord, open_store

pytestmark = pytest.mark.anyio

BEARER, DESCOPE = b"authorization", b"x-descope-api-key"
LISTED = {"acme": Listed(Datasets(frozenset(["b/default"])))}
GRANTED = LISTED["acme"].datasets


@pytest.fixture
async def opened(store, descope, issuer, project):
    """A gatekeeper that lets callers in by every way; the doubles know of ``acme``."""
    descope.keys |= {"descope-key": ["acme"], "stranger": ["stranger"]}
    policy = Policy(
        modes=("bearer", "keys", "descope", "oidc"),
        bearer="the-api-key",
        descope=DescopeOptions(project_id=project, base_uri=descope.url),
        oidc=OidcOptions(issuer=issuer.url, audience="benchhost"),
        listed=LISTED,
    )
    gatekeeper = Gatekeeper(policy, store)
    await gatekeeper.open()
    yield gatekeeper
    await gatekeeper.close()


@pytest.fixture
async def key(store):
    made = new_key()
    record = KeyRecord(id=made.id, digest=made.digest, tenant="acme", datasets=("b/test",), created_at=time.time())
    await store.add_key(record, by="operator")
    return made.key.encode()


async def nobody(gatekeeper, *headers):
    with pytest.raises(Unauthorized):
        await gatekeeper.identify(headers)


async def test_each_way_recognises_what_is_its_own(opened, key, issuer):
    scoped = Caller("acme", GRANTED, Datasets(frozenset(["b/test"])))
    assert await opened.identify([(BEARER, b"Bearer the-api-key")]) == Caller()
    assert await opened.identify([(BEARER, b"Bearer " + key)]) == scoped
    assert await opened.identify([(DESCOPE, key)]) == scoped
    assert await opened.identify([(DESCOPE, b"descope-key")]) == Caller("acme", GRANTED)
    assert await opened.identify([(BEARER, b"Bearer " + issuer.token())]) == Caller("acme", GRANTED)


async def test_what_one_way_refuses_is_not_tried_in_another(opened, descope, issuer, key):
    wrong = new_key().key
    descope.keys[wrong] = ["acme"]
    await nobody(opened, (DESCOPE, wrong.encode()))
    assert descope.exchanged == 0, "a key of ours is nobody else's to see"
    await nobody(opened, (BEARER, b"Bearer " + key[:-1] + b"!"))
    assert not issuer.asked
    await nobody(opened, (DESCOPE, b"wrong"), (BEARER, b"Bearer the-api-key"))
    await nobody(opened, (DESCOPE, b"the-api-key"))
    await nobody(opened, (BEARER, b"Bearer descope-key"))


async def test_whom_nobody_has_granted_anything_is_nobody(opened, issuer):
    await nobody(opened, (DESCOPE, b"stranger"))
    await nobody(opened, (BEARER, b"Bearer " + issuer.token(tenant="stranger")))


async def test_unlisted_tenants_of_descope_may_be_let_in_unless_they_were_revoked(store, descope, project):
    descope.keys["stranger"] = ["stranger"]
    options = DescopeOptions(project_id=project, base_uri=descope.url)
    gatekeeper = Gatekeeper(Policy(modes=("descope",), descope=options, admits_unlisted=True), store)
    await gatekeeper.open()
    assert await gatekeeper.identify([(DESCOPE, b"stranger")]) == Caller("stranger", EVERY)
    await store.revoke("stranger", at=1.0, by="operator")
    async with asyncio.timeout(5):
        while True:
            try:
                await gatekeeper.identify([(DESCOPE, b"stranger")])
            except Unauthorized:
                break
            await asyncio.sleep(0.02)
    await gatekeeper.close()


async def test_where_everybody_is_let_in_no_credential_is_looked_at(store):
    gatekeeper = Gatekeeper(Policy(), store)
    assert await gatekeeper.identify([(BEARER, b"Bearer a"), (BEARER, b"Bearer b")]) == Caller()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([BEARER, DESCOPE, b"cookie"]),
            st.binary(max_size=60) | st.binary(max_size=60).map(lambda shown: b"Bearer " + shown),
        ),
        max_size=3,
    )
)
def test_whatever_is_shown_is_refused_and_nothing_else_happens(headers):
    async def identify():
        async with open_store("memory:") as store:
            gatekeeper = Gatekeeper(Policy(modes=("bearer", "keys"), bearer="the-api-key", listed=LISTED), store)
            await nobody(gatekeeper, *headers)

    asyncio.run(identify())
