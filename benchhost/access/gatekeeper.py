"""Who is let in: the credential of a request becomes a caller, or nobody.

Which ways there are is said by a :class:`Policy`. The credential decides which of them is asked, and
that one decides: what it refuses is not tried in another way.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping

import msgspec

from benchhost.access.allowlist import Listed
from benchhost.access.callers import Caller, Mode, is_tenant
from benchhost.access.datasets import EVERY, Datasets
from benchhost.access.descope import Descope, DescopeOptions
from benchhost.access.headers import Credentials, Headers, credentials_of
from benchhost.access.keys import looks_like_key
from benchhost.access.oidc import Oidc, OidcOptions
from benchhost.access.register import Register
from benchhost.errors import Unauthorized
from benchhost.store import Store

TENANT_MODES: frozenset[Mode] = frozenset({"keys", "descope", "oidc"})
"""The ways by which it is known to whom a caller belongs."""


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """The ways to be let in, and what each needs to know.

    ``listed`` is the operator's allowlist. ``admits_unlisted`` lets tenants in of whom Descope knows and
    nobody here: they may use everything.
    """

    modes: tuple[Mode, ...] = ("open",)
    bearer: str | None = None
    descope: DescopeOptions | None = None
    oidc: OidcOptions | None = None
    listed: Mapping[str, Listed] = {}
    admits_unlisted: bool = False

    @property
    def is_open(self) -> bool:
        """Whether everybody is let in."""
        return "open" in self.modes

    @property
    def tells_tenants(self) -> bool:
        """Whether it is known to whom callers belong."""
        return not TENANT_MODES.isdisjoint(self.modes)


class Gatekeeper:
    """Recognises callers, from :meth:`open` to :meth:`close`."""

    def __init__(self, policy: Policy, store: Store) -> None:
        self.policy = policy
        self._register = Register(store, policy.listed)
        self._descope = None if policy.descope is None else Descope(policy.descope)
        self._oidc = None if policy.oidc is None else Oidc(policy.oidc)
        self._keys = "keys" in policy.modes
        self._bearer = None if policy.bearer is None else policy.bearer.encode()
        self._anybody = Caller()

    async def open(self) -> None:
        """Read who is known, and begin to follow changes."""
        await self._register.open()
        if self._descope is not None:
            await self._descope.open()
        if self._oidc is not None:
            await self._oidc.open()

    async def close(self) -> None:
        """Let go of everything."""
        if self._oidc is not None:
            await self._oidc.close()
        await self._register.close()

    async def identify(self, headers: Headers) -> Caller:
        """Say who calls, by the headers of ASGI.

        Raises :class:`~benchhost.errors.Unauthorized`, :class:`~benchhost.errors.IdentityUnavailable` when
        it cannot be found out at the moment, and :class:`~benchhost.errors.StoreFailed`.
        """
        if self.policy.is_open:
            return self._anybody
        shown = credentials_of(headers)
        caller = None if shown is None else await self._recognise(shown)
        if caller is None:
            raise Unauthorized("Unauthorized")
        return caller

    def tenant(self, name: str, scope: Datasets = EVERY) -> Caller | None:
        """Make the caller of a tenant that was recognised; ``None`` when nobody has granted it anything.

        Raises :class:`~benchhost.errors.StoreFailed`.
        """
        if not is_tenant(name):
            return None
        listed = self._register.tenant(name)
        if listed is None:
            return None
        return Caller(name, listed.datasets, scope, listed.trial)

    async def _recognise(self, shown: Credentials) -> Caller | None:
        if shown.descope:
            if self._keys and looks_like_key(shown.descope):
                return await self._by_key(shown.descope)
            if self._descope is not None:
                return await self._by_descope(self._descope, shown.descope)
        if shown.bearer:
            if self._bearer is not None and hmac.compare_digest(shown.bearer, self._bearer):
                return self._anybody
            if self._keys and looks_like_key(shown.bearer):
                return await self._by_key(shown.bearer)
            if self._oidc is not None:
                tenant = await self._oidc.tenant(shown.bearer)
                return None if tenant is None else self.tenant(tenant)
        return None

    async def _by_key(self, credential: bytes) -> Caller | None:
        known = await self._register.key(credential)
        return None if known is None else self.tenant(known.record.tenant, known.scope)

    async def _by_descope(self, descope: Descope, credential: bytes) -> Caller | None:
        name = await descope.tenant(credential)
        if name is None:
            return None
        caller = self.tenant(name)
        if caller is None and self.policy.admits_unlisted and not self._register.is_revoked(name):
            return Caller(name)
        return caller
