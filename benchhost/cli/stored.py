"""The store of the state folder, for commands about recorded runs: without the host, so that they are quick."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from benchhost.errors import UnknownRun
from benchhost.settings import Settings, state_folder
from benchhost.store import DATABASE, RunRecord, Store, open_store


@asynccontextmanager
async def opened_store(settings: Settings) -> AsyncIterator[Store]:
    """Open the store of the state folder.

    Raises :class:`~benchhost.errors.UsageError` when there can be no such folder.
    """
    async with open_store(state_folder(settings) / DATABASE) as store:
        yield store


async def recorded_run(store: Store, run_id: str) -> RunRecord:
    """Return a run.

    Raises :class:`~benchhost.errors.UnknownRun`.
    """
    record = await store.run(run_id)
    if record is None:
        raise UnknownRun(f"no run has the id {run_id}. Look at: benchhost runs list")
    return record
