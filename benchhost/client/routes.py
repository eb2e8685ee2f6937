"""How the routes of one benchmark at a host are asked, and how their answers are read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from benchhost.client.address import daytona_headers
from benchhost.client.answers import Outcome
from benchhost.client.faults import Request
from benchhost.client.transport import Answer, Transport
from benchhost.errors import ClientError
from benchhost.wire import native

T = TypeVar("T")

JSON = "application/json"

_UNVERSIONED = ("/health", "/version")
"""Paths that are about no version of a dataset in particular."""

_encode = msgspec.json.Encoder().encode


class Routes:
    """The routes of the ``benchmark`` of the host at ``root``, or of a service that has only one and no name for it.

    ``timeout`` is the longest silence in seconds, and ``evaluation_timeout`` that while something is worked on. A
    ``dataset_version`` goes with all that is about a dataset.
    """

    def __init__(
        self,
        root: str,
        benchmark: str | None,
        transport: Transport,
        *,
        dataset_version: str | None,
        timeout: float,
        evaluation_timeout: float,
    ) -> None:
        self.root = root
        self.benchmark = benchmark
        self.url = root if benchmark is None else f"{root}/b/{quote(benchmark, safe='')}"
        self.evaluation_timeout = evaluation_timeout
        self.transport = transport
        self._dataset_version = dataset_version
        self._timeout = timeout

    async def plugins(self) -> list[native.Plugin]:
        """List what the host serves, and what it cannot serve and why."""
        request = self._look("Listing the benchmarks", f"{self.root}/v1/plugins")
        return (await self.transport.ask(request)).read(request, native.Plugins).plugins

    async def get(self, what: str, path: str, shape: type[T], **query: str | Sequence[str] | None) -> T:
        """Ask for something that is only looked at."""
        given = {name: value for name, value in query.items() if value is not None}
        url = f"{self.url}{path}" + (f"?{urlencode(given, doseq=True)}" if given else "")
        request = self._look(what, url)
        if path not in _UNVERSIONED and not path.startswith("/v1/evaluations/"):
            request = msgspec.structs.replace(request, version=self._dataset_version)
        return (await self.ask(request)).read(request, shape)

    def _look(self, what: str, url: str) -> Request:
        return Request(what=what, method="GET", url=url, timeout=self._timeout, accept=JSON)

    def post(self, what: str, path: str, body: dict[str, Any], accept: str = JSON) -> Request:
        """Make a request to work on something, about the version of the dataset that is pinned."""
        return Request(
            what=what,
            method="POST",
            url=self.url + path,
            timeout=self.evaluation_timeout,
            body=_encode(body),
            accept=accept,
            version=self._dataset_version,
        )

    def socket(self, what: str, path: str, sandbox_provider: Mapping[str, Any] | None = None) -> Request:
        """Make a request to open a WebSocket."""
        return Request(
            what=what,
            method="POST",
            url=f"ws{self.url.removeprefix('http')}{path}",
            timeout=self.evaluation_timeout,
            accept=JSON,
            version=self._dataset_version,
            headers=daytona_headers(sandbox_provider),
        )

    async def ask(self, request: Request) -> Answer:
        """Send a request, and return its whole answer."""
        try:
            return await self.transport.ask(request)
        except ClientError as error:
            raise await self.explained(error) from error.__cause__

    async def explained(self, error: ClientError) -> ClientError:
        """Say in an error about a path that does not exist which benchmarks the host has, if it is a benchhost."""
        if error.status != 404 or (error.problem != "unknown-benchmark" and error.detail != "Not Found"):
            return error
        try:
            names = [plugin.name for plugin in await self.plugins()]
        except ClientError:
            return error  # no benchhost, or it does not tell: there is nothing to add
        if self.benchmark in names:
            return error
        there = f"The host has: {', '.join(names)}." if names else "The host has no benchmark."
        message = f"{error} {there} The URL of a benchmark is {self.root}/b/<name>."
        return ClientError(message, status=404, detail=error.detail, problem=error.problem)

    def outcome(self, request: Request, answer: Answer) -> Outcome:
        """Read an outcome, and the id of its evaluation, out of an answer."""
        outcome = answer.read(request, Outcome)
        outcome.evaluation_id = answer.headers.get("x-evaluation-id")
        return outcome
