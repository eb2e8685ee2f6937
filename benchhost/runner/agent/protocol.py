"""What the gateway must know of a protocol by which agents ask a model."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Protocol

import msgspec

from benchhost.contract import Completion, Conversation, Sampling

LARGEST = 16 * 1024 * 1024
"""Bytes of one request."""

MOST_AT_ONCE = 16
"""Requests of one agent that are read and answered at once; others wait, and take no memory here meanwhile."""


class Answer(msgspec.Struct, frozen=True):
    """An answer: its status, its body and the type of that."""

    status: int
    body: bytes
    content: str = "application/json"


Ask = Callable[[str, bytes], Awaitable[Answer]]
"""Answers a request, of which the path and the body matter."""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent asks: of which model, in which conversation, with which sampling; and whether for a stream."""

    model: str
    conversation: Conversation
    sampling: dict[str, Any]
    streams: bool


class AgentProtocol(Protocol):
    """A protocol of a provider, from the provider's side: requests are read, answers are written."""

    path: str
    """Where requests come in."""

    def read(self, body: bytes) -> Asked:
        """Read a request.

        Raises ``ValueError`` for one that is none, and for what cannot be passed on; the message is for the agent.
        """
        ...

    def whole(self, completion: Completion, model: str) -> dict[str, Any]:
        """Write an answer."""
        ...

    def pieces(self, completion: Completion, model: str) -> Iterable[bytes]:
        """Write an answer as a stream of events: everything in few of them, since it is there as a whole."""
        ...

    def refusal(self, message: str, kind: str) -> dict[str, Any]:
        """Write why there is no answer."""
        ...


def sampling_of(given: dict[str, Any]) -> dict[str, Any]:
    """Keep what is set, checked.

    Raises ``ValueError`` for numbers that no provider could take.
    """
    said = {name: value for name, value in given.items() if value is not None}
    Sampling(**said)
    return said


def event(data: object, name: str | None = None) -> bytes:
    """Write one event of a stream."""
    head = b"" if name is None else f"event: {name}\n".encode()
    return head + b"data: " + msgspec.json.encode(data) + b"\n\n"
