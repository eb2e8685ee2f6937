"""What a run says, all in all: its score and how sure that is, what is missing, what failed, what it cost."""

from __future__ import annotations

import time
from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from benchhost.contract import EvaluationStatus, FinalScore, GenerationStatus, Result, Runner
from benchhost.models import Spend
from benchhost.runner.config import RunConfig
from benchhost.runner.exits import RunStatus
from benchhost.runner.failures import describe
from benchhost.runner.progress import ErrorClass
from benchhost.runner.source import Source, Verdict
from benchhost.scoring import (
    Interval,
    clustered_standard_error,
    mean,
    pass_at_k,
    student_t_interval,
    summarise,
    wilson_interval,
)
from benchhost.store import AttemptRecord, RunRecord, Store

MOST_SLICES = 40
"""A public field with more values than this is no way to slice results."""

_verdict = msgspec.json.Decoder(Verdict)
_spend = msgspec.json.Decoder(Spend)
_facets = msgspec.json.Decoder(dict[str, str | int | bool])

NO_FAILURE = frozenset({GenerationStatus.SUCCESS, GenerationStatus.MAX_TIME, GenerationStatus.MAX_TURNS})
"""How an attempt may end without there being an error to report."""


class SliceSummary(msgspec.Struct, frozen=True):
    """The results of the attempts at tasks that have one value in common."""

    given: int
    scored: int
    score: float | None
    interval: Interval | None


class RunSummary(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that can be said of a run as it is now. Nothing in it is NaN; what is not known is ``None``.

    ``given`` attempts are wanted (tasks times epochs); ``attempted`` were made, the newest counts where
    there are several, and ``scored`` of them have a score: their share is the ``coverage``. ``mean`` is
    over the scored ones, with its ``standard_error`` and ``interval``, which take the epochs of one task
    as going together. ``missing_as_zero`` and ``missing_left_out`` are what the missing ones could mean.

    ``score`` is the benchmark's own final score (``final``) where it has one, else the mean.
    ``pass_at`` has pass@k by k, when there are several epochs and the results say who passed.

    ``failures`` attempts ended in an error of whatever kind and ``unevaluated`` ones wait for a verdict;
    ``errors`` groups the failures, the largest group first. ``spend`` is that of the model in all
    attempts, superseded ones included, and ``judge_spend`` that of the judge. ``slices`` are by the
    public fields of tasks, and their values.
    """

    run: str
    benchmark: str
    dataset: str
    model: str
    label: str
    tasks: int
    epochs: int
    given: int
    attempted: int
    attempts: int
    scored: int
    coverage: float | None
    score: float | None
    mean: float | None
    standard_error: float | None
    interval: Interval | None
    missing_as_zero: float | None
    missing_left_out: float | None
    judged: int
    passed: int
    pass_rate: float | None
    pass_at: dict[str, float]
    metrics: dict[str, float]
    final: FinalScore | None
    final_error: str | None
    statuses: dict[str, int]
    evaluations: dict[str, int]
    failures: int
    unevaluated: int
    errors: list[ErrorClass]
    spend: Spend
    judge_spend: Spend
    slices: dict[str, dict[str, SliceSummary]]
    made_at: float


def status_of(summary: RunSummary, *, evaluate: bool = True) -> RunStatus:
    """Say how a run stands of which no session is under way; ``evaluate`` says whether verdicts are wanted by now."""
    if summary.attempted < summary.given:
        return "incomplete"
    if summary.failures or is_fruitless(summary):
        return "errors"
    if summary.unevaluated:
        return "incomplete" if evaluate else "generated"
    return "complete"


def is_fruitless(summary: RunSummary) -> bool:
    """Say whether a run has not a single score, nor a response that may still get one.

    Its attempts may all have been given up by the model, which is no error of any of them.
    """
    awaits = summary.unevaluated and summary.statuses.get(GenerationStatus.SUCCESS)
    return not (summary.scored or awaits)


async def summarise_run(
    store: Store, record: RunRecord, *, source: Source | None = None, runner: Runner[Any] | None = None
) -> RunSummary:
    """Summarise a run from its records, a page at a time.

    With ``source`` the benchmark is asked for its own final score, if it has one, and ``runner`` before it.
    """
    config = msgspec.json.decode(record.config, type=RunConfig)
    sums = _Sums(config)
    async for page in store.attempts(record.id, latest=False):
        for attempt in page:
            sums.add(attempt)
    final, final_error = None, None
    if source is not None:
        try:
            final = await _final_score(store, record, config, source, runner)
        except Exception as error:  # an author's hook may raise anything, and the rest of the summary stands
            final_error = describe(error)
    return sums.summary(record, final, final_error)


class _Sums:
    """Adds up attempts; keeps a few bytes of each."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._selected = None if config.tasks is None else frozenset(config.tasks)
        self._tasks: dict[str, int] = {}
        self._scores = array("d")
        self._clusters = array("q")
        self._passed = array("b")
        self._metrics: dict[str, array[float]] = {}
        self._statuses: Counter[str] = Counter()
        self._evaluations: Counter[str] = Counter()
        self._errors: dict[tuple[str, str], ErrorClass] = {}
        self._slices: dict[str, dict[str, _Slice]] = {}
        self._attempts = self._attempted = self._failures = self._unevaluated = 0
        self._spend, self._judge_spend = Spend(), Spend()

    def add(self, attempt: AttemptRecord) -> None:
        if self._selected is not None and attempt.task not in self._selected:
            return
        if attempt.epoch > self._config.epochs:
            return
        self._attempts += 1
        self._spend.add(_spend.decode(attempt.spend))
        verdict = None if attempt.evaluation is None else _verdict.decode(attempt.evaluation)
        if verdict is not None and verdict.spend is not None:
            self._judge_spend.add(verdict.spend)
        if not attempt.latest:
            return
        self._attempted += 1
        self._statuses[attempt.status] += 1
        if attempt.evaluation_status is not None:
            self._evaluations[attempt.evaluation_status] += 1
        self._note_failure(attempt)
        result = verdict.result if verdict is not None else None
        if result is not None:
            if self._config.epochs > 1:
                self._clusters.append(self._tasks.setdefault(attempt.task, len(self._tasks)))
            self._scores.append(result.score)
            self._passed.append(-1 if result.passed is None else result.passed)
            for name, value in result.metrics.items():
                self._metrics.setdefault(name, array("d")).append(value)
        self._slice(attempt, result)

    def _note_failure(self, attempt: AttemptRecord) -> None:
        judged = attempt.evaluation_status
        if attempt.status not in NO_FAILURE:
            status = attempt.status
        elif judged is None:
            self._unevaluated += 1
            return
        elif judged in (EvaluationStatus.EVALUATED, EvaluationStatus.DID_NOT_COMPLETE):
            return
        else:
            status = judged
        self._failures += 1
        found = self._errors.get((status, attempt.kind))
        if found is None:
            self._errors[status, attempt.kind] = ErrorClass(attempt.kind, status, 1, attempt.task, attempt.message)
        else:
            found.count += 1

    def _slice(self, attempt: AttemptRecord, result: Result | None) -> None:
        for field, value in _facets.decode(attempt.facets).items():
            values = self._slices.setdefault(field, {})
            if len(values) <= MOST_SLICES:  # one more is kept, by which it is known that there are too many
                named = str(value).lower() if isinstance(value, bool) else str(value)
                values.setdefault(named, _Slice()).add(result)

    def summary(self, record: RunRecord, final: FinalScore | None, final_error: str | None) -> RunSummary:
        config = self._config
        given = config.task_count * config.epochs
        missing = max(0, given - len(self._scores))
        whole = summarise(self._results(missing))
        error, interval = whole.standard_error, whole.interval
        if config.epochs > 1 and whole.mean is not None:
            error, interval = self._clustered(whole.mean)
        return RunSummary(
            run=record.id,
            benchmark=config.benchmark,
            dataset=config.dataset,
            model=config.model,
            label=record.label,
            tasks=config.task_count,
            epochs=config.epochs,
            given=given,
            attempted=self._attempted,
            attempts=self._attempts,
            scored=whole.scored,
            coverage=whole.coverage,
            score=whole.mean if final is None else final.score,
            mean=whole.mean,
            standard_error=error,
            interval=interval,
            missing_as_zero=whole.missing_as_zero,
            missing_left_out=whole.missing_left_out,
            judged=whole.judged,
            passed=whole.passed,
            pass_rate=whole.pass_rate,
            pass_at=self._pass_at(),
            metrics={name: mean(values) for name, values in sorted(self._metrics.items())},
            final=final,
            final_error=final_error,
            statuses=dict(self._statuses),
            evaluations=dict(self._evaluations),
            failures=self._failures,
            unevaluated=self._unevaluated,
            errors=sorted(self._errors.values(), key=lambda each: -each.count),
            spend=self._spend,
            judge_spend=self._judge_spend,
            slices={
                field: {value: one.summary() for value, one in sorted(values.items())}
                for field, values in sorted(self._slices.items())
                if 1 < len(values) <= MOST_SLICES
            },
            made_at=time.time(),
        )

    def _results(self, missing: int) -> Iterator[Result | None]:
        for score, passed in zip(self._scores, self._passed, strict=True):
            yield Result(score=score, passed=None if passed < 0 else bool(passed))
        for _ in range(missing):
            yield None

    def _clustered(self, centre: float) -> tuple[float | None, Interval | None]:
        """Return the standard error and the interval when the epochs of a task go together."""
        clusters = len(self._tasks)
        if clusters < 2:
            return None, None
        error = clustered_standard_error(self._scores, self._clusters)
        if not error and set(self._scores) <= {0.0, 1.0}:
            # Tasks that all came out alike have no spread to go by; Wilson's knows that they are a sample.
            return error, wilson_interval(round(centre * clusters), clusters)
        bounded = min(self._scores) >= 0.0 and max(self._scores) <= 1.0
        return error, student_t_interval(centre, error, clusters - 1, bounded=bounded)

    def _pass_at(self) -> dict[str, float]:
        epochs = self._config.epochs
        if epochs == 1 or not self._passed or min(self._passed) < 0:
            return {}
        made, passed = Counter(self._clusters), Counter[int]()
        for cluster, one in zip(self._clusters, self._passed, strict=True):
            passed[cluster] += one
        found = {}
        for k in range(1, epochs + 1):
            chances = [pass_at_k(number, passed[cluster], k) for cluster, number in made.items() if number >= k]
            if chances:
                found[str(k)] = mean(chances)
        return found


class _Slice:
    """The results of one value of one field."""

    def __init__(self) -> None:
        self._given = 0
        self._scores = array("d")

    def add(self, result: Result | None) -> None:
        self._given += 1
        if result is not None:
            self._scores.append(result.score)

    def summary(self) -> SliceSummary:
        said = summarise(Result(score=score) for score in self._scores)
        return SliceSummary(self._given, said.scored, said.mean, said.interval)


async def _final_score(
    store: Store, record: RunRecord, config: RunConfig, source: Source, runner: Runner[Any] | None
) -> FinalScore | None:
    """Ask the runner, then the benchmark, for a final score; of several epochs, for that of each."""
    own = runner is not None and type(runner).score is not Runner.score
    if not (own or source.scores):
        return None
    ids = source.ids if config.tasks is None else config.tasks
    epochs: list[dict[str, Result | None]] = [dict.fromkeys(ids) for _ in range(config.epochs)]
    async for page in store.attempts(record.id):
        for attempt in page:
            if attempt.epoch <= config.epochs and attempt.task in epochs[0] and attempt.evaluation is not None:
                epochs[attempt.epoch - 1][attempt.task] = _verdict.decode(attempt.evaluation).result
    finals: list[FinalScore] = []
    for results in epochs:
        final = await _score(record.id, config.dataset, results, source, runner if own else None)
        if final is None:
            return None
        finals.append(final)
    if len(finals) == 1:
        return finals[0]
    return FinalScore(
        score=mean([final.score for final in finals]), metadata={"epochs": [msgspec.to_builtins(f) for f in finals]}
    )


async def _score(
    run: str, dataset: str, results: Mapping[str, Result | None], source: Source, runner: Runner[Any] | None
) -> FinalScore | None:
    if runner is not None:
        final = await runner.score(results, dataset)
        if final is not None:
            return final
    return await source.score(run, results) if source.scores else None
