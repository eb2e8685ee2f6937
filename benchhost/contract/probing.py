"""How much a submitter is told, so that hidden answers cannot be found out by trying."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Feedback = Literal["all", "score", "sum"]
"""What is told of a result: ``all`` of it; its ``score`` and whether it passes; or nothing but a ``sum`` over many."""


class Probing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A policy for one dataset. The default holds nothing back.

    ``attempts`` is how many different responses of a tenant to one task are judged, ever. With ``fold``,
    responses that differ in nothing but case, spaces and form of Unicode are the same response, and what was
    found of the first of them is what is found of the others. ``feedback`` is what is told of a result, and
    ``delay`` for how many seconds after it was found nothing is. Scores and metrics are rounded to ``digits``
    decimals. A sum is told over ``least`` tasks or more.
    """

    attempts: Annotated[int, Meta(ge=1)] | None = None
    fold: bool = False
    feedback: Feedback = "all"
    delay: Annotated[float, Meta(ge=0)] = 0.0
    digits: Annotated[int, Meta(ge=0, le=15)] | None = None
    least: Annotated[int, Meta(ge=1)] = 10

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


UNLIMITED = Probing()
