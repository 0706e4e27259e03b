"""Every figure of one source, from one reading of the rows.

Letters in shapes: n rows, L blocks, d width, c classes, m rows of the map.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.candidates import Means, asked_strategies, rungs_on
from headstart.cost import CostModel
from headstart.errors import SettingsError
from headstart.judge import intervals
from headstart.judge.calibration import log_softmax
from headstart.prior import Belief, expect
from headstart.ranking.by_probe import drawn_out, held_by_probe, scores_by_layer
from headstart.ranking.kept import Kept
from headstart.ranking.own_head import said_by_own_head
from headstart.ranking.task import Task
from headstart.records import Estimate, LayerScore
from headstart.rungs import expectation, net_of, trial_seconds
from headstart.settings import Metric
from headstart.sources.source import Source
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import Space, choose_strength
from headstart.strategies.ladder import get_strategy
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.probe import PROMISING, mean_of_layers, sort_layers, usual_layers
from headstart.tasks.registry import TRANSLATION, TWO_TEXTS, deciding_metric, get_task
from headstart.transferability.decomposed import decompose
from headstart.transferability.registry import HeadOutputs, LabelledFeatures, Needs, get_estimator, known_estimators

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store

MAP_ROWS = 200
_LEAST_PROBABILITY = 0.01
_FIRST_WORDS = 8  # of a text that is too long to be read whole; few enough for the shortest reading
_LONGEST_WORDS = 15  # characters a word on average, beyond which spaces do not part words


def measure(source: Source, task: Task, store: Store, cost: CostModel) -> Kept:
    """Read the rows with one source and take every figure from that reading.

    Raises:
        SourceError: it cannot be opened, or gives numbers that are not finite.
    """
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader

    settings, rows = task.settings, task.rows
    backbone = load_backbone(source, settings.max_length, pairs=settings.task in TWO_TEXTS, decoder=settings.task == TRANSLATION)
    reader = Reader(backbone, store, settings.batch_tokens)
    pooled = reader.pooled(task.texts)
    scores: dict[str, float] = {}
    if task.single_labels:
        layers, space, layer_scores = best_layers(pooled, task, source.name)
        features = mean_of_layers(pooled, layers)
        decomposed = decompose(space.z)
        seen = LabelledFeatures(features, decomposed, rows.y, task.groups, rows.n_classes, task.folds, settings.seed, len(task.learn))
        scores = single_scores(seen, said_by_own_head(backbone, pooled, task.texts, settings.batch_tokens))
        held = held_out(seen, space, deciding_metric(settings))
        ahead, ahead_error = what_more_rows_add(seen, deciding_metric(settings))
    else:
        held, layers = held_by_probe(task, reader)
        layer_scores = scores_by_layer(task, reader, source.name)
        features = mean_of_layers(pooled, layers or usual_layers(backbone.n_blocks))
        ahead, ahead_error = drawn_out(task, reader)
    judged = rows.measured(held)
    probe = get_task(settings.task).judge.estimate(
        deciding_metric(settings), held[rows.units(judged)], rows.take(judged), task.groups[judged], settings
    )
    strategy, gain, seconds = recommend(task, reader, cost)
    truncated, per_word = text_shares(backbone, task.texts)
    return Kept(
        name=source.name,
        held=held,
        sketch=sketch_of(features),
        probe=probe,
        ahead=ahead,
        ahead_error=ahead_error,
        gain=gain,
        strategy=strategy,
        layers=layers,
        blocks=backbone.n_blocks,
        seconds=seconds,
        parameters=backbone.parameters_total,
        truncated_share=truncated,
        tokens_per_word=per_word,
        scores=scores,
        layer_scores=layer_scores,
    )


def single_scores(seen: LabelledFeatures, said: FloatArray | None) -> dict[str, float]:
    """Every estimator of single labels by name; those of a source's own head where that `said` something (n, s)."""
    known = {name: get_estimator(name) for name in known_estimators()}
    scores = {name: each.score(seen) for name, each in known.items() if each.needs is Needs.FEATURES}
    if said is not None:
        outputs = HeadOutputs(said, seen.y, seen.n_classes)
        scores |= {name: each.score(outputs) for name, each in known.items() if each.needs is Needs.PROBABILITIES}
    return scores


def best_layers(pooled: NDArray[np.float32], task: Task, name: str) -> tuple[tuple[int, ...], Space, tuple[LayerScore, ...]]:
    """The layers that a linear head reads best, by leave-one-out error, their space, and the accuracy on each single layer.

    The usual ones stay unless others are clearly better, as in the probe. `pooled` is (n, L+1, d).
    """
    usual = usual_layers(pooled.shape[1] - 1)
    spaces, errors, fits = sort_layers(pooled, task.rows.y, task.rows.n_classes, 1)
    best = min(errors, key=lambda each: errors[each])
    chosen = best if errors[best] < PROMISING * errors[usual] else usual
    n, units, confidence = len(task.rows), intervals.count_units(len(task.rows), task.groups), task.settings.confidence
    scores = [
        LayerScore(name, fit.layer, Estimate(fit.accuracy, *intervals.wilson(fit.accuracy, units, confidence), n, confidence))
        for fit in fits
    ]
    return chosen, spaces[chosen], tuple(scores)


def held_out(seen: LabelledFeatures, space: Space, metric: Metric) -> FloatArray:
    """Log-probabilities (n, c) for rows that the probe did not train on; NaN for rows that no fold holds out.

    A ridge probe decides classes as well as a logistic one and needs no iteration, but its values are no probabilities; where those are
    judged, the logistic head runs.
    """
    if metric is Metric.LOG_LOSS:
        _, logits, _ = choose_strength(space.z, seen.y, seen.n_classes, seen.folds, None)
        return log_softmax(logits)
    predicted = np.maximum(seen.ridge.predictions, _LEAST_PROBABILITY / seen.n_classes)
    return np.asarray(np.log(predicted / predicted.sum(axis=1, keepdims=True)))


def what_more_rows_add(seen: LabelledFeatures, metric: Metric) -> tuple[float, float]:
    """By how much the probe's score is expected to get better from the folds' rows to all rows, and the standard error of that.

    Drawn out in accuracy, which macro-F1 is taken to follow; of log-loss nothing is drawn out.
    """
    if metric is Metric.LOG_LOSS:
        return 0.0, 0.0
    drawn = seen.curve
    _, last, last_error = max(drawn.points)
    return drawn.score - last, math.sqrt(max(drawn.standard_error**2 - last_error**2, 0.0))


def recommend(task: Task, reader: Reader, cost: CostModel) -> tuple[str, Belief, float]:
    """The strategy of which most is expected for its seconds, what it is expected to add to the probe, and those seconds.

    Raises:
        SettingsError: none of the strategies asked for transfers from what the source has learnt.
    """
    means = Means({reader.backbone.source.name: reader}, cost, [])
    wanted = [name for name in asked_strategies(task.settings) if _can_be_recommended(name, task.settings.task)]
    if not wanted:
        raise SettingsError(
            f"--strategy is {', '.join(task.settings.strategy)}, which does not depend on the source; there is nothing to rank."
        )
    rungs = rungs_on(task.target, task.learn, task.settings, means, wanted)
    rungs = [rung for rung in rungs if trial_seconds(rung, cost) <= task.settings.budget] or rungs[:1]
    metric = deciding_metric(task.settings)
    best = max(rungs, key=lambda rung: net_of(expectation(rung, metric), rung, cost))
    # Of tasks that answer with texts nothing was measured; the planner tries there, and here no more is said than of any rung unknown.
    unknown = output_of(task.rows.y) is Output.TEXT
    gain = expect(best.strategy.name, metric, per_class=1, classes=1, tokens=1, cases=()) if unknown else expectation(best, metric)
    return best.strategy.name, gain, trial_seconds(best, cost)


def _can_be_recommended(name: str, task: str | None) -> bool:
    """Whether a rung reads more of a source than its token embeddings."""
    strategy = get_strategy(name, task)
    return strategy.transfers and strategy.needs_source and name != "static"


def text_shares(backbone: Backbone, texts: Sequence[str]) -> tuple[float, float | None]:
    """The share of texts that are longer than the source reads, and its tokens for each word between spaces, of texts that are read whole;
    where none is, of their first words.

    The second is None where hardly any spaces part words, as in Chinese or Thai.
    """
    from headstart.backbone.reading import tokenize

    limit = backbone.max_length
    lengths = np.array([len(ids) for ids in tokenize(replace(backbone, max_length=limit + 1), texts)])
    whole = [i for i in range(len(texts)) if lengths[i] <= limit]
    if not whole and (begins := [" ".join(text.split()[:_FIRST_WORDS]) for text in texts]) != list(texts):
        return 1.0, text_shares(backbone, begins)[1]
    words = sum(len(texts[i].split()) for i in whole)
    characters = sum(len(texts[i]) for i in whole)
    special = len(tokenize(backbone, [""])[0])
    spaced = words > 0 and characters < _LONGEST_WORDS * words
    return float((lengths > limit).mean()), float((lengths[whole] - special).sum() / words) if spaced else None


def sketch_of(features: NDArray[np.float32]) -> FloatArray:
    """Inner products (m, m) of at most `MAP_ROWS` centred rows, scaled to norm 1: what two sources are compared by."""
    some = features[:: max(1, math.ceil(len(features) / MAP_ROWS))].astype(np.float64)
    some = some - some.mean(axis=0)
    gram = some @ some.T
    result: FloatArray = gram / max(float(np.linalg.norm(gram)), 1e-30)
    return result
