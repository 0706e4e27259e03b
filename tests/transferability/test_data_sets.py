"""What compares two data sets: mean similarity, MMD, proxy A-distance, vocabulary."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.distance import cdist, pdist
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.model_selection import cross_val_score

from headstart.errors import DataError
from headstart.transferability import mmd as mmd_module
from headstart.transferability.a_distance import a_distance
from headstart.transferability.mean_similarity import mean_similarity
from headstart.transferability.mmd import mmd, squared_distances
from headstart.transferability.vocabulary import vocabulary


def two_sets(n, m, d, shift, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)).astype(np.float32), (rng.normal(size=(m, d)) + shift).astype(np.float32)


# --- mean similarity ---


def test_mean_similarity_by_hand():
    one = np.array([[1, 0], [3, 0]], dtype=np.float32)
    assert mean_similarity(one, np.array([[5, 5]], dtype=np.float32)) == pytest.approx(np.cos(np.pi / 4))
    assert mean_similarity(one, -one) == pytest.approx(-1.0)
    assert mean_similarity(one, one[::-1] * 7) == 1.0
    assert mean_similarity(one, np.array([[1, 1], [-1, -1]], dtype=np.float32)) == 0.0


# --- MMD ---


@pytest.mark.parametrize("d", [5, 300])
@pytest.mark.parametrize("block", [7, 1024])
def test_mmd_equals_the_sums_over_all_pairs_with_the_median_distance(block, d, monkeypatch):
    monkeypatch.setattr(mmd_module, "_BLOCK", block)
    one, other = two_sets(30, 20, d, 0.7)
    one, other = one + 50, other + 50
    gamma = 1 / (2 * np.median(pdist(np.concatenate([one, other]).astype(np.float64))) ** 2)
    kernels = [rbf_kernel(a.astype(np.float64), b.astype(np.float64), gamma) for a, b in ((one, one), (other, other), (one, other))]
    own = [(k.sum() - np.trace(k)) / (len(k) * (len(k) - 1)) for k in kernels[:2]]
    assert mmd(one, other) == pytest.approx(sum(own) - 2 * kernels[2].mean(), abs=1e-10)


@given(seed=st.integers(0, 10**6), n=st.integers(2, 60), d=st.integers(1, 8))
@settings(max_examples=25, deadline=None)
def test_mmd_of_a_set_with_itself_is_0_but_for_the_pairs_of_a_row_with_itself(seed, n, d):
    x, other = two_sets(n, n + 3, d, 1.0, seed)
    # Those n pairs of n^2 stand between the sets only, and a kernel lies between 0 and 1.
    assert -2 / n <= mmd(x, x) <= 1e-12
    assert mmd(x, other) == pytest.approx(mmd(other, x), abs=1e-12)
    assert mmd(np.float32(4) * x, np.float32(4) * other) == pytest.approx(mmd(x, other), abs=1e-9)


def test_mmd_is_unbiased_and_sees_a_shift():
    same = [mmd(*two_sets(40, 40, 3, 0.0, seed)) for seed in range(60)]
    assert abs(np.mean(same)) < 4 * np.std(same) / np.sqrt(60) and min(same) < 0
    assert mmd(*two_sets(40, 40, 3, 1.0)) > 4 * np.std(same)


def test_mmd_of_many_rows_is_near_that_of_the_drawn_ones():
    one, other = two_sets(3000, 2000, 4, 0.5)
    assert mmd(one, other, most_rows=800, seed=1) == pytest.approx(mmd(one, other), abs=0.01)
    assert mmd(one, other, most_rows=800, seed=1) == mmd(one, other, most_rows=800, seed=1) != mmd(one, other, most_rows=800, seed=2)


def test_mmd_of_sets_whose_rows_are_equal():
    ones = np.ones((4, 3), dtype=np.float32)
    assert mmd(ones, ones) == 0.0
    # Within sets all pairs are equal, between them all as far apart as the median: 1 + 1 - 2 exp(-1/2).
    assert mmd(ones, 0 * ones) == pytest.approx(2 - 2 * np.exp(-0.5))


def test_squared_distances_equal_scipy():
    one, other = (each.astype(np.float64) for each in two_sets(6, 9, 4, 1.0))
    np.testing.assert_allclose(squared_distances(one, other), cdist(one, other, "sqeuclidean"), atol=1e-12)


# --- proxy A-distance ---


def test_a_distance_is_near_that_of_another_linear_classifier():
    for shift in (0.0, 0.4, 0.8, 5.0):
        one, other = two_sets(400, 400, 4, shift)
        accuracy = cross_val_score(LinearDiscriminantAnalysis(), np.concatenate([one, other]), np.repeat([0, 1], 400), cv=5).mean()
        assert a_distance(one, other) == pytest.approx(max(2 * (2 * accuracy - 1), 0.0), abs=0.12)


def test_a_distance_of_fewer_rows_than_columns_is_near_that_of_another_linear_classifier():
    for shift in (0.0, 0.1, 0.3):
        one, other = two_sets(100, 100, 400, shift)
        model = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
        accuracy = cross_val_score(model, np.concatenate([one, other]), np.repeat([0, 1], 100), cv=5).mean()
        assert a_distance(one, other) == pytest.approx(max(2 * (2 * accuracy - 1), 0.0), abs=0.25)


def test_a_distance_draws_as_many_rows_of_the_larger_set():
    one, other = two_sets(900, 60, 3, 0.0)
    # A classifier that called all rows those of the larger set would be right 94 times of 100.
    assert a_distance(one, other) < 0.6
    assert a_distance(one, other, seed=3) == a_distance(one, other, seed=3)
    far = two_sets(900, 60, 3, 10.0)
    assert a_distance(*far) == a_distance(*far, most_rows=10) == 2.0


# --- vocabulary ---


def test_vocabulary_counts_running_words_whatever_their_case():
    target = ["My card, my card!", "Refund?"]
    assert vocabulary(["a CARD is lost"], target) == pytest.approx(2 / 5)
    assert vocabulary(["my", "card"], target) == pytest.approx(4 / 5)
    assert vocabulary(target, ["card", "", "STRASSE"]) == vocabulary([*target, "und so"], ["card", "Straße"]) == 0.5
    assert vocabulary([], target) == 0.0 and vocabulary(target, target) == 1.0


# --- refusals ---


def test_sets_that_are_too_small_or_of_two_sources_are_refused():
    x = np.zeros((3, 2), dtype=np.float32)
    for score in (mmd, a_distance):
        with pytest.raises(DataError) as few:
            score(x, x[:1])
        assert str(few.value) == "The target data set has 1 row; to compare it with another at least 2 are needed: add rows."
    with pytest.raises(DataError) as none:
        mean_similarity(x[:0], x)
    assert str(none.value) == "The source data set has 0 rows; to compare it with another at least 1 are needed: add rows."
    with pytest.raises(ValueError) as widths:
        mmd(x, x[:, :1])
    assert str(widths.value) == "features of shapes (3, 2) and (3, 1) are not of one source"
    with pytest.raises(DataError) as wordless:
        vocabulary(["a"], ["?!", ""])
    assert str(wordless.value) == ("None of the target's 2 texts has a word, so its vocabulary cannot be compared; give other texts.")
