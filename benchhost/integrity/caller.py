"""A caller of the application, in the same process: what it is told is all that a caller could see."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

PATIENCE = 20.0
"""Seconds after which a caller hangs up."""


class Seen(msgspec.Struct):
    """What a caller was told: the status (or the code with which a socket was closed), headers, and the rest."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes

    @property
    def text(self) -> str:
        """All of it, as a text."""
        said = [b": ".join(header) for header in self.headers]
        return b"\n".join([*said, self.body]).decode("utf-8", "replace")

    def header(self, name: bytes) -> str | None:
        """Return a header, if it was sent."""
        return next((value.decode("latin-1") for key, value in self.headers if key.lower() == name), None)


class Caller:
    """Calls an ASGI application (https://asgi.readthedocs.io/en/latest/specs/main.html)."""

    def __init__(self, app: Any) -> None:
        self._app = app

    @asynccontextmanager
    async def life(self) -> AsyncIterator[None]:
        """Start the application, and stop it at the end.

        Raises ``RuntimeError`` when it does not start.
        """
        to_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        from_app: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        living = asyncio.create_task(self._app({"type": "lifespan", "state": {}}, to_app.get, from_app.put))
        await to_app.put({"type": "lifespan.startup"})
        await self._told(living, from_app)
        try:
            yield
        finally:
            await to_app.put({"type": "lifespan.shutdown"})
            await self._told(living, from_app)
            await living

    async def request(
        self, method: str, path: str, query: str = "", headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Seen:
        """Send a request and read the answer to its end, or until there is no more patience."""
        seen = Seen(0, [], b"")
        asked = False
        over = asyncio.Event()

        async def receive() -> dict[str, Any]:
            nonlocal asked
            if asked:
                await over.wait()
                return {"type": "http.disconnect"}
            asked = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                seen.status = message["status"]
                seen.headers += [(bytes(name), bytes(value)) for name, value in message["headers"]]
            elif message["type"] == "http.response.body":
                seen.body += message.get("body", b"")
                if not message.get("more_body"):
                    over.set()

        scope = self._scope("http", path, query, headers) | {"method": method}
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._app(scope, receive, send)
        over.set()
        return seen

    async def converse(self, path: str, headers: Mapping[str, str], frames: Sequence[str | bytes]) -> Seen:
        """Open a socket, send frames, and read what comes until it is closed, or there is no more patience."""
        seen = Seen(0, [], b"")
        waiting: list[dict[str, Any]] = [{"type": "websocket.connect"}]
        for frame in frames:
            text = isinstance(frame, str)
            waiting.append({"type": "websocket.receive", "text" if text else "bytes": frame})
        closed = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop(0)
            await closed.wait()
            return {"type": "websocket.disconnect", "code": 1000}

        async def send(message: dict[str, Any]) -> None:
            said = message.get("text") or message.get("bytes") or message.get("reason") or b""
            seen.body += (said.encode() if isinstance(said, str) else bytes(said)) + b"\n"
            seen.headers += [(bytes(name), bytes(value)) for name, value in message.get("headers", ())]
            if message["type"] == "websocket.close":
                seen.status = message.get("code", 1000)
                closed.set()

        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                await self._app(self._scope("websocket", path, "", headers) | {"subprotocols": []}, receive, send)
        return seen

    def _scope(self, kind: str, path: str, query: str, headers: Mapping[str, str] | None) -> dict[str, Any]:
        sent = {"host": "localhost", **(headers or {})}
        return {
            "type": kind,
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "scheme": "http" if kind == "http" else "ws",
            "path": path,
            "raw_path": quote(path).encode(),
            "root_path": "",
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }

    async def _told(self, living: asyncio.Task[Any], from_app: asyncio.Queue[dict[str, Any]]) -> None:
        heard = asyncio.create_task(from_app.get())
        await asyncio.wait([living, heard], return_when=asyncio.FIRST_COMPLETED)
        if not heard.done():
            heard.cancel()
            await living  # raises why it ended
            raise RuntimeError("the application ended before it had started")
        message = heard.result()
        if message["type"].endswith(".failed"):
            raise RuntimeError(f"the application did not start: {message.get('message', '')}")
