"""A process that uses a store, to be started (and killed) by the tests: ``processes.py judge|claim PATH OWNER``."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from itertools import count
from pathlib import Path

import msgspec

from benchhost.store import Evaluation, Store, open_store, running

IDS = 300


def claim_of(number: int, owner: str) -> Evaluation:
    return Evaluation(
        id=f"{number:032x}",
        tenant="lab",
        benchmark="sums",
        dataset="default",
        fingerprint="f",
        run="first",
        task=str(number),
        response_digest="d",
        evaluator_version="1",
        owner=owner,
        started_at=1.0,
    )


def say(word: str) -> None:
    """Write one line in one system call, so that a kill cannot tear it."""
    os.write(sys.stdout.fileno(), f"{word}\n".encode())


async def judge(store: Store, owner: str) -> None:
    """Claim and finish without end, 40 at a time, and say each id as soon as its outcome is acknowledged."""
    numbers = count()

    async def work() -> None:
        for number in numbers:
            claim = claim_of(number, owner)
            await store.claim([claim])
            await asyncio.sleep(random.random() / 1000)
            ended = msgspec.structs.replace(running(claim, 1), status="scored", result=b"{}", finished_at=2.0)
            (recorded,) = await store.finish([ended])
            assert recorded
            say(claim.id)

    await asyncio.gather(*(work() for _ in range(40)))


async def claim(store: Store, owner: str) -> None:
    """Claim the same ids as the other processes, in an order and in portions of its own; say those that are granted."""
    numbers = random.sample(range(IDS), IDS)

    async def work() -> None:
        while numbers:
            portion = [claim_of(numbers.pop(), owner) for _ in range(min(random.randint(1, 5), len(numbers)))]
            for claimed in await store.claim(portion):
                if claimed.mine:
                    say(claimed.evaluation.id)

    await asyncio.gather(*(work() for _ in range(10)))


async def main() -> None:
    what, path, owner = sys.argv[1:]
    async with open_store(Path(path)) as store:
        await {"judge": judge, "claim": claim}[what](store, owner)


if __name__ == "__main__":
    asyncio.run(main())
