"""What a streaming hook yields, beside the :class:`~benchhost.Result` that ends it."""

from __future__ import annotations

import msgspec

from benchhost.contract.result import Result


class Message(msgspec.Struct, frozen=True):
    """A line of progress. It is shown to whoever waits for the evaluation."""

    data: str


class Error(msgspec.Struct, frozen=True):
    """The evaluation cannot be finished, for a reason that the submitter may read. Ends the stream."""

    data: str


Chunk = Message | Error | Result
"""One item of a streaming hook. The first :class:`Error` or :class:`~benchhost.Result` ends it."""
