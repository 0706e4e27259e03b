from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from headstart.errors import DataError
from headstart.transferability import knn as module
from headstart.transferability.knn import knn


def test_with_one_neighbour_it_equals_scikit_learn_without_the_row(labelled):
    x, y = labelled(60, 8, 4)
    right = [
        KNeighborsClassifier(1, metric="cosine").fit(np.delete(x, i, axis=0), np.delete(y, i)).predict(x[i : i + 1])[0] == y[i]
        for i in range(60)
    ]
    assert knn(x, y, np.arange(60), 4, k=1) == pytest.approx(np.mean(right))


@pytest.mark.parametrize("d", [6, 200])
@pytest.mark.parametrize("k", [1, 3, 5, 100])
def test_votes_equal_those_counted_row_by_row_without_the_rows_group(k, d, labelled, monkeypatch):
    x, y = labelled(50, d, 3, seed=k)
    groups = np.random.default_rng(k).integers(0, 20, 50)
    unit = x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
    right = 0
    for i in range(50):
        others = [j for j in np.argsort(-(unit @ unit[i])) if groups[j] != groups[i]][:k]
        votes = [(sum(y[j] == label for j in others), sum(unit[j] @ unit[i] for j in others if y[j] == label)) for label in range(3)]
        right += max(range(3), key=votes.__getitem__) == y[i]
    assert knn(x, y, groups, 3, k=k) == pytest.approx(right / 50)
    monkeypatch.setattr(module, "_CELLS", 350)  # blocks of seven rows
    assert knn(x, y, groups, 3, k=k) == pytest.approx(right / 50)


def test_a_copy_of_the_row_in_its_group_does_not_vote(labelled):
    x, y = labelled(40, 20, 2, apart=0.0)
    twice, labels = np.concatenate([x, x]), np.concatenate([y, y])
    assert knn(twice, labels, np.arange(80), 2, k=1) == 1.0
    assert knn(twice, labels, np.tile(np.arange(40), 2), 2, k=1) == knn(x, y, np.arange(40), 2, k=1) < 1.0


def test_rows_of_zeros_and_a_single_group():
    x, y = np.zeros((4, 3), dtype=np.float32), np.array([0, 1, 0, 1])
    assert 0.0 <= knn(x, y, np.arange(4), 2) <= 1.0
    with pytest.raises(DataError) as caught:
        knn(x, y, np.zeros(4, dtype=np.int64), 2)
    assert str(caught.value) == "All 4 rows are copies of one text, so no row has a neighbour to compare it with; add rows."
