"""Every error as an HTTP answer: here, and nowhere else.

One body serves both readers of problem details (RFC 9457) and clients of create-benchmark-service,
which read ``detail``. What a caller sent is not repeated, and nothing of an error that is not made
for callers is said.
"""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING

import msgspec

from benchhost import errors
from benchhost.errors import (
    BenchhostError,
    Busy,
    Malformed,
    QuotaReached,
    QuotaUnavailable,
    RequestError,
    SandboxUnsupported,
    Unavailable,
)
from benchhost.log import get_logger
from benchhost.server.refused import Encoded, HeadRefused, HeadTooLarge, LengthRequired, TooSlow, WrongHost
from benchhost.wire.native import FieldProblem, Problem

if TYPE_CHECKING:
    from litestar.types import Send

_log = get_logger()

MEDIA_TYPE = "application/problem+json"

STATUS: dict[type[BenchhostError], int] = {
    errors.InvalidSlice: 400,
    errors.UnknownDataset: 400,
    errors.UnknownTask: 400,
    errors.PayloadRefused: 400,
    errors.NoVersions: 400,
    errors.InvalidVersion: 400,
    errors.Unauthorized: 401,
    errors.TenantRequired: 403,
    errors.TrialRefused: 403,
    errors.DatasetNotAllowed: 403,
    errors.AttemptsUsedUp: 403,
    errors.ResultWithheld: 403,
    errors.UnknownBenchmark: 404,
    errors.UnknownVersion: 404,
    errors.UnknownEvaluation: 404,
    errors.UnknownRun: 404,
    errors.UnknownSandbox: 404,
    errors.TooLarge: 413,
    errors.BatchTooLarge: 413,
    errors.UploadRefused: 403,
    errors.UploadSpaceFull: 507,
    errors.Malformed: 422,
    errors.SandboxUnsupported: 422,
    errors.ImageUnavailable: 422,
    errors.Busy: 429,
    errors.QuotaReached: 429,
    errors.NotOffered: 501,
    errors.Unavailable: 503,
    errors.IdentityUnavailable: 503,
    errors.StoreFailed: 503,
    errors.QuotaUnavailable: 503,
    errors.UploadsFailed: 503,
    errors.SandboxUnavailable: 503,
}
"""The status of each error; every other one is 500."""

_encode = msgspec.json.Encoder().encode


class NotFound(RequestError):
    """Something named in the path, or in a body of ``/v1``, does not exist."""

    slug = "not-found"
    title = "Not found"


class NotScored(BenchhostError):
    """A response could not be judged, where the answer is nothing but its result.

    ``said`` is what the author's hook said of it for the submitter, if it said anything.
    """

    slug = "not-scored"
    title = "The response was not scored"

    def __init__(self, evaluation_id: str, said: str | None) -> None:
        super().__init__(f"evaluation {evaluation_id} has no result")
        self.evaluation_id = evaluation_id
        self.said = said


class RunsNotAllowed(RequestError):
    """The operator has not allowed runs to be started over HTTP."""

    slug = "runs-not-allowed"
    title = "Runs are not allowed here"


class SandboxesNotAllowed(RequestError):
    """The operator has not allowed callers to have sandboxes of this host."""

    slug = "sandboxes-not-allowed"
    title = "Sandboxes are not allowed here"


class UploadsNotConfigured(RequestError):
    """The operator lets nobody upload anything."""

    slug = "uploads-not-configured"
    title = "Nothing can be uploaded here"


class FileRefused(RequestError):
    """A file of a sandbox is not there, is too large, or cannot be written."""

    slug = "file-refused"
    title = "A file of the sandbox cannot be used"


class Conflict(RequestError):
    """What is asked for does not go together with what there is."""

    slug = "conflict"
    title = "Conflict"


STATUS |= {NotFound: 404, RunsNotAllowed: 403, SandboxesNotAllowed: 403, Conflict: 409, FileRefused: 422}
STATUS[UploadsNotConfigured] = 503
STATUS |= {HeadRefused: 400, TooSlow: 408, LengthRequired: 411, Encoded: 415, WrongHost: 421, HeadTooLarge: 431}

_NO_FAILURE = (Unavailable, errors.NotOffered, errors.UploadSpaceFull, UploadsNotConfigured)
"""Errors of 5xx that are no failure of the host, so that nobody need look for them in the log."""


def status_of(error: type[Exception]) -> int:
    """Say with which status an error is answered."""
    return next((STATUS[cls] for cls in error.__mro__ if cls in STATUS), 500)


class Said(msgspec.Struct, frozen=True):
    """What is said of an error that the framework raised."""

    status: int
    slug: str
    title: str
    detail: str | list[FieldProblem]
    headers: dict[str, str] = {}


class Answer(msgspec.Struct, frozen=True):
    """A problem as an HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


def answer_to(error: Exception, said: Said | None = None) -> Answer:
    """Make the answer to an error; ``said`` is what is to be said of one that is not in our tree."""
    headers: dict[str, str] = {}
    detail: str | list[FieldProblem]
    if isinstance(error, BenchhostError):
        status = status_of(type(error))
        slug, title = error.slug, error.title
        if isinstance(error, Malformed):
            detail = [FieldProblem(slug, list(error.location), str(error))]
        elif isinstance(
            error, RequestError | Busy | QuotaReached | QuotaUnavailable | Unavailable | SandboxUnsupported
        ):
            detail = str(error)
        elif isinstance(error, NotScored):
            detail = error.said or BenchhostError.title
        else:
            detail = title if status != 500 else BenchhostError.title
        if isinstance(error, Busy | QuotaReached):
            headers["retry-after"] = str(math.ceil(error.retry_after))
        if status == 401:
            headers["www-authenticate"] = "Bearer"
    elif said is not None:
        status, slug, title, detail = said.status, said.slug, said.title, said.detail
        headers |= said.headers
    else:
        status, slug, title, detail = 500, BenchhostError.slug, BenchhostError.title, BenchhostError.title
    problem = Problem(type=f"urn:benchhost:problem:{slug}", title=title, status=status, detail=detail)
    if isinstance(error, NotScored):
        problem.evaluation_id = error.evaluation_id  # under which its cause is logged
    elif status >= 500 and not isinstance(error, _NO_FAILURE):
        problem.error_id = uuid.uuid4().hex
        _log.error("request failed", error_id=problem.error_id, exc_info=error)
    return Answer(status, headers, _encode(problem))


async def send_problem(send: Send, error: Exception) -> None:
    """Answer an error where there is no handler yet."""
    answer = answer_to(error)
    headers = [(name.encode(), value.encode()) for name, value in answer.headers.items()]
    headers += [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(answer.body)).encode())]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": False})
