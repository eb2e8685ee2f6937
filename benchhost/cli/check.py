"""``benchhost check``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.ending import ended_as_by_hand
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json

if TYPE_CHECKING:
    from benchhost.integrity.checks import Checked, Report

COLOURS = {"passed": "green", "warned": "yellow", "failed": "red", "skipped": "bright_black"}


@click.command()
@click.argument("name", metavar="NAME")
@click.option("--dataset", "datasets", multiple=True, metavar="NAME", help="Only this dataset; may be repeated.")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=200,
    metavar="N",
    help="Tasks of each dataset, drawn at random, the same everywhere.  [default: 200]",
)
@click.option("--all", "everything", is_flag=True, help="All tasks instead of a sample.")
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of the sample.  [default: 0]")
@click.option(
    "--repeats",
    type=click.IntRange(1),
    default=3,
    metavar="N",
    help="How often each response is judged.  [default: 3]",
)
@click.option(
    "--sandboxed",
    type=click.IntRange(0),
    default=5,
    metavar="N",
    help="Tasks of each dataset that are set up and judged in sandboxes; 0 is without.  [default: 5]",
)
@as_json
@settings_options("load_timeout", "graders", "sandbox", "min_isolation")
def check(name: str, config: Path | None, as_json: bool, everything: bool, **flags: Any) -> None:
    """Check that a benchmark is sound before anyone submits to it.

    It is asked what submitters will ask of it: references, empty responses, noise, the same again, final
    scores of results that are missing. With a check that failed, the exit code is 1; warnings leave it 0.
    """
    from benchhost import log
    from benchhost.integrity.health import examine
    from benchhost.integrity.opening import opened_benchmark, opened_sandboxes

    datasets, most = flags.pop("datasets"), flags.pop("sample")
    seed, repeats, sandboxed = flags.pop("seed"), flags.pop("repeats"), flags.pop("sandboxed")

    settings = read(config, flags)
    log.configure("critical", settings.log_format)  # what hooks raise is told in the report

    async def carry_out() -> Report:
        async with opened_benchmark(settings, name) as benchmark, opened_sandboxes(settings, benchmark) as sandboxes:
            return await examine(
                benchmark,
                datasets=datasets,
                most=None if everything else most,
                seed=seed,
                repeats=repeats,
                sandboxes=sandboxes if sandboxed else None,
                sandboxed=sandboxed,
            )

    with ended_as_by_hand():
        report = asyncio.run(carry_out())
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        show(report)
    sys.exit(0 if report.sound else 1)


def show(report: Report) -> None:
    """Print a report for a person."""
    of = "".join(f", {name}: {each.examined} of {each.tasks} tasks" for name, each in report.datasets.items())
    click.echo(f"{report.benchmark}  version {report.version or 'unknown'}{of}\n")
    width = max(len(each.check) for each in report.checks)
    for each in report.checks:
        click.echo(f"{click.style(f'{each.outcome:7}', fg=COLOURS[each.outcome])}  {each.check:{width}}  {_told(each)}")
        for finding in each.findings:
            where = ", ".join(filter(None, (finding.dataset, finding.task)))
            click.echo(f"{'':{width + 11}}{where + ': ' if where else ''}{_line(finding.said)}")
        if each.found > len(each.findings):
            click.echo(f"{'':{width + 11}}… and {each.found - len(each.findings)} more")
    failed = sum(each.outcome == "failed" for each in report.checks)
    warned = sum(each.outcome == "warned" for each in report.checks)
    verdict = "The benchmark is sound." if report.sound else f"{failed} of {len(report.checks)} checks failed."
    click.echo(f"\n{verdict}" + (f" Warnings: {warned}." if warned else ""))


def _told(each: Checked) -> str:
    if each.outcome == "skipped":
        return each.note
    if each.found:
        return f"{each.found} of {each.examined}"
    return f"{each.examined} looked at" if each.examined else "nothing to look at"


def _line(text: str) -> str:
    from benchhost.cli.words import line

    return line(text, 300)
