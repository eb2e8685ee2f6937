"""A model, what it is asked and what it answers."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Literal, Protocol, runtime_checkable

import msgspec

Role = Literal["system", "user", "assistant"]

FinishReason = Literal["stop", "length", "content_filter", "tool_calls", "other"]
"""Why a model stopped. ``length``: at its limit of tokens, so the text may be cut or empty."""


class ChatMessage(msgspec.Struct, frozen=True):
    """One message of a conversation."""

    role: Role
    content: str


Prompt = str | Sequence[ChatMessage]
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
    """What a model answered.

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


def messages_of(prompt: Prompt) -> Sequence[ChatMessage]:
    """Return a prompt as a conversation."""
    return (ChatMessage("user", prompt),) if isinstance(prompt, str) else prompt
