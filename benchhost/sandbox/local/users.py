"""Users of this machine that nobody is: each sandbox of a host that is root gets one of its own, and its holder too."""

from __future__ import annotations

import socket

FIRST, COUNT = 50_000, 5_000
"""The ids, which are also there in a container whose ids are a part of the machine's. The holders' come next."""

JUDGED = FIRST + 2 * COUNT
"""Who submitted code is that the code judge runs (:mod:`benchhost.sandbox.judge`): no sandbox, nor its holder."""


def holder_of(user: int) -> int:
    """Return whose the holder of a sandbox really is: commands, which are of ``user``, cannot end it."""
    return user + COUNT


def take_user() -> tuple[int, socket.socket]:
    """Take an id that no other sandbox of this machine has, for as long as the socket is open.

    The kernel gives the name of the socket to one process only, and takes it back when that ends.
    Raises ``OSError`` when there is none left.
    """
    for user in range(FIRST, FIRST + COUNT):
        lease = take(user)
        if lease is not None:
            return user, lease
    raise OSError(11, "every user for sandboxes is taken")


def take(user: int) -> socket.socket | None:
    """Take an id, unless a sandbox of this machine has it, whoever keeps that."""
    lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        lease.bind(f"\0benchhost-user-{user}")
    except OSError:
        lease.close()
        return None
    return lease
