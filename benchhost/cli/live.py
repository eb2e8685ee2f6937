"""The live display of a run on a terminal. Loaded only when it is shown: rich takes its time."""

from __future__ import annotations

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from benchhost.cli import words
from benchhost.runner.progress import Progress, Snapshot

MOST_ERRORS = 5
"""How many classes of errors are shown."""


async def show(progress: Progress, console: Console | None = None) -> None:
    """Show a run on stderr, and leave the last state of it there."""
    console = console or Console(stderr=True, markup=False, highlight=False, emoji=False)
    with Live(console=console, auto_refresh=False, redirect_stdout=False) as live:
        async for snapshot in progress.watch():
            live.update(picture(snapshot), refresh=True)


def picture(snapshot: Snapshot) -> RenderableType:
    """Draw a snapshot."""
    bars = Table.grid(padding=(0, 1))
    for phase, count, running in (
        ("generated", snapshot.generated, snapshot.generating),
        ("evaluated", snapshot.evaluated, snapshot.evaluating),
    ):
        bar = ProgressBar(total=snapshot.total or 1, completed=min(count, snapshot.total), width=30)
        under_way = f"{running:,} under way" if running else ""
        bars.add_row(phase, bar, f"{count:,} of {snapshot.total:,}", Text(under_way, style="dim"))
    facts = Table.grid(padding=(0, 2))
    facts.add_row("score", words.score(snapshot.score, snapshot.interval))
    facts.add_row("tokens", words.tokens(snapshot.usage))
    facts.add_row("cost", words.cost_so_far(snapshot))
    if snapshot.calls is not None and snapshot.calls_limit is not None:
        waiting = f", {snapshot.calls_waiting:,} waiting" if snapshot.calls_waiting else ""
        facts.add_row("calls", f"{snapshot.calls:,} of {snapshot.calls_limit:,} at once{waiting}")
    parts: list[RenderableType] = [Text(_heading(snapshot), style="bold"), bars, facts]
    for error in snapshot.errors[:MOST_ERRORS]:
        example = words.line(f"{error.task_id}: {error.message}", 120)
        parts.append(Text(f"{error.kind or error.status} × {error.count:,}  {example}", style="red"))
    parts += [Text(warning, style="yellow") for warning in snapshot.warnings]
    if snapshot.stopping is not None:
        parts.append(Text(f"stopping: {words.line(snapshot.stopping)}", style="yellow"))
    return Group(*parts)


def _heading(snapshot: Snapshot) -> str:
    said = [snapshot.run, snapshot.phase, words.duration(snapshot.seconds)]
    if snapshot.rate is not None:
        said.append(f"{snapshot.rate:.1f} a second")
    if snapshot.seconds_left is not None:
        said.append(f"{words.duration(snapshot.seconds_left)} left")
    return " · ".join(said)
