"""Who may call: decided before anything else, so that an unknown path tells a stranger nothing.

A host with an API key asks for it as a bearer token, of every path but health and version. A
benchmark that overrides ``check_auth`` decides for its own paths instead. A host with neither is open.
"""

from __future__ import annotations

import secrets

import msgspec
from litestar.types import HTTPScope

from benchhost.errors import BenchhostError, NoVersions, Unauthorized
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.host import Host


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in.

    There is one ``tenant`` so far, whose name is empty. ``benchmark`` is the one that the path is about,
    if that can be served: the one whose rule was asked is the one that answers, also when plugins are
    reloaded meanwhile. ``known`` says whether the caller has shown a credential, where one is asked for.
    ``name`` is what the path calls the benchmark, if it is about one, and ``path`` the rest of it.
    """

    tenant: str
    benchmark: HostedBenchmark | None
    known: bool
    name: str | None
    path: str


async def admit(scope: HTTPScope, host: Host) -> Admitted:
    """Decide whether a request is let in.

    Raises :class:`~benchhost.errors.Unauthorized`, and whatever a ``check_auth`` raises.
    """
    name, rest = _benchmark_of(scope["path"])
    benchmark = None if name is None else await _served(host, name)
    if rest == "/health":
        return Admitted("", benchmark, False, name, rest)
    public = is_public(name, rest)
    try:
        known = await _is_known(scope, host, benchmark)
    except Exception:  # a check_auth may fail in any way; what is public is then told as to a stranger
        if not public:
            raise
        known = False
    if not known and not public:
        raise Unauthorized("Unauthorized")
    return Admitted("", benchmark, known, name, rest)


async def served(host: Host, admitted: Admitted) -> HostedBenchmark:
    """Find the benchmark that an admitted request is about.

    Raises :class:`~benchhost.errors.UnknownBenchmark` or :class:`~benchhost.errors.Unavailable`.
    """
    if admitted.benchmark is not None:
        return admitted.benchmark
    benchmark = host.roster.get(admitted.name or "")
    await benchmark.ready()
    return benchmark


async def _is_known(scope: HTTPScope, host: Host, benchmark: HostedBenchmark | None) -> bool:
    if benchmark is not None and benchmark.offers("check_auth"):
        headers = {key.decode("latin-1").lower(): value.decode("latin-1") for key, value in scope["headers"]}
        return (await benchmark.call("check_auth", body=msgspec.msgpack.encode(headers))).data == b"true"
    if host.settings.api_key is None:
        return True
    given = next((value for key, value in scope["headers"] if key == b"authorization"), b"")
    scheme, _, token = given.partition(b" ")
    return secrets.compare_digest(token, host.settings.api_key.encode()) and scheme.lower() == b"bearer"


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


async def _served(host: Host, name: str) -> HostedBenchmark | None:
    try:
        benchmark = host.roster.get(name)
        await benchmark.ready()
    except BenchhostError:
        return None  # the host's own rule applies, and then the route says what is wrong
    return benchmark
