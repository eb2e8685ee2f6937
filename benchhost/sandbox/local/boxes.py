"""The sandboxes of a keeper: their folders, their holders, and how they end."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import time
from dataclasses import dataclass, field

from benchhost.sandbox.local import quota
from benchhost.sandbox.local.confinement import Plan, start_in_namespaces
from benchhost.sandbox.local.holder import Habits
from benchhost.sandbox.local.messages import Message, connect, listen, send
from benchhost.sandbox.local.root import Space
from benchhost.sandbox.local.users import take_user

LABEL = "label.json"
"""What a sandbox's folder says about it."""
GB = 1 << 30
IN_MEMORY = 8
"""A sandbox's files lie in memory when they may fill no more than one part in so many of it."""

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

MEMORY_EVERY, IDLE_EVERY, DISK_EVERY = 0.05, 0.25, 1.0
"""Seconds between two looks at what a sandbox uses, and at whether it does anything."""


@dataclass
class Box:
    """A sandbox. ``held`` is what ends with it here: its lifeline, and what makes its user its own."""

    id: str
    folder: str
    pid: int
    lifeline: int
    lease: socket.socket | None
    memory: int
    disk: int
    space: str | None
    stays: bool
    ready: int
    label: Message
    next_look: float = 0.0
    next_disk: float = 0.0
    measuring: int | None = None
    waiting: list[socket.socket] = field(default_factory=list)

    def let_go(self) -> None:
        """Close what keeps it alive."""
        for file in (self.lifeline, self.ready):
            if file >= 0:
                os.close(file)
        self.lifeline = self.ready = -1
        if self.lease is not None:
            self.lease.close()

    def look(self, now: float) -> None:
        """See whether it uses more than it may, if it is time to."""
        if now < self.next_look or self.ready >= 0:
            return
        active = quota.is_active(self.pid)
        self.next_look = now + (MEMORY_EVERY if active else IDLE_EVERY)
        if not active:
            return
        if quota.memory_used(self.pid, self.memory) > self.memory:
            self.overrun("memory_limit")
        if self.space is not None and self.measuring is None and now >= self.next_disk:
            self.next_disk = now + DISK_EVERY
            self.measuring = os.fork()
            if self.measuring == 0:
                over = 0
                try:
                    over = int(quota.disk_used(self.space, self.pid, self.disk) > self.disk)
                finally:
                    os._exit(over)

    def overrun(self, reason: str) -> None:
        """Have everything in it ended."""
        with contextlib.suppress(OSError), connect(self.folder) as connection:
            send(connection, {"op": "overrun", "reason": reason})


def make(folder: str, asked: Message, *, tier: str) -> Box:
    """Make a sandbox in a folder of all sandboxes, and fork its holder.

    Raises ``OSError``.
    """
    box_id = secrets.token_hex(16)
    place = os.path.join(folder, box_id)
    os.mkdir(place, 0o700)
    user, group, lease = os.geteuid(), os.getegid(), None
    if user == 0:
        user, lease = take_user()
        group = user
    image = asked["root"]
    disk = asked["disk"] * GB
    space = None
    if disk > quota.memory_of_machine() // IN_MEMORY:
        space = os.path.join(place, "space")
        os.mkdir(space, 0o755)
        os.chown(space, user, group)
    inside = 1000 if image is None else 0
    home = "/home/user" if image is None else "/root"
    env = {"PATH": PATH, "HOME": home, "USER": "user" if inside else "root", "LANG": "C.UTF-8", **asked["env"]}
    plan = Plan(
        habits=Habits(env, asked["cwd"], asked["idle_timeout"], asked["lifetime"]),
        space=Space(space, disk),
        user=user,
        group=group,
        inside=inside,
        memory=asked["memory"] * GB,
        image=image,
        memory_files=False,
    )
    opened = os.open(place, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    lifeline, ours = os.pipe2(os.O_CLOEXEC)
    ready, theirs = os.pipe2(os.O_CLOEXEC)
    listener = listen(opened)
    try:
        pid = start_in_namespaces(plan, listener, lifeline, theirs)
    except BaseException:
        for file in (ours, ready):
            os.close(file)
        remove(place)
        raise
    finally:
        listener.close()
        for file in (opened, lifeline, theirs):
            os.close(file)
    label = {
        "id": box_id,
        "labels": asked["labels"],
        "image": asked["image"],
        "created_at": time.time(),
        "tier": tier,
        "user": user,
        "holder": pid,
    }
    return Box(box_id, place, pid, ours, lease, plan.memory, disk, space, asked["stays"], ready, label)


def write_label(box: Box) -> None:
    """Say what there is, now that it is ready."""
    path = os.path.join(box.folder, LABEL)
    with open(f"{path}.new", "w", encoding="utf-8") as file:
        json.dump(box.label, file)
    os.rename(f"{path}.new", path)


def remove(folder: str) -> int | None:
    """Take a sandbox's folder away; return the process that does, if that takes one."""
    if not os.path.isdir(os.path.join(folder, "space")):
        for name in os.listdir(folder):
            os.unlink(os.path.join(folder, name))
        os.rmdir(folder)
        return None
    with contextlib.suppress(FileNotFoundError):
        os.unlink(os.path.join(folder, LABEL))  # so that nobody takes it for a sandbox any more
    script = 'chmod -R u+rwx -- "$1" 2>/dev/null; exec rm -rf -- "$1"' if os.geteuid() else 'exec rm -rf -- "$1"'
    return os.posix_spawn(
        "/bin/sh",
        ["sh", "-c", script, "sh", folder],
        {"PATH": PATH},
        setsigdef=(signal.SIGPIPE, signal.SIGCHLD),
    )
