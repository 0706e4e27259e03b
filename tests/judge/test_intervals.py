from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import scipy.stats

from headstart.judge import bootstrap, intervals, metrics
from headstart.settings import Metric

METRICS = (Metric.ACCURACY, Metric.MACRO_F1, Metric.LOG_LOSS)  # of single labels

COMMON = {"confidence": 0.95, "resamples": 400, "seed": 3}


def test_wilson_equals_scipy():
    for right, n in [(0, 10), (10, 10), (7, 20), (480, 500)]:
        expected = scipy.stats.binomtest(right, n).proportion_ci(0.9, method="wilson")
        assert intervals.wilson(right / n, n, 0.9) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_every_resample_equals_the_metrics_of_the_rows_drawn(draw):
    """The sums give what scoring the resampled rows one by one would give."""
    rng = np.random.default_rng(0)
    y, (p,) = draw(rng, 40, 5, [2.0])
    unit_of_row = np.repeat(np.arange(20), 2)
    found = bootstrap.resampled([bootstrap.row_sums(p, y)], unit_of_row, 30, np.random.default_rng(9))[0]
    units_drawn = np.random.default_rng(9).integers(0, 20, size=(20, 30), dtype=np.int64)
    for b in range(30):
        rows = np.concatenate([[2 * unit, 2 * unit + 1] for unit in units_drawn[:, b]])
        assert found.accuracy[b] == pytest.approx(metrics.accuracy(p[rows], y[rows]))
        assert found.macro_f1[b] == pytest.approx(metrics.macro_f1(p[rows], y[rows]))
        assert found.log_loss[b] == pytest.approx(metrics.log_loss(p[rows], y[rows]))


def test_values_are_the_plain_metrics_and_lie_in_their_intervals(draw):
    for seed, n, signal in [(0, 1, 2.0), (1, 2, 9.0), (2, 30, 2.0), (3, 300, 5.0), (4, 300, 0.0)]:
        y, (p,) = draw(np.random.default_rng(seed), n, 4, [signal])
        found = intervals.scores(p, y, groups=None, **COMMON)
        assert found["accuracy"].value == metrics.accuracy(p, y)
        assert found["macro_f1"].value == metrics.macro_f1(p, y)
        assert found["log_loss"].value == metrics.log_loss(p, y)
        assert found["calibration_error"].value == metrics.calibration_error(p, y)
        for part in found.values():
            value, low, high, rows, confidence = dataclasses.astuple(part)
            assert 0 <= low <= value <= high and low < high and (rows, confidence) == (n, 0.95)


def test_a_perfect_score_on_few_rows_is_not_certain():
    p, y = np.eye(2)[[0, 1] * 10], np.array([0, 1] * 10)
    found = intervals.scores(p, y, groups=None, **COMMON)
    assert found["accuracy"].low == pytest.approx(0.839, abs=0.001)  # Wilson, 20 of 20
    assert found["macro_f1"].low == pytest.approx(0.839, abs=0.001)
    assert found["macro_f1"].high == 1.0


def test_losses_of_two_groups_have_an_interval_at_any_confidence():
    p, groups = np.tile([1.0, 0.0], (100, 1)), np.arange(100) > 0
    p[0] = [1e-16, 1.0]
    for confidence in (0.95, 0.999, 0.99999):
        found = intervals.scores(p, np.zeros(100, dtype=int), groups=groups, confidence=confidence, resamples=100, seed=0)["log_loss"]
        assert 0 < found.low < found.value < found.high == metrics.GREATEST_LOSS


def test_estimate_is_the_part_of_scores(draw):
    y, (p,) = draw(np.random.default_rng(5), 80, 3, [2.0])
    groups = np.arange(80) // 2
    whole = intervals.scores(p, y, groups=groups, **COMMON)
    for metric in METRICS:
        assert intervals.estimate(metric, p, y, groups=groups, **COMMON) == whole[metric.value]


def test_copies_of_rows_in_groups_do_not_narrow_the_intervals(draw):
    """Each row four times, as groups, tells no more than each row once."""
    y, (p,) = draw(np.random.default_rng(6), 100, 3, [2.0])
    once = intervals.scores(p, y, groups=None, **COMMON)
    copied = intervals.scores(np.tile(p, (4, 1)), np.tile(y, 4), groups=np.tile(np.arange(100), 4), **COMMON)
    naive = intervals.scores(np.tile(p, (4, 1)), np.tile(y, 4), groups=None, **COMMON)
    for name in ("accuracy", "macro_f1", "log_loss"):
        width = [scores[name].high - scores[name].low for scores in (once, copied, naive)]
        assert width[1] == pytest.approx(width[0], rel=0.12)
        assert width[2] < 0.6 * width[0]


def test_many_rows_in_bundles_vary_as_single_rows_do(draw):
    rng = np.random.default_rng(7)
    y, (p,) = draw(rng, 20_000, 4, [2.0])
    unit_of_row, independent = bootstrap.units(len(y), None, rng)
    assert independent == 20_000 and np.ptp(np.bincount(unit_of_row)) <= 1
    found = bootstrap.resampled([bootstrap.row_sums(p, y)], unit_of_row, 600, rng)[0]
    share = metrics.accuracy(p, y)
    assert found.accuracy.std() == pytest.approx(np.sqrt(share * (1 - share) / 20_000), rel=0.12)


def test_groups_stay_together_in_bundles():
    groups = np.repeat(np.arange(9_000), 3)
    unit_of_row, independent = bootstrap.units(len(groups), groups, np.random.default_rng(0))
    assert independent == 9_000
    assert (unit_of_row.reshape(-1, 3) == unit_of_row.reshape(-1, 3)[:, :1]).all()


def test_the_same_seed_gives_the_same_intervals(draw):
    y, (p,) = draw(np.random.default_rng(8), 60, 3, [2.0])
    first, second, other = (intervals.scores(p, y, groups=None, confidence=0.9, resamples=200, seed=seed) for seed in (1, 1, 2))
    assert first == second != other


def test_three_thousand_rows_of_77_classes_take_little_time(draw):
    y, (p,) = draw(np.random.default_rng(9), 3000, 77, [6.0])
    begun = time.process_time()
    intervals.scores(p, y, groups=None, confidence=0.95, resamples=2000, seed=0)
    assert time.process_time() - begun < 5  # about 0.6 s on a quiet machine
