"""The tiers *uid* and *landlock*, for where no namespaces can be had: a folder of this machine, and nothing else of it.

The kernel's Landlock keeps a sandbox in its folder, away from TCP and from the processes of others; the filter of
system calls refuses all sockets but connected pairs. With *uid* it is a user of its own as well. With *landlock* it is
the host's user, which is weaker: nothing but the kernel's Landlock and the filters keeps it from what that user may do,
and how many processes it has is counted by us where there is no cgroup.

There is no root of its own. What the host calls ``/work``, ``/tmp`` and ``/home/user`` lies in the folder, and commands
find it by ``$HOME``, ``$TMPDIR`` and where they begin.
"""

from __future__ import annotations

import contextlib
import os
import signal

from benchhost.sandbox.local import kernel, landlock, seccomp
from benchhost.sandbox.local.cgroups import Group
from benchhost.sandbox.local.confinement import Ends, Plan, fork, hold
from benchhost.sandbox.local.root import PROGRAMS, SETTINGS
from benchhost.sandbox.local.users import holder_of

PLACES = {"/work": "work", "/tmp": "tmp", "/home/user": "home"}  # noqa: S108 - of the sandbox
"""What is where in a sandbox's folder."""

_FACTS = ("/proc/cpuinfo", "/proc/meminfo", "/proc/version", "/proc/filesystems", "/proc/sys/kernel/osrelease")
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")


def furnish(folder: str, user: int, group: int) -> dict[str, str]:
    """Make the folder of a sandbox; return what lies where in it."""
    os.mkdir(folder, 0o700)
    for name in PLACES.values():
        os.mkdir(os.path.join(folder, name), 0o700)
        os.chown(os.path.join(folder, name), user, group)
    os.chown(folder, user, group)
    return {path: os.path.join(folder, name) for path, name in PLACES.items()}


def start(plan: Plan, ends: Ends, group: Group | None) -> int:
    """Fork the holder of a sandbox that lies in a folder, and return its process id.

    Raises ``OSError`` when it cannot be forked.
    """
    tier = "landlock" if plan.user == os.geteuid() else "uid"
    program = seccomp.program(
        network=False, memory_files=group is not None, cores=plan.cores is None, others=tier == "uid"
    )
    pid = fork(group)
    if pid == 0:
        events = -1 if group is None else group.events
        hold(plan, ends, lambda: _walls(plan), events=events, program=program, tier=tier)
    return pid


def _walls(plan: Plan) -> int:
    assert plan.space.folder is not None
    if landlock.version() < landlock.SIGNALS_SINCE:
        raise OSError(95, f"Landlock is of version {landlock.version()}, and {landlock.SIGNALS_SINCE} is needed")
    os.setsid()
    os.chdir(plan.space.folder)
    if plan.user != os.geteuid():
        holder = holder_of(plan.user)
        os.setgroups([])
        os.setresgid(plan.group, plan.group, plan.group)
        os.setresuid(holder, plan.user, holder)  # for whom files are the sandbox's, and signals another's
    kernel.drop_capabilities()
    kernel.adopt_orphans()
    kernel.refuse_new_privileges()
    landlock.restrict(read=(*PROGRAMS, *SETTINGS, *_FACTS), write=(plan.space.folder,), devices=_DEVICES)
    return -1


def end_all_of(user: int) -> None:
    """End every process of a user that only sandboxes have, and those of its holder."""
    for each in (holder_of(user), user):
        pid = os.fork()
        if pid == 0:
            with contextlib.suppress(BaseException):
                kernel.become(each, each, forget_groups=True)
                os.kill(-1, signal.SIGKILL)  # all at once: what is about to fork is among them, and does not
            os._exit(0)
        os.waitpid(pid, 0)
