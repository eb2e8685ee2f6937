"""Tokens of an OpenID Connect issuer: JWTs (RFC 7519) that are verified with the keys that it publishes (RFC 7517).

Where the keys are is found at the issuer's ``/.well-known/openid-configuration``, unless it is said.
"""

from __future__ import annotations

import asyncio
import importlib.util
import time
from typing import Any
from urllib.parse import urlsplit

import msgspec

from benchhost.access.callers import is_tenant
from benchhost.access.keys import digest_of
from benchhost.access.remembered import Remembered
from benchhost.errors import IdentityUnavailable, SettingsError
from benchhost.log import get_logger

_log = get_logger()

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by which a token may be believed. Those with a shared secret are not among them: whoever
verifies could sign, and a public key taken for a secret would let everybody in."""

FETCH_AGAIN = 300.0
"""Seconds after which the keys are fetched anew."""

BELIEVE_FOR = 3600.0
"""Seconds for which keys are believed while they cannot be fetched."""

LOOK_FOR_NEW_KEY = 10.0
"""Seconds between two looks for newer keys: tokens may name any, and the issuer may be down."""

WAIT_FOR_KEYS = 1.0
"""Seconds that a token waits for newer keys when its own is known, and can be believed."""

VERIFIED_FOR = 60.0
"""Seconds for which a token that was verified is believed, if it lasts as long."""

LEEWAY = 30.0
"""Seconds by which the issuer's clock may differ from ours."""

TIMEOUT = 10.0
LARGEST = 1024 * 1024
"""Seconds that the issuer may take to answer, and the most bytes of an answer."""


class OidcOptions(msgspec.Struct, frozen=True, kw_only=True):
    """The issuer, whom its tokens must be meant for, and the claim that names the tenant.

    ``jwks_uri`` is where its keys are, if that is not to be found out.
    """

    issuer: str
    audience: str
    tenant_claim: str = "tenant"
    algorithms: tuple[str, ...] = ("RS256", "ES256", "EdDSA")
    jwks_uri: str | None = None


class Oidc:
    """Verifies tokens, from :meth:`open` to :meth:`close`."""

    def __init__(self, options: OidcOptions) -> None:
        self._options = options
        self._keys: dict[str | None, dict[str, Any]] = {}
        self._fetched_at = self._tried_at = float("-inf")
        self._fetching = asyncio.Lock()
        self._refreshing: asyncio.Task[None] | None = None
        self._tenants: Remembered[str] = Remembered(clock=time.time)

    async def open(self) -> None:
        """Begin to talk to the issuer. That it cannot be reached yet is not an error."""
        import aiohttp

        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=TIMEOUT))

    async def close(self) -> None:
        """Hang up."""
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.wait([self._refreshing])
        await self._session.close()

    async def tenant(self, token: bytes) -> str | None:
        """Return the tenant that a token names; ``None`` when it cannot be believed, or names none.

        Raises :class:`~benchhost.errors.IdentityUnavailable` when the issuer's keys cannot be had.
        """
        digest = digest_of(token)
        tenant = self._tenants.get(digest)
        if tenant is not None:
            return tenant
        claims = await self._claims(token)
        if claims is None:
            return None
        tenant = _one(claims.get(self._options.tenant_claim))
        if tenant is None:
            _log.debug("a token names no tenant", claim=self._options.tenant_claim)
            return None
        self._tenants.put(digest, tenant, min(VERIFIED_FOR, claims["exp"] - time.time()))
        return tenant

    async def _claims(self, token: bytes) -> dict[str, Any] | None:
        import jwt

        options = self._options
        try:
            text = token.decode("ascii")
            header = jwt.get_unverified_header(text)
            algorithm = header.get("alg")
            if algorithm not in options.algorithms or algorithm not in ALGORITHMS:
                return None
            key = await self._key(header.get("kid"))
            if key is None or key.get("alg", algorithm) != algorithm:
                return None
            claims: dict[str, Any] = jwt.decode(
                text,
                jwt.PyJWK(key, algorithm),
                algorithms=[algorithm],
                audience=options.audience,
                issuer=options.issuer,
                leeway=LEEWAY,
                options={"require": ["exp", "iss", "aud"]},
            )
        except (jwt.PyJWTError, UnicodeDecodeError, ValueError, TypeError) as error:
            _log.debug("a token is refused", error=type(error).__name__)  # its text may quote the token
            return None
        return claims

    async def _key(self, kid: str | None) -> dict[str, Any] | None:
        """Find the key of that id; a token without one can only be meant for the only key there is."""
        now = time.monotonic()
        age, missing = now - self._fetched_at, kid is not None and kid not in self._keys
        if age > BELIEVE_FOR:
            await self._fetch(now)
            if self._tried_at - self._fetched_at > BELIEVE_FOR:
                raise IdentityUnavailable("the keys of the issuer cannot be had")
        elif (missing or age > FETCH_AGAIN) and now - self._tried_at > LOOK_FOR_NEW_KEY:
            await self._refresh(now, None if missing else WAIT_FOR_KEYS)
        if kid is None:
            return next(iter(self._keys.values())) if len(self._keys) == 1 else None
        return self._keys.get(kid)

    async def _refresh(self, now: float, patience: float | None) -> None:
        """Have the keys fetched, for all who wait for it, and wait no longer than so many seconds."""
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self._fetch(now))
        await asyncio.wait([self._refreshing], timeout=patience)

    async def _fetch(self, asked_at: float) -> None:
        async with self._fetching:
            if self._tried_at < asked_at:  # else somebody else has tried meanwhile
                done = await self._fetched()
                self._tried_at = time.monotonic()
                if done:
                    self._fetched_at = self._tried_at

    async def _fetched(self) -> bool:
        options = self._options
        try:
            uri = options.jwks_uri
            if uri is None:
                found = await self._get(f"{options.issuer.rstrip('/')}/.well-known/openid-configuration")
                if found.get("issuer") != options.issuer:
                    raise ValueError("the configuration is that of another issuer")
                uri = str(found["jwks_uri"])
                must_be_private(uri, "the issuer's jwks_uri")
            keys = (await self._get(uri))["keys"]
            self._keys = {
                key.get("kid"): key
                for key in keys
                if key.get("kty") in ("RSA", "EC", "OKP") and key.get("use", "sig") == "sig"
            }
        except Exception as error:  # it may answer with anything
            _log.warning("the keys of the issuer cannot be fetched", issuer=options.issuer, cause=repr(error)[:500])
            return False
        self._tenants.clear()  # what was believed by a key that is gone is not believed any more
        return True

    async def _get(self, uri: str) -> dict[str, Any]:
        async with self._session.get(uri, allow_redirects=False, headers={"accept": "application/json"}) as answer:
            if answer.status != 200:
                raise ValueError(f"the issuer answers with {answer.status}")
            body = await answer.content.read(LARGEST + 1)
            while len(body) <= LARGEST and (more := await answer.content.read(LARGEST + 1)):
                body += more
            if len(body) > LARGEST:
                raise ValueError("the issuer's answer is too large")
            return msgspec.json.decode(body, type=dict[str, Any])


def _one(claim: Any) -> str | None:
    """Read the tenant off a claim: a text, or the one element of a list, or the one key of an object."""
    if isinstance(claim, list | dict):
        claim = next(iter(claim)) if len(claim) == 1 else None
    return claim if is_tenant(claim) else None


def must_be_private(uri: str, what: str) -> None:
    """Make sure that nobody on the way can change what is answered.

    Raises :class:`~benchhost.errors.SettingsError`.
    """
    parts = urlsplit(uri)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1"):
        return
    raise SettingsError(f"{what}: expected an address that begins with https://, got {uri!r}")


def check_pyjwt_is_installed() -> None:
    """Raise :class:`~benchhost.errors.SettingsError` when what verifies tokens is not there."""
    if importlib.util.find_spec("jwt") is None or importlib.util.find_spec("cryptography") is None:
        raise SettingsError("callers with tokens of an issuer take the package PyJWT: pip install 'benchhost[oidc]'")
