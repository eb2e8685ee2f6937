"""Seeded samples of a dataset."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost.tasks import sample

IDS = [f"task-{number}" for number in range(100)]

unique_ids = st.lists(st.text(min_size=1), unique=True, max_size=30)


def test_a_sample_is_the_same_on_every_machine():
    # The five smallest of `printf "7:task-$i" | sha256sum`.
    assert sample(IDS, 5, seed=7) == ["task-1", "task-13", "task-18", "task-82", "task-86"]


def test_another_seed_gives_another_sample():
    assert len({tuple(sample(IDS, 10, seed)) for seed in range(50)}) == 50


@given(unique_ids, st.integers(0, 40), st.integers())
def test_a_sample_has_the_size_asked_for_and_the_order_of_the_dataset(ids, n, seed):
    chosen = sample(ids, n, seed)
    assert len(chosen) == min(n, len(ids))
    assert chosen == [task_id for task_id in ids if task_id in chosen]


@given(unique_ids, st.integers(0, 40), st.integers(0, 40), st.integers())
def test_a_larger_sample_contains_the_smaller(ids, n, more, seed):
    assert set(sample(ids, n, seed)) <= set(sample(ids, n + more, seed))


@given(unique_ids, st.integers(0, 40), st.integers(), st.randoms())
def test_the_order_of_the_dataset_does_not_change_what_is_chosen(ids, n, seed, random):
    shuffled = random.sample(ids, len(ids))
    assert set(sample(ids, n, seed)) == set(sample(shuffled, n, seed))


def test_every_task_is_chosen_about_equally_often():
    seeds, n = 2000, 10
    times = dict.fromkeys(IDS, 0)
    for seed in range(seeds):
        for task_id in sample(IDS, n, seed):
            times[task_id] += 1
    # Binomial with a mean of 200 and a standard deviation of 13.4: five of those to each side.
    assert all(133 < count < 267 for count in times.values())


def test_a_negative_size_is_refused():
    with pytest.raises(ValueError, match="0 tasks or more, not -1"):
        sample(IDS, -1, seed=0)
