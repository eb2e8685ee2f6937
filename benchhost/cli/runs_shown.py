"""``benchhost runs list``, ``show`` and ``errors``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import COUNT, as_json, print_json


@click.command("list")
@click.option("--benchmark", metavar="NAME", help="Only runs of this benchmark.  [default: all]")
@click.option("--limit", type=COUNT, default=20, metavar="N", help="How many at most.  [default: 20]")
@as_json
@settings_options("state")
def list_(benchmark: str | None, limit: int, as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the newest runs."""
    from benchhost.cli.listed import told_runs

    runs = asyncio.run(told_runs(read(config, flags), benchmark, limit))
    if as_json:
        print_json({"runs": runs})
        return
    from benchhost.cli import words
    from benchhost.cli.report import show_runs
    from benchhost.cli.words import moment

    if not runs and benchmark is not None:
        click.echo(f"No run of {benchmark} is recorded. All runs: benchhost runs list")
        return
    if not runs:
        click.echo("No run is recorded. Try: benchhost run arithmetic --model scripted/reference")
        return
    show_runs(
        (
            run["id"],
            words.line(run["model"], 60),
            run["status"],
            words.brief(run["score"], run["interval"]),
            words.percent(run["coverage"]),
            words.brief_cost(run["cost"], run["unpriced"]),
            moment(run["created_at"]),
            words.line(run["label"], 40),
        )
        for run in runs
    )


@click.command()
@click.argument("run_id", metavar="RUN")
@as_json
@settings_options("state")
def show(run_id: str, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Show a run: its score, slices, errors and cost."""
    from benchhost.cli.recorded import found_run

    found = asyncio.run(found_run(read(config, flags), run_id))
    if as_json:
        print_json({"run": found.told, "config": found.config, "events": found.events, "summary": found.summary})
        return
    from benchhost.cli.report import show_summary

    show_summary(found.summary, found.told["status"], found.told["reason"])


@click.command()
@click.argument("run_id", metavar="RUN")
@as_json
@settings_options("state")
def errors(run_id: str, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Show the errors of a run by class, with their tasks.

    These are the first ten of each class, and with --json all of them.
    """
    from benchhost.cli.recorded import failed_tasks

    found, tasks = asyncio.run(failed_tasks(read(config, flags), run_id))
    if as_json:
        told = [msgspec.to_builtins(error) | {"tasks": tasks[error.status, error.kind]} for error in found]
        print_json({"run": run_id, "errors": told})
        return
    from benchhost.cli.report import show_errors

    if found:
        show_errors(found, tasks)
    else:
        click.echo(f"The run {run_id} has no errors.")
