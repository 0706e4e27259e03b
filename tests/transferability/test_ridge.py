from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.metrics import accuracy_score, f1_score, log_loss

from headstart.data.split import folds
from headstart.settings import Metric
from headstart.transferability.decomposed import decompose, one_hot
from headstart.transferability.ridge import STRENGTHS, fold_predictions, ridge_score

STRENGTHS_TRIED = (0.5, 20.0, 3000.0)


@pytest.mark.parametrize(
    ("n", "d", "k", "why"),
    [(60, 7, 3, "folds of more rows than the rank"), (60, 20, 5, "of fewer"), (15, 50, 3, "n below d"), (20, 20, 20, "single rows")],
)
def test_predictions_equal_refitting_without_each_fold(n, d, k, why, labelled):
    x, y = labelled(n, d, 3, seed=n + d)
    parts = folds(y, np.arange(n) // 2, k, seed=0)
    found = fold_predictions(decompose(x), y, 3, parts, STRENGTHS_TRIED)
    assert found.shape == (3, n, 3)
    exact = x.astype(np.float64)
    for at, strength in enumerate(STRENGTHS_TRIED):
        for train, held in parts:
            fitted = Ridge(alpha=strength, solver="svd").fit(exact[train], np.eye(3)[y[train]])
            np.testing.assert_allclose(found[at, held], fitted.predict(exact[held]), atol=1e-8, err_msg=why)


def test_rows_that_no_fold_holds_are_nan_and_do_not_count(labelled):
    x, y = labelled(30, 5, 2)
    held = np.arange(12)
    parts = [(np.arange(12, 30), held)]
    probe = ridge_score(decompose(x), y, 2, parts)
    assert np.isnan(probe.predictions[12:]).all() and np.isfinite(probe.predictions[:12]).all()
    assert probe.score == pytest.approx(accuracy_score(y[:12], probe.predictions[:12].argmax(axis=1)))


@pytest.mark.parametrize(("n", "d"), [(80, 10), (20, 60)])
def test_the_penalty_has_the_least_held_out_error_of_refitted_probes(n, d, labelled):
    x, y = labelled(n, d, 2, seed=4, apart=0.5)
    parts = folds(y, np.arange(n), 4, seed=1)
    unit = ((x - x.mean(axis=0)).astype(np.float64) ** 2).sum() / n
    errors = []
    for strength in STRENGTHS:
        fits = [(Ridge(alpha=strength * unit, solver="svd").fit(x[a].astype(float), one_hot(y[a], 2)), b) for a, b in parts]
        errors.append(sum(((fit.predict(x[b].astype(float)) - one_hot(y[b], 2)) ** 2).sum() for fit, b in fits))
    assert ridge_score(decompose(x), y, 2, parts).strength == STRENGTHS[int(np.argmin(errors))]


def test_the_score_is_of_the_metric_asked_for(labelled):
    x, y = labelled(90, 6, 3)
    parts = folds(y, np.arange(90), 5, seed=0)
    probe = ridge_score(decompose(x), y, 3, parts)
    np.testing.assert_allclose(probe.predictions.sum(axis=1), 1.0, atol=1e-9)
    guesses = probe.predictions.argmax(axis=1)
    assert probe.score == pytest.approx(accuracy_score(y, guesses)) and probe.score > 0.6
    assert ridge_score(decompose(x), y, 3, parts, Metric.MACRO_F1).score == pytest.approx(f1_score(y, guesses, average="macro"))
    cut = np.clip(probe.predictions, 0.01, None)
    expected = log_loss(y, cut / cut.sum(axis=1, keepdims=True))
    assert ridge_score(decompose(x), y, 3, parts, Metric.LOG_LOSS).score == pytest.approx(expected)


def test_features_that_never_vary_predict_the_shares_of_the_training_rows():
    y = np.array([0, 0, 0, 1, 1, 0])
    parts = [(np.array([2, 3, 4, 5]), np.array([0, 1])), (np.array([0, 1, 2, 4]), np.array([3, 5]))]
    found = ridge_score(decompose(np.ones((6, 2), dtype=np.float32)), y, 2, parts).predictions
    np.testing.assert_allclose(found[[0, 1]], [[0.5, 0.5]] * 2, atol=1e-12)
    np.testing.assert_allclose(found[[3, 5]], [[0.75, 0.25]] * 2, atol=1e-12)


def test_folds_and_penalties_that_do_not_fit_are_refused(labelled):
    x, y = labelled(10, 3, 2)
    whole = decompose(x)
    first, rest = np.arange(3), np.arange(3, 10)
    for parts in ([(rest[1:], first)], [(rest, first), (rest, first)], [(first[:0], np.arange(10))]):
        with pytest.raises(ValueError) as folded:
            fold_predictions(whole, y, 2, parts, [1.0])
        assert str(folded.value) == "each fold must train on all of the 10 rows that it does not hold, and a row is held at most once"
    with pytest.raises(ValueError) as strength:
        fold_predictions(whole, y, 2, [(rest, first)], [1.0, 0.0])
    assert str(strength.value) == "the penalty 0.0 is not above 0"
