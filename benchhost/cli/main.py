"""The command ``benchhost``: its subcommands, and what becomes of an error."""

from __future__ import annotations

import importlib
import sys
from typing import Any

import click

import benchhost
from benchhost.errors import BenchhostError, UsageError

COMMANDS = {
    "serve": ("benchhost.cli.serve", "Serve the installed benchmarks over HTTP."),
    "reload": ("benchhost.cli.serve", "Have a running server load the installed plugins anew."),
    "plugins": ("benchhost.cli.plugins", "List the installed plugins and what is wrong with them."),
    "settings": ("benchhost.cli.settings", "Show every setting, its value and where it can be set."),
}
"""Where each command is, and its help in the list; the module defines it under its own name."""

FAILURE, USAGE = 1, 2
"""Exit codes: something went wrong; the command was called wrongly."""


class Commands(click.Group):
    """The subcommands, each imported only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _ = COMMANDS[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_) for name, (_, help_) in COMMANDS.items()])


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(benchhost.__version__, prog_name="benchhost")
def cli() -> None:
    """Host benchmarks, and grade what is submitted to them."""


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line and exit: 0 is success, 1 a failure, 2 a wrong call."""
    try:
        cli.main(arguments, prog_name="benchhost")
    except UsageError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(USAGE)
    except BenchhostError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(FAILURE)
