"""The tier *namespaces*: users, mounts (a root of its own), processes, network, IPC, names and cgroups of its own.

No capabilities, no new privileges, a filter of system calls, limits. Whoever is root on this machine is another user
in here, from before the first command on.
"""

from __future__ import annotations

import os
import socket

from benchhost.sandbox.local import kernel, mounts, root, seccomp
from benchhost.sandbox.local.cgroups import Group
from benchhost.sandbox.local.confinement import Ends, Plan, fork, hold

_MAPPED = b"mapped"


def start(plan: Plan, ends: Ends, group: Group | None) -> int:
    """Fork the holder of a sandbox in namespaces of its own, and return its process id.

    Raises ``OSError`` when it cannot be forked here.
    """
    as_root = os.geteuid() == 0
    program = seccomp.program(network=True, memory_files=group is not None, cores=plan.cores is None)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        pid = fork(group, kernel.ALL_NAMESPACES)
        if pid == 0:
            hold(
                plan,
                ends,
                lambda: _walls(plan, theirs, as_root=as_root),
                keep=theirs.fileno(),
                events=-1 if group is None else group.events,
                program=program,
                tier="namespaces",
            )
        with kernel.ending_on_failure(pid):
            kernel.map_ids(pid, plan.inside, (plan.user, plan.group), privileged=as_root)
            shifted = [_shifted(plan.image, plan)] if as_root and plan.image is not None else []
            socket.send_fds(ours, [_MAPPED], shifted)
            for file in shifted:
                os.close(file)
    return pid


def _shifted(image: str, plan: Plan) -> int:
    """Open an image so that what belongs to root in it belongs to the user of a sandbox, whoever that is inside."""
    mount = mounts.copy(image)
    namespace = _where_root_is(plan.user, plan.group)
    try:
        mounts.shift_ids(mount, namespace)
    finally:
        os.close(namespace)
    return mount


def _where_root_is(user: int, group: int) -> int:
    """Open a namespace of users in which root is a user of this machine. To make it takes a process that is in it."""
    theirs, ours = os.pipe2(os.O_CLOEXEC)
    pid = kernel.clone(kernel.CLONE_NEWUSER)
    if pid == 0:
        os.close(ours)
        os.read(theirs, 1)
        os._exit(0)
    try:
        kernel.map_ids(pid, (0, 0), (user, group), privileged=True)
        return os.open(f"/proc/{pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(theirs)
        os.close(ours)
        os.waitpid(pid, 0)


def _walls(plan: Plan, keeper: socket.socket, *, as_root: bool) -> int:
    mounts.make_private()
    sources = root.open_sources(plan.space, None if as_root else plan.image)
    word, shifted, _, _ = socket.recv_fds(keeper, len(_MAPPED), 1)
    if word != _MAPPED:
        os._exit(1)  # the keeper has gone, or given up
    keeper.close()
    if shifted:
        sources.image = shifted[0]
    kernel.become(*plan.inside, forget_groups=as_root)
    layer = root.build(sources, plan.space)
    kernel.keep_setuid_powerless()
    kernel.drop_capabilities()
    return layer
