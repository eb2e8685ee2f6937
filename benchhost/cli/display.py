"""Showing a run while it goes on: a live display on a terminal, a line now and then anywhere else."""

from __future__ import annotations

import contextlib
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

import benchhost
from benchhost.cli import words
from benchhost.runner.progress import Progress, Snapshot

EVERY = 10.0
"""Seconds between two plain lines."""

OURS = Path(benchhost.__file__).parent
"""Where warnings come from that are for the person who runs."""


async def watch(progress: Progress) -> None:
    """Show a run on stderr until it ends."""
    if sys.stderr.isatty():
        from benchhost.cli.live import show

        await show(progress)
    else:
        await tell_lines(progress)


async def tell_lines(progress: Progress, every: float = EVERY) -> None:
    """Say in plain lines how far a run is, whenever that has changed."""
    said = None
    warned: set[str] = set()
    async for snapshot in progress.watch(every):
        for warning in snapshot.warnings:
            if warning not in warned:
                tell(f"Warning: {warning}")
                warned.add(warning)
        line = line_of(snapshot)
        if snapshot.total and line != said:
            tell(line)
            said = line


def line_of(snapshot: Snapshot) -> str:
    """Say everything that matters of a snapshot in one line."""
    parts = [f"{snapshot.done:,} of {snapshot.total:,} done"]
    if snapshot.earlier:
        parts[0] += f" ({snapshot.earlier:,} earlier)"
    parts.append(f"{snapshot.generated:,} generated, {snapshot.evaluated:,} evaluated")
    parts.append(f"score {words.score(snapshot.score, snapshot.interval)}")
    parts.append(
        f"{snapshot.usage.input_tokens + snapshot.usage.output_tokens:,} tokens, {words.cost_so_far(snapshot)}"
    )
    if snapshot.errors:
        parts.append(
            "errors: " + ", ".join(f"{error.kind or error.status} {error.count:,}" for error in snapshot.errors)
        )
    if snapshot.calls is not None and snapshot.calls_limit is not None:
        parts.append(f"{snapshot.calls} of {snapshot.calls_limit} calls at once")
    return " · ".join(parts)


def tell(text: str) -> None:
    """Say a line to the person, on stderr: stdout is for what was asked for."""
    click.echo(text, err=True)


@contextlib.contextmanager
def warnings_told() -> Iterator[None]:
    """Have what benchhost warns of told as a line. What others warn of is shown as ever, with its place."""
    as_ever = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **more: Any) -> None:
        if Path(filename).is_relative_to(OURS):
            tell(f"Warning: {message}")
        else:
            as_ever(message, category, filename, *rest, **more)

    warnings.showwarning = show
    try:
        yield
    finally:
        warnings.showwarning = as_ever
