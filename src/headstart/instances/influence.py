"""Rows whose gradient points where the target's rows want to go: influence on the target's loss through a linear head.

A ridge fit of the labels on both sides' rows has its Hessian in closed form. A row's influence is by how much the squared error on the
target's rows falls when the row counts a little more (Koh and Liang 2017; TracIn and LESS ask the same of a deep model's gradients). Each
target row's own error is that of the fit without it, so that the head's certainty about rows it has learnt does not speak.

Letters in shapes: n target rows, m source rows, r axes, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import make_space

PENALTY = 10.0


def influences(given: Neighbours) -> FloatArray:
    """By how much a little more weight on each source row lowers the target's squared error, (m,), of either sign."""
    n = len(given.target)
    space = make_space(np.concatenate([given.target, given.source]))
    z = np.column_stack([space.z.astype(np.float64), np.ones(n + len(given.source))])
    labels = np.eye(given.n_classes)[np.concatenate([given.y, given.source_y])]
    # Both sides weigh the same in sum, or a large source would drown the target.
    weight = np.concatenate([np.full(n, 1.0), np.full(len(given.source), n / max(len(given.source), 1))])
    penalty = np.diag([PENALTY * 2 * n / len(z)] * space.z.shape[1] + [1e-9])
    hessian = (z * weight[:, None]).T @ z + penalty
    solution = np.linalg.solve(hessian, (z * weight[:, None]).T @ labels)
    own, others = z[:n], z[n:]
    leverage = np.einsum("nr,nr->n", own, np.linalg.solve(hessian, own.T).T)
    left_out = (labels[:n] - own @ solution) / np.maximum(1.0 - leverage, 1e-3)[:, None]
    wanted = np.linalg.solve(hessian, own.T @ left_out)  # (r + 1, c)
    apart = labels[n:] - others @ solution
    return np.asarray(((others @ wanted) * apart).sum(axis=1))


def weigh(given: Neighbours) -> FloatArray:
    """Ranks of the influences, in (0, 1]: their size says little across rows, their order does."""
    order = np.argsort(np.argsort(influences(given), kind="stable"), kind="stable")
    return np.asarray((order + 1.0) / len(order))


WAY = Way(
    name="influence",
    summary="by how much more weight on a row lowers the error on the target's rows",
    paper="Koh and Liang 2017, arXiv 1703.04730; Xia et al. 2024, arXiv 2402.04333 (LESS)",
    assumes="the head is near its optimum, and the target's rows are enough to tell a direction",
    weigh=weigh,
)
