"""What can be said of a score from a sample of tasks: how large it is, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from statistics import NormalDist
from typing import Literal

import msgspec

from benchhost.scoring.student import student_t_quantile


class Interval(msgspec.Struct, kw_only=True, frozen=True):
    """An interval that covers the true value in a share ``level`` of all samples; ``method`` says how it was made."""

    low: float
    high: float
    level: float
    method: Literal["wilson", "student-t", "bonett-price", "bootstrap"]


def mean(values: Sequence[float]) -> float:
    """Return the arithmetic mean, summed without rounding on the way (``math.fsum``).

    Raises ``ValueError`` when there are no values.
    """
    if not values:
        raise ValueError("the mean of no values is not defined")
    return math.fsum(values) / len(values)


def standard_error(values: Sequence[float]) -> float:
    """Return the standard error of the mean of independent values: ``s / sqrt(n)``, ``s`` with divisor ``n - 1``.

    Source: the central limit theorem as in Miller, *Adding Error Bars to Evals* (2024), arXiv
    2411.00640, section 2.

    Raises ``ValueError`` for fewer than two values, whose spread is unknown.
    """
    if len(values) < 2:
        raise ValueError(f"a standard error needs two values or more, not {len(values)}")
    centre = mean(values)
    squares = math.fsum((value - centre) ** 2 for value in values)
    return math.sqrt(squares / (len(values) - 1) / len(values))


def clustered_standard_error(values: Sequence[float], clusters: Sequence[Hashable]) -> float:
    """Return the standard error of the mean when values of one cluster (questions on one text, epochs) go together.

    ``clusters[i]`` is the cluster of ``values[i]``. The formula is ``sqrt(G / (G - 1) * sum over
    clusters of (sum of the deviations in the cluster) ** 2) / n`` with ``G`` clusters: the clustered
    standard error of Miller (2024), arXiv 2411.00640, with the factor for few clusters of Cameron &
    Miller, *A Practitioner's Guide to Cluster-Robust Inference* (2015). With one value per cluster it
    is :func:`standard_error`. Its interval has ``G - 1`` degrees of freedom.

    Raises ``ValueError`` for fewer than two clusters, or when the lengths differ.
    """
    if len(values) != len(clusters):
        raise ValueError(f"there are {len(values)} values, but {len(clusters)} names of clusters")
    members: dict[Hashable, list[float]] = {}
    for value, cluster in zip(values, clusters, strict=True):
        members.setdefault(cluster, []).append(value)
    if len(members) < 2:
        raise ValueError(f"a clustered standard error needs two clusters or more, not {len(members)}")
    centre = mean(values)
    squares = math.fsum(math.fsum(value - centre for value in group) ** 2 for group in members.values())
    return math.sqrt(squares * len(members) / (len(members) - 1)) / len(values)


def wilson_interval(successes: int, trials: int, level: float = 0.95) -> Interval:
    """Return the score interval of a proportion, which stays honest for few trials and for shares near 0 and 1.

    Source: Wilson, *Probable Inference, the Law of Succession, and Statistical Inference*, JASA 22
    (1927); recommended by Brown, Cai & DasGupta, *Interval Estimation for a Binomial Proportion* (2001).

    Raises ``ValueError`` unless ``0 <= successes <= trials``, ``trials >= 1`` and ``0 < level < 1``.
    """
    if trials < 1 or not 0 <= successes <= trials:
        raise ValueError(f"there is no proportion of {successes} successes in {trials} trials")
    z = NormalDist().inv_cdf((1.0 + checked_level(level)) / 2)
    share = successes / trials
    centre = share + z * z / (2 * trials)
    half = z * math.sqrt(share * (1 - share) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    # At the ends the formula gives exactly 0 and 1, which rounding may miss by a hair.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == trials else (centre + half) / scale
    return Interval(low=low, high=high, level=level, method="wilson")


def student_t_interval(
    mean: float, standard_error: float, degrees: int, level: float = 0.95, *, bounded: bool = False
) -> Interval:
    """Return the interval ``mean ± t * standard_error`` with ``t`` of ``degrees`` of freedom (values less one).

    ``bounded`` says that no value lies beyond 0 and 1. Then no mean does either, so the interval is cut off there and
    holds the true mean as often as before (Mandelkern, *Setting Confidence Intervals for Bounded Parameters*, 2002).

    Source: Student, *The Probable Error of a Mean*, Biometrika 6 (1908).

    Raises ``ValueError`` unless ``degrees >= 1`` and ``0 < level < 1``.
    """
    half = student_t_quantile((1.0 + checked_level(level)) / 2, degrees) * standard_error
    low, high = mean - half, mean + half
    if bounded:
        low, high = max(0.0, low), min(1.0, high)
    return Interval(low=low, high=high, level=level, method="student-t")


def pass_at_k(attempts: int, passed: int, k: int) -> float:
    """Return the chance that one of ``k`` attempts passes, estimated without bias from ``attempts`` of one task.

    It is ``1 - C(attempts - passed, k) / C(attempts, k)``, as the numerically stable product of Chen et
    al., *Evaluating Large Language Models Trained on Code* (2021), arXiv 2107.03374, section 2.1. The
    pass@k of a benchmark is the mean of this over its tasks.

    Raises ``ValueError`` unless ``0 <= passed <= attempts`` and ``1 <= k <= attempts``.
    """
    if not 0 <= passed <= attempts:
        raise ValueError(f"{passed} of {attempts} attempts cannot have passed")
    if not 1 <= k <= attempts:
        raise ValueError(f"pass@{k} cannot be estimated from {attempts} attempts: k is from 1 to the attempts made")
    if attempts - passed < k:
        return 1.0
    return 1.0 - math.prod(1.0 - k / n for n in range(attempts - passed + 1, attempts + 1))


def checked_level(level: float) -> float:
    """Return the level of an interval.

    Raises ``ValueError`` unless ``0 < level < 1``.
    """
    if not 0.0 < level < 1.0:
        raise ValueError(f"the level of an interval lies between 0 and 1, like 0.95; it is {level!r}")
    return level
