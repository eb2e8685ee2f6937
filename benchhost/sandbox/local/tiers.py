"""How well sandboxes can be kept apart on this machine: the tiers, and the proof of one.

A tier is tried before it is claimed. What fails says why, and what to change.
"""

from __future__ import annotations

import functools
import os
import tempfile

from benchhost.sandbox.local import boxes
from benchhost.sandbox.local.messages import Message

TIERS = ("namespaces", "uid", "landlock")
"""From the strongest to the weakest."""


def choose(isolation: str, weakest: str) -> Message:
    """Choose the strongest tier that this machine has; ``isolation`` may name one instead of ``auto``.

    The answer says what sandboxes of it are like, or has an ``error``.
    """
    wanted = TIERS[: TIERS.index(weakest) + 1] if isolation == "auto" else (isolation,)
    why: list[str] = []
    for tier in wanted:
        failure = failure_of(tier)
        if failure is None:
            return {"tier": tier, "limits": limits_of(), "why": why}
        why.append(f"no tier {tier!r}: {failure}")
    return {"error": "unavailable", "message": "sandboxes cannot be kept apart here: " + "; ".join(why)}


def limits_of() -> dict[str, str]:
    """Say how each limit is kept."""
    return {"memory": "polled", "disk": "polled", "processes": "hard", "vcpu": "none"}


@functools.cache
def failure_of(tier: str) -> str | None:
    """Try a tier; return why it cannot be had, or ``None``."""
    if tier != "namespaces":
        return "it is not offered yet"
    with tempfile.TemporaryDirectory() as folder:
        asked: Message = {"root": None, "disk": 0, "memory": 1, "env": {}, "cwd": "/work", "idle_timeout": None}
        asked |= {"lifetime": None, "labels": {}, "image": None, "stays": False}
        try:
            box = boxes.make(folder, asked, tier=tier)
        except OSError as error:
            return str(error)
        said = os.read(box.ready, 4096)
        os.kill(box.pid, 9)
        os.waitpid(box.pid, 0)
        box.let_go()
        boxes.remove(box.folder)
        return said.decode() if said else None
