"""What is recorded of runs, as commands tell it."""

from __future__ import annotations

from typing import Any

import msgspec

from benchhost.cli.listed import told
from benchhost.cli.stored import opened_store, recorded_run
from benchhost.contract import EvaluationStatus, GenerationStatus
from benchhost.receipts import Receipt
from benchhost.runner.config import RunConfig
from benchhost.runner.progress import ErrorClass
from benchhost.runner.run import stored_config
from benchhost.runner.summary import RunSummary, summarise_run
from benchhost.server.sealing import sealed_run
from benchhost.settings import Settings
from benchhost.store import REQUESTED, RunEvent, RunRecord

_summary = msgspec.json.Decoder(RunSummary)

_NO_ERROR = frozenset(
    {
        GenerationStatus.SUCCESS,
        GenerationStatus.MAX_TIME,
        GenerationStatus.MAX_TURNS,
        EvaluationStatus.EVALUATED,
        EvaluationStatus.DID_NOT_COMPLETE,
    }
)


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """One run: what is told of it in a list, its configuration, what happened to it, and its summary."""

    told: dict[str, Any]
    config: RunConfig
    events: list[dict[str, Any]]
    summary: RunSummary


async def found_run(settings: Settings, run_id: str) -> Found:
    """Return everything about one run; of one that has no summary, one is made.

    Raises :class:`~benchhost.errors.UnknownRun`.
    """
    async with opened_store(settings) as store:
        record = await recorded_run(store, run_id)
        summary = _recorded(record) or await summarise_run(store, record)
        events = [
            {"at": event.at, "kind": event.kind, "data": _shown(event)} for event in await store.run_events(run_id)
        ]
    return Found(told=told(record, settings), config=stored_config(record), events=events, summary=summary)


def _shown(event: RunEvent) -> msgspec.Raw:
    """Return what is told of an event: of the files of an agent that was sent, their names."""
    if event.kind != REQUESTED:
        return msgspec.Raw(event.data)
    data = msgspec.json.decode(event.data)
    if isinstance(agent := data.get("agent"), dict):
        agent["files"] = sorted(agent.get("files", {}))
    return msgspec.Raw(msgspec.json.encode(data))


async def run_receipt(settings: Settings, run_id: str, entries: bool) -> Receipt:
    """Seal a run.

    Raises :class:`~benchhost.errors.UnknownRun`, and :class:`~benchhost.errors.RunRefused` when it has not ended.
    """
    async with opened_store(settings) as store:
        return await sealed_run(store, await recorded_run(store, run_id), settings.state, entries=entries)


async def failed_tasks(settings: Settings, run_id: str) -> tuple[list[ErrorClass], dict[tuple[str, str], list[str]]]:
    """Return the classes of errors of a run, the largest first, and the tasks of each by status and kind.

    Raises :class:`~benchhost.errors.UnknownRun`.
    """
    classes: dict[tuple[str, str], ErrorClass] = {}
    tasks: dict[tuple[str, str], list[str]] = {}
    async with opened_store(settings) as store:
        await recorded_run(store, run_id)
        async for page in store.attempts(run_id):
            for attempt in page:
                status = attempt.status if attempt.status not in _NO_ERROR else attempt.evaluation_status
                if status is None or status in _NO_ERROR:
                    continue
                key = (status, attempt.kind)
                if key not in classes:
                    classes[key] = ErrorClass(attempt.kind, status, 0, attempt.task, attempt.message)
                classes[key].count += 1
                tasks.setdefault(key, []).append(attempt.task)
    return sorted(classes.values(), key=lambda error: -error.count), tasks


def _recorded(record: RunRecord) -> RunSummary | None:
    try:
        return None if record.summary is None else _summary.decode(record.summary)
    except msgspec.DecodeError:  # one of a benchhost that knew other fields; the attempts themselves can be read
        return None
