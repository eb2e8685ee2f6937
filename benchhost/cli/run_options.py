"""The options of commands that carry out runs, in groups, as several commands share them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from benchhost.settings import TOKEN_VARIABLE

F = TypeVar("F", bound=Callable[..., Any])

FILE = click.Path(path_type=Path, dir_okay=False)

COUNT = click.IntRange(1, 1_000_000)
"""How many of something there may be, so that memory and a database have room for them."""


class Connections(click.ParamType[int | str, str]):
    """A number of connections, or ``auto``."""

    name = "connections"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int | str:
        """Read the number."""
        if value == "auto":
            return "auto"
        if str(value).isascii() and str(value).isdigit() and int(value) >= 1:
            return int(value)
        return self.fail(f"{value!r} is neither a number of at least 1 nor auto", param, ctx)


class Parameter(click.ParamType[tuple[str, str], str]):
    """``NAME=VALUE``."""

    name = "parameter"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str]:
        """Part the name from the value, at the first equals sign."""
        name, sign, rest = str(value).partition("=")
        if not (name and sign):
            self.fail(f"{value!r} is not NAME=VALUE", param, ctx)
        return name, rest


def together(*options: Callable[[F], F]) -> Callable[[F], F]:
    """Join options into one decorator; the help shows them in this order."""

    def dress(command: F) -> F:
        for option in reversed(options):
            command = option(command)
        return command

    return dress


dataset_options = together(
    click.option("--dataset", metavar="NAME", help="The dataset.  [default: default]"),
    click.option(
        "--dataset-version",
        metavar="VERSION",
        help="The version of the dataset, by its label or its fingerprint.  [default: the current one]",
    ),
    click.option(
        "--dataset-file",
        type=FILE,
        metavar="FILE",
        help="Take the tasks from a file: JSON lines or a JSON list of objects with an id and a question.",
    ),
    click.option(
        "--problem",
        type=FILE,
        metavar="FILE",
        help="Take one task, whose question is the text of a file; give its TASK_ID.",
    ),
)

selection_options = together(
    click.option(
        "--ids-file", type=FILE, metavar="FILE", help="Only the tasks whose ids are in a file, one on a line."
    ),
    click.option("--slice", metavar="A:B:C", help="Only a slice of the dataset, as Python's: 0:100:2."),
    click.option("--limit", type=click.IntRange(1), metavar="N", help="Only the first tasks of these."),
    click.option("--sample", type=click.IntRange(1), metavar="N", help="Only a sample of these, the same everywhere."),
    click.option("--seed", type=int, default=0, metavar="N", help="Seed of the sample.  [default: 0]"),
)

sampling_options = together(
    click.option("--temperature", type=float, metavar="NUMBER", help="Temperature.  [default: the provider's]"),
    click.option("--top-p", type=float, metavar="NUMBER", help="Nucleus sampling.  [default: the provider's]"),
    click.option("--top-k", type=int, metavar="N", help="Only the likeliest tokens.  [default: the provider's]"),
    click.option(
        "--max-tokens", type=int, metavar="N", help="Most tokens of one completion.  [default: the provider's]"
    ),
    click.option("--reasoning-effort", metavar="WORD", help="Reasoning effort, as the provider spells it."),
    click.option("--stop", multiple=True, metavar="TEXT", help="End completions at this text; may be repeated."),
    click.option("--model-seed", type=int, metavar="N", help="Seed that is sent to the provider."),
)

remote_options = together(
    click.option(
        "--token",
        envvar=TOKEN_VARIABLE,
        metavar="TEXT",
        help="Token for --host. A variable is better than a flag, which others can see in the list of processes.  "
        f"[env: {TOKEN_VARIABLE}; default: none]",
    ),
    click.option(
        "--token-header",
        type=click.Choice(["authorization", "x-descope-api-key"]),
        metavar="WORD",
        help="How the token is sent: authorization or x-descope-api-key.  [default: authorization]",
    ),
)

session_options = together(
    click.option(
        "--max-connections",
        type=Connections(),
        metavar="N|auto",
        help="Calls of the model at once; auto finds the number out.  [default: auto]",
    ),
    click.option("--max-cost", type=float, metavar="USD", help="Stop before the run costs more.  [default: none]"),
    click.option(
        "--max-tokens-total", type=int, metavar="N", help="Stop before the run takes more tokens.  [default: none]"
    ),
    click.option(
        "--cache", type=FILE, metavar="FILE", help="Keep completions in a file, and do not pay for them twice."
    ),
    click.option(
        "--prices", type=FILE, metavar="FILE", help="Prices of models, in JSON, that go before those that are known."
    ),
    click.option("--label", metavar="TEXT", help="A name of your own for the run."),
    click.option(
        "--allow-drift",
        multiple=True,
        metavar="FIELD",
        help="Carry a run on although this field of its configuration has changed; may be repeated.",
    ),
    click.option("--no-preflight", is_flag=True, help="Do not ask the model and the host once before the first task."),
)

as_json = click.option("--json", "as_json", is_flag=True, help="Print one JSON document, and nothing else.")

params_option = click.option(
    "-k",
    "params",
    type=Parameter(),
    multiple=True,
    metavar="NAME=VALUE",
    help="A parameter of the runner; may be repeated.",
)


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Return the flags that were given, paths as absolute text."""
    return {
        name: str(value.expanduser().absolute()) if isinstance(value, Path) else value
        for name, value in flags.items()
        if value is not None and value != ()
    }


def print_json(document: object) -> None:
    """Print a document as JSON that a person can read too."""
    click.echo(msgspec.json.format(msgspec.json.encode(document)).decode())
