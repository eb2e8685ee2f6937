"""Traps that several attacks have in common."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchhost.sandbox.escape.attack import Evidence, Heard, Trap
from benchhost.sandbox.escape.scene import Scene


def told(secret: str, whose: str = "the host") -> Evidence:
    """Look whether a program knows a secret that it was not told."""

    async def evidence(heard: Heard) -> str | None:
        return f"it read a secret of {whose}" if secret in heard.said + heard.errors else None

    return evidence


async def reached(heard: Heard) -> str | None:
    """Believe a program that says it was let in where nothing on the host shows it: into a part of the kernel."""
    parts = heard.lines("reached")
    return f"it reached {', '.join(parts)}" if parts else None


@asynccontextmanager
async def nothing(_: Scene) -> AsyncIterator[Trap]:
    """Lay out nothing: what is tried is there already."""
    yield Trap(reached)


@asynccontextmanager
async def secret_file(scene: Scene) -> AsyncIterator[Trap]:
    """Lay out the path of a file that everybody on the host may read, and the id of a process that has it open."""
    with scene.bystander() as bystander:
        yield Trap(told(scene.secret), {"FILE": str(scene.file), "PID": str(bystander.pid)})
