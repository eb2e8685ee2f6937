"""``benchhost new``."""

from __future__ import annotations

from pathlib import Path

import click

_NEXT = {
    "benchmark": ("benchhost check {plugin}", "benchhost run {plugin} --model scripted/reference"),
    "runner": ("benchhost run BENCHMARK --runner {plugin} --model PROVIDER/NAME",),
}


@click.command()
@click.argument("name")
@click.option("--runner", is_flag=True, help="A runner, which is how tasks are put to a model, and no benchmark.")
def new(name: str, runner: bool) -> None:
    """Write a plugin that works, to be changed into your own.

    A folder of that name is made here, with a package, its entry point, one class and tests. Nothing is ever
    overwritten.
    """
    from benchhost.discovery import entries
    from benchhost.errors import UsageError
    from benchhost.scaffold import Kind, Names, write_plugin

    kind: Kind = "runner" if runner else "benchmark"
    names = Names.of(name)
    for entry in entries(f"benchhost.{kind}s"):
        if entry.name == names.plugin:  # with two of one name, neither could be served
            raise UsageError(f"a {kind} of that name is installed already: {entry}")
    folder = write_plugin(names, kind, Path())
    click.echo(f"The {kind} {names.plugin} is in {folder}/. Go on with:\n")
    for line in (f"cd {folder}", "pip install -e '.[test]'", "pytest", *_NEXT[kind]):
        click.echo(f"  {line.format(plugin=names.plugin)}")
