"""H-score, shrunk: how much of the features' variance lies between classes, measured in units of their own covariance.

Ibrahim et al. 2022, "Newer is not always better: Rethinking transferability metrics, their peculiarities, stability and performance" (arXiv
2110.06893), after Bao et al. 2019. Intuition: good features differ between classes along directions in which they hardly vary otherwise.
Where rows are few the covariance is drawn towards a multiple of the identity, by as much as Ledoit and Wolf 2004 say.

Assumed: classes share one covariance and differ by their means.

Letters in shapes: n rows, d width, r rank, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.data.examples import IntArray
from headstart.transferability.decomposed import Decomposed, check_labels, one_hot
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs


def hscore(decomposed: Decomposed, y: IntArray, n_classes: int) -> float:
    """trace(shrunk covariance^-1 @ (1 - shrinkage) covariance of the class means), in [0, classes with rows - 1]; greater is better.

    In the singular basis all of it is diagonal but the class means, of which the trace needs the diagonal alone: no (d, d) matrix is made.

    Args:
        decomposed: of the features (n, d).
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.

    Raises:
        DataError: fewer than two classes have rows.
    """
    check_labels(y, decomposed.n, n_classes)
    if len(decomposed.s) == 0:
        return 0.0
    counts = np.bincount(y, minlength=n_classes)
    sums = one_hot(y, n_classes).T @ decomposed.u  # (c, r)
    between = (sums**2 / np.maximum(counts, 1)[:, None]).sum(axis=0)  # (r,) share of each direction's variance between classes, in [0, 1]
    alpha = shrinkage(decomposed)
    variances = decomposed.s**2 / decomposed.n
    level = variances.sum() / decomposed.width
    return float(((1.0 - alpha) * variances * between / ((1.0 - alpha) * variances + alpha * level)).sum())


def shrinkage(decomposed: Decomposed) -> float:
    """The weight in [0, 1] of the identity in the covariance that Ledoit and Wolf estimate; features must vary."""
    n, d = decomposed.n, decomposed.width
    variances = decomposed.s**2 / n
    lengths = (decomposed.u**2) @ decomposed.s**2  # (n,) squared lengths of the centred rows
    squares = (variances**2).sum()
    noise = ((lengths**2).sum() / n - squares) / n
    apart = squares - variances.sum() ** 2 / d
    # Variances that are all the same, or a single column: the shrunk covariance is the plain one.
    return float(np.clip(noise / apart, 0.0, 1.0)) if apart > 1e-12 * squares else 0.0


def _score(given: LabelledFeatures) -> float:
    return hscore(given.decomposed, given.y, given.n_classes)


ESTIMATOR = Estimator(
    name="hscore",
    needs=Needs.FEATURES,
    summary="share of the features' variance that lies between classes, with a shrunk covariance",
    paper="Ibrahim et al. 2022, arXiv 2110.06893",
    range=(0.0, None),
    greater_is_better=True,
    score=_score,
)
