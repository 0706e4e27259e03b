"""Sources that were measured, put in order: predicted scores with intervals, ties, reasons, and a map.

Letters in shapes: n rows, c classes, m rows of the map, s sources.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headstart.judge import metrics
from headstart.judge.intervals import normal_quantile
from headstart.judge.verdict import RANKED_WITHOUT_PROBE
from headstart.ranking.kept import Kept
from headstart.ranking.task import Task
from headstart.records import Estimate, RankedSource
from headstart.settings import Metric, by_scale
from headstart.strategies.base import FloatArray
from headstart.tasks.registry import deciding_metric, get_task, reads_in_windows

# By how much a source's score after training differs from what is predicted, beyond the noise of rows (standard deviations, measured by
# benchmarks/ranking): for each source by itself, and for all sources of one target together, which changes no order.
BETWEEN = by_scale(share=0.02, loss=0.08)
LEVEL = by_scale(share=0.04, loss=0.16)
# Estimators that have a say in the order beside the probe. Where a probe's folds cannot tell two sources apart, these often can.
VOICES = ("logme", "knn")
# So has the probe on each of this many best layers, on average: training draws on the whole network, and what a source task wore off at its
# top is still to be had below. Chosen by benchmarks/ranking, as were the voices (docs/choosing_a_source.md tells what that is worth).
BEST_LAYERS = 4


def in_order(found: Sequence[Kept], task: Task) -> list[RankedSource]:
    """Best first, with intervals, ties, reasons and places on the map."""
    metric, confidence = deciding_metric(task.settings), task.settings.confidence
    sign = 1.0 if metric.higher_is_better else -1.0
    bound = metric.full if metric.higher_is_better else metrics.GREATEST_LOSS
    floor = -1.0 if metric in (Metric.SPEARMAN, Metric.PEARSON) else 0.0
    z = normal_quantile(confidence)
    values, plain = combined(found, sign), [plain_score(kept, sign) for kept in found]
    order = sorted(range(len(found)), key=lambda i: -sign * values[i])
    places = on_map([kept.sketch for kept in found])
    first = order[0]
    ranked = []
    for i in order:
        kept, value = found[i], min(max(values[i], floor), bound)
        half = math.hypot(
            (kept.probe.high - kept.probe.low) / 2, z * math.hypot(kept.gain.spread, kept.ahead_error, BETWEEN[metric], LEVEL[metric])
        )
        tied = i == first or abs(values[first] - values[i]) < z * difference_error(found[first], kept, task)
        ranked.append(
            RankedSource(
                name=kept.name,
                predicted=Estimate(value, max(floor, value - half), min(bound, value + half), kept.probe.n, confidence),
                probe=kept.probe,
                tied=tied,
                strategy=kept.strategy,
                layers=kept.layers,
                blocks=kept.blocks,
                seconds=kept.seconds,
                parameters=kept.parameters,
                truncated_share=kept.truncated_share,
                tokens_per_word=kept.tokens_per_word,
                why=reason(kept, sign, values[i] - plain[i], tied and i != first, task.settings.task),
                scores=kept.scores,
                layer_scores=kept.layer_scores,
                place=places[i],
            )
        )
    return ranked


def combined(found: Sequence[Kept], sign: float) -> list[float]:
    """The predicted score of each source, in the metric's unit.

    What the probe, its learning curve and the table say of the sources by themselves, dealt out anew: the best of these scores to the
    source of the best mean rank by the former and by the other estimators, and so on. Ranks, for a source with random weights would
    stretch the scale of each estimator in its own way; dealt out, for the others tell of the order and not of the level. Estimators that
    some source lacks have no say, and of sources of equal mean rank the former decide.
    """
    from scipy.stats import rankdata

    plain = np.array([plain_score(kept, sign) for kept in found])
    others = [np.array([kept.scores.get(name, math.nan) for kept in found]) for name in VOICES]
    if all(kept.scores for kept in found):  # else the task has no such estimators, and of their mixture nothing was measured
        others.append(np.array([_on_best_layers(kept, sign) for kept in found]))
    said = [sign * plain, *(voice for voice in others if np.isfinite(voice).all())]
    worst_first = np.lexsort((sign * plain, np.mean([rankdata(voice) for voice in said], axis=0)))
    dealt = np.empty(len(found))
    dealt[worst_first] = sign * np.sort(sign * plain)
    return [float(value) for value in dealt]


def _on_best_layers(kept: Kept, sign: float) -> float:
    """The mean score of the probe on the best layers, each by itself, more for better ones; NaN where no layer was scored."""
    scores = sorted(sign * layer.score.value for layer in kept.layer_scores)
    return float(np.mean(scores[-BEST_LAYERS:])) if scores else math.nan


def plain_score(kept: Kept, sign: float) -> float:
    """What the probe, its learning curve and the table say of a source by itself."""
    return kept.probe.value + sign * (kept.ahead + kept.gain.mean)


def difference_error(first: Kept, second: Kept, task: Task) -> float:
    """The standard error of the difference between two sources' predicted scores: their probes predict the same rows, the rest is apart."""
    settings, z = task.settings, normal_quantile(task.settings.confidence)
    rows = task.rows
    seen = np.intersect1d(rows.measured(first.held), rows.measured(second.held))
    units, metric = rows.units(seen), deciding_metric(settings)
    both = first.held[units], second.held[units]
    gain = get_task(settings.task).judge.gain(both, ("", ""), metric, rows.take(seen), task.groups[seen], None, settings)
    spreads = [BETWEEN[deciding_metric(settings)]] * 2
    if first.strategy != second.strategy:
        spreads += [first.gain.spread, second.gain.spread]
    return math.hypot((gain.high - gain.low) / (2 * z), first.ahead_error, second.ahead_error, *spreads)


def on_map(sketches: Sequence[FloatArray]) -> list[tuple[float, float]]:
    """Places of s sources in the plane: near ones see the rows alike.

    Distances are the angles of centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414), 0 for features that differ by a
    rotation.
    """
    flat = np.stack([sketch.ravel() for sketch in sketches])
    angles = np.arccos(np.clip(flat @ flat.T, 0.0, 1.0))
    np.fill_diagonal(angles, 0.0)
    return in_plane(angles)


def in_plane(distances: FloatArray) -> list[tuple[float, float]]:
    """Places in the plane whose distances are as near to these (s, s) as may be: classical scaling (Torgerson 1952)."""
    s = len(distances)
    middle = np.eye(s) - 1.0 / s
    values, vectors = np.linalg.eigh(-0.5 * middle @ distances**2 @ middle)
    places = np.zeros((s, 2))
    for axis in range(min(2, s)):
        column = vectors[:, -1 - axis] * math.sqrt(max(float(values[-1 - axis]), 0.0))
        # The sign of an eigenvector is chance: what lies furthest out stands on the positive side.
        places[:, axis] = column * (np.sign(column[np.abs(column).argmax()]) or 1.0)
    return [(float(x), float(y)) for x, y in places]


def reason(kept: Kept, sign: float, moved: float, tied: bool, task: str | None) -> str:
    """Why a source stands where it stands, and what speaks against it, in a few words.

    `sign` is -1 where lower scores are better; `moved` is by how much its score was moved among those of several sources.
    """
    if kept.layers:
        layers = f"layer {kept.layers[0]}" if len(kept.layers) == 1 else f"layers {kept.layers[0]} to {kept.layers[-1]}"
        words = [f"a probe on {layers} of {kept.blocks} has {kept.probe.value:.2f}"]
    else:
        words = [f"{RANKED_WITHOUT_PROBE.get(task or '', 'by itself')} it has {kept.probe.value:.2f}"]
    if abs(kept.ahead) >= 0.005:
        words.append(f"all rows are expected to add {sign * kept.ahead:+.2f}")
    if kept.strategy != "probe" and kept.gain.mean:
        words.append(f"{kept.strategy} is expected to add {sign * kept.gain.mean:+.2f}")
    if abs(moved) >= 0.005:
        words.append(f"LogME, neighbours and single layers move it by {moved:+.2f}")
    if tied:
        words.append("not to be told from the first")
    if kept.truncated_share >= 0.05:
        share = f"{kept.truncated_share:.0%} of the texts"
        words.append(f"it reads {share} in pieces" if reads_in_windows(task) else f"it cuts off {share}")
    if kept.tokens_per_word is not None and kept.tokens_per_word > 2.0:
        words.append(f"its vocabulary fits badly ({kept.tokens_per_word:.1f} tokens a word)")
    return "; ".join(words)
