"""What outputs mean, told from what is trained towards: classes, labels, a number, or a text.

Letters in shapes: n rows, c classes or labels.
"""

from __future__ import annotations

from enum import Enum
from typing import cast

import numpy as np

from headstart.data.examples import IntArray
from headstart.strategies.base import Answering, Fitted, FloatArray, Rows, Said, Targets, Trained


class Output(Enum):
    """What the outputs of a row are."""

    CLASS = "class"  # one of them: softmax
    LABELS = "labels"  # each by itself: sigmoid
    NUMBER = "number"  # as it is
    TEXT = "text"  # how an answer in words compares with the true one


def output_of(y: Targets) -> Output:
    """What targets of this shape and type ask for (`Rows.y`)."""
    if y.ndim == 1:
        return Output.TEXT if y.dtype.kind == "O" else Output.CLASS
    return Output.NUMBER if y.dtype.kind == "f" else Output.LABELS


def said_of(model: Trained, rows: Rows) -> Said:
    """What a trained rung says of rows; what is true of them is only compared with."""
    if output_of(rows.y) is Output.TEXT:
        return cast(Answering, model).answer(rows)
    return Said(cast(Fitted, model).predict_logits(rows.texts))


def outputs_of(model: Trained, rows: Rows) -> FloatArray:
    """What a trained rung says of rows, as far as it decides between rungs."""
    if output_of(rows.y) is Output.TEXT:
        return cast(Answering, model).compared(rows)
    return cast(Fitted, model).predict_logits(rows.texts)


def sigmoid(logits: FloatArray) -> FloatArray:
    """Probability of each of some log-odds, without overflow."""
    return np.asarray(0.5 * (1.0 + np.tanh(0.5 * logits)))


def row_losses(logits: FloatArray, y: Targets) -> FloatArray:
    """What the outputs (n, c) of each row cost, (n,): cross-entropy; its mean over labels; half the squared error. NaN where they are."""
    kind = output_of(y)
    if kind is Output.NUMBER:
        return np.asarray(0.5 * ((logits - y) ** 2).sum(axis=1))
    if kind is Output.LABELS:
        return np.asarray((np.logaddexp(0.0, logits) - y * logits).mean(axis=1))
    top = logits.max(axis=1)
    losses: FloatArray = top + np.log(np.exp(logits - top[:, None]).sum(axis=1)) - logits[np.arange(len(y)), y]
    return losses


def one_hot(y: Targets, n_classes: int) -> Targets:
    """The targets as a matrix (n, c): classes as 0 and 1, others as they are."""
    return np.eye(n_classes)[y] if y.ndim == 1 else y


def as_classes(logits: FloatArray, y: IntArray) -> tuple[FloatArray, IntArray]:
    """Labels (n, c) as so many rows of two classes each, absent and present: logits (n c, 2) and classes (n c,)."""
    flat = logits.reshape(-1)
    return np.column_stack([np.zeros_like(flat), flat]), y.reshape(-1)
