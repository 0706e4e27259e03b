"""Proxy A-distance: how well a linear classifier tells rows of one data set from rows of another.

Ben-David et al. 2007, "Analysis of Representations for Domain Adaptation" (NeurIPS 19). Intuition: where no line parts two domains, what is
learned on the one holds on the other.

Assumed: both sets were read by the same source, and no row stands in both (a copy held out would count as an error). The classifier is the
ridge probe of this room, on folds of both sets in equal numbers.

Letters in shapes: n rows of the one set, m of the other, d width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.split import folds
from headstart.transferability.decomposed import FloatArray, decompose
from headstart.transferability.pairs import check_pair, draw
from headstart.transferability.registry import Estimator, FeaturePair, Needs
from headstart.transferability.ridge import ridge_score

MOST_ROWS = 2000
_FOLDS = 5


def a_distance(
    source: NDArray[np.float32] | FloatArray, target: NDArray[np.float32] | FloatArray, *, seed: int = 0, most_rows: int = MOST_ROWS
) -> float:
    """2 (1 - 2 error) in [0, 2]: 0 where the sets cannot be told apart, 2 where they always can; smaller is nearer.

    Args:
        source: (n, d).
        target: (m, d).
        seed: of the draws and of the folds.
        most_rows: used of each set, 2 or more; of the larger set as many as of the smaller, drawn by chance.

    Raises:
        DataError: a set has fewer than two rows.
    """
    check_pair(source, target, least=2)
    rows = min(len(source), len(target), most_rows)
    features = np.concatenate([draw(source, rows, seed), draw(target, rows, seed)])
    y = np.repeat(np.arange(2), rows)
    parts = folds(y, np.arange(2 * rows), _FOLDS, seed)
    accuracy = ridge_score(decompose(features), y, 2, parts).score
    return max(2.0 * (2.0 * accuracy - 1.0), 0.0)


def _score(given: FeaturePair) -> float:
    return a_distance(given.source, given.target, seed=given.seed)


ESTIMATOR = Estimator(
    name="a_distance",
    needs=Needs.DATA_SETS,
    summary="how well a linear classifier tells the two sets apart",
    paper="Ben-David et al. 2007, NeurIPS 19",
    range=(0.0, 2.0),
    greater_is_better=False,
    score=_score,
)
