"""Stopping when every call fails alike, instead of burning through a dataset."""

from __future__ import annotations

from benchhost.errors import CircuitOpen, ContentFiltered, ContextOverflow, ModelError

THRESHOLD = 10
"""How many calls must fail alike, one after the other."""


class Breaker:
    """Opens after ``threshold`` calls failed alike with no completion in between, and stays open.

    Alike means of one kind and one HTTP status. Failures that are about the prompt (too long, refused)
    count only as long as no call succeeded: afterwards they say something about a task, not about the model.
    """

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self._threshold = threshold
        self._alike = 0
        self._last: ModelError | None = None
        self._ever_succeeded = False
        self.open = False

    def check(self) -> None:
        """Raise :class:`~benchhost.errors.CircuitOpen` when the circuit is open."""
        if self.open:
            last = self._last
            kind = last.kind if last else "error"
            raise CircuitOpen(f"{self._threshold} calls in a row failed alike ({kind}): {last}") from last

    def succeeded(self) -> None:
        """Note a completion."""
        self._alike = 0
        self._ever_succeeded = True

    def failed(self, error: ModelError) -> None:
        """Note a call that was given up."""
        if self.open or (self._ever_succeeded and isinstance(error, ContextOverflow | ContentFiltered)):
            return
        last = self._last
        alike = last is not None and (last.kind, last.status) == (error.kind, error.status)
        self._alike = self._alike + 1 if alike else 1
        self._last = error
        self.open = self._alike >= self._threshold
