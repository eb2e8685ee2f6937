"""How many calls run at once."""

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import UsageError
from benchhost.models import Limiter
from benchhost.models.concurrency import PAUSE, AdaptiveLimit

events = st.lists(st.tuples(st.sampled_from(["succeeded", "throttled", "failed"]), st.floats(0, 5)), max_size=300)


@given(events, st.integers(1, 50), st.integers(1, 100))
def test_an_adaptive_limit_stays_between_one_and_the_most(events, start, most):
    limit, now = AdaptiveLimit(start, most=most), 0.0
    for event, passed in events:
        now += passed
        before = limit.value
        if event == "succeeded":
            limit.succeeded(limit.value, now)
            assert before <= limit.value <= before + 1
        elif event == "throttled":
            limit.throttled(now, now)
            assert limit.value <= before
        else:
            limit.failed(now)
            assert limit.value == before
        assert 1 <= limit.value <= most


@given(st.integers(2, 200))
def test_calls_that_were_throttled_together_cut_the_limit_once(calls):
    once, together = AdaptiveLimit(100), AdaptiveLimit(100)
    once.throttled(1.0, 2.0)
    for _ in range(calls):
        together.throttled(1.0, 2.0)
    assert together.value == once.value == 70
    together.throttled(3.0, 4.0)
    assert together.value == 49


@given(st.integers(0, 15))
def test_a_limit_that_is_not_used_up_does_not_grow(in_use):
    limit = AdaptiveLimit(16)
    limit.succeeded(in_use, 0.0)
    assert limit.value == 16


def test_a_limit_doubles_each_round_until_the_first_throttling_and_then_grows_by_one():
    limit = AdaptiveLimit(16)
    one_round(limit)
    assert limit.value == 32
    limit.throttled(1.0, 2.0)
    assert limit.value == 22
    one_round(limit)
    one_round(limit)
    assert limit.value in (23, 24)


def one_round(limit):
    for _ in range(limit.value):
        limit.succeeded(1000, 10.0)


def test_a_failing_provider_pauses_growth():
    limit = AdaptiveLimit(16)
    limit.failed(100.0)
    limit.succeeded(16, 100.0 + PAUSE / 2)
    assert limit.value == 16
    limit.succeeded(16, 100.0 + PAUSE)
    assert limit.value == 17


@pytest.mark.parametrize("wrong", [0, -1, "many", 1.5, None])
def test_a_limiter_of_no_connections_is_refused(wrong):
    with pytest.raises(UsageError, match="at least 1"):
        Limiter(wrong)


@pytest.mark.anyio
async def test_no_more_calls_run_than_the_limit_and_they_run_in_order():
    limiter, order, running, most = Limiter(3), [], 0, 0

    async def call(number):
        nonlocal running, most
        await limiter.acquire()
        order.append(number)
        running += 1
        most = max(most, running)
        await asyncio.sleep(0)
        running -= 1
        limiter.release()

    await asyncio.gather(*(call(n) for n in range(50)))
    assert (order, most, limiter.in_use, limiter.waiting) == (list(range(50)), 3, 0, 0)


@pytest.mark.anyio
async def test_a_retry_goes_before_those_that_wait_for_their_first_try():
    limiter, order = Limiter(1), []
    await limiter.acquire()

    async def call(name, first):
        await limiter.acquire(first=first)
        order.append(name)
        limiter.release()

    calls = [asyncio.create_task(call("new", first=False)), asyncio.create_task(call("retry", first=True))]
    await asyncio.sleep(0)
    limiter.release()
    await asyncio.gather(*calls)
    assert order == ["retry", "new"]


@pytest.mark.anyio
async def test_what_a_provider_asks_one_call_to_wait_holds_all():
    limiter = Limiter(2)
    loop = asyncio.get_running_loop()
    await limiter.acquire()
    limiter.throttled(limiter.clock(), 0.1)
    began = loop.time()
    assert not limiter.try_acquire()
    await asyncio.gather(limiter.acquire(), limiter.acquire())
    assert 0.09 <= loop.time() - began < 2


@pytest.mark.anyio
async def test_a_permit_is_never_lost_to_a_cancellation():
    """Whenever a waiting call is cancelled, also in the moment in which it is granted its permit."""
    for steps, release_first in itertools.product(range(3), (False, True)):
        limiter = Limiter(1)
        await limiter.acquire()
        waiting = asyncio.create_task(limiter.acquire())
        for _ in range(steps):
            await asyncio.sleep(0)
        if release_first:
            limiter.release()
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        if not release_first:
            limiter.release()
        assert (limiter.in_use, limiter.waiting) == (0, 0), (steps, release_first)
        await asyncio.wait_for(limiter.acquire(), 1)


@pytest.mark.anyio
async def test_growth_lets_waiting_calls_in():
    limiter = Limiter("auto")
    for _ in range(limiter.limit):
        assert limiter.try_acquire()
    waiting = [asyncio.create_task(limiter.acquire()) for _ in range(2)]
    await asyncio.sleep(0)
    assert limiter.waiting == 2
    limiter.succeeded()
    await asyncio.gather(*waiting)
    assert (limiter.in_use, limiter.limit) == (17, 17)
