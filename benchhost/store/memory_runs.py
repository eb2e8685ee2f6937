"""Runs in a dict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.run_protocol import PAGE, RunStore
from benchhost.store.run_records import OF_THE_ATTEMPT, AttemptRecord, AttemptVerdict, RunEvent, RunRecord

_Key = tuple[str, int, int]


class _Run:
    """A run with what belongs to it."""

    def __init__(self, record: RunRecord) -> None:
        self.record = record
        self.events: list[RunEvent] = []
        self.attempts: dict[_Key, AttemptRecord] = {}


class MemoryRuns(RunStore):
    """The part of :class:`~benchhost.store.MemoryStore` that is about runs."""

    _runs: dict[str, _Run] | None = None

    async def create_run(self, run: RunRecord) -> bool:
        runs = self._open_runs()
        if run.id in runs:
            return False
        runs[run.id] = _Run(run)
        return True

    async def update_run(self, run: RunRecord) -> bool:
        found = self._open_runs().get(run.id)
        if found is None:
            return False
        kept = found.record
        found.record = msgspec.structs.replace(run, tenant=kept.tenant, created_at=kept.created_at)
        return True

    async def run(self, run_id: str) -> RunRecord | None:
        found = self._open_runs().get(run_id)
        return found.record if found else None

    async def runs(
        self,
        *,
        tenant: str | None = None,
        benchmark: str | None = None,
        status: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRecord]:
        records = [run.record for run in self._open_runs().values()]
        if before is not None:
            ids = [record.id for record in records]
            records = records[: ids.index(before)] if before in ids else []
        chosen = [
            record
            for record in reversed(records)
            if tenant in (None, record.tenant)
            and benchmark in (None, record.benchmark)
            and status in (None, record.status)
        ]
        return chosen[:limit]

    async def delete_run(self, run_id: str) -> bool:
        return self._open_runs().pop(run_id, None) is not None

    async def note(self, event: RunEvent) -> None:
        self._the_run(event.run).events.append(event)

    async def run_events(self, run_id: str, kind: str | None = None) -> list[RunEvent]:
        found = self._open_runs().get(run_id)
        return [event for event in found.events if kind in (None, event.kind)] if found else []

    async def keep_attempts(self, attempts: Sequence[AttemptRecord]) -> None:
        seen: set[tuple[str, _Key]] = set()
        for attempt in attempts:
            key = _key(attempt)
            if key in self._the_run(attempt.run).attempts or (attempt.run, key) in seen:
                raise StoreFailed(f"attempt {attempt.number} at {attempt.task} is recorded already")
            seen.add((attempt.run, key))
        for attempt in attempts:
            kept = self._the_run(attempt.run).attempts
            for number in range(attempt.number - 1, 0, -1):
                earlier = (attempt.task, attempt.epoch, number)
                if earlier in kept:
                    kept[earlier] = msgspec.structs.replace(kept[earlier], latest=False)
            kept[_key(attempt)] = msgspec.structs.replace(attempt, latest=True)

    async def keep_verdicts(self, verdicts: Sequence[AttemptVerdict]) -> list[bool]:
        answers = []
        for verdict in verdicts:
            run = self._open_runs().get(verdict.run)
            key = _key(verdict)
            found = run.attempts.get(key) if run else None
            recorded = found is not None and found.response_digest == verdict.response_digest
            if run is not None and found is not None and recorded:
                said = {name: value for name, value in msgspec.structs.asdict(verdict).items()
                        if name not in OF_THE_ATTEMPT}  # fmt: skip
                run.attempts[key] = msgspec.structs.replace(found, **said)
            answers.append(recorded)
        return answers

    async def attempts(
        self, run_id: str, *, latest: bool = True, generation: bool = False
    ) -> AsyncIterator[list[AttemptRecord]]:
        run = self._open_runs().get(run_id)
        chosen = [attempt for attempt in run.attempts.values() if attempt.latest or not latest] if run else []
        for start in range(0, len(chosen), PAGE):
            page = chosen[start : start + PAGE]
            yield page if generation else [msgspec.structs.replace(attempt, generation=None) for attempt in page]

    async def attempts_at(self, run_id: str, task: str) -> list[AttemptRecord]:
        run = self._open_runs().get(run_id)
        found = [attempt for attempt in run.attempts.values() if attempt.task == task] if run else []
        return sorted(found, key=lambda attempt: (attempt.epoch, attempt.number))

    def _open_runs(self) -> dict[str, _Run]:
        if self._runs is None:
            raise StoreFailed("the store is not open")
        return self._runs

    def _the_run(self, run_id: str) -> _Run:
        found = self._open_runs().get(run_id)
        if found is None:
            raise StoreFailed(f"there is no run {run_id}")
        return found


def _key(one: AttemptRecord | AttemptVerdict) -> _Key:
    return one.task, one.epoch, one.number
