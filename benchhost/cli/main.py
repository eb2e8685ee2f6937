"""The command ``benchhost``: its subcommands, and what becomes of an error."""

from __future__ import annotations

import errno
import os
import sys
from typing import Any

import click

import benchhost
from benchhost.cli.commands import Commands
from benchhost.cli.streams import make_ready
from benchhost.errors import BenchhostError, RequestError, RunRefused, UsageError

COMMANDS = {
    "run": ("benchhost.cli.run", "Have a model attempt the tasks of a benchmark."),
    "runs": ("benchhost.cli.runs", "Look at recorded runs, carry them on, compare them."),
    "serve": ("benchhost.cli.serve", "Serve the installed benchmarks over HTTP."),
    "reload": ("benchhost.cli.serve", "Have a running server load the installed plugins anew."),
    "plugins": ("benchhost.cli.plugins", "List the installed plugins and what is wrong with them."),
    "new": ("benchhost.cli.new", "Write a plugin that works, to be changed into your own."),
    "check": ("benchhost.cli.check", "Check that a benchmark is sound before anyone submits to it."),
    "leakcheck": ("benchhost.cli.leakcheck", "Look whether a host shows anything of what a benchmark hides."),
    "doctor": ("benchhost.cli.doctor", "Say what is enforced here, what is not, and what to change."),
    "sandbox": ("benchhost.cli.sandbox", "Make sandboxes, use them, and see that nothing gets out of them."),
    "attack": (
        "benchhost.cli.attack",
        "Show what an attacker finds out of hidden answers, with the policy and without.",
    ),
    "verify": ("benchhost.cli.verify", "Verify that a receipt, or a proof, is what a host has sealed."),
    "receipts": ("benchhost.cli.receipts", "Show the key that signs receipts, and prove one task of a receipt."),
    "keys": ("benchhost.cli.keys", "Make, list and revoke keys of tenants."),
    "grant": ("benchhost.cli.access", "Let a tenant use datasets."),
    "revoke": ("benchhost.cli.access", "Take datasets from a tenant, or without any, all access."),
    "audit": ("benchhost.cli.access", "Show who may use what, how much, by which keys, and what was changed."),
    "quota": ("benchhost.cli.quota", "Set, list and remove quotas of tenants."),
    "settings": ("benchhost.cli.settings", "Show every setting, its value and where it can be set."),
}
"""Where each command is, and its help in the list."""

FAILURE, USAGE, REFUSED = 1, 2, 5
"""Exit codes: something went wrong; the command was called wrongly; a run cannot be carried on like this."""


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})
"""Why a file cannot be written that is no fault of ours."""


@click.group(
    cls=Commands, table=COMMANDS, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100}
)
@click.version_option(benchhost.__version__, prog_name="benchhost")
def cli() -> None:
    """Host benchmarks, grade what is submitted to them, and run models against them."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit; what the codes mean for runs is :class:`benchhost.runner.exits.ExitCode`."""
    make_ready()
    try:
        try:
            cli.main(arguments, prog_name="benchhost")
        finally:
            sys.stdout.flush()  # what fails here can still be said; at the end of the interpreter, it could not
    except BenchhostError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(_exit_code(error))
    except OSError as error:
        if error.errno not in {*NO_ROOM, errno.EPIPE}:
            raise
        if error.errno != errno.EPIPE:  # else nobody reads any more
            click.echo(f"Error: {error.filename or 'the output'} cannot be written: {error.strerror}", err=True)
        if error.filename is None:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what is left of it
        sys.exit(FAILURE)


def _exit_code(error: BenchhostError) -> int:
    if isinstance(error, UsageError | RequestError):
        return USAGE
    return REFUSED if isinstance(error, RunRefused) else FAILURE
