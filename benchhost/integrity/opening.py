"""Opening a benchmark to look at it: loaded as a server loads it, and served to nobody; with its sandboxes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec

from benchhost.evaluation.hosted import HostedBenchmark
from benchhost.evaluation.own_sandboxes import OwnSandboxes
from benchhost.evaluation.owners import Owner
from benchhost.evaluation.roster import Roster
from benchhost.server.host import hosting
from benchhost.server.sandboxes import own_provider
from benchhost.server.secrets import secret
from benchhost.settings import Settings, state_folder


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


@asynccontextmanager
async def opened_sandboxes(settings: Settings, benchmark: HostedBenchmark) -> AsyncIterator[OwnSandboxes | None]:
    """Open the sandboxes in which a host would judge submissions, if it has any and the benchmark judges in some.

    Should this process be killed, the host whose state this is deletes what it leaves behind.
    """
    if settings.sandbox is None or benchmark.fault is not None or not benchmark.offers("evaluate_instance"):
        yield None
        return
    state = state_folder(settings)
    owner = Owner(state / "owners")
    sandboxes = OwnSandboxes(*own_provider(settings), owner, state / "lent", secret(state / "key"))
    try:
        yield sandboxes
    finally:
        await sandboxes.close()
        owner.close()
