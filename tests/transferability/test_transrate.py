from __future__ import annotations

import numpy as np
import pytest

from headstart.transferability.decomposed import decompose
from headstart.transferability.transrate import transrate


def dense(x, y, c, distortion):
    """Coding rates from (d, d) covariance matrices, classes weighted by their rows."""
    z = x.astype(np.float64)
    error = distortion * z.var(axis=0).mean()

    def rate(rows):
        return 0.5 * np.linalg.slogdet(np.eye(z.shape[1]) + np.cov(rows.T, bias=True) / error)[1]

    return rate(z) - sum((y == k).mean() * rate(z[y == k]) for k in range(c) if (y == k).any())


@pytest.mark.parametrize("distortion", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize(("n", "d", "c"), [(120, 8, 3), (20, 60, 4), (30, 30, 2), (40, 12, 9)])
def test_transrate_equals_the_dense_formula(n, d, c, distortion, labelled):
    x, y = labelled(n, d, c, seed=c)
    x = np.column_stack([x, np.full((n, 2), 3.0, dtype=np.float32)])  # columns that never vary count in the mean variance
    assert transrate(decompose(x), y, c + 1, distortion) == pytest.approx(dense(x, y, c, distortion), rel=1e-7)


def test_transrate_is_0_where_all_classes_spread_alike_and_grows_as_they_part(labelled):
    x, _ = labelled(30, 5, 2)
    alike, y = np.concatenate([x, x]), np.repeat([0, 1], 30)
    assert transrate(decompose(alike), y, 2) == pytest.approx(0.0, abs=1e-9)
    assert transrate(decompose(np.ones((60, 5), dtype=np.float32)), y, 2) == 0.0
    scores = []
    for apart in (0.0, 1.0, 3.0):
        x, y = labelled(400, 5, 3, apart=apart)
        scores.append(transrate(decompose(x), y, 3))
    assert scores == sorted(scores) and scores[0] < 0.05 < 0.5 < scores[2]


def test_opposite_means_of_two_equal_classes_are_seen():
    """Centred on the mean of all rows, as the paper writes it, both classes would have the spread of all rows, and the score would be 0."""
    x = np.array([-4, -2, 2, 4], dtype=np.float32)[:, None]
    # The variance of all is 10, of each class 1; the distortion adds 10 to both.
    assert transrate(decompose(x), np.array([0, 0, 1, 1]), 2) == pytest.approx(0.5 * np.log((10 + 10) / (10 + 1)))
