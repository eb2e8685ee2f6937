"""One WebSocket: accepted, asked for a first frame, sent chunks, closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec

from benchhost.errors import Malformed
from benchhost.wire.sockets import LARGEST_FRAME, chunk

if TYPE_CHECKING:
    from litestar.types import Receive, Scope, Send

READS_WITHIN = 300.0
"""Seconds after which a client that reads nothing of what it is sent counts as gone."""

ENOUGH = 64 * 1024
"""Characters of lines that go into one chunk; a chunk costs the same whatever its length."""

_encode = msgspec.json.Encoder().encode


class Gone(Exception):
    """The client has hung up, or reads no more."""


class Socket:
    """The connection to one client."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the client has hung up, once its first frame is there."""
        self._receive = receive
        self._send = send
        self._watching: asyncio.Task[None] | None = None

    @property
    def is_of_this_site(self) -> bool:
        """Whether it was not opened by a page of another site, which a browser lets it do without asking us."""
        origin = self.headers.get("origin")
        return origin is None or urlsplit(origin).netloc.lower() == self.headers.get("host", "").lower()

    async def refuse(self) -> None:
        """Refuse the handshake: the client is answered with 403."""
        await self._receive()
        await self._send({"type": "websocket.close", "code": 1000, "reason": ""})

    async def accept(self) -> None:
        """Answer the handshake."""
        await self._receive()
        await self._send({"type": "websocket.accept", "subprotocol": None, "headers": []})

    async def first_frame(self, timeout: float) -> str:
        """Wait for what the client has to say; there is nothing else that it may say.

        Raises :class:`~benchhost.errors.Malformed` when it says nothing, or bytes, and :class:`Gone`.
        """
        try:
            async with asyncio.timeout(timeout):
                message: Any = await self._receive()
        except TimeoutError:
            raise Malformed(f"nothing came within {timeout:g} s; expected one text frame of JSON", ()) from None
        if message["type"] != "websocket.receive":
            raise Gone
        self._watching = asyncio.create_task(self._watch())
        text: str | None = message.get("text")
        if text is None:
            raise Malformed("expected a text frame, got a binary one", ())
        if len(text) > LARGEST_FRAME:
            raise Malformed(f"the frame is larger than {LARGEST_FRAME // (1024 * 1024)} MiB", ())
        return text

    async def say(self, lines: Sequence[str]) -> None:
        """Send lines of progress, as few chunks as will do."""
        together: list[str] = []
        size = 0
        for line in lines:
            if together and size + len(line) > ENOUGH:
                await self.send(chunk("message", _encode("\n".join(together))))
                together, size = [], 0
            together.append(line)
            size += len(line)
        if together:
            await self.send(chunk("message", _encode("\n".join(together))))

    async def end(self, chunk: str, code: int = 1000, reason: str = "") -> None:
        """Send the last chunk, and close."""
        await self.send(chunk)
        await self.close(code, reason)

    async def send(self, text: str) -> None:
        """Send a frame.

        Raises :class:`Gone`.
        """
        if self.gone.done():
            raise Gone
        try:
            async with asyncio.timeout(READS_WITHIN):
                await self._send({"type": "websocket.send", "text": text, "bytes": None})
        except (TimeoutError, OSError, RuntimeError) as error:  # how a server says that a connection is no more
            raise Gone from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the connection, whether the client is still there or not; of a reason, 123 bytes can be told."""
        told = reason.encode()[:123].decode(errors="ignore")
        await self.let_go()  # granian closes nothing from which it is being received
        with contextlib.suppress(OSError, RuntimeError):
            await self._send({"type": "websocket.close", "code": code, "reason": told})

    async def let_go(self) -> None:
        """Watch no longer whether the client is there."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.gather(self._watching, return_exceptions=True)

    async def _watch(self) -> None:
        """Wait until the client hangs up; whatever else it says is not for us."""
        while (await self._receive())["type"] != "websocket.disconnect":
            pass
        if not self.gone.done():
            self.gone.set_result(None)
