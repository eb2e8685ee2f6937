"""What a provider's refusal means: from a status and a body to the right :class:`~benchhost.errors.ModelError`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from benchhost.errors import (
    ContentFiltered,
    ContextOverflow,
    ModelAuthFailed,
    ModelError,
    ModelRequestRefused,
    ModelThrottled,
    ModelUnavailable,
    OutOfFunds,
)

LONGEST_QUOTE = 500
"""How much of a provider's own words is kept in a message, in characters."""

_FUNDS = re.compile(
    r"insufficient_quota|billing_hard_limit|billing_not_active|billing_error|credit balance|"
    r"insufficient[ _](balance|credit|fund)|payment required|spending limit",
    re.IGNORECASE,
)
_OVERFLOW = re.compile(
    r"context_length_exceeded|(maximum|max|model'?s) context|context (length|window|size|limit)|prompt is too long|"
    r"input is too long|too many (input )?tokens|input token count|reduce the length of the (messages|prompt)|"
    r"request[_ ]too[_ ]large|max_model_len|longer than the maximum model length",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content_filter|content_policy|content management policy|safety system|flagged|data_inspection_failed|"
    r"output blocked by content filtering",
    re.IGNORECASE,
)
_LOOKS_LIKE_A_KEY = re.compile(r"\b(?:(?:sk|gsk|xai|pplx|hf|nvapi|fw|csk)[-_]|AIza)[\w*.-]{8,}")
_RETRY_INFO = re.compile(rb'"retryDelay":\s*"([0-9]+(?:\.[0-9]+)?)s"')  # Google says it in the body


def failure(status: int, body: bytes, *, retry_after: float | None = None, key: str | None = None) -> ModelError:
    """Name the failure that an answer other than 200 stands for.

    ``key`` is the key that was sent: some providers repeat it, so it is taken out of the message.
    """
    words, said = _words_of(body)
    code = f" ({', '.join(words)})" if words else ""
    message = f"the provider answered {status}{code}: {scrub(said, key) or 'an empty body'}"
    if status == 404:
        message += ". Is the model's name right, and the base URL?"
    if retry_after is None and (hint := _RETRY_INFO.search(body)):
        retry_after = float(hint[1])
    return _kind(status, " ".join((*words, said)))(message, status=status, retry_after=retry_after)


def _kind(status: int, text: str) -> type[ModelError]:
    if status == 402 or (status == 429 and _FUNDS.search(text)):
        return OutOfFunds
    if status == 429:  # "request too large" for the limit per minute: waiting does not make it smaller
        return ContextOverflow if "request too large" in text.lower() else ModelThrottled
    if status >= 500 or status in (408, 409, 425):
        return ModelUnavailable
    if status in (400, 403, 413, 422):
        if status == 413 or _OVERFLOW.search(text):
            return ContextOverflow
        if _FILTER.search(text):
            return ContentFiltered
        if _FUNDS.search(text):
            return OutOfFunds
    return ModelAuthFailed if status in (401, 403) else ModelRequestRefused


def scrub(text: str, key: str | None) -> str:
    """Shorten what a provider said, and take out the key and whatever looks like one."""
    if key:
        text = text.replace(key, "***")
    return _LOOKS_LIKE_A_KEY.sub("***", text)[:LONGEST_QUOTE].strip()


def _words_of(body: bytes) -> tuple[list[str], str]:
    """Return the codes and the message in the body of an error, in whichever of the usual shapes it has."""
    text = body.decode("utf-8", "replace")
    try:
        document = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return [], text
    for candidate in _candidates(document):
        message = next(
            (candidate[k] for k in ("message", "detail", "error") if isinstance(candidate.get(k), str)), None
        )
        if message is not None:
            words = [str(candidate[k]) for k in ("type", "code", "status") if candidate.get(k) not in (None, "")]
            return list(dict.fromkeys(words)), message
    return [], text


def _candidates(document: Any) -> Iterator[dict[str, Any]]:
    """Yield the objects that may hold the message, the innermost first."""
    if isinstance(document, list) and document:
        document = document[0]  # Google wraps its errors in a list
    if isinstance(document, dict):
        if isinstance(inner := document.get("error"), dict):
            yield inner
        yield document
