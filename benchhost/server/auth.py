"""Who may call: decided before anything else, so that an unknown path tells a stranger nothing.

The host's rules are those of :mod:`benchhost.access`. A benchmark that overrides ``check_auth`` or
``resolve_tenant`` decides for its own paths instead. Which datasets a caller may use is decided where a
request names one, once its shape is known to be right: :meth:`Admitted.catalogue`.

An HTTP request that is refused is answered with the error. A WebSocket is accepted first and then
closed: see :func:`close_code`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

import msgspec

from benchhost.access import EVERY, Caller, is_tenant
from benchhost.access.headers import credentials_of
from benchhost.errors import (
    BenchhostError,
    DatasetNotAllowed,
    InvalidVersion,
    NoVersions,
    RequestError,
    TenantRequired,
    TrialRefused,
    Unauthorized,
    UnknownDataset,
)
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.host import Host
from benchhost.tasks import Catalogue
from benchhost.uploads import PATH as UPLOADS
from benchhost.wire.vals import VERSION, VERSION_HEADER

if TYPE_CHECKING:
    from litestar.types import Message, Scope, Send

POLICY_VIOLATION, INTERNAL_ERROR = 1008, 1011
"""Codes with which a WebSocket is closed (RFC 6455)."""

_OPEN_TO_TRIAL = re.compile(r"/v1/evaluate|/v1/score|/v1/datasets/[^/]+/tasks|/resolve-dataset")

_VERSIONED = re.compile(
    r"/(verify-task-ids|retrieve-task|evaluate-response|final-score|v1/evaluate|v1/evaluate-batch|v1/score|v1/receipts"
    r"|v1/submissions/upload-url"
    r"|v1/datasets/[^/]+/tasks|ws/[^/]+)"
)
_VERSION_HEADER = VERSION_HEADER.lower().encode()

_headers_encoder = msgspec.msgpack.Encoder().encode


class Admitted(msgspec.Struct, frozen=True):
    """A request that was let in.

    ``benchmark`` is the one that the path is about, if that can be served: the one whose rule was asked
    is the one that answers, also when plugins are reloaded meanwhile. ``known`` says whether the caller
    has shown a credential, where one is asked for. ``name`` is what the path calls the benchmark, if it is
    about one, and ``path`` the rest of it. ``wants_tenant`` says that it is for callers of a tenant alone.
    ``pinned`` is the version of a dataset that it names.
    """

    caller: Caller
    benchmark: HostedBenchmark | None
    known: bool
    name: str | None
    path: str
    wants_tenant: bool = False
    pinned: str | None = None

    @property
    def tenant(self) -> str:
        """The tenant of the caller, which is empty for one of none."""
        return self.caller.tenant

    def may_use_at_once(self, benchmark: HostedBenchmark, dataset: str | None) -> bool:
        """Whether a dataset may be used, as far as can be said without asking the benchmark itself."""
        return (
            not self._lacks_tenant
            and self.caller.may_use(benchmark.name, dataset or "default")
            and not benchmark.offers("check_dataset_access")
        )

    def may_use_anything(self, benchmark: HostedBenchmark) -> bool:
        """Whether there is no dataset of the benchmark that the caller may not use."""
        return self.caller.may_use_all and not self._lacks_tenant and not benchmark.offers("check_dataset_access")

    def must_have_tenant(self) -> None:
        """Make sure that the caller is of a tenant, where the path is for tenants.

        Raises :class:`~benchhost.errors.TenantRequired`.
        """
        if self._lacks_tenant:
            raise TenantRequired(
                "The /v1/ surface requires Descope authentication, or another credential of a tenant; "
                "the one that was shown is of none."
            )

    async def must_use(self, benchmark: HostedBenchmark, dataset: str | None) -> None:
        """Make sure that the caller may use a dataset; none, or an empty name, means the default one.

        Raises :class:`~benchhost.errors.TenantRequired` and :class:`~benchhost.errors.DatasetNotAllowed`,
        and :class:`~benchhost.errors.GradingFailed` when the benchmark's own rule fails.
        """
        self.must_have_tenant()
        name = dataset or "default"
        allowed = self.caller.may_use(benchmark.name, name)
        if benchmark.offers("check_dataset_access"):
            scoped = self.caller.scope is EVERY or self.caller.scope.has(benchmark.name, name)
            answer = await benchmark.call("check_dataset_access", dataset=name, body=self.tenant.encode())
            allowed = scoped and answer.data == b"true"
        if not allowed:
            raise DatasetNotAllowed("Dataset not allowed")

    async def catalogue(self, benchmark: HostedBenchmark, dataset: str | None, version: str | None = None) -> Catalogue:
        """Find the catalogue of a dataset that the caller may use, in the version that the request has pinned, if any.

        Raises what :meth:`must_use` and :meth:`~benchhost.evaluation.hosted.HostedBenchmark.catalogue` raise.
        """
        if not self.may_use_at_once(benchmark, dataset):
            await self.must_use(benchmark, dataset)
        try:
            return benchmark.catalogue(dataset, version or self.pinned)
        except UnknownDataset:
            if self.caller.may_use_all and not benchmark.offers("check_dataset_access"):
                raise
            available = ", ".join(self.shown(benchmark)) or "none"
            raise UnknownDataset(
                f"Dataset '{(dataset or 'default')[:200]}' not found. Available datasets: {available}"
            ) from None

    def shown(self, benchmark: HostedBenchmark) -> Sequence[str]:
        """Name the datasets of a benchmark that the host's rules let the caller use, and may thus be told of."""
        return [name for name in benchmark.datasets if self.caller.may_use(benchmark.name, name)]

    @property
    def _lacks_tenant(self) -> bool:
        return self.wants_tenant and not self.caller.tenant


async def admit(scope: Scope, host: Host) -> Admitted:
    """Decide whether a request, or a WebSocket, is let in.

    Raises :class:`~benchhost.errors.Unauthorized` and :class:`~benchhost.errors.TrialRefused`, what
    :meth:`benchhost.access.Gatekeeper.identify` raises, and whatever a benchmark's own rule raises.
    """
    name, rest = parted(scope["path"])
    benchmark = None if name is None else await _served(host, name)
    if rest == "/health" or (name is None and rest == UPLOADS):  # where nobody need be asked who it is
        return Admitted(Caller(), benchmark, False, name, rest)
    public = is_public(name, rest)
    try:
        with nullcontext() if benchmark is None else benchmark.in_use():  # who knows the caller may be slow to answer
            caller = await _caller(scope, host, benchmark)
    except Exception:  # a benchmark's rule may fail in any way; what is public is then told as to a stranger
        if not public:
            raise
        return Admitted(Caller(), benchmark, False, name, rest)
    if caller.trial and not public and not (name is not None and _OPEN_TO_TRIAL.fullmatch(rest)):
        raise TrialRefused("Trial tenants may only access approved /v1 endpoints (/v1/*)")
    wants_tenant = name is not None and rest.startswith("/v1/") and host.gatekeeper.policy.tells_tenants
    return Admitted(caller, benchmark, True, name, rest, wants_tenant)


async def served(host: Host, admitted: Admitted) -> HostedBenchmark:
    """Find the benchmark that an admitted request is about.

    Raises :class:`~benchhost.errors.UnknownBenchmark` or :class:`~benchhost.errors.Unavailable`, and
    :class:`~benchhost.errors.Unauthorized` when it was loaded only now and has a rule that was not asked.
    """
    if admitted.benchmark is not None:
        return admitted.benchmark
    benchmark = host.roster.get(admitted.name or "")
    await benchmark.ready()
    if benchmark.offers("check_auth") or benchmark.offers("resolve_tenant"):
        raise Unauthorized("Unauthorized")
    return benchmark


def close_code(error: Exception) -> tuple[int, str]:
    """Say with which code and reason a WebSocket is closed that may not be used.

    It has to be accepted first: a refused handshake tells a client nothing.
    """
    if isinstance(error, RequestError):
        return POLICY_VIOLATION, str(error)
    title = error.title if isinstance(error, BenchhostError) else BenchhostError.title
    return INTERNAL_ERROR, title


async def _caller(scope: Scope, host: Host, benchmark: HostedBenchmark | None) -> Caller:
    """Say who calls, by the rule of the benchmark if it has one, and else by that of the host."""
    own_check = benchmark is not None and benchmark.offers("check_auth")
    own_tenant = benchmark is not None and benchmark.offers("resolve_tenant")
    if benchmark is None or not (own_check or own_tenant):
        return await host.gatekeeper.identify(scope["headers"])
    if credentials_of(scope["headers"]) is None:  # a header that comes twice
        raise Unauthorized("Unauthorized")
    headers = _headers_encoder(_joined(scope))
    if own_check and (await benchmark.call("check_auth", body=headers)).data != b"true":
        raise Unauthorized("Unauthorized")
    if not own_tenant:
        return Caller()
    tenant = msgspec.json.decode((await benchmark.call("resolve_tenant", body=headers)).data)
    caller = host.gatekeeper.tenant(tenant) if tenant is not None else None
    if caller is None and is_tenant(tenant) and benchmark.offers("check_dataset_access"):
        caller = Caller(tenant)  # whom the operator need not know
    if caller is None:
        raise Unauthorized("Unauthorized")
    return caller


def _joined(scope: Scope) -> dict[str, str]:
    """Make a dictionary of the headers; of one that comes twice, both values, as RFC 9110 joins them."""
    headers: dict[str, str] = {}
    for key, value in scope["headers"]:
        name, text = key.decode("latin-1").lower(), value.decode("latin-1")
        headers[name] = f"{headers[name]}, {text}" if name in headers else text
    return headers


def is_public(benchmark: str | None, path: str) -> bool:
    """Say whether a path of a benchmark, or of the host itself, needs no credential but what is in its URL."""
    return path in (("/health", "/v1/receipts/key", UPLOADS) if benchmark is None else ("/health", "/version"))


def pinned(scope: Scope, admitted: Admitted) -> Admitted:
    """Take note of the version of a dataset that a request names; where none can be chosen, refuse it, not ignore it.

    Raises :class:`~benchhost.errors.NoVersions` and :class:`~benchhost.errors.InvalidVersion`.
    """
    said = [value.decode("latin-1") for key, value in scope["headers"] if key == _VERSION_HEADER]
    if not said or admitted.name is None or is_public(admitted.name, admitted.path):
        return admitted
    if len(said) > 1:
        raise InvalidVersion("Supply X-Benchmark-Dataset-Version only once")
    if not VERSION.fullmatch(said[0]):
        raise InvalidVersion("Invalid X-Benchmark-Dataset-Version")
    if admitted.path == "/resolve-dataset":
        raise InvalidVersion(
            "X-Benchmark-Dataset-Version does not go with /resolve-dataset, whose body names a version"
        )
    if not _VERSIONED.fullmatch(admitted.path):
        raise NoVersions("Dataset version selection is not supported")
    return msgspec.structs.replace(admitted, pinned=said[0])


def echoing(send: Send, version: str) -> Send:
    """Have a good answer say which version of a dataset it is about."""

    async def echo(message: Message) -> None:
        if message["type"] == "http.response.start" and 200 <= message["status"] < 300:
            message["headers"] = [*message["headers"], (_VERSION_HEADER, version.encode())]
        await send(message)

    return echo


def takes_version(path: str) -> bool:
    """Say whether a path of a benchmark, with its parameters or with their names, is about a dataset in one version."""
    return _VERSIONED.fullmatch(path) is not None


def parted(path: str) -> tuple[str | None, str]:
    """Part the name of the benchmark, if a path is about one, from the rest of it."""
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
