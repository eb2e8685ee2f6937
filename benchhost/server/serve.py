"""The server as processes: granian's, with our ways of starting, reloading and stopping."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import Any

from granian.constants import Interfaces, Loops
from granian.log import LogLevels
from granian.server.mp import MPServer
from litestar.types import Receive, Scope, Send

from benchhost import log
from benchhost.errors import UsageError
from benchhost.evaluation.roster import Roster
from benchhost.server.app import App
from benchhost.server.host import PID_FILE, Host, hosting
from benchhost.settings import Settings

_log = log.get_logger()

BACKLOG = 4096
"""Connections that may wait to be accepted."""


class Server(MPServer):
    """Granian, except that a SIGHUP has each worker load the plugins anew.

    Granian itself would replace the workers, which resets the connections that are just being accepted.
    """

    def signal_handler_reload(self, *_: Any) -> None:
        """Pass a SIGHUP on to the workers."""
        for worker in self.wrks:
            os.kill(worker.inner.pid, signal.SIGHUP)


class Worker:
    """The application of one worker process, which reloads on SIGHUP."""

    def __init__(self, settings: Settings) -> None:
        self._host = Host(settings)
        self._app = App(self._host)
        self._reloading: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection; the first one is that of the server's own life."""
        if scope["type"] == "lifespan":  # type: ignore[comparison-overlap]  # Litestar's type leaves it out
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload)
        await self._app(scope, receive, send)

    def _reload(self) -> None:
        self._reloading = asyncio.create_task(self._try_to_reload())

    async def _try_to_reload(self) -> None:
        try:
            await self._host.roster.reload()
        except Exception:
            _log.exception("the plugins could not be reloaded; the old ones are still served")


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises :class:`~benchhost.errors.PluginFault` when a plugin is faulty and the settings are strict,
    and :class:`~benchhost.errors.UsageError` when another server uses the same state folder.
    """
    log.configure(settings.log_level, settings.log_format)
    log.register_secret(settings.api_key)
    settings.state.mkdir(parents=True, exist_ok=True)
    if settings.strict:
        asyncio.run(_must_all_load(settings))
    if settings.api_key is None:
        _log.warning(
            "no API key is set: everybody who can reach this server may submit to every benchmark and read "
            "every public part of its tasks; benchmarks with a check_auth of their own decide for themselves",
            setting="api_key",
        )
    server = Server(
        "benchhost",
        address=settings.host,
        port=settings.port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.auto,
        backlog=BACKLOG,
        log_level=LogLevels(settings.log_level),
        log_dictconfig=log.GRANIAN,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, round(settings.drain_timeout)),
        pid_file=_pid_file(settings.state),
    )
    server.serve(target_loader=lambda _: Worker(settings))


def running_pid(state: Path) -> int:
    """Return the process id of the server that uses a state folder.

    Raises :class:`~benchhost.errors.UsageError` when there is none.
    """
    path = state / PID_FILE
    try:
        pid = int(path.read_text())
        os.kill(pid, 0)
    except (FileNotFoundError, ValueError, ProcessLookupError):
        raise UsageError(f"no server is running with the state folder {state} (looked at {path})") from None
    return pid


def _pid_file(state: Path) -> Path:
    path = state / PID_FILE
    try:
        pid = running_pid(state)
    except UsageError:
        path.unlink(missing_ok=True)  # left behind by a server that was killed
        return path
    raise UsageError(f"a server with the process id {pid} uses the state folder {state}; choose another with --state")


async def _must_all_load(settings: Settings) -> None:
    roster = Roster(hosting(settings))
    try:
        await roster.open()
        await roster.loaded()
        roster.check()
    finally:
        await roster.close()
