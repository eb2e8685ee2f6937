"""A model, what it is asked and what it answers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["system", "user", "assistant", "tool"]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
"""Why a model stopped. ``length``: at its limit of tokens, so the text may be cut or empty."""


class ToolCall(msgspec.Struct, frozen=True):
    """A call that a model wants made: the ``name`` of a tool, and its ``arguments``, the JSON that the model wrote.

    ``id`` is what the answer to it is known by.
    """

    id: str
    name: str
    arguments: str


class ChatMessage(msgspec.Struct, frozen=True, omit_defaults=True):
    """One message of a conversation.

    The assistant's may have ``tool_calls``. One of the role ``tool`` answers the call ``tool_call_id``; ``failed``
    says that the tool could not do what was asked, where a protocol has a word for it.
    """

    role: Role
    content: str
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    failed: bool = False


class Tool(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something that a model may have called; ``parameters`` is the JSON schema of its arguments.

    ``strict`` is passed on to providers that can hold the model to the schema.
    """

    name: str
    description: str = ""
    parameters: dict[str, Any] = {}
    strict: bool | None = None


class OneTool(msgspec.Struct, frozen=True):
    """The choice of one tool, which the model must call."""

    name: str


ToolChoice = Literal["auto", "none", "required"] | OneTool
"""Whether a model calls tools: as it likes, not at all, at least one of them, or this one."""


class Conversation(msgspec.Struct, frozen=True, omit_defaults=True):
    """A conversation in which a model may call tools. ``parallel`` says whether it may make several calls at once.

    What is not set is left to the provider.
    """

    messages: Sequence[ChatMessage]
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel: bool | None = None


Prompt = str | Sequence[ChatMessage] | Conversation
"""What a model is asked: a conversation, or a text that stands for one message of the user."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a completion is drawn. Only what is set is sent; the rest is left to the provider.

    ``max_tokens`` limits what is generated, reasoning included. ``reasoning_effort`` is passed on as
    the provider spells it (``low``, ``medium``, ``high``, ...). Raises ``ValueError`` for numbers that
    no provider could take.
    """

    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    max_tokens: int | None = None
    reasoning_effort: str | None = None
    stop: tuple[str, ...] | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.temperature is not None and not (math.isfinite(self.temperature) and self.temperature >= 0):
            raise ValueError(f"temperature must be a finite number of at least 0, not {self.temperature!r}")
        if self.top_p is not None and not 0 <= self.top_p <= 1:
            raise ValueError(f"top_p must be between 0 and 1, not {self.top_p!r}")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k must be at least 1, not {self.top_k!r}")
        if self.max_tokens is not None and self.max_tokens < 1:
            raise ValueError(f"max_tokens must be at least 1, not {self.max_tokens!r}")


class Usage(msgspec.Struct, kw_only=True, omit_defaults=True):
    """The tokens of one call, or of many.

    ``input_tokens`` is the whole prompt; ``cached_tokens`` of them were read from the provider's cache
    and ``cache_write_tokens`` written to it. ``output_tokens`` is all that was generated;
    ``reasoning_tokens`` of them were reasoning. ``reported_cost`` is in USD, from the few providers
    that state it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0
    reported_cost: float | None = None


class Completion(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What a model answered: a text, ``tool_calls`` that it wants made, or both.

    ``model`` is the name that the provider itself gives the model that answered. ``usage`` is ``None``
    when the provider did not state it. ``latency`` is the time in seconds of the exchange that succeeded;
    ``waited`` the seconds spent before it because of limits and backing off, and ``retries`` how many
    exchanges failed. ``cached`` marks a completion that was recorded earlier and cost nothing now.
    """

    text: str
    finish_reason: FinishReason = "stop"
    model: str = ""
    usage: Usage | None = None
    latency: float = 0.0
    retries: int = 0
    waited: float = 0.0
    cached: bool = False
    tool_calls: tuple[ToolCall, ...] = ()


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """What a model may know of the attempt that it is called for.

    ``task_id`` and ``epoch`` (from 1) name the attempt. ``reference`` fetches the gold answer, for
    models that replay it; it is ``None`` where there is none to be had, and its answer is never sent
    anywhere. ``waiting`` makes a context in which the attempt's clock stands still: a model enters it
    while it waits for reasons that are not the attempt's, such as a rate limit.
    """

    task_id: str | None = None
    epoch: int = 1
    reference: Callable[[], Awaitable[str | None]] | None = None
    waiting: Callable[[], AbstractContextManager[object]] = nullcontext


NO_CALL = Call()
"""A call that belongs to no attempt."""


@runtime_checkable
class Model(Protocol):
    """Something that completes prompts. May be called many times at once."""

    @property
    def name(self) -> str:
        """``provider/name``, as the model was asked for."""
        ...

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call = NO_CALL) -> Completion:
        """Complete a prompt.

        Raises :class:`~benchhost.errors.ModelError` when there is no completion to be had.
        """
        ...

    async def aclose(self) -> None:
        """Release connections and files. The model is not used afterwards."""
        ...


def conversation_of(prompt: Prompt) -> Conversation:
    """Return a prompt as a conversation."""
    if isinstance(prompt, Conversation):
        return prompt
    return Conversation((ChatMessage("user", prompt),) if isinstance(prompt, str) else prompt)


def messages_of(prompt: Prompt) -> Sequence[ChatMessage]:
    """Return the messages of a prompt."""
    return conversation_of(prompt).messages
