"""What a store keeps of runs: the run itself, each of its attempts, and what happened to it.

The structs can be part of no cycle, and there are many of them at once: the garbage collector need not
look at them (``gc=False``). Times are in seconds since 1970. What is ``bytes`` is JSON that only the
engine reads.
"""

from __future__ import annotations

import msgspec

OPERATOR = "@operator"
"""The tenant of runs that are begun at the command line. No caller is ever called that, so none sees them."""

REQUESTED = "requested"
"""The kind of the event that holds what a caller asked for over HTTP, as JSON."""


class RunRecord(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One run. ``config`` is its resolved configuration and ``digest`` the digest of that.

    ``reason`` says why it is in its ``status``, where there is a reason. ``summary`` is that of the
    session that ended at ``updated_at``; there is none while a session is under way.
    """

    id: str
    tenant: str = ""
    benchmark: str
    dataset: str
    model: str
    label: str = ""
    digest: str
    config: bytes
    status: str
    reason: str = ""
    created_at: float
    updated_at: float
    summary: bytes | None = None


class RunEvent(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Something that happened to a run: a session that began or ended, a drift that was allowed."""

    run: str
    at: float
    kind: str
    data: bytes = b"{}"


class AttemptRecord(msgspec.Struct, frozen=True, gc=False):
    """One attempt at a task: what was generated, and what was thought of it.

    ``number`` counts the attempts at one task and epoch, from 1; ``latest`` marks the newest of them.
    ``kind`` is the class of the error and ``message`` the error, where there is one. ``facets`` are the
    public fields of the task by which results are sliced. ``generation`` is large and is left out
    (``None``) unless it is asked for. The fields of the evaluation are empty until there is one.
    """

    run: str
    task: str
    epoch: int
    number: int
    task_digest: str
    response_digest: str
    status: str
    started_at: float
    generated_at: float
    kind: str = ""
    message: str = ""
    retriable: bool = False
    latest: bool = True
    facets: bytes = b"{}"
    spend: bytes = b"{}"
    evaluation_status: str | None = None
    evaluator_version: str | None = None
    score: float | None = None
    evaluation: bytes | None = None
    evaluated_at: float | None = None
    generation: bytes | None = None


class AttemptVerdict(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What was thought of an attempt. It is kept only while the response has the digest that was judged."""

    run: str
    task: str
    epoch: int
    number: int
    response_digest: str
    kind: str = ""
    message: str = ""
    evaluation_status: str
    evaluator_version: str | None
    score: float | None
    evaluation: bytes
    evaluated_at: float


OF_THE_ATTEMPT = ("run", "task", "epoch", "number", "response_digest")
"""The fields of a verdict that say which attempt is meant; the others replace those of the attempt."""
