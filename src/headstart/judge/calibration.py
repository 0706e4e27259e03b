"""Calibration by one temperature, and the threshold of labels.

Guo et al. (2017, "On Calibration of Modern Neural Networks"): logits divided by a temperature T > 0 keep their order, so no prediction
changes, only how sure it sounds. T is the one that makes the log-loss of held-out rows least. With 16 rows, all of them right, that
would be T -> 0: certainty from almost nothing. A weak prior, log T normal about the logarithm of what is usual with standard deviation
1, counts as little against hundreds of rows and holds back a few.

Where a row may bear several labels, a calibrated probability of one half is a poor place to draw the line: of rare labels F1 is greatest
well below it (Lipton et al. 2014, arXiv 1402.1892: at half of the best F1). The line is drawn where F1 over all labels is greatest on
held-out rows, and the outputs are moved so that it lies at zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.data.examples import IntArray
from headstart.errors import HeadstartError
from headstart.judge.metrics import FloatArray

_WIDEST = math.log(100.0)


@dataclass(frozen=True)
class Calibration:
    """What is done to outputs: they are multiplied by `factor`, then `shift` is added."""

    factor: float = 1.0
    shift: float = 0.0

    def of(self, logits: FloatArray) -> FloatArray:
        """Calibrated outputs, of the same shape."""
        return logits * self.factor + self.shift


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


def best_threshold(logits: FloatArray, y: IntArray) -> float:
    """The output above which labels are given so that F1 over all of them is greatest; 0 where no row bears a label.

    Args:
        logits: of rows that the model was not trained on, (n, c).
        y: 1 for labels that a row bears, else 0, (n, c).
    """
    flat, borne = logits.reshape(-1), y.reshape(-1)
    if not borne.any():
        return 0.0
    order = np.argsort(-flat, kind="stable")
    ranked = flat[order]
    f1 = 2.0 * np.cumsum(borne[order]) / (np.arange(1, len(flat) + 1) + borne.sum())
    # The line lies between two outputs that differ; below the last one it would give every label to every row.
    ends = np.flatnonzero(np.append(ranked[1:] < ranked[:-1], False))
    if not len(ends):
        return 0.0
    best = int(ends[np.argmax(f1[ends])])
    return float((ranked[best] + ranked[best + 1]) / 2.0)
