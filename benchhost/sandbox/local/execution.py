"""A command, and the process that watches over it: the parent of whatever the command leaves behind while it runs.

What a command has started can be told from what other commands have started only by who adopts it. So each command has
a watcher of its own; when the command ends by itself, so does the watcher, and what is left behind lives on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import signal
import socket
import time
from collections.abc import Collection, Iterable, Sequence

from benchhost.sandbox.local import kernel
from benchhost.sandbox.local.cgroups import killed
from benchhost.sandbox.local.messages import Message, send

SWEEPS_FOR = 2.0
"""Seconds for which a watcher tries to end what a command has started, before everything is ended."""

NOT_FOUND, NOT_EXECUTABLE = 127, 126
"""The exit codes with which a shell says that it cannot start a program."""

STOP = signal.SIGTERM
"""What tells a watcher to end the command and all that it has started."""

_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT)
_WATCHED = (signal.SIGCHLD, STOP)


def watch(
    connection: socket.socket, request: Message, files: Sequence[int], events: int = -1, guard: bytes | None = None
) -> None:
    """Run a command to its end and say how it ended. It is the only thing that this process ever does.

    ``events`` and ``guard`` are the holder's.
    """
    user = os.geteuid()
    if os.getuid() != user:  # as the holder, which commands are not to reach
        os.setresuid(user, user, user)
    signal.pthread_sigmask(signal.SIG_BLOCK, _WATCHED)
    signal.set_wakeup_fd(-1)
    for each in _WATCHED:
        signal.signal(each, signal.SIG_DFL)
    kernel.adopt_orphans()
    if guard is not None:
        kernel.Filter(guard).load()
    killed_before = 0 if events < 0 else killed(events)
    try:
        os.chdir(request["cwd"])
        command = _start(request["argv"], request["env"], files)
    except OSError as error:
        _say_why_not(files[2], request, error)
        code = NOT_FOUND if error.errno in (errno.ENOENT, errno.ENOTDIR) else NOT_EXECUTABLE
        _tell(connection, {"code": code, "peak": None})
        return
    for file in files:
        os.close(file)
    ended: tuple[int, resource.struct_rusage] | None = None
    while ended is None:
        if signal.sigwait(_WATCHED) == STOP:
            ended = _end_all(command)
            break
        ended = _reap(command)
    status, usage = ended
    if events >= 0 and killed(events) > killed_before:
        _tell(connection, {"ending": "memory_limit"})
    _tell(connection, {"code": os.waitstatus_to_exitcode(status), "peak": usage.ru_maxrss * 1024})


def _tell(connection: socket.socket, ended: Message) -> None:
    with contextlib.suppress(OSError):  # nobody waits for it any more
        send(connection, ended)


def _start(argv: list[str], env: dict[str, str], files: Sequence[int]) -> int:
    return os.posix_spawn(
        _find(argv[0], env.get("PATH", os.defpath)),
        argv,
        env,
        file_actions=[(os.POSIX_SPAWN_DUP2, file, number) for number, file in enumerate(files)],
        setsid=True,
        setsigmask=(),
        setsigdef=_IGNORED_BY_PYTHON,
    )


def _find(program: str, path: str) -> str:
    if "/" in program:
        return program
    for folder in path.split(":"):
        candidate = os.path.join(folder or ".", program)
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
    raise FileNotFoundError(errno.ENOENT, "not found", program)


def _say_why_not(file: int, request: Message, error: OSError) -> None:
    what = request["cwd"] if error.filename == request["cwd"] else request["argv"][0]
    with contextlib.suppress(OSError):
        os.write(file, f"{what}: {error.strerror}\n".encode("utf-8", "surrogateescape"))


def _reap(command: int) -> tuple[int, resource.struct_rusage] | None:
    """Reap what has ended; return how the command did, if it did."""
    ended = None
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, status, usage = os.wait4(-1, os.WNOHANG)
            if pid == 0:
                break
            if pid == command:
                ended = status, usage
    return ended


def _end_all(command: int) -> tuple[int, resource.struct_rusage]:
    """End the command, and whatever has come of it, until nothing is left."""
    ended = None
    until = time.monotonic() + SWEEPS_FOR
    while time.monotonic() < until:
        kill(descendants(os.getpid()))
        ended = _reap(command) or ended
        if not has_children():
            break
        time.sleep(0.001)
    if ended is None:  # it will not be swept: whoever waits for this process now ends everything
        os._exit(1)
    return ended


def has_children() -> bool:
    """Whether this process has any, dead ones that it has not reaped too."""
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return False
    return True


def children(pid: int) -> list[int]:
    """Find the processes whose parent is one, as far as they are there at the moment."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    return found


def descendants(pid: int) -> list[int]:
    """Find the processes that descend from one, as far as they are there at the moment."""
    found = children(pid)
    for each in found:  # which grows meanwhile
        found += children(each)
    return found


def kill(processes: Iterable[int]) -> None:
    """Kill processes that descend from this one."""
    ours = os.getsid(0)
    for each in processes:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(each) != ours:  # then one of them began it, and its groups end before they can fork once more
                os.killpg(os.getpgid(each), signal.SIGKILL)
            os.kill(each, signal.SIGKILL)


def end_orphans(known: Collection[int]) -> bool:
    """Kill every child of this process that is not known, and what descends from it; say whether there was any.

    Each is one that this process has adopted. When one ends, this is to be called once more, for what that one had.
    """
    orphans = [child for child in children(os.getpid()) if child not in known]
    kill(each for orphan in orphans for each in (orphan, *descendants(orphan)))
    return bool(orphans)
