"""``benchhost settings``."""

from __future__ import annotations

from pathlib import Path

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.settings import describe

MASK = "***"


@click.command()
@as_json
@settings_options("state")
def settings(config: Path | None, as_json: bool, **flags: str | None) -> None:
    """Show every setting, its value and where it can be set. Secrets are not shown.

    Of the settings of benchmarks the names are shown, and no values.
    """
    current = read(config, flags)
    rows = []
    for doc in describe():
        value = getattr(current, doc.name)
        rows.append(
            {
                "name": doc.name,
                "value": MASK if doc.secret and value else str(value) if isinstance(value, Path) else value,
                "variable": doc.variable,
                "expected": doc.expected,
                "help": doc.help,
            }
        )
    tables = {name: dict.fromkeys(table, MASK) for name, table in sorted(current.benchmarks.items())}
    if as_json:
        print_json({"settings": rows, "benchmarks": tables})
        return
    for row in rows:
        click.echo(f"{row['name']} = {_shown(row['value'])}\n    {row['help']}  [{row['variable']}; {row['expected']}]")
    for name, table in tables.items():
        click.echo("".join([f"[benchmarks.{name}]", *(f"\n{setting} = {value}" for setting, value in table.items())]))


def _shown(value: object) -> str:
    """Say a value as it is written in the documentation and in a variable."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return ",".join(value)
    return "none" if value is None else str(value)
