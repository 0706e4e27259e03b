"""kNN: the share of rows whose nearest other rows bear their label.

Cover and Hart 1967, "Nearest Neighbor Pattern Classification"; as a measure of transfer Puigcerver et al. 2021, "Scalable Transfer Learning
with Expert Models" (arXiv 2009.13239). Intuition: in features that suit the task, rows of one class lie together.

Assumed: the angle between two rows says how alike they are. Nothing is assumed of the classes' shapes.

Letters in shapes: n rows, d width, b rows of a block, c classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.errors import DataError
from headstart.strategies.heads import threads
from headstart.transferability.decomposed import check_labels
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs

_CELLS = 2**24  # similarities held at once: 64 MB


def knn(features: NDArray[np.float32], y: IntArray, groups: IntArray, n_classes: int, k: int = 5) -> float:
    """Leave-one-out accuracy in [0, 1] of the k neighbours' vote by cosine; greater is better.

    Args:
        features: (n, d). A row of zeros is like no other row.
        y: class numbers (n,) in [0, n_classes).
        groups: (n,) one number for rows that must not be parted: a row's neighbours are of other groups.
        n_classes: how many classes there are.
        k: neighbours that vote, 1 or more; where there are fewer rows of other groups, all of them. Equal votes go to the more alike.

    Memory: 64 MB and a few copies of the features, however many rows.

    Raises:
        DataError: fewer than two classes have rows, or all rows are of one group.
    """
    check_labels(y, len(features), n_classes)
    n = len(y)
    if len(np.unique(groups)) < 2:
        raise DataError(f"All {n:,} rows are copies of one text, so no row has a neighbour to compare it with; add rows.")
    lengths = np.sqrt(np.einsum("nd,nd->n", features, features, dtype=np.float64))
    unit = (features / np.where(lengths > 0, lengths, 1.0)[:, None]).astype(np.float32)
    k = min(k, n - 1)
    right = 0
    rows = max(1, _CELLS // n)
    for at in range(0, n, rows):
        block = slice(at, at + rows)
        with threads(unit.size):
            alike = unit[block] @ unit.T  # (b, n)
        alike[groups[block][:, None] == groups] = -np.inf
        nearest = np.argpartition(alike, n - k, axis=1)[:, n - k :]
        near = np.take_along_axis(alike, nearest, axis=1)
        votes = np.zeros((len(near), n_classes))
        # A thousandth of the similarity decides between equal votes and never outweighs one.
        weights = np.where(np.isfinite(near), 1.0 + 1e-3 / k * near, 0.0)
        np.add.at(votes, (np.arange(len(near))[:, None], y[nearest]), weights)
        right += int((votes.argmax(axis=1) == y[block]).sum())
    return right / n


def _score(given: LabelledFeatures) -> float:
    return knn(given.features, given.y, given.groups, given.n_classes)


ESTIMATOR = Estimator(
    name="knn",
    needs=Needs.FEATURES,
    summary="leave-one-out accuracy of the five nearest rows' vote",
    paper="Puigcerver et al. 2021, arXiv 2009.13239",
    range=(0.0, 1.0),
    greater_is_better=True,
    score=_score,
)
