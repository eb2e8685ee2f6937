"""A small process that forks grader processes, so that the host never has to.

Starting an interpreter costs a tenth of a second, and forking a large process copies its page
tables; a fork of this process costs a few milliseconds and shares what it has imported. It is a fresh
interpreter each time it is started, so it sees the plugins that are installed now, and their newest
code. It does nothing but fork, reap and, when the host hangs up, end everything that it forked.

Each grader has a :mod:`watcher <benchhost.evaluation.watcher>`, which is what is forked here, and whose
process id the host is told. It ends with all that the grader's hooks have started.

The host sends msgpack requests as datagrams: :class:`Spawn`, with one end of a socket pair attached by
which it tells the grader what to load, and :class:`Kill`. The first datagram that comes back holds the
installed plugins.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import select
import signal
import socket
import subprocess
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

import msgspec

from benchhost.discovery import Entry, entries
from benchhost.errors import UsageError
from benchhost.evaluation.collector import loading

MOST = 1 << 20
"""The longest datagram, in bytes."""


LEFT_TO_THE_HOST = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""A terminal's Ctrl-C goes to the whole group, and so does the SIGTERM of some service managers."""


class Spawn(msgspec.Struct, tag="spawn"):
    """Fork a grader. The answer is the process id of its watcher, or a text that says why it could not be forked."""


class Kill(msgspec.Struct, tag="kill"):
    """End a grader at once, if it still runs, by the process id of its watcher."""

    pid: int


class Installed(msgspec.Struct):
    """The plugins that a fresh interpreter finds."""

    entries: list[Entry]


class _Printed(io.FileIO):
    """Where goes what plugins print. That nobody reads it any more, or that a disk is full, fails no hook."""

    def write(self, data: Any, /) -> int:
        try:
            return super().write(data)
        except OSError:
            return memoryview(data).nbytes


def _printing(stream: TextIO) -> TextIO:
    file = _Printed(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(file, stream.encoding, stream.errors, write_through=True)  # as by -u


def must_be_linux() -> None:
    """Make sure that graders can be had on this machine.

    Raises :class:`~benchhost.errors.UsageError`.
    """
    if sys.platform != "linux":
        raise UsageError(
            "benchmarks are judged here in processes that only Linux keeps apart: take a container of Linux, or a host "
            "on another machine"
        )


def start() -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a zygote and return it with the host's end of the conversation.

    Raises what :func:`must_be_linux` does.
    """
    must_be_linux()
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    # The host's own settings hold its API key, and those of other plugins: each is given its own only.
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("BENCHHOST_", "BENCHMARK_API_KEY"))
    }
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, LEFT_TO_THE_HOST)  # until it has its own handlers
    try:
        with theirs:
            process = subprocess.Popen(
                # Unbuffered, since a grader ends without a farewell, and what an author printed is to be seen.
                [sys.executable, "-u", "-m", "benchhost.evaluation.zygote", str(theirs.fileno())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=sys.stderr.fileno(),  # what an author prints must not mix with what a command prints
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
    return process, ours


def main(host: socket.socket) -> None:
    """Serve the host until it hangs up."""
    # Imported here so that every child shares them, but not by whoever only wants to start a zygote.
    with loading():
        from benchhost.evaluation import grader, watcher
        from benchhost.evaluation.lifeline import end_with_parent
        from benchhost.sandbox.local import kernel
        from benchhost.sandbox.local.execution import end_orphans

    for name in ("stdout", "stderr"):
        if (stream := getattr(sys, name)) is not None:  # as one is that was closed
            setattr(sys, name, _printing(stream))

    # The host decides when its graders end. A handler that does nothing, unlike SIG_IGN, is not passed on
    # to the programs that an author's hook may start.
    for each in LEFT_TO_THE_HOST:
        signal.signal(each, _ignore)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, LEFT_TO_THE_HOST)
    woken, waker = socket.socketpair()
    for end in (woken, waker):
        end.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)

    host.send(msgspec.msgpack.encode(Installed(entries())))
    requests = msgspec.msgpack.Decoder(Spawn | Kill)
    watchers: set[int] = set()
    me = os.getpid()
    kernel.adopt_orphans()  # those of a watcher that was killed
    try:
        while True:
            ready, _, _ = select.select([host, woken], [], [])
            if woken in ready:
                with contextlib.suppress(BlockingIOError):
                    woken.recv(4096)
                watchers -= watcher.reap()
                end_orphans(watchers)
            if host not in ready:
                continue
            data, handles, _, _ = socket.recv_fds(host, MOST, 1)
            if not data:
                return
            request = requests.decode(data)
            if isinstance(request, Kill):
                if request.pid in watchers:
                    os.kill(request.pid, watcher.STOP)
                continue
            if not handles:  # the kernel had no descriptor left for it
                host.send(msgspec.msgpack.encode(os.strerror(errno.EMFILE)))
                continue

            def be_watcher(forked: int, connection: int = handles[0]) -> None:
                end_with_parent(me, watcher.STOP)
                for end in (host, woken, waker):
                    end.close()
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                watcher.watch(grader.main, socket.socket(fileno=connection), forked)

            try:
                pid = _fork(be_watcher)
            except OSError as error:  # no memory or no process is to be had: at the moment, perhaps
                host.send(msgspec.msgpack.encode(str(error)))
            else:
                watchers.add(pid)
                host.send(msgspec.msgpack.encode(pid))
            finally:
                os.close(handles[0])
    finally:
        for pid in watchers:
            os.kill(pid, watcher.STOP)
        for pid in watchers:
            os.waitpid(pid, 0)
        end_orphans(set())


def _fork(be_watcher: Callable[[int], None]) -> int:
    """Fork a watcher, and return its process id when it has forked its grader.

    The watcher is given a file, which it closes then. Raises ``OSError`` when either cannot be had; for the grader, the
    watcher has written the number of the error there.
    """
    told, forked = os.pipe()
    try:
        pid = os.fork()
    except OSError:
        os.close(told)
        os.close(forked)
        raise
    if pid == 0:
        try:
            os.close(told)
            be_watcher(forked)
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(1)  # whatever happens, a child must not end its siblings, as its parent does at last
    os.close(forked)
    with os.fdopen(told, "rb") as file:
        number = file.read()
    if number:
        os.waitpid(pid, 0)
        raise OSError(int(number), os.strerror(int(number)))
    return pid


def _ignore(*_: object) -> None:
    """Do nothing about a signal."""


if __name__ == "__main__":
    with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # the host has gone in the middle of a word
        main(socket.socket(fileno=int(sys.argv[1])))
