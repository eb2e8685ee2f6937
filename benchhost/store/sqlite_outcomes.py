"""How outcomes are written to SQLite: many at a time, as cheaply as rows can be.

Nearly all of them are results that have nothing private, of evaluations that nobody else has begun; and those of a
batch have most columns in common. So rows are written by statements that are given once what their rows share. That
takes half of the time of a statement for each row, after each of which the interpreter's lock changes hands.

The Python of sqlite3 looks for an adapter of each ``None`` and each ``bytes``, which costs as much as a third of a
row: so columns that are empty are left out, and results are given as ``bytearray``, which it takes as it is.
"""

# ruff: noqa: S608 (the queries are put together from names of fields)

from __future__ import annotations

import functools
import sqlite3
from collections.abc import Iterable, Sequence
from itertools import groupby
from operator import attrgetter
from typing import Any

import msgspec

from benchhost.store.records import OUTCOME, Evaluation

AT_ONCE = 32
"""The most rows of one statement: with more, a row takes no less."""

_FIELDS = Evaluation.__struct_fields__
_OWN = ("id", "task", "response_digest", "result")
_EMPTY = ("private", "errors", "cause")
_ALIKE = tuple(name for name in _FIELDS if name not in _OWN + _EMPTY)
"""What results that have nothing private, and come of one batch, share; and what is to be said of each of them."""

_alike = attrgetter(*_ALIKE)

_KEEPING = f"""
    ON CONFLICT (id) DO UPDATE SET {", ".join(f"{name} = excluded.{name}" for name in OUTCOME)}
    WHERE status = 'running' AND owner = excluded.owner AND attempt = excluded.attempt
"""


def _values(fields: Sequence[str]) -> str:
    return f"({', '.join('?' for _ in fields)})"


def _finishing(fields: Sequence[str]) -> str:
    return f"INSERT INTO evaluation ({', '.join(fields)}) VALUES {_values(fields)} {_KEEPING}"


_FINISH, _FINISH_PLAIN = _finishing(_FIELDS), _finishing(_ALIKE + _OWN)


@functools.cache
def _finishing_alike(number: int) -> str:
    """Make the statement that finishes so many evaluations: its values are what they share, then those of each."""
    return f"""
        INSERT INTO evaluation ({", ".join(_ALIKE + _OWN)})
        SELECT * FROM (VALUES {_values(_ALIKE)}), (VALUES {", ".join([_values(_OWN)] * number)})
        WHERE true {_KEEPING}
    """


class NotAll(Exception):
    """Some of the outcomes are not to be recorded; the transaction is to be undone, and each looked at by itself."""


def finish_all(cursor: sqlite3.Cursor, evaluations: Sequence[Evaluation]) -> None:
    """Record outcomes, all of them.

    Raises :class:`NotAll`.
    """
    plain = [each for each in evaluations if _is_plain(each)]
    others = [_row(each) for each in evaluations if not _is_plain(each)] if len(plain) < len(evaluations) else []
    recorded = _finish_plain(cursor, plain)
    if others:
        recorded += cursor.executemany(_FINISH, others).rowcount
    if recorded < len(evaluations):
        raise NotAll


def finish_each(cursor: sqlite3.Cursor, evaluations: Sequence[Evaluation]) -> list[bool]:
    """Record outcomes, and say of each whether it was."""
    return [
        cursor.execute(_FINISH_PLAIN, (*_alike(each), *_own(each))).rowcount == 1
        if _is_plain(each)
        else cursor.execute(_FINISH, _row(each)).rowcount == 1
        for each in evaluations
    ]


def _finish_plain(cursor: sqlite3.Cursor, evaluations: Iterable[Evaluation]) -> int:
    """Record results that have nothing private; return how many were."""
    recorded = 0
    for alike, group in groupby(evaluations, _alike):
        same = list(group)
        for start in range(0, len(same), AT_ONCE):
            some = same[start : start + AT_ONCE]
            values: list[Any] = [*alike]
            for each in some:
                values += _own(each)
            recorded += cursor.execute(_finishing_alike(len(some)), values).rowcount
    return recorded


def _is_plain(evaluation: Evaluation) -> bool:
    given = evaluation.result is not None and evaluation.private is None
    return given and not evaluation.errors and evaluation.cause is None


def _own(evaluation: Evaluation) -> tuple[Any, ...]:
    return evaluation.id, evaluation.task, evaluation.response_digest, bytearray(evaluation.result or b"")


def _row(evaluation: Evaluation) -> tuple[Any, ...]:
    *row, errors, cause, finished_at = msgspec.structs.astuple(evaluation)
    texts = msgspec.json.encode([_text(error) for error in errors]).decode() if errors else None
    return (*row, texts, None if cause is None else _text(cause), finished_at)


def _text(text: str) -> str:
    """Replace what UTF-8 cannot say: a traceback may quote half a character, and must not stop the record."""
    return text.encode("utf-8", "replace").decode()
