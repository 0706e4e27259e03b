"""Scores that follow from sums over rows, as F1 follows from three counts; their intervals and paired gains.

Accuracy, macro-F1 and log-loss of single labels have closed forms or a sparse way of their own (`intervals.py`, `gains.py`); what is here
serves every other score. The interval of a share is Wilson's at the number of trials that gives it the variance which resampled rows
show, as for macro-F1; a correlation's is Student's on Fisher's scale (the hyperbolic arctangent), a loss's on a logarithmic one, that of
a score in points (BLEU) on its own. The gain's is Student's with the paired variance of the same resamples.

Letters in shapes: n rows, k sums, b resamples.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np

from headstart.data.examples import IntArray
from headstart.errors import DataError
from headstart.judge import bootstrap, intervals
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Gain, Verdict
from headstart.settings import Metric


class Range(Enum):
    """Where a score can lie; the greatest difference of two of them."""

    SHARE = 1.0  # [0, 1]
    CORRELATION = 2.0  # [-1, 1]
    POINTS = 100.0  # [0, 100]
    LOSS = math.inf  # 0 and above


@dataclass(frozen=True)
class Measure:
    """A score of totals: `value` gives it, shape (...), for totals (k, ...), and 0 where nothing was to be found; `trials` on how many
    things it stands; `range` is where it lies.
    """

    value: Callable[[FloatArray], FloatArray]
    trials: Callable[[FloatArray], FloatArray]
    range: Range = Range.SHARE


def f1_of(counts: FloatArray) -> FloatArray:
    """F1 of counts (3, ...): found and right, found, there."""
    hits, found, there = counts
    return np.asarray(2.0 * hits / np.maximum(found + there, 1.0))


F1 = Measure(f1_of, lambda counts: np.asarray((counts[1] + counts[2]) / 2.0))
PRECISION = Measure(lambda counts: np.asarray(counts[0] / np.maximum(counts[1], 1.0)), lambda counts: np.asarray(counts[1]))
RECALL = Measure(lambda counts: np.asarray(counts[0] / np.maximum(counts[2], 1.0)), lambda counts: np.asarray(counts[2]))
# Of (2, ...): the sum of a share, or of a loss, of each row; rows.
MEAN = Measure(lambda sums: np.asarray(sums[0] / np.maximum(sums[1], 1.0)), lambda sums: np.asarray(sums[1]))
MEAN_LOSS = Measure(MEAN.value, MEAN.trials, Range.LOSS)


def means_of(values: FloatArray) -> FloatArray:
    """The sums (n, 2) of a mean over rows of these values (n,)."""
    return np.column_stack([values, np.ones(len(values))])


def mean_by_class(classes: int) -> Measure:
    """Mean F1 over the classes that are there or were found, of totals (3 classes, ...): found and right, found, there."""

    def value(totals: FloatArray) -> FloatArray:
        counts = totals.reshape(3, classes, *totals.shape[1:])
        present = counts[1] + counts[2] > 0
        return np.asarray((f1_of(counts) * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1))

    return Measure(value, lambda totals: np.asarray(totals[classes:].sum(axis=0) / 2.0))


def value_of(measure: Measure, sums: FloatArray) -> float:
    """The score of rows whose sums are (n, k)."""
    return float(measure.value(sums.sum(axis=0)))


def estimate(measure: Measure, sums: FloatArray, *, groups: IntArray | None, confidence: float, resamples: int, seed: int) -> Estimate:
    """The score with its interval.

    Args:
        measure: the score.
        sums: of each row, (n, k).
        groups: (n,), equal for near-duplicates; None: all rows are independent.
        confidence: coverage of the interval.
        resamples: bootstrap resamples.
        seed: of the resampling.

    Raises:
        DataError: there are no rows.
    """
    if len(sums) == 0:
        raise DataError("There are no rows to judge; give a test file with at least one labelled row, or a greater share of test rows.")
    totals = sums.sum(axis=0)
    value, trials = float(measure.value(totals)), float(measure.trials(totals))
    if trials == 0:
        return Estimate(value, 0.0, 100.0 if measure.range is Range.POINTS else 1.0, len(sums), confidence)
    drawn = measure.value(_resampled([sums], groups, resamples, seed)[0])
    if measure.range is not Range.SHARE:
        return Estimate(
            value, *_on_a_scale(measure.range, value, drawn, intervals.count_units(len(sums), groups), confidence), len(sums), confidence
        )
    variance = float(drawn.var())
    hits = value * trials
    few = min(hits, trials - hits) < intervals.FEW
    least = min(trials, float(intervals.count_units(len(sums), groups)))
    low, high = intervals.share_interval(value, variance, few, trials, least, confidence)
    return Estimate(value, low, high, len(sums), confidence)


# The scale on which a score that is no share is about normal, the way back, and the values that are taken to it.
_SCALES: dict[Range, tuple[Callable[[Any], Any], Callable[[Any], Any], float, float]] = {
    Range.CORRELATION: (np.arctanh, np.tanh, -0.999999, 0.999999),
    Range.POINTS: (np.asarray, np.asarray, 0.0, 100.0),
    Range.LOSS: (np.log, np.exp, 1e-12, math.inf),
}


def _on_a_scale(range: Range, value: float, drawn: FloatArray, u: int, confidence: float) -> tuple[float, float]:
    """The interval of a score that is no share, from its resamples (b,) of u independent things, on the scale where it is about normal."""
    lowest, highest = {Range.CORRELATION: (-1.0, 1.0), Range.POINTS: (0.0, 100.0)}.get(range, (0.0, math.inf))
    if u < 2:
        return lowest, highest
    # A few resamples may hold one row alone, whose correlation is 1: the edge of the scale is left out.
    to, back, least, most = _SCALES[range]
    half = intervals.student_quantile(confidence, u - 1) * float(to(np.clip(drawn, least, most)).std()) * math.sqrt(u / (u - 1))
    middle = float(to(np.clip(value, least, most)))
    return max(lowest, min(value, float(back(middle - half)))), min(highest, max(value, float(back(middle + half))))


def paired_gain(
    measure: Measure,
    ours: FloatArray,
    theirs: FloatArray,
    *,
    metric: Metric,
    winner: str,
    opponent: str,
    groups: IntArray | None,
    folds: IntArray | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> Gain:
    """How much better the winner is on the same rows, from the sums (n, k) of both; other arguments as in `gains.paired_gain`."""
    sign = 1.0 if metric.higher_is_better else -1.0
    difference = sign * (value_of(measure, ours) - value_of(measure, theirs))
    u = intervals.count_units(len(ours), groups)
    half = math.inf
    if u >= 2:
        first, second = _resampled([ours, theirs], groups, resamples, seed)
        variance = float((measure.value(first) - measure.value(second)).var()) * u / (u - 1)
        trials = min(float(u), max(1.0, float(measure.trials(theirs.sum(axis=0)))))
        # What one row may turn: of a share all of its part, of points as much of those that are there; of a loss the resamples tell.
        one_row = {Range.POINTS: max(value_of(measure, ours), value_of(measure, theirs)), Range.LOSS: 0.0}
        least = one_row.get(measure.range, 1.0) / trials
        variance += 2.0 * least**2
        half = intervals.student_quantile(confidence, u - 1) * math.sqrt(variance)
        if folds is not None:
            half = intervals.widened_by_folds(half, variance, influences(measure, ours) - influences(measure, theirs), folds, confidence)
    low, high = max(-measure.range.value, difference - half), min(measure.range.value, difference + half)
    verdict = Verdict.HELPS if low > 0 else Verdict.HURTS if high < 0 else Verdict.UNCLEAR
    return Gain(metric.value, difference, low, high, len(ours), confidence, winner, opponent, verdict)


def influences(measure: Measure, sums: FloatArray) -> FloatArray:
    """By how much each row moves the score, (n,), times n: the first-order share of its sums (n, k); their mean is about 0."""
    totals = sums.sum(axis=0)
    steps = np.eye(len(totals)) * np.maximum(1e-4 * np.abs(totals), 1e-6)
    slopes = np.array([(measure.value(totals + step) - measure.value(totals - step)) / (2 * step.sum()) for step in steps])
    return np.asarray(len(sums) * (sums @ slopes))


def _resampled(sets: list[FloatArray], groups: IntArray | None, resamples: int, seed: int) -> list[FloatArray]:
    """Totals (k, b) of each set on the same resamples of rows, or of groups of rows."""
    rng = np.random.default_rng(seed)
    unit_of_row, _ = bootstrap.units(len(sets[0]), groups, rng)
    u = int(unit_of_row.max()) + 1
    by_unit = []
    for sums in sets:
        whole = np.zeros((u, sums.shape[1]))
        np.add.at(whole, unit_of_row, sums)
        by_unit.append(whole)
    blocks: list[list[FloatArray]] = [[] for _ in sets]
    for start in range(0, resamples, step := max(1, bootstrap.BLOCK // u)):
        counts = rng.multinomial(u, np.full(u, 1.0 / u), size=min(step, resamples - start)).astype(np.float64)
        for whole, kept in zip(by_unit, blocks, strict=True):
            kept.append((counts @ whole).T)
    return [np.concatenate(kept, axis=1) for kept in blocks]
