"""Why a run is not carried on."""

from __future__ import annotations

from benchhost.errors.base import BenchhostError


class RunRefused(BenchhostError):
    """A run cannot be carried on like this; nothing of it was changed."""

    slug = "run-refused"
    title = "The run is refused"


class RunDrifted(RunRefused):
    """The configuration differs from the one that the run began with.

    ``differences`` has the recorded and the given value of each field that differs.
    """

    slug = "run-drifted"
    title = "The run's configuration has changed"

    def __init__(self, message: str, differences: dict[str, tuple[object, object]]) -> None:
        super().__init__(message)
        self.differences = differences


class RunLocked(RunRefused):
    """Another process carries out this run at the moment."""

    slug = "run-locked"
    title = "The run is under way elsewhere"
