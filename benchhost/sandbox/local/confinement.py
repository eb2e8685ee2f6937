"""From a fork of the keeper to the holder of a sandbox: the walls of a tier go up, one after the other.

*namespaces*: users, mounts (a root of its own), processes, network, IPC, names and cgroups of its own; no
capabilities, no new privileges, a filter of system calls, limits. Whoever is root on this machine is another user in
here, from before the first command on.
"""

from __future__ import annotations

import os
import socket
import sys
import traceback
from dataclasses import dataclass, field

from benchhost.sandbox.local import kernel, limits, mounts, root, seccomp
from benchhost.sandbox.local.holder import Habits, Holder

PROCESSES = 256
"""Processes that a sandbox may have at once."""


@dataclass
class Plan:
    """What a sandbox is to be.

    ``user`` and ``group`` are whose it is on this machine, ``inside`` who that is in there. ``memory`` is in bytes,
    of each process. ``image`` is the folder of a root, if it has one. ``close`` are other sandboxes' descriptors.
    """

    habits: Habits
    space: root.Space
    user: int
    group: int
    inside: int
    memory: int
    image: str | None = None
    processes: int = PROCESSES
    memory_files: bool = True
    keep: list[int] = field(default_factory=list)


def start_in_namespaces(plan: Plan, listener: socket.socket, lifeline: int, ready: int) -> int:
    """Fork the holder of a sandbox in namespaces of its own, and return its process id.

    What it says on ``ready`` is nothing when it listens, or else why it does not. Raises ``OSError`` when it cannot
    be forked here.
    """
    as_root = os.geteuid() == 0
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = kernel.clone(kernel.ALL_NAMESPACES)
        if pid == 0:
            _become_holder(plan, listener, lifeline, ready, theirs, as_root=as_root)
        try:
            inside = (plan.inside, plan.inside)
            kernel.map_ids(pid, inside, (plan.user, plan.group), privileged=as_root)
            shifted = []
            if as_root and plan.image is not None:
                shifted.append(_shifted(plan.image, pid))
            socket.send_fds(ours, [b"mapped"], shifted)
            for file in shifted:
                os.close(file)
        except BaseException:
            os.kill(pid, 9)
            os.waitpid(pid, 0)
            raise
    return pid


def _shifted(image: str, pid: int) -> int:
    """Open an image so that what belongs to root in it belongs to the user of a sandbox."""
    mount = mounts.copy(image)
    namespace = os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    try:
        mounts.shift_ids(mount, namespace)
    finally:
        os.close(namespace)
    return mount


def _become_holder(
    plan: Plan, listener: socket.socket, lifeline: int, ready: int, keeper: socket.socket, *, as_root: bool
) -> None:
    try:
        kernel.close_all_but({2, listener.fileno(), lifeline, ready, keeper.fileno()})
        nothing = os.open("/dev/null", os.O_RDWR)  # becomes 0
        os.dup2(nothing, 1)
        mounts.make_private()
        sources = root.open_sources(plan.space, None if as_root else plan.image)
        word, shifted, _, _ = socket.recv_fds(keeper, 16, 1)
        if word != b"mapped":
            os._exit(1)
        keeper.close()
        if shifted:
            sources.image = shifted[0]
        os.umask(0o022)
        kernel.become(plan.inside, plan.inside, forget_groups=as_root)
        root.build(sources, plan.space)
        kernel.keep_setuid_powerless()
        kernel.drop_capabilities()
        _give_up_the_rest(plan, seccomp.program(memory_files=plan.memory_files))
        os.dup2(nothing, 2)
        os.close(ready)
        holder = Holder(listener, lifeline, plan.habits)
    except BaseException as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        os.write(ready, f"{error} ({os.path.basename(where.filename)}: {where.name}, {where.line})".encode())
        os._exit(1)
    try:
        holder.serve()
    finally:
        os._exit(0)


def _give_up_the_rest(plan: Plan, program: bytes) -> None:
    kernel.refuse_new_privileges()
    limits.keep_limits(processes=plan.processes, file_size=plan.space.size, data=plan.memory)
    kernel.hide_memory()
    sys.stdout = sys.stderr = None  # there is nobody to read it
    kernel.load_filter(program)
