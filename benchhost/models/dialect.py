"""What a protocol of a provider must be able to say. One instance serves one model."""

from __future__ import annotations

from typing import Protocol

from benchhost.contract import Completion, Conversation, Sampling


class Dialect(Protocol):
    """Turns prompts into the bodies of requests, and the bodies of answers into completions."""

    def url(self, base_url: str) -> str:
        """Return where requests go."""
        ...

    def headers(self, key: str | None) -> dict[str, str]:
        """Return the headers of every request, with the key where the protocol wants it."""
        ...

    def encode(self, conversation: Conversation, sampling: Sampling) -> bytes:
        """Return the body of a request.

        Raises :class:`~benchhost.errors.ModelRequestRefused` for what the protocol cannot express.
        """
        ...

    def decode(self, body: bytes) -> Completion:
        """Read the body of an answer of status 200.

        Raises :class:`~benchhost.errors.ModelError` for an error in disguise, ``msgspec.DecodeError``
        for anything that is not the protocol's.
        """
        ...
