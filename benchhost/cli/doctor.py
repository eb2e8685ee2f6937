"""``benchhost doctor``."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from benchhost.cli.ending import ended_as_by_hand
from benchhost.cli.options import TakesSettings, read, settings_options
from benchhost.cli.run_options import as_json, print_json

if TYPE_CHECKING:
    from benchhost.cli.checkups import Checkup
    from benchhost.settings import Settings

_COLOURS = {"ok": "green", "warning": "yellow", "problem": "red"}


@click.command(cls=TakesSettings)
@as_json
@settings_options()
def doctor(as_json: bool, config: Path | None, **flags: Any) -> None:
    """Say what is enforced here, what is not, and what to change.

    It looks at what the server would use with the same settings, and changes nothing. With a problem
    (less than what the settings ask for, a judge of code that does not hold, a secret that lies open) the
    exit code is 1; warnings leave it 0.
    """
    from benchhost import log

    settings = read(config, flags)
    log.configure("critical", settings.log_format)  # what is wrong is told below
    with ended_as_by_hand():
        found = asyncio.run(_examine(settings, config, quiet=as_json))
    if as_json:
        print_json({"checks": msgspec.to_builtins(found)})
    sys.exit(1 if any(each.outcome == "problem" for each in found) else 0)


async def _examine(settings: Settings, config: Path | None, *, quiet: bool) -> list[Checkup]:
    from benchhost.cli.checkups import examine

    found = []
    async for each in examine(settings, config):
        found.append(each)
        if not quiet:
            click.echo(f"{click.style(f'{each.outcome:8}', fg=_COLOURS[each.outcome])} {each.name}")
            for line in each.said:
                click.echo(f"{'':9}{line}")
    return found
