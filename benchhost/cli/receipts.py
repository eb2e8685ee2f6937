"""``benchhost receipts``: ``key`` and ``prove``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec

from benchhost.cli.commands import Commands
from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import FILE

RECEIPTS = {
    "key": ("benchhost.cli.receipts", "Print the public key by which receipts of this host are verified."),
    "prove": ("benchhost.cli.receipts", "Take the outcome of one task out of a receipt, as a proof of its own."),
}
"""Where each command is, and its help in the list."""


@click.group(cls=Commands, table=RECEIPTS)
def receipts() -> None:
    """Show the key that signs receipts, and prove one task of a receipt."""


@click.command()
@settings_options("state")
def key(config: Path | None, **flags: Any) -> None:
    """Print the public key by which receipts of this host are verified.

    The key is made when there is none. Its private half stays in the state folder.
    """
    from benchhost.server.sealing import signing_key
    from benchhost.settings import state_folder

    click.echo(signing_key(state_folder(read(config, flags))).public.pem, nl=False)


@click.command()
@click.argument("receipt", metavar="FILE", type=FILE)
@click.argument("task_id", metavar="TASK_ID")
@click.option("--epoch", type=click.IntRange(1), default=1, metavar="N", help="Of several epochs, which.  [default: 1]")
@click.option("--to", type=FILE, metavar="FILE", help="Where to.  [default: standard output]")
def prove(receipt: Path, task_id: str, epoch: int, to: Path | None) -> None:
    """Take the outcome of one task out of a receipt, as a proof of its own.

    Whoever has the proof can verify it like the receipt, and learns nothing of the other tasks. It takes no key.
    """
    from benchhost.cli.written import contents, written
    from benchhost.errors import UsageError
    from benchhost.receipts import Receipt, encoded
    from benchhost.receipts import prove as proof_of

    try:
        found = msgspec.json.decode(contents(receipt), type=Receipt)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{receipt} is no receipt: {error}") from error
    if found.entries is None:
        raise UsageError(f"{receipt} was sealed without the outcomes of tasks, so none can be taken out of it")
    wanted = (task_id, epoch)
    index = next((n for n, each in enumerate(found.entries) if (each.task, each.epoch) == wanted), None)
    if index is None:
        raise UsageError(f"{receipt} has no outcome of the task {task_id} in epoch {epoch}")
    proof = encoded(proof_of(found, index))
    if to is None:
        click.echo(proof.decode(), nl=False)
    else:
        click.echo(f"the proof of {found.entries[index].name} is in {written(to, proof)}")
