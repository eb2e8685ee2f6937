"""The routes as Litestar answers them: all but what :mod:`benchhost.server.app` answers before it.

Loading it takes longer than everything else that a server loads, so nothing that must be there at once imports this.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException, ValidationException
from litestar.plugins import PluginProtocol
from litestar.plugins.core import MsgspecDIPlugin
from litestar.routes import HTTPRoute
from litestar.types import Scope

from benchhost.errors import Malformed, RequestError
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.auth import Admitted, served
from benchhost.server.host import Host
from benchhost.server.openapi import openapi
from benchhost.server.problems import MEDIA_TYPE, NotFound, Said, answer_to
from benchhost.server.raw import raw_routes
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.wire.native import FieldProblem

_MISSING = re.compile(r"Missing required query parameter '(?P<name>[^']+)'")


class Framework:
    """Litestar with every route of a host, and those of them that are functions of bytes, by their paths."""

    def __init__(self, host: Host) -> None:
        self.litestar = _litestar(host)
        self.raw = raw_routes(BENCHMARK_ROUTES)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route as its method and its path, whose parameters are in braces."""
        return [
            (method, route.path_format)
            for route in self.litestar.routes
            if isinstance(route, HTTPRoute)
            for method in sorted(set(route.methods) - {"OPTIONS"})
        ]


class _Litestar(Litestar):
    """Litestar without the plugins that it adds of itself for models of other kinds: 0.06 s of CPU to load."""

    @staticmethod
    def _get_default_plugins(plugins: list[PluginProtocol]) -> list[PluginProtocol]:
        return [*plugins, MsgspecDIPlugin()]


def _litestar(host: Host) -> Litestar:
    # One router serves every benchmark. A router for each would cost a second of start-up for fifty of
    # them, and could not follow a reload.
    benchmarks = Router("/b/{name:str}", route_handlers=BENCHMARK_ROUTES, dependencies={"benchmark": _benchmark_is()})
    of_host = Router("/", route_handlers=[*HOST_ROUTES, openapi])
    for route in (*benchmarks.routes, *of_host.routes):
        if isinstance(route, HTTPRoute):  # its OPTIONS knows only the first handler of the path; it is made anew
            route.route_handlers = [each for each in route.route_handlers if each.http_methods != {"OPTIONS"}]
    return _Litestar(
        [benchmarks, of_host],
        state=State({"host": host}, deep_copy=False),
        dependencies={
            "host": Provide(_host, sync_to_thread=False),
            "admitted": Provide(_admitted, sync_to_thread=False),
            "tenant": Provide(_tenant, sync_to_thread=False),
        },
        exception_handlers={HTTPException: _answer, Exception: _answer},
        request_max_body_size=host.largest_body,
        openapi_config=None,  # we make a document of our own
        logging_config=None,
    )


def _benchmark_is() -> Provide:
    async def benchmark(admitted: NamedDependency[Admitted], host: NamedDependency[Host]) -> HostedBenchmark:
        return await served(host, admitted)

    return Provide(benchmark)


def _host(state: State) -> Host:
    host: Host = state.host
    return host


def _admitted(scope: Scope) -> Admitted:
    admitted: Admitted = scope["state"]["admitted"]
    return admitted


def _tenant(scope: Scope) -> str:
    return _admitted(scope).tenant


def _answer(_: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer an error that a handler, or Litestar itself, raised."""
    answer = answer_to(error, _said(error) if isinstance(error, HTTPException) else None)
    return Response(answer.body, status_code=answer.status, headers=answer.headers, media_type=MEDIA_TYPE)


def _said(error: HTTPException) -> Said:
    """Say in our words what Litestar refuses."""
    if isinstance(error, MethodNotAllowedException):
        allowed = {"allow": (error.headers or {}).get("allow", "")}
        return Said(405, "method-not-allowed", "Method not allowed", "Method Not Allowed", allowed)
    if isinstance(error, NotFoundException):
        return Said(404, NotFound.slug, NotFound.title, "Not Found")
    if isinstance(error, ValidationException):
        detail = [FieldProblem(Malformed.slug, list(place), message) for place, message in _of_parameters(error)]
        return Said(422, Malformed.slug, Malformed.title, detail)
    return Said(error.status_code, "request", RequestError.title, RequestError.title)


def _of_parameters(error: ValidationException) -> Iterator[tuple[tuple[str, str], str]]:
    """Say where and what is wrong in a query, of which Litestar tells in two ways."""
    for extra in error.extra or ():
        if isinstance(extra, dict):
            yield ("query", str(extra.get("key", ""))), str(extra.get("message", ""))
    if missing := _MISSING.match(error.detail):
        yield ("query", missing["name"]), "the parameter is required"
