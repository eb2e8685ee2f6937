"""A file of any earlier schema becomes one of the newest; any other file is left alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from benchhost.errors import StoreFailed
from benchhost.store import SQLiteStore
from benchhost.store.migrations import APPLICATION_ID, MIGRATIONS, migrate

STEPS = (
    ("CREATE TABLE step (name TEXT)", "INSERT INTO step VALUES ('first')"),
    ("ALTER TABLE step ADD COLUMN number INTEGER", "UPDATE step SET number = 1"),
    ("INSERT INTO step SELECT name || ' and third', number + 2 FROM step",),
)
"""Each fails without those before it, and shows when it runs twice."""


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(tmp_path / "store.db", isolation_level=None)) as connection:
        yield connection


def schema(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    return connection.execute("SELECT name, sql FROM sqlite_schema ORDER BY name").fetchall()


@pytest.mark.parametrize("version", range(len(STEPS) + 1))
def test_migrations_are_applied_in_order_from_every_earlier_version(connection, version):
    migrate(connection, STEPS[:version])
    migrate(connection, STEPS)
    assert connection.execute("SELECT * FROM step").fetchall() == [("first", 1), ("first and third", 3)]
    assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)


@pytest.mark.parametrize("version", range(len(MIGRATIONS) + 1))
@pytest.mark.anyio
async def test_a_store_of_every_earlier_version_opens(tmp_path, connection, version):
    migrate(connection, MIGRATIONS[:version])
    async with SQLiteStore(tmp_path / "store.db") as store:
        assert await store.counts() == {}
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as fresh:
        migrate(fresh)
        assert schema(connection) == schema(fresh)


def test_a_migration_that_fails_leaves_the_file_as_it_was(connection):
    migrate(connection, STEPS[:1])
    before = schema(connection)
    with pytest.raises(sqlite3.OperationalError):
        migrate(connection, [*STEPS, ("CREATE TABLE half (done TEXT)", "SELECT nonsense")])
    assert schema(connection) == before
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)


@pytest.mark.anyio
async def test_a_store_of_a_newer_benchhost_is_refused_and_left_alone(tmp_path, connection):
    newer = [*MIGRATIONS, ("CREATE TABLE later (name TEXT)",)]
    migrate(connection, newer)
    before = (tmp_path / "store.db").read_bytes()
    with pytest.raises(StoreFailed, match="written by a newer benchhost") as refusal:
        await SQLiteStore(tmp_path / "store.db").open()
    assert "store.db" in str(refusal.value)
    assert (tmp_path / "store.db").read_bytes() == before


@pytest.mark.parametrize(
    "statement", ["CREATE TABLE theirs (a)", "PRAGMA user_version = 1", "PRAGMA application_id = 7"]
)
@pytest.mark.anyio
async def test_the_database_of_another_program_is_refused_and_left_alone(tmp_path, connection, statement):
    connection.execute(statement)
    before = (tmp_path / "store.db").read_bytes()
    with pytest.raises(StoreFailed, match="something other than benchhost"):
        await SQLiteStore(tmp_path / "store.db").open()
    assert (tmp_path / "store.db").read_bytes() == before
