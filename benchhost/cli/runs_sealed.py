"""``benchhost runs seal``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import FILE, as_json, print_json


@click.command()
@click.argument("run_id", metavar="RUN")
@click.option("--to", type=FILE, metavar="FILE", help="Where to.  [default: RUN.receipt.json]")
@click.option(
    "--entries/--no-entries", default=True, help="With the outcome of each task, or without.  [default: with]"
)
@as_json
@settings_options("state")
def seal(run_id: str, to: Path | None, entries: bool, as_json: bool, config: Path | None, **flags: Any) -> None:
    """Seal a run that has ended in a signed receipt.

    It says what the score is, of what, and what came of each task. Anybody can verify it later with the
    public key of this host: benchhost receipts key.
    """
    from benchhost.cli.recorded import run_receipt
    from benchhost.cli.written import written
    from benchhost.receipts import encoded

    receipt = asyncio.run(run_receipt(read(config, flags), run_id, entries))
    path = written(to or Path(f"{run_id}.receipt.json"), encoded(receipt))
    said = receipt.statement
    if as_json:
        print_json({"run": run_id, "path": str(path), "key": receipt.key, "results": said.results})
    else:
        click.echo(f"{said.results:,} outcomes are sealed in {path}, with the key {receipt.key}")
