"""Stopping a run whose every attempt fails alike, before it has gone through the whole dataset."""

from __future__ import annotations

from benchhost.contract import EvaluationStatus
from benchhost.runner.source import DECLINED
from benchhost.runner.summary import NO_FAILURE
from benchhost.store import AttemptRecord, AttemptVerdict

THRESHOLD = 20
"""How many attempts must fail alike, one after the other."""


class Fuse:
    """Says when to stop. Models have a breaker of their own for calls; this is for everything else.

    Generations count only as long as none has succeeded: afterwards a row of failures says something of
    the tasks. A judge that works does not fail, so its failures always count.
    """

    def __init__(self, threshold: int = THRESHOLD) -> None:
        self._threshold = threshold
        self._generation = _Row()
        self._verdict = _Row()
        self._ever_succeeded = False

    def succeeded_earlier(self) -> None:
        """Take note that a generation of an earlier session succeeded.

        What failed in that session comes first in this one, and would stop it before the rest is reached.
        """
        self._ever_succeeded = True

    def generated(self, record: AttemptRecord) -> str | None:
        """Take note of a generation; return why the run should stop, if it should."""
        if record.status in NO_FAILURE:
            self._ever_succeeded = True
        if self._ever_succeeded:
            return None
        if self._generation.add(record.kind) < self._threshold:
            return None
        return f"{self._threshold} attempts in a row failed alike ({record.kind}): {record.message}"

    def judged(self, verdict: AttemptVerdict) -> str | None:
        """Take note of a verdict; return why the run should stop, if it should."""
        if verdict.evaluation_status == EvaluationStatus.EVALUATED or verdict.kind == DECLINED:
            self._verdict.broken()
            return None
        if self._verdict.add(verdict.kind) < self._threshold:
            return None
        return f"{self._threshold} evaluations in a row failed alike ({verdict.kind}): {verdict.message}"


class _Row:
    """How many failures of one kind came one after the other."""

    def __init__(self) -> None:
        self._kind: str | None = None
        self._length = 0

    def add(self, kind: str) -> int:
        self._length = self._length + 1 if kind == self._kind else 1
        self._kind = kind
        return self._length

    def broken(self) -> None:
        self._kind, self._length = None, 0
