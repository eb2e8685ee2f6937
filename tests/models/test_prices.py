"""What tokens cost, and what a run is told about it."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.contract import Call, Completion, Sampling, Usage
from benchhost.errors import ModelUnavailable, UsageError
from benchhost.models import Metered, Price, PriceTable, Spend, load_prices
from benchhost.models.prices import _shipped

counts = st.integers(0, 10_000)
usages = st.builds(
    lambda plain, cached, written, output: Usage(
        input_tokens=plain + cached + written, cached_tokens=cached, cache_write_tokens=written, output_tokens=output
    ),
    counts, counts, counts, counts,
)  # fmt: skip
rates = st.floats(0, 1000)
prices = st.builds(Price, input=rates, output=rates, cached=st.none() | rates, cache_write=st.none() | rates)


def test_a_million_tokens_cost_what_the_table_says():
    price = Price(input=3, output=15, cached=0.3, cache_write=3.75)
    million = 1_000_000
    assert price.cost(Usage(input_tokens=million)) == 3
    assert price.cost(Usage(output_tokens=million, reasoning_tokens=million)) == 15
    assert price.cost(Usage(input_tokens=million, cached_tokens=million)) == pytest.approx(0.3)
    assert price.cost(Usage(input_tokens=million, cache_write_tokens=million)) == 3.75
    assert Price(input=3, output=15).cost(Usage(input_tokens=million, cached_tokens=million)) == 3


@given(prices, usages, usages)
def test_the_cost_of_two_calls_is_the_sum_of_their_costs(price, one, other):
    both = Spend()
    for usage in (one, other):
        both.completed(Completion(text="", usage=usage), price.cost(usage))
    assert both.cost == pytest.approx(price.cost(both.usage))


@given(st.lists(st.tuples(usages, st.none() | rates)), st.lists(st.tuples(usages, st.none() | rates)))
def test_what_two_attempts_spent_adds_up_to_what_one_would_have(one, other):
    apart, together = Spend(), Spend()
    for calls in (one, other):
        spend = Spend()
        for usage, cost in calls:
            spend.completed(Completion(text="", usage=usage), cost)
            together.completed(Completion(text="", usage=usage), cost)
        apart.add(spend)
    assert apart.cost == pytest.approx(together.cost)
    assert (apart.calls, apart.unpriced, apart.usage) == (together.calls, together.unpriced, together.usage)


def test_a_model_without_a_price_costs_none_which_is_not_nothing():
    table = load_prices()
    assert table.of("openai/no-such-model") is None
    assert table.cost("openai/no-such-model", Usage(input_tokens=1)) is None
    assert table.cost("vllm/anything", Usage()) is None
    assert table.cost("openai/gpt-4o", None) is None
    assert table.cost("scripted/echo", Usage()) == 0


def test_the_shipped_prices_are_plausible():
    table = _shipped()
    assert table["openai/gpt-4o"] == Price(input=2.5, output=10, cached=1.25)
    for name, price in table.items():
        assert "/" in name
        if name != "scripted/*":
            assert 0 < price.input < price.output, name
            assert price.cached is None or price.cached < price.input, name


def test_the_users_prices_go_before_the_shipped_ones(tmp_path):
    own = tmp_path / "prices.json"
    own.write_text(json.dumps({"openai/gpt-4o": {"input": 1, "output": 2}, "vllm/*": {"input": 0, "output": 0}}))
    table = load_prices(own)
    assert table.of("openai/gpt-4o") == Price(input=1, output=2)
    assert table.cost("vllm/any/model", Usage(input_tokens=5)) == 0
    assert table.of("openai/gpt-4o-mini") == load_prices().of("openai/gpt-4o-mini") is not None


@pytest.mark.parametrize(
    "content",
    [
        "{",
        "[]",
        '{"a": ' * 3000,
        '{"a/b": {"input": 1}}',
        '{"a/b": {"input": -1, "output": 2}}',
        '{"a/b": {"in": 1, "output": 2}}',
    ],
)
def test_prices_of_another_form_are_refused_with_the_form(content, tmp_path):
    own = tmp_path / "prices.json"
    own.write_text(content)
    with pytest.raises(UsageError, match="USD per million tokens"):
        load_prices(own)


def test_prices_that_cannot_be_read_are_said_to_be(tmp_path):
    with pytest.raises(UsageError, match=r"missing\.json cannot be read: No such file or directory$"):
        load_prices(tmp_path / "missing.json")


def test_what_a_provider_says_it_charged_goes_before_the_table():
    table = PriceTable({"openrouter/x": Price(input=1, output=1)})
    assert table.cost("openrouter/x", Usage(input_tokens=5, reported_cost=0.25)) == 0.25


class Recorder:
    """A model that remembers how it was asked."""

    name = "openai/gpt-4o"

    def __init__(self, *outcomes):
        self.outcomes, self.asked = list(outcomes), []

    async def complete(self, prompt, sampling=None, call=None):
        self.asked.append((prompt, sampling, call))
        outcome = self.outcomes.pop(0)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    async def aclose(self):
        raise AssertionError("an attempt does not close a model that others use")


@pytest.mark.anyio
async def test_an_attempt_is_charged_for_every_call_also_for_those_that_fail():
    failed = ModelUnavailable("down")
    failed.retries, failed.waited = 8, 30.0
    usage = Usage(input_tokens=1_000_000, output_tokens=100_000)
    model = Recorder(
        Completion(text="x", usage=usage, latency=2.0, retries=1, waited=0.5), failed, Completion(text="y")
    )
    account = Metered(model, load_prices())
    await account.complete("a")
    with pytest.raises(ModelUnavailable):
        await account.complete("b")
    await account.complete("c")
    await account.aclose()
    spend = account.spend
    assert (spend.calls, spend.failures, spend.unpriced, spend.retries) == (3, 1, 1, 9)
    assert (spend.cost, spend.latency, spend.waited) == (3.5, 2.0, 30.5)
    assert spend.usage == usage


@pytest.mark.anyio
async def test_an_attempt_asks_with_the_sampling_of_its_run_unless_told_otherwise():
    run, own, call = Sampling(temperature=0.5), Sampling(temperature=1.0), Call(task_id="t")
    model = Recorder(Completion(text="x"), Completion(text="y"))
    account = Metered(model, load_prices(), sampling=run, call=call)
    await account.complete("a")
    await account.complete("b", own)
    assert model.asked == [("a", run, call), ("b", own, call)]
