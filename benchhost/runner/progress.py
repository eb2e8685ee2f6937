"""How far a run has come, for whoever shows it: a display, a log, a stream of events."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import AsyncIterator

import msgspec

from benchhost.contract import GenerationStatus, Usage
from benchhost.models import Limiter, Spend
from benchhost.scoring import Interval, student_t_interval, wilson_interval

RATE_OVER = 60.0
"""Seconds over which the rate is averaged."""


class ErrorClass(msgspec.Struct):
    """Failures of one class: how many there are, and one of them."""

    kind: str
    status: str
    count: int
    task_id: str
    message: str


class Snapshot(msgspec.Struct, kw_only=True):
    """The state of a run at one moment; everything in it may be sent as JSON.

    ``total`` attempts are wanted (tasks times epochs), ``done`` of them are finished (``earlier`` in
    sessions before this one). ``generated`` have a response or an error, ``evaluated`` a verdict of the judge.
    ``generating`` and ``evaluating`` are under way. ``score`` is the mean so far. ``rate`` is in finished
    attempts per second, ``seconds_left`` the guess that follows from it. ``calls``, ``calls_limit`` and
    ``calls_waiting`` are those of the model at this moment.
    """

    run: str
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
    errors: list[ErrorClass]
    score: float | None
    interval: Interval | None
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


class Progress:
    """Counts what the engine tells it. Reading it costs the engine nothing.

    ``phase`` is ``planning``, ``running``, ``stopping``, ``scoring`` or ``ended``. Counts of statuses are
    those of the newest attempt at each task and epoch.
    """

    def __init__(self, run: str, limiter: Limiter | None = None) -> None:
        self.run = run
        self.phase = "planning"
        self.total = self.done = self.earlier = self.generated = self.evaluated = 0
        self.generating = self.evaluating = 0
        self.statuses: Counter[str] = Counter()
        self.evaluations: Counter[str] = Counter()
        self.errors: dict[tuple[str, str], ErrorClass] = {}
        self.spend = Spend()
        self.judge_spend = Spend()
        self.warnings: list[str] = []
        self.stopping: str | None = None
        self._scores = _RunningScore()
        self._limiter = limiter
        self._began = time.monotonic()
        self._finished: deque[float] = deque(maxlen=1000)
        self._ended = asyncio.Event()

    def snapshot(self) -> Snapshot:
        """Say how far it has come by now."""
        rate = self._rate()
        left = self.total - self.done
        limiter = self._limiter
        return Snapshot(
            run=self.run,
            phase=self.phase,
            seconds=time.monotonic() - self._began,
            total=self.total,
            done=self.done,
            earlier=self.earlier,
            generated=self.generated,
            evaluated=self.evaluated,
            generating=self.generating,
            evaluating=self.evaluating,
            statuses=dict(self.statuses),
            evaluations=dict(self.evaluations),
            errors=sorted(self.errors.values(), key=lambda error: -error.count),
            score=self._scores.mean,
            interval=self._scores.interval(),
            cost=self.spend.cost,
            unpriced=self.spend.unpriced,
            judge_cost=self.judge_spend.cost,
            usage=self.spend.usage,
            rate=rate,
            seconds_left=left / rate if rate and left > 0 else None,
            calls=limiter.in_use if limiter else None,
            calls_limit=limiter.limit if limiter else None,
            calls_waiting=limiter.waiting if limiter else None,
            warnings=list(self.warnings),
            stopping=self.stopping,
        )

    async def watch(self, every: float = 0.5) -> AsyncIterator[Snapshot]:
        """Yield a snapshot now, one every so many seconds, and a last one when the run has ended."""
        while not self._ended.is_set():
            yield self.snapshot()
            try:
                await asyncio.wait_for(self._ended.wait(), every)
            except TimeoutError:
                continue
        yield self.snapshot()

    def finished(self, score: float | None) -> None:
        """Count an attempt as finished now; ``score`` is that of its result, if it has one."""
        self.done += 1
        self._finished.append(time.monotonic())
        if score is not None:
            self._scores.add(score)

    def counted_earlier(self, status: str, judged: str | None, count: int, *, finished: bool) -> None:
        """Count generations of earlier sessions that ended alike, and that were judged alike if they were."""
        self.generated += count
        self.statuses[status] += count
        if judged is not None:
            self.evaluations[judged] += count
            if status == GenerationStatus.SUCCESS:  # of any other there was nothing to be judged
                self.evaluated += count
        if finished:
            self.done += count
            self.earlier += count

    def scored_earlier(self, score: float) -> None:
        """Take the score of an attempt that an earlier session finished."""
        self._scores.add(score)

    def failed(self, status: str, kind: str, task_id: str, message: str) -> None:
        """Count a failure under its class; the first one of a class is its example."""
        found = self.errors.get((status, kind))
        if found is None:
            self.errors[status, kind] = ErrorClass(kind, status, 1, task_id, message)
        else:
            found.count += 1

    def errors_count(self) -> int:
        """Return how many failures were seen since this began."""
        return sum(error.count for error in self.errors.values())

    def warn(self, text: str) -> None:
        """Add a warning for people, once."""
        if text not in self.warnings:
            self.warnings.append(text)

    def ended(self) -> None:
        """Say that nothing changes any more."""
        self.phase = "ended"
        self._ended.set()

    def _rate(self) -> float | None:
        now = time.monotonic()
        recent = [moment for moment in self._finished if now - moment <= RATE_OVER]
        return len(recent) / (now - recent[0]) if len(recent) > 1 and now > recent[0] else None


class _RunningScore:
    """The mean of scores that come one by one, and its interval, at any moment and at no cost.

    The sums are those of Welford, *Note on a Method for Calculating Corrected Sums of Squares and
    Products* (1962). The summary of a run takes more care; this is for a display.
    """

    def __init__(self) -> None:
        self._count = 0
        self._mean = 0.0
        self._squares = 0.0
        self._binary = True
        self._bounded = True

    @property
    def mean(self) -> float | None:
        return self._mean if self._count else None

    def add(self, score: float) -> None:
        self._count += 1
        apart = score - self._mean
        self._mean += apart / self._count
        self._squares += apart * (score - self._mean)
        self._binary = self._binary and score in (0.0, 1.0)
        self._bounded = self._bounded and 0.0 <= score <= 1.0

    def interval(self) -> Interval | None:
        if not self._count:
            return None
        if self._binary:
            return wilson_interval(min(self._count, max(0, round(self._mean * self._count))), self._count)
        error = math.sqrt(self._squares / (self._count - 1) / self._count) if self._count > 1 else math.inf
        if not math.isfinite(error):
            return None
        return student_t_interval(self._mean, error, self._count - 1, bounded=self._bounded)
