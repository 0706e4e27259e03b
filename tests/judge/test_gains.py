from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from headstart.judge import metrics
from headstart.judge.gains import paired_gain
from headstart.records import Verdict
from headstart.settings import Metric

METRICS = (Metric.ACCURACY, Metric.MACRO_F1, Metric.LOG_LOSS)  # of single labels

COMMON = {"winner": "probe", "opponent": "tfidf", "confidence": 0.95, "resamples": 300, "seed": 0}


def test_the_gain_is_the_difference_and_positive_is_better(draw):
    y, (good, bad) = draw(np.random.default_rng(0), 400, 4, [5.0, 2.0])
    for metric in METRICS:
        gain = paired_gain(good, bad, y, metric, groups=None, folds=None, **COMMON)
        difference = metrics.score(metric, good, y) - metrics.score(metric, bad, y)
        assert gain.value == pytest.approx(abs(difference))
        assert gain.verdict is Verdict.HELPS and 0 < gain.low < gain.value < gain.high
        assert (gain.metric, gain.n, gain.confidence, gain.winner, gain.opponent) == (metric.value, 400, 0.95, "probe", "tfidf")
        turned = paired_gain(bad, good, y, metric, groups=None, folds=None, **COMMON)
        assert turned.verdict is Verdict.HURTS
        assert (turned.value, turned.low, turned.high) == pytest.approx((-gain.value, -gain.high, -gain.low))


def test_the_interval_of_log_loss_is_the_paired_t_test(draw):
    y, (a, b) = draw(np.random.default_rng(1), 60, 3, [2.0, 2.0])
    gain = paired_gain(a, b, y, Metric.LOG_LOSS, groups=None, folds=None, **COMMON)
    expected = scipy.stats.ttest_rel(metrics.row_losses(b, y), metrics.row_losses(a, y)).confidence_interval(0.95)
    assert (gain.low, gain.high) == pytest.approx((expected.low, expected.high))


def test_equal_predictions_differ_by_nothing_but_not_certainly_so(draw):
    y, (p,) = draw(np.random.default_rng(2), 50, 3, [2.0])
    gain = paired_gain(p, p, y, Metric.ACCURACY, groups=None, folds=None, **COMMON)
    assert gain.value == 0 and gain.verdict is Verdict.UNCLEAR
    assert gain.high == -gain.low == pytest.approx(scipy.stats.t.ppf(0.975, 49) * np.sqrt(2) / 50)


def test_four_rows_won_and_none_lost_of_fifty_is_no_proof():
    y = np.zeros(50, dtype=np.int64)
    right, wrong = np.eye(2)[[0] * 50], np.eye(2)[[1] * 4 + [0] * 46]
    assert paired_gain(right, wrong, y, Metric.ACCURACY, groups=None, folds=None, **COMMON).verdict is Verdict.UNCLEAR
    wrong = np.eye(2)[[1] * 8 + [0] * 42]
    assert paired_gain(right, wrong, y, Metric.ACCURACY, groups=None, folds=None, **COMMON).verdict is Verdict.HELPS


def test_a_single_row_decides_nothing():
    gain = paired_gain(np.eye(2)[[0]], np.eye(2)[[1]], np.array([0]), Metric.ACCURACY, groups=None, folds=None, **COMMON)
    assert (gain.low, gain.value, gain.high, gain.verdict) == (-1.0, 1.0, 1.0, Verdict.UNCLEAR)


def test_copies_in_groups_count_once(draw):
    y, (a, b) = draw(np.random.default_rng(3), 80, 3, [2.5, 2.0])
    copies = {"groups": np.tile(np.arange(80), 5), "folds": None}
    for metric in METRICS:
        once = paired_gain(a, b, y, metric, groups=None, folds=None, **COMMON)
        copied = paired_gain(np.tile(a, (5, 1)), np.tile(b, (5, 1)), np.tile(y, 5), metric, **copies, **COMMON)
        assert copied.high - copied.low == pytest.approx(once.high - once.low, rel=0.12)


def test_folds_that_disagree_widen_the_interval(draw):
    """By hand: five folds of 20 rows; the winner is right everywhere in three of them and nowhere in two, the opponent nowhere."""
    y = np.zeros(100, dtype=np.int64)
    folds = np.repeat(np.arange(5), 20)
    winner, opponent = np.eye(2)[np.where(folds < 3, 0, 1)], np.eye(2)[[1] * 100]
    by_rows = paired_gain(winner, opponent, y, Metric.ACCURACY, groups=None, folds=None, **COMMON)
    by_folds = paired_gain(winner, opponent, y, Metric.ACCURACY, groups=None, folds=folds, **COMMON)
    # Variance of 1, 1, 1, 0, 0 is 0.3; of that half of what rows of a fold explain, five times the variance over all rows, is taken off.
    rows = 0.6 * 0.4 / 99 + 2 / 100**2
    more = scipy.stats.t.ppf(0.975, 4) ** 2 * (1 / 5 + 1 / 4) * (0.3 - 0.5 * 5 * rows)
    half = np.sqrt(scipy.stats.t.ppf(0.975, 99) ** 2 * rows + more)
    assert by_rows.verdict is Verdict.HELPS
    assert by_folds.low == pytest.approx(0.6 - half) and by_folds.high == 1.0 and by_folds.verdict is Verdict.UNCLEAR


def test_folds_that_agree_leave_the_interval_of_the_rows(draw):
    rng = np.random.default_rng(4)
    y = np.zeros(100, dtype=np.int64)
    won = np.tile([0] * 5 + [1] * 15, 5)  # the same share in every fold
    winner, opponent = np.eye(2)[np.zeros(100, dtype=int)], np.eye(2)[won]
    args = (winner, opponent, y, Metric.ACCURACY)
    folds = np.repeat(np.arange(5), 20)
    order = rng.permutation(100)
    assert paired_gain(*args, groups=None, folds=folds, **COMMON) == paired_gain(*args, groups=None, folds=None, **COMMON)
    shuffled = paired_gain(winner[order], opponent[order], y, Metric.ACCURACY, groups=None, folds=folds[order], **COMMON)
    assert shuffled.high == pytest.approx(paired_gain(*args, groups=None, folds=folds, **COMMON).high)
