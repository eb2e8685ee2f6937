"""The schema of the SQLite store, as the list of changes that led to it.

A file says in ``user_version`` how many of them it has been through. Changes are only ever added to
the end: files that were made by the ones above exist.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from benchhost.errors import StoreFailed

APPLICATION_ID = 0x62686F73
"""``bhos`` in ASCII: how a file of ours is told from any other file of SQLite (``PRAGMA application_id``)."""

Migration = Sequence[str]
"""The statements of one change."""

MIGRATIONS: Sequence[Migration] = (
    # 1: evaluations. The columns are in the order of the fields of Evaluation. Rows are appended and
    # found through the index over their id: ids are digests, and a table that was ordered by them
    # would touch two scattered pages for each evaluation where this touches one.
    (
        """
        CREATE TABLE evaluation (
            id TEXT PRIMARY KEY NOT NULL,
            tenant TEXT NOT NULL,
            benchmark TEXT NOT NULL,
            dataset TEXT NOT NULL,
            fingerprint TEXT NOT NULL,
            run TEXT NOT NULL,
            task TEXT NOT NULL,
            response_digest TEXT NOT NULL,
            evaluator_version TEXT NOT NULL,
            owner TEXT NOT NULL,
            started_at REAL NOT NULL,
            status TEXT NOT NULL,
            attempt INTEGER NOT NULL,
            result BLOB,
            private BLOB,
            errors TEXT,
            cause TEXT,
            finished_at REAL
        )
        """,
        "CREATE INDEX evaluation_running ON evaluation (owner) WHERE status = 'running'",
    ),
    # 2: runs. An attempt names its run by number, which is short; generation is the last column, since
    # what stands behind a large value is slow to reach.
    (
        """
        CREATE TABLE run (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            id TEXT UNIQUE NOT NULL,
            tenant TEXT NOT NULL,
            benchmark TEXT NOT NULL,
            dataset TEXT NOT NULL,
            model TEXT NOT NULL,
            label TEXT NOT NULL,
            digest TEXT NOT NULL,
            config BLOB NOT NULL,
            status TEXT NOT NULL,
            reason TEXT NOT NULL,
            created_at REAL NOT NULL,
            updated_at REAL NOT NULL,
            summary BLOB
        )
        """,
        """
        CREATE TABLE attempt (
            run INTEGER NOT NULL,
            task TEXT NOT NULL,
            epoch INTEGER NOT NULL,
            number INTEGER NOT NULL,
            task_digest TEXT NOT NULL,
            facets BLOB NOT NULL,
            status TEXT NOT NULL,
            kind TEXT NOT NULL,
            message TEXT NOT NULL,
            retriable INTEGER NOT NULL,
            response_digest TEXT NOT NULL,
            spend BLOB NOT NULL,
            started_at REAL NOT NULL,
            generated_at REAL NOT NULL,
            evaluation_status TEXT,
            evaluator_version TEXT,
            score REAL,
            evaluation BLOB,
            evaluated_at REAL,
            latest INTEGER NOT NULL,
            generation BLOB
        )
        """,
        "CREATE UNIQUE INDEX attempt_identity ON attempt (run, task, epoch, number)",
        "CREATE INDEX attempt_order ON attempt (run)",
        """
        CREATE TABLE run_event (
            run INTEGER NOT NULL,
            at REAL NOT NULL,
            kind TEXT NOT NULL,
            data BLOB NOT NULL
        )
        """,
        "CREATE INDEX run_event_order ON run_event (run)",
    ),
    # 3: who may use what. The number of the newest event is what every worker asks for, again and again.
    (
        """
        CREATE TABLE tenant (
            name TEXT PRIMARY KEY NOT NULL,
            trial INTEGER,
            revoked_at REAL
        )
        """,
        """
        CREATE TABLE granted (
            tenant TEXT NOT NULL,
            dataset TEXT NOT NULL,
            PRIMARY KEY (tenant, dataset)
        )
        """,
        """
        CREATE TABLE access_key (
            id TEXT PRIMARY KEY NOT NULL,
            digest BLOB UNIQUE NOT NULL,
            tenant TEXT NOT NULL,
            datasets TEXT NOT NULL,
            label TEXT NOT NULL,
            created_at REAL NOT NULL,
            expires_at REAL,
            revoked_at REAL,
            used_at REAL
        )
        """,
        """
        CREATE TABLE access_event (
            number INTEGER PRIMARY KEY AUTOINCREMENT,
            at REAL NOT NULL,
            by TEXT NOT NULL,
            kind TEXT NOT NULL,
            tenant TEXT NOT NULL,
            datasets TEXT NOT NULL,
            key TEXT NOT NULL
        )
        """,
    ),
    # 4: how far evaluations that were interrupted had come. Few of them say so.
    (
        """
        CREATE TABLE resume_state (
            evaluation TEXT PRIMARY KEY NOT NULL,
            state BLOB NOT NULL
        )
        """,
    ),
    # 5: what was not begun over HTTP is the operator's (run_records.OPERATOR), and no longer shown to callers.
    (
        """
        UPDATE run SET tenant = '@operator'
        WHERE tenant = '' AND number NOT IN (SELECT run FROM run_event WHERE kind = 'requested')
        """,
    ),
    # 6: the label of the version of the dataset that an evaluation was judged against.
    ("ALTER TABLE evaluation ADD COLUMN dataset_version TEXT NOT NULL DEFAULT ''",),
    # 7: which responses of a tenant to a task were judged, where a policy limits how many may be.
    (
        """
        CREATE TABLE tried (
            tenant TEXT NOT NULL,
            benchmark TEXT NOT NULL,
            dataset TEXT NOT NULL,
            task TEXT NOT NULL,
            response_digest TEXT NOT NULL,
            evaluation TEXT NOT NULL,
            PRIMARY KEY (tenant, benchmark, dataset, task, response_digest)
        ) WITHOUT ROWID
        """,
    ),
    # 8: quotas, with what was used of the period that began at ``since``.
    (
        """
        CREATE TABLE quota (
            tenant TEXT NOT NULL,
            benchmark TEXT NOT NULL,
            period TEXT NOT NULL,
            most INTEGER NOT NULL,
            used INTEGER NOT NULL,
            since REAL NOT NULL,
            PRIMARY KEY (tenant, benchmark, period)
        )
        """,
    ),
    # 9: how many evaluations quotas refused, which quotas are the allowlist's, and the log of both.
    (
        "ALTER TABLE quota ADD COLUMN refused INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE quota ADD COLUMN listed INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE access_event ADD COLUMN quota TEXT NOT NULL DEFAULT ''",
    ),
)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration] = MIGRATIONS) -> None:
    """Bring a file to the newest schema, in one transaction.

    Raises :class:`~benchhost.errors.StoreFailed` when the file is not a store, or is one of a newer
    benchhost, and ``sqlite3.Error`` when a statement fails; the file is then as it was.
    """
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = _version(connection)
        if version > len(migrations):
            raise StoreFailed(
                f"the store has schema {version}, and this benchhost knows schemas up to {len(migrations)}: "
                "it was written by a newer benchhost. Install that one, or name another file"
            )
        for number, statements in enumerate(migrations[version:], version + 1):
            for statement in statements:
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute("COMMIT")
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _version(connection: sqlite3.Connection) -> int:
    """Return how many migrations the file has been through: 0 for one that is empty."""
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if application != APPLICATION_ID and (application or version or tables):
        raise StoreFailed("the file is a database of something other than benchhost: name another file for the store")
    return int(version)
