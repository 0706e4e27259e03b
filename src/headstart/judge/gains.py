"""The paired gain of one rung over another, and the verdict on it.

Both rungs predict the same rows, so most of what varies between samples is common to them and drops out of the difference.

The interval is the gain +- t x s. s^2 is the variance of the difference (paired bootstrap for macro-F1, in closed form for the means)
plus 2 / u^2 for accuracy (likewise for macro-F1), with u independent rows: one more row won and one more row lost, after Bonett and
Price (2012, "Adjusted Wald confidence interval for a difference of binomial proportions based on paired data"). Without it four rows
won and none lost at u = 50 would count as proof, which the exact test (p = 0.125) denies. In 54 simulated cases
(equal models and better ones; 4 and 12 classes, even and uneven) this interval misses on average 2 % of the time at n = 50 and 4 % at
n >= 200, for log-loss 5 %; percentiles miss 5 % to 7 %, at worst 14 %, and BCa misses 9 % for log-loss at n = 50.

**Folds.** Rows predicted out of fold come from k models that share most of their training rows. Resampling rows keeps those models
fixed, so it misses what another draw of training rows would change. Where `folds` is given the interval is widened by how much the folds
differ (`intervals.widened_by_folds`). With a single training run (one test split) only the rows' variance is covered.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import bootstrap, intervals, metrics
from headstart.judge.metrics import FloatArray
from headstart.records import Gain, Verdict
from headstart.settings import Metric


def paired_gain(
    winner_probabilities: FloatArray,
    opponent_probabilities: FloatArray,
    y: IntArray,
    metric: Metric,
    *,
    winner: str,
    opponent: str,
    groups: IntArray | None,
    folds: IntArray | None,
    confidence: float,
    resamples: int,
    seed: int,
) -> Gain:
    """How much better the winner is on these rows; for log-loss the sign is turned, so that positive is always better.

    Args:
        winner_probabilities: shape (n, c), rows summing to 1.
        opponent_probabilities: of the same rows in the same order, shape (n, c).
        y: true class numbers, shape (n,).
        metric: in whose unit the gain is told.
        winner: name of the first rung, for the record.
        opponent: name of the second.
        groups: a number per row, equal for near-duplicates, shape (n,). None: all rows are independent.
        folds: the outer fold that each row was predicted in, shape (n,). None: one model predicted all rows.
        confidence: coverage of the interval, in (0, 1). The verdict is *helps* or *hurts* when the interval excludes 0.
        resamples: bootstrap resamples, at least 100; used for macro-F1.
        seed: of the resampling.

    Raises:
        DataError: there are no rows.
        HeadstartError: a prediction is not a number.
    """
    metrics.check_predictions(winner_probabilities, y)
    metrics.check_predictions(opponent_probabilities, y)
    sign = 1.0 if metric.higher_is_better else -1.0
    value = sign * (metrics.score(metric, winner_probabilities, y) - metrics.score(metric, opponent_probabilities, y))
    variance = _variance(winner_probabilities, opponent_probabilities, y, metric, groups, resamples, seed)
    u = intervals.count_units(len(y), groups)
    half = intervals.student_quantile(confidence, max(u - 1, 1)) * math.sqrt(variance)
    if folds is not None:
        shares = metrics.row_shares(metric, winner_probabilities, y) - metrics.row_shares(metric, opponent_probabilities, y)
        half = intervals.widened_by_folds(half, variance, shares, folds, confidence)
    # A share cannot differ by more than 1; a difference of losses by more than the greatest loss.
    bound = 1.0 if metric.higher_is_better else metrics.GREATEST_LOSS
    low, high = max(-bound, value - half), min(bound, value + half)
    verdict = Verdict.HELPS if low > 0 else Verdict.HURTS if high < 0 else Verdict.UNCLEAR
    return Gain(metric.value, value, low, high, len(y), confidence, winner, opponent, verdict)


def _variance(
    first: FloatArray, second: FloatArray, y: IntArray, metric: Metric, groups: IntArray | None, resamples: int, seed: int
) -> float:
    """The variance of the difference over rows; infinite with fewer than two independent rows."""
    u = intervals.count_units(len(y), groups)
    if u < 2:
        return math.inf
    if metric is Metric.MACRO_F1:
        rng = np.random.default_rng(seed)
        unit_of_row, _ = bootstrap.units(len(y), groups, rng)
        both = [bootstrap.row_sums(first, y), bootstrap.row_sums(second, y)]
        ours, theirs = bootstrap.resampled(both, unit_of_row, resamples, rng)
        variance = float((ours.macro_f1 - theirs.macro_f1).var())
    elif metric is Metric.ACCURACY:
        won = (metrics.predicted(first) == y).astype(np.float64) - (metrics.predicted(second) == y)
        variance = intervals.variance_of_mean(won, groups)
    else:
        variance = intervals.variance_of_mean(metrics.row_losses(first, y) - metrics.row_losses(second, y), groups)
    variance *= u / (u - 1)
    if metric is Metric.ACCURACY:
        variance += 2.0 / u**2
    elif metric is Metric.MACRO_F1:
        variance += 2.0 / (u * intervals.even_rows(y, groups))  # a row of a small class weighs more
    return variance
