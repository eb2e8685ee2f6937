"""What a sandbox is to be, and the last walls that go up around it in every tier, just before it listens."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass

from benchhost.sandbox.local import kernel, limits, seccomp
from benchhost.sandbox.local.cgroups import Group
from benchhost.sandbox.local.holder import Habits, Holder
from benchhost.sandbox.local.root import Space

PROCESSES = 256
"""Processes that a sandbox may have at once."""


@dataclass
class Plan:
    """What a sandbox is to be.

    ``user`` and ``group`` are whose it is on this machine, ``inside`` who these are in there. ``memory`` is in bytes,
    of each process. ``image`` is the folder of a root, if it has one. ``cores`` are those on which it runs, where no
    cgroup counts its time.
    """

    habits: Habits
    space: Space
    user: int
    group: int
    inside: tuple[int, int]
    memory: int
    image: str | None = None
    cores: frozenset[int] | None = None


@dataclass
class Ends:
    """What a holder has of the keeper: where it listens, its lifeline, and where it says once that it is ready.

    What it says is nothing, and then it hangs up; or why it cannot be.
    """

    listener: socket.socket
    lifeline: int
    ready: int


def fork(group: Group | None, namespaces: int = 0) -> int:
    """Fork a holder, in the cgroup of its sandbox if there is one.

    Raises ``OSError``.
    """
    if group is None:
        return kernel.clone(namespaces)
    try:
        return kernel.clone(namespaces, group.place)
    except OSError:  # an old kernel, or a container's filter, knows no such call
        pid = kernel.clone(namespaces)
    if pid:
        with kernel.ending_on_failure(pid):
            group.add(pid)
    return pid


def hold(
    plan: Plan, ends: Ends, walls: Callable[[], int], *, keep: int = -1, events: int, program: bytes, tier: str
) -> None:
    """Put up the walls, become the holder in this process, which was just forked, and never return.

    The walls return the directory of what is the sandbox's own, or -1. ``keep`` is one more descriptor that they need.
    ``events`` is the file of what the memory of its cgroup leads to, or -1. ``program`` is the filter of system calls.
    """
    try:
        kernel.close_all_but(
            {2, ends.listener.fileno(), ends.lifeline, ends.ready, *(each for each in (keep, events) if each >= 0)}
        )
        nothing = os.open("/dev/null", os.O_RDWR)  # becomes 0
        os.dup2(nothing, 1)
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
            signal.signal(each, signal.SIG_DFL)
        os.umask(0o022)
        last = kernel.Filter(program)
        if plan.cores is not None:
            os.sched_setaffinity(0, plan.cores)
        layer = walls()
        kernel.refuse_new_privileges()
        most = None if tier == "landlock" else PROCESSES  # which is for all of a user's, wherever they run
        limits.keep_limits(limits.lowered(processes=most, file_size=plan.space.size, data=plan.memory))
        kernel.hide_memory()
        last.load()
        guard = seccomp.guard(os.getpid()) if tier == "landlock" else None
        holder = Holder(ends.listener, ends.lifeline, plan.habits, layer, events, guard)
        os.close(ends.ready)
    except BaseException as error:
        sys.__excepthook__(type(error), error, error.__traceback__)  # to the keeper's log; callers are told no path
        said = error.strerror if isinstance(error, OSError) else repr(error)
        os.write(ends.ready, f"{said} ({_step(error)})".encode())
        os._exit(1)
    try:
        with contextlib.suppress(OSError):
            os.dup2(nothing, 2)
        sys.stdout = sys.stderr = None  # there is nobody to read it
        holder.serve()
    finally:
        os._exit(0)


def _step(error: BaseException) -> str:
    """Name what was being done: the innermost function that is not one of those by which the kernel is asked."""
    steps = [""]
    frame = error.__traceback__
    while frame is not None:
        code = frame.tb_frame.f_code
        if os.path.basename(code.co_filename) not in {"kernel.py", "mounts.py"}:
            steps.append(code.co_name)
        frame = frame.tb_next
    return steps[-1].strip("_").replace("_", " ")
