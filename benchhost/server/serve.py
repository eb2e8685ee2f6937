"""The server as processes: granian's, with our ways of starting, reloading and stopping."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import math
import os
import resource
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import msgspec

from benchhost import log
from benchhost.absent import absent
from benchhost.discovery import entries
from benchhost.errors import UsageError
from benchhost.evaluation.lifeline import end_with_parent
from benchhost.evaluation.roster import Roster
from benchhost.evaluation.zygote import must_be_linux
from benchhost.sandbox.local.keeping import tie_to_host
from benchhost.server.app import App
from benchhost.server.host import PID_FILE, Host, hosting
from benchhost.server.policy import describe, policy_of
from benchhost.server.probing import read_probing
from benchhost.server.sandboxes import own_provider
from benchhost.server.uploads import check_uploads
from benchhost.settings import Settings, state_folder
from benchhost.store import DATABASE, open_store

with absent("watchfiles", "dotenv"):  # which granian loads for what is not used here
    from granian.constants import HTTPModes, Interfaces, Loops, RuntimeModes
    from granian.http import HTTP1Settings
    from granian.log import LogLevels
    from granian.server.mp import MPServer

if TYPE_CHECKING:
    from litestar.types import Message, Receive, Scope, Send

_log = log.get_logger()

LOCK_FILE = "lock"

SIGNALS = (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)

BACKLOG = 4096
"""Connections that may wait to be accepted."""

READ_AT_ONCE = 128 * 1024
"""The most bytes of a connection that are read and not yet looked at; a head that is larger is answered with 431."""

SPARE = 512
"""Descriptors of a worker that are not connections, at the most."""


class Server(MPServer):
    """Granian, except that a SIGHUP has each worker load the plugins anew, and no worker misses a signal.

    Granian itself would replace the workers at a SIGHUP, which resets the connections that are just
    being accepted. And until a worker has its event loop, it has the signal handlers of the server it
    was forked from, which are of no use to it: a SIGTERM at that time would be lost, and the server
    would wait for the worker until it gives up. So signals are held back until the worker is ready.
    """

    def signal_handler_reload(self, *_: Any) -> None:
        """Pass a SIGHUP on to the workers."""
        for worker in self.wrks:
            if worker.inner.is_alive():  # else another one is about to take its place, with the newest plugins
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.inner.pid, signal.SIGHUP)

    def _spawn_workers(self, *args: Any, **kwargs: Any) -> None:
        with _signals_held_back():
            super()._spawn_workers(*args, **kwargs)  # type: ignore[no-untyped-call]

    def _respawn_workers(self, *args: Any, **kwargs: Any) -> None:
        with _signals_held_back():
            super()._respawn_workers(*args, **kwargs)
        if self.interrupt_signal or self.interrupt_children:
            self.main_loop_interrupt.set()  # granian has forgotten what came between its last look and here


@contextlib.contextmanager
def _signals_held_back() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class Worker:
    """The application of one worker process, which reloads on SIGHUP."""

    def __init__(self, settings: Settings) -> None:
        self._host = Host(settings)
        self._app = App(self._host)
        self._wanted = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection; the first one is that of the server's own life."""
        if scope["type"] != "lifespan":  # type: ignore[comparison-overlap]  # Litestar's type leaves it out
            await self._app(scope, receive, send)
            return
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._wanted.set)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # by now granian has set the handlers of the others
        reloading = asyncio.create_task(self._reload_when_wanted())

        async def tell(message: Message) -> None:
            if message["type"] == "lifespan.startup.complete":  # type: ignore[comparison-overlap]  # as above
                self._heed_signals()
            await send(message)

        try:
            await self._app(scope, receive, tell)
        finally:
            reloading.cancel()

    def _heed_signals(self) -> None:
        """Stop the runs as soon as the process is to end, and have no signal lost.

        For the runs, the end of the lifespan would be too late: it comes when every answer is finished, and the
        answer to who follows a run is finished when the run is. The loop is told of a signal beside this, by way
        of its wake-up descriptor, and calls granian's handler, or ours; but uvloop hears of none while it does not
        run, as between the start of the lifespan and the first connection. Such a one is sent again when it does.
        """
        runs, loop = self._host.runs, asyncio.get_running_loop()

        def heed(number: int, _: FrameType | None) -> None:
            if runs is not None and number != signal.SIGHUP:
                loop.call_soon_threadsafe(runs.stop)
            if not loop.is_running():
                loop.call_soon_threadsafe(os.kill, os.getpid(), number)

        for each in SIGNALS:
            signal.signal(each, heed)

    async def _reload_when_wanted(self) -> None:
        while True:
            await self._wanted.wait()  # also of several signals while it reloads, only one more reload comes
            self._wanted.clear()
            try:
                await self._host.roster.reload()
            except Exception:
                _log.exception("the plugins could not be reloaded; the old ones are still served")


def serve(settings: Settings) -> None:
    """Serve until the process is told to stop.

    Raises :class:`~benchhost.errors.PluginFault` when a plugin is faulty and the settings are strict,
    :class:`~benchhost.errors.SettingsError` when it cannot be said who is to be let in, what they are told or where
    sandboxes are, and :class:`~benchhost.errors.UsageError` when another server uses the same state folder, or the
    machine has no Linux.
    """
    must_be_linux()
    log.configure(settings.log_level, settings.log_format)
    log.register_secret(settings.api_key)
    policy = policy_of(settings)
    check_uploads(settings)
    read_probing(settings.probing)  # what is wrong with it is told once, and not by each worker
    own_provider(settings)  # a wrong name of a provider is told now, and not to who submits
    state_folder(settings)
    port = _port(settings.host, settings.port)
    lock = _lock_alone(settings.state)
    asyncio.run(_look_at_what_is_needed(settings))
    if settings.benchmarks:
        installed = sorted({entry.name for entry in entries()})
        for name in settings.unused(installed):
            _log.warning(
                "nothing reads a table of settings, since no installed plugin has its name",
                table=f"[benchmarks.{name}]",
                installed=installed,
            )
    tell = _log.warning if policy.is_open else _log.info
    for sentence in describe(policy, settings):
        tell(sentence, auth=list(policy.modes))
    server = Server(
        "benchhost",
        address=settings.host,
        port=port,
        interface=Interfaces.ASGI,
        workers=settings.workers,
        loop=Loops.auto,
        runtime_mode=RuntimeModes.st,  # one thread feeds the one event loop: a second only hands work over
        http=HTTPModes.http1,
        backlog=BACKLOG,
        backpressure=_connections(settings.max_connections),
        http1_settings=HTTP1Settings(
            header_read_timeout=math.ceil(settings.read_timeout * 1000), max_buffer_size=READ_AT_ONCE
        ),
        log_level=LogLevels(settings.log_level),
        log_dictconfig=log.GRANIAN,
        respawn_failed_workers=True,
        workers_kill_timeout=max(1, math.ceil(settings.drain_timeout)),  # it waits for requests until then
        pid_file=settings.state / PID_FILE,
    )
    if settings.workers > 1:  # all of them are to share one
        from benchhost.server import framework  # noqa: F401
    me = os.getpid()
    tie_to_host()

    def load(_: str) -> Worker:
        end_with_parent(me, signal.SIGTERM)  # a worker whose server was killed would keep the port and the state
        return Worker(msgspec.structs.replace(settings, port=port))

    try:
        server.serve(target_loader=load)
    finally:
        os.close(lock)


def _connections(wanted: int) -> int:
    """Say how many connections a worker can hold, and have the system allow it as many as it may.

    A worker that has no descriptor left could accept nothing, read no file, and start no grader.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = wanted + SPARE if hard == resource.RLIM_INFINITY else min(wanted + SPARE, hard)
    if soft != resource.RLIM_INFINITY and soft < most:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    possible = max(16, min(wanted, most - SPARE))
    if possible < wanted:
        _log.warning(
            "the system lets a process have too few descriptors for the connections that are wanted",
            max_connections=wanted,
            possible=possible,
            descriptors=hard,
        )
    return possible


def _port(address: str, port: int) -> int:
    """Make sure that the address can be listened on, and return the port: a free one in the place of 0.

    Every worker listens by the number of the port, and the log is to name it.

    Raises :class:`~benchhost.errors.UsageError` when it cannot.
    """
    try:
        family, *_, place = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(place)
            found: int = probe.getsockname()[1]
            return found
    except OSError as error:
        raise UsageError(
            f"cannot listen on {address} port {port}: {error.strerror or error}; choose others with --host and --port"
        ) from error


def running_pid(state: Path) -> int:
    """Return the process id of the server that uses a state folder.

    Raises :class:`~benchhost.errors.UsageError` when there is none.
    """
    path = state / PID_FILE
    try:
        os.close(_lock(state))
    except (FileNotFoundError, NotADirectoryError):
        pid = None
    except BlockingIOError:
        pid = _pid(path)
    except PermissionError as error:
        raise _not_ours(state) from error
    else:
        pid = None  # the file was left behind by a server that was killed
    if pid is None:
        raise UsageError(
            f"no server is running with the state folder {state.absolute()} (looked at {path.absolute()}); "
            "say this where it was started, or name its state folder with --state"
        )
    return pid


def _pid(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (FileNotFoundError, ValueError):  # the server is about to write it, or to end
        return None


def _lock_alone(state: Path) -> int:
    try:
        return _lock(state)
    except BlockingIOError:
        pid = _pid(state / PID_FILE)
        which = "a server" if pid is None else f"a server with the process id {pid}"
        raise UsageError(f"{which} uses the state folder {state}; stop it, or choose another with --state") from None
    except PermissionError as error:
        raise _not_ours(state) from error


def _not_ours(state: Path) -> UsageError:
    return UsageError(f"{state / LOCK_FILE} may not be opened by this user (id {os.geteuid()})")


def _lock(state: Path) -> int:
    """Take the lock that a server and its workers hold; the kernel lets it go when they end, whatever ended them.

    A pid file alone cannot tell: the number in it may by now be that of another process.

    Raises ``BlockingIOError`` when another one has it, and what opening a file raises.
    """
    file = os.open(state / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(file)
        raise
    (state / PID_FILE).unlink(missing_ok=True)  # left behind by a server that was killed
    return file


async def _look_at_what_is_needed(settings: Settings) -> None:
    """Make sure, before any worker starts, of what would otherwise fail in each of them.

    The store must open; the plugins to be served must be installed and, when the settings are strict,
    none may be faulty.
    """
    async with open_store(settings.state / DATABASE):
        _log.debug("the store is usable")
    if settings.only is None and not settings.strict:
        return
    roster = Roster(hosting(settings))
    try:
        await roster.open()
        if settings.strict:
            await roster.loaded()
            roster.check()
    finally:
        await roster.close()
