"""Metrics from probabilities.

Letters in shapes: n rows, c classes. Everywhere `probabilities` is (n, c), each row summing to 1, and `y` is (n,) with class numbers in
[0, c). The predicted class is the most probable one; between equal ones the lowest number.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.errors import DataError, HeadstartError
from headstart.records import ClassScore
from headstart.settings import Metric

FloatArray = NDArray[np.float64]

# Probabilities below this count as this much, so that one impossible row costs 36 and not infinity. The same as scikit-learn's.
_SMALLEST = float(np.finfo(np.float64).eps)
GREATEST_LOSS = float(-np.log(_SMALLEST))
_MOST_BINS = 15
_ROWS_PER_BIN = 10


def check_predictions(probabilities: FloatArray, y: IntArray) -> None:
    """Refuse what cannot be judged.

    Raises:
        DataError: there are no rows.
        HeadstartError: a prediction is not a number, as after a training that diverged.
        ValueError: the shapes do not fit or a class number is out of range; a mistake in the calling code.
    """
    if probabilities.ndim != 2 or y.shape != probabilities.shape[:1]:
        raise ValueError(f"probabilities of shape {probabilities.shape} do not fit y of shape {y.shape}; (n, c) and (n,) are needed")
    if len(y) == 0:
        raise DataError("There are no rows to judge; give a test file with at least one labelled row, or a greater share of test rows.")
    if y.min() < 0 or y.max() >= probabilities.shape[1]:
        raise ValueError(f"y holds class numbers from {y.min()} to {y.max()}; with {probabilities.shape[1]} classes they start at 0")
    bad = np.flatnonzero(~np.isfinite(probabilities.sum(axis=1)))
    if len(bad):
        raise HeadstartError(
            f"The prediction for judged row {bad[0] + 1} is not a number ({len(bad)} such rows); "
            "the training diverged: lower the learning rate or choose another source."
        )


def predicted(probabilities: FloatArray) -> IntArray:
    """The most probable class of each row, shape (n,)."""
    return np.asarray(probabilities.argmax(axis=1), dtype=np.int64)


def row_losses(probabilities: FloatArray, y: IntArray) -> FloatArray:
    """Minus the log-probability of each row's true class, shape (n,), at least 0 and at most 36.05."""
    true = np.take_along_axis(probabilities, y[:, None], axis=1)[:, 0].astype(np.float64)
    return np.asarray(-np.log(np.clip(true, _SMALLEST, 1.0 - _SMALLEST)))


def confidence_bins(confidences: FloatArray) -> IntArray:
    """The bin of each row for the calibration error: as equal in rows as ties allow, at least 10 rows each and at most 15 bins.

    Equal confidences share a bin, so the order of the rows does not matter.
    """
    bins = int(np.clip(len(confidences) // _ROWS_PER_BIN, 1, _MOST_BINS))
    edges = np.unique(np.quantile(confidences, np.linspace(0, 1, bins + 1)[1:-1])) if bins > 1 else np.empty(0)
    return np.asarray(np.searchsorted(edges, confidences, side="left"), dtype=np.int64)


def accuracy(probabilities: FloatArray, y: IntArray) -> float:
    """Share of rows whose predicted class is the true one."""
    return float((predicted(probabilities) == y).mean())


def macro_f1(probabilities: FloatArray, y: IntArray) -> float:
    """Mean F1 over the classes that occur in `y` or among the predictions; a class of which no row is right counts 0.

    The same as scikit-learn's `f1_score(y, predicted, average="macro", zero_division=0)`.
    """
    guesses, c = predicted(probabilities), probabilities.shape[1]
    hits = np.bincount(y[guesses == y], minlength=c)
    return float(macro_f1_from_counts(hits, np.bincount(y, minlength=c), np.bincount(guesses, minlength=c)))


def macro_f1_from_counts(
    hits: NDArray[np.float64] | IntArray, actual: NDArray[np.float64] | IntArray, given: NDArray[np.float64] | IntArray
) -> FloatArray:
    """Macro-F1 from counts by class along axis 0: rows right, rows that bear the label, rows given the label. Further axes are kept."""
    rows = actual + given
    present = rows > 0
    f1 = 2.0 * hits / np.where(present, rows, 1)
    return np.asarray(f1.sum(axis=0) / np.maximum(present.sum(axis=0), 1))


def row_shares(metric: Metric, probabilities: FloatArray, y: IntArray) -> FloatArray:
    """By how much each row moves the score, (n,), up to a constant: of a mean its own part, of macro-F1 n times its first-order
    influence."""
    guesses = predicted(probabilities)
    right: FloatArray = (guesses == y).astype(np.float64)
    if metric is Metric.ACCURACY:
        return right
    if metric is Metric.LOG_LOSS:
        return row_losses(probabilities, y)
    c = probabilities.shape[1]
    rows = np.bincount(y, minlength=c) + np.bincount(guesses, minlength=c)
    f1 = 2.0 * np.bincount(y[guesses == y], minlength=c) / np.maximum(rows, 1)
    moved = (2.0 * right - f1[y]) / rows[y] - f1[guesses] / rows[guesses]
    return np.asarray(len(y) * moved / (rows > 0).sum())


def log_loss(probabilities: FloatArray, y: IntArray) -> float:
    """Mean over rows of minus the log-probability of the true class; 0 is perfect, log(c) is what equal odds cost."""
    return float(row_losses(probabilities, y).mean())


def calibration_error(probabilities: FloatArray, y: IntArray) -> float:
    """Expected calibration error in [0, 1]: how far the confidence of the predictions lies from their accuracy, bin by bin.

    Bins hold about equally many rows (`confidence_bins`). Few rows read high even when the model is perfectly calibrated.
    """
    confidences = probabilities.max(axis=1).astype(np.float64)
    gaps = confidences - (predicted(probabilities) == y)
    return float(np.abs(np.bincount(confidence_bins(confidences), weights=gaps)).sum() / len(y))


def score(metric: Metric, probabilities: FloatArray, y: IntArray) -> float:
    """The metric that decides between rungs, in its own unit and direction."""
    functions = {Metric.ACCURACY: accuracy, Metric.MACRO_F1: macro_f1, Metric.LOG_LOSS: log_loss}
    return functions[metric](probabilities, y)


def confusion_matrix(probabilities: FloatArray, y: IntArray) -> IntArray:
    """Counts of shape (c, c): entry (i, j) is how many rows of class i were given class j."""
    c = probabilities.shape[1]
    return np.bincount(y * c + predicted(probabilities), minlength=c * c).reshape(c, c)


def class_scores(confusion: IntArray, labels: Sequence[str]) -> tuple[ClassScore, ...]:
    """Precision, recall and F1 of each class, in the order of `labels`. A ratio without any rows below it counts 0."""
    hits, actual, given = np.diagonal(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = hits / np.maximum(given, 1)
    recall = hits / np.maximum(actual, 1)
    f1 = 2.0 * hits / np.maximum(actual + given, 1)
    return tuple(ClassScore(label, float(precision[k]), float(recall[k]), float(f1[k]), int(actual[k])) for k, label in enumerate(labels))
