"""Linear heads whose outputs do not compete: a logistic regression for each label, or least squares for a number.

The objective is that of `heads.py` with another loss, its penalty and its axes are the same, so that folds and penalties are chosen alike:

    sum_i  loss(z_i @ W.T + b, y_i)  +  strength / 2 * sum(W ** 2)

Numbers are brought to mean 0 and variance 1 first, for the solution scales with them and a stopping rule does not.

Letters in shapes: n rows, r axes, c labels (1 of numbers).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headstart.strategies.base import FloatArray, Targets
from headstart.strategies.outputs import Output, output_of, sigmoid

_FLOOR = 0.01  # least p(1 - p) that the preconditioner believes in


def spread_of(y: Targets) -> tuple[float, float]:
    """Mean and standard deviation of numbers, the latter 1 where they are all the same."""
    spread = float(y.std())
    return float(y.mean()), spread if spread > 0.0 else 1.0


def solve_free(
    z: Any, y: Targets, strength: float, start: tuple[FloatArray, FloatArray] | None, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Weight (c, r) and bias (c,) of the least objective for rows z (n, r), a float32 array or scipy sparse matrix.

    A label that no row bears, or every row, has weight 0 and the bias at which its probability is 1 in 2n, or all but that.

    Args:
        z: the rows.
        y: labels (n, c) of 0 and 1, or numbers (n, 1).
        strength: the penalty, above 0.
        start: weight and bias to begin from; None: from nothing.
        tolerance: bounds the gradient, as in `heads.solve`.
    """
    if output_of(y) is Output.NUMBER:
        mean, spread = spread_of(y)
        begin = None if start is None else (start[0] / spread, (start[1] - mean) / spread)
        weight, bias = _minimise(z, (y - mean) / spread, strength, begin, tolerance, squared=True)
        return weight * spread, bias * spread + mean
    n, c = y.shape
    borne = y.sum(axis=0)
    varied = np.flatnonzero((borne > 0) & (borne < n))
    weight, bias = np.zeros((c, z.shape[1])), np.where(borne == 0, -1.0, 1.0) * np.log(2.0 * n)
    if len(varied):
        begin = None if start is None else (start[0][varied], start[1][varied])
        weight[varied], bias[varied] = _minimise(z, y[:, varied].astype(np.float64), strength, begin, tolerance, squared=False)
    return weight, bias


def _minimise(
    z: Any, y: FloatArray, strength: float, start: tuple[FloatArray, FloatArray] | None, tolerance: float, *, squared: bool
) -> tuple[FloatArray, FloatArray]:
    from scipy.optimize import minimize

    r, c = z.shape[1], y.shape[1]
    if start is None:
        share = y.mean(axis=0)
        start = np.zeros((c, r)), share if squared else np.log(share / (1.0 - share))
    # As in `heads.py`: weights times the root of the Hessian's diagonal are what L-BFGS sees.
    ahead = sigmoid(np.asarray(z @ start[0].T.astype(np.float32), dtype=np.float64) + start[1])
    curved = np.ones_like(ahead) if squared else np.maximum(ahead * (1.0 - ahead), _FLOOR)
    squares = z.multiply(z) if hasattr(z, "multiply") else z * z
    stretch = np.sqrt((squares.T @ curved.astype(np.float32)).T + strength).astype(np.float64)
    bias_stretch = np.sqrt(curved.sum(axis=0))
    targets = y.astype(np.float32)

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        v = flat.reshape(c, r + 1)
        weight, bias = v[:, :r] / stretch, v[:, r] / bias_stretch
        logits = z @ weight.T.astype(np.float32)
        logits += bias.astype(np.float32)
        if squared:
            apart = logits - targets
            loss = 0.5 * float((apart.astype(np.float64) ** 2).sum())
        else:
            loss = float((np.logaddexp(0.0, logits) - targets * logits).sum(dtype=np.float64))
            apart = (0.5 * (1.0 + np.tanh(0.5 * logits)) - targets).astype(np.float32)
        gradient = np.empty_like(v)
        gradient[:, :r] = ((z.T @ apart).T + strength * weight) / stretch
        gradient[:, r] = apart.sum(axis=0, dtype=np.float64) / bias_stretch
        return loss + 0.5 * strength * float(np.vdot(weight, weight)), gradient.ravel()

    begin = np.concatenate([start[0] * stretch, (start[1] * bias_stretch)[:, None]], axis=1)
    options = {"maxiter": 500, "maxcor": 10 if begin.size < 1_000_000 else 4, "gtol": tolerance, "ftol": 1e-10}
    end = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options).x.reshape(c, r + 1)
    return end[:, :r] / stretch, end[:, r] / bias_stretch
