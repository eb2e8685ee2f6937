"""From flags to an order, its options, and the run that it is about."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from benchhost.cli.order import Order, order_of
from benchhost.cli.stored import opened_store, recorded_run
from benchhost.contract import Sampling
from benchhost.errors import UsageError
from benchhost.models import Limiter
from benchhost.runner.config import RunOptions, checked_run_id
from benchhost.runner.run import stored_config
from benchhost.settings import Settings
from benchhost.store import DATABASE, RunRecord

SAMPLING = ("temperature", "top_p", "top_k", "max_tokens", "reasoning_effort", "stop")


def sampling_of(flags: dict[str, Any]) -> Sampling:
    """Take the flags of sampling out of all flags.

    Raises :class:`~benchhost.errors.UsageError` for numbers that no provider could take.
    """
    values = {name: flags.pop(name) for name in SAMPLING} | {"seed": flags.pop("model_seed")}
    try:
        return Sampling(**{name: value for name, value in values.items() if value is not None and value != ()})
    except ValueError as error:
        raise UsageError(str(error)) from error


def options_of(
    order: Order,
    *,
    generate: bool = True,
    evaluate: bool = True,
    only: Collection[str] = (),
    retry: Collection[str] = (),
    allow_drift: Collection[str] = (),
) -> RunOptions:
    """Make the options of one session.

    Raises :class:`~benchhost.errors.UsageError` when one of them is wrong.
    """
    return RunOptions(
        concurrency=Limiter(order.max_connections).most,
        max_cost=order.max_cost,
        max_tokens_total=order.max_tokens_total,
        only=frozenset(only) or None,
        generate=generate,
        evaluate=evaluate,
        retry=frozenset(retry),
        allow_drift=frozenset(allow_drift),
    )


def existing(settings: Settings, run_id: str | None) -> RunRecord | None:
    """Look for a run that may have been begun.

    Raises :class:`~benchhost.errors.UsageError` for an id that no run could have.
    """
    if run_id is None:
        return None
    checked = checked_run_id(run_id)

    async def find() -> RunRecord | None:
        async with opened_store(settings) as store:
            return await store.run(checked)

    return asyncio.run(find()) if (settings.state / DATABASE).exists() else None


def ordered(settings: Settings, run_id: str) -> tuple[RunRecord, Order, bool]:
    """Return a recorded run, its order, and whether it was begun at this command line.

    Raises :class:`~benchhost.errors.UnknownRun`.
    """

    async def find() -> tuple[RunRecord, Order, bool]:
        async with opened_store(settings) as store:
            record = await recorded_run(store, run_id)
            order, own = order_of(stored_config(record), await store.run_events(run_id))
            return record, order, own

    return asyncio.run(find())
