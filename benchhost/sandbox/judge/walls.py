"""The walls between submitted code and everything else.

Around the zygote, once: its own namespaces of users, processes, mounts, networks, IPC and names; a root that holds an
interpreter and nothing else of the host's (:mod:`.root`); no way to gain privileges. Around each child: namespaces of
its own for users (in which its processes are counted), processes (which end with it, all of them) and mounts (a
small filesystem of its own to write in); no capabilities, a filter of system calls, limits. There is no ``/proc`` in
there, and there are no sockets but pairs: a child sees nothing of another.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import signal
import socket
from collections.abc import Callable, Collection
from typing import Any, NamedTuple

from benchhost.sandbox.judge.root import Root
from benchhost.sandbox.local import kernel, limits, mounts, seccomp, users
from benchhost.sandbox.local.advice import advice

NOBODY = 1000
"""The user and group that everything here belongs to, inside. To the machine, they are the judge's own, or
:data:`~benchhost.sandbox.local.users.JUDGED` when it is root who judges."""

CHANNEL = 3
"""The descriptor by which a child talks to the judge."""

_OWN = kernel.CLONE_NEWUSER | kernel.CLONE_NEWPID | kernel.CLONE_NEWNS
_PAGE = os.sysconf("SC_PAGE_SIZE")
_FILES = 64
"""Descriptors of a process. Each may be of a socket, and hold a few hundred kilobytes that nobody counts."""

_PARENT, _THREADS = 1, 17
"""Fields of ``/proc/<pid>/stat``, counted from the one after the name."""


class NoWalls(Exception):
    """This machine does not let the walls be put up; the message says what to change."""


class Used(NamedTuple):
    """What a child and its descendants use: bytes of memory; ``alone`` says that they are one thread of one process."""

    memory: int
    alone: bool


class Room(NamedTuple):
    """What is got ready for children with the same limits."""

    place: mounts.Recipe
    limits: limits.Lowered


class Walls:
    """What is around the zygote, and what it puts around each child."""

    isolation = "namespaces"

    def __init__(self, proc: int) -> None:
        self._proc = proc
        self._last = kernel.Filter(seccomp.rest())
        self._ids = (
            ("self/setgroups", b"deny"),
            ("self/uid_map", f"{os.getuid()} {os.getuid()} 1".encode()),
            ("self/gid_map", f"{os.getgid()} {os.getgid()} 1".encode()),
        )
        self._shared = self._resident(os.getpid())

    def room(self, wanted: dict[str, Any]) -> Room:
        """Get ready what a child needs to keep itself within limits."""
        size = wanted["disk"]
        options = {"size": str(size), "nr_inodes": "4096", "mode": "0700"}
        place = mounts.Recipe("tmpfs", options, mounts.NO_SETUID | mounts.NO_DEVICES)
        most = limits.lowered(processes=wanted["processes"], files=_FILES, file_size=size, data=wanted["memory"])
        return Room(place, most)

    def fork(self) -> int:
        """Fork a child that is the first process of its own world."""
        return kernel.clone(_OWN)

    def enter(self, room: Room, channel: int) -> None:
        """Give up, in a child, everything but the descriptor ``channel``, which becomes :data:`CHANNEL`."""
        os.setsid()
        for name, text in self._ids:
            file = os.open(name, os.O_WRONLY, dir_fd=self._proc)
            os.write(file, text)
            os.close(file)
        mounts.attach(room.place.make(), os.open("/tmp", os.O_PATH))
        os.chdir("/tmp")
        limits.keep_limits(room.limits)
        kernel.drop_capabilities()
        self._last.load()
        # The last to go are the descriptors: by one of them, what fails here is told.
        os.dup2(0, 1)
        os.dup2(0, 2)
        os.dup2(channel, CHANNEL)
        kernel.close_all_but({0, 1, 2, CHANNEL})

    def prove(self) -> None:
        """Put a child behind the walls and see what it can do. Raises :class:`NoWalls` when it is too much."""
        some = self.room({"disk": 1 << 20, "processes": 2, "memory": 256 << 20})
        pid = self.fork()
        if pid == 0:
            failed = len(_MUST_FAIL) + 1
            try:
                self.enter(some, 0)
                failed = next((number for number, (_, can) in enumerate(_MUST_FAIL, start=1) if _works(can)), 0)
            finally:
                os._exit(failed)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code:
            what = (
                f"a submission could {_MUST_FAIL[code - 1][0]}" if 0 < code <= len(_MUST_FAIL) else "they do not stand"
            )
            raise NoWalls(advice(f"the walls were tried, and {what}"))

    def starved(self, pid: int) -> float:
        """Return for how many seconds a child has waited for a processor; 0 where the kernel does not say."""
        try:
            return int(self._read(f"{pid}/schedstat").split()[1]) / 1e9
        except (OSError, IndexError):
            return 0.0

    def used(self, children: Collection[int]) -> dict[int, Used]:
        """Return what each child and all its descendants use together, the memory that all share left out."""
        parents: dict[int, int] = {}
        sizes: dict[int, int] = {}
        threads: dict[int, int] = {}
        for name in os.listdir(self._proc):
            if name.isdigit() and name != "1":
                with contextlib.suppress(OSError):  # it has just ended
                    pid = int(name)
                    fields = self._read(f"{pid}/stat").rpartition(b")")[2].split()
                    parents[pid], threads[pid] = int(fields[_PARENT]), int(fields[_THREADS])
                    sizes[pid] = max(self._resident(pid) - self._shared, 0)
        memory, many = dict.fromkeys(children, 0), dict.fromkeys(children, 0)
        for pid, size in sizes.items():
            above = pid
            while above not in memory and above in parents:
                above = parents[above]
            if above in memory:
                memory[above] += size
                many[above] += threads[pid]
        return {pid: Used(memory[pid], many[pid] <= 1) for pid in memory}

    def _resident(self, pid: int) -> int:
        return int(self._read(f"{pid}/statm").split()[1]) * _PAGE

    def _read(self, path: str) -> bytes:
        file = os.open(path, os.O_RDONLY, dir_fd=self._proc)
        try:
            return os.read(file, 4096)
        finally:
            os.close(file)


def put_up(hidden: Collection[str]) -> Walls | None:
    """Put the walls around this process, which goes on as another: return there, and here, at its end, ``None``.

    What lies in the directories ``hidden`` is not seen from within. Raises :class:`NoWalls`.
    """
    privileged = os.geteuid() == 0
    outside = (users.JUDGED, users.JUDGED) if privileged else (os.geteuid(), os.getegid())
    told, tell = os.pipe()
    try:
        pid = kernel.clone(kernel.ALL_NAMESPACES)
    except OSError as error:
        raise NoWalls(advice(f"no namespaces are to be had ({error.strerror})")) from None
    if pid == 0:
        os.close(tell)
        os.read(told, 1)
        os.close(told)
        return _enclosed(Root(hidden), privileged=privileged)
    os.close(told)
    try:
        kernel.map_ids(pid, (NOBODY, NOBODY), outside, privileged=privileged)
    except OSError as error:
        os.kill(pid, signal.SIGKILL)
        raise NoWalls(advice(f"users cannot be mapped ({error.strerror})")) from None
    os.close(tell)
    return None


def _enclosed(root: Root, *, privileged: bool) -> Walls:
    try:
        mounts.make_private()
        root.gather()
        kernel.become(NOBODY, NOBODY, forget_groups=privileged)
        kernel.show_memory()  # the change of user hid it, and with it what /proc offers for the mapping of ids
        proc = mounts.fresh("proc", attributes=mounts.NO_SETUID | mounts.NO_DEVICES | mounts.NO_PROGRAMS)
        listed = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=proc)
        os.close(proc)
        root.move_into()
        kernel.refuse_new_privileges()
        kernel.Filter(seccomp.program(network=False, memory_files=False, uncounted=False, builds=True)).load()
        walls = Walls(listed)
        walls.prove()
    except OSError as error:
        raise NoWalls(advice(f"the walls cannot be put up ({error})")) from None
    return walls


def _works(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError:
        return False
    return True


def _fork_twice() -> None:
    for _ in range(2):  # with itself, these are three
        if os.fork() == 0:
            signal.pause()


def _write_too_much() -> None:
    with open("/tmp/file", "wb") as file:
        file.write(bytes(2 << 20))


def _send_signal() -> None:
    if os.getpid() != 1:
        return
    os.kill(2, 0)


_MUST_FAIL: tuple[tuple[str, Callable[[], object]], ...] = (
    ("see processes", lambda: os.listdir("/proc")),
    ("signal processes", _send_signal),
    ("write outside of its own directory", lambda: os.mkdir("/here")),
    ("write more than it may", _write_too_much),
    ("open a socket", lambda: socket.socket(socket.AF_INET)),
    ("open a local socket", lambda: socket.socket(socket.AF_UNIX)),
    ("have a pair of sockets that can be parted", lambda: socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)),
    ("hide memory", lambda: mmap.mmap(-1, _PAGE)),
    ("make namespaces", lambda: kernel.unshare(kernel.CLONE_NEWUSER)),
    ("make namespaces in a fork", lambda: kernel.clone(_OWN)),
    ("mount", lambda: mounts.fresh("tmpfs")),
    ("become another user", lambda: os.setuid(0)),
    ("start more processes than it may", _fork_twice),
)
"""What must not work behind the walls."""
