"""Do the intervals hold what they promise? Simulated samples from a population whose true values are known."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from headstart.judge import metrics
from headstart.judge.gains import paired_gain
from headstart.judge.intervals import scores
from headstart.records import Verdict
from headstart.settings import Metric

METRICS = (Metric.ACCURACY, Metric.MACRO_F1, Metric.LOG_LOSS)  # of single labels

UNEVEN = [0.6, 0.25, 0.1, 0.05]


def chance_bounds(rate, trials):
    """Between which counts a rate lies in all but one of ten thousand simulations."""
    return scipy.stats.binom.ppf(0.00005, trials, rate), scipy.stats.binom.ppf(0.99995, trials, rate)


def covered(draw, n, signal, prior, trials, seed):
    """How often each interval of `scores` holds the truth."""
    y, (p,) = draw(np.random.default_rng(99), 200_000, 4, [signal], prior)
    truth = {"accuracy": metrics.accuracy(p, y), "macro_f1": metrics.macro_f1(p, y), "log_loss": metrics.log_loss(p, y)}
    rng = np.random.default_rng(seed)
    hits = dict.fromkeys(truth, 0)
    for trial in range(trials):
        y, (p,) = draw(rng, n, 4, [signal], prior)
        found = scores(p, y, groups=None, confidence=0.95, resamples=300, seed=trial)
        for name, value in truth.items():
            estimate = found[name]
            hits[name] += estimate.low <= value <= estimate.high
    return hits


def check_coverage(hits, trials):
    # Discreteness and skew cost a little: 92 % must be in reach for shares, 90 % for the loss.
    assert hits["accuracy"] >= chance_bounds(0.935, trials)[0]
    assert hits["macro_f1"] >= chance_bounds(0.925, trials)[0]
    assert hits["log_loss"] >= chance_bounds(0.91, trials)[0]


def test_intervals_hold_the_truth_of_a_small_test_set(draw):
    check_coverage(covered(draw, 50, 5.0, None, 200, 0), 200)


@pytest.mark.slow
@pytest.mark.parametrize("prior", [None, UNEVEN])
@pytest.mark.parametrize("signal", [1.0, 5.0])
@pytest.mark.parametrize("n", [50, 200, 1000])
def test_intervals_hold_the_truth(draw, n, signal, prior):
    check_coverage(covered(draw, n, signal, prior, 500, 1), 500)


def false_alarms(draw, metric, n, prior, trials, seed, signal=2.0):
    rng = np.random.default_rng(seed)
    alarms = 0
    for trial in range(trials):
        y, (a, b) = draw(rng, n, 4, [signal, signal], prior)
        gain = paired_gain(a, b, y, metric, winner="a", opponent="b", groups=None, folds=None, confidence=0.95, resamples=300, seed=trial)
        alarms += gain.verdict is not Verdict.UNCLEAR
    return alarms


@pytest.mark.parametrize("metric", METRICS)
def test_equal_models_raise_an_alarm_no_more_often_than_promised(draw, metric):
    alarms = false_alarms(draw, metric, 200, None, 200, 2)
    low, high = chance_bounds(0.05, 200)
    assert low <= alarms <= high


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n", "prior"), [(50, None), (200, UNEVEN), (1000, None)])
def test_false_alarms_in_many_trials(draw, metric, n, prior):
    alarms = false_alarms(draw, metric, n, prior, 1500, 3)
    assert alarms <= chance_bounds(0.055, 1500)[1]
    if n >= 200:
        assert alarms >= chance_bounds(0.03, 1500)[0]


@pytest.mark.parametrize("metric", METRICS)
def test_a_true_gain_of_ten_points_is_found(draw, metric):
    rng = np.random.default_rng(4)
    verdicts = []
    for trial in range(20):
        y, (a, b) = draw(rng, 300, 4, [3.0, 2.2])
        gain = paired_gain(a, b, y, metric, winner="a", opponent="b", groups=None, folds=None, confidence=0.95, resamples=200, seed=trial)
        verdicts.append(gain.verdict)
    assert verdicts.count(Verdict.HELPS) >= 17


def out_of_fold(rng, n, k, noise):
    """Two ways of training that are equal on average; each fold's two models are better or worse by chance of their training rows."""
    folds = np.arange(n) % k
    right = [rng.random(n) < 0.7 + rng.normal(scale=noise, size=k)[folds] for _ in range(2)]
    return folds, [np.eye(2)[(~one).astype(int)] for one in right]


def fold_alarms(trials, noise, use_folds):
    rng = np.random.default_rng(5)
    y = np.zeros(400, dtype=np.int64)
    alarms = 0
    for trial in range(trials):
        folds, (a, b) = out_of_fold(rng, 400, 5, noise)
        common = {"groups": None, "confidence": 0.95, "resamples": 100, "seed": trial, "winner": "a", "opponent": "b"}
        gain = paired_gain(a, b, y, Metric.ACCURACY, folds=folds if use_folds else None, **common)
        alarms += gain.verdict is not Verdict.UNCLEAR
    return alarms / trials


def varied(rng, n, c, k, spread, rates):
    """Labels, folds, and guesses of two rungs that are right at these rates, each fold's models more or less so: by chance of training rows
    that they have mostly in common, so that a k-th of their variance is common to all."""
    y = rng.permutation(np.arange(n) % c)
    folds = np.empty(n, dtype=np.int64)
    for label in range(c):
        rows = np.flatnonzero(y == label)
        folds[rows] = (np.arange(len(rows)) + rng.integers(k)) % k
    ease, guesses = rng.random(n), []
    for rate in rates:
        moved = spread * (np.sqrt(1 / k) * rng.normal() + np.sqrt(1 - 1 / k) * rng.normal(size=k))
        right = np.where(rng.random(n) < 0.5, ease, rng.random(n)) < np.clip(rate + moved[folds], 0, 1)
        guesses.append(np.eye(c)[np.where(right, y, (y + 1 + rng.integers(c - 1, size=n)) % c)])
    return y, folds, guesses


def verdicts(n, c, spread, rates, trials, seed):
    rng, found = np.random.default_rng(seed), []
    for trial in range(trials):
        y, folds, (a, b) = varied(rng, n, c, 5, spread, rates)
        common = {"groups": None, "confidence": 0.95, "resamples": 200, "seed": trial, "winner": "a", "opponent": "b"}
        found.append(paired_gain(a, b, y, Metric.MACRO_F1, folds=folds, **common).verdict)
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("n", "c"), [(40, 2), (60, 6), (150, 3), (400, 10)])
@pytest.mark.parametrize("spread", [0.0, 0.03, 0.06])
def test_over_folds_equal_rungs_raise_an_alarm_no_more_often_than_promised(n, c, spread):
    found = verdicts(n, c, spread, (0.7, 0.7), 500, 6)
    assert sum(each is not Verdict.UNCLEAR for each in found) <= chance_bounds(0.05, 500)[1]


def test_what_is_plain_in_sixty_rows_is_told_over_folds_too():
    """57 of 60 right against 40, as two out of three: no fold of twelve rows can hide that."""
    found = verdicts(60, 6, 0.03, (0.95, 0.67), 30, 7)
    assert found.count(Verdict.HELPS) >= 20


def test_models_that_vary_with_their_training_rows_need_the_intervals_of_folds():
    assert fold_alarms(400, 0.08, use_folds=False) > 0.12
    assert fold_alarms(400, 0.08, use_folds=True) < 0.05
