"""The model of a run, as an agent in a sandbox reaches it: at an address of its own loopback.

It speaks OpenAI's protocol for chat completions and Anthropic's for messages there, whichever its provider speaks.

The sandbox needs no network for that, and no key is in it. Every call is the attempt's: sampled, limited, retried,
metered and charged as those of any runner are.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec

from benchhost.contract import Model, Sampling, Sandbox
from benchhost.errors import ModelError, ModelRequestRefused, ModelThrottled, SandboxUnsupported
from benchhost.runner.agent.chat_completions import ChatCompletions
from benchhost.runner.agent.listening import answered_at
from benchhost.runner.agent.messages import Messages
from benchhost.runner.agent.protocol import AgentProtocol, Answer
from benchhost.runner.agent.relay import relayed

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
    lent = Lent()
    if model is None:
        yield lent
        return
    gateway = _Gateway(model, sampling, lent)
    async with AsyncExitStack() as stack:
        try:
            lent.env = _env(await _opened(sandbox, gateway, stack))
        except SandboxUnsupported as error:
            lent.why_not = str(error)
        yield lent


async def _opened(sandbox: Sandbox, gateway: _Gateway, stack: AsyncExitStack) -> int:
    """Have the gateway answer in the sandbox; return at which port."""
    try:
        listener = stack.enter_context(await sandbox.listen(0))
    except SandboxUnsupported:
        if sandbox.provider == "local":  # a sandbox here that cannot be listened in has no loopback of its own
            raise
        return await stack.enter_async_context(relayed(sandbox, gateway.ask))
    await stack.enter_async_context(answered_at(listener, gateway.ask))
    port: int = listener.getsockname()[1]
    return port


class _Gateway:
    def __init__(self, model: Model, sampling: Sampling, lent: Lent) -> None:
        self._model = model
        self._sampling = _set(sampling)
        self._lent = lent
        self._names = {model.name, model.name.partition("/")[2]}

    async def ask(self, path: str, body: bytes) -> Answer:
        """Answer a request."""
        protocol = _PROTOCOLS.get(path)
        if protocol is not None:
            return await self._answered(body, protocol)
        if path == "/v1/models":
            return _json(
                {"object": "list", "data": [{"id": self._model.name, "object": "model", "owned_by": "benchhost"}]}
            )
        return _json({"error": {"message": f"there is {', '.join(_PROTOCOLS)}", "type": "not_found_error"}}, 404)

    async def _answered(self, body: bytes, protocol: AgentProtocol) -> Answer:
        try:
            asked = protocol.read(body)
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
            return Answer(200, b"".join(protocol.pieces(completion, asked.model)), "text/event-stream")
        return _json(protocol.whole(completion, asked.model))


_PROTOCOLS: dict[str, AgentProtocol] = {protocol.path: protocol for protocol in (ChatCompletions(), Messages())}


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


def _json(document: object, status: int = 200) -> Answer:
    return Answer(status, msgspec.json.encode(document))
