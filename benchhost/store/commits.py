"""Group commit: writes that wait together are committed together.

A commit that is safe from a power cut waits for the disk, which takes as long for one record as for a
thousand. So one thread writes, and while it commits, further writes gather; they make the next
transaction. A write that comes alone is committed at once; where several came together, the next of
them waits a moment for those that follow, since waking up for each costs more than the moment. (Databases
call this group commit; DeWitt et al., "Implementation techniques for main memory database systems", 1984.
The moment is PostgreSQL's ``commit_delay``, the several its ``commit_siblings``.)
"""

from __future__ import annotations

import asyncio
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from benchhost.errors import StoreFailed

SEVERAL = 3
"""Writes that were committed together, from which on it is likely that others follow the next one."""

MOMENT = 0.0001
"""Seconds for which it then waits for them."""

A = TypeVar("A")
R = TypeVar("R")


class Write:
    """A write that waits to be committed, and the future of whoever waits for it."""

    __slots__ = ("apply", "argument", "durable", "future")

    def __init__(
        self, apply: Callable[[sqlite3.Cursor, Any], Any], argument: Any, durable: bool, future: asyncio.Future[Any]
    ) -> None:
        self.apply = apply
        self.argument = argument
        self.durable = durable
        self.future = future


class Commits:
    """The one thread that writes to ``connection``, which it closes when it ends.

    The connection must be in autocommit mode and may be used by no one else meanwhile. Made in a
    running event loop, which is the one that :meth:`write` is then called from.
    """

    def __init__(self, connection: sqlite3.Connection, *, busy_timeout: float) -> None:
        self.transactions = 0
        """How many transactions were committed."""
        self._connection = connection
        self._connection.execute("PRAGMA busy_timeout = 0")  # _begin waits instead.
        self._busy_timeout = busy_timeout
        self._cursor = connection.cursor()
        self._synchronous: str | None = None
        self._queue: queue.SimpleQueue[Write | None] = queue.SimpleQueue()
        self._closed = False
        self._loop = asyncio.get_running_loop()
        self._thread = threading.Thread(target=self._run, name="benchhost-store", daemon=True)
        self._thread.start()

    async def write(self, apply: Callable[[sqlite3.Cursor, A], R], argument: A, *, durable: bool) -> R:
        """Have the thread call ``apply(cursor, argument)`` in a transaction; return its answer once that is committed.

        A ``durable`` write is on disk then; another is safe from the end of this process only. Raises
        :class:`~benchhost.errors.StoreFailed` when the write is not kept.
        """
        if self._closed:
            raise StoreFailed("the store is closed")
        future: asyncio.Future[R] = self._loop.create_future()
        self._queue.put(Write(apply, argument, durable, future))
        return await future

    async def close(self) -> None:
        """Commit what waits, and end the thread."""
        if not self._closed:
            self._closed = True
            self._queue.put(None)
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._thread.join)

    def _run(self) -> None:
        closing, together = False, 0
        while not closing:
            writes = [self._queue.get()]
            if together >= SEVERAL:
                time.sleep(MOMENT)
            writes += [self._queue.get() for _ in range(self._queue.qsize())]
            closing, together = writes[-1] is None, len(writes)
            waiting = [write for write in writes if write is not None]
            if waiting:
                self._settle(waiting, self._commit(waiting))
        self._connection.close()

    def _commit(self, writes: Sequence[Write]) -> list[Any]:
        """Return what each write came to; one that is not kept comes to an error."""
        try:
            return self._transact(writes)
        except sqlite3.OperationalError as error:  # The file is locked, the disk is full: the same for all of them.
            return [_failure(error) for _ in writes]
        except Exception as error:
            # Something is wrong with one of the writes. That is not the fault of the others.
            if len(writes) == 1:
                return [_failure(error)]
            return [outcome for write in writes for outcome in self._commit([write])]

    def _transact(self, writes: Sequence[Write]) -> list[Any]:
        # In WAL mode, NORMAL leaves it to the system when a commit reaches the disk; FULL waits for it, and
        # for all commits before. It cannot be changed within a transaction.
        synchronous = "FULL" if any(write.durable for write in writes) else "NORMAL"
        cursor = self._cursor
        if synchronous != self._synchronous:
            cursor.execute(f"PRAGMA synchronous = {synchronous}")
            self._synchronous = synchronous
        self._begin()
        try:
            outcomes = [write.apply(cursor, write.argument) for write in writes]
            cursor.execute("COMMIT")
        finally:
            if self._connection.in_transaction:
                cursor.execute("ROLLBACK")
        self.transactions += 1
        return outcomes

    def _begin(self) -> None:
        """Take the lock that one process at a time may hold.

        SQLite's own wait grows to 100 ms a turn, so that a process that has waited waits ever longer, while
        the others pass it. Asking each millisecond costs little, and each process gets its share.
        """
        until = time.monotonic() + self._busy_timeout
        while True:
            try:
                self._cursor.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not error.sqlite_errorname.startswith("SQLITE_BUSY") or time.monotonic() > until:
                    raise
                time.sleep(0.001)
            else:
                return

    def _settle(self, writes: Sequence[Write], outcomes: Sequence[Any]) -> None:
        def settle() -> None:
            for write, outcome in zip(writes, outcomes, strict=True):
                if write.future.done():  # Whoever waited was cancelled.
                    continue
                if isinstance(outcome, StoreFailed):
                    write.future.set_exception(outcome)
                else:
                    write.future.set_result(outcome)

        # Waking the loop is dear: once for all of them.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(settle)


def _failure(error: Exception) -> StoreFailed:
    failure = StoreFailed(f"the store could not keep a record: {type(error).__name__}: {error}")
    failure.__cause__ = error
    return failure
