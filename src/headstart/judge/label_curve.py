"""The label curve: score against number of labels, and how many labels transfer was worth.

Held-out rows are folds, so each row is predicted at most once per size and never by a head that saw it or its near-duplicate. Training
subsets are nested stratified draws from the rest: the rows of a small subset are part of every larger one, and each class has a row as
soon as there are as many rows as classes.

The labels that the rung without transfer would need come from a power law through its scores (`judge/power_law.py`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from headstart.data import split
from headstart.data.examples import IntArray
from headstart.judge.intervals import normal_quantile
from headstart.judge.metrics import FloatArray
from headstart.judge.power_law import fit_power_law
from headstart.records import Estimate, LabelCurve, LabelPoint
from headstart.settings import Metric

PredictAt = Callable[[str, IntArray, IntArray], FloatArray]
"""What a rung, trained on the rows at some positions, says of those at others: logits of all their units."""
JudgeAt = Callable[[FloatArray, IntArray], Estimate]
"""The score of such logits, of the rows at these positions."""

MOST_SIZES = 6
_FEWEST_LABELS = 8
# Beyond this many times the labels at hand a curve is no evidence.
_REACH = 10


@dataclass(frozen=True)
class Needed:
    """How many labels a curve needs for a score. `labels` None: not to be told from the curve; `note` says in a sentence what is known."""

    labels: int | None
    note: str


def sizes(n: int, c: int, most: int = MOST_SIZES) -> list[int]:
    """At which numbers of labels to measure: up to `most`, evenly apart on a log scale, at least doubling roughly, the last being `n`.

    The first is the greater of 8 and the number of classes `c`; with fewer rows than that, `n` alone.
    """
    low = max(c, _FEWEST_LABELS)
    if n <= low:
        return [n]
    count = min(most, max(2, 1 + math.floor(math.log2(n / low))))
    return sorted({round(size) for size in np.geomspace(low, n, count)})


def label_curve(
    predict_at: PredictAt,
    judge_at: JudgeAt,
    strata: IntArray,
    *,
    groups: IntArray | None,
    rungs: Sequence[str],
    baseline: str | None,
    metric: Metric,
    folds: int,
    repeats: int,
    seed: int,
    lacking: str = "transfer",
    most: int = MOST_SIZES,
) -> LabelCurve:
    """Measure every rung at every size.

    Args:
        predict_at: trains a rung on some rows and predicts others; called `rungs x sizes x repeats` times.
        judge_at: scores what the parts predicted together.
        strata: what draws and parts are stratified by, class numbers as a rule, shape (n,). The judge's test rows are not among them.
        groups: a number per row, equal for near-duplicates, shape (n,); a group is never both trained on and held out. None: no groups.
        rungs: the rungs to draw, the one that transfers first.
        baseline: the one of `rungs` without transfer, for `needed`. None: `needed` is not told.
        metric: the metric of the scores.
        folds: in how many parts the rows are cut, at least 2; one part at a time is held out. A class that stands in a single group is
            always trained on.
        repeats: how many of the parts are held out in turn, 1 to `folds`.
        seed: of the parts and the draws.
        lacking: what the baseline is without, in words.
        most: sizes at most.

    Raises:
        DataError: no class has two independent rows, so none can be held out.
    """
    if not 1 <= repeats <= folds or folds < 2:
        raise ValueError(f"repeats is {repeats} and folds {folds}; 1 <= repeats <= folds and folds >= 2 are needed")
    rng = np.random.default_rng(seed)
    pairs = split.folds(strata, np.arange(len(strata)) if groups is None else groups, folds, seed)[:repeats]
    helds = [held for _, held in pairs]
    orders = [nested_order(strata, training, rng) for training, _ in pairs]
    held = np.concatenate(helds)
    points = []
    for size in sizes(min(len(order) for order in orders), int(strata.max()) + 1, most):
        for rung in rungs:
            found = [predict_at(rung, np.sort(order[:size]), rows) for order, rows in zip(orders, helds, strict=True)]
            points.append(LabelPoint(rung, size, judge_at(np.concatenate(found), held)))
    needed = _needed_by(points, rungs[0], baseline, metric, lacking)
    return LabelCurve(tuple(points), needed.labels, needed.note, baseline or "")


def needed_labels(points: Sequence[tuple[int, float, float]], target: float, *, ceiling: float, lacking: str = "transfer") -> Needed:
    """The labels at which the curve through `points` reaches `target`.

    Args:
        points: (labels, score, standard error of the score); greater scores are better. At least three different numbers of labels.
        target: the score to reach.
        ceiling: the greatest score there is: 1 for accuracy, 100 for BLEU, 0 for log-loss with its sign turned.
        lacking: as in `label_curve`.
    """
    sizes_measured = {labels for labels, _, _ in points}
    if len(sizes_measured) < 3:
        return Needed(None, f"Too few sizes were measured to tell how many labels would be needed without {lacking}.")
    fewest, most = min(sizes_measured), max(sizes_measured)
    law = fit_power_law(points, ceiling)
    top, drop, power = law.top, law.drop, law.power
    if top <= target:
        return Needed(None, f"From its curve up to {most:,} labels, the rung without {lacking} never reaches the same score.")
    # In logarithms, for a small power overflows; a flat curve that lies above the target needs nothing.
    log_needed = math.log(drop / (top - target)) / power if drop > 0 else -math.inf
    if log_needed > math.log(_REACH * most):
        beyond = f"more than {_REACH * most:,} labels, {_REACH} times those at hand,"
        return Needed(None, f"Without {lacking} {beyond} would be needed for the same score.")
    labels = math.ceil(math.exp(log_needed) - 1e-6)
    if labels <= fewest:
        return Needed(fewest, f"Without {lacking} {fewest:,} labels or fewer reach the same score.")
    if labels <= most:
        return Needed(labels, f"Without {lacking} about {labels:,} labels reach the same score.")
    return Needed(labels, f"Without {lacking} about {labels:,} labels would be needed for the same score (drawn out from {most:,}).")


def _needed_by(points: Sequence[LabelPoint], rung: str, baseline: str | None, metric: Metric, lacking: str) -> Needed:
    """What the baseline needs for the score that `rung` has at its most labels."""
    if baseline is None or baseline == rung:
        return Needed(None, "")
    sign, ceiling = (1.0, metric.full) if metric.higher_is_better else (-1.0, 0.0)
    target = max((point for point in points if point.rung == rung), key=lambda point: point.labels).score.value
    curve = [
        (point.labels, sign * point.score.value, (point.score.high - point.score.low) / (2 * normal_quantile(point.score.confidence)))
        for point in points
        if point.rung == baseline
    ]
    return needed_labels(curve, sign * target, ceiling=ceiling, lacking=lacking)


def nested_order(y: IntArray, rows: IntArray, rng: np.random.Generator) -> IntArray:
    """`rows` in an order of which every beginning is a stratified draw: one row of each class first, then all classes in proportion."""
    shuffled = rng.permutation(rows)
    shuffled = shuffled[np.argsort(y[shuffled], kind="stable")]
    _, starts, counts = np.unique(y[shuffled], return_index=True, return_counts=True)
    rank = np.arange(len(shuffled)) - np.repeat(starts, counts)
    share = np.where(rank == 0, -1.0, (rank + 0.5) / np.repeat(counts, counts))
    return np.asarray(shuffled[np.lexsort((rng.random(len(shuffled)), share))], dtype=np.int64)
