"""Intervals for the judge's numbers.

What was chosen, by coverage of nominal 95 % intervals in simulation (4 and 12 classes, even and uneven, accuracy 0.37 to 0.98, n = 50,
200, 1000; `tests/judge/test_coverage.py` repeats a part):

- **accuracy**: Wilson's interval. The percentile bootstrap covers 69 % at accuracy 0.975 and n = 50, because a sample without an error
  has nothing to resample; Wilson covers 95 %.
- **macro-F1**: Wilson's interval at the number of rows that would give a proportion the variance which the bootstrap finds. Percentiles
  cover 69 % to 96 %, on average 83 % at n = 50; this 93 % to 98 %.
- **log-loss**: Student's interval of the mean on a log scale (losses are skewed and positive): 91 % to 97 %, on average 94 %. Percentiles
  and BCa fall to 87 % and 90 %.
- **calibration error**: it reads high in a sample and higher still in a resample. So the upper bound is the percentile and the lower
  bound is reflected about the value: 88 % to 98 %, on average 95 %; percentiles alone can miss nearly always.

Rows of one group of near-duplicates stand or fall together, so a group is one unit of resampling and of every variance here. What no
interval over rows can see is how much another draw of *training* rows would change; see `gains.py`.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import bootstrap, metrics
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Scores
from headstart.settings import Metric

# With fewer rows wrong (or right) than this, a variance found in the sample is too uncertain to lean on.
FEW = 10
# Of e: beyond it a bound on a mean loss is out of all reach, and floating-point numbers end at 709.
_GREATEST_POWER = 700.0


def scores(probabilities: FloatArray, y: IntArray, *, groups: IntArray | None, confidence: float, resamples: int, seed: int) -> Scores:
    """All metrics of one set of predictions, each with its interval.

    Args:
        probabilities: shape (n, c), rows summing to 1.
        y: true class numbers, shape (n,).
        groups: a number per row, equal for rows that are near-duplicates of each other, shape (n,). None: all rows are independent.
        confidence: coverage of the intervals, in (0, 1).
        resamples: bootstrap resamples, at least 100.
        seed: of the resampling; equal seeds give equal intervals.

    Raises:
        DataError: there are no rows.
        HeadstartError: a prediction is not a number.
    """
    metrics.check_predictions(probabilities, y)
    accuracy = _accuracy(probabilities, y, groups, confidence)
    loss = _log_loss(probabilities, y, groups, confidence)
    drawn = _resampled(probabilities, y, groups, resamples, seed)
    f1 = _macro_f1(probabilities, y, groups, confidence, drawn.macro_f1)
    gap = _calibration_error(probabilities, y, groups, confidence, drawn.calibration_error)
    return {
        Metric.ACCURACY.value: accuracy,
        Metric.MACRO_F1.value: f1,
        Metric.LOG_LOSS.value: loss,
        "calibration_error": gap,
    }


def estimate(
    metric: Metric, probabilities: FloatArray, y: IntArray, *, groups: IntArray | None, confidence: float, resamples: int, seed: int
) -> Estimate:
    """One metric with its interval; arguments and errors as for `scores`.

    Accuracy and log-loss need no resampling and cost next to nothing.
    """
    metrics.check_predictions(probabilities, y)
    if metric is Metric.ACCURACY:
        return _accuracy(probabilities, y, groups, confidence)
    if metric is Metric.LOG_LOSS:
        return _log_loss(probabilities, y, groups, confidence)
    drawn = _resampled(probabilities, y, groups, resamples, seed)
    return _macro_f1(probabilities, y, groups, confidence, drawn.macro_f1)


def wilson(share: float, n: float, confidence: float) -> tuple[float, float]:
    """Wilson's score interval of a share in [0, 1] seen on `n` independent rows; `n` need not be whole. It always holds `share`."""
    z = normal_quantile(confidence)
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return min(share, max(0.0, middle - half)), max(share, min(1.0, middle + half))


def normal_quantile(confidence: float) -> float:
    """How many standard deviations a two-sided interval reaches to either side: 1.96 at 0.95."""
    from scipy.special import ndtri

    return float(ndtri(0.5 + confidence / 2))


def student_quantile(confidence: float, freedom: int) -> float:
    """The same for Student's t with `freedom` >= 1 degrees of freedom."""
    from scipy.special import stdtrit

    return float(stdtrit(freedom, 0.5 + confidence / 2))


def count_units(n: int, groups: IntArray | None) -> int:
    """How many independent things the rows are: groups where given, else rows."""
    return n if groups is None else len(np.unique(groups))


def even_rows(y: IntArray, groups: IntArray | None) -> float:
    """On how many independent rows one share would vary like a mean of one share per class of `y`.

    All rows when classes are even, fewer when some are small.
    """
    per_class = np.bincount(y)
    per_class = per_class[per_class > 0]
    return float(len(per_class) ** 2 / (1.0 / per_class).sum()) * count_units(len(y), groups) / len(y)


def variance_of_mean(values: FloatArray, groups: IntArray | None) -> float:
    """The variance of the mean of `values`, shape (n,), when groups of rows vary together; without groups it is their variance / n."""
    residuals = values - values.mean()
    if groups is not None:
        residuals = np.bincount(np.unique(groups, return_inverse=True)[1].reshape(-1), weights=residuals)
    return float(residuals @ residuals) / len(values) ** 2


def _resampled(probabilities: FloatArray, y: IntArray, groups: IntArray | None, resamples: int, seed: int) -> bootstrap.Values:
    rng = np.random.default_rng(seed)
    unit_of_row, _ = bootstrap.units(len(y), groups, rng)
    return bootstrap.resampled([bootstrap.row_sums(probabilities, y)], unit_of_row, resamples, rng)[0]


def share_interval(share: float, variance: float, few: bool, most: float, least: float, confidence: float) -> tuple[float, float]:
    """Wilson's interval at the number of rows that gives a share this variance, at most `most`.

    When the variance is not to be trusted (`few`), at most `least`.
    """
    effective = most if variance <= 0 else min(most, share * (1 - share) / variance)
    return wilson(share, max(1.0, min(least, effective) if few else effective), confidence)


def _accuracy(probabilities: FloatArray, y: IntArray, groups: IntArray | None, confidence: float) -> Estimate:
    right = (metrics.predicted(probabilities) == y).astype(np.float64)
    n, share = len(y), float(right.mean())
    if groups is None:
        low, high = wilson(share, n, confidence)
    else:
        few = min(right.sum(), n - right.sum()) < FEW
        low, high = share_interval(share, variance_of_mean(right, groups), few, n, count_units(n, groups), confidence)
    return Estimate(share, low, high, n, confidence)


def _macro_f1(probabilities: FloatArray, y: IntArray, groups: IntArray | None, confidence: float, drawn: FloatArray) -> Estimate:
    n, value = len(y), metrics.macro_f1(probabilities, y)
    right = int((metrics.predicted(probabilities) == y).sum())
    low, high = share_interval(value, float(drawn.var()), min(right, n - right) < FEW, n, even_rows(y, groups), confidence)
    return Estimate(value, low, high, n, confidence)


def _log_loss(probabilities: FloatArray, y: IntArray, groups: IntArray | None, confidence: float) -> Estimate:
    losses = metrics.row_losses(probabilities, y)
    value, u = float(losses.mean()), count_units(len(y), groups)
    if u < 2:
        return Estimate(value, 0.0, metrics.GREATEST_LOSS, len(y), confidence)
    spread = math.sqrt(variance_of_mean(losses, groups) * u / (u - 1)) / value
    factor = math.exp(min(_GREATEST_POWER, student_quantile(confidence, u - 1) * spread))
    return Estimate(value, value / factor, min(metrics.GREATEST_LOSS, value * factor), len(y), confidence)


def _calibration_error(probabilities: FloatArray, y: IntArray, groups: IntArray | None, confidence: float, drawn: FloatArray) -> Estimate:
    value = metrics.calibration_error(probabilities, y)
    if count_units(len(y), groups) < 2:
        return Estimate(value, 0.0, 1.0, len(y), confidence)
    upper = float(np.quantile(drawn, 0.5 + confidence / 2))
    return Estimate(value, min(value, max(0.0, 2 * value - upper)), max(value, upper), len(y), confidence)


def widened_by_folds(half: float, variance: float, shares: FloatArray, folds: IntArray, confidence: float) -> float:
    """Half an interval of a difference between two rungs over rows, widened by what models of other training rows would change.

    By the corrected variance of Nadeau and Bengio (2003, "Inference for the Generalization Error"), (1/k + test rows / training rows) times
    the variance between folds, with k - 1 degrees of freedom. Folds differ by their rows too, which `half` holds already: by k times
    `variance`, of which half is taken off, for so few folds tell their variance badly. In simulations of equal rungs (40 to 400 rows, 2 to
    10 classes, five folds, models that vary by up to six points with their training rows) an interval of 95 % then errs in 2 to 5 % of the
    trials; with nothing taken off in 1 to 2 %, and a gain of fifteen points in 60 rows is found little more than half as often then
    (docs/log.md).

    Args:
        half: half the width over rows.
        variance: that of the difference over rows.
        shares: by how much each row moves the difference, (n,), up to a constant: its mean over a fold is how that differs from the others.
        folds: the fold of each row, (n,); a single one says nothing.
        confidence: coverage, in (0, 1).
    """
    names = np.unique(folds)
    k = len(names)
    if k < 2 or not math.isfinite(half):
        return half
    between = float(np.array([shares[folds == name].mean() for name in names]).var(ddof=1))
    more = (1.0 / k + 1.0 / (k - 1)) * max(0.0, between - 0.5 * k * variance)
    return math.hypot(half, student_quantile(confidence, k - 1) * math.sqrt(more))
