"""The sandboxes of a keeper: their folders, their holders, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import time
from dataclasses import dataclass, field

from benchhost.sandbox.local import folders, namespaces, quota
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

    ``outside`` is what its folder says of what is elsewhere, if anything is.
    """

    id: str
    folder: str
    tier: str
    plan: Plan
    label: Message
    stays: bool
    lease: socket.socket | None = None
    outside: Message | None = None
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
            self.pid = start(self.plan, Ends(listener, lifeline, theirs))
        self.next_disk = time.monotonic() + DISK_EVERY

    def end(self) -> None:
        """Have it end. A holder with namespaces takes everything with it; any other one has to do it itself."""
        self.ending = self.ending or time.monotonic()
        if self.pid > 0 and self.tier == "namespaces":
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        elif self.lifeline >= 0:
            os.close(self.lifeline)
            self.lifeline = -1

    def tidy_up(self) -> int | None:
        """Let go of it, now that its holder has ended; return the process that removes its files, if that takes one."""
        for file in (self.lifeline, self.ready):
            if file >= 0:
                os.close(file)
        self.lifeline = self.ready = -1
        with self.lease or contextlib.nullcontext():
            return remove(self.folder, self.outside)

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
        self.next_look = now + (MEMORY_EVERY if active else IDLE_EVERY)
        if not active:
            return
        processes, memory = quota.memory_used(self.pid, self.plan.memory)
        if memory > self.plan.memory or processes > 2 * PROCESSES:
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


def make(folder: str, asked: Message, *, tier: str) -> Box:
    """Make the place of a sandbox in the folder of all of them.

    Raises ``OSError``.
    """
    with contextlib.ExitStack() as undoing:
        box = _made(folder, asked, tier, undoing)
        undoing.pop_all()
    return box


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
    inside = 0 if image is not None else 1000 if has_root else user
    home = "/root" if image is not None else places.get("/home/user", "/home/user")
    env = {"PATH": PATH, "HOME": home, "USER": "user" if inside else "root", "LANG": "C.UTF-8"}
    if places:
        env["TMPDIR"] = places["/tmp"]  # noqa: S108 - of the sandbox
    habits = Habits({**env, **asked["env"]}, asked["cwd"], asked["idle_timeout"], asked["lifetime"], places)
    box = Box(
        id=box_id,
        folder=place,
        tier=tier,
        plan=Plan(habits, space, user, group, inside, asked["memory"] * GB, image),
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
    if asked["layer"] is not None:
        box.preparing = _copy(asked["layer"], os.path.join(place, "space", OWN), user, group)
    return box


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
