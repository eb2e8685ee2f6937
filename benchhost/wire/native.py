"""Requests and answers of benchhost's own routes."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from benchhost.wire.vals import PublicResult, RunName, Status


class BatchItem(msgspec.Struct):
    """One response of a batch."""

    task_id: str
    response: str


class BatchRequest(msgspec.Struct):
    """Many responses of one run, to be judged in one call."""

    submissions: list[BatchItem]
    run_id: RunName = ""
    dataset: str | None = None


class BatchEvaluation(msgspec.Struct):
    """The verdict on the submission at ``index`` of the batch."""

    index: int
    task_id: str
    evaluation_id: str
    status: Status
    evaluator_version: str | None
    result: PublicResult | None
    errors: list[str]


class BatchAnswer(msgspec.Struct):
    """All verdicts of a batch, in the order of its submissions."""

    run_id: str
    evaluations: list[BatchEvaluation]


class Evaluation(msgspec.Struct):
    """One evaluation as it is recorded. Times are seconds since 1970, UTC.

    ``dataset_fingerprint`` is that of the dataset that it was judged against, ``dataset_version`` its label, if any.
    """

    evaluation_id: str
    benchmark: str
    dataset: str
    dataset_version: str | None
    dataset_fingerprint: str
    run_id: str
    task_id: str
    status: Literal["running", "evaluated", "error", "interrupted"]
    evaluator_version: str
    attempt: int
    result: PublicResult | None
    errors: list[str]
    started_at: float
    finished_at: float | None


class SealRequest(msgspec.Struct, forbid_unknown_fields=True):
    """What is to be sealed: a run, or what was submitted under a run id. Without ``entries`` no task is named."""

    run_id: Annotated[str, Meta(min_length=1)]
    dataset: str | None = None
    entries: bool = True


class ReceiptKey(msgspec.Struct):
    """The public key of a host. ``id`` is the beginning of its SHA-256, by which receipts name it."""

    id: str
    pem: str
    algorithm: str = "Ed25519"


class FieldProblem(msgspec.Struct):
    """What is wrong with one field of a request. The field's value is not repeated."""

    type: str
    loc: list[str | int]
    msg: str


class Problem(msgspec.Struct):
    """Every error answer (RFC 9457). ``detail`` is a sentence, or the list of fields that are wrong.

    When the error is ours, ``error_id``, or the ``evaluation_id`` of the response that was not scored,
    stands beside the cause in the log of the host.
    """

    type: str
    title: str
    status: int
    detail: str | list[FieldProblem]
    error_id: str | msgspec.UnsetType = msgspec.UNSET
    evaluation_id: str | msgspec.UnsetType = msgspec.UNSET


class Index(msgspec.Struct):
    """What is here: the benchmarks that are served, and where to read on."""

    framework_version: str
    benchmarks: list[str]
    plugins: str = "/v1/plugins"
    openapi: str = "/openapi.json"


class Plugin(msgspec.Struct):
    """An installed plugin and how it is. ``reason`` and ``message`` are there when it is faulty."""

    name: str
    state: Literal["loading", "serving", "faulty"]
    distribution: str
    distribution_version: str
    object: str
    version: str | None = None
    datasets: dict[str, int] | None = None
    reason: str | None = None
    message: str | None = None


class Plugins(msgspec.Struct):
    """Every installed benchmark plugin."""

    plugins: list[Plugin]


class Uploaded(msgspec.Struct):
    """What this host has received; ``size`` is in bytes."""

    key: str
    size: int
    sha256: str
