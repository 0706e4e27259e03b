from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import ledoit_wolf

from headstart.transferability.decomposed import decompose
from headstart.transferability.hscore import hscore, shrinkage


def dense(x, y, c):
    """The trace from (d, d) matrices, with scikit-learn's shrinkage."""
    x = x.astype(np.float64)
    covariance, alpha = ledoit_wolf(x)
    means = np.stack([x[y == k].mean(axis=0) if (y == k).any() else np.zeros(x.shape[1]) for k in range(c)])[y] - x.mean(axis=0)
    return np.trace(np.linalg.solve(covariance, (1 - alpha) * means.T @ means / len(y))), alpha


@pytest.mark.parametrize(("n", "d", "c"), [(200, 10, 3), (20, 60, 3), (30, 30, 5), (12, 300, 2), (50, 1, 3)])
def test_hscore_equals_the_dense_formula_with_scikit_learns_shrinkage(n, d, c, labelled):
    x, y = labelled(n, d, c, seed=d)
    expected, alpha = dense(x, y, c)
    assert shrinkage(decompose(x)) == pytest.approx(alpha, rel=1e-6, abs=1e-12)
    assert hscore(decompose(x), y, c) == pytest.approx(expected, rel=1e-6)


def test_columns_that_never_vary_count_as_scikit_learn_counts_them(labelled):
    x, y = labelled(40, 6, 3)
    x = np.column_stack([x, np.full((40, 4), 2.5, dtype=np.float32), np.full((40, 2), 1e-33, dtype=np.float32)])
    assert hscore(decompose(x), y, 3) == pytest.approx(dense(x, y, 3)[0], rel=1e-6)


def test_hscore_lies_between_0_and_the_classes_but_one(labelled):
    x, y = labelled(300, 4, 4, apart=0.0)
    # Four means at the corners of a tetrahedron fill three directions evenly, in which nothing else varies.
    assert 2.9 < hscore(decompose(x + np.float32(1000) * np.eye(4, dtype=np.float32)[y]), y, 4) <= 3.0
    assert hscore(decompose(np.ones((300, 4), dtype=np.float32)), y, 4) == 0.0
    assert 0.0 <= hscore(decompose(x), y, 4) < 0.1
