"""``benchhost leakcheck``."""

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
    from benchhost.integrity.rounds import LeakReport


@click.command()
@click.argument("name", metavar="NAME")
@click.option(
    "--sample",
    type=click.IntRange(1),
    default=20,
    metavar="N",
    help="Tasks of each dataset whose hidden values are looked for, drawn at random, the same everywhere.  "
    "[default: 20]",
)
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of the sample.  [default: 0]")
@as_json
@settings_options("load_timeout", "sandbox", "min_isolation")
def leakcheck(name: str, sample: int, seed: int, config: Path | None, as_json: bool, **flags: Any) -> None:
    """Look whether a host shows anything of what a benchmark hides.

    A host of its own is started, and every route called rightly and wrongly, by a tenant, one on trial and
    a stranger, with hooks that do what they do and with hooks that fail in every way. Every byte of the
    answers is searched for hidden values and for what is almost a copy of one. With a leak, the exit code is 1.
    """
    from benchhost import log
    from benchhost.integrity.leaks import search

    settings = read(config, flags)
    log.configure("critical", settings.log_format)  # hooks that fail do so on purpose
    with ended_as_by_hand():
        report = asyncio.run(search(settings, name, most=sample, seed=seed))
    if as_json:
        print_json(msgspec.to_builtins(report, str_keys=True))
    else:
        show(report)
    sys.exit(0 if report.clean else 1)


def show(report: LeakReport) -> None:
    """Print a report for a person."""
    click.echo(f"{report.benchmark}  {report.requests} requests, {len(report.routes)} routes\n")
    width = max((len(route) for route in report.routes), default=0)
    for route, statuses in report.routes.items():
        leaks = [leak for leak in report.leaks if leak.route == route]
        word = click.style("leaks", fg="red") if leaks else click.style("clean", fg="green")
        answers = ", ".join(f"{status}: {times}" for status, times in statuses.items()) or "not called"
        click.echo(f"{word}  {route:{width}}  {answers}")
    for leak in report.leaks:
        click.echo(
            f"\n{click.style('leak', fg='red')}  {leak.route}, answered {leak.status} to the {leak.caller}, "
            f"with hooks {leak.act}:\n      the hidden field {leak.field} of {leak.dataset}, {leak.task} "
            f"stands in {leak.at} ({leak.form})"
        )
    if report.fields:
        click.echo("\nhidden fields, and how many of their values are told from chance (as they are, as canaries):")
    for field, told in report.fields.items():
        click.echo(f"  {field}: {told.as_they_are} and {told.as_canaries} of {told.values}")
    blind = [field for field, told in report.fields.items() if not told.as_canaries and not told.as_they_are]
    if blind:
        click.echo(f"Nothing can be said of {', '.join(blind)}: every value is too short, or public.")
    for each in report.not_searched:
        click.echo(f"{click.style('Not searched', fg='yellow')}: {each}")
    click.echo(f"\n{'No leak was found.' if report.clean else f'Leaks: {len(report.leaks)}.'}")
