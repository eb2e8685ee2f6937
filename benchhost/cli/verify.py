"""``benchhost verify``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from benchhost.cli.run_options import FILE, as_json, print_json

if TYPE_CHECKING:
    from benchhost.receipts import Proof, Receipt


@click.command()
@click.argument("document", metavar="FILE", type=FILE)
@click.option("--key", required=True, type=FILE, metavar="FILE", help="The public key of the host, in PEM.")
@as_json
def verify(document: Path, key: Path, as_json: bool) -> None:
    """Verify that a receipt, or a proof, is what a host has sealed.

    It takes no host and no network. With anything that is not as it was sealed, the exit code is 1, and it is
    said which field or task that is.
    """
    from benchhost.cli import words
    from benchhost.cli.written import contents
    from benchhost.receipts import PublicKey
    from benchhost.receipts import verify as verified

    public = PublicKey.of_pem(contents(key))
    found = verified(contents(document), public)
    if as_json:
        statement = None if found.document is None else found.document.statement
        print_json(msgspec.to_builtins({"genuine": found.ok, "faults": found.faults, "statement": statement}))
    elif found.ok and found.document is not None:
        show(found.document)
    else:
        for fault in found.faults:
            click.echo(words.line(f"{fault.place}: {fault.said}", 1000))
        click.echo(f"\n{document} is not what was sealed.")
    sys.exit(0 if found.ok else 1)


def show(document: Receipt | Proof) -> None:
    """Print what was sealed, for a person."""
    from benchhost.cli import words
    from benchhost.receipts import Proof

    said = document.statement
    lines = [
        f"run        {said.run_id}" + (f", of {said.model}" if said.model else ""),
        f"tenant     {said.tenant or 'none'}",
        f"benchmark  {said.benchmark}, dataset {said.dataset}, version {said.dataset_version}",
        f"evaluator  {said.evaluator_version}" + (f", at {said.judged_by}" if said.judged_by else ""),
        f"score      {'none' if said.score is None else f'{said.score:.6g}'}",
        f"coverage   {said.scored:,} of {said.tasks:,} scored, {said.given:,} given, {said.responses:,} responses",
        f"sealed     {words.moment(said.sealed_at)}, with the key {document.key}",
    ]
    if isinstance(document, Proof):
        score = "none" if document.entry.score is None else f"{document.entry.score:.6g}"
        lines.append(f"task       {document.entry.name}: {document.entry.status}, score {score}")
    for line in lines:
        click.echo(line[:11] + words.line(line[11:], 1000))
    click.echo("\nIt is what was sealed.")
