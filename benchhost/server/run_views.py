"""Runs as callers see them: without what an exception may have quoted of hidden answers, files or addresses.

Messages are for the operator unless it is known who wrote them: a model's errors are scrubbed where they
are made, and a judge's say no more than every caller of ``/v1/evaluate`` is told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import TypeVar

import msgspec

from benchhost.contract import EvaluationStatus, GenerationStatus
from benchhost.errors import ModelError
from benchhost.models import Spend
from benchhost.runner.account import BUDGET, BudgetReached
from benchhost.runner.agent.runner import ITS_FAILURES
from benchhost.runner.config import OF_AGENT, RunConfig
from benchhost.runner.progress import Snapshot
from benchhost.runner.run import stored_config
from benchhost.store import RunRecord
from benchhost.wire import runs as wire

WITHHELD = "The operator of the host can see the message."

STOPPED = "the host was stopped"
RELOADED = "the plugins were loaded anew"
CANCELLED = "cancelled by a caller"
INTERRUPTED = "the host ended while the run was under way"
NOT_CARRIED_ON = "it cannot be carried on: "

STARTING = 5.0
"""Seconds within which a run that was recorded is locked by the process that carries it out."""

_OURS = (STOPPED, RELOADED, CANCELLED, INTERRUPTED, NOT_CARRIED_ON, BUDGET, "nothing says what ")

_ALIKE = re.compile(r"\d+ (?:attempts|evaluations) in a row failed alike \([\w. -]*\)")

WireT = TypeVar("WireT", wire.RunSummary, wire.RunProgress)


class _Gist(msgspec.Struct):
    """What the list of runs needs of a summary."""

    score: float | None = None
    interval: wire.RunInterval | None = None
    coverage: float | None = None
    spend: Spend | None = None
    judge_spend: Spend | None = None


_summary = msgspec.json.Decoder(wire.RunSummary)
_gist = msgspec.json.Decoder(_Gist)


def run_of(record: RunRecord, *, locked: bool, progress: wire.RunProgress | None) -> wire.Run:
    """Show a run. ``locked`` says whether a process carries it out at this moment."""
    config = stored_config(record)
    status = _status(record, locked)
    return wire.Run(
        run_id=record.id,
        benchmark=record.benchmark,
        dataset=record.dataset,
        dataset_version=config.dataset_version,
        evaluator_version=config.evaluator_version,
        model=record.model,
        judge=config.judge,
        sampling=config.sampling,
        runner=config.runner,
        runner_version=config.runner_version,
        params=config.params,
        epochs=config.epochs,
        timeout=config.timeout,
        tasks=config.task_count,
        label=record.label,
        status=status,
        reason=public_reason(record.reason),
        created_at=record.created_at,
        updated_at=record.updated_at,
        progress=progress if status == "running" else None,
        summary=None
        if record.summary is None
        else _summary_of(record.summary, of_agent=config.runner.startswith(OF_AGENT)),
    )


def overview_of(record: RunRecord, *, locked: bool) -> wire.RunOverview:
    """Show a run in a list."""
    config: RunConfig = stored_config(record)
    gist = _Gist() if record.summary is None else _gist.decode(record.summary)
    spends = [spend for spend in (gist.spend, gist.judge_spend) if spend is not None]
    return wire.RunOverview(
        run_id=record.id,
        dataset=record.dataset,
        model=record.model,
        label=record.label,
        status=_status(record, locked),
        reason=public_reason(record.reason),
        tasks=config.task_count,
        epochs=config.epochs,
        score=gist.score,
        interval=gist.interval,
        coverage=gist.coverage,
        cost=sum(spend.cost for spend in spends) if spends else None,
        unpriced=sum(spend.unpriced for spend in spends) if spends else None,
        created_at=record.created_at,
        updated_at=record.updated_at,
    )


def progress_of(snapshot: Snapshot) -> wire.RunProgress:
    """Show how far a run has come."""
    shown = msgspec.convert(snapshot, wire.RunProgress, from_attributes=True)
    shown.stopping = None if shown.stopping is None else public_reason(shown.stopping) or "stopping"
    shown.warnings = [warning for warning in map(public_reason, shown.warnings) if warning]
    return _scrubbed(shown)


def public_reason(reason: str) -> str:
    """Return as much of a reason as callers may know."""
    if reason.startswith(_OURS):
        return reason
    if alike := _ALIKE.match(reason):
        return alike[0]
    return _of_model(reason) or (WITHHELD if reason else "")


def public_message(status: str, message: str) -> str:
    """Return as much of an attempt's error as callers may know."""
    if status == EvaluationStatus.JUDGE_ERROR or not message:
        return message
    return _of_model(message) or WITHHELD


def _status(record: RunRecord, locked: bool) -> wire.Status:
    fresh = locked or time.time() - record.updated_at <= STARTING
    said = record.status
    if said == "incomplete" and record.reason == RELOADED and fresh:
        said = "running"  # it is about to be carried on
    elif said == "running" and not fresh:
        said = "interrupted"
    status: wire.Status = msgspec.convert(said, wire.Status)
    return status


def _summary_of(recorded: bytes, *, of_agent: bool) -> wire.RunSummary:
    summary = _scrubbed(_summary.decode(recorded), of_agent=of_agent)
    if summary.final_error is not None:
        summary.final_error = f"The benchmark's own score could not be had. {WITHHELD}"
    return summary


def _scrubbed(shown: WireT, *, of_agent: bool = False) -> WireT:
    for error in shown.errors:
        # What becomes of an agent is told by what it said itself in its sandbox, where nothing is that it may not tell.
        own = of_agent and error.status == GenerationStatus.ERROR and error.message.startswith(ITS_FAILURES)
        error.message = error.message if own else public_message(error.status, error.message)
    return shown


def _of_model(message: str) -> str | None:
    """Return the message of a model's error, without its causes; ``None`` when it is that of something else."""
    first = message.partition(" ← ")[0]
    return first if first.startswith(_MODEL_ERRORS) else None


def _descendants(cls: type[BaseException]) -> Iterator[type[BaseException]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _descendants(child)


_MODEL_ERRORS = tuple(f"{cls.__name__}: " for cls in _descendants(ModelError))
assert f"{BudgetReached.__name__}: " in _MODEL_ERRORS
