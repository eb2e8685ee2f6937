"""The sandboxes of a run against a remote host: where both the host and this command can reach them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchhost.client import Client
from benchhost.contract import Provider
from benchhost.errors import ClientError, UsageError
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.owners import Owner
from benchhost.runner.host_sandboxes import HostSandboxes
from benchhost.runner.remote_instances import Elsewhere
from benchhost.server.daytona import OWN_VARIABLES, own_daytona_config
from benchhost.server.sandboxes import own_provider
from benchhost.server.secrets import secret
from benchhost.settings import Settings, state_folder

DAYTONA = (
    "use Daytona, which both can reach: BENCHHOST_SANDBOX=daytona, with DAYTONA_API_KEY, DAYTONA_API_URL and "
    "DAYTONA_TARGET"
)


@asynccontextmanager
async def opened_elsewhere(client: Client, settings: Settings) -> AsyncIterator[Elsewhere]:
    """Open the caller's own sandboxes at Daytona, if the setting ``sandbox`` says so, else those of the host.

    Raises :class:`~benchhost.errors.UsageError` when there are none that the host could reach.
    """
    opener = None
    config: dict[str, str] = {}
    credentials: dict[str, Any] | None = None
    if settings.sandbox == "daytona":
        config = own_daytona_config(os.environ, settings.daytona_hosts)
        missing = [OWN_VARIABLES[name] for name in ("api_key", "api_url", "target") if not config.get(name)]
        if missing:
            raise UsageError(f"sandboxes at Daytona need the variables {', '.join(missing)}, which are not set")
        credentials = {"type": "daytona"} | {
            OWN_VARIABLES[name]: config[name] for name in OWN_VARIABLES if name in config
        }
    else:
        own_provider(settings)  # a misspelt provider would mean the host's, without a word
        await _must_make_sandboxes(client)

        async def opener() -> Provider:
            return HostSandboxes(client)

    state = state_folder(settings)
    owner = Owner(state / "owners")
    name, folder = "daytona", state / "lent"
    if credentials is None:  # what is left behind at one host is looked for there alone
        at = hashlib.sha256(client.root.encode()).hexdigest()[:16]
        name, folder = HostSandboxes.name, state / "lent-by-hosts" / at
    own = OwnSandboxes(name, config, owner, folder, secret(state / "key"), opener=opener)
    try:
        own.open()
        yield Elsewhere(own, credentials)
    finally:
        await own.close()
        owner.close()


async def _must_make_sandboxes(client: Client) -> None:
    if client.benchmark is None:
        raise UsageError(
            f"{client.url} judges what is done in sandboxes, and cannot reach those of this machine: {DAYTONA}"
        )
    try:
        await client.sandboxes.list()
    except ClientError as error:
        if error.problem != "sandboxes-not-allowed":
            raise
        raise UsageError(
            f"{client.url} makes no sandboxes for callers (its operator can allow it: benchhost serve "
            f"--allow-sandboxes), and cannot reach those of this machine: {DAYTONA}"
        ) from error
