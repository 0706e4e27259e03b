"""Rows whose label their target neighbours would give them too.

Letters in shapes: n target rows, m source rows, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units
from headstart.strategies.base import FloatArray

NEAREST = 15
_AT_ONCE = 4096


def weigh(given: Neighbours) -> FloatArray:
    """The share, by cosine, of the nearest target rows that bear the row's label, with one row of each class added, in (0, 1)."""
    target, source = both_as_units(given)
    k = min(NEAREST, len(target))
    found = np.empty(len(source))
    for at in range(0, len(source), _AT_ONCE):
        part = slice(at, at + _AT_ONCE)
        alike = source[part] @ target.T
        near = np.argpartition(alike, alike.shape[1] - k, axis=1)[:, -k:]
        nearness = np.maximum(np.take_along_axis(alike, near, axis=1), 0.0).astype(np.float64)
        same = given.y[near] == given.source_y[part, None]
        found[part] = ((nearness * same).sum(axis=1) + 1.0 / k) / (nearness.sum(axis=1) + given.n_classes / k)
    return found


WAY = Way(
    name="agreement",
    summary="share of the nearest target rows that bear the row's label",
    paper="Wilson 1972 (edited nearest neighbours), on two sets of rows",
    assumes="the target's own rows are enough to tell labels roughly",
    weigh=weigh,
)
