"""``benchhost serve`` and ``benchhost reload``."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import click

from benchhost.cli.options import TakesSettings, read, settings_options


@click.command(cls=TakesSettings)
@settings_options()
def serve(config: Path | None, **flags: Any) -> None:
    """Serve the installed benchmarks over HTTP.

    Each is mounted under /b/NAME. Settings come from the file, then the environment, then the flags;
    the last one wins.
    """
    settings = read(config, flags)
    from benchhost.evaluation.collector import loading

    with loading():
        from benchhost.server.serve import serve as serve_forever

    serve_forever(settings)


@click.command()
@settings_options("state")
def reload(config: Path | None, **flags: Any) -> None:
    """Have a running server load the installed plugins anew.

    The server is found by its state folder. It goes on with what is under way, and serves the old
    plugins until the new ones are loaded. A new one that is faulty takes the place of the old one, too:
    look first, with `benchhost plugins --strict`. Settings are read at the start of a server alone.
    """
    settings = read(config, flags)
    from benchhost.server.serve import running_pid

    pid = running_pid(settings.state)
    os.kill(pid, signal.SIGHUP)
    click.echo(f"The server with the process id {pid} reloads its plugins; its log and /v1/plugins tell the outcome.")
