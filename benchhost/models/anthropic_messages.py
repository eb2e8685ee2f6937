"""The messages protocol of Anthropic.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.contract import ChatMessage, Completion, Conversation, OneTool, Sampling, Tool, ToolCall, Usage
from benchhost.contract.model import FinishReason
from benchhost.errors import ModelRequestRefused

VERSION = "2023-06-01"
"""The version of the protocol that is asked for, in the header ``anthropic-version``.

Not the newest: from 2026-10-21 on, a temperature is refused whatever the model, and comparable runs set one.
"""

DEFAULT_MAX_TOKENS = 8192
"""The limit that is sent when none is set: this protocol insists on one."""

_FINISH: dict[str | None, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "refusal": "content_filter",
    "tool_use": "tool_calls",
}


class _Effort(msgspec.Struct):
    effort: str


class _Request(msgspec.Struct, omit_defaults=True):
    model: str
    messages: Sequence[ChatMessage | dict[str, Any]]
    max_tokens: int
    system: str | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: tuple[str, ...] | None = None
    output_config: _Effort | None = None
    tools: list[dict[str, Any]] | None = None
    tool_choice: dict[str, Any] | None = None


class _OutputDetails(msgspec.Struct):
    thinking_tokens: int | None = None


class _Usage(msgspec.Struct):
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    output_tokens_details: _OutputDetails | None = None


class _Block(msgspec.Struct):
    type: str
    text: str | None = None
    id: str = ""
    name: str = ""
    input: msgspec.Raw = msgspec.Raw(b"{}")


class _Reply(msgspec.Struct):
    content: list[_Block]
    model: str = ""
    stop_reason: str | None = None
    usage: _Usage | None = None


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(_Reply).decode


class AnthropicMessages:
    """Messages of one model."""

    def __init__(self, model: str) -> None:
        self._model = model

    def url(self, base_url: str) -> str:
        """Return where requests go."""
        return f"{base_url}/messages" if base_url.endswith("/v1") else f"{base_url}/v1/messages"

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers that the protocol wants, with the key in its place."""
        headers = {"anthropic-version": VERSION}
        return headers | {"x-api-key": key} if key else headers

    def encode(self, conversation: Conversation, sampling: Sampling) -> bytes:
        """Write a request. System messages, wherever they are, become the one system prompt."""
        if sampling.seed is not None:
            raise ModelRequestRefused("Anthropic's protocol has no seed; leave it out to run this model")
        effort = sampling.reasoning_effort
        messages = conversation.messages
        system = [message.content for message in messages if message.role == "system"]
        return _encode(
            _Request(
                self._model,
                _told(messages),
                DEFAULT_MAX_TOKENS if sampling.max_tokens is None else sampling.max_tokens,
                "\n\n".join(system) if system else None,
                sampling.temperature,
                sampling.top_p,
                sampling.top_k,
                sampling.stop,
                None if effort is None else _Effort(effort),
                [_tool(tool) for tool in conversation.tools] or None,
                _choice(conversation),
            )
        )

    def decode(self, body: bytes) -> Completion:
        """Read an answer of status 200."""
        reply = _decode(body)
        return Completion(
            text="".join(block.text or "" for block in reply.content if block.type == "text"),
            finish_reason=_FINISH.get(reply.stop_reason, "other"),
            model=reply.model,
            usage=None if reply.usage is None else _usage(reply.usage),
            tool_calls=tuple(
                ToolCall(block.id, block.name, bytes(block.input).decode())
                for block in reply.content
                if block.type == "tool_use"
            ),
        )


_ROLES = {"tool": "user"}
"""By which role the answers to calls are given: all that belong to one message must come in one, too."""

_CHOICES = {"auto": "auto", "none": "none", "required": "any"}


def _told(messages: Sequence[ChatMessage]) -> list[ChatMessage | dict[str, Any]]:
    """Return messages as the protocol writes them; plain ones are written so anyway."""
    said: list[ChatMessage | dict[str, Any]] = []
    for message in messages:
        if message.role == "system":
            continue
        if message.role != "tool" and not message.tool_calls:
            said.append(message)
        elif message.role == "tool" and said and isinstance(last := said[-1], dict) and last["role"] == "user":
            last["content"].append(_answer(message))
        else:
            blocks = [_answer(message)] if message.role == "tool" else _said_and_called(message)
            said.append({"role": _ROLES.get(message.role, message.role), "content": blocks})
    return said


def _answer(message: ChatMessage) -> dict[str, Any]:
    answer = {"type": "tool_result", "tool_use_id": message.tool_call_id, "content": message.content}
    return answer | {"is_error": True} if message.failed else answer


def _said_and_called(message: ChatMessage) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": message.content}] if message.content.strip() else []
    for call in message.tool_calls:
        try:
            given = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except msgspec.DecodeError as error:
            raise ModelRequestRefused(f"the arguments of the call {call.id} are no JSON object: {error}") from error
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def _tool(tool: Tool) -> dict[str, Any]:
    fields: dict[str, Any] = msgspec.to_builtins(tool)
    fields["input_schema"] = fields.pop("parameters", None) or {"type": "object"}
    return fields


def _choice(conversation: Conversation) -> dict[str, Any] | None:
    choice, parallel = conversation.tool_choice, conversation.parallel
    if not conversation.tools or (choice is None and parallel is None):
        return None
    if isinstance(choice, OneTool):
        said: dict[str, Any] = {"type": "tool", "name": choice.name}
    else:
        said = {"type": _CHOICES[choice or "auto"]}
    return said if parallel is None or choice == "none" else said | {"disable_parallel_tool_use": not parallel}


def _usage(usage: _Usage) -> Usage:
    """Count the whole prompt: this protocol's ``input_tokens`` leaves out what the cache read or wrote."""
    read, written = usage.cache_read_input_tokens or 0, usage.cache_creation_input_tokens or 0
    details = usage.output_tokens_details
    return Usage(
        input_tokens=usage.input_tokens + read + written,
        output_tokens=usage.output_tokens,
        cached_tokens=read,
        cache_write_tokens=written,
        reasoning_tokens=(details and details.thinking_tokens) or 0,
    )
