from __future__ import annotations

import numpy as np
import pytest
from scipy.linalg import helmert
from scipy.optimize import minimize
from scipy.stats import multivariate_normal

from headstart.transferability.decomposed import decompose
from headstart.transferability.logme import logme


def dense_evidence(x, column, log_alpha, log_beta):
    """log p(column), but for its mean: the n - 1 contrasts of a column with covariance I / beta + F F^T / alpha."""
    contrasts = helmert(len(x))  # (n - 1, n), orthonormal rows that sum to 0
    f = contrasts @ x.astype(np.float64)
    covariance = np.eye(len(f)) / np.exp(log_beta) + f @ f.T / np.exp(log_alpha)
    return multivariate_normal(np.zeros(len(f)), covariance).logpdf(contrasts @ column)


def greatest(x, column):
    starts = [(a, b) for a in (-2.0, 3.0, 8.0) for b in (1.0, 5.0)]
    found = [
        minimize(lambda p: -dense_evidence(x, column, *p), start, method="L-BFGS-B", bounds=[(-6, 18), (-6, 14)], options={"ftol": 1e-13})
        for start in starts
    ]
    return -min(each.fun for each in found)


@pytest.mark.parametrize(("n", "d", "c"), [(40, 6, 3), (14, 40, 2), (21, 20, 2), (20, 20, 3)])
def test_logme_is_the_greatest_dense_evidence_on_both_sides_of_n_equal_d(n, d, c, labelled):
    """With fewer rows than columns the determinant has as many factors as there are singular values; with d factors in their place, as in
    two public implementations, the number is no evidence: 55 for a row where the density says -0.07.
    """
    x, y = labelled(n, d, c, seed=n)
    expected = np.mean([greatest(x, (y == k).astype(float)) for k in range(c)]) / (n - 1)
    assert logme(decompose(x), y, c) == pytest.approx(expected, abs=2e-6)


def test_features_that_say_nothing_leave_the_evidence_of_noise(labelled):
    y = np.repeat([0, 1], 10)
    constant = decompose(np.ones((20, 4), dtype=np.float32))
    # 20 rows, half of them 1: 19 contrasts whose squares sum to 5.
    assert logme(constant, y, 2) == pytest.approx(-0.5 * (np.log(2 * np.pi * 5 / 19) + 1))
    # One column that is the same in both classes: the weights' variance shrinks to 0.
    same = decompose(np.tile(np.arange(10.0), 2)[:, None].astype(np.float32))
    assert logme(same, y, 2) == pytest.approx(logme(constant, y, 2), abs=1e-6)


def test_labels_that_follow_without_noise_have_a_finite_evidence_above_all_others(labelled):
    x, y = labelled(60, 5, 2)
    x[:, 0] = 1000 * y
    exact = logme(decompose(x), y, 2)
    x[0, 0] = 1000 * (1 - y[0])
    assert np.isfinite(exact) and exact > logme(decompose(x), y, 2) + 1


def test_classes_without_rows_do_not_count(labelled):
    x, y = labelled(30, 5, 3)
    assert logme(decompose(x), 2 * y, 7) == pytest.approx(logme(decompose(x), y, 3))


def test_the_unit_and_a_shift_of_the_features_change_nothing(labelled):
    for n, d in ((40, 10), (10, 40)):
        x, y = labelled(n, d, 2)
        moved = (np.float32(250.0) * x + np.float32(7.0)).astype(np.float32)
        assert logme(decompose(moved), y, 2) == pytest.approx(logme(decompose(x), y, 2), abs=1e-4)
