"""Counting at the call what a model costs, so that nothing is lost when what asked it dies."""

from __future__ import annotations

import msgspec

from benchhost.contract import Call, Completion, Model, Prompt, Sampling, Usage
from benchhost.contract.model import NO_CALL
from benchhost.errors import ModelError
from benchhost.models.prices import PriceTable


class Spend(msgspec.Struct, kw_only=True):
    """What some calls took.

    ``cost`` is the sum of the costs that are known, in USD, and ``unpriced`` the number of calls whose
    cost is not: only when that is 0 is the sum the whole. ``failures`` are calls without a completion;
    ``cached`` calls were answered from the cache, and count no tokens and no cost. Times are in seconds.
    """

    calls: int = 0
    failures: int = 0
    cached: int = 0
    unpriced: int = 0
    retries: int = 0
    latency: float = 0.0
    waited: float = 0.0
    cost: float = 0.0
    usage: Usage = msgspec.field(default_factory=Usage)

    def completed(self, completion: Completion, cost: float | None) -> None:
        """Add a call that was answered."""
        self.calls += 1
        if completion.cached:
            self.cached += 1
            return
        self.retries += completion.retries
        self.latency += completion.latency
        self.waited += completion.waited
        self._charge(completion.usage or Usage())
        if cost is None:
            self.unpriced += 1
        else:
            self.cost += cost

    def failed(self, error: ModelError) -> None:
        """Add a call that was given up. What a provider may have charged for it is not known."""
        self.calls += 1
        self.failures += 1
        self.retries += error.retries
        self.waited += error.waited

    def add(self, other: Spend) -> None:
        """Add what other calls took."""
        self.calls += other.calls
        self.failures += other.failures
        self.cached += other.cached
        self.unpriced += other.unpriced
        self.retries += other.retries
        self.latency += other.latency
        self.waited += other.waited
        self.cost += other.cost
        self._charge(other.usage)

    def _charge(self, usage: Usage) -> None:
        mine = self.usage
        mine.input_tokens += usage.input_tokens
        mine.output_tokens += usage.output_tokens
        mine.cached_tokens += usage.cached_tokens
        mine.cache_write_tokens += usage.cache_write_tokens
        mine.reasoning_tokens += usage.reasoning_tokens
        if usage.reported_cost is not None:
            mine.reported_cost = (mine.reported_cost or 0.0) + usage.reported_cost


class Metered:
    """A model as one attempt sees it: with the run's sampling, on the attempt's account.

    ``spend`` grows with every call, also when the attempt is cancelled or fails later. Closing it does
    not close the model, which other attempts use.
    """

    def __init__(
        self, model: Model, prices: PriceTable, *, sampling: Sampling | None = None, call: Call = NO_CALL
    ) -> None:
        self.name = model.name
        self.spend = Spend()
        self._model = model
        self._prices = prices
        self._sampling = sampling
        self._call = call

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call | None = None) -> Completion:
        """Ask the model, with the run's sampling unless given another, and note what it took."""
        try:
            completion = await self._model.complete(prompt, sampling or self._sampling, call or self._call)
        except ModelError as error:
            self.spend.failed(error)
            raise
        self.spend.completed(completion, self._prices.cost(self.name, completion.usage))
        return completion

    async def aclose(self) -> None:
        """Do nothing: the model is shared."""
