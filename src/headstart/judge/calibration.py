"""Calibration by one temperature.

Guo et al. (2017, "On Calibration of Modern Neural Networks"): logits divided by a temperature T > 0 keep their order, so no prediction
changes, only how sure it sounds. T is the one that makes the log-loss of held-out rows least. With 16 rows, all of them right, that
would be T -> 0: certainty from almost nothing. A weak prior, log T normal about the logarithm of what is usual with standard deviation
1, counts as little against hundreds of rows and holds back a few.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.data.examples import IntArray
from headstart.errors import HeadstartError
from headstart.judge.metrics import FloatArray

_WIDEST = math.log(100.0)


def log_softmax(logits: FloatArray) -> FloatArray:
    """Logarithms of the probabilities, shape (n, c), exact also where logits are huge."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return np.asarray(shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True)))


def softmax(logits: FloatArray) -> FloatArray:
    """Probabilities of shape (n, c), rows summing to 1."""
    return np.asarray(np.exp(log_softmax(np.asarray(logits, dtype=np.float64))))


def fit_temperature(logits: FloatArray, y: IntArray, usual: float = 1.0) -> float:
    """The temperature that calibrates these logits; use `logits / temperature`, or `LinearHead.scaled(1 / temperature)`.

    On the rows given, the log-loss after is never above the log-loss at the usual temperature.

    Args:
        logits: of rows that the model was not trained on (out of fold), shape (n, c).
        y: true class numbers, shape (n,). No rows: the temperature is `usual`.
        usual: what is expected before any row is seen, above 0; the prior is centred there.

    Returns:
        T in [0.01, 100]; above 1 the model was too sure.

    Raises:
        HeadstartError: a logit is not a number.
    """
    from scipy.optimize import minimize_scalar

    logits = np.asarray(logits, dtype=np.float64)
    if not np.isfinite(logits).all():
        raise HeadstartError(
            "A logit to be calibrated is not a number; the training diverged: lower the learning rate or choose another source."
        )
    if len(y) == 0:
        return usual
    middle = -math.log(usual)
    shifted = logits - logits.max(axis=1, keepdims=True)
    true = np.take_along_axis(shifted, y[:, None], axis=1)[:, 0]

    def cost(sharpness: float) -> float:
        """Summed loss and prior at T = exp(-sharpness)."""
        factor = math.exp(sharpness)
        return float((np.log(np.exp(factor * shifted).sum(axis=1)) - factor * true).sum()) + 0.5 * (sharpness - middle) ** 2

    # The prior can put a second valley beside the first, so a coarse walk chooses the valley. It starts from what is usual, which nothing
    # worse replaces.
    walk = [middle, *np.linspace(-_WIDEST, _WIDEST, 12)]
    costs = [cost(point) for point in walk]
    best = walk[int(np.argmin(costs))]
    step = 2 * _WIDEST / 11
    found = minimize_scalar(cost, bounds=(max(-_WIDEST, best - step), min(_WIDEST, best + step)), method="bounded", options={"xatol": 1e-5})
    sharpness = float(found.x) if found.fun < min(costs) else float(best)
    return min(max(math.exp(-sharpness), 0.01), 100.0)
