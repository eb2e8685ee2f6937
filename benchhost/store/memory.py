"""The simplest store: a dict. For tests and for runs that nobody wants to keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.memory_access import MemoryAccess
from benchhost.store.memory_quotas import MemoryQuotas
from benchhost.store.memory_runs import MemoryRuns
from benchhost.store.protocol import Store
from benchhost.store.records import OUTCOME, Claimed, Evaluation, Tried, Try, running


class MemoryStore(MemoryQuotas, MemoryAccess, MemoryRuns, Store):
    """Keeps evaluations, runs and access in this process until it is closed."""

    def __init__(self) -> None:
        self._records: dict[str, Evaluation] | None = None
        self._states: dict[str, bytes] = {}
        self._tries: dict[tuple[str, str, str, str], dict[str, str]] = {}

    async def open(self) -> None:
        if self._records is not None:
            raise StoreFailed("the store is open already")
        self._records = {}
        self._runs = {}
        self._quotas = {}
        self._forget_access(opened=True)

    async def close(self) -> None:
        self._records = self._runs = self._quotas = None
        self._forget_access(opened=False)

    async def claim(self, claims: Sequence[Evaluation]) -> list[Claimed]:
        records = self._open_records()
        answers = []
        for claim in claims:
            found = records.get(claim.id)
            mine = found is None or found.status in ("error", "interrupted")
            if mine:
                records[claim.id] = running(claim, 1 if found is None else found.attempt + 1)
            answers.append(Claimed(mine, records[claim.id]))
        return answers

    async def finish(self, evaluations: Sequence[Evaluation]) -> list[bool]:
        records = self._open_records()
        answers = []
        for evaluation in evaluations:
            found = records.get(evaluation.id)
            recorded = found is None or (
                found.status == "running" and (found.owner, found.attempt) == (evaluation.owner, evaluation.attempt)
            )
            if recorded:
                claim = found or evaluation  # what was claimed stays as it was
                outcome = {name: getattr(evaluation, name) for name in OUTCOME}
                records[evaluation.id] = msgspec.structs.replace(claim, **outcome)
            answers.append(recorded)
        return answers

    async def evaluation(self, evaluation_id: str) -> Evaluation | None:
        return self._open_records().get(evaluation_id)

    async def evaluations(self, ids: Sequence[str]) -> dict[str, Evaluation]:
        records = self._open_records()
        return {each: records[each] for each in ids if each in records}

    async def evaluations_under(self, prefix: str) -> list[Evaluation]:
        records = self._open_records()
        return [records[each] for each in sorted(records) if each.startswith(prefix)]

    async def any_under(self, prefix: str) -> bool:
        return any(each.startswith(prefix) for each in self._open_records())

    async def try_response(self, wanted: Try, most: int | None, *, durable: bool = False) -> Tried:
        self._open_records()
        tries = self._tries.setdefault((wanted.tenant, wanted.benchmark, wanted.dataset, wanted.task), {})
        if wanted.response_digest not in tries:
            if most is not None and len(tries) >= most:
                return Tried(False, "")
            tries[wanted.response_digest] = wanted.evaluation
        return Tried(True, tries[wanted.response_digest])

    async def keep_resume_state(self, evaluation: Evaluation, state: bytes | None) -> None:
        found = self._open_records().get(evaluation.id)
        if found is None or found.status != "running":
            return
        if (found.owner, found.attempt) == (evaluation.owner, evaluation.attempt):
            self._states.pop(evaluation.id, None)
            if state is not None:
                self._states[evaluation.id] = state

    async def resume_state(self, evaluation_id: str) -> bytes | None:
        self._open_records()
        return self._states.get(evaluation_id)

    async def owners(self) -> set[str]:
        return {record.owner for record in self._open_records().values() if record.status == "running"}

    async def interrupt(self, owner: str, evaluation_id: str | None = None) -> int:
        records = self._open_records()
        theirs = [
            record
            for record in records.values()
            if record.status == "running" and record.owner == owner and evaluation_id in (None, record.id)
        ]
        records.update((record.id, msgspec.structs.replace(record, status="interrupted")) for record in theirs)
        return len(theirs)

    async def counts(self) -> dict[tuple[str, str], int]:
        return dict(Counter((record.benchmark, record.status) for record in self._open_records().values()))

    def _open_records(self) -> dict[str, Evaluation]:
        if self._records is None:
            raise StoreFailed("the store is not open")
        return self._records
