"""What a failure of Daytona's SDK means, and whether the same call may succeed later."""

from __future__ import annotations

import re

from benchhost.errors import (
    SandboxBusy,
    SandboxError,
    SandboxFileError,
    SandboxNotFound,
    SandboxRefused,
    SandboxUnavailable,
    SandboxUnsupported,
)

LONGEST_QUOTE = 500
"""How much of Daytona's own words is kept in a message, in characters."""

LONGEST_WAIT = 10.0
"""Seconds that are waited for at most when Daytona asks to come back later."""

_BY_STATUS: dict[int, type[SandboxError]] = {
    400: SandboxUnsupported,
    401: SandboxRefused,
    403: SandboxRefused,
    404: SandboxNotFound,
    410: SandboxNotFound,
    422: SandboxUnsupported,
    429: SandboxBusy,
}
_BY_NAME: dict[str, type[SandboxError]] = {  # by name, since the SDK may not be installed
    "DaytonaQueueTimeoutError": SandboxBusy,
    "DaytonaSpotEvictedError": SandboxNotFound,
}
_OF_FILE = (400, 403, 404, 409, 422)
_PASSES = (408, 425, 429, 500, 502, 503, 504)
_PASSES_BY_NAME = ("DaytonaConnectionError", "DaytonaTimeoutError", "ClientConnectionError", "ClientPayloadError")
_FILE_CODE = re.compile(r"(?:INVALID_)?FILE_")
_FULL = re.compile(r"\b(quota|limits?) (is |was |has been )?(exceeded|reached)|no available runners?", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def is_a(error: BaseException, *names: str) -> bool:
    """Say whether an error is of one of these classes of the SDK, or of what it is built on."""
    return not {kind.__name__ for kind in type(error).__mro__}.isdisjoint(names)


def status_of(error: BaseException) -> int | None:
    """Return the HTTP status that an error stands for; ``None`` when there was no answer."""
    status = getattr(error, "status_code", None) or getattr(error, "status", None)
    return status if isinstance(status, int) else None


def _is_about_a_file(error: BaseException) -> bool:
    code = vars(error).get("code")  # of Daytona's own; of others' errors it is a status
    return isinstance(code, str) and _FILE_CODE.match(code) is not None


def transient(error: BaseException) -> bool:
    """Say whether the same call may succeed when it is made again."""
    if _is_about_a_file(error):
        return False
    if (status := status_of(error)) is not None:
        return status in _PASSES
    return isinstance(error, TimeoutError) or (is_a(error, *_PASSES_BY_NAME) and not is_a(error, *_BY_NAME))


def not_done(error: BaseException) -> bool:
    """Say whether what was asked for was certainly not done: it was turned away at the door."""
    return status_of(error) == 429


def asked_to_wait(error: BaseException) -> float | None:
    """Read how many seconds Daytona asks to wait."""
    headers = {str(name).lower(): value for name, value in (getattr(error, "headers", None) or {}).items()}
    try:
        return min(max(0.0, float(headers["retry-after"])), LONGEST_WAIT)
    except (KeyError, TypeError, ValueError):
        return None


def failure(error: BaseException, doing: str, said: str, *, of_file: bool = False) -> SandboxError:
    """Name a failure in our own words.

    ``doing`` completes "daytona could not …", and ``said`` is what Daytona said, without the key. ``of_file`` says
    that a file was asked for, so that what is refused or not found is the file.
    """
    said = _CONTROL.sub(" ", said).strip()[:LONGEST_QUOTE] or type(error).__name__
    if isinstance(error, TimeoutError):
        return SandboxUnavailable(f"daytona did not answer in time when asked to {doing}")
    status = status_of(error)
    if of_file and (status in _OF_FILE or _is_about_a_file(error)):
        return SandboxFileError(f"daytona could not {doing}: {said}")
    kind = next((kind for name, kind in _BY_NAME.items() if is_a(error, name)), None)
    kind = kind or _BY_STATUS.get(status or 0, SandboxUnavailable)
    if kind in (SandboxRefused, SandboxUnsupported) and _FULL.search(said):
        kind = SandboxBusy  # the account has as much as it may have: no fault of the key, nor of what was asked for
    message = f"daytona could not {doing}: {said}"
    if kind is SandboxRefused:
        message += ". Are the API key and the api_url the right ones, and may the key do this?"
    return kind(message)
