"""Uploads that are read when it is their turn."""

from __future__ import annotations

import asyncio
import hashlib

import pytest

from benchhost.evaluation.outcomes import Declined
from benchhost.server.submissions import AT_ONCE, Uploaded, turns_of_uploads

pytestmark = pytest.mark.anyio


class Kept:
    """Keeps uploads in a dictionary."""

    def __init__(self, **kept: bytes) -> None:
        self.kept = kept

    async def read(self, benchmark: str, key: str) -> bytes | None:
        return self.kept.get(key)


async def test_so_many_uploads_are_held_at_once_and_tenants_take_turns():
    turns, go, full = turns_of_uploads(), asyncio.Event(), asyncio.Event()
    held: list[str] = []

    async def hold(tenant):
        sha256 = hashlib.sha256(b"x").hexdigest()
        async with Uploaded(Kept(key=b"x"), turns, tenant, "bench", "key", sha256).held() as data:
            assert data == b"x"
            held.append(tenant)
            if len(held) == AT_ONCE:
                full.set()
            await go.wait()

    async with asyncio.TaskGroup() as tasks:
        for tenant in ["flood"] * (AT_ONCE + 10) + ["light"]:
            tasks.create_task(hold(tenant))
        await full.wait()
        assert turns.waiting == 11
        assert held == ["flood"] * AT_ONCE
        go.set()
    assert "light" in held[: AT_ONCE + 2], "it waits for one of the other at most"
    assert len(held) == AT_ONCE + 11


@pytest.mark.parametrize("kept", [{}, {"key": b"another"}])
async def test_what_is_not_what_was_submitted_is_not_held_and_keeps_no_turn(kept):
    turns = turns_of_uploads()
    uploaded = Uploaded(Kept(**kept), turns, "acme", "bench", "key", hashlib.sha256(b"x").hexdigest())
    for _ in range(AT_ONCE + 1):
        with pytest.raises(Declined, match="replaced or deleted"):
            async with uploaded.held():
                raise AssertionError("it is not held")
