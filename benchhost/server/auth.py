"""Who may call: decided before anything else, so that an unknown path tells a stranger nothing.

A host with an API key asks for it as a bearer token, of every path but health and version. A
benchmark that overrides ``check_auth`` decides for its own paths instead. A host with neither is open.
"""

from __future__ import annotations

import secrets

import msgspec
from litestar.types import HTTPScope

from benchhost.errors import BenchhostError, NoVersions, Unauthorized
from benchhost.server.host import Host


async def tenant_of(scope: HTTPScope, host: Host) -> str:
    """Return on whose behalf a request is made. There is one tenant so far, whose name is empty.

    Raises :class:`~benchhost.errors.Unauthorized`.
    """
    name, rest = _benchmark_of(scope["path"])
    if is_public(name, rest):
        return ""
    if name is not None and await _asks_itself(host, name):
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        answer = await host.roster.get(name).call("check_auth", body=msgspec.msgpack.encode(headers))
        if answer.data != b"true":
            raise Unauthorized("Unauthorized")
    elif host.settings.api_key is not None:
        expected = f"Bearer {host.settings.api_key}".encode()
        given = next((value for key, value in scope["headers"] if key == b"authorization"), b"")
        if not secrets.compare_digest(given, expected):
            raise Unauthorized("Unauthorized")
    return ""


def is_public(benchmark: str | None, path: str) -> bool:
    """Say whether a path of a benchmark, or of the host itself, needs no credential."""
    return path == "/health" or (benchmark is not None and path == "/version")


def refuse_pinned_version(scope: HTTPScope) -> None:
    """Refuse a request for one version of a dataset, which is not offered, rather than ignore it.

    Raises :class:`~benchhost.errors.NoVersions`.
    """
    if any(key == b"x-benchmark-dataset-version" for key, _ in scope["headers"]):
        name, rest = _benchmark_of(scope["path"])
        if name is not None and not is_public(name, rest):
            raise NoVersions("Dataset version selection is not supported")


def _benchmark_of(path: str) -> tuple[str | None, str]:
    """Part the name of the benchmark from the rest of a path."""
    if not path.startswith("/b/"):
        return None, path.rstrip("/")
    name, _, rest = path[3:].partition("/")
    return name, f"/{rest}".rstrip("/")


async def _asks_itself(host: Host, name: str) -> bool:
    try:
        benchmark = host.roster.get(name)
        await benchmark.ready()
    except BenchhostError:
        return False  # the host's own rule applies, and then the route says what is wrong
    return benchmark.offers("check_auth")
