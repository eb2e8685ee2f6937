"""The list of recorded runs. It reads no more of a run than it tells, so that it comes at once."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhost.cli.stored import opened_store
from benchhost.runner.lock import is_locked
from benchhost.settings import Settings
from benchhost.store import RunRecord


class _Cost(msgspec.Struct, frozen=True):
    cost: float = 0.0
    unpriced: int = 0


class _Interval(msgspec.Struct):
    low: float
    high: float
    level: float
    method: str


class _Gist(msgspec.Struct):
    """What a list needs of a summary (:class:`~benchhost.runner.summary.RunSummary`)."""

    score: float | None = None
    interval: _Interval | None = None
    coverage: float | None = None
    final: dict[str, Any] | None = None
    spend: _Cost = _Cost()
    judge_spend: _Cost = _Cost()


_gist = msgspec.json.Decoder(_Gist)


async def told_runs(settings: Settings, benchmark: str | None, limit: int) -> list[dict[str, Any]]:
    """Return what is told of the newest runs."""
    async with opened_store(settings) as store:
        return [told(record, settings) for record in await store.runs(benchmark=benchmark, limit=limit)]


def told(record: RunRecord, settings: Settings) -> dict[str, Any]:
    """Say what matters of a run. One that no process carries out, although it seems to run, was interrupted."""
    gist = None if record.summary is None else _gist.decode(record.summary)
    interrupted = record.status == "running" and not is_locked(settings.state, record.id)
    return {
        "id": record.id,
        "benchmark": record.benchmark,
        "dataset": record.dataset,
        "model": record.model,
        "label": record.label,
        "status": "interrupted" if interrupted else record.status,
        "reason": record.reason,
        "created_at": record.created_at,
        "updated_at": record.updated_at,
        "score": None if gist is None else gist.score,
        "interval": None if gist is None or gist.final is not None else gist.interval,
        "coverage": None if gist is None else gist.coverage,
        "cost": None if gist is None else gist.spend.cost + gist.judge_spend.cost,
        "unpriced": None if gist is None else gist.spend.unpriced + gist.judge_spend.unpriced,
    }
