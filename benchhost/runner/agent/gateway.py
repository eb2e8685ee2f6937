"""The model of a run, as an agent in a sandbox reaches it: at an address of its own loopback, by OpenAI's protocol.

The sandbox needs no network for that, and no key is in it. Every call is the attempt's: sampled, limited, retried,
metered and charged as those of any runner are.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Literal

import msgspec

from benchhost.contract import ChatMessage, Completion, Model, Sampling, Sandbox
from benchhost.errors import ModelError, ModelThrottled, SandboxUnsupported

PORT = 4141
"""Where the model is, inside of a sandbox."""

LARGEST = 32 * 1024 * 1024
"""Bytes of one request."""


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


@asynccontextmanager
async def model_within(sandbox: Sandbox, model: Model | None) -> AsyncIterator[dict[str, str]]:
    """Let what is in a sandbox ask a model; yield the variables by which OpenAI's clients find it.

    There are none without a model to lend, and where the provider cannot do that: an agent must then reach its
    model by itself.
    """
    from aiohttp import web

    if model is None:
        yield {}
        return
    try:
        listener = await sandbox.listen(PORT)
    except SandboxUnsupported:
        yield {}
        return
    gateway = _Gateway(model)
    app = web.Application(client_max_size=LARGEST)
    app.router.add_post("/v1/chat/completions", gateway.complete)
    app.router.add_get("/v1/models", gateway.models)
    serving = web.AppRunner(app, access_log=None)
    await serving.setup()
    try:
        await web.SockSite(serving, listener).start()
        yield {"OPENAI_BASE_URL": f"http://127.0.0.1:{PORT}/v1", "OPENAI_API_KEY": "none-is-needed"}
    finally:
        await serving.cleanup()
        listener.close()


class _Gateway:
    def __init__(self, model: Model) -> None:
        self._model = model
        self._names = {model.name, model.name.partition("/")[2]}

    async def models(self, _: Any) -> Any:
        """List the one model that there is."""
        return _json({"object": "list", "data": [{"id": self._model.name, "object": "model", "owned_by": "benchhost"}]})

    async def complete(self, request: Any) -> Any:
        """Answer a request for a chat completion."""
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
        except ModelThrottled as error:
            return _refused(429, str(error), "rate_limit_exceeded")
        except ModelError as error:
            return _refused(error.status if error.status and error.status < 500 else 502, str(error), error.kind)
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


def _refused(status: int, message: str, kind: str) -> Any:
    return _json({"error": {"message": message, "type": kind, "code": kind}}, status)


def _json(document: object, status: int = 200) -> Any:
    from aiohttp import web

    return web.Response(body=msgspec.json.encode(document), status=status, content_type="application/json")
