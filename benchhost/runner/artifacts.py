"""Runs as folders and files: an export of the store, whole or not at all.

The layout is the one that users of the Vals runner know: ``run_config.json``, and for each task
``generation.json`` and ``eval.json``, and ``final_score.json``. Epochs after the first have a folder
``epoch-2`` and so on in that of the task. Keys that the Vals runner does not have are beside its own.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any

import anyio.to_thread
import msgspec

from benchhost.contract import EvaluationStatus, GenerationResult
from benchhost.errors import UnknownRun
from benchhost.runner.attempt import response_digest
from benchhost.runner.config import RunConfig
from benchhost.runner.names import folder_name
from benchhost.runner.source import Verdict
from benchhost.runner.summary import RunSummary, status_of
from benchhost.store import AttemptRecord, RunRecord, Store

RUN_CONFIG = "run_config.json"
FINAL_SCORE = "final_score.json"
GENERATION = "generation.json"
EVAL = "eval.json"

_generation = msgspec.json.Decoder(GenerationResult)
_verdict = msgspec.json.Decoder(Verdict)
_summary = msgspec.json.Decoder(RunSummary)
_TASK_SOURCES = {"benchmark": "service", "host": "service", "file": "file", "problem": "problem", "runner": "file"}


async def export_vals(store: Store, run_id: str, folder: Path) -> int:
    """Write a run as a folder in the layout of the Vals runner; return how many attempts it holds.

    Each file is replaced as a whole. What else is in the folder is left alone, but for the final score
    of a run that has none now.

    Raises :class:`~benchhost.errors.UnknownRun`, and ``OSError`` when the folder cannot be written.
    """
    record = await _recorded(store, run_id)
    config = msgspec.json.decode(record.config, type=RunConfig)
    exported = 0
    tasks: set[str] = set()
    scored: set[str] = set()
    async for page in store.attempts(run_id, generation=True):
        await anyio.to_thread.run_sync(_write_attempts, folder, page)
        exported += len(page)
        tasks.update(attempt.task for attempt in page)
        scored.update(attempt.task for attempt in page if attempt.score is not None)
    write_json(folder / RUN_CONFIG, vals_config(record, config, sorted(config.tasks or tasks)))
    if record.summary is not None:
        write_json(folder / FINAL_SCORE, vals_score(_summary.decode(record.summary), sorted(scored)))
    else:
        (folder / FINAL_SCORE).unlink(missing_ok=True)
    return exported


async def export_jsonl(store: Store, run_id: str, file: Path) -> int:
    """Write every attempt of a run, superseded ones included, as lines of JSON; return how many there are.

    Raises what :func:`export_vals` raises.
    """
    await _recorded(store, run_id)
    written = 0
    with replacing(file) as out:
        async for page in store.attempts(run_id, latest=False, generation=True):
            for attempt in page:
                out.write(msgspec.json.encode(attempt_line(attempt)) + b"\n")
                written += 1
    return written


def place_of(folder: Path, task_id: str, epoch: int) -> Path:
    """Return the folder of a task and epoch in the folder of a run."""
    place = folder / folder_name(task_id)
    return place if epoch == 1 else place / f"epoch-{epoch}"


def attempt_line(attempt: AttemptRecord) -> dict[str, Any]:
    """Return an attempt as it may leave the host: without the digest of the task, which covers hidden answers."""
    fields = msgspec.structs.asdict(attempt)
    del fields["task_digest"]
    for name in ("facets", "spend", "generation", "evaluation"):
        fields[name] = None if fields[name] is None else msgspec.Raw(fields[name])
    return fields


def vals_config(record: RunRecord, config: RunConfig, tasks: list[str]) -> dict[str, Any]:
    """Return ``run_config.json``: what the Vals runner writes, and under ``benchhost`` the whole configuration."""
    return {
        "run_id": record.id,
        "model": config.model,
        "tasks": tasks,
        "dataset_file": None,
        "dataset_name": config.dataset,
        "task_source": _TASK_SOURCES[config.source],
        "payload_schema": f"{config.benchmark}.text.v1",
        "payload_type": "text",
        "runner_version": config.runner_version,
        "generation_version": config.runner_version,
        "benchhost": config,
    }


def vals_generation(attempt: AttemptRecord, result: GenerationResult) -> dict[str, Any]:
    """Return ``generation.json``. ``answer`` says the same as ``data``, for older readers.

    ``generation_digest`` is that of ``data``, by which it is known whether the file was edited, and
    ``benchhost_spend`` what the attempt took.
    """
    return msgspec.structs.asdict(result) | {
        "status": result.status.vals,
        "answer": result.data,
        "benchhost_status": result.status.value,
        "benchhost_spend": msgspec.Raw(attempt.spend),
        "generation_digest": response_digest(result.data),
    }


def vals_evaluation(attempt: AttemptRecord, verdict: Verdict) -> dict[str, Any]:
    """Return ``eval.json``; ``generation_digest`` ties it to the response that was judged."""
    result: dict[str, Any] | None = None
    if verdict.result is not None:
        result = msgspec.to_builtins(verdict.result)
        result.pop("private", None)
        result["pass_percentage"] = 100 * verdict.result.score
        result["eval_version"] = verdict.evaluator_version or attempt.evaluator_version
    return {
        "task_id": attempt.task,
        "status": verdict.status.vals,
        "benchhost_status": verdict.status.value,
        "result": result,
        "error": verdict.errors[0] if verdict.errors and verdict.status is not EvaluationStatus.EVALUATED else None,
        "benchhost_spend": verdict.spend,
        "generation_digest": attempt.response_digest,
    }


def vals_score(summary: RunSummary, tasks: list[str]) -> dict[str, Any]:
    """Return ``final_score.json``."""
    return {
        "tasks_evaluated": tasks,
        "final_score": 0.0 if summary.score is None else summary.score,
        "metadata": msgspec.to_builtins(summary),
        "complete": status_of(summary) == "complete",
    }


def write_json(path: Path, content: object) -> None:
    """Write a file whole or not at all, as JSON that people can read."""
    with replacing(path) as out:
        out.write(msgspec.json.format(msgspec.json.encode(content), indent=2) + b"\n")


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of another once it is written to the end.

    A device, a pipe or a link stays what it is: what is written goes through it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.exists() and not path.is_file():
        with path.open("wb") as out:
            yield out
        return
    path = path.resolve()
    fresh = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with fresh.open("wb") as out:
            yield out
        fresh.replace(path)
    finally:
        fresh.unlink(missing_ok=True)


async def _recorded(store: Store, run_id: str) -> RunRecord:
    record = await store.run(run_id)
    if record is None:
        raise UnknownRun(f"no run {run_id} is recorded")
    return record


def _write_attempts(folder: Path, attempts: Sequence[AttemptRecord]) -> None:
    for attempt in attempts:
        place = place_of(folder, attempt.task, attempt.epoch)
        if attempt.generation is not None:
            write_json(place / GENERATION, vals_generation(attempt, _generation.decode(attempt.generation)))
        if attempt.evaluation is not None:
            write_json(place / EVAL, vals_evaluation(attempt, _verdict.decode(attempt.evaluation)))
        else:
            (place / EVAL).unlink(missing_ok=True)
