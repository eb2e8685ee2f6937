"""Settings as options: every setting of a host is a flag, an environment variable and a key of the file."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from benchhost.settings import CONFIG_VARIABLE, SettingDoc, Settings, describe, load

FLAG_WIDTH = 32
"""Characters of the column of flags where settings are told briefly."""

F = TypeVar("F", bound=Callable[..., Any])

NOT_FLAGS = frozenset({"benchmarks", "api_key"})
"""Settings without a flag: a table does not fit one, and a secret would be seen in the list of processes."""


class Setting(click.Option):
    """A setting as a flag."""

    def brief(self) -> tuple[str, str]:
        """Return the flag and, in a few words, what it is for."""
        flag = self.opts[0] if self.is_flag else f"{self.opts[0]} {self.metavar}"
        about = re.split(r"  \[|\. |[;:] ", self.help or "", maxsplit=1)[0]
        return flag, f"{about.removesuffix('.')}."


class TakesSettings(click.Command):
    """A command with so many settings that its help is brief about each, after its own options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options of the command's own, then the settings."""
        parameters = self.get_params(ctx)
        own = [each.get_help_record(ctx) for each in parameters if not isinstance(each, Setting)]
        with formatter.section("Options"):
            formatter.write_dl([record for record in own if record is not None])
        with formatter.section("Settings"):
            formatter.write_text(
                "Each is a variable as well, such as BENCHHOST_PORT, and a key of the file. `benchhost settings` says "
                "in full what each is for, what it may be, and what it is. --no-NAME turns one off that has no value."
            )
            formatter.write_paragraph()
            brief = [each.brief() for each in parameters if isinstance(each, Setting)]
            formatter.write_dl(brief, col_max=FLAG_WIDTH)


def settings_options(*names: str) -> Callable[[F], F]:
    """Give a command ``--config`` and the flags of these settings, or of all of them."""
    docs = {doc.name: doc for doc in describe() if doc.name not in NOT_FLAGS}

    def dress(command: F) -> F:
        for name in reversed(names or tuple(docs)):
            command = _option(docs[name])(command)
        return click.option(
            "--config",
            type=click.Path(path_type=Path, dir_okay=False),
            help=f"The settings file.  [env: {CONFIG_VARIABLE}; default: benchhost.toml]",
        )(command)

    return dress


def read(config: Path | None, flags: dict[str, Any]) -> Settings:
    """Read the settings, with the flags that were given.

    Raises :class:`~benchhost.errors.SettingsError`.
    """
    return load(config, os.environ, flags)


def given_state(ctx: click.Context) -> str:
    """Return the flags that lead another command to the same state folder."""
    flags = [(f"--{name}", ctx.params[name]) for name in ("config", "state") if ctx.params.get(name) is not None]
    return "".join(f" {flag} {shlex.quote(str(value))}" for flag, value in flags)


def _option(doc: SettingDoc) -> Callable[[F], F]:
    flag = f"--{doc.name.replace('_', '-')}"
    found = f"env: {doc.variable}; default: {_shown(doc.default)}"
    if isinstance(doc.default, bool):
        both = f"{flag}/--no-{flag[2:]}"
        return click.option(both, doc.name, cls=Setting, default=None, help=f"{doc.help}  [{found}]")
    help_ = f"{doc.help}  [{doc.expected}; {found}]"
    metavar = next(short for kind, short in _METAVARS.items() if doc.expected.startswith(kind))
    return click.option(flag, doc.name, cls=Setting, default=None, metavar=metavar, help=help_)


def _shown(default: Any) -> str:
    if isinstance(default, bool):
        return str(default).lower()
    if isinstance(default, tuple):
        return ",".join(default)
    return "none" if default is None else str(default)


_METAVARS = {
    "a whole number": "N",
    "a number": "NUMBER",
    "a path": "PATH",
    "text": "TEXT",
    "one of": "WORD",
    "names": "NAMES",
}
"""What stands for a value in the help, by how the words begin that say what is expected."""
