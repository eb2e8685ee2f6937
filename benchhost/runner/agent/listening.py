"""Answering what connects to a socket by HTTP, as one who may send anything."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from benchhost.runner.agent.protocol import LARGEST, MOST_AT_ONCE, Ask

MOST_CONNECTIONS = 128
"""Connections of one agent; those beyond are hung up on: each takes a descriptor of whoever carries out the run."""

ENDS_WITHIN = 0.5
"""Seconds that an answer may still take when the agent has ended: nobody is there to read it."""


@asynccontextmanager
async def answered_at(listener: socket.socket, ask: Ask) -> AsyncIterator[None]:
    """Have ``ask`` answer what comes to a socket."""
    from aiohttp import web

    room = asyncio.Semaphore(MOST_AT_ONCE)

    async def answer(request: Any) -> Any:
        async with room:
            told = await ask(request.path, await request.read())
        return web.Response(body=told.body, status=told.status, content_type=told.content)

    app = web.Application(client_max_size=LARGEST)
    app.router.add_route("*", "/{path:.*}", answer)
    # Nothing is unpacked that is small until it is, and nobody is asked for whom nobody waits.
    serving = web.AppRunner(app, access_log=None, auto_decompress=False, handler_cancellation=True)
    await serving.setup()
    server = serving.server
    assert server is not None

    def answering() -> asyncio.Protocol:
        return server() if len(server.connections) < MOST_CONNECTIONS else _Refusing()

    try:
        listening = await asyncio.get_running_loop().create_server(answering, sock=listener)
        try:
            yield
        finally:
            listening.close()
    finally:
        await server.shutdown(ENDS_WITHIN)
        await serving.cleanup()


class _Refusing(asyncio.Protocol):
    """Hangs up at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()
