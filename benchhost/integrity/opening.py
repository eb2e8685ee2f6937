"""Opening a benchmark to look at it: loaded as a server loads it, and served to nobody."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.roster import Roster
from benchhost.server.host import hosting
from benchhost.settings import Settings


@asynccontextmanager
async def opened_benchmark(settings: Settings, name: str) -> AsyncIterator[HostedBenchmark]:
    """Open an installed benchmark, with its graders. It may turn out to be faulty.

    Raises :class:`~benchhost.errors.UsageError` when no plugin of that name is installed, and
    :class:`~benchhost.errors.Unavailable` when its name alone makes it faulty.
    """
    roster = Roster(msgspec.structs.replace(hosting(settings), only=(name,), drain_timeout=0))
    try:
        await roster.open()
        benchmark = roster.get(name)
        await benchmark.loaded()
        yield benchmark
    finally:
        await roster.close()
