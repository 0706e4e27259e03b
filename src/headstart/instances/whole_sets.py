"""Rows of the sets that help most: whole sets are weighed before the rows within them.

A head is fitted on each set alone and asked for the target's labels. A set whose head finds them likelier weighs more: the loss above the
best set's, in units of `SCALE` nats, is its exponent. Within a set rows count by their nearness to the middle of the target's.

Letters in shapes: n target rows, m source rows, s sets.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units, unit_rows
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import log_loss, solve_path, usual_strength

SCALE = 0.1
_TOLERANCE = 3e-3


def set_losses(given: Neighbours) -> FloatArray:
    """The log-loss of the target's labels under a head from each set alone, (s,); of a set without rows it is infinite."""
    n = len(given.target)
    z = given.axes
    losses = np.full(int(given.of.max(initial=-1)) + 1, np.inf)
    for k in np.unique(given.of):
        own = np.flatnonzero(given.of == k)
        fit = solve_path(z[n + own], given.source_y[own], given.n_classes, usual_strength(given.n_classes), None, _TOLERANCE)
        losses[k] = log_loss(fit.logits(z[:n]), given.y)
    return losses


def weigh(given: Neighbours) -> FloatArray:
    """The weight of the row's set times half of one plus its cosine to the middle of the target's rows, in [0, 1]."""
    target, source = both_as_units(given)
    middle = unit_rows(target.mean(axis=0, keepdims=True), np.zeros(target.shape[1], dtype=np.float32))[0]
    near = (1.0 + np.clip(source @ middle, -1.0, 1.0)) / 2.0
    losses = set_losses(given)
    return np.asarray(np.exp(-(losses - losses.min()) / SCALE)[given.of] * near, dtype=np.float64)


WAY = Way(
    name="whole_sets",
    summary="of a set whose own head finds the target's labels likely, and near to the middle of the target's rows",
    paper="Mansour et al. 2009 (domain adaptation with multiple sources), with weights by loss",
    assumes="a set is of use as a whole or not at all",
    weigh=weigh,
)
