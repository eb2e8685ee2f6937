import itertools
import json
import math
import subprocess
import sys
import time
from collections import Counter

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchhost.scoring import (
    bootstrap_interval,
    clustered_standard_error,
    compare,
    mcnemar,
    minimum_detectable_effect,
    paired_binary_interval,
)
from benchhost.scoring.bootstrap import resampled_means

SCORES = st.floats(-1e6, 1e6)
RUNS = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(SCORES, max_size=3))
BINARY_RUNS = st.dictionaries(st.sampled_from("abcdefgh"), st.lists(st.sampled_from([0.0, 1.0]), max_size=1))


def run(*scores):
    """A run of one epoch."""
    return {f"t{number}": [score] for number, score in enumerate(scores)}


def paired(won, lost, both_right, both_wrong):
    """Two runs of one epoch with so many flips."""
    pairs = [(0, 1)] * won + [(1, 0)] * lost + [(1, 1)] * both_right + [(0, 0)] * both_wrong
    return run(*(first for first, _ in pairs)), run(*(second for _, second in pairs))


# What a comparison says.


def test_the_difference_is_what_the_second_run_has_more():
    compared = compare(run(0, 0, 1, 0), run(1, 1, 1, 0))
    assert (compared.first, compared.second, compared.difference) == (0.25, 0.75, 0.5)


def test_flips_are_named_and_counted():
    compared = compare(run(0, 1, 1, 0, 1), run(1, 0, 1, 0, 1))
    assert (compared.won, compared.lost) == (("t0",), ("t1",))
    assert (compared.tied, compared.both_right, compared.both_wrong) == (3, 2, 1)


def test_only_tasks_with_a_score_in_both_runs_are_compared():
    first = {"both": [1.0], "first": [0.0], "not scored in the second": [0.0], "scored in neither": []}
    second = {"second": [0.0], "not scored in the second": [], "both": [1.0], "scored in neither": []}
    compared = compare(first, second)
    assert (compared.tasks, compared.first, compared.second) == (1, 1.0, 1.0)
    assert compared.only_first == ("first", "not scored in the second")
    assert compared.only_second == ("second",)


def test_runs_with_nothing_in_common_have_no_difference():
    compared = compare({"a": [1.0]}, {"b": [1.0]})
    assert (compared.tasks, compared.difference, compared.interval, compared.p_value) == (0, None, None, None)


def test_one_task_has_a_difference_of_unknown_error():
    compared = compare({"a": [0.25]}, {"a": [0.75]})
    assert compared.difference == 0.5
    assert (compared.standard_error, compared.interval, compared.bootstrap) == (None, None, None)


def test_two_short_runs_that_agree_are_not_certainly_equal():
    compared = compare(run(1, 1, 0), run(1, 1, 0))
    assert compared.difference == 0
    assert compared.interval.low < -0.3
    assert compared.interval.high > 0.3
    assert compared.p_value == 1.0
    assert compared.minimum_detectable is None


@pytest.mark.parametrize("score", [math.nan, math.inf, -math.inf, 1e200])
@pytest.mark.parametrize("worse", [0, 1])
def test_scores_that_cannot_be_reckoned_with_are_refused(score, worse):
    runs = [run(0.0, 1.0), run(0.0, 1.0)]
    runs[worse]["t1"] = [score]
    with pytest.raises(ValueError, match="of task 't1' cannot be compared"):
        compare(*runs)


@pytest.mark.parametrize("level", [0.0, 1.0, 95])
def test_a_level_is_between_0_and_1(level):
    with pytest.raises(ValueError, match=r"like 0\.95"):
        compare(run(0, 1), run(1, 1), level=level)


def test_the_largest_scores_give_finite_numbers():
    compared = compare(run(-1e150, 1e150, 3.0), run(1e150, -1e150, -1e150))
    assert math.isfinite(compared.standard_error)
    assert math.isfinite(compared.interval.high)
    assert math.isfinite(compared.bootstrap.high)


@given(st.one_of(st.tuples(RUNS, RUNS), st.tuples(BINARY_RUNS, BINARY_RUNS)))
def test_comparing_the_other_way_round_mirrors_everything(runs):
    there, back = compare(*runs, resamples=20), compare(*reversed(runs), resamples=20)
    assert there.tasks == back.tasks == len(there.won) + len(there.lost) + there.tied
    assert (set(there.won), set(there.lost), there.only_first) == (set(back.lost), set(back.won), back.only_second)
    assert (there.both_right, there.both_wrong, there.p_value) == (back.both_right, back.both_wrong, back.p_value)
    if there.tasks:
        assert there.difference == -back.difference
        assert there.difference == pytest.approx(there.second - there.first, abs=1e-6)
    if there.interval:
        assert there.interval.low == pytest.approx(-back.interval.high)
        assert there.interval.low <= there.difference <= there.interval.high


@given(RUNS, RUNS)
def test_a_comparison_is_json_without_nan(first, second):
    compared = compare(first, second, resamples=20)
    assert msgspec.convert(json.loads(msgspec.json.encode(compared)), type(compared)) == compared


# Against scipy.


@given(st.lists(st.tuples(SCORES, SCORES), min_size=2, max_size=30))
def test_the_interval_is_that_of_the_paired_t_test_of_scipy(pairs):
    first, second = (np.array(side) for side in zip(*pairs, strict=True))
    compared = compare(run(*first.tolist()), run(*second.tolist()), resamples=20)
    if compared.binary or np.ptp(second - first) < 1e-3:
        return
    theirs = stats.ttest_rel(second, first).confidence_interval(0.95)
    assert (compared.interval.low, compared.interval.high) == pytest.approx((theirs.low, theirs.high), abs=1e-4)


@given(st.integers(0, 3000), st.integers(0, 3000))
def test_mcnemar_is_the_binomial_test_of_scipy(won, lost):
    if won + lost == 0:
        assert mcnemar(won, lost) == 1.0
    else:
        assert mcnemar(won, lost) == pytest.approx(stats.binomtest(won, won + lost, 0.5).pvalue, rel=1e-9, abs=1e-300)


@pytest.mark.parametrize("won, lost", list(itertools.product(range(7), range(7))))
def test_mcnemar_counts_all_tosses_of_a_few_coins(won, lost):
    tosses = [abs(2 * sum(coins) - won - lost) for coins in itertools.product((0, 1), repeat=won + lost)]
    assert mcnemar(won, lost) == pytest.approx(sum(toss >= abs(won - lost) for toss in tosses) / len(tosses))


def test_mcnemar_of_a_million_flips_is_quick_and_right():
    began = time.process_time()
    ours = mcnemar(500_900, 499_100)
    assert time.process_time() - began < 0.1
    assert ours == pytest.approx(2 * stats.binom.cdf(499_100, 10**6, 0.5), rel=1e-7)


def test_mcnemar_refuses_negative_numbers():
    with pytest.raises(ValueError, match="-1 won"):
        mcnemar(-1, 3)


@pytest.mark.parametrize("counts", [(3, 3, 5), (-1, 2, 5), (0, 0, 0)])
def test_flips_are_among_the_tasks(counts):
    with pytest.raises(ValueError, match="are not among"):
        paired_binary_interval(*counts)


def test_the_interval_of_paired_proportions_is_that_of_its_authors_formula():
    # Worked by hand: n = 98, won 26, lost 6, so p = 0.27 and q = 0.07.
    interval = paired_binary_interval(26, 6, 98)
    assert interval.low == pytest.approx(0.20 - 1.959964 * math.sqrt((0.34 - 0.04) / 100))
    assert interval.high == pytest.approx(0.20 + 1.959964 * math.sqrt((0.34 - 0.04) / 100))


def test_the_published_solutions_of_gsm8k_differ_by_17_points(data):
    right = {"6b_finetuning": {}, "6b_verification": {}}
    for line in (data / "gsm8k" / "model_solutions_6b.jsonl").read_text("utf-8").splitlines():
        row = json.loads(line)
        right[row["model"]][str(row["index"])] = [float(row["is_correct"])]
    first, second = right["6b_finetuning"], right["6b_verification"]
    compared = compare(first, second)
    assert (compared.tasks, compared.only_first, compared.only_second) == (1319, (), ())
    assert round(100 * compared.difference, 2) == 17.36
    assert len(compared.won) - len(compared.lost) == 515 - 286
    assert compared.both_right + len(compared.lost) == 286
    flips = len(compared.won) + len(compared.lost)
    assert compared.p_value == pytest.approx(stats.binomtest(len(compared.won), flips, 0.5).pvalue, rel=1e-9)
    assert compared.p_value < 1e-30
    # On so many tasks, the paired t interval and the bootstrap say the same.
    differences = np.array([second[task][0] - first[task][0] for task in first])
    student = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    resampled = bootstrap_interval(differences.tolist())
    for other in (student, resampled):
        assert (compared.interval.low, compared.interval.high) == pytest.approx((other.low, other.high), abs=0.002)
    assert 0.14 < compared.interval.low < 0.1736 < compared.interval.high < 0.21


# Epochs.


def test_epochs_go_together_by_task():
    rng = np.random.default_rng(5)
    shape = (40, 4)
    first, second = rng.random(shape), rng.random(shape)
    compared = compare(*({str(task): list(row) for task, row in enumerate(side)} for side in (first, second)))
    clusters = [task for task in range(40) for _ in range(4)]
    assert compared.standard_error == pytest.approx(
        clustered_standard_error((second - first).ravel().tolist(), clusters)
    )
    assert compared.p_value is None


def test_a_task_with_more_epochs_does_not_count_more():
    compared = compare({"a": [0.0] * 9, "b": [1.0]}, {"a": [1.0], "b": [0.0] * 5})
    assert compared.difference == 0.0


# Bootstrap.


@pytest.fixture
def without_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "numpy", None)


SAMPLE = np.random.default_rng(1).choice([0.0, 0.25, 0.5, 1.0], 300).tolist()
WITHOUT_REPEATS = np.random.default_rng(2).gamma(2.0, 1.0, 60).tolist()


@pytest.mark.parametrize("values", [SAMPLE, WITHOUT_REPEATS], ids=["repeats", "distinct"])
def test_the_same_seed_gives_the_same_interval(values):
    assert bootstrap_interval(values, seed=7) == bootstrap_interval(values[::-1], seed=7)
    assert bootstrap_interval(values, seed=7) != bootstrap_interval(values, seed=8)


@pytest.mark.usefixtures("without_numpy")
def test_the_same_seed_gives_the_same_interval_without_numpy():
    assert bootstrap_interval(SAMPLE, seed=7) == bootstrap_interval(SAMPLE[::-1], seed=7)
    assert bootstrap_interval(SAMPLE, seed=7) != bootstrap_interval(SAMPLE, seed=8)


@pytest.mark.parametrize("values", [SAMPLE, WITHOUT_REPEATS], ids=["repeats", "distinct"])
@pytest.mark.parametrize("drawn_by", ["numpy", "the standard library"])
def test_resampled_means_are_distributed_as_theory_says(values, drawn_by, request):
    if drawn_by != "numpy":
        request.getfixturevalue("without_numpy")
    means = resampled_means(Counter(values), 4000, 0)
    spread = float(np.std(values)) / math.sqrt(len(values))
    assert len(means) == 4000
    assert math.fsum(means) / 4000 == pytest.approx(float(np.mean(values)), abs=4 * spread / math.sqrt(4000))
    assert math.sqrt(math.fsum((m - np.mean(values)) ** 2 for m in means) / 4000) == pytest.approx(spread, rel=0.05)


def test_the_interval_is_that_of_the_bootstrap_of_scipy():
    ours = bootstrap_interval(WITHOUT_REPEATS, resamples=20_000)
    theirs = stats.bootstrap((WITHOUT_REPEATS,), np.mean, n_resamples=20_000, method="percentile", rng=3)
    expected = (theirs.confidence_interval.low, theirs.confidence_interval.high)
    assert (ours.low, ours.high) == pytest.approx(expected, abs=0.1 * theirs.standard_error)


def test_values_that_are_all_the_same_leave_nothing_to_draw():
    interval = bootstrap_interval([0.1] * 3)
    assert (interval.low, interval.high) == (0.1, 0.1)


@pytest.mark.parametrize("values, resamples", [([], 10), ([1.0], 10), ([1.0, 2.0], 0)])
def test_what_cannot_be_resampled_is_refused(values, resamples):
    with pytest.raises(ValueError, match="no interval can be resampled"):
        bootstrap_interval(values, resamples=resamples)


def test_a_thousand_resamples_of_a_million_scores_take_less_than_10_ms():
    counts = {0.0: 400_000, 0.5: 100_000, 1.0: 500_000}
    best = min(cpu_seconds(lambda: resampled_means(counts, 1000, 0)) for _ in range(5))
    assert best < 0.01


def test_comparing_does_not_load_numpy_unless_it_is_needed():
    code = (
        "import sys\nfrom benchhost.scoring import compare\n"
        "compare({'a': [0], 'b': [1]}, {'a': [1], 'b': [1]})\nassert 'numpy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def cpu_seconds(work):
    began = time.process_time()
    work()
    return time.process_time() - began


# By simulation. 4,000 samples tell the coverage to within 0.7 % (two standard errors), 1,000 to within 1.4 %.
SAMPLES = 4000


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tasks, won, lost", [(50, 0.2, 0.1), (100, 0.15, 0.15), (500, 0.3, 0.05)])
def test_intervals_of_paired_proportions_cover_the_truth_so_often(seed, tasks, won, lost):
    drawn = np.random.default_rng(seed).multinomial(tasks, [won, lost, 1 - won - lost], SAMPLES).tolist()
    intervals = [paired_binary_interval(more, less, tasks) for more, less, _ in drawn]
    assert 0.93 <= np.mean([interval.low <= won - lost <= interval.high for interval in intervals]) <= 0.97


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tasks, flips", [(20, 0.4), (100, 0.1), (500, 0.3)])
def test_mcnemar_finds_a_difference_where_there_is_none_in_at_most_5_of_100_cases(seed, tasks, flips):
    drawn = np.random.default_rng(seed).multinomial(tasks, [flips / 2, flips / 2, 1 - flips], SAMPLES).tolist()
    assert np.mean([mcnemar(won, lost) <= 0.05 for won, lost, _ in drawn]) <= 0.05


@pytest.mark.parametrize("seed", range(3))
def test_intervals_of_epochs_cover_the_truth_so_often(seed):
    """Four epochs of thirty tasks of different difficulty; the second run is better by 0.1 on average."""
    rng = np.random.default_rng(seed)
    covered = 0
    for _ in range(1000):
        difficulty = rng.uniform(0.1, 0.7, (30, 1))
        gain = rng.uniform(0.0, 0.2, (30, 1))
        first = rng.random((30, 4)) < difficulty
        second = rng.random((30, 4)) < difficulty + gain
        runs = ({str(task): row for task, row in enumerate(side.astype(float).tolist())} for side in (first, second))
        interval = compare(*runs, resamples=1).interval
        covered += interval.low <= 0.1 <= interval.high
    assert 0.93 <= covered / 1000 <= 0.97


@pytest.mark.parametrize("seed", range(3))
def test_bootstrap_intervals_cover_the_truth_so_often(seed):
    drawn = np.random.default_rng(seed).choice([-0.5, 0.0, 0.25, 1.0], (1000, 150), p=[0.2, 0.5, 0.2, 0.1])
    intervals = [bootstrap_interval(values, resamples=600, seed=seed) for values in drawn.tolist()]
    assert 0.93 <= np.mean([interval.low <= 0.05 <= interval.high for interval in intervals]) <= 0.97


@pytest.mark.parametrize("seed", range(3))
def test_the_minimum_detectable_effect_is_found_in_four_of_five_cases(seed):
    tasks, spread = 60, 0.3
    effect = minimum_detectable_effect(spread / math.sqrt(tasks), tasks - 1)
    drawn = np.random.default_rng(seed).normal(effect, spread, (SAMPLES, tasks))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue <= 0.05
    assert np.mean(found) == pytest.approx(0.8, abs=0.025)


def test_more_tasks_make_smaller_effects_detectable():
    small, large = compare(*paired(5, 3, 10, 10)), compare(*paired(50, 30, 100, 100))
    assert large.minimum_detectable == pytest.approx(small.minimum_detectable / math.sqrt(10), rel=0.1)
