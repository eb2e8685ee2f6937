"""The server, assembled."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, nullcontext

from litestar import Litestar, Router
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException
from litestar.routes import HTTPRoute
from litestar.types import HTTPScope, Receive, Scope, Send

from benchhost.absent import absent
from benchhost.errors import Busy
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.server.auth import Admitted, admit, echoing, pinned, served
from benchhost.server.host import Host
from benchhost.server.openapi import openapi
from benchhost.server.problems import exception_handler, send_problem
from benchhost.server.raw import raw_routes
from benchhost.server.routes import BENCHMARK_ROUTES, HOST_ROUTES
from benchhost.server.sockets import SOCKETS, Sockets

_SLASHES = re.compile("/{2,}")


class App:
    """The ASGI application: Litestar, and before it the routes of bytes, behind the door-keeper."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._litestar = _litestar(host)
        self._raw = raw_routes(BENCHMARK_ROUTES)
        self._sockets = Sockets(host)

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route as its method, or ``WEBSOCKET``, and its path; the parameters of a path are in braces."""
        found: list[tuple[str, str]] = []
        for route in self._litestar.routes:
            if isinstance(route, HTTPRoute):
                found += [(method, route.path_format) for method in sorted(set(route.methods) - {"OPTIONS"})]
        return found + [("WEBSOCKET", f"/b/{{name}}{path}") for path in SOCKETS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        if scope["type"] not in (ScopeType.HTTP, ScopeType.WEBSOCKET):
            await self._litestar(scope, receive, send)
            return
        if "//" in scope["path"]:  # some clients join their base URL and the path with one slash too many
            scope["path"] = _SLASHES.sub("/", scope["path"])
        if scope["type"] == ScopeType.WEBSOCKET:
            await self._sockets.serve(scope, receive, send)
            return
        try:
            with self._host.connections.request(scope["client"]):
                await self._answer(scope, receive, send)
        except Busy as error:  # only ever from the first line
            await send_problem(send, error)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        try:
            self._host.heads.check(scope)
            if scope["path"] != "/health":
                await self._host.plugins_found()
            admitted = pinned(scope, await admit(scope, self._host))
        except Exception as error:  # a check_auth may fail in any way, and must then let nobody in
            await send_problem(send, error)
            return
        if admitted.pinned is not None:
            send = echoing(send, admitted.pinned)
        with admitted.benchmark.in_use() if admitted.benchmark is not None else nullcontext():
            raw = self._raw.get(admitted.path) if scope["method"] == "POST" and admitted.name is not None else None
            if raw is not None:
                await raw.answer(self._host, admitted, scope, receive, send)
            else:
                scope.setdefault("state", {})["admitted"] = admitted
                await self._litestar(scope, receive, send)


def _litestar(host: Host) -> Litestar:
    @asynccontextmanager
    async def open_host(_: Litestar) -> AsyncIterator[None]:
        await host.open(wait=False)
        try:
            await host.let_callers_in()
            if host.runs is not None:
                await host.plugins_found()
                await host.runs.open(resume=host.settings.resume_runs)
            yield
        finally:
            await host.close()

    # One router serves every benchmark. A router for each would cost a second of start-up for fifty of
    # them, and could not follow a reload.
    benchmarks = Router("/b/{name:str}", route_handlers=BENCHMARK_ROUTES, dependencies={"benchmark": _benchmark_is()})
    of_host = Router("/", route_handlers=[*HOST_ROUTES, openapi])
    for route in (*benchmarks.routes, *of_host.routes):
        if isinstance(route, HTTPRoute):  # its OPTIONS knows only the first handler of the path; it is made anew
            route.route_handlers = [each for each in route.route_handlers if each.http_methods != {"OPTIONS"}]
    # Litestar would load these, where they are installed, for plugins that it adds of itself: 0.06 s of CPU.
    with absent("pydantic", "attr", "attrs"):
        return Litestar(
            [benchmarks, of_host],
            lifespan=[open_host],
            state=State({"host": host}, deep_copy=False),
            dependencies={
                "host": Provide(_host, sync_to_thread=False),
                "admitted": Provide(_admitted, sync_to_thread=False),
                "tenant": Provide(_tenant, sync_to_thread=False),
            },
            exception_handlers={HTTPException: exception_handler, Exception: exception_handler},
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
