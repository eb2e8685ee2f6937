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
    │   ├── UploadRefused      the signed URL of an upload is not good
    │   ├── UploadSpaceFull    there is no room for an upload
    │   └── Malformed          the body or a parameter is not of the expected shape
    ├── Busy                   a limit is reached; the caller may come back
    ├── QuotaReached           the tenant's quota of this period is used up
    ├── Unavailable            the benchmark is not being served at the moment
    ├── IdentityUnavailable    it cannot be found out at the moment who calls
    ├── StoreFailed            the store could not read or keep a record
    │   └── QuotaUnavailable   nor say what is left of the tenant's quota
    ├── UploadsFailed          uploads cannot be kept or read at the moment
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

from benchhost.errors.base import BenchhostError
from benchhost.errors.client import ClientError, HostBusy, HostUnreachable, TokenRefused
from benchhost.errors.grading import (
    CandidateFailed,
    CandidateRaised,
    GraderDied,
    GradingFailed,
    HookOverran,
    HookRaised,
    HookReturned,
)
from benchhost.errors.host import (
    Busy,
    IdentityUnavailable,
    QuotaReached,
    QuotaUnavailable,
    StoreFailed,
    Unavailable,
    UploadsFailed,
)
from benchhost.errors.models import (
    CircuitOpen,
    ContentFiltered,
    ContextOverflow,
    ModelAuthFailed,
    ModelError,
    ModelReplyMalformed,
    ModelRequestRefused,
    ModelThrottled,
    ModelUnavailable,
    OutOfFunds,
)
from benchhost.errors.plugins import DatasetError, PluginFault
from benchhost.errors.requests import (
    AttemptsUsedUp,
    BatchTooLarge,
    DatasetNotAllowed,
    InvalidSlice,
    InvalidVersion,
    Malformed,
    NotOffered,
    NoVersions,
    PayloadRefused,
    RequestError,
    ResultWithheld,
    TenantRequired,
    TooLarge,
    TrialRefused,
    Unauthorized,
    UnknownBenchmark,
    UnknownDataset,
    UnknownEvaluation,
    UnknownRun,
    UnknownSandbox,
    UnknownTask,
    UnknownVersion,
    UploadRefused,
    UploadSpaceFull,
)
from benchhost.errors.runs import RunDrifted, RunLocked, RunRefused
from benchhost.errors.sandboxes import (
    CommandFailed,
    ImageUnavailable,
    SandboxBusy,
    SandboxError,
    SandboxFileError,
    SandboxNotFound,
    SandboxRefused,
    SandboxUnavailable,
    SandboxUnsupported,
)
from benchhost.errors.usage import SettingsError, UnknownModel, UsageError

__all__ = [
    "AttemptsUsedUp",
    "BatchTooLarge",
    "BenchhostError",
    "Busy",
    "CandidateFailed",
    "CandidateRaised",
    "CircuitOpen",
    "ClientError",
    "CommandFailed",
    "ContentFiltered",
    "ContextOverflow",
    "DatasetError",
    "DatasetNotAllowed",
    "GraderDied",
    "GradingFailed",
    "HookOverran",
    "HookRaised",
    "HookReturned",
    "HostBusy",
    "HostUnreachable",
    "IdentityUnavailable",
    "ImageUnavailable",
    "InvalidSlice",
    "InvalidVersion",
    "Malformed",
    "ModelAuthFailed",
    "ModelError",
    "ModelReplyMalformed",
    "ModelRequestRefused",
    "ModelThrottled",
    "ModelUnavailable",
    "NoVersions",
    "NotOffered",
    "OutOfFunds",
    "PayloadRefused",
    "PluginFault",
    "QuotaReached",
    "QuotaUnavailable",
    "RequestError",
    "ResultWithheld",
    "RunDrifted",
    "RunLocked",
    "RunRefused",
    "SandboxBusy",
    "SandboxError",
    "SandboxFileError",
    "SandboxNotFound",
    "SandboxRefused",
    "SandboxUnavailable",
    "SandboxUnsupported",
    "SettingsError",
    "StoreFailed",
    "TenantRequired",
    "TokenRefused",
    "TooLarge",
    "TrialRefused",
    "Unauthorized",
    "Unavailable",
    "UnknownBenchmark",
    "UnknownDataset",
    "UnknownEvaluation",
    "UnknownModel",
    "UnknownRun",
    "UnknownSandbox",
    "UnknownTask",
    "UnknownVersion",
    "UploadRefused",
    "UploadSpaceFull",
    "UploadsFailed",
    "UsageError",
]
