"""Every error that benchhost raises on purpose, in one tree.

::

    BenchhostError
    ├── UsageError             a flag, setting or argument is wrong
    │   ├── SettingsError      the settings file, environment or flags do not fit
    │   └── UnknownModel       no model of that name, or not enough is known to reach it
    ├── PluginFault            a plugin cannot be served
    │   └── DatasetError       a file of tasks is missing, damaged or not of the expected shape
    ├── RequestError           a caller asked for something that cannot be had
    │   ├── InvalidSlice       a slice expression is not one
    │   ├── UnknownBenchmark   no plugin of that name
    │   ├── UnknownDataset     the benchmark has no such dataset
    │   ├── UnknownTask        the dataset has no such task
    │   ├── UnknownEvaluation  no evaluation of that id
    │   ├── UnknownRun         no run of that id
    │   ├── UnknownSandbox     no sandbox of that id is the caller's
    │   ├── NotOffered         the benchmark does not offer this
    │   ├── NoVersions         a version of a dataset is asked for, and none can be chosen
    │   ├── InvalidVersion     a version of a dataset is asked for in a way that says none
    │   ├── UnknownVersion     the dataset has no such version
    │   ├── Unauthorized       the credential is missing or wrong
    │   ├── TenantRequired     the credential is of no tenant, and a tenant is needed
    │   ├── TrialRefused       a tenant on trial may not use this path
    │   ├── AttemptsUsedUp     no further response to this task is judged
    │   ├── ResultWithheld     the result is recorded, and not told now
    │   ├── DatasetNotAllowed  the tenant may not use this dataset
    │   ├── PayloadRefused     the payload is of a type that the benchmark does not take
    │   ├── TooLarge           the body is larger than the host accepts
    │   ├── BatchTooLarge      a batch holds more responses than the host takes at once
    │   └── Malformed          the body or a parameter is not of the expected shape
    ├── Busy                   a limit is reached; the caller may come back
    ├── QuotaReached           the tenant's quota of this period is used up
    ├── Unavailable            the benchmark is not being served at the moment
    ├── IdentityUnavailable    it cannot be found out at the moment who calls
    ├── StoreFailed            the store could not read or keep a record
    ├── RunRefused             a run cannot be carried on like this
    │   ├── RunDrifted         its configuration is another than the one it began with
    │   └── RunLocked          another process carries it out at the moment
    ├── ModelError             a model did not answer; ``kind`` is the class of the failure
    │   ├── ModelThrottled     throttled: a rate limit is reached
    │   ├── ModelUnavailable   unavailable: the provider failed, or could not be reached
    │   ├── ModelReplyMalformed  malformed: the reply is not what the protocol promises
    │   ├── OutOfFunds         funds: the account has no credit left
    │   ├── ModelAuthFailed    auth: the key is missing, wrong or not allowed
    │   ├── ModelRequestRefused  bad_request: the provider does not take the request
    │   ├── ContextOverflow    context_overflow: the prompt does not fit the model
    │   ├── ContentFiltered    content_filter: the provider refuses the content
    │   └── CircuitOpen        circuit_open: every call failed alike, so no more are made
    ├── ClientError            a host that was asked did not do what it was asked for
    │   ├── HostUnreachable    it cannot be reached, or hung up, or kept silent
    │   ├── TokenRefused       it wants a token, or another one
    │   └── HostBusy           it asks to come back later
    ├── SandboxError           a sandbox did not do what it was asked for
    │   ├── SandboxNotFound    no sandbox of that id, or it is gone
    │   ├── SandboxUnsupported the provider cannot make such a sandbox
    │   │   └── ImageUnavailable  its image is not here, or cannot be unpacked
    │   ├── SandboxRefused     the provider does not let us in
    │   ├── SandboxBusy        the provider can make no more sandboxes now
    │   ├── SandboxUnavailable the provider failed, or cannot be had here
    │   ├── SandboxFileError   a file of a sandbox cannot be read or written
    │   └── CommandFailed      a command in a sandbox did not end well
    ├── CandidateFailed        submitted code gave no answer; ``reason`` says why
    │   └── CandidateRaised    it raised an exception
    └── GradingFailed          a failure of ours, never of the submitter
        ├── HookRaised         the author's hook raised
        ├── HookOverran        the author's hook took longer than its deadline
        ├── HookReturned       the author's hook returned something that is no result
        └── GraderDied         the process that ran the hook ended

The message of a :class:`RequestError` is written for the caller and is sent to them. The message of
every other error is for the operator: it may quote what an author's hook said, so it goes to the log
and never over the wire.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import ClassVar, Self


class BenchhostError(Exception):
    """Root of the tree. ``slug`` is the name of the error in answers, logs and the documentation."""

    slug: ClassVar[str] = "internal-error"
    title: ClassVar[str] = "Internal server error"


class UsageError(BenchhostError):
    """A command was called with something it cannot use; the message says what to write instead."""

    slug = "usage"
    title = "The command was called wrongly"


class SettingsError(UsageError):
    """A setting has a wrong value or name; the message names the setting and where it came from."""

    slug = "settings"
    title = "A setting is wrong"


class UnknownModel(UsageError):
    """A model's name leads nowhere; the message lists what would, and the variables that define a provider."""

    slug = "unknown-model"
    title = "Unknown model"


class PluginFault(BenchhostError):
    """A plugin that cannot be served.

    ``reason`` is one of the words in :data:`benchhost.registry.REASONS` and may be shown to anybody;
    the message is for the operator, since it may quote the plugin.
    """

    slug = "plugin-fault"
    title = "The benchmark's plugin is faulty"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class DatasetError(PluginFault):
    """A file of tasks is missing, damaged or not of the expected shape.

    The message names the file, the line and the field, and never quotes the content, which may be hidden.
    """

    slug = "dataset"
    title = "A dataset cannot be read"

    def __init__(self, message: str) -> None:
        super().__init__("datasets-failed", message)


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


class Busy(BenchhostError):
    """A limit is reached. ``retry_after`` is an honest guess, in seconds, of when to come back."""

    slug = "busy"
    title = "Too many evaluations"

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class QuotaReached(BenchhostError):
    """A tenant has begun as many evaluations as it may in this period of the calendar.

    ``ends`` is when the next one begins, in seconds since 1970, and ``retry_after`` in how many seconds.
    """

    slug = "quota-reached"
    title = "Quota reached"

    def __init__(self, limit: str, benchmark: str, wanted: str, ends: float, retry_after: float) -> None:
        self.until = dt.datetime.fromtimestamp(ends, dt.UTC).isoformat().replace("+00:00", "Z")
        super().__init__(
            f"Evaluation request limit of {limit} reached; try again after {self.until}. "
            f"It is the quota of this tenant at the benchmark {benchmark}.{wanted}"
        )
        self.retry_after = max(1.0, retry_after)


class Unavailable(BenchhostError):
    """The benchmark cannot be served: its plugin is faulty."""

    slug = "unavailable"
    title = "Benchmark not available"


class IdentityUnavailable(BenchhostError):
    """It cannot be found out who calls: whoever knows does not answer. The message holds no credential."""

    slug = "identity-unavailable"
    title = "Callers cannot be recognised at the moment"


class StoreFailed(BenchhostError):
    """The store could not read or keep a record (disk full, file damaged, newer schema)."""

    slug = "store-failed"
    title = "The store is not available"


class RunRefused(BenchhostError):
    """A run cannot be carried on like this; nothing of it was changed."""

    slug = "run-refused"
    title = "The run is refused"


class RunDrifted(RunRefused):
    """The configuration differs from the one that the run began with.

    ``differences`` has the recorded and the given value of each field that differs.
    """

    slug = "run-drifted"
    title = "The run's configuration has changed"

    def __init__(self, message: str, differences: dict[str, tuple[object, object]]) -> None:
        super().__init__(message)
        self.differences = differences


class RunLocked(RunRefused):
    """Another process carries out this run at the moment."""

    slug = "run-locked"
    title = "The run is under way elsewhere"


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


class ClientError(BenchhostError):
    """A host that was asked did not do what it was asked for. The message says what to try; it never holds a token.

    ``status`` is the HTTP status, if there was an answer, and ``detail`` what the host said. ``problem``
    is the slug of the host's own error, if the host is a benchhost. ``retriable`` says whether the same
    request may succeed later; ``retry_after`` is in how many seconds, if the host said so.
    """

    slug = "client"
    title = "The host did not do what it was asked for"

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        detail: str = "",
        problem: str | None = None,
        retriable: bool = False,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.detail = detail
        self.problem = problem
        self.retriable = retriable
        self.retry_after = retry_after


class HostUnreachable(ClientError):
    """The host cannot be reached, or hung up, or kept silent. ``sent`` says whether it may have got the request."""

    slug = "host-unreachable"
    title = "The host cannot be reached"

    def __init__(self, message: str, *, sent: bool, retriable: bool = True) -> None:
        super().__init__(message, retriable=retriable)
        self.sent = sent


class TokenRefused(ClientError):
    """The host wants a token, or another one."""

    slug = "token-refused"
    title = "The host refuses the token"


class HostBusy(ClientError):
    """The host is at a limit, or not ready, and asks to come back later."""

    slug = "host-busy"
    title = "The host is busy"


class SandboxError(BenchhostError):
    """A sandbox, or its provider, did not do what it was asked for."""

    slug = "sandbox"
    title = "The sandbox failed"


class SandboxNotFound(SandboxError):
    """No sandbox has that id, or it is gone."""

    slug = "sandbox-not-found"
    title = "Unknown sandbox"


class SandboxUnsupported(SandboxError):
    """The provider cannot make such a sandbox; the message says what it was asked for and where it can be had."""

    slug = "sandbox-unsupported"
    title = "No such sandbox can be made"


class ImageUnavailable(SandboxUnsupported):
    """The image of a sandbox is not here, or cannot be unpacked; the message says which it is, why, and what to do."""

    slug = "image-unavailable"
    title = "The image is not available"


class SandboxRefused(SandboxError):
    """The provider does not accept the credentials."""

    slug = "sandbox-refused"
    title = "The sandbox provider refused the credentials"


class SandboxBusy(SandboxError):
    """The provider can make no more sandboxes at the moment."""

    slug = "sandbox-busy"
    title = "No more sandboxes at the moment"


class SandboxUnavailable(SandboxError):
    """The provider failed, cannot be reached, or cannot be had here; the message says what to change."""

    slug = "sandbox-unavailable"
    title = "The sandbox provider is not available"


class SandboxFileError(SandboxError):
    """A file of a sandbox cannot be read or written; the message says which, and why."""

    slug = "sandbox-file"
    title = "A file of the sandbox cannot be used"


class CommandFailed(SandboxError):
    """A command in a sandbox did not end with the code 0. ``reason`` is an ``ExitReason``."""

    slug = "command-failed"
    title = "A command in the sandbox failed"

    def __init__(self, code: int | None, reason: str = "exited") -> None:
        why = f"exit code {code}" if reason in ("exited", "signal") else f"reason {reason}"
        super().__init__(f"Command failed with {why}")
        self.code = code
        self.reason = reason


class CandidateFailed(BenchhostError):
    """A function of submitted code gave no answer that is a plain value.

    ``reason`` is ``raised``, ``not_plain`` (the answer is another object), ``too_large``, ``timeout``,
    ``memory_limit``, ``ended`` (its process did), ``garbled`` (it meddled with what is said about it) or
    ``missing`` (there is no such function).
    """

    slug = "candidate-failed"
    title = "The submitted code gave no answer"

    def __init__(self, reason: str, message: str) -> None:
        Exception.__init__(self, message)  # the next class may be any: see CandidateRaised
        self.reason = reason


class CandidateRaised(CandidateFailed):
    """A function of submitted code raised an exception.

    ``names`` are the names of the exception's class and of those it derives from. Where one of them is a usual
    built-in exception, so is this one: a ``ZeroDivisionError`` over there is caught by ``except ArithmeticError``
    here. ``StopIteration`` is not one of them: it would end the loops of those who call.
    """

    slug = "candidate-raised"
    title = "The submitted code raised an exception"

    def __new__(cls, names: Sequence[str], message: str) -> Self:
        kind = next((_USUAL[name] for name in names if name in _USUAL), None)
        both = cls if kind is None or issubclass(cls, kind) else type(cls.__name__, (cls, kind), {})
        return super().__new__(both, names, message)

    def __init__(self, names: Sequence[str], message: str) -> None:
        super().__init__("raised", f"{names[0] if names else 'an exception'}: {message}".removesuffix(": "))
        self.names = tuple(names)


_USUAL: dict[str, type[Exception]] = {
    kind.__name__: kind
    for kind in (
        ArithmeticError,
        AssertionError,
        AttributeError,
        EOFError,
        IndexError,
        KeyError,
        LookupError,
        MemoryError,
        NameError,
        NotImplementedError,
        OverflowError,
        RecursionError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    )
}


class GradingFailed(BenchhostError):
    """A response could not be judged, for a reason of ours: it is not scored, and it is not a zero."""

    slug = "grading-failed"
    title = "Grading failed"


class HookRaised(GradingFailed):
    """The author's hook raised an exception."""

    slug = "hook-raised"
    title = "The benchmark's hook raised an exception"


class HookOverran(GradingFailed):
    """The author's hook took longer than its deadline."""

    slug = "hook-overran"
    title = "The benchmark's hook took too long"


class HookReturned(GradingFailed):
    """The author's hook returned something that is not what the contract asks for."""

    slug = "hook-returned"
    title = "The benchmark's hook returned something unusable"


class GraderDied(GradingFailed):
    """The process that ran the hook ended while the hook was running."""

    slug = "grader-died"
    title = "The grading process ended"
