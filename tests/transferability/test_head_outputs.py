"""LEEP and NCE, which look at what a source's own head says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import entropy
from sklearn.metrics import mutual_info_score

from headstart.transferability.leep import leep
from headstart.transferability.nce import nce


def drawn(seed, n, s, c):
    rng = np.random.default_rng(seed)
    return rng.dirichlet(np.full(s, 0.5), size=n), rng.permutation(np.arange(n) % c)


CASES = {"seed": st.integers(0, 10**6), "n": st.integers(4, 40), "s": st.integers(1, 6), "c": st.integers(2, 4)}


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_leep_equals_the_sums_written_out(seed, n, s, c):
    p, y = drawn(seed, n, s, c)
    total = 0.0
    for i in range(n):
        expected = 0.0
        for z in range(s):
            together = sum(p[j, z] for j in range(n) if y[j] == y[i]) / n
            expected += p[i, z] * together / (sum(p[:, z]) / n)
        total += np.log(expected)
    assert leep(p, y, c) == pytest.approx(total / n)
    assert leep(p, y, c) <= 0.0


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_nce_is_the_mutual_information_less_the_entropy_of_the_labels(seed, n, s, c):
    p, y = drawn(seed, n, s, c)
    expected = mutual_info_score(y, p.argmax(axis=1)) - entropy(np.bincount(y) / n)
    assert nce(p, y, c) == pytest.approx(expected, abs=1e-12)
    assert -np.log(c) - 1e-12 <= nce(p, y, c) <= 0.0


@given(**CASES)
@settings(max_examples=25, deadline=None)
def test_order_and_names_do_not_matter_and_a_sure_head_makes_both_the_same(seed, n, s, c):
    p, y = drawn(seed, n, s, c)
    rng = np.random.default_rng(seed)
    order, names, columns = rng.permutation(n), rng.permutation(c), rng.permutation(s)
    for score in (leep, nce):
        assert score(p[order][:, columns], names[y[order]], c) == pytest.approx(score(p, y, c), abs=1e-12)
    sure = np.eye(s)[p.argmax(axis=1)]
    assert leep(sure, y, c) == pytest.approx(nce(p, y, c), abs=1e-12)


def test_a_head_that_knows_scores_0_and_one_that_says_nothing_the_entropy_of_the_labels():
    y = np.array([0, 0, 0, 1])
    knows = np.array([[0, 1, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float32)
    assert leep(knows, y, 2) == nce(knows, y, 2) == 0.0
    nothing = np.full((4, 3), 1 / 3, dtype=np.float32)
    entropy_of_y = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert leep(nothing, y, 2) == pytest.approx(-entropy_of_y) and nce(nothing, y, 2) == pytest.approx(-entropy_of_y)
