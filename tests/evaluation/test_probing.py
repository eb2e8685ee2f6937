"""Which policy holds, which responses count as one, and what is told of a result."""

from __future__ import annotations

import time
import unicodedata
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost import Probing
from benchhost.evaluation.probing import NO_POLICY, Policies, disclosed, folded, may_sum, try_digest
from benchhost.store import OPERATOR, Evaluation

RESULT = b'{"score":0.6666666,"passed":true,"metrics":{"m":0.3333333},"feedback":"nearly"}'


def evaluation(**changes):
    fields = {
        "id": "e",
        "tenant": "lab",
        "benchmark": "sums",
        "dataset": "default",
        "fingerprint": "",
        "run": "",
        "task": "a",
        "response_digest": "",
        "evaluator_version": "1",
        "owner": "",
        "started_at": 0.0,
        "status": "scored",
        "attempt": 1,
        "result": RESULT,
        "finished_at": 1000.0,
    }
    return Evaluation(**fields | changes)


def told(policy, **changes):
    found = disclosed(evaluation(**changes), policy)
    return None if found.result is None else msgspec.json.decode(found.result)


@given(st.text())
def test_folding_is_done_once_and_for_all(text):
    assert folded(folded(text.encode())) == folded(text.encode())


@given(st.text(), st.sampled_from([str.upper, str.lower, lambda t: f"  {t}\n", lambda t: t.replace(" ", "\t ")]))
def test_case_and_spaces_make_no_other_response(text, change):
    text = unicodedata.normalize("NFKC", text)
    if text.upper().casefold() == text.lower().casefold() == text.casefold():  # a few letters have no such form
        assert folded(change(text).encode()) == folded(text.encode())


@pytest.mark.parametrize("one, other", [("42", "43"), ("4 2", "42"), ("-1", "1"), ("a.b", "ab"), ("", "0")])
def test_what_says_something_else_is_another_response(one, other):
    policy = Probing(fold=True)
    assert try_digest(policy, one.encode()) != try_digest(policy, other.encode())


def test_without_folding_every_byte_counts():
    assert try_digest(Probing(), b"A") != try_digest(Probing(), b"a")
    assert try_digest(Probing(fold=True), b"A ") == try_digest(Probing(fold=True), "ａ".encode())


@pytest.mark.parametrize(
    "given, own, expected",
    [
        ({"sums/default": 1, "sums/*": 2, "*/default": 3, "*/*": 4}, {"default": 5, "*": 6}, 1),
        ({"sums/*": 2, "*/default": 3, "*/*": 4}, {"default": 5}, 2),
        ({"*/default": 3, "*/*": 4}, {"default": 5}, 3),
        ({"*/*": 4, "other/default": 9}, {"default": 5}, 4),
        ({"other/default": 9, "sums/test": 9}, {"default": 5, "*": 6}, 5),
        ({}, {"test": 9, "*": 6}, 6),
        ({}, {"test": 9}, None),
    ],
)
def test_the_policy_of_the_operator_goes_before_that_of_the_author_and_the_narrowest_first(given, own, expected):
    policies = Policies({name: Probing(attempts=number) for name, number in given.items()})
    benchmark = SimpleNamespace(name="sums", probing={name: Probing(attempts=n) for name, n in own.items()})
    assert policies.of(benchmark, "default", "lab").attempts == expected
    assert policies.of(benchmark, "default", OPERATOR) is NO_POLICY


def test_without_a_policy_everything_is_told():
    assert disclosed(evaluation(), NO_POLICY) == evaluation()


def test_with_score_nothing_but_the_score_and_whether_it_passes_is_told():
    assert told(Probing(feedback="score")) == {"score": 0.6666666, "passed": True, "metrics": {}, "feedback": None}


def test_numbers_are_rounded():
    shown = told(Probing(digits=1))
    assert (shown["score"], shown["metrics"], shown["feedback"]) == (0.7, {"m": 0.3}, "nearly")


@pytest.mark.parametrize("policy", [Probing(feedback="sum"), Probing(delay=3600.0)])
def test_what_is_withheld_leaves_a_reason_and_no_part_of_the_result(policy):
    found = disclosed(evaluation(finished_at=time.time()), policy)
    assert found.result is None
    assert found.errors
    assert b"0.66" not in msgspec.json.encode(found)


def test_after_the_delay_it_is_told():
    assert told(Probing(delay=5.0), finished_at=time.time() - 6) is not None
    assert told(Probing(delay=5.0), finished_at=time.time() - 4) is None


@pytest.mark.parametrize("policy", [Probing(feedback="score"), Probing(feedback="sum"), Probing(delay=1.0)])
def test_what_an_author_says_of_a_failure_is_withheld_like_feedback(policy):
    found = disclosed(evaluation(status="error", result=None, errors=("the 3rd word is wrong",)), policy)
    assert found.errors == ("The response was not scored.",)


def test_a_sum_is_told_over_enough_tasks_and_after_the_delay():
    policy = Probing(feedback="sum", least=3, delay=5.0)
    now = time.time()
    assert "3 scored tasks or more" in may_sum(2, now - 9, policy)
    assert "ask again" in may_sum(3, now, policy)
    assert may_sum(3, now - 9, policy) is None
    assert may_sum(1, now, Probing(attempts=1)) is None
    assert may_sum(1, now, Probing(feedback="score")) is None, "each of them is told"
