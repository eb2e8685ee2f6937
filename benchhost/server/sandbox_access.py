"""Which sandbox a caller means, and how it is reached.

It is one of the host's own (``local:<id>``), which must be the caller's; or one that the caller has elsewhere, whose
credentials come with the first frame, or else in headers, as clients of create-benchmark-service send them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchhost.contract import Sandbox
from benchhost.errors import Malformed, SandboxNotFound, UnknownSandbox
from benchhost.evaluation.frames import InSandbox
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.server.daytona import daytona_config

MISSING = "Missing required headers: x-api-key, x-api-url, x-target"
"""What clients of create-benchmark-service are told who send no credentials."""

DOCKER_DISABLED = "Docker sandboxes are disabled on this service"

_HEADERS = {"api_key": "x-api-key", "api_url": "x-api-url", "target": "x-target"}
_IN_FRAME = {"api_key": "DAYTONA_API_KEY", "api_url": "DAYTONA_API_URL", "target": "DAYTONA_TARGET"}
_ORGANIZATION = ("DAYTONA_ORGANIZATION_ID", "x-organization-id")


class ProviderDisabled(Exception):
    """The caller's provider is not to be had here; the message is the reason with which the socket is closed."""


async def place_of(
    own: OwnSandboxes,
    tenant: str,
    instance_id: str,
    given: Mapping[str, Any] | None,
    headers: Mapping[str, str],
    daytona_hosts: tuple[str, ...],
) -> InSandbox:
    """Find out where a sandbox is.

    Raises :class:`~benchhost.errors.Malformed` when what is needed to reach it is missing,
    :class:`~benchhost.errors.UnknownSandbox` when it is none of the caller's, :class:`ProviderDisabled`, and
    :class:`~benchhost.errors.SandboxError`.
    """
    kind = None if given is None else given.get("type")
    if own.name is not None and (kind == own.name != "daytona" or (kind is None and _is_own(own, instance_id))):
        return own.place((await own_sandbox(own, tenant, instance_id)).id)
    if kind == "docker":
        raise ProviderDisabled(DOCKER_DISABLED)
    if given is not None and kind != "daytona":
        known = ", ".join(dict.fromkeys(["daytona", *([own.name] if own.name else [])]))
        raise Malformed(
            f"no such provider of sandboxes is to be had here; there are {known}", ("sandbox_provider", "type")
        )
    return InSandbox("daytona", daytona_config(_credentials(given, headers), daytona_hosts), instance_id)


def public_id(own: OwnSandboxes, sandbox_id: str) -> str:
    """Make the id by which callers know a sandbox of the host's own."""
    return f"{own.name}:{sandbox_id}"


async def own_sandbox(own: OwnSandboxes, tenant: str, sandbox_id: str) -> Sandbox:
    """Find a sandbox of the host's own, which must be the tenant's, by the id that callers know.

    Raises :class:`~benchhost.errors.UnknownSandbox` and :class:`~benchhost.errors.SandboxError`.
    """
    try:
        return await own.get(tenant, sandbox_id.removeprefix(f"{own.name}:"))
    except SandboxNotFound as error:
        raise UnknownSandbox("No such sandbox is yours on this host.") from error


def _is_own(own: OwnSandboxes, sandbox_id: str) -> bool:
    return sandbox_id.startswith(f"{own.name}:")


def _credentials(given: Mapping[str, Any] | None, headers: Mapping[str, str]) -> dict[str, str]:
    """Take the credentials for Daytona out of the frame, or else out of the headers."""
    if given is not None:
        names = {**_IN_FRAME, "organization_id": _ORGANIZATION[0]}
        found = {field: given.get(name) for field, name in names.items()}
        for field, value in found.items():
            if not isinstance(value, str) and (value is not None or field in _IN_FRAME):
                raise Malformed("expected text", ("sandbox_provider", names[field]))
    else:
        found = {field: headers.get(name) or headers.get(f"daytona_{field}") for field, name in _HEADERS.items()}
        if not all(found.values()):
            raise Malformed(MISSING, ())
        found["organization_id"] = headers.get(_ORGANIZATION[1])
    return {field: value for field, value in found.items() if value}
