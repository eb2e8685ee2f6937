"""Groups of processes whose memory, number and processor time the kernel counts: cgroups, of version 2.

Whoever is root has them, and so has a plain user to whom a part of the tree was delegated, as systemd does it for a
service with ``Delegate=yes`` and for what a user has started. Where there are none, limits are kept in other ways.

::

    <a group that may be divided>/benchhost-<id>/     of a keeper, locked while it lives
    <a group that may be divided>/benchhost-<id>/<sandbox>/
    <a group that may be divided>/benchhost-host/     what was in the group itself, if it had to be moved away
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass

from benchhost.sandbox.local import kernel

CONTROLLERS = ("memory", "pids", "cpu")
_PREFIX = "benchhost-"
_ASIDE = "benchhost-host"
_PERIOD = 100_000
"""Microseconds over which processor time is counted."""

_BESIDE = 96 * 1024 * 1024
"""Bytes that a group gets beyond a sandbox's memory: its holder, and what it may have in ``/dev/shm``."""

ENDS_WITHIN = 2.0
"""Seconds that the last processes of a group may take to go when it is removed."""


@dataclass
class Groups:
    """The groups of a keeper's sandboxes; ``lock`` is its own group, open and locked."""

    folder: str
    lock: int

    def make(self, name: str, *, memory: int, processes: int, cores: int) -> Group:
        """Make the group of a sandbox; ``memory`` is in bytes.

        Raises ``OSError``.
        """
        group = Group(os.path.join(self.folder, name))
        os.mkdir(group.folder)
        try:
            group.set("memory.max", str(memory + _BESIDE))
            with contextlib.suppress(FileNotFoundError):  # a machine without swap
                group.set("memory.swap.max", "0")
            group.set("pids.max", str(processes))
            group.set("cpu.max", f"{cores * _PERIOD} {_PERIOD}")
            group.open()
        except BaseException:
            group.remove()
            raise
        return group

    def close(self) -> None:
        """Remove the keeper's own group, once its sandboxes are gone."""
        with contextlib.suppress(OSError):
            os.rmdir(self.folder)
        os.close(self.lock)


@dataclass
class Group:
    """The group of a sandbox. ``place`` is its open directory, ``events`` counts what its memory led to."""

    folder: str
    place: int = -1
    events: int = -1

    def open(self) -> None:
        """Open what processes are put in by, and what is read while they run."""
        self.place = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self.events = os.open(os.path.join(self.folder, "memory.events"), os.O_RDONLY | os.O_CLOEXEC)

    def set(self, name: str, value: str) -> None:
        """Write a setting of the group."""
        kernel.write(os.path.join(self.folder, name), value)

    def add(self, pid: int) -> None:
        """Put a process in. What it forks from then on is in it, too."""
        self.set("cgroup.procs", str(pid))

    def end(self) -> None:
        """End every process in it at once."""
        with contextlib.suppress(OSError):  # a kernel older than 5.14: the holder ends them
            self.set("cgroup.kill", "1")

    def remove(self) -> None:
        """End what is left in it and take it away; one that will not go yet is left to the next keeper."""
        for file in (self.place, self.events):
            if file >= 0:
                os.close(file)
        self.place = self.events = -1
        _remove(self.folder)


def killed(events: int) -> int:
    """Return how many processes were ended because a group had no more memory; ``events`` is its open file."""
    for line in os.pread(events, 4096, 0).splitlines():
        if line.startswith(b"oom_kill "):
            return int(line.split()[1])
    return 0


def find(name: str) -> Groups | str:
    """Make the group of a keeper, called by a name; or say why there can be none."""
    mounted, own = _mount(), _own()
    if mounted is None or own is None:
        return "no cgroups of version 2 are mounted"
    last = f"{mounted} has not the controllers {', '.join(CONTROLLERS)}"
    places = [*_upwards(mounted, own)]
    for place in places:
        if not set(CONTROLLERS) <= _words(place, "cgroup.controllers"):
            continue
        last = "no cgroup of version 2 may be divided by this user"
        with contextlib.suppress(OSError):
            if set(CONTROLLERS) <= _words(place, "cgroup.subtree_control") or _enable(place):
                return _made(place, name)
    with contextlib.suppress(OSError):  # what is in our own group, ourselves among them, must go out of the way
        if set(CONTROLLERS) <= _words(places[0], "cgroup.controllers") and _empty(places[0]) and _enable(places[0]):
            return _made(places[0], name)
    return last


def _made(place: str, name: str) -> Groups:
    for each in os.listdir(place):
        if each.startswith(_PREFIX) and each != _ASIDE:
            _tidy(os.path.join(place, each))
    folder = os.path.join(place, _PREFIX + name)
    os.mkdir(folder)
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not _enable(folder):
                raise OSError(errno.EBUSY, "its controllers cannot be passed on")
            tried = Groups(folder, lock).make("tried", memory=0, processes=1, cores=1)
            pid = os.fork()
            if pid == 0:
                time.sleep(ENDS_WITHIN)
                os._exit(0)
            try:
                tried.add(pid)  # which may be forbidden where making one is not
            finally:
                os.kill(pid, 9)
                os.waitpid(pid, 0)
                tried.remove()
        except BaseException:
            os.close(lock)
            raise
    except BaseException:
        _remove(folder)
        raise
    return Groups(folder, lock)


def _tidy(folder: str) -> None:
    """Take away what a keeper has left that was killed: nobody holds its lock."""
    with contextlib.suppress(OSError):
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for each in os.scandir(folder):
                if each.is_dir():
                    _remove(each.path)
            os.rmdir(folder)
        finally:
            os.close(lock)


def _remove(folder: str) -> None:
    with contextlib.suppress(OSError):
        os.rmdir(folder)
        return
    with contextlib.suppress(OSError):
        kernel.write(os.path.join(folder, "cgroup.kill"), "1")
    until = time.monotonic() + ENDS_WITHIN
    while time.monotonic() < until:
        try:
            os.rmdir(folder)
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(0.005)
        else:
            return


def _enable(place: str) -> bool:
    """Pass the controllers on to the groups below; ``False`` when processes are in the way."""
    try:
        kernel.write(os.path.join(place, "cgroup.subtree_control"), " ".join(f"+{each}" for each in CONTROLLERS))
    except OSError as error:
        if error.errno in (errno.EBUSY, errno.EOPNOTSUPP):
            return False
        raise
    return True


def _empty(place: str) -> bool:
    """Move the processes of a group into one below it, where all that limits them goes on to do so."""
    aside = os.path.join(place, _ASIDE)
    with contextlib.suppress(FileExistsError):
        os.mkdir(aside)
    for _ in range(10):  # some may fork meanwhile
        pids = sorted(_words(place, "cgroup.procs"))
        if not pids:
            return True
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                kernel.write(os.path.join(aside, "cgroup.procs"), pid)
    return False


def _upwards(mounted: str, own: str) -> Iterator[str]:
    """Name our own group, and those that it lies in."""
    place = os.path.normpath(f"{mounted}/{own}")
    while True:
        yield place
        if place == mounted:
            return
        place = os.path.dirname(place)


def _mount() -> str | None:
    """Find where the tree is mounted."""
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            mount, _, kind = line.partition(" - ")
            if kind.startswith("cgroup2 "):
                return mount.split()[4]
    return None


def _own() -> str | None:
    """Say in which group this process is."""
    with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            if line.startswith("0::") and "/.." not in line:
                return line[3:].rstrip("\n")
    return None


def _words(place: str, name: str) -> set[str]:
    try:
        with open(os.path.join(place, name), encoding="utf-8") as file:
            return set(file.read().split())
    except OSError:
        return set()
