"""Runs that were made elsewhere: folders in the layout of the Vals runner, read into the store."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import msgspec

from benchhost.contract import EvaluationStatus, GenerationResult, Result
from benchhost.errors import RunRefused, StoreFailed, UsageError
from benchhost.models import Spend
from benchhost.runner.artifacts import EVAL, GENERATION, RUN_CONFIG, place_of
from benchhost.runner.attempt import facets_of, kind_of, response_digest, verdict_without_judge
from benchhost.runner.config import RunConfig, checked_run_id, frozen_selection
from benchhost.runner.source import Source, Verdict
from benchhost.runner.summary import status_of, summarise_run
from benchhost.store import AttemptRecord, RunEvent, RunRecord, Store

QUARANTINE = "quarantine"

_encode = msgspec.json.Encoder().encode
_object = msgspec.json.Decoder(dict[str, Any])


class Imported(msgspec.Struct, frozen=True, kw_only=True):
    """What became of a folder. ``quarantined`` files were moved away, each with the reason: their tasks are owed.

    ``unknown`` are tasks that the dataset does not have; they were left out.
    """

    run: str
    attempts: int
    quarantined: dict[str, str]
    unknown: list[str]


class _Unusable(Exception):
    """A file is torn, edited or of another kind; the message says which."""


async def import_vals(
    store: Store, source: Source, folder: Path, *, run_id: str | None = None, label: str = "", tenant: str = ""
) -> Imported:
    """Read the folder of a run into the store, as a run that can be shown, compared and carried on.

    ``source`` is the dataset that the run was about. Responses may stand under ``data`` or, as in older
    folders, under ``answer``. A file that cannot be trusted is moved into the folder ``quarantine``, and
    what it said is owed again: that is one that is torn, that contradicts itself, or whose digest, if it
    has one, is not that of its content.

    Raises :class:`~benchhost.errors.UsageError` when the folder holds no run, or one of another benchmark, and
    :class:`~benchhost.errors.RunRefused` when the store has a run of that id.
    """
    try:
        said = _object.decode((folder / RUN_CONFIG).read_bytes())
    except OSError as error:
        why = f"its {RUN_CONFIG} cannot be read: {error.strerror}"
        raise UsageError(f"{folder} is no folder of a run: {why}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(f"{folder} is no folder of a run: its {RUN_CONFIG} is no JSON object: {error}") from error
    run_id = checked_run_id(run_id or str(said.get("run_id") or folder.name))
    config, unknown = _config(said, source)
    if config.benchmark != source.benchmark:
        raise UsageError(f"{folder} is a run of {config.benchmark}, not of {source.benchmark}")
    now = time.time()
    record = RunRecord(
        id=run_id,
        tenant=tenant,
        benchmark=config.benchmark,
        dataset=config.dataset,
        model=config.model,
        label=label,
        digest=config.digest,
        config=_encode(config),
        status="incomplete",
        reason="imported",
        created_at=now,
        updated_at=now,
    )
    if not await store.create_run(record):
        raise RunRefused(f"there is a run {run_id} already; choose another id for the import")
    try:
        return await _import_attempts(store, source, folder, record, config, unknown)
    except BaseException:  # a part of a run would stand in the way of the next try
        with anyio.CancelScope(shield=True), contextlib.suppress(StoreFailed):
            await store.delete_run(run_id)
        raise


async def _import_attempts(
    store: Store, source: Source, folder: Path, record: RunRecord, config: RunConfig, unknown: list[str]
) -> Imported:
    quarantined: dict[str, str] = {}
    count = 0
    page: list[AttemptRecord] = []
    for attempt in _attempts(folder, source, config, record.id, quarantined):
        page.append(attempt)
        if len(page) == 200:
            await store.keep_attempts(page)
            count, page = count + len(page), []
    await store.keep_attempts(page)
    count += len(page)
    event = {"folder": folder.name, "attempts": count, "quarantined": quarantined, "unknown": unknown}
    await store.note(RunEvent(run=record.id, at=record.created_at, kind="imported", data=_encode(event)))
    summary = await summarise_run(store, record, source=source)
    status = status_of(summary, evaluate=bool(summary.scored))
    await store.update_run(msgspec.structs.replace(record, status=status, summary=_encode(summary)))
    return Imported(run=record.id, attempts=count, quarantined=quarantined, unknown=unknown)


def _config(said: dict[str, Any], source: Source) -> tuple[RunConfig, list[str]]:
    try:
        config = msgspec.convert(said["benchhost"], RunConfig)
    except (KeyError, msgspec.ValidationError, UsageError):
        config = RunConfig(
            benchmark=source.benchmark,
            dataset=source.dataset,
            dataset_version=source.version,
            source=source.kind,
            host=source.host,
            evaluator_version=source.evaluator_version,
            model=str(said.get("model") or "unknown/unknown"),
            runner="vals",
            runner_version=str(said.get("generation_version") or said.get("runner_version") or "0"),
            task_count=len(source.ids),
        )
    ours = "benchhost" in said  # of a run of all tasks, those that were attempted are listed, and all are meant
    listed = (config.tasks if ours else said.get("tasks")) or ()
    if not isinstance(listed, list | tuple):
        raise UsageError(f"the tasks of {RUN_CONFIG} must be a list of ids, not {type(listed).__name__}")
    named = [str(task) for task in listed]
    known = set(source.ids)
    tasks = frozen_selection(named or source.ids, source.ids)
    count = len(source.ids) if tasks is None else len(tasks)
    return msgspec.structs.replace(config, tasks=tasks, task_count=count), [t for t in named if t not in known]


def _attempts(
    folder: Path, source: Source, config: RunConfig, run_id: str, quarantined: dict[str, str]
) -> Iterator[AttemptRecord]:
    for task_id in source.ids if config.tasks is None else config.tasks:
        for epoch in range(1, config.epochs + 1):
            place = place_of(folder, task_id, epoch)
            if not place.is_dir() and _is_plain(task_id):
                place = folder / task_id  # where the Vals runner has it
            found = _read(place / GENERATION, folder, quarantined, lambda path, id_=task_id: _result(path, id_))
            if found is None:
                continue
            result, spend = found
            digest = response_digest(result.data)
            verdict = verdict_without_judge(result) or _read(
                place / EVAL, folder, quarantined, lambda path, id_=task_id, of=digest: _verdict(path, id_, of)
            )
            now = time.time()
            yield AttemptRecord(
                run=run_id,
                task=task_id,
                epoch=epoch,
                number=1,
                task_digest=source.digest(task_id),
                facets=_encode(facets_of(_object.decode(source.public(task_id)))),
                status=result.status.value,
                kind=kind_of(result),
                message=result.error or "",
                retriable=result.status.retriable,
                response_digest=digest,
                started_at=now,
                generated_at=now,
                evaluation_status=verdict.status.value if verdict else None,
                evaluator_version=verdict.evaluator_version if verdict else None,
                score=verdict.result.score if verdict and verdict.result else None,
                evaluation=_encode(verdict) if verdict else None,
                evaluated_at=now if verdict else None,
                generation=_encode(result),
                spend=_encode(spend),
            )


def _read(path: Path, folder: Path, quarantined: dict[str, str], read: Any) -> Any:
    """Read a file, or move it away and say why it cannot be used."""
    try:
        return read(path)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError, ValueError, _Unusable) as error:
        name = str(path.relative_to(folder))
        quarantined[name] = f"{type(error).__name__.lstrip('_')}: {error}"
        target = folder / QUARANTINE / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(path, target)
        return None


def _result(path: Path, task_id: str) -> tuple[GenerationResult, Spend]:
    said = _object.decode(path.read_bytes())
    if "data" in said and "answer" in said and said["data"] != said["answer"]:
        raise _Unusable("its data and its answer, which say the same, differ")
    if "data" not in said and "answer" in said:
        said["data"] = said["answer"]
    said["status"] = said.get("benchhost_status", said.get("status"))
    result = msgspec.convert(said, GenerationResult)
    if result.task_id != task_id:
        raise _Unusable(f"it is about task {result.task_id[:200]!r}")
    if said.get("generation_digest", digest := response_digest(result.data)) != digest:
        raise _Unusable("its digest is not that of its data, so it was edited")
    return result, msgspec.convert(said.get("benchhost_spend") or {}, Spend)


def _verdict(path: Path, task_id: str, digest: str) -> Verdict:
    said = _object.decode(path.read_bytes())
    if said.get("task_id") != task_id:
        raise _Unusable("it is about another task")
    if said.get("generation_digest", digest) != digest:
        raise _Unusable("it is about another response")
    status = EvaluationStatus(str(said.get("benchhost_status", said.get("status"))))
    errors = (str(said["error"]),) if said.get("error") else ()
    spend = msgspec.convert(said.get("benchhost_spend"), Spend | None)
    if status is not EvaluationStatus.EVALUATED:
        return Verdict(status=status, kind=status.value, errors=errors, spend=spend)
    result = said.get("result")
    if not isinstance(result, dict):
        raise _Unusable("it is evaluated, but has no result")
    score = result.get("score")
    if score is None and isinstance(result.get("pass_percentage"), int | float):
        score = result["pass_percentage"] / 100
    if not isinstance(score, int | float):
        raise _Unusable("its result has no score")
    version = result.get("eval_version")
    return Verdict(
        status=status,
        result=Result(
            score=float(score),
            passed=result.get("passed") if isinstance(result.get("passed"), bool) else None,
            metrics=msgspec.convert(result.get("metrics") or {}, dict[str, float]),
            feedback=result.get("feedback") if isinstance(result.get("feedback"), str) else None,
        ),
        evaluator_version=None if version is None else str(version),
        spend=spend,
    )


def _is_plain(task_id: str) -> bool:
    return "/" not in task_id and "\\" not in task_id and task_id not in (".", "..")
