from __future__ import annotations

import numpy as np
import pytest

from headstart.errors import DataError, SourceError
from headstart.transferability.decomposed import check_labels, decompose

BOTH_SIDES = pytest.mark.parametrize(("n", "d"), [(50, 8), (8, 50), (20, 20), (1, 5), (2, 5), (5000, 3)])


@BOTH_SIDES
def test_the_parts_make_the_features_again_and_are_orthonormal(n, d, labelled):
    x, _ = labelled(n, d, 1)
    found = decompose(x)
    assert found.n == n and found.width == d and len(found.s) == min(n - 1, d)
    np.testing.assert_allclose(found.mean + (found.u * found.s) @ found.vt, x, atol=1e-9)
    np.testing.assert_allclose(found.u.T @ found.u, np.eye(len(found.s)), atol=1e-9)
    np.testing.assert_allclose(found.vt @ found.vt.T, np.eye(len(found.s)), atol=1e-9)
    np.testing.assert_allclose(found.u.sum(axis=0), 0.0, atol=1e-10)


@pytest.mark.parametrize(("n", "d"), [(60, 12), (12, 60)])
def test_singular_values_equal_numpy_s_over_three_decades(n, d, labelled):
    x, _ = labelled(n, d, 1)
    x *= np.geomspace(1, 1e-3, d, dtype=np.float32)
    centred = x.astype(np.float64) - x.mean(axis=0, dtype=np.float64)
    np.testing.assert_allclose(decompose(x).s, np.linalg.svd(centred, compute_uv=False)[: min(n - 1, d)], rtol=1e-8)


def test_dead_constant_and_repeated_columns_add_no_direction(labelled):
    x, _ = labelled(40, 6, 1)
    rng = np.random.default_rng(0)
    dead = (1e-33 * rng.normal(size=(40, 3))).astype(np.float32)
    constant = np.full((40, 2), 0.1, dtype=np.float32)
    for rows in (40, 5):
        whole = decompose(np.column_stack([x, dead, constant, x[:, :1]])[:rows])
        alone = decompose(np.column_stack([x, x[:, :1]])[:rows])
        assert len(whole.s) == min(rows - 1, 6)
        np.testing.assert_allclose(whole.s, alone.s, rtol=1e-9)


def test_rows_that_are_all_the_same_have_rank_0():
    for n, d in ((6, 3), (3, 6)):
        found = decompose(np.full((n, d), 0.3, dtype=np.float32))
        assert found.u.shape == (n, 0) and found.s.shape == (0,) and found.vt.shape == (0, d)


def test_features_that_cannot_be_decomposed_are_refused():
    with pytest.raises(DataError) as none:
        decompose(np.empty((0, 3), dtype=np.float32))
    assert str(none.value) == "There are no rows to rank sources with; give a file with labelled rows."
    with pytest.raises(SourceError) as unfit:
        decompose(np.array([[1.0, np.nan], [1.0, 2.0], [np.inf, 0.0]], dtype=np.float32))
    assert str(unfit.value) == "The source gives numbers that are not finite for 2 of 3 texts; choose another source."


def test_labels_that_do_not_fit_are_refused():
    with pytest.raises(DataError) as one_class:
        check_labels(np.array([1, 1, 1]), 3, 2)
    assert str(one_class.value) == "The 3 rows to rank sources with have fewer than two classes; give rows of at least two."
    with pytest.raises(ValueError) as shape:
        check_labels(np.array([0, 1]), 3, 2)
    assert str(shape.value) == "y of shape (2,) does not fit 3 rows"
    with pytest.raises(ValueError) as outside:
        check_labels(np.array([0, 2]), 2, 2)
    assert str(outside.value) == "y holds class numbers from 0 to 2; with 2 classes they start at 0"
