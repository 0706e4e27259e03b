"""A ridge probe: held-out predictions of a linear fit to one-hot labels, for every fold and penalty from one decomposition.

Hoerl and Kennard 1970, "Ridge Regression"; leaving out whole folds at once by the smoother matrix is Stone 1974's device for single rows,
with a block in place of one entry. Intuition: the closest thing to the linear head itself that needs no iteration.

Assumed: a linear map of the features tells the classes. One-hot targets make far rows of the right class cost too; the class with the
greatest value is taken all the same.

Letters in shapes: n rows, r rank, c classes, m rows of a fold, p penalties.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import metrics
from headstart.settings import Metric
from headstart.strategies.base import Folds
from headstart.strategies.heads import threads
from headstart.transferability.decomposed import Decomposed, FloatArray, check_labels, one_hot
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs

# Penalties over the mean squared length of a centred row, so that the unit of the features does not matter.
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
_LEAST_PROBABILITY = 0.01


@dataclass(frozen=True)
class RidgeScore:
    """What a ridge probe scores on rows that it did not see.

    `score` is the metric over all held rows; `strength` the chosen penalty over the mean squared length of a centred row; `predictions`
    (n, c) sum to 1 in each row but may lie outside [0, 1]; NaN for rows that no fold holds out.
    """

    score: float
    strength: float
    predictions: FloatArray


def fold_predictions(decomposed: Decomposed, y: IntArray, n_classes: int, folds: Folds, strengths: Sequence[float]) -> FloatArray:
    """Exact held-out predictions (p, n, c) of one-hot labels by ridge fits with a free intercept, each fold by the fit without it.

    With H = 1 1^T / n + U diag(s^2 / (s^2 + penalty)) U^T of all rows, the residual of a fold F in the fit without it is
    (I - H_FF)^-1 times its residual in the fit of all. The system has the size of the fold or of the rank, whichever is less.

    Args:
        decomposed: of the features (n, d).
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.
        folds: pairs of row numbers (training, held); a pair together is all rows and a row is held at most once. Rows never held are NaN.
        strengths: penalties on the squared weights of the features as they are, above 0.

    Raises:
        DataError: fewer than two classes have rows.
        ValueError: a penalty is not above 0, or the folds are not as said; a mistake in the calling code.
    """
    check_labels(y, decomposed.n, n_classes)
    n = decomposed.n
    held_rows = np.concatenate([held for _, held in folds])
    if len(np.unique(held_rows)) != len(held_rows) or any(len(train) + len(held) != n or len(train) == 0 for train, held in folds):
        raise ValueError(f"each fold must train on all of the {n} rows that it does not hold, and a row is held at most once")
    if min(strengths) <= 0:
        raise ValueError(f"the penalty {min(strengths)} is not above 0")
    targets = one_hot(y, n_classes)
    axes = np.column_stack([np.full(n, np.sqrt(1.0 / n)), decomposed.u])  # (n, r + 1), orthonormal, the intercept first
    kept = decomposed.s**2 / (decomposed.s**2 + np.array(strengths)[:, None])  # (p, r)
    kept = np.column_stack([np.ones(len(kept)), kept])  # (p, r + 1)
    result = np.full((len(strengths), n, n_classes), np.nan)
    with threads(axes.size):
        seen = axes.T @ targets  # (r + 1, c)
        for _, held in folds:
            own, wanted = axes[held], targets[held]
            gram = own.T @ own if len(held) > axes.shape[1] else None
            for at, share in enumerate(kept):
                residual = wanted - own @ (share[:, None] * seen)
                result[at, held] = wanted - (_few(own, share, residual) if gram is None else _many(own, gram, share, residual))
    return result


def _few(own: FloatArray, share: FloatArray, residual: FloatArray) -> FloatArray:
    """(I - own diag(share) own^T)^-1 residual, by a system of the fold's size; own is (m, r + 1), residual (m, c)."""
    from scipy.linalg import cho_factor, cho_solve

    left = -(own * share) @ own.T
    left[np.diag_indices_from(left)] += 1.0
    solved: FloatArray = cho_solve(cho_factor(left, lower=True, overwrite_a=True, check_finite=False), residual, check_finite=False)
    return solved


def _many(own: FloatArray, gram: FloatArray, share: FloatArray, residual: FloatArray) -> FloatArray:
    """The same by a system of the rank's size, with gram = own^T own: Woodbury's identity."""
    from scipy.linalg import cho_factor, cho_solve

    root = np.sqrt(share)
    left = -(root[:, None] * gram * root)
    left[np.diag_indices_from(left)] += 1.0
    right = root[:, None] * (own.T @ residual)
    solved: FloatArray = cho_solve(cho_factor(left, lower=True, overwrite_a=True, check_finite=False), right, check_finite=False)
    return residual + own @ (root[:, None] * solved)


def ridge_score(decomposed: Decomposed, y: IntArray, n_classes: int, folds: Folds, metric: Metric = Metric.ACCURACY) -> RidgeScore:
    """The probe at the penalty of `STRENGTHS` with the least held-out squared error; the same folds choose and judge.

    Args:
        decomposed: of the features (n, d).
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.
        folds: as for `fold_predictions`; at least one holds a row.
        metric: of the score, in its own direction. For log-loss, predictions below 0.01 count as that much and rows are scaled to 1.

    Raises:
        DataError: fewer than two classes have rows.
    """
    unit = float((decomposed.s**2).sum()) / decomposed.n or 1.0
    predictions = fold_predictions(decomposed, y, n_classes, folds, [strength * unit for strength in STRENGTHS])
    held = np.flatnonzero(~np.isnan(predictions[0, :, 0]))
    errors = ((predictions[:, held] - one_hot(y, n_classes)[held]) ** 2).sum(axis=(1, 2))
    best = int(errors.argmin())
    judged = predictions[best, held]
    if metric is Metric.LOG_LOSS:
        judged = np.maximum(judged, _LEAST_PROBABILITY)
        judged /= judged.sum(axis=1, keepdims=True)
    return RidgeScore(metrics.score(metric, judged, y[held]), STRENGTHS[best], predictions[best])


def _score(given: LabelledFeatures) -> float:
    return given.ridge.score


ESTIMATOR = Estimator(
    name="ridge",
    needs=Needs.FEATURES,
    summary="held-out accuracy of a closed-form linear probe",
    paper="Hoerl and Kennard 1970; Stone 1974",
    range=(0.0, 1.0),
    greater_is_better=True,
    score=_score,
)
