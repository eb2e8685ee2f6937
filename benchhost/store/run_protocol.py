"""What every store promises about runs."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Sequence

from benchhost.store.run_records import AttemptRecord, AttemptVerdict, RunEvent, RunRecord

PAGE = 500
"""How many attempts are read at once."""


class RunStore(abc.ABC):
    """Keeps runs and their attempts. What :class:`~benchhost.store.Store` says of errors and records is true here."""

    @abc.abstractmethod
    async def create_run(self, run: RunRecord) -> bool:
        """Record a new run, durably; ``False`` when there is one of that id, which then stays as it is."""

    @abc.abstractmethod
    async def update_run(self, run: RunRecord) -> bool:
        """Replace all of a run but id, tenant and time of creation, durably; ``False`` when there is none."""

    @abc.abstractmethod
    async def run(self, run_id: str) -> RunRecord | None:
        """Return the run of that id, or ``None``."""

    @abc.abstractmethod
    async def runs(
        self,
        *,
        tenant: str | None = None,
        benchmark: str | None = None,
        status: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRecord]:
        """Return the newest runs, the newest first: those created before the run ``before``, if it is given.

        ``tenant``, ``benchmark`` and ``status`` choose among them; ``None`` means any.
        """

    @abc.abstractmethod
    async def delete_run(self, run_id: str) -> bool:
        """Delete a run with its attempts and events; ``False`` when there is none."""

    @abc.abstractmethod
    async def note(self, event: RunEvent) -> None:
        """Record an event of a run, durably."""

    @abc.abstractmethod
    async def run_events(self, run_id: str, kind: str | None = None) -> list[RunEvent]:
        """Return the events of a run, or those of one kind, in their order."""

    @abc.abstractmethod
    async def keep_attempts(self, attempts: Sequence[AttemptRecord]) -> None:
        """Record new attempts, durably; each becomes the latest of its task and epoch.

        Raises :class:`~benchhost.errors.StoreFailed` also when there is no such run, or when the attempt
        is recorded already.
        """

    @abc.abstractmethod
    async def keep_verdicts(self, verdicts: Sequence[AttemptVerdict]) -> list[bool]:
        """Record what was thought of attempts, durably, and say of each whether it was recorded.

        It is not when there is no such attempt, or when its response is another than the one judged.
        """

    @abc.abstractmethod
    def attempts(
        self, run_id: str, *, latest: bool = True, generation: bool = False
    ) -> AsyncIterator[list[AttemptRecord]]:
        """Yield the attempts of a run, page by page, in the order in which they were recorded.

        With ``latest`` only the newest of each task and epoch; with ``generation`` what was generated too.
        """

    @abc.abstractmethod
    async def attempts_at(self, run_id: str, task: str) -> list[AttemptRecord]:
        """Return every attempt at one task, oldest first, with what was generated."""
