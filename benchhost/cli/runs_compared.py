"""``benchhost runs compare``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json


@click.command(epilog="Exit codes: 0 compared, 1 failure, 2 wrong call, 3 no task has a score in both.")
@click.argument("first", metavar="A")
@click.argument("second", metavar="B")
@as_json
@settings_options("state")
def compare(first: str, second: str, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Compare two runs task by task.

    The difference is B less A, with its interval, and the exact test of McNemar where every score is 0
    or 1. Only tasks that have a score in both runs, and that are the same in both, count.
    """
    from benchhost.cli.comparing import compared
    from benchhost.runner.exits import ExitCode

    found = asyncio.run(compared(read(config, flags), first, second))
    if as_json:
        print_json(found)
    else:
        from benchhost.cli.report import show_comparison

        show_comparison(first, second, found.comparison, found.notes)
    if not found.comparison.tasks:
        click.echo(f"Nothing is compared: no task has a score in both {first} and {second}.", err=True)
        click.get_current_context().exit(ExitCode.TASK_ERRORS)
