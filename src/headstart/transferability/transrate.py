"""TransRate: how many more bits the features of all rows need than those of one class, to be told to within some distortion.

Huang et al. 2022, "Frustratingly Easy Transferability Estimation" (arXiv 2106.09362). Intuition: mutual information between features and
labels, by the log-determinant that would measure it were the features of each class normally distributed.

Assumed: that. Each class is centred on its own mean and counts by its rows. The paper centres all rows at once: then the means of two
classes of equal size, which lie opposite each other, count as spread within both, and a difference of means goes unseen. The distortion
is a share of the mean variance of a column, where the paper has a number in the unit of the features, on which the score then depends.

Assumed above all: each class has more rows than the features have directions. With fewer, the rows of a class leave directions empty, which
counts in the source's favour whatever it is: on random features with 20 rows a class and 80 columns the score fell as classes were drawn
apart. Then trust the other estimators.

Letters in shapes: n rows, d width, r rank, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.data.examples import IntArray
from headstart.strategies.heads import threads
from headstart.transferability.decomposed import Decomposed, FloatArray, check_labels
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs

# Much less makes directions that a class leaves empty for want of rows weigh more still; much more sees the widest directions alone.
DISTORTION = 1.0


def transrate(decomposed: Decomposed, y: IntArray, n_classes: int, distortion: float = DISTORTION) -> float:
    """Coding rate of all rows minus the mean of the classes' own, in nats, at least 0; greater is better.

    The coding rate of m rows, centred to Z (m, d), is log det(I + Z^T Z / (m e)) / 2, where e is `distortion` times the mean variance of a
    column over all rows. A class's is taken from the smaller Gram matrix, of its rows or of the rank.

    Args:
        decomposed: of the features (n, d).
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.
        distortion: above 0, as a share of the mean variance of a column.

    Raises:
        DataError: fewer than two classes have rows.
    """
    check_labels(y, decomposed.n, n_classes)
    n = decomposed.n
    squares = decomposed.s**2
    if len(squares) == 0:
        return 0.0
    error = distortion * squares.sum() / (n * decomposed.width)
    rows = decomposed.u * decomposed.s
    rate = 0.5 * float(np.log1p(squares / (n * error)).sum())
    counts = np.bincount(y, minlength=n_classes)
    with threads(rows.size):
        within = sum(counts[k] / n * _rate(rows[y == k], error) for k in np.flatnonzero(counts))
    return max(rate - float(within), 0.0)


def _rate(rows: FloatArray, error: float) -> float:
    """log det(I + Z^T Z / (m error)) / 2 of the m rows, centred."""
    centred = (rows - rows.mean(axis=0)) / np.sqrt(len(rows) * error)
    gram = centred.T @ centred if len(rows) > rows.shape[1] else centred @ centred.T
    gram[np.diag_indices_from(gram)] += 1.0
    return float(np.log(np.diagonal(np.linalg.cholesky(gram))).sum())


def _score(given: LabelledFeatures) -> float:
    return transrate(given.decomposed, given.y, given.n_classes)


ESTIMATOR = Estimator(
    name="transrate",
    needs=Needs.FEATURES,
    summary="coding rate of all rows minus that within classes",
    paper="Huang et al. 2022, arXiv 2106.09362",
    range=(0.0, None),
    greater_is_better=True,
    score=_score,
)
