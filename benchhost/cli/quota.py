"""``benchhost quota``: ``set``, ``list`` and ``rm``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.commands import Commands
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json

QUOTAS = {
    "set": ("benchhost.cli.quota", "Set how many evaluations a tenant may begin at a benchmark in a period."),
    "list": ("benchhost.cli.quota", "List the quotas, and what is used of them."),
    "rm": ("benchhost.cli.quota", "Remove quotas of a tenant at a benchmark."),
}
"""Where each command is, and its help in the list."""


@click.group(cls=Commands, table=QUOTAS)
def quota() -> None:
    """Set, list and remove quotas of tenants."""


@click.command("set")
@click.argument("tenant")
@click.argument("benchmark")
@click.argument("limits", metavar="NUMBER/PERIOD...", nargs=-1, required=True)
@settings_options("state")
def set_(tenant: str, benchmark: str, limits: tuple[str, ...], config: Path | None, **flags: Any) -> None:
    """Set how many evaluations a tenant may begin at a benchmark in a period.

    A period is a minute, hour, day, week, month or year of the calendar, in UTC: 1000/day. A tenant may
    have a quota for each. What was used in the period stays used. Servers know it within a second.
    """
    from benchhost.cli.quotas import set_quotas

    for line in asyncio.run(set_quotas(read(config, flags), tenant, benchmark, limits)):
        click.echo(line)


@click.command("list")
@click.option("--tenant", metavar="NAME", help="Only the quotas of this tenant.  [default: all]")
@as_json
@settings_options("state")
def list_(tenant: str | None, as_json: bool, config: Path | None, **flags: Any) -> None:
    """List the quotas, and what is used of them."""
    from benchhost.cli.quotas import line_of, told_quotas

    told = asyncio.run(told_quotas(read(config, flags), tenant))
    if as_json:
        print_json({"quotas": told})
        return
    if not told:
        click.echo("There are no quotas. Try: benchhost quota set TENANT BENCHMARK 1000/day")
    for each in told:
        click.echo(line_of(each))


@click.command()
@click.argument("tenant")
@click.argument("benchmark")
@click.argument("periods", metavar="[PERIOD]...", nargs=-1)
@settings_options("state")
def rm(tenant: str, benchmark: str, periods: tuple[str, ...], config: Path | None, **flags: Any) -> None:
    """Remove quotas of a tenant at a benchmark.

    Without a PERIOD (minute, hour, day, week, month, year), all of them are removed.
    """
    from benchhost.cli.quotas import removed_quotas

    number = asyncio.run(removed_quotas(read(config, flags), tenant, benchmark, periods))
    click.echo(f"{number} {'quota is' if number == 1 else 'quotas are'} removed")
