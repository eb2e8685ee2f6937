"""The score of a set of results, with its uncertainty and its coverage."""

from __future__ import annotations

import itertools
import math
import sys
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import msgspec

from benchhost.contract import FinalScore
from benchhost.scoring.estimators import Interval, student_t_interval, wilson_interval

BLOCK = 1024
"""How many results are looked at together."""


class Scored(Protocol):
    """What a summary wants of a result; a :class:`~benchhost.Result` is one."""

    @property
    def score(self) -> float: ...
    @property
    def passed(self) -> bool | None: ...
    @property
    def metrics(self) -> Mapping[str, float] | msgspec.UnsetType: ...


class Summary(msgspec.Struct, kw_only=True, frozen=True):
    """What a set of results says. No number in it is ever NaN or infinite; what is not known is ``None``.

    ``given`` results were asked for, ``scored`` of them have a score, and ``coverage`` is their share.
    ``mean`` is over the scored ones; so are its ``standard_error`` and ``interval``. The two bounds say
    what the missing ones could mean: ``missing_as_zero`` is the mean over all given ones,
    ``missing_left_out`` is ``mean`` again. ``passed`` of the ``judged`` results that have a verdict
    passed, which makes the ``pass_rate``. ``metrics`` are means, each over the results that have it.
    """

    given: int
    scored: int
    coverage: float | None
    mean: float | None
    standard_error: float | None
    interval: Interval | None
    missing_as_zero: float | None
    missing_left_out: float | None
    judged: int
    passed: int
    pass_rate: float | None
    metrics: dict[str, float]


def summarise(results: Mapping[str, Scored | None] | Iterable[Scored | None], level: float = 0.95) -> Summary:
    """Summarise results in one pass and little memory; ``None`` stands for a task that has no score.

    The interval is Wilson's when every score is 0 or 1, and Student's t otherwise; its ``method`` says
    which. Student's needs two scores, and ends at 0 and 1 when every score lies between them, as scores
    do by convention. Scores count as independent: epochs of one task are not, see
    :func:`~benchhost.scoring.clustered_standard_error`.

    Raises ``ValueError`` when a score or metric is not finite, or the level is not between 0 and 1.
    """
    given = judged = passed = 0
    scores = _Running("score")
    metrics: dict[str, _Running] = {}
    every = iter(results.values() if isinstance(results, Mapping) else results)
    while block := list(itertools.islice(every, BLOCK)):
        given += len(block)
        scored = [result for result in block if result is not None]
        scores.take([result.score for result in scored])
        verdicts = [result.passed for result in scored if result.passed is not None]
        judged += len(verdicts)
        passed += sum(verdicts)
        for measured in [result.metrics for result in scored if result.metrics]:
            for name, value in measured.items():
                metrics.setdefault(name, _Running(f"metric {name!r}")).add(value)
    mean = scores.mean()
    error = scores.standard_error()
    return Summary(
        given=given,
        scored=scores.count,
        coverage=scores.count / given if given else None,
        mean=mean,
        standard_error=error,
        interval=_interval(scores, mean, error, level),
        missing_as_zero=scores.mean(given),
        missing_left_out=mean,
        judged=judged,
        passed=passed,
        pass_rate=passed / judged if judged else None,
        metrics={name: average for name in sorted(metrics) if (average := metrics[name].mean()) is not None},
    )


def final_score(summary: Summary) -> FinalScore:
    """Make the final score: the mean as the score (0.0 when nothing is scored), everything else as metadata."""
    return FinalScore(
        score=0.0 if summary.mean is None else summary.mean,
        metadata=msgspec.to_builtins(summary),
    )


def _interval(scores: _Running, mean: float | None, error: float | None, level: float) -> Interval | None:
    if mean is None:
        return None
    if scores.binary:
        return wilson_interval(round(mean * scores.count), scores.count, level)
    if error is None:
        return None
    interval = student_t_interval(mean, error, scores.count - 1, level, bounded=scores.bounded)
    return interval if math.isfinite(interval.low) and math.isfinite(interval.high) else None


def _times(values: Sequence[float]) -> Mapping[float, int]:
    """Count how often each number comes: few do as scores, and each of these is reckoned with once."""
    ones, zeros = values.count(1.0), values.count(0.0)
    return {1.0: ones, 0.0: zeros} if ones + zeros == len(values) else Counter(values)


class _Running:
    """The mean and spread of numbers that come one by one.

    They are taken up in blocks. The sum is rounded once per block (``math.fsum``), so that a million
    ones have the mean 1.0; the squares are joined by the rule of Chan, Golub & LeVeque, *Updating
    Formulae and a Pairwise Algorithm for Computing Sample Variances* (1979).
    """

    # Taken up scaled by a power of two, which is exact, 2**32 of the largest floats still have a finite sum.
    SCALE = 2.0**-32

    def __init__(self, what: str) -> None:
        self.what = what
        self.count = 0
        self.binary = True
        self.bounded = True
        self._total = 0.0
        self._squares = 0.0
        self._waiting: list[float] = []

    def add(self, value: float) -> None:
        """Take up a number, when enough others wait with it."""
        self._waiting.append(value)
        if len(self._waiting) == BLOCK:
            self._settle()

    def take(self, values: Sequence[float]) -> None:
        """Take up a block of numbers."""
        if not values:
            return
        times = _times(values)
        if not all(map(math.isfinite, times)):
            raise ValueError(f"a {self.what} among the results is not a finite number; such a result has no summary")
        self.binary = self.binary and times.keys() <= {0.0, 1.0}
        block = [(value * self.SCALE, number) for value, number in times.items()]
        self.bounded = self.bounded and min(times) >= 0.0 and max(times) <= 1.0
        count, total = len(values), math.fsum(value * number for value, number in block)
        centre = total / count
        squares = sum(number * (value - centre) * (value - centre) for value, number in block)
        if self.count:
            apart = centre - self._total / self.count
            squares += apart * apart * (self.count * count / (self.count + count))
        self.count += count
        self._total = math.fsum((self._total, total))
        self._squares += squares

    def _settle(self) -> None:
        """Take up the numbers that still wait."""
        waiting, self._waiting = self._waiting, []
        self.take(waiting)

    def mean(self, count: int | None = None) -> float | None:
        """The mean, as if there were ``count`` numbers and the further ones were 0."""
        self._settle()
        count = self.count if count is None else count
        if not self.count or not count:
            return None if not count else 0.0
        largest = sys.float_info.max
        return min(max(self._total / count / self.SCALE, -largest), largest)

    def standard_error(self) -> float | None:
        """The standard error of the mean; ``None`` for fewer than two numbers, or when a float cannot hold it."""
        self._settle()
        if self.count < 2:
            return None
        error = math.sqrt(self._squares / (self.count - 1) / self.count) / self.SCALE
        return error if math.isfinite(error) else None
