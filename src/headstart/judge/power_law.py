"""A power law through the points of a learning curve: score = top - drop rows^-power.

The usual shape of learning curves (Cortes et al. 1993, "Learning Curves: Asymptotic Values and Rate of Convergence"; Hestness et al. 2017,
"Deep Learning Scaling is Predictable, Empirically"; Viering and Loog 2023, "The Shape of Learning Curves: a Review").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PowerLaw:
    """score = top - drop rows^-power, with drop at least 0 and power in [0.05, 2]."""

    top: float
    drop: float
    power: float

    def at(self, rows: float) -> float:
        """The score at a number of rows above 0."""
        return self.top - self.drop * math.pow(rows, -self.power)


def fit_power_law(points: Sequence[tuple[int, float, float]], ceiling: float) -> PowerLaw:
    """The law with top <= ceiling, drop >= 0 and power in [0.05, 2] through (rows, score, standard error), by weighted least squares.

    For a given power the other two are linear, so the power is walked over a fine grid. Three noisy points fit any; a weak prior, its
    logarithm normal about log 0.5 with standard deviation 1, then decides, and yields to points that are sure.
    """
    labels, scores, errors = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    weights = 1.0 / np.maximum(errors, 1e-4) ** 2
    powers = np.geomspace(0.05, 2.0, 2000)[:, None]
    x = (labels / labels.max()) ** -powers
    total = weights.sum()
    mean_x, mean_s = (x * weights).sum(axis=1) / total, (scores * weights).sum() / total
    spread_x = (weights * (x - mean_x[:, None]) ** 2).sum(axis=1)
    drop = -(weights * (x - mean_x[:, None]) * (scores - mean_s)).sum(axis=1) / spread_x
    drop = np.maximum(drop, 0.0)
    top = mean_s + drop * mean_x
    # Where the best line passes the ceiling, the best that does not passes through it.
    high = top > ceiling
    pinned = np.maximum((weights * x * (ceiling - scores)).sum(axis=1) / (weights * x * x).sum(axis=1), 0.0)
    top, drop = np.where(high, ceiling, top), np.where(high, pinned, drop)
    misfit = (weights * (top[:, None] - drop[:, None] * x - scores) ** 2).sum(axis=1) + np.log(powers[:, 0] / 0.5) ** 2
    best = int(np.argmin(misfit))
    power = float(powers[best, 0])
    return PowerLaw(float(top[best]), float(drop[best] * labels.max() ** power), power)
