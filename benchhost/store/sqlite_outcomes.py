"""How outcomes are written to SQLite: many at a time, as cheaply as a row can be.

Nearly all of them are results that have nothing private, of evaluations that nobody else has begun. The Python of
sqlite3 looks for an adapter of each ``None`` and each ``bytes``, which costs as much as a third of the row: so
columns that are empty are left out, and results are given as ``bytearray``, which it takes as it is.
"""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any

import msgspec

from benchhost.store.records import OUTCOME, Evaluation

_FIELDS = Evaluation.__struct_fields__
_RESULT = _FIELDS.index("result")
_PLAIN = (*_FIELDS[: _RESULT + 1], "finished_at")
"""What there is to say of a result that has nothing private."""


def _finishing(fields: Sequence[str]) -> str:
    return f"""
        INSERT INTO evaluation ({", ".join(fields)}) VALUES ({", ".join("?" for _ in fields)})
        ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in OUTCOME)}
        WHERE status = 'running' AND owner = excluded.owner AND attempt = excluded.attempt
    """


_FINISH, _FINISH_PLAIN = _finishing(_FIELDS), _finishing(_PLAIN)


class NotAll(Exception):
    """Some of the outcomes are not to be recorded; the transaction is to be undone, and each looked at by itself."""


def finish_all(cursor: sqlite3.Cursor, evaluations: Sequence[Evaluation]) -> None:
    """Record outcomes, all of them.

    Raises :class:`NotAll`.
    """
    plain = [_plain_row(each) for each in evaluations if _is_plain(each)]
    others = [_row(each) for each in evaluations if not _is_plain(each)] if len(plain) < len(evaluations) else []
    for statement, rows in ((_FINISH_PLAIN, plain), (_FINISH, others)):
        if rows and cursor.executemany(statement, rows).rowcount < len(rows):
            raise NotAll


def finish_each(cursor: sqlite3.Cursor, evaluations: Sequence[Evaluation]) -> list[bool]:
    """Record outcomes, and say of each whether it was."""
    return [
        cursor.execute(_FINISH_PLAIN, _plain_row(each)).rowcount == 1
        if _is_plain(each)
        else cursor.execute(_FINISH, _row(each)).rowcount == 1
        for each in evaluations
    ]


def _is_plain(evaluation: Evaluation) -> bool:
    given = evaluation.result is not None and evaluation.private is None
    return given and not evaluation.errors and evaluation.cause is None


def _plain_row(evaluation: Evaluation) -> tuple[Any, ...]:
    return (*msgspec.structs.astuple(evaluation)[:_RESULT], bytearray(evaluation.result or b""), evaluation.finished_at)


def _row(evaluation: Evaluation) -> tuple[Any, ...]:
    *row, errors, cause, finished_at = msgspec.structs.astuple(evaluation)
    texts = msgspec.json.encode([_text(error) for error in errors]).decode() if errors else None
    return (*row, texts, None if cause is None else _text(cause), finished_at)


def _text(text: str) -> str:
    """Replace what UTF-8 cannot say: a traceback may quote half a character, and must not stop the record."""
    return text.encode("utf-8", "replace").decode()
