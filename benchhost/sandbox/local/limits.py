"""What a process and its descendants may use, as the kernel counts it for each of them."""

from __future__ import annotations

import resource

Lowered = list[tuple[int, tuple[int, int]]]
"""Limits, and what they are to be lowered to."""


def lowered(
    *, processes: int | None = None, files: int = 1024, file_size: int | None = None, data: int | None = None
) -> Lowered:
    """Say what limits are to be lowered to, by this process or one that it forks.

    ``processes`` counts those of the same user (in the same namespace of users), ``files`` open descriptors;
    ``file_size`` and ``data`` are in bytes, of one file and of the writable memory of one process. There are no
    core dumps, and no queues or locks of the kernel's memory worth mentioning.
    """
    wanted = {
        resource.RLIMIT_NPROC: processes,
        resource.RLIMIT_NOFILE: files,
        resource.RLIMIT_FSIZE: file_size,
        resource.RLIMIT_DATA: data,
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_MEMLOCK: 64 * 1024,
        resource.RLIMIT_MSGQUEUE: 64 * 1024,
        resource.RLIMIT_SIGPENDING: 1024,
        resource.RLIMIT_RTPRIO: 0,
        resource.RLIMIT_NICE: 0,
    }
    found = []
    for kind, most in wanted.items():
        if most is not None:
            allowed = resource.getrlimit(kind)[1]
            value = most if allowed == resource.RLIM_INFINITY else min(most, allowed)
            found.append((kind, (value, value)))
    return found


def keep_limits(limits: Lowered) -> None:
    """Lower limits of this process and of whatever it starts; nobody without privileges raises them again."""
    for kind, both in limits:
        resource.setrlimit(kind, both)
