"""What strategies find out where nothing is held back; and that nobody learns more of sums than they can say."""

from __future__ import annotations

import hashlib
import itertools
import math
import random

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchhost import Probing
from benchhost.evaluation.probing import bits_of, rounded
from benchhost.integrity.strategies import STRATEGIES, Refused, Target, Withheld

OPEN = Probing(feedback="sum", least=1, sums=10**6, digits=15)


class Grader:
    """A grader of some hidden answers that goes by a policy; ``told`` are the sums that it has told."""

    def __init__(self, answers, policy):
        self.answers, self.policy, self.told = answers, policy, []
        self.tried: dict[str, set[str]] = {task: set() for task in answers}

    async def score(self, task, response):
        self.judge(task, response)
        if self.policy.feedback == "sum":
            raise Withheld
        return float(self.answers[task] == response)

    async def total(self, responses):
        right = [self.judge(*each) for each in responses.items()]
        if (self.policy.sums is not None and len(self.told) >= self.policy.sums) or len(right) < self.policy.least:
            raise Withheld
        self.told.append(rounded(sum(right) / len(self.answers), self.policy))
        return self.told[-1]

    def judge(self, task, response):
        tried = self.tried[task] | {response}
        if self.policy.attempts is not None and len(tried) > self.policy.attempts:
            raise Refused
        self.tried[task] = tried
        return self.answers[task] == response


@st.composite
def hidden(draw):
    """Answers to some tasks, of which the first are attacked."""
    letters = draw(st.lists(st.sampled_from("ABCD"), min_size=2, max_size=14))
    return {f"t{number}": letter for number, letter in enumerate(letters)}, draw(st.integers(1, len(letters)))


def found(strategy, answers, most, policy, seed=0):
    grader = Grader(answers, policy)
    tasks, others = list(answers)[:most], list(answers)[most:]
    target = Target(tasks, others, sorted(set(answers.values())), policy.least, seed)
    return anyio.run(STRATEGIES[strategy], grader, target), {task: answers[task] for task in tasks}, grader


@given(hidden(), st.integers(0, 99))
@settings(max_examples=40)
@pytest.mark.parametrize(
    "strategy, policy",
    [("enumerate", Probing()), ("enumerate", Probing(feedback="score")), ("difference", OPEN), ("bisect", OPEN)],
)
def test_where_everything_is_told_every_answer_is_found_out_and_nothing_else_is_claimed(strategy, policy, some, seed):
    claimed, answers, _ = found(strategy, *some, policy, seed)
    assert claimed == answers


@given(hidden(), st.integers(1, 12), st.integers(0, 15))
@settings(max_examples=40)
@pytest.mark.parametrize("strategy", ["difference", "bisect"])
def test_however_sums_are_bounded_what_is_claimed_is_true_and_no_more_are_told(strategy, some, sums, digits):
    claimed, answers, grader = found(strategy, *some, Probing(feedback="sum", least=1, sums=sums, digits=digits))
    assert claimed.items() <= answers.items()
    assert len(grader.told) <= sums


@given(st.integers(0, 10**6), st.integers(0, 1), st.integers(1, 3), st.integers(2, 5))
@settings(max_examples=60)
def test_no_strategy_tells_more_keys_of_answers_apart_than_sums_can_say(seed, digits, sums, tasks):
    """Whatever is asked next, by what was told before: so many keys, and no more than so many things that were told."""
    policy = Probing(feedback="sum", least=1, sums=sums, digits=digits)
    names = [f"t{number}" for number in range(tasks)]

    async def ask(grader):
        while True:
            said = f"{seed}{grader.told}"
            chance = random.Random(hashlib.sha256(said.encode()).digest())
            try:
                await grader.total({name: chance.choice("ABC") for name in names})
            except Withheld:
                return tuple(grader.told)

    async def every() -> set[tuple[float, ...]]:
        keys = itertools.product("ABC", repeat=tasks)
        return {await ask(Grader(dict(zip(names, key, strict=True)), policy)) for key in keys}

    assert math.log2(len(anyio.run(every))) <= bits_of(policy)


def test_rounding_alone_stops_who_compares_and_not_who_bisects():
    answers = {f"t{number}": "ABCD"[number % 4] for number in range(24)}
    rough = Probing(feedback="sum", least=5, sums=10**6, digits=1)
    assert found("difference", answers, 8, rough)[0] == {}
    claimed, whole, grader = found("bisect", answers, 8, rough)
    assert claimed == whole
    assert len(grader.told) > 10
    assert found("bisect", answers, 8, Probing(feedback="sum", least=5, sums=5, digits=1))[0] == {}
