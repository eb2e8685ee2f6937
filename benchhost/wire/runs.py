"""Requests and answers of the routes that start runs and show them."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from benchhost.contract import Sampling, Usage

Status = Literal["running", "complete", "generated", "errors", "incomplete", "failed", "interrupted"]
"""How a run is. ``interrupted``: it was under way in a process that is gone."""

MOST_AT_ONCE = 500
"""The most attempts of one run that a caller may have generated at once."""

Positive = Annotated[int, Meta(ge=1)]
Amount = Annotated[float, Meta(ge=0)]


class AgentFile(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A file of an agent: its content, as text or as base64."""

    text: str | None = None
    base64: bytes | None = None
    executable: bool = False


class AgentSent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """An agent: what its ``contract.yaml`` says, as an object, and the files that lie beside it, by their paths."""

    contract: dict[str, Any]
    files: Annotated[dict[str, AgentFile], Meta(max_length=1000)] = {}


class RunRequest(msgspec.Struct, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is to be run. Keys that are not known are refused: a misspelt limit would cost money.

    ``dataset_version`` is the label or the fingerprint of a version of the dataset, the current one without it.
    ``task_ids`` or a ``slice`` choose tasks, of which a ``sample`` (by ``seed``) or the first ``limit``
    are taken. An ``agent`` takes the place of a ``runner``. ``timeout`` is in seconds, for tasks that have none of
    their own. ``max_cost`` is in USD.
    """

    model: Annotated[str, Meta(min_length=1, max_length=200, description="provider/name")]
    dataset: str | None = None
    dataset_version: Annotated[str, Meta(min_length=1, max_length=1024)] | None = None
    task_ids: Annotated[list[str], Meta(min_length=1)] | None = None
    slice: str | None = None
    sample: Positive | None = None
    seed: int = 0
    limit: Positive | None = None
    sampling: Sampling = Sampling()
    judge: Annotated[str, Meta(min_length=1, max_length=200)] | None = None
    runner: str | None = None
    agent: AgentSent | None = None
    params: dict[str, Any] = {}
    epochs: Annotated[int, Meta(ge=1, le=1000)] = 1
    max_connections: Annotated[int, Meta(ge=1, le=MOST_AT_ONCE)] | None = None
    timeout: Annotated[float, Meta(gt=0)] | None = None
    max_cost: Amount | None = None
    max_tokens_total: Annotated[int, Meta(ge=0)] | None = None
    label: Annotated[str, Meta(max_length=200)] = ""
    run_id: Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")] | None = None


class RunInterval(msgspec.Struct):
    """An interval that covers the true value in a share ``level`` of all samples."""

    low: float
    high: float
    level: float
    method: str


class RunError(msgspec.Struct):
    """Failures of one class: how many there are, and one of them. ``message`` is empty where it may tell too much."""

    kind: str
    status: str
    count: int
    task_id: str
    message: str


class RunSpend(msgspec.Struct):
    """What calls took. ``cost`` is in USD, the whole of it when no call is ``unpriced``; times are in seconds."""

    calls: int
    failures: int
    cached: int
    unpriced: int
    retries: int
    latency: float
    waited: float
    cost: float
    usage: Usage


class RunSlice(msgspec.Struct):
    """The results of tasks that have one value in common."""

    given: int
    scored: int
    score: float | None
    interval: RunInterval | None


class RunFinal(msgspec.Struct):
    """The benchmark's own score of the results."""

    score: float
    metadata: dict[str, Any] = {}


class RunSummary(msgspec.Struct):
    """What a session of a run came to. Of ``given`` wanted attempts, ``scored`` have a score: the ``coverage``.

    ``score`` is the benchmark's own (``final``) where it has one, else the ``mean``; ``missing_as_zero``
    and ``missing_left_out`` are what the missing ones could mean.
    """

    given: int
    attempted: int
    attempts: int
    scored: int
    coverage: float | None
    score: float | None
    mean: float | None
    standard_error: float | None
    interval: RunInterval | None
    missing_as_zero: float | None
    missing_left_out: float | None
    judged: int
    passed: int
    pass_rate: float | None
    pass_at: dict[str, float]
    metrics: dict[str, float]
    final: RunFinal | None
    final_error: str | None
    statuses: dict[str, int]
    evaluations: dict[str, int]
    failures: int
    unevaluated: int
    errors: list[RunError]
    spend: RunSpend
    judge_spend: RunSpend
    slices: dict[str, dict[str, RunSlice]]


class RunProgress(msgspec.Struct):
    """How far a run under way has come. Of ``total`` attempts ``done`` are finished, ``earlier`` in sessions before.

    ``rate`` is in finished attempts per second, ``seconds_left`` the guess that follows from it.
    ``calls``, ``calls_limit`` and ``calls_waiting`` are those of the model at this moment.
    """

    phase: str
    seconds: float
    total: int
    done: int
    earlier: int
    generated: int
    evaluated: int
    generating: int
    evaluating: int
    statuses: dict[str, int]
    evaluations: dict[str, int]
    errors: list[RunError]
    score: float | None
    interval: RunInterval | None
    cost: float
    unpriced: int
    judge_cost: float
    usage: Usage
    rate: float | None
    seconds_left: float | None
    calls: int | None
    calls_limit: int | None
    calls_waiting: int | None
    warnings: list[str]
    stopping: str | None


class Run(msgspec.Struct, kw_only=True):
    """A run as it is now. ``progress`` is there while it is under way, ``summary`` when a session of it has ended.

    ``reason`` says why it stopped, where that is known, or that nothing was scored. Times are seconds since 1970, UTC.
    """

    run_id: str
    benchmark: str
    dataset: str
    dataset_version: str
    evaluator_version: str
    model: str
    judge: str | None
    sampling: Sampling
    runner: str
    runner_version: str
    params: dict[str, Any]
    epochs: int
    timeout: float | None
    tasks: int
    label: str
    status: Status
    reason: str
    created_at: float
    updated_at: float
    progress: RunProgress | None
    summary: RunSummary | None


class RunOverview(msgspec.Struct, kw_only=True):
    """A run in a list. ``score``, ``interval`` and ``coverage`` are those of the session that ended last.

    ``cost`` is in USD, the whole of it when no call is ``unpriced``.
    """

    run_id: str
    dataset: str
    model: str
    label: str
    status: Status
    reason: str
    tasks: int
    epochs: int
    score: float | None
    interval: RunInterval | None
    coverage: float | None
    cost: float | None
    unpriced: int | None
    created_at: float
    updated_at: float


class Runs(msgspec.Struct):
    """Runs, the newest first. ``next`` is the ``before`` of the next page, or null on the last one."""

    runs: list[RunOverview]
    next: str | None
