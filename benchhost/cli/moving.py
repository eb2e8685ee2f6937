"""Runs into files, out of files, and away."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchhost.cli.opening import opened_source
from benchhost.cli.order import Order
from benchhost.cli.stored import opened_store, recorded_run
from benchhost.errors import UsageError
from benchhost.runner.artifacts import export_jsonl, export_vals
from benchhost.runner.importing import Imported, import_vals
from benchhost.runner.lock import RunLock
from benchhost.settings import Settings
from benchhost.store import OPERATOR


async def exported(settings: Settings, run_id: str, layout: str, to: Path | None) -> tuple[Path, int]:
    """Write a run; return where it is and how many attempts that are.

    Raises :class:`~benchhost.errors.UnknownRun`, and :class:`~benchhost.errors.UsageError` when the path
    cannot be written, or pyarrow is missing.
    """
    async with opened_store(settings) as store:
        await recorded_run(store, run_id)
        try:
            if layout == "vals":
                path = to or Path("results") / run_id
                return path, await export_vals(store, run_id, path)
            path = to or Path(f"{run_id}.{layout}")
            if path.is_dir():
                raise UsageError(f"{path} is a folder, and the layout {layout} is one file: say --to {path}/NAME")
            if layout == "jsonl":
                return path, await export_jsonl(store, run_id, path)
            from benchhost.cli.parquet import export_parquet

            return path, await export_parquet(store, run_id, path)
        except FileExistsError as error:
            raise UsageError(f"{error.filename} is a file, and is to be a folder") from error
        except OSError as error:
            raise UsageError(f"{error.filename or to} cannot be written: {error.strerror}") from error


async def imported(
    settings: Settings,
    folder: Path,
    *,
    benchmark: str,
    dataset: str | None,
    dataset_file: Path | None,
    host: str | None,
    token: str | None,
    token_header: Any,
    run_id: str | None,
    label: str | None,
) -> Imported:
    """Read a folder as a run of a benchmark.

    Raises what :func:`benchhost.runner.importing.import_vals` raises.
    """
    order = Order(
        benchmark=benchmark,
        model="unknown/unknown",
        dataset=dataset,
        dataset_file=None if dataset_file is None else str(dataset_file),
        host=host,
        token_header=token_header or "authorization",
    )
    async with opened_source(order, settings, token=token) as (store, source):
        return await import_vals(store, source, folder, run_id=run_id, label=label or "", tenant=OPERATOR)


async def removed(settings: Settings, run_ids: Sequence[str]) -> None:
    """Delete runs; none of them, if there is one that does not exist.

    Raises :class:`~benchhost.errors.UnknownRun`, and :class:`~benchhost.errors.RunLocked` for one that is
    under way.
    """
    async with opened_store(settings) as store:
        for run_id in run_ids:
            await recorded_run(store, run_id)
        for run_id in run_ids:
            with RunLock(settings.state, run_id):
                await store.delete_run(run_id)
                shutil.rmtree(settings.state / "runs" / run_id, ignore_errors=True)
