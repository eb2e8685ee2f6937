"""Judging answers and stating scores: helpers for the authors of benchmarks, and the host's own summary."""

from benchhost.scoring.estimators import (
    Interval,
    clustered_standard_error,
    mean,
    pass_at_k,
    standard_error,
    student_t_interval,
    wilson_interval,
)
from benchhost.scoring.extraction import (
    boxed,
    choice_letter,
    code_blocks,
    normalised,
    text_behind,
    without_reasoning,
)
from benchhost.scoring.numbers import Number, last_number, number_in, quantity_in, same_number
from benchhost.scoring.student import student_t_quantile
from benchhost.scoring.summary import Summary, final_score, summarise
from benchhost.scoring.words import number_in_words

__all__ = [
    "Interval",
    "Number",
    "Summary",
    "boxed",
    "choice_letter",
    "clustered_standard_error",
    "code_blocks",
    "final_score",
    "last_number",
    "mean",
    "normalised",
    "number_in",
    "number_in_words",
    "pass_at_k",
    "quantity_in",
    "same_number",
    "standard_error",
    "student_t_interval",
    "student_t_quantile",
    "summarise",
    "text_behind",
    "wilson_interval",
    "without_reasoning",
]
