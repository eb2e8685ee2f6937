"""The engine: one session of one run, from its plan to its summary."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchhost.contract import GenerationResult, GenerationStatus, Model, Runner
from benchhost.errors import RunDrifted, RunRefused, StoreFailed
from benchhost.models import Limiter, PriceTable, Spend, load_prices
from benchhost.runner.account import Account, BudgetReached
from benchhost.runner.attempt import DESTROYED, LOST, MOST_LOST, Attempt, Workshop
from benchhost.runner.config import RunConfig, RunOptions, checked_run_id
from benchhost.runner.exits import ExitCode, RunStatus
from benchhost.runner.failures import describe
from benchhost.runner.fuse import Fuse
from benchhost.runner.judging import Judging
from benchhost.runner.lock import RunLock
from benchhost.runner.pace import Pace
from benchhost.runner.plan import Owed, Plan, Work, WorkLeft
from benchhost.runner.progress import Progress
from benchhost.runner.source import Source, Verdict
from benchhost.runner.summary import NO_FAILURE, RunSummary, is_fruitless, status_of, summarise_run
from benchhost.store import AttemptRecord, RunEvent, RunRecord, Store

_spend = msgspec.json.Decoder(Spend)
_verdict = msgspec.json.Decoder(Verdict)
_generation = msgspec.json.Decoder(GenerationResult)
_encode = msgspec.json.Encoder(enc_hook=str).encode


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """How a session ended: what the run is now, why if that needs saying, and the exit code of the command."""

    run: str
    status: RunStatus
    reason: str
    exit_code: ExitCode
    summary: RunSummary


class Run:
    """One session of a run: of a new one, or of one that was begun before and is carried on.

    ``state`` is the folder that all processes share that use ``store``; the lock of the run is in it, and
    logs and tracebacks of its attempts unless ``logs`` names another folder. ``limiter`` is the model's,
    to be shown with the progress and kept pace with. ``order`` is recorded with the session, for whoever
    carries the run on: what it was asked for with, as far as that is no part of the configuration, and
    without secrets.
    Neither ``source`` nor ``model`` nor ``store`` is closed.
    """

    def __init__(
        self,
        run_id: str,
        config: RunConfig,
        *,
        store: Store,
        source: Source,
        runner: Runner[Any],
        model: Model,
        state: Path,
        options: RunOptions | None = None,
        prices: PriceTable | None = None,
        limiter: Limiter | None = None,
        judge: Model | None = None,
        label: str = "",
        tenant: str = "",
        logs: Path | None = None,
        order: object = None,
    ) -> None:
        self.id = checked_run_id(run_id)
        self.config = config
        self.options = options or RunOptions()
        self.progress = Progress(run_id, limiter)
        self._pace = Pace(self.progress, limiter)
        self._store = store
        self._source = source
        self._runner = runner
        self._label = label
        self._order = order
        self._tenant = tenant
        self._state = state
        self._account = Account(self.options.max_cost, self.options.max_tokens_total)
        self._workshop = Workshop(
            run=run_id,
            config=config,
            source=source,
            runner=runner,
            model=model,
            judge=judge,
            prices=prices or load_prices(),
            account=self._account,
            logs=logs or state / "runs" / run_id,
        )
        self._fuse = Fuse()
        self._under_way: set[Attempt] = set()
        self._scope: anyio.CancelScope | None = None
        self._stopped_at_once = False

    def stop(self, reason: str = "stopped by hand") -> None:
        """Begin nothing more, and let finish what is under way; called again, stop that too."""
        if self.progress.stopping is None:
            self._stop(reason)
        else:
            self._stopped_at_once = True
            if self._scope is not None:
                self._scope.cancel()

    async def execute(self) -> Outcome:
        """Carry the run out, to its end or until it is stopped.

        Raises :class:`~benchhost.errors.RunDrifted` and :class:`~benchhost.errors.RunLocked`, and then
        nothing was changed. Any other exception is a failure of the engine, which is recorded as such;
        every attempt that was finished is kept, and the run can be carried on.
        """
        try:
            with RunLock(self._state, self.id):
                record = await self._begin()
                try:
                    await self._work()
                    return await self._end(record)
                except BaseException as error:
                    await self._break_off(record, error)
                    raise
        finally:
            self.progress.ended()

    # ---- beginning

    async def _begin(self) -> RunRecord:
        """Record the run, or find it and make sure that it is the same."""
        now = time.time()
        config = self.config
        record = RunRecord(
            id=self.id,
            tenant=self._tenant,
            benchmark=config.benchmark,
            dataset=config.dataset,
            model=config.model,
            label=self._label,
            digest=config.digest,
            config=_encode(config),
            status="running",
            created_at=now,
            updated_at=now,
        )
        if not await self._store.create_run(record):
            found = await self._store.run(self.id)
            if found is None or found.tenant != self._tenant:
                raise RunRefused(f"the id {self.id} is taken; choose another")
            drift = self._drift(stored_config(found))
            if drift:
                await self._note("drift", {name: list(values) for name, values in drift.items()})
            label = self._label or found.label
            record = msgspec.structs.replace(record, created_at=found.created_at, label=label)
            await self._store.update_run(record)
        await self._note("began", self.options)
        if self._order is not None:
            await self._note("order", self._order)
        return record

    def _drift(self, stored: RunConfig) -> dict[str, tuple[Any, Any]]:
        differences = stored.differences(self.config)
        refused = {name: values for name, values in differences.items() if name not in self.options.allow_drift}
        if refused:
            told = "; ".join(
                f"{name} was {_shown(name, old)}, is now {_shown(name, new)}" for name, (old, new) in refused.items()
            )
            allow = " ".join(f"--allow-drift {name}" for name in refused)
            raise RunDrifted(
                f"the run {self.id} began with another configuration: {told}. Begin a new run, or carry this one "
                f"on all the same with {allow}",
                refused,
            )
        return differences

    async def _plan(self) -> Plan:
        """Go through what is recorded, once."""
        config, progress = self.config, self.progress
        ids = self._source.ids if config.tasks is None else config.tasks
        plan = Plan(ids, config.epochs)
        progress.total = plan.size
        left = WorkLeft(self._source, config, self.options.retry)
        states: Counter[tuple[str, str | None, Work]] = Counter()
        async for page in self._store.attempts(self.id, latest=False):
            spend = Spend()
            for record in page:
                work = left.by(record)
                if plan.saw(record, work):
                    spend.add(_spend.decode(record.spend))
                    if record.evaluation is not None and b'"spend"' in record.evaluation:
                        self._saw_judge(record.evaluation)  # else there is no need to read it
                    if record.latest and work is not Work.GENERATE:
                        states[record.status, record.evaluation_status, work] += 1
                        if work is Work.NOTHING and record.score is not None:
                            progress.scored_earlier(record.score)
            progress.spend.add(spend)
            self._account.take(spend, config.model)
        for (status, judged, work), count in states.items():
            if status in NO_FAILURE:
                self._fuse.succeeded_earlier()
            finished = (work is Work.NOTHING and judged is not None) or not self.options.evaluate
            progress.counted_earlier(status, judged if work is Work.NOTHING else None, count, finished=finished)
        self._heed_account()
        return plan

    def _saw_judge(self, evaluation: bytes) -> None:
        spend = _verdict.decode(evaluation).spend or Spend()
        self.progress.judge_spend.add(spend)
        self._account.take(spend, self.config.judge or "the judge")

    # ---- working

    async def _work(self) -> None:
        """Make the attempts that are owed."""
        progress = self.progress
        plan = await self._plan()
        owed = plan.owed(self.options)
        if progress.stopping is None:
            progress.phase = "running"
        await self._runner.open()
        try:
            with _first_of_group(), anyio.CancelScope() as self._scope:
                if self._stopped_at_once:
                    self._scope.cancel()
                async with anyio.create_task_group() as tasks:
                    judging = Judging(tasks, self._workshop, self.options.evaluations, self._keep_verdicts)
                    for _ in range(min(self.options.concurrency, plan.size)):
                        tasks.start_soon(self._take_turns, owed, judging)
        finally:
            with anyio.CancelScope(shield=True):
                for attempt in list(self._under_way):
                    await self._leave(attempt)
                await self._runner.close()

    async def _take_turns(self, owed: Iterator[Owed], judging: Judging) -> None:
        """Make one attempt after the other, as long as there are any."""
        while await self._goes_on() and (one := next(owed, None)) is not None:
            attempt = Attempt(self._workshop, one.task_id, one.epoch, one.number)
            self._under_way.add(attempt)
            if one.work is Work.GENERATE:
                if not await self._generate(attempt):
                    await self._leave(attempt)
                    continue
            else:
                await self._recall(attempt)
            if not self.options.evaluate:
                self.progress.finished(None)
                await self._leave(attempt)
                continue
            verdict = attempt.verdict_without_judge()
            if verdict is not None:
                await self._keep_verdicts([(attempt, verdict)])
            else:
                self.progress.evaluating += 1
                await judging.submit(attempt)

    async def _leave(self, attempt: Attempt) -> None:
        """Be done with an attempt."""
        self._under_way.discard(attempt)
        await attempt.workplace.close()

    async def _goes_on(self) -> bool:
        """Wait until another attempt should begin; ``False`` if none should any more."""
        await self._pace.wait()
        return self.progress.stopping is None

    async def _generate(self, attempt: Attempt) -> bool:
        """Make an attempt and keep it; ``False`` if it was not one, since the run is stopping."""
        progress = self.progress
        progress.generating += 1
        try:
            record = await attempt.generate()
            if record.kind == LOST and await self._lost_before(attempt):
                record = attempt.destroyed()
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), contextlib.suppress(StoreFailed):
                await self._keep_cancelled(attempt)
            raise
        finally:
            progress.generating -= 1
        self._heed_account()
        if record.status == GenerationStatus.CANCELLED and record.kind in ("circuit_open", BudgetReached.kind):
            self._stop(record.message)
            if _cost_something(attempt):
                await self._keep_attempt(attempt, record)
            return False
        await self._keep_attempt(attempt, record)
        if (alike := self._fuse.generated(record)) is not None:
            self._stop(alike)
        return True

    async def _keep_attempt(self, attempt: Attempt, record: AttemptRecord) -> None:
        await self._store.keep_attempts([record])
        progress = self.progress
        progress.generated += 1
        progress.statuses[record.status] += 1
        progress.spend.add(attempt.spend)
        if record.status not in NO_FAILURE:
            progress.failed(record.status, record.kind, record.task, record.message)

    async def _keep_cancelled(self, attempt: Attempt) -> None:
        """Keep what an attempt that is broken off has cost, if it has cost anything."""
        if _cost_something(attempt):
            result = GenerationResult(
                task_id=attempt.task_id, status=GenerationStatus.CANCELLED, data="", error="the run was stopped at once"
            )
            await self._keep_attempt(attempt, attempt.record(result))

    async def _settled(self, attempt: Attempt, verdict: Verdict) -> Verdict:
        """Take no sandbox for lost again and again: what destroys it is then what was done in it."""
        return DESTROYED if verdict.kind == LOST and await self._lost_before(attempt) else verdict

    async def _lost_before(self, attempt: Attempt) -> bool:
        """Say whether so many sandboxes were lost with this task that it is no accident."""
        records = await self._store.attempts_at(self.id, attempt.task_id)
        lost = {each.number for each in records if each.epoch == attempt.epoch and each.kind == LOST}
        return len(lost - {attempt.number}) + 1 >= MOST_LOST

    async def _recall(self, attempt: Attempt) -> None:
        """Give an attempt the response that it gave in an earlier session."""
        for record in await self._store.attempts_at(self.id, attempt.task_id):
            if (record.epoch, record.number) == (attempt.epoch, attempt.number) and record.generation is not None:
                attempt.result = _generation.decode(record.generation)
                if record.evaluation is not None:
                    attempt.judge_spend = _verdict.decode(record.evaluation).spend or Spend()
                return
        raise StoreFailed(f"the response to {attempt.task_id} in run {self.id} is gone from the store")

    async def _keep_verdicts(self, verdicts: Sequence[tuple[Attempt, Verdict]]) -> None:
        verdicts = [(attempt, await self._settled(attempt, verdict)) for attempt, verdict in verdicts]
        records = [attempt.judged(verdict) for attempt, verdict in verdicts]
        await self._store.keep_verdicts(records)
        for attempt, _ in verdicts:
            await self._leave(attempt)
        progress = self.progress
        for (attempt, verdict), record in zip(verdicts, records, strict=True):
            succeeded = attempt.result is not None and attempt.result.status is GenerationStatus.SUCCESS
            progress.evaluating -= succeeded
            progress.evaluated += succeeded  # of any other there was nothing to be judged
            progress.evaluations[record.evaluation_status] += 1
            progress.finished(record.score)
            if verdict.spend is not None:
                progress.judge_spend.add(verdict.spend)
            if succeeded and record.message:
                progress.failed(record.evaluation_status, record.kind, record.task, record.message)
            if succeeded and (alike := self._fuse.judged(record)) is not None:
                self._stop(alike)
        self._heed_account()

    def _heed_account(self) -> None:
        if self._account.warning is not None:
            self.progress.warn(self._account.warning)
        if self._account.stopped is not None:
            self._stop(self._account.stopped)

    def _stop(self, reason: str) -> None:
        if self.progress.stopping is None:
            self.progress.stopping = reason
            self.progress.phase = "stopping"

    # ---- ending

    async def _end(self, record: RunRecord) -> Outcome:
        self.progress.phase = "scoring"
        with anyio.CancelScope(shield=True):
            summary = await summarise_run(self._store, record, source=self._source, runner=self._runner)
            status = self._status(summary)
            fruitless = status == "errors" and is_fruitless(summary)
            reason = self.progress.stopping or ("nothing was scored" if fruitless else "")
            ended = msgspec.structs.replace(
                record, status=status, reason=reason, summary=_encode(summary), updated_at=time.time()
            )
            await self._store.update_run(ended)
            await self._note("ended", {"status": status, "reason": reason})
        exit_code = self._exit_code(status, summary)
        return Outcome(run=self.id, status=status, reason=reason, exit_code=exit_code, summary=summary)

    def _status(self, summary: RunSummary) -> RunStatus:
        if self.progress.stopping is not None:
            return "incomplete"
        return status_of(summary, evaluate=self.options.evaluate)

    def _exit_code(self, status: RunStatus, summary: RunSummary) -> ExitCode:
        if self.progress.stopping is not None:
            return ExitCode.INCOMPLETE
        if summary.final_error is not None:
            return ExitCode.HARNESS_FAILURE
        if self.progress.errors_count():
            return ExitCode.TASK_ERRORS
        if self.options.only is not None:
            return ExitCode.TASK_ERRORS if is_fruitless(summary) else ExitCode.COMPLETE
        return {"incomplete": ExitCode.INCOMPLETE, "errors": ExitCode.TASK_ERRORS}.get(status, ExitCode.COMPLETE)

    async def _break_off(self, record: RunRecord, error: BaseException) -> None:
        """Record that the engine failed, or was cancelled from outside, if that can still be recorded."""
        cancelled = isinstance(error, anyio.get_cancelled_exc_class() | KeyboardInterrupt)
        status: RunStatus = "incomplete" if cancelled else "failed"
        reason = "cancelled" if cancelled else describe(error)
        with anyio.CancelScope(shield=True), contextlib.suppress(StoreFailed):
            await self._store.update_run(
                msgspec.structs.replace(record, status=status, reason=reason, updated_at=time.time())
            )
            await self._note("ended", {"status": status, "reason": reason})

    async def _note(self, kind: str, data: object) -> None:
        await self._store.note(RunEvent(run=self.id, at=time.time(), kind=kind, data=_encode(data)))


def stored_config(record: RunRecord) -> RunConfig:
    """Read the configuration of a recorded run.

    Raises :class:`~benchhost.errors.RunRefused` when it was recorded by a benchhost that knew other fields.
    """
    try:
        return msgspec.json.decode(record.config, type=RunConfig)
    except msgspec.DecodeError as error:
        raise RunRefused(
            f"the configuration of run {record.id} cannot be read by this benchhost ({error}); begin a new run"
        ) from error


def _cost_something(attempt: Attempt) -> bool:
    return attempt.spend.calls > attempt.spend.failures


def _shown(name: str, value: object) -> str:
    if name == "tasks":
        return f"{len(value)} tasks" if isinstance(value, tuple) else "all tasks"
    text = _encode(value).decode()
    return text if len(text) <= 100 else f"{text[:99]}…"


@contextlib.contextmanager
def _first_of_group() -> Iterator[None]:
    """Raise the first exception of a group in its place: the others are its consequences."""
    try:
        yield
    except BaseExceptionGroup as group:
        error: BaseException = group
        while isinstance(error, BaseExceptionGroup):
            error = error.exceptions[0]
        raise error from error.__cause__
