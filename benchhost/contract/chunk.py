"""What a streaming hook yields, beside the :class:`~benchhost.Result` that ends it."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhost.contract.result import Result


class Message(msgspec.Struct, frozen=True):
    """A line of progress. It is shown to whoever waits for the evaluation."""

    data: str


class Error(msgspec.Struct, frozen=True):
    """The evaluation cannot be finished, for a reason that the submitter may read. Ends the stream."""

    data: str


class Ready(msgspec.Struct, frozen=True):
    """A sandbox is set up. Ends the stream of ``setup_task``, which may as well just end."""

    status: str = "ok"


class ResumeState(msgspec.Struct, frozen=True):
    """How far an evaluation has come: an object that JSON can say, in the benchmark's own words.

    The latest is kept. It is handed back to the hook, as ``resume_state``, when the evaluation was interrupted and
    is made again. It is also sent to whoever waits, and may come back from there: so nothing hidden may be in it.
    """

    data: dict[str, Any]


Chunk = Message | Error | Ready | ResumeState | Result
"""One item of a streaming hook. The first :class:`Error`, :class:`Ready` or :class:`~benchhost.Result` ends it."""
