"""When a failed call is tried again, and after how long."""

import time
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.errors import ModelAuthFailed, ModelThrottled, ModelUnavailable
from benchhost.models import RetryPolicy
from benchhost.models.retry import retry_after

policies = st.builds(RetryPolicy, first=st.floats(0.001, 10), longest=st.floats(10, 1000))
draws = st.floats(0, 1, exclude_max=True)


@given(policies, st.integers(0, 10_000), draws)
def test_a_wait_is_never_longer_than_the_longest_nor_shorter_than_half_of_its_step(policy, n, draw):
    step = min(policy.longest, policy.first * 2.0 ** min(n, 60))
    assert step / 2 <= policy.delay(n, draw=draw) <= step <= policy.longest


@given(policies, st.integers(0, 100), draws)
def test_waits_grow(policy, n, draw):
    assert policy.delay(n, draw=draw) <= policy.delay(n + 1, draw=draw)


@given(policies, st.integers(0, 100), st.floats(0.001, 1e6), draws)
def test_a_provider_is_never_asked_before_it_wants_to_be(policy, n, asked, draw):
    assert asked <= policy.delay(n, asked, draw) <= asked + policy.first


def test_jitter_keeps_calls_from_coming_back_together():
    policy = RetryPolicy()
    assert len({policy.delay(3) for _ in range(50)}) > 40


def test_an_advice_of_no_seconds_is_no_advice():
    assert RetryPolicy(first=4).delay(0, 0.0, 0.0) == 2


def test_failures_and_throttling_have_allowances_of_their_own():
    policy = RetryPolicy(retries=2, throttle_retries=5)
    failed, throttled = ModelUnavailable("down"), ModelThrottled("slow down")
    assert [policy.allows(failed, n, 0) for n in range(4)] == [True, True, False, False]
    assert policy.allows(throttled, 2, 4)
    assert not policy.allows(throttled, 0, 5)
    assert not policy.allows(ModelAuthFailed("no"), 0, 0)


def test_a_provider_that_wants_to_be_left_alone_for_hours_is_not_waited_for():
    policy = RetryPolicy(patience=60)
    assert policy.allows(ModelThrottled("later", retry_after=60), 0, 0)
    assert not policy.allows(ModelThrottled("much later", retry_after=3600), 0, 0)


@pytest.mark.parametrize(
    "headers,seconds",
    [
        ({}, None),
        ({"retry-after": "7"}, 7),
        ({"retry-after": "0.25"}, 0.25),
        ({"retry-after": "-3"}, 0),
        ({"retry-after-ms": "250", "retry-after": "1"}, 0.25),
        ({"retry-after": "soon"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": formatdate(0, usegmt=True)}, 0),
    ],
)
def test_retry_after_is_read_as_seconds_in_each_of_its_forms(headers, seconds):
    assert retry_after(headers) == seconds


def test_retry_after_may_be_a_date():
    date = formatdate(time.time() + 100, usegmt=True)
    assert 95 < retry_after({"retry-after": date}) <= 101


@given(st.text(max_size=30))
def test_nonsense_in_retry_after_is_ignored_or_a_time(value):
    seconds = retry_after({"retry-after": value})
    assert seconds is None or seconds >= 0
