"""The model of a run, as an agent in a sandbox reaches it: at an address of its own loopback, by OpenAI's protocol.

The sandbox needs no network for that, and no key is in it. Every call is the attempt's: sampled, limited, retried,
metered and charged as those of any runner are.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from benchhost.contract import ChatMessage, Completion, Model, Sampling, Sandbox
from benchhost.errors import ModelError, ModelThrottled, SandboxUnsupported

LARGEST = 16 * 1024 * 1024
"""Bytes of one request."""

MOST_AT_ONCE = 16
"""Requests of one agent that are read and answered at once; others wait."""

MOST_CONNECTIONS = 128
"""Connections of one agent; those beyond are hung up on: each takes a descriptor of whoever carries out the run."""

ENDS_WITHIN = 0.5
"""Seconds that an answer may still take when the agent has ended: nobody is there to read it."""

_OF_THE_AGENT = ("bad_request", "context_overflow", "content_filter")
"""Kinds of failures for which it matters what was asked: they are the agent's to deal with."""


class _Part(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[_Part]

    def told(self) -> ChatMessage:
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return ChatMessage("system" if self.role == "developer" else self.role, text)


class _Request(msgspec.Struct):
    """What is understood of a request for a chat completion. ``tools`` are not: agents must do without."""

    messages: list[_Message]
    model: str = ""
    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    n: int | None = 1
    stream: bool | None = False
    tools: list[Any] | None = None

    def sampling(self) -> Sampling | None:
        stop = (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ()) or None
        asked: dict[str, Any] = {
            "temperature": self.temperature,
            "top_p": self.top_p,
            "max_tokens": self.max_completion_tokens or self.max_tokens,
            "reasoning_effort": self.reasoning_effort,
            "stop": stop,
            "seed": self.seed,
        }
        given = {name: value for name, value in asked.items() if value is not None}
        return Sampling(**given) if given else None


class Lent:
    """A model that is lent to a sandbox: ``env`` are the variables by which OpenAI's clients find it, if it is.

    ``why_not`` is why it cannot be lent. ``failure`` is why the model did not answer when it was last asked, unless
    that was for what it was asked.
    """

    def __init__(self) -> None:
        self.env: dict[str, str] = {}
        self.why_not: str | None = None
        self.failure: ModelError | None = None


@asynccontextmanager
async def model_within(sandbox: Sandbox, model: Model | None) -> AsyncIterator[Lent]:
    """Let what is in a sandbox ask a model, at a port that nothing else has there.

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
        gateway = _Gateway(model, lent)
        app = web.Application(client_max_size=LARGEST)
        app.router.add_post("/v1/chat/completions", gateway.complete)
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
                lent.env = {"OPENAI_BASE_URL": f"http://127.0.0.1:{port}/v1", "OPENAI_API_KEY": "none-is-needed"}
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
    def __init__(self, model: Model, lent: Lent) -> None:
        self._model = model
        self._lent = lent
        self._names = {model.name, model.name.partition("/")[2]}
        self._room = asyncio.Semaphore(MOST_AT_ONCE)

    async def models(self, _: Any) -> Any:
        """List the one model that there is."""
        return _json({"object": "list", "data": [{"id": self._model.name, "object": "model", "owned_by": "benchhost"}]})

    async def complete(self, request: Any) -> Any:
        """Answer a request for a chat completion."""
        async with self._room:
            return await self._answered(request)

    async def _answered(self, request: Any) -> Any:
        try:
            asked = msgspec.json.decode(await request.read(), type=_Request)
            if asked.model not in self._names:
                raise ValueError(f"the model of this run is {self._model.name}, not {asked.model!r}")
            if asked.tools:
                raise ValueError("tools are not passed on: have the model say in its text what is to be done")
            if asked.n not in (None, 1):
                raise ValueError("one completion is made for each request")
            messages, sampling = [message.told() for message in asked.messages], asked.sampling()
        except (msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
            return _refused(400, str(error), "invalid_request_error")
        try:
            completion = await self._model.complete(messages, sampling)
        except ModelError as error:
            if error.kind not in _OF_THE_AGENT:
                self._lent.failure = error
            return _refused(_status_of(error), str(error), error.kind)
        self._lent.failure = None
        return await _streamed(request, completion, asked) if asked.stream else _json(_whole(completion, asked))


def _whole(completion: Completion, asked: _Request) -> dict[str, Any]:
    message = {"role": "assistant", "content": completion.text}
    return _head("chat.completion", asked) | {
        "choices": [{"index": 0, "message": message, "finish_reason": _finished(completion), "logprobs": None}],
        "usage": _usage(completion),
    }


async def _streamed(request: Any, completion: Completion, asked: _Request) -> Any:
    """Answer as a stream that has everything in its first event: some clients know no other way."""
    from aiohttp import web

    head = _head("chat.completion.chunk", asked)
    delta = {"role": "assistant", "content": completion.text}
    events = [
        head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]},
        head | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finished(completion)}]},
        head | {"choices": [], "usage": _usage(completion)},
    ]
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    for event in events:
        await response.write(b"data: " + msgspec.json.encode(event) + b"\n\n")
    await response.write(b"data: [DONE]\n\n")
    return response


def _head(kind: str, asked: _Request) -> dict[str, Any]:
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": kind,
        "created": int(time.time()),
        "model": asked.model,
    }


def _finished(completion: Completion) -> str:
    return "stop" if completion.finish_reason == "other" else completion.finish_reason


def _usage(completion: Completion) -> dict[str, int]:
    usage = completion.usage
    asked, made = (usage.input_tokens, usage.output_tokens) if usage is not None else (0, 0)
    return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}


def _status_of(error: ModelError) -> int:
    """Say by which status clients know whether to ask again."""
    if isinstance(error, ModelThrottled):
        return 429
    if error.status is not None and 400 <= error.status < 500:
        return error.status
    return 502 if error.retriable else 400


def _refused(status: int, message: str, kind: str) -> Any:
    return _json({"error": {"message": message, "type": kind, "code": kind}}, status)


def _json(document: object, status: int = 200) -> Any:
    from aiohttp import web

    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
