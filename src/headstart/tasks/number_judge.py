"""How predicted numbers are scored: by their order (Spearman), along a line (Pearson), and by how far they lie from the truth.

All follow from sums over rows; Spearman's is Pearson's of the ranks among the judged rows. The variance explained is 1 minus the ratio
of the mean squared error to the variance of the truth; below 0 the mean would have done better.

Letters in shapes: n rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import measures
from headstart.judge.measures import Measure, Range
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Scores
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.base import Seen
from headstart.tasks.sums_judge import SumsJudge

SHOWN = 1000  # pairs of truth and prediction that a run keeps


def correlation_of(sums: FloatArray) -> FloatArray:
    """Pearson's correlation of sums (6, ...): rows, x, y, x squared, y squared, x times y; 0 where one of them does not vary."""
    n, x, y, xx, yy, xy = sums
    n = np.maximum(n, 1.0)
    spread = np.maximum(xx - x * x / n, 0.0) * np.maximum(yy - y * y / n, 0.0)
    # What is left of equal numbers is rounding; against sums of standardised numbers it is below this.
    varies = spread > 1e-12 * n * n
    return np.asarray(np.clip(np.where(varies, (xy - x * y / n) / np.sqrt(np.where(varies, spread, 1.0)), 0.0), -1.0, 1.0))


CORRELATION = Measure(correlation_of, lambda sums: np.asarray(sums[0]), Range.CORRELATION)


def correlation_sums(x: FloatArray, y: FloatArray) -> FloatArray:
    """The sums (n, 6) of a correlation between numbers (n,), each brought to mean 0 and variance 1 first."""
    x, y = _standard(x), _standard(y)
    return np.column_stack([np.ones(len(x)), x, y, x * x, y * y, x * y])


def _standard(x: FloatArray) -> FloatArray:
    spread = float(x.std())
    return np.asarray((x - x.mean()) / spread if spread > 1e-12 * float(np.abs(x).max(initial=0.0)) else np.zeros(len(x)))


def sums_of(metric: Metric, logits: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """A correlation and the sums (n, 6) that it follows from."""
    found, given = logits[:, 0], rows.y[:, 0]
    if metric is Metric.SPEARMAN:
        from scipy.stats import rankdata

        return CORRELATION, correlation_sums(rankdata(found), rankdata(given))
    return CORRELATION, correlation_sums(found, given)


class NumberJudge(SumsJudge):
    """Correlations, the share of variance explained, the root of the mean squared error, the mean absolute error."""

    def __init__(self) -> None:
        super().__init__(sums_of)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score; errors are in the unit of the numbers. The share of variance explained is nan where the truth does not vary."""
        apart = logits[:, 0] - rows.y[:, 0]
        squared = self.estimate_of(measures.MEAN_LOSS, measures.means_of(apart**2), groups, settings)
        return {
            Metric.SPEARMAN.value: self.estimate(Metric.SPEARMAN, logits, rows, groups, settings),
            Metric.PEARSON.value: self.estimate(Metric.PEARSON, logits, rows, groups, settings),
            "r2": self._explained(apart, rows.y[:, 0], groups, settings),
            "rmse": Estimate(math.sqrt(squared.value), math.sqrt(squared.low), math.sqrt(squared.high), squared.n, squared.confidence),
            "mean_absolute_error": self.estimate_of(measures.MEAN_LOSS, measures.means_of(np.abs(apart)), groups, settings),
        }

    def _explained(self, apart: FloatArray, given: FloatArray, groups: IntArray | None, settings: Settings) -> Estimate:
        """1 minus the share of the variance that is left, its interval turned round too."""
        left = self.estimate_of(_UNEXPLAINED, _unexplained_sums(apart, given), groups, settings)
        if np.ptp(given) == 0.0:
            return replace(left, value=math.nan, low=math.nan, high=math.nan)
        return replace(left, value=1.0 - left.value, low=1.0 - left.high, high=1.0 - left.low)

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """The truth and what was predicted, of some rows where there are many."""
        some = slice(None, None, max(1, math.ceil(len(rows) / SHOWN)))
        pairs = zip(rows.y[some, 0].tolist(), said.outputs[some, 0].tolist(), strict=True)
        return Seen(numbers=tuple(pairs))


def _unexplained_sums(apart: FloatArray, given: FloatArray) -> FloatArray:
    """Of each row, (n, 4): 1, the truth, its square, the squared error; the truth brought to mean 0 and variance 1."""
    spread = float(given.std()) or 1.0
    truth = (given - given.mean()) / spread
    return np.column_stack([np.ones(len(truth)), truth, truth**2, (apart / spread) ** 2])


def _share_unexplained(sums: FloatArray) -> FloatArray:
    n, y, yy, error = sums
    return np.asarray(error / np.maximum(yy - y * y / np.maximum(n, 1.0), 1e-12))


_UNEXPLAINED = Measure(_share_unexplained, lambda sums: np.asarray(sums[0]), Range.LOSS)
