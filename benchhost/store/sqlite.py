"""The store of a host on one machine: a file of SQLite, shared by its processes."""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import sqlite3
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import msgspec

from benchhost.errors import StoreFailed
from benchhost.store.commits import Commits
from benchhost.store.migrations import migrate
from benchhost.store.protocol import Store
from benchhost.store.records import Claimed, Evaluation, Tried, Try, running
from benchhost.store.sqlite_access import SQLiteAccess
from benchhost.store.sqlite_outcomes import NotAll, finish_all, finish_each
from benchhost.store.sqlite_quotas import SQLiteQuotas
from benchhost.store.sqlite_runs import SQLiteRuns

_FIELDS = Evaluation.__struct_fields__

_SELECT = f"SELECT {', '.join(_FIELDS)} FROM evaluation"
_FIND = f"{_SELECT} WHERE id = ?"
_ANY_BETWEEN = "SELECT 1 FROM evaluation WHERE id BETWEEN ? AND ? LIMIT 1"

_CLAIMED = _FIELDS.index("status")
"""How many fields an evaluation has when it is claimed: they come first."""

_INSERT = f"""
    INSERT INTO evaluation ({", ".join(_FIELDS[:_CLAIMED])}, status, attempt)
    VALUES ({", ".join("?" for _ in range(_CLAIMED))}, 'running', 1)
    ON CONFLICT (id) DO NOTHING
"""

_RETRY = """
    UPDATE evaluation
    SET status = 'running', attempt = ?, owner = ?, started_at = ?,
        result = NULL, private = NULL, errors = NULL, cause = NULL, finished_at = NULL
    WHERE id = ?
"""

_INTERRUPT = "UPDATE evaluation SET status = 'interrupted' WHERE status = 'running' AND owner = ?"
_INTERRUPT_ONE = f"{_INTERRUPT} AND id = ?"

_KEEP_STATE = """
    INSERT INTO resume_state (evaluation, state)
    SELECT id, ? FROM evaluation WHERE id = ? AND status = 'running' AND owner = ? AND attempt = ?
    ON CONFLICT (evaluation) DO UPDATE SET state = excluded.state
"""
_FORGET_STATE = """
    DELETE FROM resume_state WHERE evaluation =
    (SELECT id FROM evaluation WHERE id = ? AND status = 'running' AND owner = ? AND attempt = ?)
"""

_OF_TASK = "tenant = ? AND benchmark = ? AND dataset = ? AND task = ?"
_FIRST_TRY = f"SELECT evaluation FROM tried WHERE {_OF_TASK} AND response_digest = ?"
_TRIES = f"SELECT count(*) FROM tried WHERE {_OF_TASK}"
_COUNT_TRY = f"INSERT INTO tried ({', '.join(Try.__struct_fields__)}) VALUES (?, ?, ?, ?, ?, ?)"

_OWNERS = "SELECT DISTINCT owner FROM evaluation WHERE status = 'running'"

_COUNTS = "SELECT benchmark, status, count(*) FROM evaluation GROUP BY benchmark, status"


CACHE = {"rw": 8, "ro": 2}
"""Megabytes of pages that a connection keeps, by its mode. More saves no time that could be measured, since what
is not kept is in the cache of the system, and each reader of a large run would fill its own."""


class SQLiteStore(SQLiteAccess, SQLiteQuotas, SQLiteRuns, Store):
    """Keeps evaluations, runs and access in the file ``path``, which is created, with its parents, on first use.

    ``busy_timeout`` is how long, in seconds, a write waits for the other processes that write to the
    same file before it fails.
    """

    def __init__(self, path: Path, *, busy_timeout: float = 30.0) -> None:
        self.path = path.absolute()
        self._busy_timeout = busy_timeout
        self._commits: Commits | None = None
        self._readers: ThreadPoolExecutor | None = None
        self._idle: list[sqlite3.Connection] = []

    async def open(self) -> None:
        if self._commits is not None:
            raise StoreFailed("the store is open already")
        connection = await anyio.to_thread.run_sync(self._connect)
        self._commits = Commits(connection, busy_timeout=self._busy_timeout)
        self._readers = ThreadPoolExecutor(max_workers=2, thread_name_prefix="benchhost-store-read")

    async def close(self) -> None:
        commits, self._commits = self._commits, None
        readers, self._readers = self._readers, None
        if commits is None or readers is None:
            return
        with anyio.CancelScope(shield=True):
            # The readers go first: whoever is last to let go of the file moves the log into it, and a
            # reader may not write.
            await anyio.to_thread.run_sync(readers.shutdown)
            while self._idle:
                self._idle.pop().close()
            await commits.close()

    async def claim(self, claims: Sequence[Evaluation]) -> list[Claimed]:
        return await self._writer().write(_claim, claims, durable=False)

    async def finish(self, evaluations: Sequence[Evaluation]) -> list[bool]:
        if len(evaluations) > 1:  # almost always all of them are recorded, and many at once cost less
            try:
                await self._writer().write(finish_all, evaluations, durable=True)
            except StoreFailed as failure:
                if not isinstance(failure.__cause__, NotAll):
                    raise
            else:
                return [True] * len(evaluations)
        return await self._writer().write(finish_each, evaluations, durable=True)

    async def interrupt(self, owner: str, evaluation_id: str | None = None) -> int:
        return await self._writer().write(_interrupt, (owner, evaluation_id), durable=False)

    async def evaluation(self, evaluation_id: str) -> Evaluation | None:
        # One row, found through an index: to have a thread read it would cost several times what reading it does.
        self._writer()  # which says so if the store is not open
        rows = self._fetch(_FIND, (evaluation_id,))
        return _evaluation(rows[0]) if rows else None

    async def evaluations(self, ids: Sequence[str]) -> dict[str, Evaluation]:
        # What is judged together has ids that lie together. As a rule nothing of it is there yet, which one look tells.
        self._writer()
        if not ids or not self._fetch(_ANY_BETWEEN, (min(ids), max(ids))):
            return {}
        wanted = msgspec.json.encode(ids).decode()
        rows = await self._read(f"{_SELECT} WHERE id IN (SELECT value FROM json_each(?))", (wanted,))
        return {row[0]: _evaluation(row) for row in rows}

    async def evaluations_under(self, prefix: str) -> list[Evaluation]:
        rows = await self._read(f"{_SELECT} WHERE id BETWEEN ? AND ? ORDER BY id", _under(prefix))
        return [_evaluation(row) for row in rows]

    async def any_under(self, prefix: str) -> bool:
        self._writer()
        return bool(self._fetch(_ANY_BETWEEN, _under(prefix)))

    async def try_response(self, wanted: Try, most: int | None, *, durable: bool = False) -> Tried:
        return await self._writer().write(_try, (wanted, most), durable=durable)

    async def keep_resume_state(self, evaluation: Evaluation, state: bytes | None) -> None:
        await self._writer().write(_keep_state, (evaluation, state), durable=False)

    async def resume_state(self, evaluation_id: str) -> bytes | None:
        rows = await self._read("SELECT state FROM resume_state WHERE evaluation = ?", (evaluation_id,))
        return rows[0][0] if rows else None

    async def owners(self) -> set[str]:
        return {owner for (owner,) in await self._read(_OWNERS)}

    async def counts(self) -> dict[tuple[str, str], int]:
        return {(benchmark, status): number for benchmark, status, number in await self._read(_COUNTS)}

    def _writer(self) -> Commits:
        if self._commits is None:
            raise StoreFailed("the store is not open")
        return self._commits

    async def _read(self, query: str, parameters: Sequence[Any] = ()) -> list[Any]:
        """Read in a thread, on a connection that cannot write, so that a read waits for no writer."""
        if self._readers is None:
            raise StoreFailed("the store is not open")
        return await asyncio.get_running_loop().run_in_executor(self._readers, self._fetch, query, parameters)

    def _fetch(self, query: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            try:
                connection = self._idle.pop()
            except IndexError:  # The other reader has it.
                connection = self._connection("ro")
            try:
                return connection.execute(query, parameters).fetchall()
            finally:
                self._idle.append(connection)
        except sqlite3.Error as error:
            raise StoreFailed(f"the store {self.path} could not be read: {error}") from error

    def _connect(self) -> sqlite3.Connection:
        """Open the file for writing; create and migrate it where that is needed."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            # What benchmarks record privately is for the owner of the file alone. One that is there is not opened here:
            # closing it again would let go of the locks that another store of this process may have on it (POSIX).
            with contextlib.suppress(FileExistsError):
                os.close(os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
            if self.path.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(self.path))
            connection = self._connection("rw")
            try:
                migrate(connection)  # First, since it refuses the files that are not to be touched.
                self._use_write_ahead_log(connection)
            except BaseException:
                connection.close()
                raise
        except (OSError, sqlite3.Error) as error:
            raise StoreFailed(f"the store {self.path} could not be opened: {error}") from error
        except StoreFailed as error:
            raise StoreFailed(f"{self.path}: {error}") from error
        return connection

    def _connection(self, mode: str) -> sqlite3.Connection:
        # Python's own checks and transactions are off: each connection has one user at a time, and
        # transactions are begun and ended by commits.py.
        connection = sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_timeout,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            connection.execute(f"PRAGMA cache_size = {-1024 * CACHE[mode]}")
        except BaseException:
            connection.close()
            raise
        return connection

    def _use_write_ahead_log(self, connection: sqlite3.Connection) -> None:
        """Let readers and the writer work at the same time, and let a commit append rather than overwrite."""
        mode = self._journal_mode(connection)
        if mode != "wal":
            raise StoreFailed(f"the file system allows no write-ahead log (SQLite offers {mode!r}): use a local disk")
        # A checkpoint copies each changed page once, however often it changed: fewer are cheaper. 16 MB.
        connection.execute("PRAGMA wal_autocheckpoint = 4096")

    def _journal_mode(self, connection: sqlite3.Connection) -> str:
        until = time.monotonic() + self._busy_timeout
        while True:
            try:
                return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
            except sqlite3.OperationalError:
                # Two processes that make the same new file: SQLite does not wait here, whatever its timeout.
                if time.monotonic() > until:
                    raise
                time.sleep(0.01)


def _claim(cursor: sqlite3.Cursor, claims: Sequence[Evaluation]) -> list[Claimed]:
    return [_claim_one(cursor, claim) for claim in claims]


def _claim_one(cursor: sqlite3.Cursor, claim: Evaluation) -> Claimed:
    if cursor.execute(_INSERT, msgspec.structs.astuple(claim)[:_CLAIMED]).rowcount == 1:
        return Claimed(True, running(claim, 1))
    found = _evaluation(cursor.execute(_FIND, (claim.id,)).fetchone())
    if found.status in ("scored", "running"):
        return Claimed(False, found)
    attempt = found.attempt + 1
    cursor.execute(_RETRY, (attempt, claim.owner, claim.started_at, claim.id))
    return Claimed(True, running(claim, attempt))


def _interrupt(cursor: sqlite3.Cursor, of: tuple[str, str | None]) -> int:
    owner, evaluation_id = of
    if evaluation_id is None:
        return cursor.execute(_INTERRUPT, (owner,)).rowcount
    return cursor.execute(_INTERRUPT_ONE, (owner, evaluation_id)).rowcount


def _try(cursor: sqlite3.Cursor, of: tuple[Try, int | None]) -> Tried:
    wanted, most = of
    *task, response, evaluation = msgspec.structs.astuple(wanted)
    found = cursor.execute(_FIRST_TRY, (*task, response)).fetchone()
    if found is not None:
        return Tried(True, found[0])
    if most is not None and cursor.execute(_TRIES, task).fetchone()[0] >= most:
        return Tried(False, "")
    cursor.execute(_COUNT_TRY, (*task, response, evaluation))
    return Tried(True, evaluation)


def _keep_state(cursor: sqlite3.Cursor, of: tuple[Evaluation, bytes | None]) -> None:
    evaluation, state = of
    attempt = (evaluation.id, evaluation.owner, evaluation.attempt)
    if state is None:
        cursor.execute(_FORGET_STATE, attempt)
    else:
        cursor.execute(_KEEP_STATE, (state, *attempt))


def _under(prefix: str) -> tuple[str, str]:
    """Say between which two texts the ids lie that begin so."""
    return prefix, f"{prefix}g"  # which is after every hexadecimal digit


def _evaluation(row: Sequence[Any]) -> Evaluation:
    fields = dict(zip(_FIELDS, row, strict=True))
    fields["errors"] = tuple(msgspec.json.decode(fields["errors"])) if fields["errors"] else ()
    return Evaluation(**fields)
