"""The learning curve of a probe, measured at several sizes and continued to more rows.

Cortes et al. 1993, "Learning Curves: Asymptotic Values and Rate of Convergence" (NeurIPS 6): the error falls as a power of the number of
rows towards a floor. Intuition: of two sources, the one whose curve climbs still may be the better at all rows, though not yet at few.

Assumed: error = a + b rows^-g, and the rows that are added are like those here. Subsets are nested and judged on the same rows, so that
part of their errors is common to all sizes and no number of sizes averages it away: the error of the greatest size is added in whole.

Letters in shapes: n rows, r rank, c classes, t sizes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge.label_curve import nested_order
from headstart.judge.power_law import fit_power_law
from headstart.strategies.base import Folds
from headstart.transferability.decomposed import Decomposed, FloatArray, decompose
from headstart.transferability.registry import Estimator, LabelledFeatures, Needs
from headstart.transferability.ridge import ridge_score

# Shares of the rows at which the curve is measured.
SHARES = (0.25, 0.35, 0.5, 0.7, 1.0)
_FEWEST_ROWS = 10
_LEAST_ERROR = 1e-4  # standard errors below this count as this much


@dataclass(frozen=True)
class Continued:
    """The score at a number of rows and its standard error; `points` are the (rows, score, standard error) that it comes from."""

    score: float
    standard_error: float
    points: tuple[tuple[int, float, float], ...]


def continue_curve(points: Sequence[tuple[int, float, float]], rows: int, *, ceiling: float = 1.0) -> Continued:
    """The score at `rows` rows by a power law through the points, with the error that the points' errors leave.

    The error has two parts, added as squares: what independent errors would leave of the law (delta method), and the error of the point at
    the most rows, for what all points have in common. It knows nothing of curves that are no power law.

    The score never lies above `ceiling`, nor below the one measured at the most rows by more than that one's standard error. With fewer
    than three sizes nothing is drawn out: the score is the one measured at the most rows.

    Args:
        points: (rows, score, standard error), one for each size, at least one; greater scores are better.
        rows: where to, 1 or more.
        ceiling: the greatest score there is: 1 for accuracy.
    """
    last_rows, last, last_error = max(points)
    if len({size for size, _, _ in points}) < 3:
        return Continued(last, last_error, tuple(points))
    law = fit_power_law(points, ceiling)
    score = max(law.at(rows), last - last_error) if rows >= last_rows else law.at(rows)
    sizes, _, errors = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    weights = 1.0 / np.maximum(errors, _LEAST_ERROR) ** 2

    def slopes(at: FloatArray) -> FloatArray:
        """How the law at some rows (t,) moves with its top, its drop at `last_rows` and the logarithm of its power: (t, 3)."""
        x = (at / last_rows) ** -law.power
        drop = law.drop * last_rows**-law.power
        return np.column_stack([np.ones(len(at)), -x, drop * x * law.power * np.log(at / last_rows)])

    # A top that has come to the ceiling cannot move; the power has the fit's own prior of standard deviation 1.
    moving = slice(1, 3) if law.top >= ceiling else slice(0, 3)
    seen, asked = slopes(sizes)[:, moving], slopes(np.array([float(rows)]))[0, moving]
    information = (seen.T * weights) @ seen
    information[-1, -1] += 1.0
    variance = float(asked @ np.linalg.solve(information, asked))
    return Continued(float(min(score, ceiling)), float(np.sqrt(max(variance, 0.0) + last_error**2)), tuple(points))


def ridge_curve(
    decomposed: Decomposed,
    y: IntArray,
    n_classes: int,
    folds: Folds,
    *,
    rows: int | None = None,
    seed: int = 0,
    whole: float | None = None,
) -> Continued:
    """The held-out accuracy of a ridge probe trained on `rows` rows, continued from what it is on shares of those that there are.

    Args:
        decomposed: of the features (n, d).
        y: class numbers (n,) in [0, n_classes).
        n_classes: how many classes there are.
        folds: pairs of row numbers (training, held); a pair together is all rows and a row is held at most once.
        rows: where to, 1 or more. None: to n, which is more than a fold trains on.
        seed: of the nested subsets, in which each class has a row as soon as there are as many rows as classes.
        whole: the held-out accuracy with all n rows; None: it is measured here.

    Raises:
        DataError: fewer than two classes have rows.
    """
    n = decomposed.n
    # Not the stream of the folds, which numpy takes for that of the bare seed: subsets drawn with it would fall into a few folds only.
    order = nested_order(y, np.arange(n), np.random.default_rng([seed, 0, 1]))
    least = min(n, max(2 * len(np.unique(y)), _FEWEST_ROWS))
    turned = decomposed.u * decomposed.s  # the rows on their own axes: inner products are those of the features
    points = []
    for size in sorted({max(least, round(share * n)) for share in SHARES}):
        part = np.sort(order[:size])
        kept = folds if size == n else folds_within(folds, part, n)
        if kept:
            if size == n:
                accuracy = ridge_score(decomposed, y, n_classes, kept).score if whole is None else whole
            else:
                accuracy = ridge_score(decompose(turned[part]), y[part], n_classes, kept).score
            points.append(_point(accuracy, kept))
    return continue_curve(points, n if rows is None else rows)


def folds_within(folds: Folds, part: IntArray, n: int) -> Folds:
    """The folds of the rows `part` alone, as positions in it; without those that train on nothing or hold nothing."""
    place = np.full(n, -1)
    place[part] = np.arange(len(part))
    moved = [(place[train][place[train] >= 0], place[held][place[held] >= 0]) for train, held in folds]
    return [(train, held) for train, held in moved if len(train) and len(held)]


def _point(accuracy: float, folds: Folds) -> tuple[int, float, float]:
    """Rows trained on, accuracy, and its standard error, which is above 0 even where all held rows are right."""
    held = sum(len(rows) for _, rows in folds)
    trained = round(float(np.mean([len(rows) for rows, _ in folds])))
    share = (accuracy * held + 1.0) / (held + 2.0)
    return trained, accuracy, float(np.sqrt(share * (1.0 - share) / held))


def _score(given: LabelledFeatures) -> float:
    return given.curve.score


ESTIMATOR = Estimator(
    name="ridge_curve",
    needs=Needs.FEATURES,
    summary="held-out accuracy of a closed-form linear probe, continued to all rows",
    paper="Cortes et al. 1993, NeurIPS 6",
    range=(0.0, 1.0),
    greater_is_better=True,
    score=_score,
)
