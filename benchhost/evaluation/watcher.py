"""The process that watches over a grader: the parent of it, and of whatever its hooks leave behind.

What a grader's hooks have started can be told from what those of others have started only by who adopts it. So each
grader has a watcher of its own. When the grader ends, or is to end, so does all that has come of it: also a daemon,
which has a session of its own and a parent that has ended.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from collections.abc import Callable

from benchhost.evaluation.lifeline import end_with_parent
from benchhost.sandbox.local import kernel
from benchhost.sandbox.local.execution import descendants, has_children, kill

STOP = signal.SIGUSR1
"""What tells a watcher to end its grader at once, and all that has come of it."""

SWEEPS_FOR = 10.0
"""Seconds for which a watcher tries to end what is left. Then its own parent, who adopts that, goes on trying."""

_WATCHED = (signal.SIGCHLD, STOP)


def watch(be_grader: Callable[[socket.socket], None], connection: socket.socket, forked: int) -> None:
    """Fork a grader, which does ``be_grader`` with its line to the host, and return when nothing is left of it.

    It is the only thing that this process, which was just forked, ever does. ``forked`` is closed when the grader is
    there; if it cannot be had, the number of the error is written there first.
    """
    me = os.getpid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    kernel.adopt_orphans()
    try:
        grader = os.fork()
    except OSError as error:
        os.write(forked, str(error.errno).encode())
        return
    os.close(forked)
    if grader == 0:
        os.setpgid(0, 0)
        end_with_parent(me)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _WATCHED)
        be_grader(connection)
        os._exit(1)
    connection.close()  # so that the host hears the end of it
    with contextlib.suppress(OSError):  # the child was faster, and may be gone by now
        os.setpgid(grader, grader)  # so that its group can be ended from the first moment on
    while signal.sigwait(_WATCHED) != STOP and grader not in reap():
        pass
    _end_all(grader)


def reap() -> set[int]:
    """Reap the children that have ended."""
    ended = set()
    with contextlib.suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            ended.add(pid)
    return ended


def _end_all(grader: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(grader, signal.SIGKILL)
    until = time.monotonic() + SWEEPS_FOR
    while time.monotonic() < until:
        kill(descendants(os.getpid()))
        reap()
        if not has_children():
            return
        time.sleep(0.001)
