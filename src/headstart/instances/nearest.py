"""Rows that say what target rows say: cosine to the nearest of them.

Letters in shapes: n target rows, m source rows.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units
from headstart.strategies.base import FloatArray

NEAREST = 3
_AT_ONCE = 4096


def weigh(given: Neighbours) -> FloatArray:
    """One plus the mean cosine to the three nearest target rows, in [0, 2]."""
    target, source = both_as_units(given)
    k = min(NEAREST, len(target))
    found = np.empty(len(source))
    for at in range(0, len(source), _AT_ONCE):
        alike = source[at : at + _AT_ONCE] @ target.T
        found[at : at + _AT_ONCE] = np.partition(alike, alike.shape[1] - k, axis=1)[:, -k:].mean(axis=1)
    return 1.0 + np.clip(found, -1.0, 1.0)


WAY = Way(
    name="nearest",
    summary="cosine to the three nearest target rows",
    paper="Gururangan et al. 2020, arXiv 2004.10964 (data selection by nearest neighbours)",
    assumes="what is said alike bears the same label",
    weigh=weigh,
)
