"""Which of two runs is better, and how sure that is: they are compared task by task.

Tasks differ far more in difficulty than good models differ in skill. Comparing the two scores of each
task takes that out, which is why the difference of two runs is known much better than either score
(Miller, *Adding Error Bars to Evals* (2024), arXiv 2411.00640, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import NormalDist

import msgspec

from benchhost.scoring.bootstrap import RESAMPLES, bootstrap_interval
from benchhost.scoring.estimators import Interval, checked_level, mean, standard_error, student_t_interval
from benchhost.scoring.student import student_t_quantile

POWER = 0.8
"""The chance to notice the minimum detectable effect."""

LARGEST = 1e150
"""Scores beyond this are not compared: the squares of their differences would not be numbers."""


class Comparison(msgspec.Struct, kw_only=True, frozen=True):
    """What two runs say of each other. No number in it is ever NaN or infinite; what is not known is ``None``.

    Everything but the last two fields is about the ``tasks`` tasks that have a score in both runs, each
    of which counts the same, however many epochs it was attempted in. ``first`` and ``second`` are the
    means of the runs there, and ``difference`` is ``second - first``: it is positive when the second
    run is better. ``standard_error`` and ``interval`` belong to the difference.

    ``binary`` says that there is one score for each task and that it is 0 or 1. Only then there are
    ``both_right``, ``both_wrong`` and ``p_value``, which is that of :func:`mcnemar`. Otherwise there is
    ``bootstrap``, a second interval of the difference, which does not take it to be normally distributed.

    ``minimum_detectable`` is how large a true difference must be for such a comparison to find it, in
    four cases of five. ``won`` are the tasks at which the second run is better, ``lost`` those at which
    the first is, and ``tied`` is how many there are besides. ``only_first`` and ``only_second`` have a
    score in one run only.
    """

    tasks: int
    binary: bool
    first: float | None
    second: float | None
    difference: float | None
    standard_error: float | None
    interval: Interval | None
    bootstrap: Interval | None
    p_value: float | None
    minimum_detectable: float | None
    won: tuple[str, ...]
    lost: tuple[str, ...]
    tied: int
    both_right: int | None
    both_wrong: int | None
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]


def compare(
    first: Mapping[str, Sequence[float]],
    second: Mapping[str, Sequence[float]],
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Comparison:
    """Compare two runs, each given as the scores of every task: one for each epoch, none where nothing was scored.

    The tasks are the sample. Scores of one task are first averaged, so that the epochs of a task go
    together, as they must: with the same number of epochs everywhere, this is the standard error
    clustered by task of :func:`~benchhost.scoring.clustered_standard_error`. The interval is that of
    the paired t test (Student 1908), or :func:`paired_binary_interval` when every score is 0 or 1.

    ``resamples`` and ``seed`` are for :func:`~benchhost.scoring.bootstrap_interval`.

    Raises ``ValueError`` when a score is not finite or is beyond ``LARGEST``, or unless ``0 < level < 1``.
    """
    checked_level(level)
    ours, theirs = _scored(first), _scored(second)
    common = [task for task in ours if task in theirs]
    before, after = [mean(ours[task]) for task in common], [mean(theirs[task]) for task in common]
    differences = [new - old for old, new in zip(before, after, strict=True)]
    won = tuple(task for task, difference in zip(common, differences, strict=True) if difference > 0)
    lost = tuple(task for task, difference in zip(common, differences, strict=True) if difference < 0)
    binary = bool(common) and all(
        len(run[task]) == 1 and run[task][0] in (0, 1) for run in (ours, theirs) for task in common
    )
    right = sum(old == new == 1 for old, new in zip(before, after, strict=True))
    tied = len(common) - len(won) - len(lost)
    difference = mean(differences) if common else None
    error = standard_error(differences) if len(common) > 1 else None
    interval = bootstrap = None
    if binary:
        interval = paired_binary_interval(len(won), len(lost), len(common), level)
    elif difference is not None and error is not None:
        interval = student_t_interval(difference, error, len(common) - 1, level)
        bootstrap = bootstrap_interval(differences, level, resamples=resamples, seed=seed)
    return Comparison(
        tasks=len(common),
        binary=binary,
        first=mean(before) if common else None,
        second=mean(after) if common else None,
        difference=difference,
        standard_error=error,
        interval=interval,
        bootstrap=bootstrap,
        p_value=mcnemar(len(won), len(lost)) if binary else None,
        minimum_detectable=minimum_detectable_effect(error, len(common) - 1, level) if error else None,
        won=won,
        lost=lost,
        tied=tied,
        both_right=right if binary else None,
        both_wrong=tied - right if binary else None,
        only_first=tuple(task for task in ours if task not in theirs),
        only_second=tuple(task for task in theirs if task not in ours),
    )


def mcnemar(won: int, lost: int) -> float:
    """Return the exact two-sided p-value of McNemar's test.

    If neither run were better, each of the ``n = won + lost`` tasks on which they disagree would be won
    or lost like the toss of a coin. The p-value is the chance of tosses at least as one-sided as
    these: ``min(1, 2 * sum over i from 0 to min(won, lost) of C(n, i) / 2 ** n)``. Source: McNemar, *Note
    on the Sampling Error of the Difference Between Correlated Proportions or Percentages*,
    Psychometrika 12 (1947), in the exact form of a sign test.

    Raises ``ValueError`` for negative numbers.
    """
    if won < 0 or lost < 0:
        raise ValueError(f"there are no {won} won and {lost} lost tasks")
    tosses, rarer = won + lost, min(won, lost)
    if won == lost:
        return 1.0
    # The terms are summed from the largest one down, each made of the one before, in logarithms at first.
    largest = math.lgamma(tosses + 1) - math.lgamma(rarer + 1) - math.lgamma(tosses - rarer + 1)
    total = term = math.exp(largest + (1 - tosses) * math.log(2))
    for count in range(rarer, 0, -1):
        term *= count / (tosses - count + 1)
        if total + term == total:
            break
        total += term
    return min(1.0, total)


def paired_binary_interval(won: int, lost: int, tasks: int, level: float = 0.95) -> Interval:
    """Return the interval of the difference of two proportions on the same tasks.

    With ``n`` tasks, a share ``p`` of ``(won + 1) / (n + 2)`` and ``q`` of ``(lost + 1) / (n + 2)``, it
    is ``p - q ± z * sqrt((p + q - (p - q) ** 2) / (n + 2))``. Unlike that of the paired t test, it does
    not shrink to a point when two runs agree on a few tasks. Source: Bonett & Price, *Adjusted Wald
    Confidence Interval for a Difference of Binomial Proportions Based on Paired Data*, Journal of
    Educational and Behavioral Statistics 37 (2012).

    Raises ``ValueError`` unless ``won + lost <= tasks``, ``tasks >= 1`` and ``0 < level < 1``.
    """
    if tasks < 1 or min(won, lost) < 0 or won + lost > tasks:
        raise ValueError(f"{won} won and {lost} lost tasks are not among {tasks}")
    z = NormalDist().inv_cdf((1.0 + checked_level(level)) / 2)
    p, q = (won + 1) / (tasks + 2), (lost + 1) / (tasks + 2)
    half = z * math.sqrt((p + q - (p - q) ** 2) / (tasks + 2))
    return Interval(low=max(-1.0, p - q - half), high=min(1.0, p - q + half), level=level, method="bonett-price")


def minimum_detectable_effect(standard_error: float, degrees: int, level: float = 0.95, power: float = POWER) -> float:
    """Return the true difference that a two-sided test at ``1 - level`` finds with the chance ``power``.

    It is ``standard_error * (t(1 - (1 - level) / 2) + t(power))``, with the quantiles of Student's
    distribution with ``degrees`` of freedom. Source: Bloom, *Minimum Detectable Effects: A Simple Way to
    Report the Statistical Power of Experimental Designs*, Evaluation Review 19 (1995); for evaluations,
    Miller (2024), arXiv 2411.00640, section 5.

    Raises ``ValueError`` unless ``degrees >= 1``, ``0 < level < 1`` and ``0 < power < 1``.
    """
    level = checked_level(level)
    return standard_error * (student_t_quantile((1 + level) / 2, degrees) + student_t_quantile(power, degrees))


def _scored(run: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Keep the tasks that have scores, all of which must be numbers to reckon with."""
    for task, scores in run.items():
        for score in scores:
            if not abs(score) <= LARGEST:
                raise ValueError(f"the score {score!r} of task {task!r} cannot be compared")
    return {task: scores for task, scores in run.items() if len(scores)}
