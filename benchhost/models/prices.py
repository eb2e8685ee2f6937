"""What tokens cost. The table is data (``prices.json``), and the user's own prices go before it."""

from __future__ import annotations

import functools
from pathlib import Path

import msgspec

from benchhost.contract import Usage
from benchhost.errors import UsageError

_MILLION = 1_000_000


class Price(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """USD per million tokens. What is not stated for the cache costs as much as other input.

    These are the standard rates: surcharges for long prompts and discounts for batches are not in them.
    """

    input: float
    output: float
    cached: float | None = None
    cache_write: float | None = None

    def __post_init__(self) -> None:
        for name in self.__struct_fields__:
            number = getattr(self, name)
            if number is not None and not 0 <= number < float("inf"):
                raise ValueError(f"a price must be a number of at least 0: {name} is {number!r}")

    def cost(self, usage: Usage) -> float:
        """Return the cost of some tokens, in USD."""
        cached = self.input if self.cached is None else self.cached
        written = self.input if self.cache_write is None else self.cache_write
        plain = max(0, usage.input_tokens - usage.cached_tokens - usage.cache_write_tokens)
        return (
            plain * self.input
            + usage.cached_tokens * cached
            + usage.cache_write_tokens * written
            + usage.output_tokens * self.output
        ) / _MILLION


class PriceTable:
    """Prices by the name of a model; ``provider/*`` stands for all others of a provider.

    What has no price costs ``None``, which is not the same as nothing.
    """

    def __init__(self, prices: dict[str, Price]) -> None:
        self._prices = prices

    def of(self, model: str) -> Price | None:
        """Return the price of ``provider/name``, or ``None`` when it is not known."""
        return self._prices.get(model) or self._prices.get(f"{model.partition('/')[0]}/*")

    def cost(self, model: str, usage: Usage | None) -> float | None:
        """Return what a call cost, in USD: what the provider itself states, else by the table."""
        if usage is None:
            return None
        if usage.reported_cost is not None:
            return usage.reported_cost
        price = self.of(model)
        return None if price is None else price.cost(usage)


def load_prices(overrides: Path | None = None) -> PriceTable:
    """Load the table that comes with benchhost, and over it a file of the same form.

    Raises :class:`~benchhost.errors.UsageError` when the file is missing or of another form.
    """
    if overrides is None:
        return PriceTable(_shipped())
    try:
        own = msgspec.json.decode(overrides.read_bytes(), type=dict[str, Price])
    except OSError as error:
        raise UsageError(f"the prices in {overrides} cannot be read: {error.strerror}") from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise UsageError(
            f'the prices in {overrides} cannot be used: {error}; expected {{"provider/model": '
            '{"input": USD per million tokens, "output": ..., "cached": ..., "cache_write": ...}}'
        ) from error
    return PriceTable(_shipped() | own)


@functools.cache
def _shipped() -> dict[str, Price]:
    return msgspec.json.decode(Path(__file__).with_name("prices.json").read_bytes(), type=dict[str, Price])
