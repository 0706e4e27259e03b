"""Rows turned down as they mislead: TrAdaBoost.

In each round a head is fitted on all rows with their weights; source rows that it gets wrong lose weight, target rows that it gets wrong
gain. What is left of the source rows' weights after all rounds is given.

Letters in shapes: n target rows, m source rows.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import solve, usual_strength

ROUNDS = 10
_TOLERANCE = 1e-2


def weigh(given: Neighbours) -> FloatArray:
    """The source rows' weights after ten rounds, of mean 1."""
    n, m = len(given.target), len(given.source)
    z = given.axes
    y = np.concatenate([given.y, given.source_y])
    weights = np.ones(n + m)
    down = 1.0 / (1.0 + np.sqrt(2.0 * np.log(m) / ROUNDS)) if m > 1 else 1.0
    start = None
    for _ in range(ROUNDS):
        shares = weights / weights.mean()
        start = solve(z, y, given.n_classes, usual_strength(given.n_classes), None, start, _TOLERANCE, row_weight=shares)
        wrong = start.logits(z).argmax(axis=1) != y
        error = float(np.average(wrong[:n], weights=weights[:n]))
        error = min(max(error, 1e-3), 0.499)
        weights[:n] *= np.where(wrong[:n], (1.0 - error) / error, 1.0)
        weights[n:] *= np.where(wrong[n:], down, 1.0)
        weights[:n] = np.minimum(weights[:n], 100.0 * weights[n:].mean())
    return np.asarray(weights[n:] / weights[n:].mean())


WAY = Way(
    name="boosting",
    summary="weights that fall each time a head on both sides gets the row wrong",
    paper="Dai et al. 2007 (TrAdaBoost)",
    assumes="a source row that a common head cannot get right is of another concept",
    weigh=weigh,
)
