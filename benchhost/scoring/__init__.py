"""Judging answers and stating scores: helpers for the authors of benchmarks, and the host's own summary."""

from benchhost.scoring.bootstrap import bootstrap_interval
from benchhost.scoring.comparison import (
    Comparison,
    compare,
    mcnemar,
    minimum_detectable_effect,
    paired_binary_interval,
)
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
    "Comparison",
    "Interval",
    "Number",
    "Summary",
    "bootstrap_interval",
    "boxed",
    "choice_letter",
    "clustered_standard_error",
    "code_blocks",
    "compare",
    "final_score",
    "last_number",
    "mcnemar",
    "mean",
    "minimum_detectable_effect",
    "normalised",
    "number_in",
    "number_in_words",
    "paired_binary_interval",
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
