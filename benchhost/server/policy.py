"""From the settings to who is let in, and that in words: what is enforced is never to be guessed."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import cast, get_args

from benchhost.access import DescopeOptions, Mode, OidcOptions, Policy, quotas_of, read_allowlist
from benchhost.access.descope import check_descope_is_installed
from benchhost.access.oidc import ALGORITHMS, check_pyjwt_is_installed, must_be_private
from benchhost.errors import SettingsError
from benchhost.settings import Settings

MODES: tuple[Mode, ...] = get_args(Mode)


def policy_of(settings: Settings) -> Policy:
    """Make the policy that the settings ask for.

    Raises :class:`~benchhost.errors.SettingsError` when they do not go together, or when what a mode
    needs is not installed.
    """
    modes = modes_of(settings)
    if "bearer" in modes and settings.api_key is None:
        raise SettingsError("auth names bearer, which needs an api_key: set BENCHHOST_API_KEY")
    if "open" in modes and not settings.allow_open and not is_loopback(settings.host):
        raise SettingsError(
            f"nobody is asked for a credential, and {settings.host} can be reached by other machines. Set an API key "
            "(BENCHHOST_API_KEY) or another way to be let in (auth), listen on 127.0.0.1, or let everybody in "
            "with --allow-open"
        )
    listed = read_allowlist(settings.allowlist_json, settings.allowlist)
    return Policy(
        modes=modes,
        bearer=settings.api_key if "bearer" in modes else None,
        descope=_descope(settings) if "descope" in modes else None,
        oidc=_oidc(settings) if "oidc" in modes else None,
        listed=listed,
        admits_unlisted=(
            settings.auth_required
            and settings.auth is None
            and settings.allowlist is None
            and settings.allowlist_json is None
        ),
    )


def describe(policy: Policy, settings: Settings) -> list[str]:
    """Say in sentences what is enforced, for the start of a server and for whoever looks after it."""
    said = [_ABOUT[mode] for mode in policy.modes]
    if policy.is_open and settings.allow_runs:
        models = ", ".join(settings.run_models) or "none"
        said.append(f"and everybody may have these models attempt benchmarks, at your cost: {models}")
    if policy.is_open and settings.allow_sandboxes:
        said.append("and everybody may make sandboxes here, and run what they like in them")
    if policy.descope is not None and policy.descope.project_id is None:
        said.append("no DESCOPE_PROJECT_ID is set: nobody has a key of Descope, and whoever shows one is refused")
    if policy.tells_tenants:
        if policy.admits_unlisted:
            said.append(
                "there is no allowlist: every tenant of the Descope project may use every dataset, but one that was "
                "granted datasets here may use those alone, and one that was revoked none"
            )
        else:
            said.append(
                "a tenant may use what `benchhost grant` or the allowlist opens to it "
                f"(tenants in the allowlist: {len(policy.listed)}), and whoever is in neither is refused"
            )
        if "bearer" in policy.modes:
            said.append("the API key is of no tenant: it is refused on /v1 of a benchmark")
    if policy.tells_tenants and (limited := quotas_of(policy.listed)):
        said.append(
            f"the allowlist limits how many evaluations a tenant may begin at each benchmark (tenants: {len(limited)})"
        )
    said.append("a benchmark with a check_auth or resolve_tenant of its own decides for itself who may use it")
    return said


_ABOUT: Mapping[Mode, str] = {
    "open": "no API key is set: everybody who can reach this server may submit to every benchmark and read every "
    "public part of its tasks",
    "bearer": "whoever shows the API key is let in (Authorization: Bearer)",
    "keys": "whoever shows a key of this host is let in (Authorization: Bearer, or X-Descope-Api-Key); "
    "`benchhost keys` makes and revokes them",
    "descope": "whoever shows a key of Descope that is of exactly one tenant is let in (X-Descope-Api-Key)",
    "oidc": "whoever shows a token of the issuer that names a tenant is let in (Authorization: Bearer)",
}


def is_loopback(address: str) -> bool:
    """Whether only this machine can reach an address to listen on."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:  # a name, which may be that of any address
        return False


def modes_of(settings: Settings) -> tuple[Mode, ...]:
    """Say by which ways the settings let callers in.

    Raises :class:`~benchhost.errors.SettingsError` when they do not go together.
    """
    if settings.auth is None:
        if settings.auth_required:
            return ("descope",)
        return ("open",) if settings.api_key is None else ("bearer",)
    if unknown := [name for name in settings.auth if name not in MODES]:
        raise SettingsError(f"auth: expected some of {', '.join(MODES)}, got {unknown[0]!r}")
    if not settings.auth:
        raise SettingsError(f"auth: expected some of {', '.join(MODES)}, got none")
    if "open" in settings.auth and (len(set(settings.auth)) > 1 or settings.auth_required or settings.api_key):
        raise SettingsError(
            "auth names open, which lets everybody in; it goes with no other way, no api_key and no auth_required"
        )
    return cast("tuple[Mode, ...]", tuple(dict.fromkeys(settings.auth)))


def _descope(settings: Settings) -> DescopeOptions:
    if settings.descope_project_id is not None:
        check_descope_is_installed()
    if settings.descope_base_uri is not None:
        must_be_private(settings.descope_base_uri, "descope_base_uri")
    return DescopeOptions(
        project_id=settings.descope_project_id,
        base_uri=settings.descope_base_uri,
        believed_for=settings.descope_cache_seconds,
    )


def _oidc(settings: Settings) -> OidcOptions:
    if settings.oidc_issuer is None or settings.oidc_audience is None:
        raise SettingsError(
            "auth names oidc, which needs an oidc_issuer and an oidc_audience: a token that is meant for somebody "
            "else must not be good here"
        )
    must_be_private(settings.oidc_issuer, "oidc_issuer")
    if settings.oidc_jwks_uri is not None:
        must_be_private(settings.oidc_jwks_uri, "oidc_jwks_uri")
    algorithms = settings.oidc_algorithms or ("RS256", "ES256", "EdDSA")
    if unknown := [name for name in algorithms if name not in ALGORITHMS]:
        raise SettingsError(f"oidc_algorithms: expected some of {', '.join(ALGORITHMS)}, got {unknown[0]!r}")
    check_pyjwt_is_installed()
    return OidcOptions(
        issuer=settings.oidc_issuer,
        audience=settings.oidc_audience,
        tenant_claim=settings.oidc_tenant_claim,
        algorithms=algorithms,
        jwks_uri=settings.oidc_jwks_uri,
    )
