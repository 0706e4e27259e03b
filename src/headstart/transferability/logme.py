"""LogME: how probable the labels are under a linear model of the features, its weights integrated out.

You et al. 2021, "LogME: Practical Assessment of Pre-trained Models for Transfer Learning" (arXiv 2102.11005). Intuition: a source is good
if many linear maps of its features, not just one lucky one, explain the labels.

Assumed, for each class on its own: its one-hot column is b + features @ w + noise, with w ~ N(0, 1 / alpha) and noise ~ N(0, 1 / beta)
independent, alpha and beta as they make the column most probable, and b anything (a flat prior). The paper has no b; with it, a shift of
the features changes nothing, and the column has n - 1 degrees of freedom, to which the evidence is scaled.

The paper finds alpha and beta by a fixed-point iteration that may stop at a lesser peak. Given their ratio the best beta is known in
closed form, so here one number is searched for, on a grid over all of its range and then ever finer around the best.

Letters in shapes: n rows, r rank, c classes with rows, g ratios tried.
"""

from __future__ import annotations

import numpy as np

from headstart.data.examples import IntArray
from headstart.transferability.decomposed import Decomposed, FloatArray, check_labels, one_hot
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs

# Natural logarithms of alpha / beta over the greatest squared singular value. Above the range the features explain nothing; below it they
# explain labels without any noise, whose evidence has no upper bound where n > d.
_LEAST, _MOST = np.log(1e-10), np.log(1e6)
_GRID = 65
_ROUNDS, _FINER = 6, 9


def logme(decomposed: Decomposed, y: IntArray, n_classes: int) -> float:
    """Greatest log evidence per degree of freedom, in nats, averaged over classes that have rows; greater is better, any sign.

    Args:
        decomposed: of the features (n, d); any n and d.
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.

    Raises:
        DataError: fewer than two classes have rows.
    """
    check_labels(y, decomposed.n, n_classes)
    targets = one_hot(y, n_classes)[:, np.unique(y)]
    along = (decomposed.u.T @ targets) ** 2  # (r, c)
    outside = np.maximum((targets * (targets - targets.mean(axis=0))).sum(axis=0) - along.sum(axis=0), 0.0)  # (c,)
    spread = (decomposed.s / decomposed.s.max(initial=0.0)) ** 2  # (r,)
    ratios = np.broadcast_to(np.linspace(_LEAST, _MOST, _GRID)[:, None], (_GRID, 1))
    step = (_MOST - _LEAST) / (_GRID - 1)
    evidence = _evidence(ratios, spread, along, outside, len(y) - 1)
    best = ratios[evidence.argmax(axis=0), 0]  # (c,)
    for _ in range(_ROUNDS):
        ratios = np.clip(best + np.linspace(-step, step, _FINER)[:, None], _LEAST, _MOST)
        evidence = _evidence(ratios, spread, along, outside, len(y) - 1)
        best = np.take_along_axis(ratios, evidence.argmax(axis=0)[None], axis=0)[0]
        step *= 2.0 / (_FINER - 1)
    return float(evidence.max(axis=0).mean()) / (len(y) - 1)


def _evidence(ratios: FloatArray, spread: FloatArray, along: FloatArray, outside: FloatArray, freedom: int) -> FloatArray:
    """Log evidence (g, c) at log ratios (g, c), or (g, 1) for the same ones of every class, with the best beta for each.

    The determinant runs over the r singular values that there are: the other n - 1 - r directions hold noise alone.
    """
    odds = spread / np.exp(ratios)[:, :, None]  # (g, c or 1, r)
    kept = 1.0 / (1.0 + odds)
    misfit = outside + (kept[:, 0] @ along if kept.shape[1] == 1 else np.einsum("gcr,rc->gc", kept, along))
    variance = misfit / freedom
    result: FloatArray = -0.5 * (freedom * (np.log(2.0 * np.pi * variance) + 1.0) + np.log1p(odds).sum(axis=2))
    return result


def _score(given: LabelledFeatures) -> float:
    return logme(given.decomposed, given.y, given.n_classes)


ESTIMATOR = Estimator(
    name="logme",
    needs=Needs.FEATURES,
    summary="log evidence of the labels under a linear model of the features",
    paper="You et al. 2021, arXiv 2102.11005",
    range=(None, None),
    greater_is_better=True,
    score=_score,
)
