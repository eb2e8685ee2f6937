"""What is shown of a run when it has ended, and of recorded runs: tables on stdout."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from benchhost.cli import words

if TYPE_CHECKING:  # start-up: a list of runs needs none of these
    from benchhost.runner.progress import ErrorClass
    from benchhost.runner.summary import RunSummary
    from benchhost.scoring import Comparison

MOST_IDS = 10
"""How many task ids are listed."""


def show_summary(summary: RunSummary, status: str, reason: str = "") -> None:
    """Print the table of a run, with one row for each slice, and its errors."""
    facts = _facts()
    facts.add_row("run", Text(summary.run))
    facts.add_row("benchmark", Text(f"{summary.benchmark}, dataset {summary.dataset}"))
    facts.add_row("model", Text(words.line(summary.model)))
    if summary.label:
        facts.add_row("label", Text(words.line(summary.label)))
    facts.add_row("status", Text(f"{status}: {words.line(reason, 500)}" if reason else status))
    facts.add_row("score", words.score(summary.score, None if summary.final else summary.interval))
    if summary.final is not None:
        facts.add_row("mean", words.score(summary.mean, summary.interval))
    if summary.final_error is not None:
        facts.add_row("", Text(f"the benchmark's own score failed: {words.line(summary.final_error)}", style="red"))
    facts.add_row("coverage", _coverage(summary))
    for k, share in summary.pass_at.items():
        facts.add_row(f"pass@{k}", words.percent(share))
    for name, value in summary.metrics.items():
        facts.add_row(Text(words.line(name, 40)), f"{value:.4g}")
    facts.add_row("tokens", words.tokens(summary.spend.usage))
    facts.add_row("cost", words.cost(summary.spend))
    if summary.judge_spend.calls:
        judge = summary.judge_spend
        facts.add_row("judge", f"{words.cost(judge)}; {words.tokens(judge.usage)}")
    console().print(facts)
    if summary.slices:
        _show_slices(summary)
    if summary.errors:
        show_errors(summary.errors)


def show_errors(errors: Iterable[ErrorClass], tasks: Mapping[tuple[str, str], Sequence[str]] | None = None) -> None:
    """Print classes of errors with their counts and one example each, and the first of the ``tasks`` of each."""
    table = _table("error", "status", "count", "example" if tasks is None else "example and tasks")
    for error in errors:
        said = Text(f"{words.line(error.task_id, 80)}: {words.line(error.message, 400)}")
        for_all = (tasks or {}).get((error.status, error.kind))
        if for_all:
            said.append(f"\n{_ids(for_all)}", style="dim")
        table.add_row(Text(error.kind or "-"), error.status, f"{error.count:,}", said)
    console().print(table)


def show_runs(rows: Iterable[Sequence[str]]) -> None:
    """Print the list of runs."""
    table = _table("run", "model", "status", "score", "coverage", "cost", "begun", "label")
    table.columns[0].no_wrap = True  # to be copied
    for row in rows:
        table.add_row(*[Text(cell, overflow="fold") for cell in row])
    console().print(table)


def show_comparison(first: str, second: str, found: Comparison, notes: Iterable[str]) -> None:
    """Print what two runs say of each other."""
    facts = _facts()
    facts.add_row("first", Text(f"{first}: {_share(found.first, found)}"))
    facts.add_row("second", Text(f"{second}: {_share(found.second, found)}"))
    facts.add_row("tasks", f"{found.tasks:,} with a score in both")
    if found.tasks:
        facts.add_row("difference", f"{_share(found.difference, found)}, second less first{_interval(found)}")
    else:
        facts.add_row("difference", "unknown: no task has a score in both")
    if found.bootstrap is not None:
        low, high = found.bootstrap.low, found.bootstrap.high
        facts.add_row("bootstrap", f"{found.bootstrap.level:.0%} interval {low:.4g} to {high:.4g}")
    if found.p_value is not None:
        facts.add_row("McNemar", f"exact p = {found.p_value:.3g}")
    if found.minimum_detectable is not None:
        facts.add_row("detectable", f"{_share(found.minimum_detectable, found)}, in four cases of five")
    facts.add_row("won", f"{len(found.won):,} tasks by the second: {_ids(found.won)}" if found.won else "none")
    facts.add_row("lost", f"{len(found.lost):,} tasks by the second: {_ids(found.lost)}" if found.lost else "none")
    facts.add_row("tied", f"{found.tied:,}" + (f", {found.both_right:,} right in both" if found.binary else ""))
    for name, alone in (("first", found.only_first), ("second", found.only_second)):
        if alone:
            facts.add_row("", f"{len(alone):,} tasks have a score in the {name} only")
    for note in notes:
        facts.add_row("note", Text(note, style="yellow"))
    console().print(facts)


def console() -> Console:
    """Make the console for stdout: as wide as the terminal, and wide where there is none."""
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    return Console(width=width, markup=False, highlight=False, emoji=False)


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in columns:
        number = name in ("count", "scored")
        table.add_column(name, justify="right" if number else "left", overflow="fold")
    return table


def _show_slices(summary: RunSummary) -> None:
    table = _table("slice", "value", "score", "scored")
    for field, values in summary.slices.items():
        for value, one in values.items():
            said = words.score(one.score, one.interval)
            table.add_row(
                Text(words.line(field, 40)), Text(words.line(value, 64)), said, f"{one.scored:,}/{one.given:,}"
            )
    console().print("")
    console().print(table)


def _coverage(summary: RunSummary) -> str:
    text = f"{summary.scored:,} of {summary.given:,} scored"
    if summary.scored in (0, summary.given) or summary.missing_as_zero is None:
        return text
    zero, out = words.score(summary.missing_as_zero), words.score(summary.missing_left_out)
    if summary.interval is not None and summary.interval.method == "wilson":
        zero, out = words.percent(summary.missing_as_zero), words.percent(summary.missing_left_out)
    return f"{text}; mean with the missing ones as zero {zero}, left out {out}"


def _share(value: float | None, found: Comparison) -> str:
    if value is None:
        return "unknown"
    return words.percent(value) if found.binary else f"{value:.4g}"


def _interval(found: Comparison) -> str:
    interval = found.interval
    if interval is None:
        return ""
    return f" ({interval.level:.0%} interval {_share(interval.low, found)} to {_share(interval.high, found)})"


def _ids(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - MOST_IDS:,} more" if len(ids) > MOST_IDS else ""
    return ", ".join(words.line(task_id, 80) for task_id in ids[:MOST_IDS]) + more
