"""What ways of choosing rows are given, and what they give: a weight for each row of the neighbouring data.

Letters in shapes: n target rows, m source rows, d width, c classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import make_space

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader


@dataclass(frozen=True)
class Neighbours:
    """Target rows and source rows as one source model reads them.

    `target` (n, d) and `source` (m, d) are features, `y` (n,) and `source_y` (m,) classes in [0, n_classes), the target's. The texts are
    those of the rows, and `of` (m,) is the set of each source row. `z` are both on common axes; None: they are not made yet. Only rows that
    train are among the target's: what judges has no say. `reader` reads the texts; None: the features are all there is. In `kept` a way
    leaves what hangs on no choice of target rows, for the next choice among the same source rows.
    """

    target: NDArray[np.float32]
    y: IntArray
    source: NDArray[np.float32]
    source_y: IntArray
    n_classes: int
    target_texts: Sequence[str]
    source_texts: Sequence[str]
    of: IntArray
    seed: int
    z: NDArray[np.float32] | None = None
    reader: Reader | None = None
    kept: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def axes(self) -> NDArray[np.float32]:
        """Both sides standardised on common axes, (n + m, r), the target's rows first."""
        return make_space(np.concatenate([self.target, self.source])).z if self.z is None else self.z


@dataclass(frozen=True)
class Way:
    """One way of weighing source rows: `weigh` gives (m,) values of 0 and above, greater for rows that should help more.

    `paper` is where it comes from, `assumes` what must hold for it to be right. With `reads` it needs the reader too, and the source runs
    once more over the source rows.
    """

    name: str
    summary: str
    paper: str
    assumes: str
    weigh: Callable[[Neighbours], FloatArray]
    reads: bool = False


def effective_rows(weights: FloatArray) -> float:
    """How many equally weighted rows are as many (Kish): (sum w)^2 / sum w^2; 0 where all weigh nothing."""
    squares = float((weights**2).sum())
    return float(weights.sum()) ** 2 / squares if squares > 0 else 0.0


def unit_rows(features: NDArray[np.float32], mean: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows less the mean, of length 1; rows of no length stay 0."""
    centred = features - mean
    lengths = np.linalg.norm(centred, axis=1, keepdims=True)
    return np.asarray(centred / np.where(lengths > 0, lengths, 1.0), dtype=np.float32)


def both_as_units(given: Neighbours) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Target and source rows of length 1 about their common mean, either side counting for half of it."""
    mean = np.asarray((given.target.mean(axis=0) + given.source.mean(axis=0)) / 2, dtype=np.float32)
    return unit_rows(given.target, mean), unit_rows(given.source, mean)
