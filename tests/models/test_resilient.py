"""A model that waits for its turn, tries again, and knows when to stop: against a provider that misbehaves."""

import asyncio
import time

import pytest

from benchhost.contract import Call, Completion
from benchhost.errors import (
    CircuitOpen,
    ContextOverflow,
    ModelAuthFailed,
    ModelRequestRefused,
    ModelThrottled,
    ModelUnavailable,
)
from benchhost.models import Breaker, Limiter, Resilient, RetryPolicy, TimeBudget

pytestmark = pytest.mark.anyio

BOTH = pytest.mark.parametrize("protocol", ["openai", "anthropic"])


@BOTH
@pytest.mark.parametrize(
    "misbehaviour",
    ["status=500", "status=429", "status=408", "torn=1", "garbage=1", "html=1", "status=503&retry_after=0"],
)
async def test_what_fails_for_a_while_succeeds_after_retries(protocol, misbehaviour, model, seen):
    name = f"{protocol}/double?{misbehaviour}&times=2&for={protocol}"
    said = await model(name).complete("hello")
    assert said.text == "You said: hello"
    assert said.retries == 2
    assert said.waited > 0
    assert seen(name) == 3


async def test_retry_after_is_honoured(model):
    said = await model("openai/double?status=429&times=1&retry_after=0.4&for=honour").complete("hello")
    assert said.waited >= 0.4
    said = await model("openai/double?status=429&times=1&retry_after_ms=300&for=honour").complete("hello")
    assert said.waited >= 0.3


async def test_what_cannot_succeed_is_not_tried_again(model, seen):
    name = "openai/double?status=400&for=once"
    with pytest.raises(ModelRequestRefused):
        await model(name).complete("hello")
    assert seen(name) == 1


async def test_a_provider_that_says_whether_to_retry_is_believed(model, seen):
    name = "openai/double?status=500&should_retry=false&for=believed"
    with pytest.raises(ModelUnavailable):
        await model(name).complete("hello")
    assert seen(name) == 1
    name = "openai/double?status=400&should_retry=true&times=1&for=believed"
    assert (await model(name).complete("hello")).retries == 1


async def test_a_call_that_is_given_up_says_what_was_spent_on_it(model, seen):
    name = "openai/double?status=500&for=given-up"
    with pytest.raises(ModelUnavailable, match="the provider answered 500") as caught:
        await model(name, policy=RetryPolicy(retries=3, first=0.005)).complete("hello")
    assert seen(name) == 4
    assert caught.value.retries == 3
    assert caught.value.waited > 0


async def test_throttling_cuts_an_adaptive_limit_until_the_provider_is_content(model, seen):
    """A provider with room for 6 calls, and 120 calls that want to run."""
    name = "openai/double?room=6&latency=0.02&for=content"
    limiter = Limiter("auto")
    asked = model(name, limiter=limiter, policy=RetryPolicy(first=0.01, longest=0.05, throttle_retries=1000))
    said = await asyncio.gather(*(asked.complete("hello") for _ in range(120)))
    assert {one.text for one in said} == {"You said: hello"}
    assert limiter.limit < 16
    assert limiter.in_use == limiter.waiting == 0
    assert seen(name) < 120 * 4, "a limiter that does not learn asks many times as often"


async def test_waiting_for_a_provider_does_not_use_up_the_time_of_the_task(model):
    asked = model("openai/double?status=429&times=2&retry_after=0.4&for=time-budget")
    with TimeBudget(0.5) as budget:
        said = await asked.complete("hello", call=Call(waiting=budget.waiting))
    assert not budget.exceeded
    assert said.waited >= 0.8
    assert budget.waited == pytest.approx(said.waited, abs=0.2)


async def test_waiting_for_a_permit_does_not_use_up_the_time_of_the_task(model):
    asked = model("openai/double?latency=0.2&for=permit", limiter=Limiter(1))

    async def attempt():
        with TimeBudget(0.8) as budget:
            await asked.complete("hello", call=Call(waiting=budget.waiting))
        return budget.exceeded

    assert not any(await asyncio.gather(*(attempt() for _ in range(6))))


async def test_time_that_the_model_itself_takes_is_the_tasks():
    with TimeBudget(0.05) as budget:
        await asyncio.sleep(5)
    assert budget.exceeded


async def test_the_clock_stands_still_until_nobody_waits():
    began = time.monotonic()
    with TimeBudget(0.1) as budget:

        async def wait(seconds):
            with budget.waiting():
                await asyncio.sleep(seconds)

        await asyncio.gather(wait(0.2), wait(0.4))
        await asyncio.sleep(5)
    assert budget.exceeded
    assert 0.5 <= time.monotonic() - began < 3


async def test_time_that_is_up_does_not_come_back_by_waiting():
    with TimeBudget(0.0) as budget, budget.waiting():
        await asyncio.sleep(5)
    assert budget.exceeded


async def test_a_budget_of_none_is_no_limit():
    with TimeBudget(None) as budget, budget.waiting():
        await asyncio.sleep(0)
    assert not budget.exceeded


async def test_a_cancelled_call_gives_its_permit_back(model):
    limiter = Limiter(1)
    asked = model("openai/double?latency=5&for=cancelled", limiter=limiter)
    with TimeBudget(0.1) as budget:
        await asked.complete("hello")
    assert budget.exceeded
    assert limiter.in_use == 0


async def test_a_run_whose_every_call_fails_alike_is_stopped_with_the_reason(model, seen):
    name = "openai/double?status=404&code=model_not_found&for=stopped"
    asked = model(name, breaker=Breaker(5), limiter=Limiter(1))
    errors = await asyncio.gather(*(asked.complete("hello") for _ in range(40)), return_exceptions=True)
    assert [type(error) for error in errors] == [ModelRequestRefused] * 5 + [CircuitOpen] * 35
    assert seen(name) == 5
    assert "5 calls in a row failed alike (bad_request)" in str(errors[-1])
    assert "model_not_found" in str(errors[-1])
    assert errors[-1].__cause__ is errors[4]


async def test_a_provider_that_wants_to_be_left_alone_for_hours_stops_the_run_instead_of_holding_it():
    began = time.monotonic()
    came = await outcomes_of(*[ModelThrottled("come back tomorrow", retry_after=86400)] * 6)
    assert came == ["ModelThrottled"] * 3 + ["CircuitOpen"] * 3
    assert time.monotonic() - began < 3


class Fickle:
    """A model that fails as it is told."""

    name = "test/fickle"

    def __init__(self, *outcomes):
        self.outcomes = list(outcomes)

    async def complete(self, prompt, sampling=None, call=None):
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome
        return Completion(text="fine")

    async def aclose(self):
        pass


async def outcomes_of(*outcomes, threshold=3):
    """What comes of as many calls, by name."""
    asked = Resilient(Fickle(*outcomes), breaker=Breaker(threshold), policy=RetryPolicy(retries=0, throttle_retries=0))
    came = await asyncio.gather(*(asked.complete("hello") for _ in outcomes), return_exceptions=True)
    return [type(one).__name__ for one in came]


async def test_a_completion_in_between_keeps_the_circuit_closed():
    outcomes = [ModelAuthFailed("no"), ModelAuthFailed("no"), None, ModelAuthFailed("no"), ModelAuthFailed("no"), None]
    assert "CircuitOpen" not in await outcomes_of(*outcomes)


async def test_failures_of_several_kinds_keep_the_circuit_closed():
    outcomes = [ModelAuthFailed("no"), ModelUnavailable("down"), ModelThrottled("slow"), ModelUnavailable("down")] * 3
    assert "CircuitOpen" not in await outcomes_of(*outcomes)


async def test_funds_that_end_in_the_middle_of_a_run_open_the_circuit():
    assert (await outcomes_of(None, None, *[ModelAuthFailed("no")] * 4))[-1] == "CircuitOpen"


async def test_long_prompts_one_after_the_other_are_no_reason_to_stop_a_model_that_works():
    assert "CircuitOpen" not in await outcomes_of(None, *[ContextOverflow("too long")] * 9)
    assert (await outcomes_of(*[ContextOverflow("too long")] * 4))[-1] == "CircuitOpen"


async def test_an_error_that_is_not_a_models_passes_through_and_frees_its_permit():
    limiter = Limiter(1)
    asked = Resilient(Fickle(ZeroDivisionError("a bug")), limiter=limiter)
    with pytest.raises(ZeroDivisionError):
        await asked.complete("hello")
    assert limiter.in_use == 0
