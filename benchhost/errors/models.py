"""Why a model gave no completion."""

from __future__ import annotations

from typing import ClassVar

from benchhost.errors.base import BenchhostError


class ModelError(BenchhostError):
    """A model was asked and gave no completion. Never holds a key: messages are scrubbed before they get here.

    ``kind`` is the word by which runs count and select such failures. ``retriable`` says whether the
    same call may succeed later. ``status`` is the HTTP status, where there was an answer; ``retry_after``
    the seconds that the provider asked for. ``retries`` and ``waited`` (seconds) are what was spent on
    the call before it was given up.
    """

    slug = "model"
    title = "The model gave no completion"
    kind: ClassVar[str] = "error"
    retriable: bool = False

    def __init__(self, message: str, *, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.retries = 0
        self.waited = 0.0


class ModelThrottled(ModelError):
    """A rate limit of the provider is reached."""

    slug = "model-throttled"
    title = "The model's provider is throttling"
    kind = "throttled"
    retriable = True


class ModelUnavailable(ModelError):
    """The provider failed, took too long, hung up, or could not be reached."""

    slug = "model-unavailable"
    title = "The model is not available"
    kind = "unavailable"
    retriable = True


class ModelReplyMalformed(ModelError):
    """The reply is not what the protocol promises: no JSON, or JSON without a completion."""

    slug = "model-reply-malformed"
    title = "The model's reply cannot be read"
    kind = "malformed"
    retriable = True


class OutOfFunds(ModelError):
    """The account has no credit left, or its spending limit is reached."""

    slug = "model-out-of-funds"
    title = "The account with the provider is out of funds"
    kind = "funds"


class ModelAuthFailed(ModelError):
    """The key is missing, wrong, or not allowed to use the model."""

    slug = "model-auth"
    title = "The provider refused the key"
    kind = "auth"


class ModelRequestRefused(ModelError):
    """The provider does not take the request: unknown model, or a parameter that it does not accept."""

    slug = "model-bad-request"
    title = "The provider refused the request"
    kind = "bad_request"


class ContextOverflow(ModelError):
    """The prompt, with what may be generated, does not fit the model's context."""

    slug = "model-context-overflow"
    title = "The prompt does not fit the model"
    kind = "context_overflow"


class ContentFiltered(ModelError):
    """The provider refuses to process the content of the prompt."""

    slug = "model-content-filter"
    title = "The provider refused the content"
    kind = "content_filter"


class CircuitOpen(ModelError):
    """Every call failed alike, so no more are made. The message says how; the cause is the last failure."""

    slug = "model-circuit-open"
    title = "Every call to the model fails"
    kind = "circuit_open"
