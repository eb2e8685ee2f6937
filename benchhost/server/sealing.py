"""What is sealed of a run, or of what a tenant has submitted under one: collected from the records of this host alone.

Nothing that a caller says of results goes into a receipt.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import Result
from benchhost.errors import ResultWithheld, RunRefused, UnknownRun
from benchhost.evaluation.evaluator import Evaluator
from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.probing import disclosed, may_sum, rounded
from benchhost.evaluation.requests import Context
from benchhost.receipts import Outcome, Receipt, SigningKey, Statement, seal
from benchhost.runner import source
from benchhost.runner.lock import is_locked
from benchhost.runner.run import stored_config
from benchhost.runner.summary import RunSummary
from benchhost.store import AttemptRecord, Evaluation, RunRecord, Store
from benchhost.tasks import Catalogue, key_of
from benchhost.wire.vals import PublicResult, ScoreAnswer, ScoreRequest, Verdict

KEY_FILE = "receipt.key"
"""Where a host keeps the key with which it signs, in its state folder."""

SEALABLE = frozenset({"complete", "errors", "incomplete"})
"""What a run is that can be sealed: one whose last session has ended by itself, whatever came of it."""

_judged = msgspec.json.Decoder(source.Verdict)
_summary = msgspec.json.Decoder(RunSummary)
_result = msgspec.json.Decoder(PublicResult)
_scored = msgspec.json.Decoder(ScoreAnswer)
_encode = msgspec.json.Encoder().encode


def signing_key(state: Path) -> SigningKey:
    """Return the key of the host with this state folder, which is made when there is none.

    Raises :class:`~benchhost.errors.UsageError` when there can be none.
    """
    return SigningKey.kept(state / KEY_FILE)


async def sealed_run(store: Store, record: RunRecord, state: Path, *, entries: bool = True) -> Receipt:
    """Seal a run that has ended. Of several attempts at a task and epoch the newest counts, and all are counted.

    Raises :class:`~benchhost.errors.RunRefused` when the run has not ended.
    """
    if record.status not in SEALABLE or is_locked(state, record.id) or record.summary is None:
        raise RunRefused(
            f"the run {record.id} is {record.status}: it can be sealed when it has ended. "
            f"If nobody carries it out, end it first: benchhost runs resume {record.id}"
        )
    config, summary = stored_config(record), _summary.decode(record.summary)
    selected = None if config.tasks is None else frozenset(config.tasks)
    outcomes: list[Outcome] = []
    versions: set[str] = set()
    async for page in store.attempts(record.id):
        for attempt in page:
            if (selected is None or attempt.task in selected) and attempt.epoch <= config.epochs:
                outcomes.append(_of_attempt(attempt))
                if attempt.evaluator_version is not None:
                    versions.add(attempt.evaluator_version)
    statement = _statement(
        outcomes,
        kind="run",
        run_id=record.id,
        tenant=record.tenant,
        benchmark=record.benchmark,
        dataset=record.dataset,
        dataset_version=config.dataset_version,
        evaluator_version=", ".join(sorted(versions)) or config.evaluator_version,
        judged_by=config.host or "",
        model=record.model,
        score=summary.score,
        tasks=config.task_count * config.epochs,
    )
    return await asyncio.to_thread(seal, statement, outcomes, signing_key(state), entries=entries)


async def sealed_score(
    benchmark: HostedBenchmark, evaluator: Evaluator, context: Context, state: Path, *, entries: bool = True
) -> Receipt:
    """Seal what a tenant has submitted under one run.

    Of several responses to a task the first that was judged counts, and all are counted: whoever tries until
    it fits is to be seen trying. The score is that of the whole dataset, where tasks without a response are missing.

    Raises :class:`~benchhost.errors.UnknownRun` when nothing was judged under that run,
    :class:`~benchhost.errors.RunRefused` when something still is, :class:`~benchhost.errors.ResultWithheld` when
    the policy of the dataset tells no sum of this, and what scoring raises.
    """
    policy = evaluator.policies.of(benchmark, context.dataset, context.tenant)
    evaluations = await evaluator.of_run(benchmark, context)
    if not evaluations:
        raise UnknownRun("Nothing that was submitted under this run is recorded, of that version of the dataset.")
    if any(each.status == "running" for each in evaluations):
        raise RunRefused("Something that was submitted under this run is still being judged. Ask again when it is.")
    by_task: dict[str, list[Evaluation]] = {}
    for each in evaluations:
        by_task.setdefault(each.task, []).append(each)
    counted = {task: min(several, key=_when) for task, several in by_task.items()}
    scored = [each for each in counted.values() if each.status == "scored"]
    if why := may_sum(len(scored), max((each.finished_at or 0.0 for each in scored), default=0.0), policy):
        raise ResultWithheld(why)
    in_sum = policy.feedback == "sum"
    await evaluator.tries.count_sum(policy, counted.values())
    catalogue = benchmark.catalogue(context.dataset, context.version or None)
    score = await _score(benchmark, context, catalogue, counted)
    statement = _statement(
        outcomes := [
            _of_evaluation(counted[task] if in_sum else disclosed(counted[task], policy), len(by_task[task]))
            for task in catalogue.ids
            if task in counted
        ],
        kind="score",
        run_id=context.run,
        tenant=context.tenant,
        benchmark=benchmark.name,
        dataset=catalogue.name,
        dataset_version=catalogue.fingerprint,
        evaluator_version=", ".join(sorted({each.evaluator_version for each in counted.values()})),
        judged_by="",
        model="",
        score=None if score is None else rounded(score, policy),
        tasks=len(catalogue.ids),
    )
    return await asyncio.to_thread(seal, statement, outcomes, signing_key(state), entries=entries and not in_sum)


async def _score(
    benchmark: HostedBenchmark, context: Context, catalogue: Catalogue, counted: Mapping[str, Evaluation]
) -> float | None:
    results = {
        task: None if (given := _result_of(counted.get(task))) is None else Verdict("evaluated", given)
        for task in catalogue.ids
    }
    if not any(results.values()):
        return None
    body = _encode(ScoreRequest(context.run, results, catalogue.name))
    answer = await benchmark.call("score", dataset=key_of(catalogue.name, catalogue.version), body=body)
    return _scored.decode(answer.data).final_score


def _result_of(evaluation: Evaluation | None) -> dict[str, Any] | None:
    if evaluation is None or evaluation.status != "scored" or evaluation.result is None:
        return None
    result: dict[str, Any] = msgspec.json.decode(evaluation.result)
    return result


def _statement(outcomes: Sequence[Outcome], *, tasks: int, **said: Any) -> Statement:
    scored = sum(each.score is not None for each in outcomes)
    return Statement(
        **said,
        tasks=tasks,
        given=len(outcomes),
        scored=scored,
        coverage=scored / tasks if tasks else None,
        responses=sum(each.responses for each in outcomes),
        results=0,
        results_root="",
        sealed_at=round(time.time(), 3),
    )


def _of_attempt(attempt: AttemptRecord) -> Outcome:
    judged = None if attempt.evaluation is None else _judged.decode(attempt.evaluation).result
    return Outcome(
        task=attempt.task,
        epoch=attempt.epoch,
        status=attempt.evaluation_status or attempt.status,
        score=None if judged is None else judged.score,
        result=None if judged is None else _digest(_public(judged)),
        response=attempt.response_digest or None,
        responses=attempt.number,
    )


def _of_evaluation(evaluation: Evaluation, responses: int) -> Outcome:
    scored = evaluation.status == "scored" and evaluation.result is not None
    return Outcome(
        task=evaluation.task,
        epoch=1,
        status="evaluated" if scored else "error",
        score=_result.decode(evaluation.result).score if scored and evaluation.result is not None else None,
        result=_digest(evaluation.result) if scored and evaluation.result is not None else None,
        response=evaluation.response_digest,
        responses=responses,
    )


def _when(evaluation: Evaluation) -> tuple[bool, float, str]:
    """Order evaluations: scored ones before others, then by the time at which they began."""
    return evaluation.status != "scored", evaluation.started_at, evaluation.id


def _public(result: Result) -> bytes:
    """Encode a result as callers see it."""
    return _encode(PublicResult(result.score, result.passed, result.metrics, result.feedback))


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
