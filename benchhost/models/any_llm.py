"""The providers with protocols of their own, by way of the any-llm package (``pip install 'benchhost[models]'``)."""

from __future__ import annotations

import importlib.util
import inspect
import time
from typing import Any

import msgspec

from benchhost.contract import Call, Completion, Prompt, Sampling
from benchhost.contract.model import NO_CALL, conversation_of
from benchhost.errors import (
    ContentFiltered,
    ContextOverflow,
    ModelAuthFailed,
    ModelError,
    ModelReplyMalformed,
    ModelRequestRefused,
    ModelThrottled,
    ModelUnavailable,
    OutOfFunds,
    UsageError,
)
from benchhost.models.failures import scrub
from benchhost.models.openai_chat import OpenAIChat, told, tools_of
from benchhost.models.retry import retry_after

_KINDS: dict[str, type[ModelError]] = {
    "RateLimitError": ModelThrottled,
    "AuthenticationError": ModelAuthFailed,
    "InsufficientFundsError": OutOfFunds,
    "ContextLengthExceededError": ContextOverflow,
    "ContentFilterError": ContentFiltered,
    "InvalidRequestError": ModelRequestRefused,
    "ModelNotFoundError": ModelRequestRefused,
    "UnsupportedParameterError": ModelRequestRefused,
}


class AnyLLMModel:
    """A model of a provider that any-llm knows, such as Bedrock. It finds its own keys in the environment.

    Raises :class:`~benchhost.errors.UsageError` when the provider's key or package is missing.
    """

    def __init__(self, provider: str, model: str, *, api_key: str | None = None, base_url: str | None = None) -> None:
        from any_llm import AnyLLM, AnyLLMError

        self.name = f"{provider}/{model}"
        self._model = model
        self._key = api_key
        self._error = AnyLLMError
        self._read = OpenAIChat(model).decode
        try:
            self._client = AnyLLM.create(provider, api_key, base_url, unified_exceptions=True, max_retries=0)
        except (AnyLLMError, ImportError) as error:
            raise UsageError(f"{self.name} cannot be used through any-llm: {error}") from error

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Make one exchange, with the provider's own package."""
        conversation = conversation_of(prompt)
        messages = [msgspec.to_builtins(told(message)) for message in conversation.messages]
        wanted: dict[str, Any] = msgspec.to_builtins(sampling or Sampling()) | tools_of(conversation)
        began = time.perf_counter()
        try:
            reply: Any = await self._client.acompletion(self._model, messages, **wanted)
        except self._error as error:
            raise self._failure(error) from error
        seconds = time.perf_counter() - began
        try:
            completion = self._read(reply.model_dump_json().encode())
        except msgspec.DecodeError as error:
            raise ModelReplyMalformed(f"{error}, in the answer of {self.name}") from error
        completion.latency = seconds
        return completion

    def _failure(self, error: Any) -> ModelError:
        kind = _KINDS.get(type(error).__name__, ModelUnavailable)
        said = scrub(str(error), self._key) or "no further reason"
        asked = getattr(error, "retry_after", None)
        return kind(
            f"{type(error).__name__}: {said}",
            status=error.status_code,
            retry_after=retry_after({"retry-after": str(asked)}) if asked else None,
        )

    async def aclose(self) -> None:
        """Close the client of the provider's package, if it can be closed: any-llm itself has no way to say it."""
        client = getattr(self._client, "client", None)
        close = getattr(client, "aclose", None) or getattr(client, "close", None)
        if close is not None and inspect.isawaitable(closing := close()):
            await closing


def any_llm_model(provider: str, model: str) -> AnyLLMModel | None:
    """Make a model through any-llm; ``None`` when that is not installed or does not know the provider."""
    if importlib.util.find_spec("any_llm") is None:
        return None
    from any_llm import AnyLLM

    return AnyLLMModel(provider, model) if provider in AnyLLM.get_supported_providers() else None
