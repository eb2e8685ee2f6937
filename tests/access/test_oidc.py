"""Tokens of an issuer of OpenID Connect, which is asked over HTTP."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from benchhost.access import oidc as module
from benchhost.access.oidc import Oidc, OidcOptions
from benchhost.errors import IdentityUnavailable, SettingsError

pytestmark = pytest.mark.anyio


@pytest.fixture
async def make(issuer):
    """Make what verifies tokens."""
    made = []

    async def make(**changes):
        options = {"issuer": issuer.url, "audience": "benchhost"} | changes
        made.append(Oidc(OidcOptions(**options)))
        await made[-1].open()
        return made[-1]

    yield make
    for each in made:
        await each.close()


async def test_a_good_token_is_of_the_tenant_that_it_names(issuer, make):
    oidc = await make()
    assert await oidc.tenant(issuer.token()) == "acme"
    assert issuer.asked == {"/.well-known/openid-configuration": 1, "/keys": 1}
    assert await oidc.tenant(issuer.token(tenant="other")) == "other"
    assert issuer.asked["/keys"] == 1


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
async def test_these_signatures_are_believed(issuer, make, signing_key, algorithm):
    issuer.signer = signing_key("one", algorithm)
    issuer.published = [issuer.signer.public]
    assert await (await make()).tenant(issuer.token()) == "acme"


@pytest.mark.parametrize("tenant", ["acme", ["acme"], {"acme": {"roles": []}}], ids=str)
async def test_the_claim_is_a_text_or_holds_exactly_one(issuer, make, tenant):
    assert await (await make(tenant_claim="org")).tenant(issuer.token(org=tenant, tenant=None)) == "acme"


@pytest.mark.parametrize("tenant", [None, "", 7, True, [], ["a", "b"], {}, "unauthenticated", [["acme"]]], ids=str)
async def test_a_token_that_names_no_tenant_is_refused(issuer, make, tenant):
    assert await (await make()).tenant(issuer.token(tenant=tenant)) is None


WRONG = {
    "another issuer": {"iss": "https://issuer.example"},
    "no issuer": {"iss": None},
    "meant for another": {"aud": "another"},
    "meant for others": {"aud": ["another", "one more"]},
    "meant for nobody": {"aud": None},
    "over": {"exp": time.time() - 60},
    "without end": {"exp": None},
    "an end that is no time": {"exp": "later"},
    "not yet good": {"nbf": time.time() + 86_400},
}


@pytest.mark.parametrize("changes", WRONG.values(), ids=WRONG)
async def test_a_token_with_a_wrong_claim_is_refused(issuer, make, changes):
    oidc = await make()
    assert await oidc.tenant(issuer.token(**changes)) is None
    assert await oidc.tenant(issuer.token(aud=["another", "benchhost"])) == "acme"


async def test_the_clocks_may_differ_a_little(issuer, make):
    assert await (await make()).tenant(issuer.token(exp=time.time() - 5)) == "acme"


def unsigned(claims):
    parts = [{"alg": "none", "typ": "JWT"}, claims]
    return b".".join([*[base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts], b""])


async def test_a_token_that_nobody_has_signed_is_refused(issuer, make):
    assert await (await make()).tenant(unsigned(issuer.claims())) is None


def signed_with_a_secret(claims, secret):
    """A token of HS256, made by hand: the library refuses to take a public key for a secret."""
    parts = [{"alg": "HS256", "typ": "JWT", "kid": "one"}, claims]
    said = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in parts)
    return said + b"." + base64.urlsafe_b64encode(hmac.digest(secret, said, "sha256")).rstrip(b"=")


async def test_the_public_key_is_not_taken_for_a_shared_secret(issuer, make):
    public = issuer.signer.private.public_key()
    secrets = [
        json.dumps(issuer.signer.public).encode(),
        public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ]
    for algorithms in (("ES256",), ("HS256", "ES256")):
        oidc = await make(algorithms=algorithms)
        for secret in secrets:
            assert await oidc.tenant(signed_with_a_secret(issuer.claims(), secret)) is None


async def test_a_secret_among_the_published_keys_is_not_used(issuer, make):
    secret = b"s" * 64
    told = {"kty": "oct", "k": base64.urlsafe_b64encode(secret).decode(), "kid": "one", "alg": "HS256"}
    issuer.published = [told]
    oidc = await make(algorithms=("HS256",))
    assert await oidc.tenant(signed_with_a_secret(issuer.claims(), secret)) is None


async def test_an_algorithm_that_was_not_named_is_refused(issuer, make):
    assert await (await make(algorithms=("RS256",))).tenant(issuer.token()) is None


async def test_a_key_is_used_with_its_own_algorithm_alone(issuer, make):
    issuer.published = [issuer.signer.public | {"alg": "ES512"}]
    assert await (await make(algorithms=("ES256", "ES512"))).tenant(issuer.token()) is None


async def test_a_key_for_encryption_signs_nothing(issuer, make):
    issuer.published = [issuer.signer.public | {"use": "enc"}]
    assert await (await make()).tenant(issuer.token()) is None


@pytest.mark.parametrize("header", [{"jku": "{url}/evil"}, {"jwk": {"kty": "EC"}}, {"x5u": "{url}/evil"}], ids=str)
async def test_keys_that_a_token_brings_along_are_not_used(issuer, make, signing_key, header):
    header = json.loads(json.dumps(header).replace("{url}", issuer.url))
    token = signing_key("one", "ES256").sign(issuer.claims(), **header).encode()
    assert await (await make()).tenant(token) is None
    assert not any("evil" in path for path in issuer.asked)


@pytest.mark.parametrize(
    "token", [b"", b"x", b"a.b.c", b"\xff", b"." * 10, b"e30.e30.", b"eyJhbGciOjF9.e30.x"], ids=str
)
async def test_what_is_no_token_is_refused(make, token):
    assert await (await make()).tenant(token) is None


async def test_one_changed_letter_is_one_too_many(issuer, make):
    oidc, token = await make(), issuer.token()
    assert await oidc.tenant(token) == "acme"
    for place in (20, len(token) // 2, len(token) - 10):
        wrong = token[:place] + (b"A" if token[place : place + 1] != b"A" else b"B") + token[place + 1 :]
        assert await oidc.tenant(wrong) is None


async def test_a_new_key_is_looked_for_when_a_token_names_it_and_the_old_one_is_believed_no_more(
    issuer, make, signing_key, monkeypatch
):
    monkeypatch.setattr(module, "LOOK_FOR_NEW_KEY", 0.0)
    oidc, old = await make(), issuer.token()
    assert await oidc.tenant(old) == "acme"
    issuer.signer = signing_key("two", "ES256")
    issuer.published = [issuer.signer.public]
    assert await oidc.tenant(issuer.token()) == "acme"
    assert await oidc.tenant(old) is None


async def test_tokens_that_name_unknown_keys_do_not_flood_the_issuer(issuer, make, signing_key):
    oidc = await make()
    strange = [signing_key(f"strange {n}", "ES256").sign(issuer.claims()).encode() for n in range(20)]
    assert await asyncio.gather(*map(oidc.tenant, strange)) == [None] * 20
    assert issuer.asked["/keys"] == 1


async def test_a_token_without_a_key_id_is_meant_for_the_only_key(issuer, make, signing_key, monkeypatch):
    monkeypatch.setattr(module, "FETCH_AGAIN", -1.0)
    token = jwt.encode(issuer.claims(), issuer.signer.private, "ES256").encode()
    assert await (await make()).tenant(token) == "acme"
    issuer.published = [*issuer.published, signing_key("two", "ES256").public]
    assert await (await make()).tenant(token) is None


async def test_keys_are_believed_while_the_issuer_cannot_be_reached_and_then_no_longer(issuer, make, monkeypatch):
    monkeypatch.setattr(module, "FETCH_AGAIN", 0.0)
    oidc = await make()
    assert await oidc.tenant(issuer.token()) == "acme"
    issuer.fails = 503
    assert await oidc.tenant(issuer.token(sub="another")) == "acme"
    monkeypatch.setattr(module, "BELIEVE_FOR", 0.0)
    with pytest.raises(IdentityUnavailable):
        await oidc.tenant(issuer.token(sub="one more"))
    issuer.fails = None
    assert await oidc.tenant(issuer.token(sub="and again")) == "acme"


async def test_nobody_waits_long_for_an_issuer_that_is_slow_when_its_keys_are_known(issuer, make, monkeypatch):
    oidc = await make()
    assert await oidc.tenant(issuer.token()) == "acme"
    monkeypatch.setattr(module, "FETCH_AGAIN", 0.0)
    monkeypatch.setattr(module, "LOOK_FOR_NEW_KEY", 0.0)
    monkeypatch.setattr(module, "WAIT_FOR_KEYS", 0.05)
    issuer.delay = 3.0
    tokens = [issuer.token(sub=f"another {n}") for n in range(20)]
    async with asyncio.timeout(issuer.delay):
        assert await asyncio.gather(*map(oidc.tenant, tokens)) == ["acme"] * 20
    assert issuer.asked["/.well-known/openid-configuration"] == 2, "all of them wait for one look"


async def test_an_issuer_that_cannot_be_reached_is_not_asked_for_each_token(issuer, make, monkeypatch):
    oidc = await make()
    assert await oidc.tenant(issuer.token()) == "acme"
    monkeypatch.setattr(module, "FETCH_AGAIN", 0.0)
    monkeypatch.setattr(oidc, "_tried_at", float("-inf"))
    issuer.fails = 503
    for n in range(5):
        assert await oidc.tenant(issuer.token(sub=f"another {n}")) == "acme"
    assert issuer.asked["/.well-known/openid-configuration"] == 2


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_an_issuer_that_never_answered_well_lets_nobody_in_and_nobody_is_refused(issuer, make, status):
    issuer.fails = status
    with pytest.raises(IdentityUnavailable):
        await (await make()).tenant(issuer.token())


async def test_the_configuration_of_another_issuer_is_not_believed(issuer, make):
    issuer.calls_itself = "https://issuer.example"
    with pytest.raises(IdentityUnavailable):
        await (await make()).tenant(issuer.token())
    assert issuer.asked["/keys"] == 0


async def test_keys_that_anybody_on_the_way_could_change_are_not_fetched(issuer, make):
    issuer.keys_are_at = "http://issuer.example/keys"
    with pytest.raises(IdentityUnavailable):
        await (await make()).tenant(issuer.token())


async def test_keys_may_be_where_the_operator_says(issuer, make):
    issuer.keys_are_at = "http://issuer.example/keys"
    assert await (await make(jwks_uri=f"{issuer.url}/keys")).tenant(issuer.token()) == "acme"


async def test_a_token_that_was_verified_is_not_verified_again_and_ends_when_it_says(issuer, make, monkeypatch):
    monkeypatch.setattr(module, "LEEWAY", 0.0)
    ends = int(time.time()) + 2
    oidc, token = await make(), issuer.token(exp=ends)
    assert await oidc.tenant(token) == "acme"
    with monkeypatch.context() as only_once:
        only_once.setattr(jwt, "decode", None)
        assert await oidc.tenant(token) == "acme"
    await asyncio.sleep(ends - time.time() + 0.01)
    assert await oidc.tenant(token) is None


@pytest.mark.parametrize(
    "uri", ["https://a.example", "http://localhost:8080/realm", "http://127.0.0.1", "http://[::1]:1"]
)
def test_these_addresses_are_private(uri):
    module.must_be_private(uri, "oidc_issuer")


@pytest.mark.parametrize("uri", ["http://a.example", "ftp://a", "a.example", "", "https://", "http://localhost.evil"])
def test_these_are_not_and_the_error_says_which_setting(uri):
    with pytest.raises(SettingsError, match="oidc_issuer: expected an address"):
        module.must_be_private(uri, "oidc_issuer")
