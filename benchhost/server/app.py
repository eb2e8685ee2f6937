"""The server, assembled."""

from __future__ import annotations

import asyncio
import re
import threading
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import msgspec

from benchhost.errors import Busy
from benchhost.evaluation.collector import loading
from benchhost.server.auth import admit, echoing, pinned
from benchhost.server.bodies import discard_rest
from benchhost.server.host import Host
from benchhost.server.problems import send_problem
from benchhost.server.sockets import SOCKETS, Sockets
from benchhost.wire.vals import Health

if TYPE_CHECKING:
    from litestar.types import HTTPScope, Receive, Scope, Send

    from benchhost.server.framework import Framework

_SLASHES = re.compile("/{2,}")

_HEALTH = msgspec.json.encode(Health())


class App:
    """The ASGI application: Litestar, and before it the routes of bytes, behind the door-keeper.

    Litestar takes longer to load than all the rest, so it is loaded beside that: the plugins are found and the host
    is healthy meanwhile, and whoever asks for what only Litestar answers waits for it.
    """

    def __init__(self, host: Host) -> None:
        self._host = host
        self._sockets = Sockets(host)
        self._framework: Framework | None = None
        self._one_at_a_time = threading.Lock()
        self._assembling: asyncio.Future[Framework] | None = None

    @property
    def routes(self) -> list[tuple[str, str]]:
        """Every route as its method, or ``WEBSOCKET``, and its path; the parameters of a path are in braces."""
        return self._assemble().routes + [("WEBSOCKET", f"/b/{{name}}{path}") for path in SOCKETS]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection."""
        kind: str = scope["type"]
        if kind == "lifespan":
            await self._live(receive, send)
            return
        if "//" in scope["path"]:  # some clients join their base URL and the path with one slash too many
            scope["path"] = _SLASHES.sub("/", scope["path"])
        if kind == "websocket":
            await self._sockets.serve(scope, receive, send)
            return
        try:
            with self._host.connections.request(scope["client"]):
                await self._answer(cast("HTTPScope", scope), receive, send)
        except Busy as error:  # only ever from the first line
            await send_problem(send, error)

    async def _answer(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        try:
            self._host.heads.check(scope)
            if scope["path"] == "/health":
                if scope["method"] == "GET":
                    await _say_healthy(send)
                    return
            else:
                await self._host.plugins_found()
            admitted = pinned(scope, await admit(scope, self._host))
            framework = self._framework or await self._assembled()
        except Exception as error:  # a check_auth may fail in any way, and must then let nobody in
            await discard_rest(scope, receive, begun=False)
            await send_problem(send, error)
            return
        if admitted.pinned is not None:
            send = echoing(send, admitted.pinned)
        with admitted.benchmark.in_use() if admitted.benchmark is not None else nullcontext():
            raw = framework.raw.get(admitted.path) if scope["method"] == "POST" and admitted.name is not None else None
            if raw is not None:
                await raw.answer(self._host, admitted, scope, receive, send)
            else:
                scope.setdefault("state", {})["admitted"] = admitted
                await framework.litestar(scope, receive, send)

    async def _live(self, receive: Receive, send: Callable[[Any], Awaitable[None]]) -> None:
        """Keep the host open for the life of the server (the lifespan protocol of ASGI)."""
        await receive()
        said = "startup"
        try:
            async with self._open():
                await send({"type": "lifespan.startup.complete"})
                said = "shutdown"
                await receive()
        except Exception:
            await send({"type": f"lifespan.{said}.failed", "message": traceback.format_exc()})
            raise
        await send({"type": "lifespan.shutdown.complete"})

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[None]:
        host = self._host
        await host.open(wait=False)
        try:
            await host.let_callers_in()
            if host.runs is not None:
                await host.plugins_found()
                await host.runs.open(resume=host.settings.resume_runs)
            assembling = asyncio.create_task(self._assembled())
            yield
            await assembling
        finally:
            await host.close()

    async def _assembled(self) -> Framework:
        """Load the framework in a thread, once, whoever asks for it first."""
        if self._assembling is None:
            self._assembling = asyncio.ensure_future(asyncio.to_thread(self._assemble))
        return await asyncio.shield(self._assembling)

    def _assemble(self) -> Framework:
        with self._one_at_a_time:
            if self._framework is None:
                with loading():
                    from benchhost.server.framework import Framework

                    self._framework = Framework(self._host)
            return self._framework


async def _say_healthy(send: Send) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(_HEALTH)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": _HEALTH, "more_body": False})
