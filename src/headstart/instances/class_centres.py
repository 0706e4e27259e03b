"""Rows that say what the target's rows of their label say: cosine to the middle of them.

Letters in shapes: n target rows, m source rows, d width, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units, unit_rows
from headstart.strategies.base import FloatArray


def weigh(given: Neighbours) -> FloatArray:
    """One plus the cosine to the middle of the target's rows of the same class, in [0, 2]; of a class without any to that of all."""
    target, source = both_as_units(given)
    middles = np.tile(target.mean(axis=0), (given.n_classes, 1))  # (c, d)
    for k in np.unique(given.y):
        middles[k] = target[given.y == k].mean(axis=0)
    middles = unit_rows(middles, np.zeros(target.shape[1], dtype=np.float32))
    near = np.einsum("md,md->m", source, middles[given.source_y], dtype=np.float64)
    return np.asarray(1.0 + np.clip(near, -1.0, 1.0))


WAY = Way(
    name="class_centres",
    summary="cosine to the middle of the target's rows of its label",
    paper="Snell et al. 2017, arXiv 1703.05175 (prototypes of classes)",
    assumes="a class is one cloud, and the few target rows tell its middle",
    weigh=weigh,
)
