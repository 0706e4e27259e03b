from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import DataError, HeadstartError
from headstart.judge import metrics
from headstart.settings import Metric


def random_predictions(seed, n, c):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(c, 0.3), size=n), rng.integers(0, c, n)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), c=st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_accuracy_macro_f1_and_log_loss_equal_scikit_learn(seed, n, c):
    p, y = random_predictions(seed, n, c)
    guesses = p.argmax(axis=1)
    assert metrics.accuracy(p, y) == pytest.approx(reference.accuracy_score(y, guesses))
    assert metrics.macro_f1(p, y) == pytest.approx(reference.f1_score(y, guesses, average="macro", zero_division=0))
    assert metrics.log_loss(p, y) == pytest.approx(reference.log_loss(y, p, labels=range(c)))


@given(seed=st.integers(0, 10**6), n=st.integers(1, 60), c=st.integers(2, 9))
@settings(max_examples=40, deadline=None)
def test_class_scores_and_confusion_equal_scikit_learn(seed, n, c):
    p, y = random_predictions(seed, n, c)
    guesses = p.argmax(axis=1)
    confusion = metrics.confusion_matrix(p, y)
    assert (confusion == reference.confusion_matrix(y, guesses, labels=range(c))).all()
    expected = reference.precision_recall_fscore_support(y, guesses, labels=range(c), zero_division=0)
    for k, found in enumerate(metrics.class_scores(confusion, [f"label {k}" for k in range(c)])):
        assert found.label == f"label {k}"
        assert (found.precision, found.recall, found.f1, found.rows) == pytest.approx([column[k] for column in expected])


def test_score_follows_the_metric():
    p, y = np.array([[0.8, 0.2], [0.6, 0.4], [0.1, 0.9]]), np.array([0, 1, 1])
    assert metrics.score(Metric.ACCURACY, p, y) == pytest.approx(2 / 3)
    assert metrics.score(Metric.MACRO_F1, p, y) == pytest.approx(2 / 3)  # both classes: 2 * 1 / (2 + 1)
    assert metrics.score(Metric.LOG_LOSS, p, y) == pytest.approx(-(np.log(0.8) + np.log(0.4) + np.log(0.9)) / 3)


def test_an_impossible_row_costs_a_finite_loss():
    assert metrics.log_loss(np.array([[1.0, 0.0]]), np.array([1])) == pytest.approx(36.04, abs=0.01) == metrics.GREATEST_LOSS


def test_calibration_error_by_hand():
    # 20 rows make two bins: ten at confidence 0.6 of which 6 are right (gap 0), ten at 0.9 of which 5 are right (gap 0.4).
    p = np.array([[0.6, 0.4]] * 10 + [[0.9, 0.1]] * 10)
    y = np.array([0] * 6 + [1] * 4 + [0] * 5 + [1] * 5)
    assert metrics.calibration_error(p, y) == pytest.approx(0.5 * 0.0 + 0.5 * 0.4)


def test_calibration_error_of_a_calibrated_model_goes_to_zero():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(3), size=50_000)
    y = (p.cumsum(axis=1) < rng.random((50_000, 1))).sum(axis=1)
    assert metrics.calibration_error(p, y) < 0.012
    assert metrics.calibration_error(p[:, ::-1], y) > 0.2


@given(seed=st.integers(0, 10**6), n=st.integers(1, 400))
@settings(max_examples=60, deadline=None)
def test_bins_are_few_large_and_independent_of_row_order(seed, n):
    rng = np.random.default_rng(seed)
    confidences = rng.choice([0.5, 0.7, 0.9, 1.0], n) if seed % 2 else rng.random(n)
    bins = metrics.confidence_bins(confidences)
    order = rng.permutation(n)
    assert (metrics.confidence_bins(confidences[order]) == bins[order]).all()
    assert bins.max() < 15
    if seed % 2 == 0 and n >= 10:
        assert np.bincount(bins).min() >= 9


def test_refusals_say_what_is_wrong():
    with pytest.raises(DataError) as no_rows:
        metrics.check_predictions(np.empty((0, 2)), np.empty(0, dtype=np.int64))
    assert str(no_rows.value) == (
        "There are no rows to judge; give a test file with at least one labelled row, or a greater share of test rows."
    )
    with pytest.raises(HeadstartError) as diverged:
        metrics.check_predictions(np.array([[0.5, 0.5], [np.nan, 0.5]]), np.array([0, 1]))
    assert str(diverged.value) == (
        "The prediction for judged row 2 is not a number (1 such rows); "
        "the training diverged: lower the learning rate or choose another source."
    )
    with pytest.raises(ValueError, match="do not fit y"):
        metrics.check_predictions(np.ones((2, 2)), np.array([0]))
    with pytest.raises(ValueError, match="with 2 classes"):
        metrics.check_predictions(np.ones((1, 2)), np.array([2]))


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.MACRO_F1, Metric.LOG_LOSS])
def test_the_share_of_a_row_is_what_weighing_it_a_little_more_changes(draw, metric):
    """Against the score of rows of which one counts a thousandth more, from the counts themselves."""
    y, (p,) = draw(np.random.default_rng(3), 40, 4, [1.5], [0.5, 0.3, 0.15, 0.05])
    found = metrics.row_shares(metric, p, y)
    guesses, losses = p.argmax(axis=1), -np.log(p[np.arange(40), y])

    def weighed(weights):
        if metric is Metric.LOG_LOSS:
            return np.average(losses, weights=weights)
        if metric is Metric.ACCURACY:
            return np.average(guesses == y, weights=weights)
        return reference.f1_score(y, guesses, average="macro", zero_division=0, sample_weight=weights)

    moved = []
    for i in range(40):
        weights = np.ones(40)
        weights[i] += 1e-4
        moved.append((weighed(weights) - weighed(np.ones(40))) * 40 / 1e-4)
    assert found - found.mean() == pytest.approx(np.array(moved) - np.mean(moved), abs=0.01)
