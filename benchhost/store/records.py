"""What a store keeps, and what it is given to keep.

The structs can be part of no cycle, and there are many of them at once: the garbage collector need not
look at them (``gc=False``).
"""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["running", "scored", "error", "interrupted"]
"""``running``: somebody judges it now. ``scored``: it has a result, for good. ``error``: it could not be
judged, and may be tried again. ``interrupted``: whoever judged it is gone; it may be tried again."""


class Evaluation(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One evaluation: what is judged, and how far that has come. As it is first made, it claims to be judged.

    ``id`` stands for the identity (tenant, benchmark, fingerprint, run, task, response and evaluator):
    two of one id are the same evaluation. ``owner`` is the process that judges it, or wants to.
    ``started_at`` and ``finished_at`` are in seconds since 1970. ``dataset_version`` is the label of the version of
    the dataset, which is empty where its author has declared none; what was judged against is what ``fingerprint``
    says.

    ``attempt`` counts from 1. The fields after it say what came of that attempt, and are empty until then:
    ``result`` is the JSON of the result's public part, ``private`` that of the part that never leaves
    the host; ``errors`` are what the submitter may read, ``cause`` (a traceback, say) is for the
    operator alone.
    """

    id: str
    tenant: str
    benchmark: str
    dataset: str
    fingerprint: str
    run: str
    task: str
    response_digest: str
    evaluator_version: str
    owner: str
    started_at: float
    dataset_version: str = ""
    status: Status = "running"
    attempt: int = 1
    result: bytes | None = None
    private: bytes | None = None
    errors: tuple[str, ...] = ()
    cause: str | None = None
    finished_at: float | None = None


OUTCOME = ("status", "result", "private", "errors", "cause", "finished_at")
"""The fields that say what came of an evaluation."""


class Claimed(msgspec.Struct, frozen=True, gc=False):
    """The answer to a claim.

    ``mine`` tells the claimant to judge the response now, as ``evaluation.attempt``. Otherwise the
    evaluation is scored already, or somebody judges it at the moment.
    """

    mine: bool
    evaluation: Evaluation


EVERYBODY = "@everybody"
"""The tenant of tries that are counted of all tenants together. No caller is ever called that."""


class Try(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A response to a task, by which a tenant may find out something. ``evaluation`` is the one that would judge it."""

    tenant: str
    benchmark: str
    dataset: str
    task: str
    response_digest: str
    evaluation: str


class Tried(msgspec.Struct, frozen=True, gc=False):
    """The answer to a try: whether the response may be judged, and which evaluation was the first to judge it."""

    allowed: bool
    first: str


def running(claim: Evaluation, attempt: int) -> Evaluation:
    """Make the record of an attempt that begins now."""
    return Evaluation(
        id=claim.id,
        tenant=claim.tenant,
        benchmark=claim.benchmark,
        dataset=claim.dataset,
        fingerprint=claim.fingerprint,
        run=claim.run,
        task=claim.task,
        response_digest=claim.response_digest,
        evaluator_version=claim.evaluator_version,
        owner=claim.owner,
        started_at=claim.started_at,
        dataset_version=claim.dataset_version,
        attempt=attempt,
    )
