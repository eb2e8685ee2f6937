"""What goes into a hook and what comes out: responses, results, final scores."""

from __future__ import annotations

import math
from typing import Any, Literal

import msgspec


class Response(msgspec.Struct, frozen=True):
    """What a submitter answered to a task. ``text`` is the answer as it was sent, nothing stripped."""

    text: str


class Submission(msgspec.Struct, frozen=True):
    """What a submitter has made, to be placed in a fresh sandbox: text (a patch, say) or any bytes.

    ``schema`` is the name that the submitter gives its shape: one of those that the benchmark accepts.
    """

    type: Literal["text", "artifact"]
    schema: str
    data: bytes

    @property
    def text(self) -> str:
        """The data as text; what is not UTF-8 is replaced."""
        return self.data.decode("utf-8", "replace")


class Result(msgspec.Struct, kw_only=True):
    """The verdict on one response.

    ``score`` is finite; by convention 0 is worst and 1 is full marks. ``passed`` is the verdict of a
    benchmark that has one. ``metrics`` are further finite numbers. ``feedback`` is for the submitter.

    All of these are shown to the submitter. ``private`` is not: it is recorded for the owner of the
    benchmark and never leaves the host.

    Raises ``ValueError`` when a number is not finite.
    """

    score: float
    passed: bool | None = None
    metrics: dict[str, float] = {}
    feedback: str | None = None
    private: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ValueError(f"the score of a Result must be a finite number, not {self.score!r}")
        for name, number in self.metrics.items():
            if not math.isfinite(number):
                raise ValueError(f"the metric {name!r} of a Result must be a finite number, not {number!r}")


class FinalScore(msgspec.Struct, kw_only=True):
    """The score of a set of results. ``score`` is finite; ``metadata`` is anything that JSON can say.

    Raises ``ValueError`` when the score is not finite.
    """

    score: float
    metadata: dict[str, Any] = {}

    def __post_init__(self) -> None:
        if not math.isfinite(self.score):
            raise ValueError(f"the score of a FinalScore must be a finite number, not {self.score!r}")
