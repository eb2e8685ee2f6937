"""What is wrong with a request: its message is sent to the caller."""

from __future__ import annotations

from benchhost.errors.base import BenchhostError


class RequestError(BenchhostError):
    """A caller asked for something that cannot be had. The message is sent to the caller."""

    slug = "request"
    title = "The request cannot be answered"


class InvalidSlice(RequestError):
    """A slice expression is not ``start:stop:step``."""

    slug = "invalid-slice"
    title = "Invalid slice"


class UnknownBenchmark(RequestError):
    """No plugin of that name is installed."""

    slug = "unknown-benchmark"
    title = "Unknown benchmark"


class UnknownDataset(RequestError):
    """The benchmark has no dataset of that name."""

    slug = "unknown-dataset"
    title = "Unknown dataset"


class UnknownTask(RequestError):
    """The dataset has no task of that id."""

    slug = "unknown-task"
    title = "Unknown task"


class UnknownEvaluation(RequestError):
    """No evaluation of that id is recorded for this caller."""

    slug = "unknown-evaluation"
    title = "Unknown evaluation"


class UnknownRun(RequestError):
    """No run of that id is recorded."""

    slug = "unknown-run"
    title = "Unknown run"


class UnknownSandbox(RequestError):
    """The caller has no sandbox of that id on this host."""

    slug = "unknown-sandbox"
    title = "Unknown sandbox"


class NotOffered(RequestError):
    """The benchmark's author did not implement what was asked for."""

    slug = "not-offered"
    title = "Not offered by this benchmark"


class NoVersions(RequestError):
    """A request names a version of a dataset, and versions cannot be chosen here."""

    slug = "no-versions"
    title = "Dataset versions cannot be chosen"


class InvalidVersion(RequestError):
    """A request names a version of a dataset twice, or where it may not, or by what can be none."""

    slug = "invalid-version"
    title = "Invalid version of a dataset"


class UnknownVersion(RequestError):
    """The dataset has no version of that label or fingerprint."""

    slug = "unknown-version"
    title = "Unknown version of a dataset"


class Unauthorized(RequestError):
    """The credential is missing or wrong."""

    slug = "unauthorized"
    title = "Unauthorized"


class TenantRequired(RequestError):
    """The credential is good and of no tenant, and what is asked for belongs to one."""

    slug = "tenant-required"
    title = "A tenant is required"


class TrialRefused(RequestError):
    """A tenant on trial may not use this path."""

    slug = "trial-refused"
    title = "Not open to trial tenants"


class DatasetNotAllowed(RequestError):
    """The tenant may not use this dataset, whether there is one or not."""

    slug = "dataset-not-allowed"
    title = "Dataset not allowed"


class AttemptsUsedUp(RequestError):
    """As many different responses to a task were judged for this tenant as its policy allows."""

    slug = "attempts-used-up"
    title = "No further response to this task is judged"


class ResultWithheld(RequestError):
    """A response was judged, and its policy does not let the result be told, or not yet."""

    slug = "result-withheld"
    title = "The result is not told"


class PayloadRefused(RequestError):
    """The payload is of a type that this benchmark does not take."""

    slug = "payload-refused"
    title = "Payload not accepted"


class TooLarge(RequestError):
    """The body is larger than the host accepts."""

    slug = "too-large"
    title = "The body is too large"


class BatchTooLarge(RequestError):
    """A batch holds more responses than the host ever takes at once."""

    slug = "batch-too-large"
    title = "The batch is too large"


class UploadRefused(RequestError):
    """The signed URL of an upload was changed, or has expired."""

    slug = "upload-refused"
    title = "The URL of the upload is not good"


class UploadSpaceFull(RequestError):
    """There is no room for an upload: the tenant's part is used up, or the disk is full."""

    slug = "upload-space-full"
    title = "There is no room for the upload"


class Malformed(RequestError):
    """The body, or a parameter, is not of the expected shape.

    ``location`` is the path to the field (``("body", "payload", "type")``). The caller's own input is
    not repeated: it may hold a credential.
    """

    slug = "malformed"
    title = "The request is malformed"

    def __init__(self, message: str, location: tuple[str | int, ...] = ("body",)) -> None:
        super().__init__(message)
        self.location = location
