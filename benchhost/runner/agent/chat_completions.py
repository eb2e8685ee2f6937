"""OpenAI's protocol for chat completions, as an agent speaks it.

Source: https://platform.openai.com/docs/api-reference/chat
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterable
from typing import Any, Literal

import msgspec

from benchhost.contract import ChatMessage, Completion, Conversation, OneTool, Tool, ToolCall
from benchhost.contract.model import Role, ToolChoice
from benchhost.models.openai_chat import told
from benchhost.runner.agent.protocol import Asked, event, sampling_of


class _Part(msgspec.Struct, tag_field="type", tag="text"):
    text: str


class _Called(msgspec.Struct):
    name: str
    arguments: str = "{}"


class _Call(msgspec.Struct, tag_field="type", tag="function"):
    id: str
    function: _Called


class _Message(msgspec.Struct):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[_Part] | None = None
    tool_calls: list[_Call] | None = None
    tool_call_id: str | None = None

    def told(self) -> ChatMessage:
        content = self.content or ""
        text = content if isinstance(content, str) else "".join(part.text for part in content)
        role: Role = "system" if self.role == "developer" else self.role
        calls = [ToolCall(call.id, call.function.name, call.function.arguments) for call in self.tool_calls or ()]
        if role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of the role tool needs the tool_call_id that it answers")
        if role == "user" and self.content is None:
            raise ValueError("a message of the role user needs a content")
        return ChatMessage(role, text, tuple(calls), self.tool_call_id)


class _Function(msgspec.Struct):
    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class _Tool(msgspec.Struct, tag_field="type", tag="function"):
    function: _Function

    def told(self) -> Tool:
        said = self.function
        return Tool(said.name, said.description or "", said.parameters or {}, said.strict)


class _Name(msgspec.Struct):
    name: str


class _Chosen(msgspec.Struct, tag_field="type", tag="function"):
    function: _Name


class _Request(msgspec.Struct):
    """What is understood of a request; what else it says is left out."""

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
    tools: list[_Tool] | None = None
    tool_choice: Literal["auto", "none", "required"] | _Chosen | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None


_decode = msgspec.json.Decoder(_Request).decode


class ChatCompletions:
    """Chat completions, with tools that are functions; content is text."""

    path = "/v1/chat/completions"

    def read(self, body: bytes) -> Asked:
        """Read a request."""
        asked = _decode(body)
        if asked.n not in (None, 1):
            raise ValueError("one completion is made for each request")
        if asked.functions:
            raise ValueError("functions are the older way to say tools, and are not passed on: use tools")
        choice: ToolChoice | None = (
            OneTool(asked.tool_choice.function.name) if isinstance(asked.tool_choice, _Chosen) else asked.tool_choice
        )
        return Asked(
            model=asked.model,
            conversation=Conversation(
                [message.told() for message in asked.messages],
                tuple(tool.told() for tool in asked.tools or ()),
                choice,
                asked.parallel_tool_calls,
            ),
            sampling=sampling_of(
                {
                    "temperature": asked.temperature,
                    "top_p": asked.top_p,
                    "max_tokens": asked.max_completion_tokens or asked.max_tokens,
                    "reasoning_effort": asked.reasoning_effort,
                    "stop": (asked.stop,) if isinstance(asked.stop, str) else tuple(asked.stop or ()) or None,
                    "seed": asked.seed,
                }
            ),
            streams=bool(asked.stream),
        )

    def whole(self, completion: Completion, model: str) -> dict[str, Any]:
        """Write an answer."""
        choice = {"index": 0, "message": _message(completion), "finish_reason": _finished(completion), "logprobs": None}
        return _head("chat.completion", model) | {"choices": [choice], "usage": _usage(completion)}

    def pieces(self, completion: Completion, model: str) -> Iterable[bytes]:
        """Write an answer as a stream that has everything in its first event."""
        head = _head("chat.completion.chunk", model)
        delta = _message(completion)
        for index, call in enumerate(delta.get("tool_calls", ())):
            call["index"] = index
        yield event(head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]})
        yield event(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": _finished(completion)}]})
        yield event(head | {"choices": [], "usage": _usage(completion)})
        yield b"data: [DONE]\n\n"

    def refusal(self, message: str, kind: str) -> dict[str, Any]:
        """Write why there is no answer."""
        return {"error": {"message": message, "type": kind, "code": kind}}


def _message(completion: Completion) -> dict[str, Any]:
    message = told(ChatMessage("assistant", completion.text, completion.tool_calls))
    fields: dict[str, Any] = msgspec.to_builtins(message)
    return fields


def _head(kind: str, model: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-{uuid.uuid4().hex}", "object": kind, "created": int(time.time()), "model": model}


def _finished(completion: Completion) -> str:
    return "stop" if completion.finish_reason == "other" else completion.finish_reason


def _usage(completion: Completion) -> dict[str, int]:
    usage = completion.usage
    asked, made = (usage.input_tokens, usage.output_tokens) if usage is not None else (0, 0)
    return {"prompt_tokens": asked, "completion_tokens": made, "total_tokens": asked + made}
