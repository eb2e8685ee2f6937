"""The first process of a sandbox: it listens to the host, starts commands, opens files, and adopts what is left behind.

Everything in the sandbox ends with it. It ends when its lifeline does, whose other end only the keeper holds, and
when its time is over.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import time
from dataclasses import dataclass, field

from benchhost.sandbox.local import inside
from benchhost.sandbox.local.execution import STOP, SWEEPS_FOR, watch
from benchhost.sandbox.local.messages import Closed, Message, receive, send

SHELL = "/bin/sh"


@dataclass
class Habits:
    """How commands begin here, and when the sandbox ends: ``idle_timeout`` and ``lifetime`` are in seconds.

    ``places`` says where directories really are that lie elsewhere; with a root of its own there are none.
    """

    env: dict[str, str]
    cwd: str
    idle_timeout: float | None = None
    lifetime: float | None = None
    places: dict[str, str] = field(default_factory=dict)

    def real(self, path: str) -> str:
        """Say where a path really leads."""
        path = os.path.join(self.cwd, path)
        for place, really in self.places.items():
            if path == place or path.startswith(f"{place}/"):
                return really + path[len(place) :]
        return path


@dataclass
class _Running:
    """A command that runs. ``ends`` is when it has to, ``sweeping`` since when it is being ended."""

    watcher: int
    connection: socket.socket
    ends: float | None
    sweeping: float | None = None


@dataclass
class Holder:
    """The holder of a sandbox, which serves until the end.

    ``layer`` is the directory with what is the sandbox's own, for who copies it. ``events`` is the file that says what
    the memory of its cgroup has led to, or -1. ``guard`` is one more filter of system calls for commands.
    """

    listener: socket.socket
    lifeline: int
    habits: Habits
    layer: int = -1
    events: int = -1
    guard: bytes | None = None
    connections: dict[int, socket.socket] = field(default_factory=dict)
    running: dict[int, _Running] = field(default_factory=dict)  # by the descriptor of the connection

    def serve(self) -> None:
        """Serve until the lifeline or the time has come to its end, and then end everything."""
        try:
            self._serve()
        finally:
            self.listener.shutdown(socket.SHUT_RDWR)  # in watchers as well: who comes now is refused
            _signal_everything()

    def _serve(self) -> None:
        woken, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _nothing)
        self._poll = select.poll()
        for each in (self.listener.fileno(), self.lifeline, woken):
            self._poll.register(each, select.POLLIN)
        self._busy_until = began = time.monotonic()
        while True:
            for file, _ in self._poll.poll(self._patience(began)):
                if file == self.lifeline:
                    return
                if file == woken:
                    with contextlib.suppress(BlockingIOError):
                        os.read(woken, 4096)
                    self._reap()
                elif file == self.listener.fileno():
                    self._accept()
                elif file in self.connections:
                    self._hear(self.connections[file])
            if self._is_over(began):
                return
            self._end_what_overran()

    def _patience(self, began: float) -> int:
        """Return for how many milliseconds nothing has to be done."""
        ends = [each.ends for each in self.running.values() if each.ends is not None]
        ends += [each.sweeping + SWEEPS_FOR + 1 for each in self.running.values() if each.sweeping is not None]
        if self.habits.lifetime is not None:
            ends.append(began + self.habits.lifetime)
        if self.habits.idle_timeout is not None and not self.running:
            ends.append(self._busy_until + self.habits.idle_timeout)
        return -1 if not ends else max(0, min(int((min(ends) - time.monotonic()) * 1000) + 1, 1 << 30))

    def _is_over(self, began: float) -> bool:
        now = time.monotonic()
        if self.running:
            self._busy_until = now
        idle, life = self.habits.idle_timeout, self.habits.lifetime
        return (idle is not None and now >= self._busy_until + idle) or (life is not None and now >= began + life)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # they hung up, or no descriptor is left for them
            connection, _ = self.listener.accept()
            connection.setblocking(False)
            self.connections[connection.fileno()] = connection
            self._poll.register(connection, select.POLLIN)

    def _hear(self, connection: socket.socket) -> None:
        files: list[int] = []
        try:
            request, files = receive(connection)
            self._busy_until = time.monotonic()
            if request["op"] == "run":
                self._run(connection, request, files)
            elif request["op"] == "kill":
                self._stop(connection, request["reason"])
            elif request["op"] == "freeze":
                self._freeze(connection)
            elif request["op"] == "overrun":
                self._overrun(request["reason"])
            else:
                self._do(connection, request)
        except BlockingIOError:
            pass
        except (Closed, OSError, LookupError, ValueError, TypeError):  # hung up, or is none who knows how to ask
            self._forget(connection)
        finally:
            for file in files:
                os.close(file)

    def _do(self, connection: socket.socket, request: Message) -> None:
        request["path"] = self.habits.real(request["path"])
        try:
            for answer, file in inside.do(request):
                try:
                    _send(connection, answer, [] if file is None else [file])
                finally:
                    if file is not None:
                        os.close(file)
        except OSError as error:
            _send(connection, {"errno": error.errno, "error": error.strerror or str(error)})

    def _freeze(self, connection: socket.socket) -> None:
        """Have everything stand still, and do nothing, until whoever wanted that hangs up."""
        _signal_everything(signal.SIGSTOP)
        try:
            _send(connection, {}, [self.layer])
            select.select([connection.fileno(), self.lifeline], [], [])
        finally:
            _signal_everything(signal.SIGCONT)

    def _run(self, connection: socket.socket, request: Message, files: list[int]) -> None:
        given = request["command"]
        request["argv"] = [SHELL, "-c", given] if isinstance(given, str) else given
        request["env"] = {**self.habits.env, **request["env"]}
        request["cwd"] = self.habits.real(request["cwd"] or "")
        try:
            watcher = os.fork()
        except OSError as error:  # it has as many processes as it may have
            os.write(files[2], f"no process can be started: {error.strerror}\n".encode())
            _send(connection, {"code": 126, "peak": None})
            return
        if watcher == 0:
            code = 1
            try:
                connection.setblocking(True)
                watch(connection, request, files, self.events, self.guard)
                code = 0
            finally:
                os._exit(code)
        timeout = request["timeout"]
        ends = None if timeout is None else time.monotonic() + timeout
        self.running[connection.fileno()] = _Running(watcher, connection, ends)

    def _stop(self, connection: socket.socket, reason: str) -> None:
        running = self.running.get(connection.fileno())
        if running is None or running.sweeping is not None:
            return
        running.ends = None
        running.sweeping = time.monotonic()
        with contextlib.suppress(OSError):
            _send(connection, {"ending": reason})
        with contextlib.suppress(ProcessLookupError):
            os.kill(running.watcher, STOP)
            os.kill(running.watcher, signal.SIGCONT)  # a command may have stopped it

    def _end_what_overran(self) -> None:
        now = time.monotonic()
        for each in list(self.running.values()):
            if each.ends is not None and now >= each.ends:
                self._stop(each.connection, "timeout")
            elif each.sweeping is not None and now >= each.sweeping + SWEEPS_FOR + 1:
                each.sweeping = now
                _signal_everything()

    def _overrun(self, reason: str) -> None:
        """End everything, since all of it together used too much."""
        for each in self.running.values():
            with contextlib.suppress(OSError):
                _send(each.connection, {"ending": reason})
        _signal_everything()

    def _reap(self) -> None:
        with contextlib.suppress(ChildProcessError):
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return
                for each in list(self.running.values()):
                    if each.watcher == pid:
                        self._ended(each, in_order=status == 0)

    def _ended(self, running: _Running, *, in_order: bool) -> None:
        del self.running[running.connection.fileno()]
        self._busy_until = time.monotonic()
        if not in_order:  # somebody in here has ended it: what it watched over cannot be told from the rest now
            _signal_everything()
            with contextlib.suppress(OSError):
                _send(running.connection, {"code": -signal.SIGKILL, "peak": None})
        self._forget(running.connection)

    def _forget(self, connection: socket.socket) -> None:
        file = connection.fileno()
        if file in self.running:  # whoever wanted it has gone
            self._stop(connection, "cancelled")
            with contextlib.suppress(KeyError):
                self._poll.unregister(file)
            return
        if self.connections.pop(file, None) is not None:
            with contextlib.suppress(KeyError):
                self._poll.unregister(file)
            connection.close()


def _send(connection: socket.socket, message: Message, files: list[int] | None = None) -> None:
    """Send without waiting for long: nobody may hold up the others by not reading."""
    try:
        send(connection, message, files or [])
    except BlockingIOError:
        if not select.select([], [connection], [], 1.0)[1]:
            raise Closed from None
        send(connection, message, files or [])


def _signal_everything(which: signal.Signals = signal.SIGKILL) -> None:
    """Send a signal, by default the last one, to every process of the sandbox but this: no others can be reached."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(-1, which)


def _nothing(*_: object) -> None:
    """Do nothing about a signal, which wakes the loop."""
