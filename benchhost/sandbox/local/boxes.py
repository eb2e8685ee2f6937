"""The sandboxes of a keeper: their folders, their holders, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass, field
from typing import Any

from benchhost.sandbox.local import folders, namespaces, quota
from benchhost.sandbox.local.cgroups import Group, Groups
from benchhost.sandbox.local.confinement import PROCESSES, Ends, Plan
from benchhost.sandbox.local.holder import Habits
from benchhost.sandbox.local.messages import Message, connect, listen, send
from benchhost.sandbox.local.root import OWN, Space
from benchhost.sandbox.local.users import FIRST, take, take_user

LABEL, OUTSIDE = "label.json", "outside.json"
"""What a sandbox's folder says about it; and what of it is elsewhere, to be tidied up by whoever finds it."""

GB = 1 << 30
IN_MEMORY = 8
"""A sandbox's files lie in memory when they may fill no more than one part in so many of it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MEMORY_EVERY, IDLE_EVERY, DISK_EVERY = 0.05, 0.25, 1.0
"""Seconds between two looks at what a sandbox uses, and at whether it does anything."""

ENDS_WITHIN = 3.0
"""Seconds in which a holder ends everything when it has to do it itself."""

_BASE = "/tmp/benchhost-"  # noqa: S108 - its name cannot be guessed
"""Where the files of sandboxes without a root of their own lie: the way there is open to their users."""


@dataclass
class Box:
    """A sandbox. ``pid`` is its holder's, ``preparing`` that of the process which copies its files before.

    ``outside`` is what its folder says of what is elsewhere, if anything is, and ``group`` its cgroup, if it has one.
    """

    id: str
    folder: str
    tier: str
    plan: Plan
    label: Message
    stays: bool
    lease: socket.socket | None = None
    outside: Message | None = None
    group: Group | None = None
    pid: int = -1
    lifeline: int = -1
    ready: int = -1
    preparing: int | None = None
    measuring: int | None = None
    ending: float | None = None
    next_look: float = 0.0
    next_disk: float = 0.0
    waiting: list[socket.socket] = field(default_factory=list)

    def begin(self) -> None:
        """Fork its holder, which says on ``ready`` when it listens.

        Raises ``OSError``.
        """
        start = namespaces.start if self.tier == "namespaces" else folders.start
        with contextlib.ExitStack() as opened:
            folder = os.open(self.folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            opened.callback(os.close, folder)
            lifeline, self.lifeline = os.pipe2(os.O_CLOEXEC)
            opened.callback(os.close, lifeline)
            self.ready, theirs = os.pipe2(os.O_CLOEXEC)
            opened.callback(os.close, theirs)
            listener = opened.enter_context(listen(folder))
            self.pid = start(self.plan, Ends(listener, lifeline, theirs), self.group)
        self.next_disk = time.monotonic() + DISK_EVERY

    def end(self) -> None:
        """Have it end. A holder with namespaces takes everything with it; any other one has to do it itself."""
        self.ending = self.ending or time.monotonic()
        if self.pid > 0 and self.tier == "namespaces":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        elif self.pid > 0 and self.group is not None:
            self.group.end()
        if self.tier != "namespaces" and self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def tidy_up(self) -> int | None:
        """Let go of it, now that its holder has ended; return the process that removes its files, if that takes one."""
        for file in (self.lifeline, self.ready):
            if file >= 0:
                os.close(file)
        self.lifeline = self.ready = -1
        with self.lease or contextlib.nullcontext():
            try:
                return remove(self.folder, self.outside)
            finally:
                if self.group is not None:
                    self.group.remove()

    def write_label(self) -> None:
        """Say what there is, now that it is ready."""
        path = os.path.join(self.folder, LABEL)
        with open(f"{path}.new", "w", encoding="utf-8") as file:
            json.dump(self.label, file)
        os.rename(f"{path}.new", path)

    def look(self, now: float) -> None:
        """See whether it uses more than it may, if it is time to."""
        if now < self.next_look or self.pid < 0 or self.ready >= 0:
            return
        if self.ending is not None and now > self.ending + ENDS_WITHIN:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)  # somebody in there has stopped it
        active = quota.is_active(self.pid)
        counted_by_us = self.tier == "landlock" and self.group is None
        self.next_look = now + (MEMORY_EVERY if active or counted_by_us else IDLE_EVERY)
        if not active:
            return
        if self.group is None or self.plan.space.folder is None:  # a group counts files in memory as well
            processes, memory = quota.memory_used(self.pid, self.plan.memory)
            if memory > self.plan.memory or processes > (PROCESSES if counted_by_us else 2 * PROCESSES):
                self.overrun("memory_limit")
        if self.plan.space.folder is not None and self.measuring is None and now >= self.next_disk:
            self.next_disk = now + DISK_EVERY
            self._measure(self.plan.space.folder)

    def _measure(self, folder: str) -> None:
        try:
            self.measuring = os.fork()
        except OSError:  # this machine has as many processes as it may have; there is another look
            return
        if self.measuring == 0:
            over = 0
            try:
                over = int(quota.disk_used(folder, self.pid, self.plan.space.size) > self.plan.space.size)
            finally:
                os._exit(over)

    def overrun(self, reason: str) -> None:
        """Have everything in it ended."""
        with contextlib.suppress(OSError), connect(self.folder) as connection:
            send(connection, {"op": "overrun", "reason": reason})


def make(folder: str, asked: Message, *, tier: str, groups: Groups | None = None) -> Box:
    """Make the place of a sandbox in the folder of all of them, and its cgroup where there are any.

    Raises ``OSError``.
    """
    with contextlib.ExitStack() as undoing:
        box = _made(folder, asked, tier, undoing)
        if groups is not None:
            in_memory = 0 if box.plan.space.folder is not None else box.plan.space.size
            room = box.plan.memory + in_memory
            box.group = groups.make(box.id, memory=room, processes=PROCESSES, cores=asked["vcpu"])
            undoing.callback(box.group.remove)
        else:
            box.plan.cores = _some_cores(asked["vcpu"])
        if asked["layer"] is not None:
            own = os.path.join(box.folder, "space", OWN)
            box.preparing = _copy(asked["layer"], own, box.plan.user, box.plan.group)
        undoing.pop_all()
    return box


def _some_cores(many: int) -> frozenset[int] | None:
    """Choose cores for a sandbox, other ones than for the last; ``None`` when it may have all of them."""
    global _turn  # noqa: PLW0603 - whose turn it is, is known to nobody else
    there = sorted(os.sched_getaffinity(0))
    if many >= len(there):
        return None
    _turn += many
    return frozenset(there[(_turn + each) % len(there)] for each in range(many))


_turn = 0


def _made(folder: str, asked: Message, tier: str, undoing: contextlib.ExitStack) -> Box:
    box_id = os.urandom(16).hex()
    place = os.path.join(folder, box_id)
    user, group, lease, outside = os.geteuid(), os.getegid(), None, None
    if user == 0:
        user, lease = take_user()
        group = user
        undoing.callback(lease.close)
    os.mkdir(place, 0o700)
    undoing.callback(remove, place)
    has_root = tier == "namespaces"
    image = asked["root"]
    space = Space(None, asked["disk"] * GB)
    places: dict[str, str] = {}
    if not has_root:
        if lease is not None:
            folders.end_all_of(user)  # whose last sandbox may have lost its keeper a moment ago
        space.folder = _BASE + box_id
        outside = {"folder": space.folder, "user": user if lease else None}
        with open(os.path.join(place, OUTSIDE), "w", encoding="utf-8") as file:
            json.dump(outside, file)
        places = folders.furnish(space.folder, user, group)
    elif asked["layer"] is not None or space.size > quota.memory_of_machine() // IN_MEMORY:
        space.folder = os.path.join(place, "space")
        os.mkdir(space.folder, 0o755)
        os.chown(space.folder, user, group)
    own: list[Any] = [1000, 1000, "user", "/home/user"] if has_root else [user, group, "user", places["/home/user"]]
    inside, its_group, name, home = asked["user"] or own
    env = {"PATH": PATH, "HOME": home, "USER": name, "LANG": "C.UTF-8"}
    if places:
        env["TMPDIR"] = places["/tmp"]  # noqa: S108 - of the sandbox
    habits = Habits({**env, **asked["env"]}, asked["cwd"], asked["idle_timeout"], asked["lifetime"], places)
    return Box(
        id=box_id,
        folder=place,
        tier=tier,
        plan=Plan(habits, space, user, group, (inside, its_group), asked["memory"] * GB, image),
        label={
            "id": box_id,
            "labels": asked["labels"],
            "image": asked["image"],
            "created_at": time.time(),
        },
        stays=asked["stays"],
        lease=lease,
        outside=outside,
    )


def _copy(source: str, target: str, user: int, group: int) -> int:
    owner = 'chown -R --no-dereference "$3:$4" "$2"' if os.geteuid() == 0 else ":"
    return _run("sh", "-c", f'cp -a -- "$1" "$2" && {owner}', "sh", source, target, str(user), str(group))


def remove(folder: str, told: Message | None = None) -> int | None:
    """Take a sandbox's folder away, if it is there, and what of it is elsewhere; ``told`` is what that is, if known.

    Returns the process that does it, if that takes one.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, LABEL))  # so that nobody takes it for a sandbox any more
    outside = ""
    with contextlib.suppress(FileNotFoundError, ValueError, KeyError):
        if told is None:
            with open(os.path.join(folder, OUTSIDE), encoding="utf-8") as file:
                told = json.load(file)
            _end_what_was_left(told["user"])
        elif told["user"] is not None:
            folders.end_all_of(told["user"])
        if os.path.basename(folder) == told["folder"].removeprefix(_BASE):
            outside = told["folder"]
    if not outside and not os.path.isdir(os.path.join(folder, "space")):
        with contextlib.suppress(FileNotFoundError):  # somebody has taken it away
            for name in os.listdir(folder):
                os.unlink(os.path.join(folder, name))
            os.rmdir(folder)
        return None
    return clear(*([outside] if outside else []), folder)


def _end_what_was_left(user: int | None) -> None:
    """End what still runs as the user of a sandbox whose keeper is gone, unless another sandbox has the user by now."""
    lease = take(user) if user is not None and user >= FIRST else None
    if user is not None and lease is not None:
        with lease:
            folders.end_all_of(user)


def clear(*folders: str) -> int:
    """Start to take folders away, whatever lies in them; return the process that does it."""
    if os.geteuid() == 0:
        return _run("rm", "-rf", "--", *folders)
    return _run("sh", "-c", 'chmod -R u+rwx -- "$@" 2>/dev/null; exec rm -rf -- "$@"', "sh", *folders)


def _run(*command: str) -> int:
    """Start a program that works on files which nobody trusts: none of their names is a pattern or an option to it."""
    return os.posix_spawnp(command[0], command, {"PATH": PATH}, setsigdef=(signal.SIGPIPE, signal.SIGCHLD))
