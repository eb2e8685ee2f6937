import json
import math
import statistics
import sys
import time
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchhost import Result
from benchhost.scoring import final_score, mean, standard_error, student_t_interval, summarise, wilson_interval

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RESULTS = st.builds(
    Result,
    score=FINITE,
    passed=st.sampled_from([None, True, False]),
    metrics=st.dictionaries(st.sampled_from(["f1", "seconds"]), FINITE),
)


def scored(*scores):
    return [Result(score=score) for score in scores]


def test_scores_of_0_and_1_get_a_wilson_interval():
    summary = summarise(scored(1, 0, 1, 1))
    assert summary.mean == 0.75
    assert summary.interval == wilson_interval(3, 4)


@pytest.mark.parametrize(
    "scores,low,high", [((1, 1, 0.75), None, 1.0), ((0, 0.25), 0.0, 1.0), ((0.0, 0.1, 0), 0.0, None)]
)
def test_the_interval_of_scores_between_0_and_1_stays_there(scores, low, high):
    interval = summarise(scored(*scores)).interval
    uncut = student_t_interval(mean(scores), standard_error(scores), len(scores) - 1)
    expected = (uncut.low if low is None else low, uncut.high if high is None else high)
    assert (interval.low, interval.high) == pytest.approx(expected)
    assert 0 <= interval.low < interval.high <= 1


@given(st.lists(st.floats(0, 1), min_size=2))
def test_the_mean_of_scores_between_0_and_1_lies_in_their_interval(scores):
    summary = summarise(scored(*scores))
    assert 0 <= summary.interval.low <= summary.mean <= summary.interval.high <= 1


@pytest.mark.parametrize("scores", [(0, 0.5, 1.5), (-0.5, 0.5, 1), (3, 60)])
def test_the_interval_of_scores_beyond_0_and_1_is_not_cut(scores):
    uncut = student_t_interval(mean(scores), standard_error(scores), len(scores) - 1)
    interval = summarise(scored(*scores)).interval
    assert (interval.low, interval.high) == pytest.approx((uncut.low, uncut.high))
    assert interval.low < 0
    assert interval.high > 1


def test_other_scores_get_a_t_interval():
    summary = summarise(scored(0.2, 0.9, 0.4))
    assert summary.interval.method == "student-t"
    assert summary.standard_error == pytest.approx(standard_error([0.2, 0.9, 0.4]))


def test_one_graded_score_has_no_interval_and_one_verdict_has():
    assert summarise(scored(0.5)).interval is None
    assert summarise(scored(1.0)).interval == wilson_interval(1, 1)


def test_a_missing_result_is_no_zero_and_both_bounds_are_stated():
    summary = summarise({"a": Result(score=1.0), "b": None, "c": Result(score=0.5), "d": None})
    assert (summary.given, summary.scored, summary.coverage) == (4, 2, 0.5)
    assert (summary.mean, summary.missing_left_out, summary.missing_as_zero) == (0.75, 0.75, 0.375)


def test_the_level_of_the_interval_can_be_chosen():
    narrow, wide = (summarise(scored(0.2, 0.9, 0.4), level).interval for level in (0.5, 0.99))
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_pass_rate_is_over_the_results_that_have_a_verdict():
    summary = summarise([Result(score=1, passed=True), Result(score=0, passed=False), Result(score=0.5), None])
    assert (summary.judged, summary.passed, summary.pass_rate) == (2, 1, 0.5)
    assert summarise(scored(0.5)).pass_rate is None


def test_a_metric_is_averaged_over_the_results_that_have_it():
    results = [Result(score=1, metrics={"f1": 0.5}), Result(score=1, metrics={"f1": 1.0, "words": 7}), *scored(0)]
    assert summarise(results).metrics == {"f1": 0.75, "words": 7.0}


def test_an_iterator_is_enough():
    assert summarise(iter(scored(1, 0))) == summarise(scored(1, 0))


@pytest.mark.parametrize("results", [[], [None, None]])
def test_when_nothing_is_scored_the_final_score_is_0_without_an_interval(results):
    final = final_score(summarise(results))
    assert final.score == 0.0
    assert final.metadata["mean"] is final.metadata["interval"] is final.metadata["standard_error"] is None
    assert final.metadata["coverage"] == (0.0 if results else None)


def test_the_final_score_is_the_mean_over_the_scored_ones():
    final = final_score(summarise([*scored(1, 0.5), None]))
    assert final.score == 0.75
    assert final.metadata["missing_as_zero"] == 0.5
    assert final.metadata["interval"]["method"] == "student-t"


@given(st.lists(st.none() | RESULTS, max_size=20))
def test_whatever_finite_numbers_come_json_can_say_the_final_score(results):
    final = final_score(summarise(results))
    assert math.isfinite(final.score)
    assert json.loads(json.dumps(final.metadata, allow_nan=False)) == final.metadata


def test_the_largest_floats_have_a_mean():
    assert summarise(scored(*[sys.float_info.max] * 3)).mean == pytest.approx(sys.float_info.max)


@given(st.lists(st.floats(-1e9, 1e9), min_size=2, max_size=50), st.integers(1, 400))
def test_blocks_are_joined_without_a_trace(scores, copies):
    many = scores * copies
    summary = summarise(scored(*many))
    assert summary.mean == pytest.approx(statistics.fmean(many), rel=1e-12, abs=1e-12)
    rounding = 1e-9 + 1e-15 * max(map(abs, scores))  # of the other's mean
    assert summary.standard_error == pytest.approx(standard_error(many), rel=1e-9, abs=rounding)


def test_a_small_spread_about_a_large_mean_is_kept():
    summary = summarise(scored(*([1e9, 1e9 + 1] * 10_000)))
    assert summary.mean == 1e9 + 0.5
    assert summary.standard_error == pytest.approx(0.5 / math.sqrt(20_000), rel=1e-4)


def test_a_number_that_became_nan_is_named():
    broken = Result(score=1.0, metrics={"f1": 1.0})
    broken.metrics["f1"] = math.nan
    with pytest.raises(ValueError, match="a metric 'f1' among the results is not a finite number"):
        summarise([broken])


def test_a_million_results_take_seconds():
    result = Result(score=0.25, passed=True, metrics={"f1": 0.5})
    start = time.process_time()
    summary = summarise(result if number % 4 else None for number in range(1_000_000))
    assert time.process_time() - start < 10
    assert (summary.scored, summary.mean, summary.metrics, summary.passed) == (750_000, 0.25, {"f1": 0.5}, 750_000)


def test_memory_does_not_grow_with_the_results():
    tracemalloc.start()
    try:
        summarise(Result(score=number / 7, metrics={"f1": number / 3}) for number in range(100_000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000  # bytes; the results alone would be ten times that


# 4,000 samples tell the coverage to within 0.7 % (two standard errors).
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("graded", [False, True])
def test_the_interval_of_a_summary_covers_the_truth_as_often_as_it_says(seed, graded):
    random = np.random.default_rng(seed)
    drawn = random.uniform(0, 1, (4000, 100)) if graded else random.integers(0, 2, (4000, 100))
    intervals = [summarise(scored(*row)).interval for row in drawn.tolist()]
    assert 0.93 <= np.mean([interval.low <= 0.5 <= interval.high for interval in intervals]) <= 0.97
