"""What a way of transferring takes and gives.

Letters in shapes: n rows, c classes, d width of the backbone, L its number of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Rows:
    """Training rows with labels as class numbers. `y` has shape (n,) and values in [0, n_classes)."""

    texts: tuple[str, ...]
    y: IntArray
    n_classes: int

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | IntArray) -> Rows:
        """The rows at these positions, in this order."""
        return Rows(tuple(self.texts[i] for i in indices), self.y[np.asarray(indices, dtype=np.int64)], self.n_classes)


class Fitted(Protocol):
    """A trained rung: it reads texts and says how likely each class is."""

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Unnormalised log-probabilities, shape (n, c); softmax of a row gives its probabilities."""
        ...

    def scaled(self, factor: float) -> Fitted:
        """The same model with all logits multiplied by `factor` (how a calibration temperature is folded in)."""
        ...


@dataclass(frozen=True)
class LinearHead:
    """A linear layer on pooled features: logits = features @ weight.T + bias. `weight` is (c, d), `bias` is (c,)."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: NDArray[np.float32]) -> FloatArray:
        """Logits of shape (n, c) for features of shape (n, d)."""
        return np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias

    def scaled(self, factor: float) -> LinearHead:
        """The same head with all logits multiplied by `factor` (how a calibration temperature is folded in)."""
        return LinearHead(self.weight * factor, self.bias * factor)
