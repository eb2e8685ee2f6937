"""Runs in a file of SQLite."""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import abc
import sqlite3
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.commits import Commits
from benchhost.store.run_protocol import PAGE, RunStore
from benchhost.store.run_records import OF_THE_ATTEMPT, AttemptRecord, AttemptVerdict, RunEvent, RunRecord

_RUN = RunRecord.__struct_fields__
_SELECT_RUN = f"SELECT {', '.join(_RUN)} FROM run"
_INSERT_RUN = f"INSERT INTO run ({', '.join(_RUN)}) VALUES ({', '.join('?' for _ in _RUN)}) ON CONFLICT (id) DO NOTHING"
_CHANGED = [name for name in _RUN if name not in ("id", "tenant", "created_at")]
_UPDATE_RUN = f"UPDATE run SET {', '.join(f'{name} = ?' for name in _CHANGED)} WHERE id = ?"

_ATTEMPT = AttemptRecord.__struct_fields__[1:]  # without the run, of which the table has the number
_INSERT_ATTEMPT = f"""
    INSERT INTO attempt (run, {", ".join(_ATTEMPT)})
    SELECT number, {", ".join("?" for _ in _ATTEMPT)} FROM run WHERE id = ?
"""
_SUPERSEDE = """
    UPDATE attempt SET latest = 0
    WHERE run = (SELECT number FROM run WHERE id = ?) AND task = ? AND epoch = ? AND number < ?
"""
_VERDICT = [name for name in AttemptVerdict.__struct_fields__ if name not in OF_THE_ATTEMPT]
_JUDGE = f"""
    UPDATE attempt SET {", ".join(f"{name} = ?" for name in _VERDICT)}
    WHERE run = (SELECT number FROM run WHERE id = ?) AND task = ? AND epoch = ? AND number = ? AND response_digest = ?
"""
# The generation is the last column, so that where it is not asked for it is not read from the disk either.
_SELECT_LIGHT = f"SELECT rowid, {', '.join(_ATTEMPT[:-1])} FROM attempt"
_SELECT_WHOLE = f"SELECT rowid, {', '.join(_ATTEMPT)} FROM attempt"
_OF_RUN = "WHERE run = (SELECT number FROM run WHERE id = ?)"

_INSERT_EVENT = "INSERT INTO run_event (run, at, kind, data) SELECT number, ?, ?, ? FROM run WHERE id = ?"


class SQLiteRuns(RunStore):
    """The part of :class:`~benchhost.store.SQLiteStore` that is about runs."""

    @abc.abstractmethod
    def _writer(self) -> Commits: ...

    @abc.abstractmethod
    async def _read(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]: ...

    async def create_run(self, run: RunRecord) -> bool:
        return await self._writer().write(_create_run, run, durable=True)

    async def update_run(self, run: RunRecord) -> bool:
        return await self._writer().write(_update_run, run, durable=True)

    async def run(self, run_id: str) -> RunRecord | None:
        rows = await self._read(f"{_SELECT_RUN} WHERE id = ?", (run_id,))
        return RunRecord(**dict(zip(_RUN, rows[0], strict=True))) if rows else None

    async def runs(
        self,
        *,
        tenant: str | None = None,
        benchmark: str | None = None,
        status: str | None = None,
        limit: int = 100,
        before: str | None = None,
    ) -> list[RunRecord]:
        chosen = {"tenant = ?": tenant, "benchmark = ?": benchmark, "status = ?": status,
                  "number < (SELECT number FROM run WHERE id = ?)": before}  # fmt: skip
        asked = {condition: value for condition, value in chosen.items() if value is not None}
        where = f"WHERE {' AND '.join(asked)}" if asked else ""
        rows = await self._read(f"{_SELECT_RUN} {where} ORDER BY number DESC LIMIT ?", (*asked.values(), limit))
        return [RunRecord(**dict(zip(_RUN, row, strict=True))) for row in rows]

    async def delete_run(self, run_id: str) -> bool:
        return await self._writer().write(_delete_run, run_id, durable=True)

    async def note(self, event: RunEvent) -> None:
        await self._writer().write(_note, event, durable=True)

    async def run_events(self, run_id: str, kind: str | None = None) -> list[RunEvent]:
        only, given = ("", (run_id,)) if kind is None else ("AND kind = ?", (run_id, kind))
        rows = await self._read(f"SELECT at, kind, data FROM run_event {_OF_RUN} {only} ORDER BY rowid", given)
        return [RunEvent(run=run_id, at=at, kind=kind, data=data) for at, kind, data in rows]

    async def keep_attempts(self, attempts: Sequence[AttemptRecord]) -> None:
        await self._writer().write(_keep_attempts, attempts, durable=True)

    async def keep_verdicts(self, verdicts: Sequence[AttemptVerdict]) -> list[bool]:
        return await self._writer().write(_keep_verdicts, verdicts, durable=True)

    async def attempts(
        self, run_id: str, *, latest: bool = True, generation: bool = False
    ) -> AsyncIterator[list[AttemptRecord]]:
        select = _SELECT_WHOLE if generation else _SELECT_LIGHT
        only = "AND latest" if latest else ""
        after = 0
        while True:
            rows = await self._read(
                f"{select} {_OF_RUN} AND rowid > ? {only} ORDER BY rowid LIMIT ?", (run_id, after, PAGE)
            )
            if not rows:
                return
            after = rows[-1][0]
            yield [_attempt(run_id, row) for row in rows]

    async def attempts_at(self, run_id: str, task: str) -> list[AttemptRecord]:
        rows = await self._read(f"{_SELECT_WHOLE} {_OF_RUN} AND task = ? ORDER BY epoch, number", (run_id, task))
        return [_attempt(run_id, row) for row in rows]


def _create_run(cursor: sqlite3.Cursor, run: RunRecord) -> bool:
    return cursor.execute(_INSERT_RUN, msgspec.structs.astuple(run)).rowcount == 1


def _update_run(cursor: sqlite3.Cursor, run: RunRecord) -> bool:
    return cursor.execute(_UPDATE_RUN, [*(getattr(run, name) for name in _CHANGED), run.id]).rowcount == 1


def _delete_run(cursor: sqlite3.Cursor, run_id: str) -> bool:
    for table in ("attempt", "run_event"):
        cursor.execute(f"DELETE FROM {table} {_OF_RUN}", (run_id,))
    return cursor.execute("DELETE FROM run WHERE id = ?", (run_id,)).rowcount == 1


def _note(cursor: sqlite3.Cursor, event: RunEvent) -> None:
    if cursor.execute(_INSERT_EVENT, (event.at, event.kind, event.data, event.run)).rowcount != 1:
        raise _no_run(event.run)


def _keep_attempts(cursor: sqlite3.Cursor, attempts: Sequence[AttemptRecord]) -> None:
    for attempt in attempts:
        run, *values = msgspec.structs.astuple(msgspec.structs.replace(attempt, message=_text(attempt.message)))
        if cursor.execute(_INSERT_ATTEMPT, (*values, run)).rowcount != 1:
            raise _no_run(run)
        if attempt.number > 1:
            cursor.execute(_SUPERSEDE, (run, attempt.task, attempt.epoch, attempt.number))


def _keep_verdicts(cursor: sqlite3.Cursor, verdicts: Sequence[AttemptVerdict]) -> list[bool]:
    answers = []
    for verdict in verdicts:
        said = [getattr(verdict, name) for name in _VERDICT]
        said[_VERDICT.index("message")] = _text(verdict.message)
        meant = [getattr(verdict, name) for name in OF_THE_ATTEMPT]
        answers.append(cursor.execute(_JUDGE, (*said, *meant)).rowcount == 1)
    return answers


def _no_run(run_id: str) -> StoreFailed:
    return StoreFailed(f"there is no run {run_id}")


def _text(text: str) -> str:
    """Replace what UTF-8 cannot say: an error may quote half a character, and must not stop the record."""
    return text.encode("utf-8", "replace").decode()


_RETRIABLE, _LATEST = _ATTEMPT.index("retriable") + 1, _ATTEMPT.index("latest") + 1


def _attempt(run_id: str, row: Sequence[Any]) -> AttemptRecord:
    """Make a record of a row; by position, since a large run has many."""
    values = [run_id, *row[1:]]
    values[_RETRIABLE], values[_LATEST] = bool(values[_RETRIABLE]), bool(values[_LATEST])
    return AttemptRecord(*values)
