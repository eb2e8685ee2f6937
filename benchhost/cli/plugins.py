"""``benchhost plugins``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.options import read, settings_options
from benchhost.cli.run_options import as_json, print_json
from benchhost.errors import BenchhostError

if TYPE_CHECKING:
    from benchhost.settings import Settings
    from benchhost.wire.native import Plugin


@click.command()
@as_json
@settings_options("only", "load_timeout", "strict")
def plugins(config: Path | None, as_json: bool, **flags: Any) -> None:
    """List the installed plugins and what is wrong with them.

    Each is loaded as the server would load it. With --strict, a faulty one makes the command fail.
    """
    settings = read(config, flags)
    asyncio.run(_list(settings, as_json))


async def loaded(settings: Settings) -> tuple[list[Plugin], dict[tuple[str | None, ...], str]]:
    """Load every plugin as the server would; return what is to be told of them, and the causes of their faults."""
    from benchhost.evaluation.roster import Roster
    from benchhost.server.host import hosting
    from benchhost.server.plugins import of_fault, state_of

    roster = Roster(hosting(settings))
    try:
        await roster.open()
        await roster.loaded()
        return state_of(roster), {origin_of(of_fault(fault)): fault.cause for fault in roster.faults()}
    finally:
        await roster.close()


def origin_of(plugin: Plugin) -> tuple[str | None, ...]:
    """Say by what the cause of a plugin's fault is found: two distributions may bring one object under one name."""
    return (plugin.name, plugin.object, plugin.distribution, plugin.distribution_version)


async def _list(settings: Settings, as_json: bool) -> None:
    from benchhost import log
    from benchhost.discovery import entries

    log.configure(settings.log_level, settings.log_format)
    told, causes = await loaded(settings)
    if as_json:
        documents = [msgspec.to_builtins(plugin) | {"cause": causes.get(origin_of(plugin))} for plugin in told]
        print_json({"plugins": documents})
    elif not told:
        click.echo("No benchmark plugin is installed. Try: pip install benchhost-arithmetic")
    else:
        for plugin in told:
            origin = f"{plugin.object}, from {plugin.distribution} {plugin.distribution_version}"
            if plugin.state == "serving":
                tasks = ", ".join(f"{name}: {_tasks(number)}" for name, number in (plugin.datasets or {}).items())
                click.echo(f"{plugin.name}  version {plugin.version}  ({origin})\n  {tasks or 'no datasets'}")
            else:
                click.secho(f"{plugin.name}  faulty: {plugin.reason}  ({origin})", fg="red")
                cause = causes.get(origin_of(plugin), "")
                click.echo("\n".join(f"  {line}" for line in cause.splitlines()))
    installed = sorted({entry.name for entry in entries()})
    for unused in settings.unused(installed):
        click.echo(
            f"Warning: no installed plugin is called {unused}, so nothing reads the table [benchmarks.{unused}]; "
            f"installed are: {', '.join(installed) or 'none'}",
            err=True,
        )
    if settings.strict and causes:
        raise BenchhostError(f"{len(causes)} of {len(told)} plugins are faulty")


def _tasks(number: int) -> str:
    if number == 0:
        return "0 tasks: is the file empty?"
    return "1 task" if number == 1 else f"{number} tasks"
