"""The figures of a source for tasks without closed forms: the ladder's own probe on folds, and its learning curve.

With single labels everything follows from one decomposition (`measure.py`). Labels, numbers and words have probes that are solved step by
step; a source costs as many of them as there are folds, and as many again for each size of the curve.

Letters in shapes: n rows, u units of them, c outputs.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from headstart.judge.intervals import normal_quantile
from headstart.judge.label_curve import nested_order
from headstart.ranking.task import Task
from headstart.records import Estimate, LayerScore
from headstart.rungs import Rung, sharpened
from headstart.strategies.base import FloatArray, Trained
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.spans import SpanModel
from headstart.strategies.word_model import WordModel
from headstart.tasks.registry import deciding_metric, get_task
from headstart.transferability.curve import SHARES, continue_curve, folds_within

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

_FEWEST_ROWS = 10


def held_by_probe(task: Task, reader: Reader) -> tuple[FloatArray, tuple[int, ...]]:
    """Outputs (u, c) of the rung that ranks, as a rule the ladder's probe, for rows that its folds hold out, NaN for others; and the layers
    that it reads, none where nothing is learnt."""
    settings = task.settings
    probe = get_strategy(get_task(settings.task).ranked_by, settings.task)
    assert probe.out_of_fold is not None  # of `ranked_by`
    job = Job(task.rows, task.groups, list(task.folds), settings, settings.seed, reader=reader)
    fitted, held = probe.out_of_fold(job)
    return sharpened(Rung(probe, None, job, 1.0), held, held), layers_of(fitted)


def layers_of(fitted: Trained) -> tuple[int, ...]:
    """The layers that a probe reads."""
    if isinstance(fitted, TransferModel):
        return fitted.layers
    return (fitted.layer,) if isinstance(fitted, WordModel | SpanModel) else ()


def scores_by_layer(task: Task, reader: Reader, name: str) -> tuple[LayerScore, ...]:
    """How a light head does on each layer of the source called `name`, each row predicted without itself."""
    by_layer = get_task(task.settings.task).layer_scores
    found = by_layer(task.rows, task.groups, reader, task.settings) if by_layer is not None else []
    return tuple(LayerScore(name, layer, score) for layer, score in found)


def drawn_out(task: Task, reader: Reader) -> tuple[float, float]:
    """By how much the probe's score is expected to get better from the folds' rows to all rows, and the standard error of that.

    Nested subsets of the rows are trained on and judged by the same folds, and a power law is put through the scores. Of losses nothing is
    drawn out.
    """
    settings, rows = task.settings, task.rows
    metric, kind = deciding_metric(settings), get_task(settings.task)
    if not metric.higher_is_better or kind.curve_at is None:
        return 0.0, 0.0
    predict_at = kind.curve_at(rows, task.groups, reader, settings)
    order = nested_order(rows.strata, np.arange(len(rows)), np.random.default_rng([settings.seed, 0, 1]))
    points = []
    for size in sorted({max(min(len(rows), _FEWEST_ROWS), round(share * len(rows))) for share in SHARES}):
        part = np.sort(order[:size])
        pairs = [(part[train], part[held]) for train, held in folds_within(task.folds, part, len(rows))]
        if pairs:
            said = [predict_at(kind.curve[0], train, held) for train, held in pairs]
            judged, outputs = np.concatenate([held for _, held in pairs]), np.concatenate(said)
            judging = rows.take(judged)
            seen = judging.measured(outputs)  # of many answers only some are looked for
            if not len(seen):
                continue
            score = kind.judge.estimate(metric, outputs[judging.units(seen)], judging.take(seen), task.groups[judged[seen]], settings)
            points.append((round(float(np.mean([len(train) for train, _ in pairs]))), score.value, _error_of(score)))
    if not points:
        return 0.0, 0.0
    drawn = continue_curve(points, len(task.learn), ceiling=metric.full)
    _, last, last_error = max(drawn.points)
    return drawn.score - last, math.sqrt(max(drawn.standard_error**2 - last_error**2, 0.0))


def _error_of(score: Estimate) -> float:
    return (score.high - score.low) / (2 * normal_quantile(score.confidence))
