"""Weights under which the source rows' mean is the target's, in the space of a Gaussian kernel.

Minimised by Frank-Wolfe steps on the simplex, each weight bounded, so that no matrix of all source rows is ever formed at once.

Letters in shapes: n target rows, m source rows.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units
from headstart.strategies.base import FloatArray

STEPS = 500
MOST = 10.0  # times the mean weight
FEATURES = 512  # random features of the kernel


def kernel_features(rows: FloatArray, width: float, seed: int) -> FloatArray:
    """Random Fourier features (m, 512) whose inner products are about exp(-|a - b|^2 / (2 width^2)) (Rahimi and Recht 2007)."""
    rng = np.random.default_rng(seed)
    turn = rng.normal(size=(rows.shape[1], FEATURES)) / width
    return np.asarray(np.sqrt(2.0 / FEATURES) * np.cos(rows @ turn + rng.uniform(0, 2 * np.pi, FEATURES)))


def weigh(given: Neighbours) -> FloatArray:
    """Weights of mean 1 in [0, 10]."""
    target, source = both_as_units(given)
    rng = np.random.default_rng(given.seed)
    some = rng.permutation(len(source))[:500]
    apart = np.sqrt(np.maximum(2.0 - 2.0 * (source[some] @ target.T), 0.0))
    width = float(np.median(apart)) or 1.0
    z = kernel_features(source.astype(np.float64), width, given.seed)
    wanted = kernel_features(target.astype(np.float64), width, given.seed).mean(axis=0)
    m = len(z)
    cap = min(1.0, MOST / m)
    weights = np.full(m, 1.0 / m)
    mean = z.mean(axis=0)
    for _ in range(STEPS):
        # The best corner of the bounded simplex: as many rows at the bound as fit.
        order = np.argsort(z @ (mean - wanted), kind="stable")
        full = min(m, int(np.floor(1.0 / cap + 1e-9)))
        corner = np.zeros(m)
        corner[order[:full]] = cap
        if full < m:
            corner[order[full]] += max(0.0, 1.0 - full * cap)
        towards = z.T @ corner
        gap = mean - towards
        length = float(gap @ gap)
        if length <= 1e-18:
            break
        step = float(np.clip((mean - wanted) @ gap / length, 0.0, 1.0))
        if step <= 0.0:
            break
        weights = (1.0 - step) * weights + step * corner
        mean = (1.0 - step) * mean + step * towards
    return np.asarray(weights * m)


WAY = Way(
    name="mean_matching",
    summary="weights under which the source's mean is the target's in a kernel's space",
    paper="Huang et al. 2006 (kernel mean matching)",
    assumes="labels mean the same on both sides, only their texts are differently frequent",
    weigh=weigh,
)
