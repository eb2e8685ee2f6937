"""``benchhost settings``."""

from __future__ import annotations

from pathlib import Path

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.settings import describe


@click.command()
@as_json
@settings_options("state")
def settings(config: Path | None, as_json: bool, **flags: str | None) -> None:
    """Show every setting, its value and where it can be set. Secrets are not shown."""
    current = read(config, flags)
    rows = []
    for doc in describe():
        value = getattr(current, doc.name)
        rows.append(
            {
                "name": doc.name,
                "value": "***" if doc.secret and value else str(value) if isinstance(value, Path) else value,
                "variable": doc.variable,
                "expected": doc.expected,
                "help": doc.help,
            }
        )
    if as_json:
        print_json({"settings": rows})
        return
    for row in rows:
        click.echo(f"{row['name']} = {row['value']}\n    {row['help']}  [{row['variable']}; {row['expected']}]")
