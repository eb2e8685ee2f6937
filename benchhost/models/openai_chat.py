"""The chat completions protocol of OpenAI, which nearly every provider and local server speaks.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.contract import ChatMessage, Completion, Conversation, OneTool, Sampling, ToolCall, Usage
from benchhost.contract.model import FinishReason
from benchhost.models.failures import failure

_FINISH: dict[str | None, FinishReason] = {
    "stop": "stop",
    "eos": "stop",
    "length": "length",
    "content_filter": "content_filter",
    "tool_calls": "tool_calls",
    "function_call": "tool_calls",
}


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    messages: Sequence[ChatMessage | dict[str, Any]]
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None


class _PromptDetails(msgspec.Struct):
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None
    prompt_cache_hit_tokens: int | None = None  # DeepSeek's name for cached tokens
    cost: float | None = None  # OpenRouter states what it charged


class _Part(msgspec.Struct):
    type: str = ""
    text: str | None = None


class _Function(msgspec.Struct):
    name: str
    arguments: str | None = None


class _Call(msgspec.Struct):
    function: _Function
    id: str | None = None


class _Message(msgspec.Struct):
    content: str | list[_Part] | None = None
    refusal: str | None = None
    tool_calls: list[_Call] | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Reply(msgspec.Struct):
    choices: list[_Choice] = []
    model: str | None = None
    usage: _Usage | None = None
    error: Any = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class OpenAIChat:
    """Chat completions of one model. ``legacy_limit`` says that the server calls the limit ``max_tokens``.

    OpenAI itself renamed it to ``max_completion_tokens``; most other servers know only the old name.
    """

    def __init__(self, model: str, *, legacy_limit: bool = True) -> None:
        self._model = model
        self._legacy_limit = legacy_limit

    def url(self, base_url: str) -> str:
        """Return where requests go."""
        return f"{base_url}/chat/completions"

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers that the protocol wants, with the key in its place."""
        return {"Authorization": f"Bearer {key}"} if key else {}

    def encode(self, conversation: Conversation, sampling: Sampling) -> bytes:
        """Write a request."""
        limit = sampling.max_tokens
        return _encode(
            _Request(
                self._model,
                [told(message) for message in conversation.messages],
                sampling.temperature,
                sampling.top_p,
                sampling.top_k,
                limit if self._legacy_limit else None,
                None if self._legacy_limit else limit,
                sampling.reasoning_effort,
                sampling.stop,
                sampling.seed,
                **tools_of(conversation),
            )
        )

    def decode(self, body: bytes) -> Completion:
        """Read an answer of status 200."""
        reply = _decode(body)
        if reply.error is not None:  # OpenRouter answers 200 when the provider behind it failed
            code = reply.error.get("code") if isinstance(reply.error, dict) else None
            raise failure(code if isinstance(code, int) and code >= 400 else 502, body)
        if not reply.choices:
            raise msgspec.ValidationError("the answer has no choices")
        choice = reply.choices[0]
        return Completion(
            text=_text(choice.message),
            finish_reason=_FINISH.get(choice.finish_reason, "other"),
            model=reply.model or "",
            usage=None if reply.usage is None else _usage(reply.usage),
            tool_calls=_calls(choice.message),
        )


def told(message: ChatMessage) -> ChatMessage | dict[str, Any]:
    """Return a message as the protocol writes it, which is how a plain one is written anyway."""
    if message.tool_calls:
        calls = [
            {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
            for call in message.tool_calls
        ]
        return {"role": message.role, "content": message.content or None, "tool_calls": calls}
    if message.role == "tool":
        return {"role": "tool", "content": message.content, "tool_call_id": message.tool_call_id}
    return message


def tools_of(conversation: Conversation) -> dict[str, Any]:
    """Return what a request says of tools: nothing, where there are none."""
    if not conversation.tools:
        return {}
    choice = conversation.tool_choice
    fields: dict[str, Any] = {
        "tools": [{"type": "function", "function": msgspec.to_builtins(tool)} for tool in conversation.tools],
        "tool_choice": (
            {"type": "function", "function": {"name": choice.name}} if isinstance(choice, OneTool) else choice
        ),
        "parallel_tool_calls": conversation.parallel,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _calls(message: _Message) -> tuple[ToolCall, ...]:
    """Read calls of tools; some servers give them no ids, and expect none."""
    return tuple(
        ToolCall(call.id or f"call_{number}", call.function.name, call.function.arguments or "{}")
        for number, call in enumerate(message.tool_calls or ())
    )


def _text(message: _Message) -> str:
    content = message.content
    if isinstance(content, str):
        return content
    if content is None:
        return message.refusal or ""
    return "".join(part.text or "" for part in content if part.type == "text")


def _usage(usage: _Usage) -> Usage:
    """Count alike what providers count differently: some leave reasoning out of ``completion_tokens``."""
    prompt, completion = usage.prompt_tokens_details, usage.completion_tokens_details
    cached = (prompt and prompt.cached_tokens) or usage.prompt_cache_hit_tokens or 0
    return Usage(
        input_tokens=usage.prompt_tokens,
        output_tokens=max(usage.completion_tokens, usage.total_tokens - usage.prompt_tokens),
        cached_tokens=cached,
        cache_write_tokens=(prompt and prompt.cache_write_tokens) or 0,
        reasoning_tokens=(completion and completion.reasoning_tokens) or 0,
        reported_cost=usage.cost,
    )
