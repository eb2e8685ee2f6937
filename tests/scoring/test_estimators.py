import itertools
import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchhost.scoring import (
    clustered_standard_error,
    mean,
    pass_at_k,
    standard_error,
    student_t_interval,
    wilson_interval,
)

SCORES = st.floats(-1e6, 1e6)


@given(st.lists(SCORES, min_size=1))
def test_the_mean_is_that_of_the_statistics_module(values):
    assert mean(values) == pytest.approx(statistics.fmean(values))


def test_the_mean_survives_cancellation():
    assert mean([1e16, 1.0, -1e16, 1.0]) == 0.5


@given(st.lists(SCORES, min_size=2))
def test_the_standard_error_is_that_of_scipy(values):
    assert standard_error(values) == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)), abs=1e-9)


@pytest.mark.parametrize("values", [[], [0.5]])
def test_the_spread_of_fewer_than_two_values_is_unknown(values):
    with pytest.raises(ValueError, match="two values or more"):
        standard_error(values)


def test_the_mean_of_nothing_is_refused():
    with pytest.raises(ValueError, match="no values"):
        mean([])


@given(st.integers(1, 2000).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_the_wilson_interval_is_that_of_scipy(counts):
    ours = wilson_interval(*counts)
    theirs = stats.binomtest(*counts).proportion_ci(method="wilson")
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert 0.0 <= ours.low <= counts[0] / counts[1] <= ours.high <= 1.0


@pytest.mark.parametrize("successes, trials", [(0, 0), (3, 2), (-1, 5)])
def test_what_is_no_proportion_is_refused(successes, trials):
    with pytest.raises(ValueError, match="no proportion"):
        wilson_interval(successes, trials)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_between_0_and_1(level):
    with pytest.raises(ValueError, match=r"like 0\.95"):
        wilson_interval(1, 2, level)
    with pytest.raises(ValueError, match=r"like 0\.95"):
        student_t_interval(0.5, 0.1, 9, level)


def test_the_t_interval_is_that_of_scipy():
    values = [0.2, 0.9, 0.4, 0.7, 0.7]
    ours = student_t_interval(mean(values), standard_error(values), 4, 0.99)
    assert (ours.low, ours.high) == pytest.approx(stats.t.interval(0.99, 4, np.mean(values), stats.sem(values)))


@given(st.lists(SCORES, min_size=2))
def test_clusters_of_one_value_change_nothing(values):
    clustered = clustered_standard_error(values, range(len(values)))
    assert clustered == pytest.approx(standard_error(values), abs=1e-9)


def test_repeating_every_value_tells_nothing_new():
    values = [0.0, 1.0, 1.0, 0.0, 1.0]
    clustered = clustered_standard_error(values * 4, list(range(5)) * 4)
    assert clustered == pytest.approx(standard_error(values))


@pytest.mark.parametrize("values, clusters", [([1.0, 2.0], "a"), ([1.0, 2.0], "aa"), ([], "")])
def test_clusters_that_say_nothing_are_refused(values, clusters):
    with pytest.raises(ValueError, match="clusters"):
        clustered_standard_error(values, clusters)


@given(st.integers(1, 9).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n), st.integers(1, n))))
def test_pass_at_k_is_the_share_of_all_choices_that_hold_a_pass(counts):
    attempts, passed, k = counts
    choices = list(itertools.combinations([True] * passed + [False] * (attempts - passed), k))
    assert pass_at_k(attempts, passed, k) == pytest.approx(sum(map(any, choices)) / len(choices))


def test_pass_at_k_is_stable_for_many_attempts():
    assert pass_at_k(100_000, 100, 1) == pytest.approx(0.001)
    assert pass_at_k(100_000, 1, 100_000) == 1.0


@pytest.mark.parametrize("counts", [(5, 6, 1), (5, -1, 1), (5, 2, 0), (5, 2, 6)])
def test_pass_at_k_refuses_impossible_counts(counts):
    with pytest.raises(ValueError, match="cannot"):
        pass_at_k(*counts)


# By simulation. 4,000 samples tell the coverage to within 0.7 % (two standard errors).
SAMPLES = 4000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("trials, share", [(30, 0.4), (100, 0.1), (500, 0.7)])
def test_wilson_intervals_of_95_percent_cover_the_truth_so_often(seed, trials, share):
    drawn = np.random.default_rng(seed).binomial(trials, share, SAMPLES)
    intervals = [wilson_interval(int(successes), trials) for successes in drawn]
    assert 0.93 <= np.mean([interval.low <= share <= interval.high for interval in intervals]) <= 0.97


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("size", [5, 50])
def test_t_intervals_of_95_percent_cover_the_truth_so_often(seed, size):
    drawn = np.random.default_rng(seed).normal(0.6, 0.2, (SAMPLES, size)).tolist()
    intervals = [student_t_interval(mean(values), standard_error(values), size - 1) for values in drawn]
    assert 0.93 <= np.mean([interval.low <= 0.6 <= interval.high for interval in intervals]) <= 0.97


@pytest.mark.parametrize("seed", range(3))
def test_clustered_intervals_cover_the_truth_where_plain_ones_do_not(seed):
    groups, per_group = 40, 5
    random = np.random.default_rng(seed)
    shared = random.normal(0.0, 0.2, (SAMPLES, groups, 1))
    drawn = (0.5 + shared + random.normal(0.0, 0.1, (SAMPLES, groups, per_group))).reshape(SAMPLES, -1).tolist()
    clusters = [group for group in range(groups) for _ in range(per_group)]

    def coverage(error_of, degrees):
        intervals = [student_t_interval(mean(values), error_of(values), degrees) for values in drawn]
        return np.mean([interval.low <= 0.5 <= interval.high for interval in intervals])

    assert 0.93 <= coverage(lambda values: clustered_standard_error(values, clusters), groups - 1) <= 0.97
    assert coverage(standard_error, groups * per_group - 1) < 0.8


@pytest.mark.parametrize("seed", range(3))
def test_pass_at_k_is_unbiased(seed):
    passed = np.random.default_rng(seed).binomial(10, 0.2, SAMPLES)
    estimate = np.mean([pass_at_k(10, int(count), 3) for count in passed])
    assert estimate == pytest.approx(1 - 0.8**3, abs=0.02)
