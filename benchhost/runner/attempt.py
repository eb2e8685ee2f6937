"""One attempt at one task: prompt, generation under a budget of time, and a record of what came of it."""

from __future__ import annotations

import asyncio
import hashlib
import time
import traceback
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from benchhost.contract import (
    Call,
    Context,
    EvaluationStatus,
    GenerationResult,
    GenerationStatus,
    Model,
    Result,
    Runner,
    Task,
)
from benchhost.errors import UnknownTask
from benchhost.log import mask
from benchhost.models import PriceTable, Spend, TimeBudget
from benchhost.runner.account import Account, Charged
from benchhost.runner.config import RunConfig
from benchhost.runner.failures import Failure, failure_of
from benchhost.runner.names import folder_name
from benchhost.runner.source import Source, Verdict
from benchhost.runner.workplace import Workplace
from benchhost.store import AttemptRecord, AttemptVerdict

LONGEST_LABEL = 200
"""The most characters of a task's id that its sandbox is labelled with."""

LONGEST_FACET = 64
"""The most characters of a public field by which results may be sliced."""

_OF_A_JUDGE = {
    GenerationStatus.ERROR: EvaluationStatus.ERROR,
    GenerationStatus.CANCELLED: EvaluationStatus.CANCELLED,
}
"""What a failure of a judge is called; any other is of the provider or the host."""

LOST = "sandbox-lost"
"""The kind of an attempt, or a verdict, for which the sandbox was gone too early."""

MOST_LOST = 3
"""With how many sandboxes lost, one for each attempt at a task, it is taken for the doing of who works in them."""

DESTROYED = Verdict(
    status=EvaluationStatus.DID_NOT_COMPLETE,
    kind="sandbox-destroyed",
    errors=(f"the sandbox was gone too early in {MOST_LOST} attempts: what was done in it has ended it",),
)
"""The verdict then. It is final, and nobody's failure but the submitter's."""

_encode = msgspec.json.Encoder().encode
_public = msgspec.json.Decoder(dict[str, Any])


class Workshop(msgspec.Struct, frozen=True, kw_only=True):
    """What all attempts of a run share. ``logs`` is the folder for logs and tracebacks."""

    run: str
    config: RunConfig
    source: Source
    runner: Runner[Any]
    model: Model
    judge: Model | None
    prices: PriceTable
    account: Account
    logs: Path


class Attempt:
    """An attempt that is made now, or whose response was generated earlier and is to be judged now.

    ``spend`` is what the model took, and ``judge_spend`` what all judges took that have judged its response.
    """

    def __init__(self, workshop: Workshop, task_id: str, epoch: int, number: int) -> None:
        self.task_id = task_id
        self.epoch = epoch
        self.number = number
        self.result: GenerationResult | None = None
        self.spend = Spend()
        self.judge_spend = Spend()
        labels = {"run": workshop.run, "task": task_id[:LONGEST_LABEL], "attempt": f"{epoch}.{number}"}
        self.workplace = Workplace(workshop.source, task_id, labels)
        self._kind: str | None = None
        self._workshop = workshop
        self._began = time.time()

    async def generate(self) -> AttemptRecord:
        """Have the runner make the attempt. Whatever the runner raises is in the record; nothing is raised."""
        shop = self._workshop
        failure: Failure | None = None
        try:
            task = self._task()
            seconds = task.timeout if task.timeout is not None else shop.config.timeout
            budget = TimeBudget(seconds if seconds is None or seconds > 0 else None)
            context = self._context(budget, self.spend)
            with budget:
                given = await shop.runner.generate(task, context.model, context)
            if budget.exceeded:
                said = f"generation timed out after {seconds:g} seconds"
                result = self._result(GenerationStatus.MAX_TIME, error=said)
            else:
                result = self._checked(given)
        except (Exception, SystemExit, asyncio.CancelledError) as error:
            if is_cancelled(error):
                raise
            # A runner's code may raise anything, and it is this task's error alone.
            failure = failure_of(error)
            if failure.status is GenerationStatus.INFRA_ERROR and await self.workplace.is_gone():
                failure = msgspec.structs.replace(failure, kind=LOST)
            result = self._result(failure.status, error=failure.message)
            if not failure.told:
                self._keep_traceback(error)
        return self.record(result, failure)

    def record(self, result: GenerationResult, failure: Failure | None = None) -> AttemptRecord:
        """Make the record of a generation, with the evaluation where that needs no judge."""
        shop = self._workshop
        task_digest, task = self._known_of_task()
        result.data = _sayable(result.data)
        result.error = None if result.error is None else str(mask(_sayable(result.error)))
        result.question = result.question or task.get("question")
        result.model = result.model or shop.model.name
        result.generation_version = result.generation_version or shop.config.runner_version
        if self._folder().is_dir():
            result.log_dir = result.log_dir or str(self._folder())
        self.result = result
        self._kind = failure.kind if failure else kind_of(result)
        now = time.time()
        return AttemptRecord(
            run=shop.run,
            task=self.task_id,
            epoch=self.epoch,
            number=self.number,
            task_digest=task_digest,
            facets=_encode(facets_of(task)),
            status=result.status.value,
            kind=self._kind,
            message=result.error or "",
            retriable=failure.retriable if failure else result.status.retriable,
            response_digest=response_digest(result.data),
            spend=_encode(self.spend),
            started_at=self._began,
            generated_at=now,
            generation=_encode(result),
        )

    def destroyed(self) -> AttemptRecord:
        """Make the record of a generation that has ended its sandbox, as others before it have: no other is made."""
        [said] = DESTROYED.errors
        failure = Failure(GenerationStatus.ERROR, DESTROYED.kind, said, retriable=False, told=True)
        return self.record(self._result(failure.status, error=said), failure)

    async def evaluate(self) -> Verdict | None:
        """Have the runner judge its generation; ``None`` when it leaves that to the benchmark."""
        assert self.result is not None
        shop = self._workshop
        spend = Spend()
        try:
            context = self._context(TimeBudget(None), spend, judge=shop.judge)
            result = await shop.runner.evaluate(self._task(), self.result, context)
            if result is None:
                return None
            if not isinstance(result, Result):
                raise TypeError(f"evaluate returned {type(result).__name__}, expected a benchhost.Result or None")
            result = Result(score=result.score, passed=result.passed, metrics=result.metrics, feedback=result.feedback)
        except (Exception, SystemExit, asyncio.CancelledError) as error:  # as in generate
            if is_cancelled(error):
                raise
            failure = failure_of(error)
            self._keep_traceback(error)
            status = _OF_A_JUDGE.get(failure.status, EvaluationStatus.INFRA_ERROR)
            return Verdict(status=status, kind=failure.kind, errors=(failure.message,), spend=spend)
        return Verdict(status=EvaluationStatus.EVALUATED, result=result, spend=spend)

    async def judged_in_its_sandbox(self) -> Verdict:
        """Have the benchmark judge what was done in the sandbox of this attempt."""
        verdict = await self.workplace.judge(self._workshop.run)
        if verdict.status.retriable and await self.workplace.is_gone():
            return msgspec.structs.replace(verdict, status=EvaluationStatus.INFRA_ERROR, kind=LOST)
        return verdict

    def verdict_without_judge(self) -> Verdict | None:
        """Return the verdict on a generation that is no success: there is nothing to judge in it."""
        assert self.result is not None
        return verdict_without_judge(self.result, self._kind)

    def judged(self, verdict: Verdict) -> AttemptVerdict:
        """Make the record of a verdict."""
        assert self.result is not None
        shop = self._workshop
        failed = verdict.status not in (EvaluationStatus.EVALUATED, EvaluationStatus.DID_NOT_COMPLETE)
        recorded = verdict
        if verdict.spend is not None or self.judge_spend.calls:  # earlier verdicts are replaced, and were paid for
            self.judge_spend.add(verdict.spend or Spend())
            recorded = msgspec.structs.replace(verdict, spend=self.judge_spend)
        return AttemptVerdict(
            run=shop.run,
            task=self.task_id,
            epoch=self.epoch,
            number=self.number,
            response_digest=response_digest(self.result.data),
            kind=verdict.kind,
            message=verdict.errors[0] if failed and verdict.errors else "",
            evaluation_status=verdict.status.value,
            evaluator_version=verdict.evaluator_version or shop.config.evaluator_version,
            score=verdict.result.score if verdict.result is not None else None,
            evaluation=_encode(recorded),
            evaluated_at=time.time(),
        )

    def _known_of_task(self) -> tuple[str, dict[str, Any]]:
        """Return the digest and the public part of the task; nothing, if it has gone from the dataset."""
        source = self._workshop.source
        try:
            return source.digest(self.task_id), _public.decode(source.public(self.task_id))
        except UnknownTask:
            return "", {}

    def _task(self) -> Task:
        shop = self._workshop
        return msgspec.json.decode(shop.source.task(self.task_id), type=shop.runner.task_model)

    def _context(self, budget: TimeBudget, spend: Spend, judge: Model | None = None) -> Context:
        shop = self._workshop
        source = shop.source
        reference = source.reference
        call = Call(
            task_id=self.task_id,
            epoch=self.epoch,
            reference=None if reference is None else lambda: reference(self.task_id),
            waiting=budget.waiting,
        )
        sampling = shop.config.sampling
        return Context(
            task_id=self.task_id,
            epoch=self.epoch,
            attempt=self.number,
            model=Charged(shop.model, shop.prices, shop.account, spend, sampling=sampling, call=call),
            judge=judge and Charged(judge, shop.prices, shop.account, spend, sampling=None, call=call),
            sampling=sampling,
            params=shop.runner.params,
            call=call,
            prompt=lambda: source.prompt(self.task_id),
            environment=self.workplace.environment,
            sandbox=lambda: self.workplace.sandbox(budget.waiting),
            log_dir=self._make_folder,
            seconds_left=lambda: budget.left,
        )

    def _checked(self, given: object) -> GenerationResult:
        if isinstance(given, str):
            return self._result(GenerationStatus.SUCCESS, data=given)
        if not isinstance(given, GenerationResult):
            raise TypeError(
                f"the runner's generate returned {type(given).__name__}, expected a str or a benchhost.GenerationResult"
            )
        if given.task_id != self.task_id:
            raise ValueError(f"the runner's generate answered task {given.task_id!r} when asked for {self.task_id!r}")
        return msgspec.convert(msgspec.structs.asdict(given), GenerationResult)  # which checks every field

    def _result(self, status: GenerationStatus, *, data: str = "", error: str | None = None) -> GenerationResult:
        return GenerationResult(task_id=self.task_id, status=status, data=data, error=error)

    def _folder(self) -> Path:
        return self._workshop.logs / folder_name(self.task_id) / f"epoch-{self.epoch}" / f"attempt-{self.number}"

    def _make_folder(self) -> Path:
        folder = self._folder()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _keep_traceback(self, error: BaseException) -> None:
        text = str(mask("".join(traceback.format_exception(error))))
        (self._make_folder() / "traceback.txt").write_text(text, "utf-8", "backslashreplace")


def is_cancelled(error: BaseException) -> bool:
    """Say whether an exception is the cancellation of this attempt, not one of something inside of the runner."""
    task = asyncio.current_task()
    return isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling() > 0


def verdict_without_judge(result: GenerationResult, kind: str | None = None) -> Verdict | None:
    """Return the verdict on a generation that is no success, and ``None`` for one that is; ``kind`` is its class."""
    if result.status is GenerationStatus.SUCCESS:
        return None
    if kind == DESTROYED.kind:
        return DESTROYED
    status = EvaluationStatus.GENERATION_ERROR
    if result.status in (GenerationStatus.MAX_TIME, GenerationStatus.MAX_TURNS):
        status = EvaluationStatus.DID_NOT_COMPLETE
    elif result.status is GenerationStatus.CANCELLED:
        status = EvaluationStatus.CANCELLED
    return Verdict(status=status, kind=kind or kind_of(result), errors=(result.error,) if result.error else ())


def kind_of(result: GenerationResult) -> str:
    """Return the class of a generation's failure when nothing more is known than its status."""
    return "" if result.status is GenerationStatus.SUCCESS else result.status.value


def response_digest(data: str) -> str:
    """Return the SHA-256 of a response, in hexadecimal."""
    return hashlib.sha256(data.encode()).hexdigest()


def facets_of(task: Mapping[str, Any]) -> dict[str, str | int | bool]:
    """Return the public fields of a task by which results may be sliced: short texts, whole numbers, truth values."""
    return {
        name: value
        for name, value in task.items()
        if name not in ("id", "question", "timeout")
        and isinstance(value, str | int)
        and (not isinstance(value, str) or len(value) <= LONGEST_FACET)
    }


def _sayable(text: str) -> str:
    """Replace halves of characters, which no encoding can say: a model may give them."""
    return text.encode("utf-8", "replace").decode()
