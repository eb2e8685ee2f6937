"""With whose key Daytona is opened: the caller's, at a place that the operator allows, or the host's own."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchhost.errors import Malformed, SandboxRefused
from benchhost.sandbox.daytona import allowed_api_url

OWN_VARIABLES = {
    "api_key": "DAYTONA_API_KEY",
    "api_url": "DAYTONA_API_URL",
    "target": "DAYTONA_TARGET",
    "organization_id": "DAYTONA_ORGANIZATION_ID",
}
"""The variables that Daytona's own tools read, for the sandboxes that are the host's own."""


def daytona_config(credentials: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
    """Make what the provider is opened with, out of what a caller sent: ``api_key``, ``api_url``, ``target``, and an
    ``organization_id`` if need be. ``hosts`` are the ones that the setting ``daytona_hosts`` allows.

    Raises :class:`~benchhost.errors.Malformed` for an address that is not allowed.
    """
    hosts = tuple(hosts)
    config = {**credentials, "hosts": ",".join(hosts)}
    if credentials.get("api_url"):
        try:
            config["api_url"] = allowed_api_url(credentials["api_url"], hosts)
        except SandboxRefused as error:  # the caller's mistake, which it may be told
            raise Malformed(str(error), ()) from error
    return config


def own_daytona_config(environ: Mapping[str, str], hosts: Iterable[str]) -> dict[str, str]:
    """Make what the provider is opened with for the host's own sandboxes. Where they are is the operator's matter."""
    found = {field: environ.get(variable, "") for field, variable in OWN_VARIABLES.items()}
    return {**{field: value for field, value in found.items() if value}, "hosts": ",".join(hosts)}
