"""Maximum mean discrepancy: how far two sets of features are from being draws of one distribution.

Gretton et al. 2012, "A Kernel Two-Sample Test" (JMLR 13), its unbiased estimate of the squared discrepancy (equation 3). Intuition: if two
sets are alike, a row of the one is as near to rows of the other as to those of its own.

Assumed: both sets were read by the same source, and one length tells near from far: the median distance of all rows, the usual choice.

Letters in shapes: n rows of the one set, m of the other, d width, b rows of a block.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.strategies.heads import threads
from headstart.transferability.decomposed import FloatArray
from headstart.transferability.pairs import check_pair, draw
from headstart.transferability.registry import Estimator, FeaturePair, Needs

MOST_ROWS = 4000
_MOST_FOR_MEDIAN = 500
_BLOCK = 1024


def mmd(
    source: NDArray[np.float32] | FloatArray, target: NDArray[np.float32] | FloatArray, *, seed: int = 0, most_rows: int = MOST_ROWS
) -> float:
    """Squared discrepancy in [-2, 2], below 0 by chance alone; 0 says that the sets are alike, smaller is nearer.

    The kernel is exp(-distance^2 / (2 h^2)), h the median distance between different rows of both sets (of at most 500 drawn from each).

    Args:
        source: (n, d).
        target: (m, d).
        seed: of the draws, where a set has more rows than are used.
        most_rows: used of each set, 2 or more; memory is theirs and one block of 1,024 rows' distances.

    Raises:
        DataError: a set has fewer than two rows.
    """
    check_pair(source, target, least=2)
    one, other = (draw(each, most_rows, seed).astype(np.float64) for each in (source, target))
    # Distances come from inner products, which a large common mean would drown.
    centre = 0.5 * (one.mean(axis=0) + other.mean(axis=0))
    one, other = one - centre, other - centre
    width = _median_distance(np.concatenate([draw(one, _MOST_FOR_MEDIAN, seed), draw(other, _MOST_FOR_MEDIAN, seed)]))
    n, m = len(one), len(other)
    with threads(max(one.size, other.size)):
        # A row's kernel with itself is 1 and does not count within a set.
        own = (_kernel_sum(one, one, width) - n) / (n * (n - 1))
        others = (_kernel_sum(other, other, width) - m) / (m * (m - 1))
        return own + others - 2.0 * _kernel_sum(one, other, width) / (n * m)


def squared_distances(one: FloatArray, other: FloatArray) -> FloatArray:
    """(n, m) squared distances between rows (n, d) and (m, d), at least 0."""
    lengths = np.einsum("nd,nd->n", one, one)[:, None] + np.einsum("nd,nd->n", other, other)
    return np.asarray(np.maximum(lengths - 2.0 * (one @ other.T), 0.0))


def _median_distance(rows: FloatArray) -> float:
    """The median distance between rows that differ; 1 where none do."""
    distances = np.sqrt(squared_distances(rows, rows)[np.triu_indices(len(rows), 1)])
    # Equal rows have distances of rounding errors.
    different = distances[distances > 1e-6 * distances.max(initial=0.0)]
    return float(np.median(different)) if len(different) else 1.0


def _kernel_sum(one: FloatArray, other: FloatArray, width: float) -> float:
    parts = (one[at : at + _BLOCK] for at in range(0, len(one), _BLOCK))
    return float(sum(np.exp(-squared_distances(part, other) / (2.0 * width**2)).sum() for part in parts))


def _score(given: FeaturePair) -> float:
    return mmd(given.source, given.target, seed=given.seed)


ESTIMATOR = Estimator(
    name="mmd",
    needs=Needs.DATA_SETS,
    summary="squared maximum mean discrepancy between the two sets' features",
    paper="Gretton et al. 2012, JMLR 13",
    range=(-2.0, 2.0),
    greater_is_better=False,
    score=_score,
)
