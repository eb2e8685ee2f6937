"""Keeps evaluations and runs durably: what was asked to be judged, by whom it is judged, and what came of it;
and who may use what.

:class:`Store` says what a store promises; ``tests/store`` holds the suite that every store passes.
"""

from __future__ import annotations

from pathlib import Path

from benchhost.errors import UsageError
from benchhost.store.access_records import AccessEvent, KeyRecord, TenantRecord
from benchhost.store.memory import MemoryStore
from benchhost.store.protocol import Store
from benchhost.store.quota_records import PERIODS, Period, Quota, Spent
from benchhost.store.records import EVERYBODY, Claimed, Evaluation, Status, Tried, Try, running
from benchhost.store.run_records import OPERATOR, REQUESTED, AttemptRecord, AttemptVerdict, RunEvent, RunRecord
from benchhost.store.sqlite import SQLiteStore

__all__ = [
    "DATABASE",
    "EVERYBODY",
    "OPERATOR",
    "PERIODS",
    "REQUESTED",
    "AccessEvent",
    "AttemptRecord",
    "AttemptVerdict",
    "Claimed",
    "Evaluation",
    "KeyRecord",
    "MemoryStore",
    "Period",
    "Quota",
    "RunEvent",
    "RunRecord",
    "SQLiteStore",
    "Spent",
    "Status",
    "Store",
    "TenantRecord",
    "Tried",
    "Try",
    "open_store",
    "running",
]


DATABASE = "benchhost.db"
"""The name of the database in the folder of all that a host keeps."""


def open_store(where: str | Path) -> Store:
    """Make the store that ``where`` names. ``async with`` opens and closes it, as do its methods.

    ``where`` is a path or ``sqlite:///`` and a path (a fourth slash makes it absolute), for a file of
    SQLite; or ``memory:``, for a store that forgets everything when it is closed.

    Raises :class:`~benchhost.errors.UsageError` for anything else.
    """
    if isinstance(where, Path):
        return SQLiteStore(where)
    if where == "memory:":
        return MemoryStore()
    scheme, separator, path = where.partition("://")
    if not separator and where:
        return SQLiteStore(Path(where))
    if scheme == "sqlite" and path.startswith("/") and path != "/":
        return SQLiteStore(Path(path[1:]))
    raise UsageError(
        f"a store is a path, sqlite:/// and a path, or memory:, not {scheme + '://…' if separator else where!r}"
    )
