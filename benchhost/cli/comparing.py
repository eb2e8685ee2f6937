"""Two recorded runs, compared."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhost.cli.stored import opened_store, recorded_run
from benchhost.errors import UsageError
from benchhost.runner.run import stored_config
from benchhost.scoring import Comparison, compare
from benchhost.settings import Settings
from benchhost.store import Store

_NATURAL = frozenset({"model", "base_url", "tasks", "task_count"})
"""Differences between two runs that need no note: they are what is compared, or are told apart from it."""


class Compared(msgspec.Struct, frozen=True, kw_only=True):
    """A comparison, with the fields of the configuration in which the runs differ, and notes for people."""

    first: str
    second: str
    differences: dict[str, tuple[Any, Any]]
    changed: list[str]
    notes: list[str]
    comparison: Comparison


async def compared(settings: Settings, first: str, second: str) -> Compared:
    """Compare two runs on the tasks that are the same in both.

    Raises :class:`~benchhost.errors.UnknownRun`, and :class:`~benchhost.errors.UsageError` when they are
    runs of two benchmarks.
    """
    async with opened_store(settings) as store:
        ours, theirs = [stored_config(await recorded_run(store, run_id)) for run_id in (first, second)]
        if ours.benchmark != theirs.benchmark:
            raise UsageError(f"{first} is a run of {ours.benchmark} and {second} one of {theirs.benchmark}")
        scores, digests = await _scores(store, first)
        their_scores, their_digests = await _scores(store, second)
    differences = ours.differences(theirs)
    # Where the tasks come from different hosts, their digests are not of the same kind.
    alike = (ours.source, ours.host) == (theirs.source, theirs.host)
    changed = [task for task in digests if alike and their_digests.get(task, digests[task]) != digests[task]]
    for task in changed:
        scores.pop(task, None)
        their_scores.pop(task, None)
    notes = [
        f"{name} differs: {_shown(one)} and {_shown(other)}"
        for name, (one, other) in differences.items()
        if name not in _NATURAL
    ]
    if changed:
        notes.append(f"{len(changed):,} tasks are not the same in both and were left out")
    return Compared(
        first=first,
        second=second,
        differences=differences,
        changed=changed,
        notes=notes,
        comparison=compare(scores, their_scores),
    )


async def _scores(store: Store, run_id: str) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return the scores of each task, one for each epoch that has one, and the digest of each task."""
    scores: dict[str, list[float]] = {}
    digests: dict[str, str] = {}
    async for page in store.attempts(run_id):
        for attempt in page:
            digests[attempt.task] = attempt.task_digest
            if attempt.score is not None:
                scores.setdefault(attempt.task, []).append(attempt.score)
    return scores, digests


def _shown(value: object) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 80 else f"{text[:79]}…"
