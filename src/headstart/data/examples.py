"""Labelled texts as the rest of the package sees them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Examples:
    """Labelled texts as read from a file, faults and all.

    `rows[i]` is the number of row i as a person counts it in the file: the first row under the header is 1. An empty text or label is "".
    `origin` is the file as the user named it; the columns are those that were used. `paired`: texts are pairs (`data.pairs`), and
    `text_column` names both columns, `first,second`.
    """

    texts: tuple[str, ...]
    labels: tuple[str, ...]
    rows: tuple[int, ...]
    origin: str
    text_column: str
    label_column: str
    paired: bool = False

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, indices: Sequence[int] | IntArray) -> Examples:
        """The examples at these positions, in this order."""
        return Examples(
            texts=tuple(self.texts[i] for i in indices),
            labels=tuple(self.labels[i] for i in indices),
            rows=tuple(self.rows[i] for i in indices),
            origin=self.origin,
            text_column=self.text_column,
            label_column=self.label_column,
            paired=self.paired,
        )
