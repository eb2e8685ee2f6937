"""Answers that say no, as errors that say what to try."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from email.utils import parsedate_to_datetime
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from benchhost.errors import ClientError, HostBusy, TokenRefused
from benchhost.wire.vals import VERSION_HEADER

_URN = "urn:benchhost:problem:"
_LONGEST = 1000


class Request(msgspec.Struct, kw_only=True, frozen=True):
    """One request. ``what`` says in a few words, for people, what is asked for; ``timeout`` is the longest silence.

    ``version`` is the version of the dataset that is pinned, which a good answer must name.
    ``content`` is the type of the ``body``, and ``success`` the status of the answer when all is well. ``headers`` go
    with this request alone. Of a good answer, ``most`` bytes are read, and what there is beyond them is not taken in.
    """

    what: str
    method: Literal["GET", "POST", "PUT", "DELETE"]
    url: str
    timeout: float
    accept: str
    body: bytes | None = None
    version: str | None = None
    content: str = "application/json"
    success: int = 200
    headers: Mapping[str, str] = {}
    most: int | None = None

    @property
    def shown(self) -> str:
        """The URL as messages show it, without the query, which may be long."""
        return self.url.partition("?")[0]


class _Problem(msgspec.Struct):
    status: int


_problem = msgspec.json.Decoder(_Problem).decode


def must_echo(request: Request, echoed: Sequence[str]) -> None:
    """Make sure that an answer is about the version of the dataset that was pinned: it names it, once.

    Raises :class:`~benchhost.errors.ClientError`.
    """
    if list(echoed) != [request.version]:
        told = ", ".join(echoed) or "none"
        raise ClientError(
            f"{request.what} failed: version {request.version} of the dataset was asked for, and {request.shown} "
            f"answers for {told}. Does this service know {VERSION_HEADER}?"
        )


def fault_of(
    request: Request,
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    secrets: Mapping[str, str],
    *,
    signed: bool = False,
) -> ClientError:
    """Make the error of an answer that is not 200. What the host said is quoted without the ``secrets``.

    ``signed`` is the URL of an upload, which is good without any token.
    """
    detail, problem = _said(body)
    for secret in (word for value in secrets.values() for word in value.split()):
        if len(secret) >= 8:  # "Bearer" is none
            detail = detail.replace(secret, "***")
    kind: type[ClientError] = ClientError
    advice = ""
    retriable = False
    if 300 <= status < 400:
        target = urlsplit(headers.get("location", ""))
        elsewhere = (
            f"{target.scheme}://{target.netloc.rpartition('@')[2]}{target.path}" if target.netloc else target.path
        )
        advice = f"It points to {_clean(elsewhere)}. Redirects are not followed: give the URL where the host really is."
    elif signed:
        retriable = status in (429, 500, 502, 503, 504)
        if status == 403:
            advice = "Has the URL expired, or was what it allows not what was put?"
    elif status in (401, 403):
        kind, advice = TokenRefused, about_the_token(status, secrets)
    elif status in (429, 503):
        kind, retriable = HostBusy, problem != "uploads-not-configured"
        advice = "Try again later, or with fewer evaluations at a time." if retriable else ""
    elif status == 501:
        advice = "This service does not offer that."
        if request.url.endswith("/tasks"):
            advice = "This service does not list its tasks: give them in a file (--dataset-file)."
    elif status == 413:
        advice = "Send fewer or shorter responses at a time."
    elif status >= 500:
        retriable = status in (502, 504)
        advice = "The host failed; its log says more."
    parts = [
        f"{request.what} failed: {request.method} {request.shown} answered {status}" + (":" if detail else "."),
        detail,
    ]
    if detail and detail[-1] not in ".!?":
        parts[-1] += "."
    return kind(
        " ".join(part for part in (*parts, advice) if part),
        status=status,
        detail=detail,
        problem=problem,
        retriable=retriable,
        retry_after=retry_after(headers),
    )


def problem_of(request: Request, line: bytes, secrets: Mapping[str, str]) -> ClientError:
    """Make the error of a problem that ends an answer that had begun well."""
    try:
        status = _problem(line).status
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        return ClientError(f"{request.what} failed: {request.shown} sent a line that cannot be read ({error}).")
    return fault_of(request, status, {}, line, secrets)


def no_such_route(error: ClientError) -> bool:
    """Say whether another implementation of the contract does not know the path; a benchhost knows its own."""
    return (
        error.status in (404, 405) and error.problem is None and error.detail in ("", "Not Found", "Method Not Allowed")
    )


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Read how many seconds a host asks to wait: seconds or a date (RFC 9110, 10.2.3)."""
    value = headers.get("retry-after", "")
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, OverflowError):
            return None  # neither of the two: as good as absent
    return max(0.0, seconds) if math.isfinite(seconds) else None


def about_the_token(status: int, secrets: Mapping[str, str]) -> str:
    """Say what to try with the token, of which the ``secrets`` have one or not."""
    names = {name.lower() for name in secrets}
    given = names & {"authorization", "x-descope-api-key"}
    if not given:
        return "No token was given: give one (--token)."
    advice = "Is the token right?" if status == 401 else "The token does not allow this."
    if "authorization" in given:
        advice += " A service hosted by Vals wants it in the header x-descope-api-key."
    return advice


def _said(body: bytes) -> tuple[str, str | None]:
    """Read what an answer says in words, and the slug of the error if it is a benchhost's."""
    try:
        said = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return "", None  # a page of a proxy, or nothing
    if not isinstance(said, dict):
        return "", None
    kind = said.get("type")
    problem = kind.removeprefix(_URN) if isinstance(kind, str) and kind.startswith(_URN) else None
    detail = said.get("detail", "")
    if isinstance(detail, list):
        detail = "; ".join(_field(each) for each in detail)
    detail = _clean(detail if isinstance(detail, str) else msgspec.json.encode(detail).decode())
    if isinstance(number := said.get("error_id") or said.get("evaluation_id"), str):
        detail += f" (quote {_clean(number)} to the operator)"
    return detail, problem


def _field(problem: Any) -> str:
    if not isinstance(problem, dict):
        return str(problem)
    where = ".".join(map(str, problem.get("loc") or []))
    return f"{where}: {problem.get('msg', '')}"


def _clean(text: str) -> str:
    """Make a foreign text one line that does nothing to a terminal."""
    return "".join(char if char.isprintable() else " " for char in text[:_LONGEST]).strip()
