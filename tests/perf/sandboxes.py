"""Sandboxes on this machine: how long they and their commands take, and what they weigh, beside plain processes."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

import psutil
from effort import Effort
from table import Row, under

from benchhost.contract import Sandbox, SandboxSpec
from benchhost.sandbox.local.provider import LocalProvider

PLAIN = "a plain process"
TIMES = 50
MANY = 200
AT_ONCE = 8
"""Sandboxes that are asked for at the same time."""


def sandboxes(effort: Effort) -> list[Row]:
    """Measure one after the other, and then many at once."""
    return asyncio.run(_sandboxes(effort))


async def _sandboxes(effort: Effort) -> list[Row]:
    provider = await LocalProvider.open({"folder": str(effort.fresh())})
    try:
        times, many = (5, 10) if effort.quick else (TIMES, MANY)
        created, plain, further = [], [], []
        sandbox = await provider.create(SandboxSpec())
        for _ in range(times):  # in turn, so that whatever else the machine does hits all of them alike
            began = time.perf_counter()
            fresh = await provider.create(SandboxSpec())
            assert (await fresh.run("true")).ok
            created.append((time.perf_counter() - began) * 1000)
            await provider.delete(fresh.id)
            plain.append(await _took(_plain))
            further.append(await _took(lambda: sandbox.run("true")))
        await provider.delete(sandbox.id)
        return [
            _row("Sandbox and its first command, p10 (ms)", _p10(created), _p10(plain), 35),
            _row("the same, median of 50 (ms)", median(created), median(plain)),
            _row("A further command, p10 (ms)", _p10(further), _p10(plain), 5),
            _row("the same, median of 50 (ms)", median(further), median(plain)),
            *await _many(provider, many),
        ]
    finally:
        await provider.aclose()


async def _many(provider: LocalProvider, many: int) -> list[Row]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one() -> Sandbox:
        async with slots:
            sandbox = await provider.create(SandboxSpec())
            assert (await sandbox.run("true")).ok
            return sandbox

    before = _holders()
    began = time.perf_counter()
    made = await asyncio.gather(*(one() for _ in range(many)))
    took = time.perf_counter() - began
    memory = (_holders() - before) / many
    began = time.perf_counter()
    await asyncio.gather(*(provider.delete(sandbox.id) for sandbox in made))
    gone = time.perf_counter() - began
    plain = await _took(lambda: _all_plain(many, slots)) / 1000
    return [
        _row(f"{many} sandboxes at once, until all have answered (s)", took, plain, 5),
        _row("memory of each of them, idle (MB, PSS)", memory, 0.0, 3),
        _row("until all of them are deleted (s)", gone, 0.0),
    ]


async def _all_plain(many: int, slots: asyncio.Semaphore) -> None:
    async def one() -> None:
        async with slots:
            await _plain()

    await asyncio.gather(*(one() for _ in range(many)))


async def _plain() -> None:
    process = await asyncio.create_subprocess_exec("/bin/sh", "-c", "true")
    assert await process.wait() == 0


async def _took(do: Callable[[], Awaitable[object]]) -> float:
    """Return the milliseconds that something takes."""
    began = time.perf_counter()
    await do()
    return (time.perf_counter() - began) * 1000


def _holders() -> float:
    """Return the MB that all processes of sandboxes take."""
    total = 0.0
    for process in psutil.process_iter(["cmdline"]):
        if process.info["cmdline"] and process.info["cmdline"][0] == "benchhost-sandbox":
            total += process.memory_full_info().pss / 1e6
    return total


def _p10(values: list[float]) -> float:
    return quantiles(values, n=10)[0]


def _row(what: str, ours: float, theirs: float, most: float | None = None) -> Row:
    if most is None:
        return Row(what, f"{ours:.3g}", PLAIN, f"{theirs:.3g}", f"{ours - theirs:+.3f}")
    return under(what, ours, PLAIN, theirs, most)
