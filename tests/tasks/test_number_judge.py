import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.number_judge import SHOWN, NumberJudge, correlation_of, correlation_sums
from small import widths

JUDGE, QUICK = NumberJudge(), Settings(resamples=400)


def rows_of(y):
    return Rows(tuple(f"t{i}" for i in range(len(y))), np.asarray(y, dtype=np.float64).reshape(-1, 1), 1)


def drawn(seed, n=80, correlation=0.6, scale=1.0, mean=0.0):
    rng = np.random.default_rng(seed)
    x, noise = rng.normal(size=(2, n))
    y = correlation * x + np.sqrt(1 - correlation**2) * noise
    return (x * scale + mean).reshape(-1, 1), y * scale + mean


@pytest.mark.parametrize(("scale", "mean"), [(1.0, 0.0), (1e4, 1e6), (1e-3, 5.0)])
def test_all_scores_are_those_of_scipy_and_scikit_learn_in_any_unit(scale, mean):
    x, y = drawn(1, scale=scale, mean=mean)
    scores = JUDGE.scores(x, rows_of(y), None, QUICK)
    assert scores["spearman"].value == pytest.approx(spearmanr(x[:, 0], y).statistic)
    assert scores["pearson"].value == pytest.approx(pearsonr(x[:, 0], y).statistic)
    assert scores["r2"].value == pytest.approx(r2_score(y, x[:, 0]))
    assert scores["rmse"].value == pytest.approx(root_mean_squared_error(y, x[:, 0]))
    assert scores["mean_absolute_error"].value == pytest.approx(mean_absolute_error(y, x[:, 0]))
    for name, estimate in scores.items():
        assert estimate.low <= estimate.value <= estimate.high, name


def test_the_unit_changes_no_interval_but_in_its_own_measure():
    one, other = (JUDGE.scores(x, rows_of(y), None, QUICK) for x, y in (drawn(2), drawn(2, scale=1000.0, mean=700.0)))
    for name in ("spearman", "pearson", "r2"):
        assert (one[name].low, one[name].high) == (pytest.approx(other[name].low), pytest.approx(other[name].high))
    assert other["rmse"].high == pytest.approx(1000 * one["rmse"].high)


def test_copies_of_rows_in_groups_do_not_narrow_the_intervals():
    x, y = drawn(3, n=120)
    found = widths(JUDGE, x, rows_of(y))
    assert set(found) == {"spearman", "pearson", "r2", "rmse", "mean_absolute_error"}
    for name, (once, copied, naive) in found.items():
        assert copied == pytest.approx(once, rel=0.15) and naive < 0.65 * once, name


def test_the_share_of_variance_explained_is_not_told_where_nothing_varies():
    found = JUDGE.scores(drawn(3, n=9)[0], rows_of([2.5] * 9), None, QUICK)["r2"]
    assert np.isnan([found.value, found.low, found.high]).all() and found.n == 9


def test_the_share_of_variance_explained_has_its_interval_the_right_way_round():
    x, y = drawn(3)
    found = JUDGE.scores(x, rows_of(y), None, QUICK)["r2"]
    assert found.low < found.value < found.high


@pytest.mark.parametrize(("n", "correlation"), [(40, 0.3), (40, 0.9), (200, 0.0), (200, 0.6)])
@pytest.mark.parametrize("metric", [Metric.PEARSON, Metric.SPEARMAN])
def test_the_interval_of_a_correlation_holds_the_truth(n, correlation, metric):
    truth = correlation if metric is Metric.PEARSON else 6 / np.pi * np.arcsin(correlation / 2)  # of normal numbers
    held = 0
    for seed in range(150):
        x, y = drawn(1000 + seed, n, correlation)
        found = JUDGE.estimate(metric, x, rows_of(y), None, Settings(resamples=200))
        held += found.low <= truth <= found.high
    assert 132 <= held <= 150


def test_the_interval_of_a_correlation_is_near_fishers():
    x, y = drawn(9, n=400, correlation=0.7)
    found = JUDGE.estimate(Metric.PEARSON, x, rows_of(y), None, Settings(resamples=2000))
    exact = pearsonr(x[:, 0], y).confidence_interval(0.95)
    assert (found.low, found.high) == (pytest.approx(exact.low, abs=0.02), pytest.approx(exact.high, abs=0.02))


@given(st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)), min_size=2, max_size=20))
@settings(max_examples=80, deadline=None)
def test_a_correlation_lies_between_minus_one_and_one_and_is_nothing_of_what_does_not_vary(pairs):
    x, y = np.array(pairs).T
    found = float(correlation_of(correlation_sums(x, y).sum(axis=0)))
    assert -1 <= found <= 1
    if len(set(x)) == 1 or len(set(y)) == 1:
        assert found == 0


def test_two_rows_say_nothing_and_one_group_says_nothing():
    alone = JUDGE.estimate(Metric.PEARSON, np.zeros((4, 1)), rows_of([1, 2, 3, 4]), np.zeros(4, dtype=np.int64), QUICK)
    assert (alone.value, alone.low, alone.high) == (0.0, -1.0, 1.0)


def test_gain_and_contrast_are_differences_of_the_correlations():
    x, y = drawn(3, n=300, correlation=0.9)
    worse = x + 2 * np.random.default_rng(0).normal(size=x.shape)
    rows = rows_of(y)
    gain = JUDGE.gain((x, worse), ("a", "b"), Metric.PEARSON, rows, None, None, QUICK)
    apart = pearsonr(x[:, 0], y).statistic - pearsonr(worse[:, 0], y).statistic
    assert gain.value == pytest.approx(apart) and 0 < gain.low < apart < gain.high
    contrast = JUDGE.contrast(Metric.PEARSON, x, worse, rows)
    assert contrast.difference == pytest.approx(apart)
    rng = np.random.default_rng(1)
    again = []
    for _ in range(400):
        some = rng.integers(0, 300, 300)
        again.append(np.corrcoef(x[some, 0], y[some])[0, 1] - np.corrcoef(worse[some, 0], y[some])[0, 1])
    assert contrast.shares.var() / 300 == pytest.approx(np.var(again), rel=0.35)


def test_what_is_shown_are_pairs_of_truth_and_prediction_of_at_most_a_thousand_rows():
    x, y = drawn(5, n=2500)
    seen = JUDGE.seen(Said(x), rows_of(y), ["number"])
    assert seen.numbers[0] == (y[0], x[0, 0]) and len(seen.numbers) <= SHOWN and (seen.classes, seen.confusion) == ((), ())
