"""Anthropic's protocol for messages, as an agent speaks it.

Source: https://platform.claude.com/docs/en/api/messages
"""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Iterator
from typing import Any, Literal

import msgspec

from benchhost.contract import ChatMessage, Completion, Conversation, OneTool, Tool, ToolCall
from benchhost.contract.model import FinishReason, ToolChoice
from benchhost.runner.agent.protocol import Asked, event, sampling_of

_STOPS: dict[FinishReason, str] = {
    "stop": "end_turn",
    "other": "end_turn",
    "length": "max_tokens",
    "content_filter": "refusal",
    "tool_calls": "tool_use",
}

_CHOICES: dict[str, Literal["auto", "none", "required"]] = {"auto": "auto", "none": "none", "any": "required"}


class _Text(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Use(msgspec.Struct, tag_field="type", tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any]


class _UseResult(msgspec.Struct, tag_field="type", tag="tool_result"):
    tool_use_id: str
    content: str | list[_Text] | None = None
    is_error: bool | None = None


class _Thinking(msgspec.Struct, tag_field="type", tag="thinking"):
    """What a model thought is not passed on, in either direction."""


class _Redacted(msgspec.Struct, tag_field="type", tag="redacted_thinking"):
    pass


class _Message(msgspec.Struct):
    role: Literal["user", "assistant"]
    content: str | list[_Text | _Use | _UseResult | _Thinking | _Redacted]

    def told(self) -> Iterator[ChatMessage]:
        """Say one message as several: the answers to calls are messages of their own elsewhere."""
        blocks = [_Text(self.content)] if isinstance(self.content, str) else self.content
        for block in blocks:
            if isinstance(block, _UseResult):
                yield ChatMessage("tool", _joined(block.content), (), block.tool_use_id, bool(block.is_error))
        text = _joined([block for block in blocks if isinstance(block, _Text)])
        calls = [
            ToolCall(block.id, block.name, msgspec.json.encode(block.input).decode())
            for block in blocks
            if isinstance(block, _Use)
        ]
        if text or calls or not blocks:
            yield ChatMessage(self.role, text, tuple(calls))


class _Tool(msgspec.Struct):
    name: str
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    strict: bool | None = None

    def told(self) -> Tool:
        if self.type not in (None, "custom"):
            raise ValueError(f"the tool {self.name} is one that the provider carries out, and is not passed on")
        return Tool(self.name, self.description or "", self.input_schema or {}, self.strict)


class _Choice(msgspec.Struct):
    type: Literal["auto", "any", "none", "tool"]
    name: str = ""
    disable_parallel_tool_use: bool | None = None


class _Output(msgspec.Struct):
    effort: str | None = None


class _Request(msgspec.Struct):
    """What is understood of a request; what else it says is left out."""

    messages: list[_Message]
    model: str = ""
    max_tokens: int | None = None
    system: str | list[_Text] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    stream: bool | None = False
    tools: list[_Tool] | None = None
    tool_choice: _Choice | None = None
    output_config: _Output | None = None


_decode = msgspec.json.Decoder(_Request).decode


class Messages:
    """Messages, with tools of the agent's own; content is text."""

    path = "/v1/messages"

    def read(self, body: bytes) -> Asked:
        """Read a request."""
        asked = _decode(body)
        said = [ChatMessage("system", system)] if (system := _joined(asked.system)) else []
        for message in asked.messages:
            said += message.told()
        given, choice, parallel = asked.tool_choice, None, None
        if given is not None:
            choice = _chosen(given)
            parallel = None if given.disable_parallel_tool_use is None else not given.disable_parallel_tool_use
        return Asked(
            model=asked.model,
            conversation=Conversation(said, tuple(tool.told() for tool in asked.tools or ()), choice, parallel),
            sampling=sampling_of(
                {
                    "temperature": asked.temperature,
                    "top_p": asked.top_p,
                    "top_k": asked.top_k,
                    "max_tokens": asked.max_tokens,
                    "reasoning_effort": None if asked.output_config is None else asked.output_config.effort,
                    "stop": tuple(asked.stop_sequences or ()) or None,
                }
            ),
            streams=bool(asked.stream),
        )

    def whole(self, completion: Completion, model: str) -> dict[str, Any]:
        """Write an answer."""
        return _head(model) | {
            "content": _blocks(completion),
            "stop_reason": _STOPS[completion.finish_reason],
            "usage": _usage(completion),
        }

    def pieces(self, completion: Completion, model: str) -> Iterable[bytes]:
        """Write an answer as a stream that has each block in one piece."""
        usage = _usage(completion)
        start = _head(model) | {"content": [], "stop_reason": None, "usage": usage | {"output_tokens": 0}}
        yield _event("message_start", message=start)
        for index, block in enumerate(_blocks(completion)):
            if block["type"] == "text":
                begun, delta = block | {"text": ""}, {"type": "text_delta", "text": block["text"]}
            else:
                written = msgspec.json.encode(block["input"]).decode()
                begun, delta = block | {"input": {}}, {"type": "input_json_delta", "partial_json": written}
            yield _event("content_block_start", index=index, content_block=begun)
            yield _event("content_block_delta", index=index, delta=delta)
            yield _event("content_block_stop", index=index)
        stop = {"stop_reason": _STOPS[completion.finish_reason], "stop_sequence": None}
        yield _event("message_delta", delta=stop, usage={"output_tokens": usage["output_tokens"]})
        yield _event("message_stop")

    def refusal(self, message: str, kind: str) -> dict[str, Any]:
        """Write why there is no answer."""
        return {"type": "error", "error": {"type": kind, "message": message}}


def _joined(content: str | list[_Text] | None) -> str:
    return content if isinstance(content, str) else "".join(block.text for block in content or ())


def _chosen(choice: _Choice) -> ToolChoice:
    return OneTool(choice.name) if choice.type == "tool" else _CHOICES[choice.type]


def _head(model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{uuid.uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_sequence": None,
    }


def _blocks(completion: Completion) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": completion.text}] if completion.text else []
    for call in completion.tool_calls:
        try:
            given = msgspec.json.decode(call.arguments or "{}", type=dict[str, Any])
        except msgspec.DecodeError:  # a model may write anything, and the agent is to see it
            given = {"arguments": call.arguments}
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": given})
    return blocks


def _usage(completion: Completion) -> dict[str, int]:
    usage = completion.usage
    asked, made = (usage.input_tokens, usage.output_tokens) if usage is not None else (0, 0)
    return {"input_tokens": asked, "output_tokens": made}


def _event(kind: str, **fields: Any) -> bytes:
    return event({"type": kind, **fields}, kind)
