"""How much a submitter is told, so that hidden answers cannot be found out by trying."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Feedback = Literal["all", "score", "sum"]
"""What is told of a result: ``all`` of it; its ``score`` and whether it passes; or nothing but a ``sum`` over many."""


SUMS, DIGITS_OF_SUMS = 10, 2
"""How many sums are told to a tenant, and with how many decimals, where a policy of sums alone does not say."""


class Probing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy for one dataset. The default holds nothing back.

    ``attempts`` is how many different responses of a tenant to one task are judged, ever. With ``fold``,
    responses that differ in nothing but case, spaces and form of Unicode are the same response, and what was
    found of the first of them is what is found of the others. ``feedback`` is what is told of a result, and
    ``delay`` for how many seconds after it was found nothing is. Scores and metrics are rounded to ``digits``
    decimals. A sum is told over ``least`` tasks or more, and ``sums`` different ones are, ever: 10, of two decimals,
    where it is not said. With ``pooled``, attempts and sums are those of all tenants together.
    """

    attempts: Annotated[int, Meta(ge=1)] | None = None
    fold: bool = False
    feedback: Feedback = "all"
    delay: Annotated[float, Meta(ge=0)] = 0.0
    digits: Annotated[int, Meta(ge=0, le=15)] | None = None
    least: Annotated[int, Meta(ge=1)] = 10
    sums: Annotated[int, Meta(ge=1)] | None = None
    pooled: bool = False

    def __post_init__(self) -> None:
        """Bound what sums tell, where it is not said how; refuse to count sums where all results are told."""
        if self.feedback == "sum":
            msgspec.structs.force_setattr(self, "sums", SUMS if self.sums is None else self.sums)
            msgspec.structs.force_setattr(self, "digits", DIGITS_OF_SUMS if self.digits is None else self.digits)
        elif self.sums is not None:
            raise ValueError(f"sums are counted where feedback is 'sum', and it is {self.feedback!r}: leave sums out")

    @property
    def counts(self) -> bool:
        """Whether it has to be known which responses were judged before."""
        return self.attempts is not None or self.fold

    @property
    def withholds(self) -> bool:
        """Whether a result, or a part of one, is not told at once."""
        return self.feedback != "all" or self.delay > 0

    @property
    def limits(self) -> bool:
        """Whether it is another policy than none."""
        return self.counts or self.withholds or self.digits is not None
