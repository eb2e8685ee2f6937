"""One look at everything before the first task: a mistyped name or a wrong key must not cost a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from benchhost.contract import Model, Sampling
from benchhost.errors import ModelError, ModelThrottled, ModelUnavailable, UsageError
from benchhost.models import PriceTable, RetryPolicy, for_one_question
from benchhost.runner.account import no_price
from benchhost.runner.config import RunConfig
from benchhost.runner.source import Source

PATIENCE = 60.0
"""Seconds within which the model must answer."""

SILENT = 5.0
"""Seconds after which it is said what is waited for."""

POLICY = RetryPolicy(retries=2, throttle_retries=0, first=0.5)
"""A failure that passes within a second or two is none; one that does not is told while somebody still looks."""

MOST_TOKENS = 64
"""What the answer may be long. It is not read: a model that only reasons within it has answered too."""


async def preflight(
    model: Model, source: Source, config: RunConfig, tell: Callable[[str], None], prices: PriceTable | None = None
) -> None:
    """Ask the model once, cheaply, with the sampling of the run. That the plugin and the host answer is known by now.

    A model that is only throttled is left to the run, which knows how to wait. ``prices`` are given for a run
    with a limit on its cost, which cannot be kept when nobody knows what this call cost.

    Raises :class:`~benchhost.errors.ModelError` when it does not answer, and
    :class:`~benchhost.errors.UsageError` when ``scripted/reference`` has no gold answers, or there is no price.
    """
    if model.name.startswith("scripted/"):
        if model.name == "scripted/reference" and source.reference is None:
            where = f"the host {config.host} keeps them" if config.host else f"{config.benchmark} offers none"
            raise UsageError(f"scripted/reference answers with the gold answers, and {where}")
        return
    most = min(config.sampling.max_tokens or MOST_TOKENS, MOST_TOKENS)
    sampling: Sampling = msgspec.structs.replace(config.sampling, max_tokens=most)
    asked = asyncio.create_task(for_one_question(model, POLICY).complete("Answer with OK.", sampling))
    try:
        await asyncio.wait([asked], timeout=SILENT)
        if not asked.done():
            tell(f"Waiting for {model.name} to answer a short question, for up to {PATIENCE:g} seconds ...")
        async with asyncio.timeout(PATIENCE - SILENT):
            usage = (await asked).usage
        if prices is not None and prices.cost(model.name, usage) is None:
            raise UsageError(f"--max-cost: {no_price(model.name)}. Prices are read from --prices FILE")
    except TimeoutError:
        raise ModelUnavailable(
            f"{model.name} did not answer a short question within {PATIENCE:g} seconds. {_ALL_THE_SAME}"
        ) from None
    except ModelThrottled as error:
        tell(f"{model.name} throttles at the moment: {error}. The run waits when it must.")
    except ModelError as error:
        error.args = (f"{model.name}: {error}{f'. {_ALL_THE_SAME}' if error.retriable else ''}",)
        raise
    finally:
        asked.cancel()
        await asyncio.wait([asked])


_ALL_THE_SAME = "Try again later, or begin all the same with --no-preflight"
