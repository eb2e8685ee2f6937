"""What a run may spend, and what it has spent."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from benchhost.contract import Call, Completion, Model, Prompt, Sampling
from benchhost.errors import ModelError
from benchhost.models import Metered, PriceTable, Spend

WARN_AT = 0.8
"""The share of a budget at which there is a warning."""


BUDGET = "the budget is"
"""How what is said of a budget begins."""

_ROUNDING = 1e-9
"""By what share sums of what calls cost may be off."""


def no_price(model: str) -> str:
    """Say that a limit on the cost is of no use with this model."""
    return (
        f"nothing says what {model} costs, so no limit on the cost can be kept. Give its price, or use "
        "a limit on the tokens"
    )


class BudgetReached(ModelError):
    """The run's budget is spent, so the model is not asked. Part of no failure count: the attempt is owed."""

    slug = "budget-reached"
    title = "The run's budget is spent"
    kind = "budget"


class Account:
    """The account of a run: of all its attempts in all its sessions, agent and judge together.

    ``stopped`` says, once the budget is spent, in words what was spent; ``warning`` that it soon will be.
    """

    def __init__(self, max_cost: float | None = None, max_tokens: int | None = None) -> None:
        self.stopped: str | None = None
        self.warning: str | None = None
        self._max_cost = max_cost
        self._max_tokens = max_tokens
        self._cost = 0.0
        self._tokens = 0
        self._calls = 0
        self._under_way = 0

    def take(self, spend: Spend, model: str) -> None:
        """Take what some calls cost. One whose cost is unknown ends a run that has a limit on the cost."""
        self._calls += spend.calls
        self._cost += spend.cost
        self._tokens += spend.usage.input_tokens + spend.usage.output_tokens
        if self._max_cost is not None and spend.unpriced:
            self.stopped = no_price(model)
        for spent, limit, said in self._limits():
            if spent >= limit:
                self.stopped = self.stopped or f"{BUDGET} spent: {said}"
            elif spent >= WARN_AT * limit:
                self.warning = f"{BUDGET} nearly spent: {said}"

    @contextmanager
    def call(self) -> Iterator[None]:
        """Let a call be made, if it and those under way fit the budget when each takes what a call took so far.

        Raises :class:`BudgetReached` otherwise, and once the budget is spent.
        """
        for spent, limit, said in self._limits():
            expected = spent + (self._under_way + 1) * spent / max(1, self._calls)
            if expected > limit * (1 + _ROUNDING):
                self.stopped = self.stopped or f"{BUDGET} spent: {said}, and no other call fits"
        if self.stopped is not None:
            raise BudgetReached(self.stopped)
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def _limits(self) -> Iterator[tuple[float, float, str]]:
        """Yield what is spent of each limit, the limit, and both in words."""
        if self._max_cost is not None:
            yield self._cost, self._max_cost, f"${self._cost:.4f} of ${self._max_cost:g}"
        if self._max_tokens is not None:
            yield self._tokens, self._max_tokens, f"{self._tokens:,} of {self._max_tokens:,} tokens"


class Charged:
    """A model as one attempt sees it, with the run's sampling; every call is on the attempt's and the run's account.

    ``spend`` grows with every call, also when the attempt is cancelled or fails later. Closing it does
    not close the model, which other attempts use.
    """

    def __init__(
        self, model: Model, prices: PriceTable, account: Account, spend: Spend, *, sampling: Sampling | None, call: Call
    ) -> None:
        self.name = model.name
        self.spend = spend
        self._model = model
        self._prices = prices
        self._account = account
        self._sampling = sampling
        self._call = call

    async def complete(self, prompt: Prompt, sampling: Sampling | None = None, call: Call | None = None) -> Completion:
        """Ask the model, unless the budget is spent, and put it on the accounts."""
        with self._account.call():
            meter = Metered(self._model, self._prices, sampling=self._sampling, call=self._call)
            try:
                return await meter.complete(prompt, sampling, call)
            except BaseException:
                if not meter.spend.calls:  # broken off: what the provider charges for it is not known
                    meter.spend.calls = meter.spend.failures = 1
                raise
            finally:
                self.spend.add(meter.spend)
                self._account.take(meter.spend, self.name)

    async def aclose(self) -> None:
        """Do nothing: the model is shared."""
