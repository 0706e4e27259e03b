"""What a way of transferring takes and gives.

A row is a text. What is predicted of it is one class, or, where entities are marked, one class for each of its words: its units; or any
of several labels; or a number; or a text.

Letters in shapes: n rows, u units of all rows together (n where each row is one), c classes or labels, d width of the backbone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

FloatArray = NDArray[np.float64]
Folds = Sequence[tuple[IntArray, IntArray]]
"""Pairs of row numbers: those that train and those that are held out."""
Targets = NDArray[Any]
"""What is to be predicted: see `Rows.y`; its shape and type say which of the four it is (`outputs.output_of`)."""


@dataclass(frozen=True)
class Rows:
    """Rows with what is to be predicted of them.

    `y` is one of four. (u,) integers: classes in [0, n_classes), the units of one row after the other. (n, n_classes) integers: for each
    label 1 where the row bears it, else 0. (n, 1) floats: a number each, n_classes being 1. (n,) objects: the true answer of each row as a
    string in the task's form, n_classes being 1. `sizes` (n,) is how many units each row has;
    None: one each. `kinds` (n,) is what splits are stratified by; None: `y`, which then holds classes. `names` (c,) says in words what each
    class is; (): nothing is known of that.
    """

    texts: tuple[str, ...]
    y: Targets
    n_classes: int
    sizes: IntArray | None = None
    kinds: IntArray | None = None
    names: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def strata(self) -> IntArray:
        """What splits are stratified by, (n,)."""
        return self.y if self.kinds is None else self.kinds

    def units(self, indices: Sequence[int] | IntArray) -> IntArray:
        """Where the units of the rows at these positions stand in `y`, one row after the other."""
        rows = np.asarray(indices, dtype=np.int64)
        if self.sizes is None:
            return rows
        sizes = self.sizes[rows]
        starts = np.cumsum(self.sizes) - self.sizes
        within = np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        return np.asarray(np.repeat(starts[rows], sizes) + within, dtype=np.int64)

    def of_units(self, values: NDArray[Any]) -> NDArray[Any]:
        """A value for each row, (n,), repeated for each of its units, (u,)."""
        return values if self.sizes is None else np.repeat(values, self.sizes)

    def measured(self, logits: FloatArray) -> IntArray:
        """Positions of the rows whose logits (u, c) are known, not NaN."""
        known = ~np.isnan(logits[:, 0])
        return np.flatnonzero(known if self.sizes is None else known[np.cumsum(self.sizes) - self.sizes])

    def take(self, indices: Sequence[int] | IntArray) -> Rows:
        """The rows at these positions, in this order."""
        rows = np.asarray(indices, dtype=np.int64)
        return Rows(
            texts=tuple(self.texts[i] for i in rows),
            y=self.y[self.units(rows)],
            n_classes=self.n_classes,
            sizes=None if self.sizes is None else self.sizes[rows],
            kinds=None if self.kinds is None else self.kinds[rows],
            names=self.names,
        )

    def named(self) -> Rows:
        """The rows, and after them one for each class: its name. What a class is called says something of its texts before any is labelled;
        with few rows that is worth a point of accuracy, and of many rows one more changes nothing (docs/log.md)."""
        if not self.names:
            return self
        return replace(self, texts=(*self.texts, *self.names), y=np.concatenate([self.y, np.arange(self.n_classes)]))


def with_names(rows: Rows, folds: Folds) -> tuple[Rows, Folds]:
    """The rows and their classes' names (`Rows.named`), which train in every fold and are held out in none."""
    named = rows.named()
    names = np.arange(len(rows), len(named))
    return named, [(np.concatenate([train, names]), held) for train, held in folds]


def joined(parts: Sequence[Rows]) -> Rows:
    """The rows of all parts, one part after the other; at least one part, all of one task."""
    first = parts[0]
    return Rows(
        texts=tuple(text for part in parts for text in part.texts),
        y=np.concatenate([part.y for part in parts]),
        n_classes=first.n_classes,
        sizes=None if first.sizes is None else np.concatenate([part.sizes for part in parts if part.sizes is not None]),
        kinds=None if first.kinds is None else np.concatenate([part.kinds for part in parts if part.kinds is not None]),
        names=first.names,
    )


class Fitted(Protocol):
    """A trained rung: it reads texts and says how likely each class is, of each text or of each of its words; or the number."""

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Outputs of shape (u, c): of classes unnormalised log-probabilities, whose softmax gives probabilities; of labels log-odds,
        each by itself; or the number, (n, 1)."""
        ...

    def scaled(self, factor: float, shift: float = 0.0) -> Fitted:
        """The same model with all logits multiplied by `factor`, and `shift` added (how calibration is folded in)."""
        ...


@dataclass(frozen=True)
class Said:
    """What a trained rung says of rows: `outputs` (u, c) as the judge takes them. `answers` are the texts that it gives, (n,); (): outputs
    say all. Of texts outputs are (n, k), how each compares with the true one; the task says what the k columns are.
    """

    outputs: FloatArray
    answers: tuple[str, ...] = ()


class Answering(Protocol):
    """A trained rung that answers with texts; `reader` None: it stands on no source."""

    @property
    def reader(self) -> Reader | None:
        """What its source is read with."""
        ...

    def answer(self, rows: Rows) -> Said:
        """The answers to the rows' texts, each compared with the true one."""
        ...

    def compared(self, rows: Rows) -> FloatArray:
        """The outputs alone, as far as they decide between rungs: answers that are dear to write need not be."""
        ...

    def scaled(self, factor: float, shift: float = 0.0) -> Answering:
        """The same model, its outputs moved as the task's calibration says; itself where the task has none."""
        ...


Trained = Fitted | Answering
"""What a strategy leaves."""


@dataclass(frozen=True)
class LinearHead:
    """A linear layer on pooled features: logits = features @ weight.T + bias. `weight` is (c, d), `bias` is (c,)."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, features: NDArray[np.float32]) -> FloatArray:
        """Logits of shape (n, c) for features of shape (n, d)."""
        return np.asarray(features, dtype=np.float64) @ self.weight.T + self.bias

    def scaled(self, factor: float, shift: float = 0.0) -> LinearHead:
        """The same head with all logits multiplied by `factor`, and `shift` added (how calibration is folded in)."""
        return LinearHead(self.weight * factor, self.bias * factor + shift)
