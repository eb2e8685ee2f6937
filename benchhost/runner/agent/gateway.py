"""The model of a run, as an agent in a sandbox reaches it: at an address of its own loopback.

It speaks OpenAI's protocol for chat completions and Anthropic's for messages there, whichever its provider speaks.

The sandbox needs no network for that, and no key is in it. Every call is the attempt's: sampled, limited, retried,
metered and charged as those of any runner are.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from benchhost.contract import Model, Sampling, Sandbox
from benchhost.errors import ModelError, ModelRequestRefused, ModelThrottled, SandboxUnsupported
from benchhost.runner.agent.chat_completions import ChatCompletions
from benchhost.runner.agent.messages import Messages
from benchhost.runner.agent.protocol import AgentProtocol

LARGEST = 16 * 1024 * 1024
"""Bytes of one request."""

MOST_AT_ONCE = 16
"""Requests of one agent that are read and answered at once; others wait."""

MOST_CONNECTIONS = 128
"""Connections of one agent; those beyond are hung up on: each takes a descriptor of whoever carries out the run."""

ENDS_WITHIN = 0.5
"""Seconds that an answer may still take when the agent has ended: nobody is there to read it."""

_AS_ASKED = Sampling()

_OF_THE_AGENT = ("bad_request", "context_overflow", "content_filter")
"""Kinds of failures for which it matters what was asked: they are the agent's to deal with."""


class Lent:
    """A model that is lent to a sandbox: ``env`` are the variables by which clients find it, if it is.

    ``why_not`` is why it cannot be lent. ``failure`` is why the model did not answer when it was last asked, unless
    that was for what it was asked, or why it has never answered, though it was asked.
    """

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.why_not: str | None = None
        self.failure: ModelError | None = None
        self._ever_answered = False

    def answered(self) -> None:
        """Take note of an answer."""
        self._ever_answered = True
        self.failure = None

    def refused(self, error: ModelError) -> None:
        """Take note that there was none."""
        if error.kind not in _OF_THE_AGENT or not self._ever_answered:
            self.failure = error


@asynccontextmanager
async def model_within(sandbox: Sandbox, model: Model | None, sampling: Sampling = _AS_ASKED) -> AsyncIterator[Lent]:
    """Let what is in a sandbox ask a model, at a port that nothing else has there; ``sampling`` is the run's.

    There are no variables without a model to lend, and where the provider cannot do that: an agent must then reach
    its model by itself.
    """
    from aiohttp import web

    lent = Lent()
    if model is None:
        yield lent
        return
    try:
        listener = await sandbox.listen(0)
    except SandboxUnsupported as error:
        lent.why_not = str(error)
        yield lent
        return
    with listener:
        gateway = _Gateway(model, sampling, lent)
        app = web.Application(client_max_size=LARGEST)
        for protocol in (ChatCompletions(), Messages()):
            app.router.add_post(protocol.path, gateway.answering(protocol))
        app.router.add_get("/v1/models", gateway.models)
        # Nothing is unpacked that is small until it is, and nobody is asked for whom nobody waits.
        serving = web.AppRunner(app, access_log=None, auto_decompress=False, handler_cancellation=True)
        await serving.setup()
        server = serving.server
        assert server is not None

        def answering() -> asyncio.Protocol:
            return server() if len(server.connections) < MOST_CONNECTIONS else _Refusing()

        port = listener.getsockname()[1]
        try:
            listening = await asyncio.get_running_loop().create_server(answering, sock=listener)
            try:
                lent.env = _env(port)
                yield lent
            finally:
                listening.close()
        finally:
            await server.shutdown(ENDS_WITHIN)
            await serving.cleanup()


class _Refusing(asyncio.Protocol):
    """Hangs up at once."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class _Gateway:
    def __init__(self, model: Model, sampling: Sampling, lent: Lent) -> None:
        self._model = model
        self._sampling = _set(sampling)
        self._lent = lent
        self._names = {model.name, model.name.partition("/")[2]}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def models(self, _: Any) -> Any:
        """List the one model that there is."""
        return _json({"object": "list", "data": [{"id": self._model.name, "object": "model", "owned_by": "benchhost"}]})

    def answering(self, protocol: AgentProtocol) -> Callable[[Any], Awaitable[Any]]:
        """Make what answers requests by one protocol."""

        async def answer(request: Any) -> Any:
            async with self._room:
                return await self._answered(request, protocol)

        return answer

    async def _answered(self, request: Any, protocol: AgentProtocol) -> Any:
        try:
            asked = protocol.read(await request.read())
            if asked.model not in self._names:
                raise ValueError(f"the model of this run is {self._model.name}, not {asked.model!r}")
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            self._lent.refused(ModelRequestRefused(str(error)))
            return _json(protocol.refusal(str(error), "invalid_request_error"), 400)
        # What the run is configured with is what it says of itself, so it goes before what an agent would have.
        sampling = asked.sampling | self._sampling
        try:
            completion = await self._model.complete(asked.conversation, Sampling(**sampling) if sampling else None)
        except ModelError as error:
            self._lent.refused(error)
            return _json(protocol.refusal(str(error), error.kind), _status_of(error))
        self._lent.answered()
        if asked.streams:
            return await _streamed(request, protocol.pieces(completion, asked.model))
        return _json(protocol.whole(completion, asked.model))


async def _streamed(request: Any, pieces: Iterable[bytes]) -> Any:
    """Answer as a stream: some clients know no other way."""
    from aiohttp import web

    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for piece in pieces:
        await response.write(piece)
    return response


def _status_of(error: ModelError) -> int:
    """Say by which status clients know whether to ask again."""
    if isinstance(error, ModelThrottled):
        return 429
    if error.status is not None and 400 <= error.status < 500:
        return error.status
    return 502 if error.retriable else 400


def _env(port: int) -> dict[str, str]:
    """Say where the model is, as the clients of both providers want to hear it."""
    address, key = f"http://127.0.0.1:{port}", "none-is-needed"
    return {
        "OPENAI_BASE_URL": f"{address}/v1",
        "OPENAI_API_KEY": key,
        "ANTHROPIC_BASE_URL": address,
        "ANTHROPIC_API_KEY": key,
    }


def _set(sampling: Sampling) -> dict[str, Any]:
    return {name: value for name, value in msgspec.structs.asdict(sampling).items() if value is not None}


def _json(document: object, status: int = 200) -> Any:
    from aiohttp import web

    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
