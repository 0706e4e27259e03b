"""`headstart rank`: which source to start from, told from one reading of some training rows.

A source's predicted score is what a linear probe on its frozen features scores on folds, drawn out along its learning curve to all rows,
plus what the table of measured cases expects the recommended strategy to add to a probe. Rows of a test file are not looked at.

Letters in shapes: n rows, L blocks, d width, c classes, m rows of the map, s sources.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.candidates import Means, rungs_on
from headstart.cost import CostModel
from headstart.data.examples import Examples, IntArray
from headstart.data.split import folds
from headstart.errors import HeadstartError, SourceError
from headstart.judge import intervals, metrics
from headstart.judge.calibration import softmax
from headstart.judge.intervals import estimate, normal_quantile
from headstart.judge.label_curve import nested_order
from headstart.planner import expectation, net_of, trial_seconds
from headstart.prior import Belief
from headstart.progress import say
from headstart.ranking_kept import Kept, keep, kept_key, recall
from headstart.records import Estimate, LayerScore, LeftOut, RankedSource, Ranking
from headstart.settings import Metric, Precision, Settings
from headstart.sources.head import saved_head
from headstart.sources.names import expand_names
from headstart.sources.resolve import resolve_source
from headstart.sources.source import Source
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import Folds, Space, choose_strength, make_space
from headstart.strategies.probe import PROMISING, candidate_layers, leave_one_out, mean_of_layers, usual_layers
from headstart.target import Target, read_target
from headstart.transferability.decomposed import decompose
from headstart.transferability.registry import HeadOutputs, LabelledFeatures, Needs, get_estimator, known_estimators

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store

MOST_ROWS = 2000  # rows that are read where there are more: they tell sources apart to about a point
MAP_ROWS = 200
RECOMMENDED = ("probe", "partial", "contrastive", "full")
# By how much two sources' scores differ from what their probes say, once tuned: beyond the noise of rows (standard deviation).
BETWEEN = {Metric.ACCURACY: 0.02, Metric.MACRO_F1: 0.02, Metric.LOG_LOSS: 0.08}
_LEAST_PROBABILITY = 0.01


@dataclass(frozen=True)
class Task:
    """The rows that rank: `rows` and `groups` (n,) of the target, the folds that hold them out, and how many rows training will have."""

    target: Target
    picked: IntArray
    groups: IntArray
    folds: Folds
    all_rows: int
    settings: Settings

    @property
    def texts(self) -> tuple[str, ...]:
        """The n texts."""
        return tuple(self.target.rows.texts[i] for i in self.picked)

    @property
    def y(self) -> IntArray:
        """Class numbers (n,)."""
        return self.target.rows.y[self.picked]


def rank(data: str | Path | Examples, settings: Settings, *, command: str = "") -> Ranking:
    """Rank sources for a target.

    Args:
        data: a file or folder of labelled texts, or examples.
        settings: what was asked; without `source`, the embedded one and all that stand on the shelf are ranked.
        command: the command line that asked, for the page; "" in Python.

    Raises:
        DataError: the data cannot be read or learnt from.
        SourceError: none of the sources can be used.
    """
    from headstart.backbone.store import Store
    from headstart.cache import limit_bytes, store_folder
    from headstart.environment import fast_precision, gemm_speeds

    begin = time.perf_counter()
    names = list(expand_names(settings.source)) or every_known_source()
    settings = replace(settings, source=tuple(names))
    task = make_task(read_target(data, settings), settings)
    speeds = gemm_speeds()
    precision = fast_precision() if settings.precision is Precision.AUTO else settings.precision
    cost = CostModel(speeds[precision], speeds[Precision.FLOAT32])
    folder = store_folder(settings.store)
    found: list[Kept] = []
    left_out: list[LeftOut] = []
    with Store(folder, limit_bytes(settings.store_limit)) as store:
        for at, name in enumerate(dict.fromkeys(names)):
            if len(names) > 1:
                say(f"ranking {at + 1} of {len(names)}: {name}")
            try:
                source = resolve_source(name)
                key = kept_key(source, task.target.content(), settings)
                measured = recall(folder, key) or keep(folder, key, measure(source, task, store, cost))
                own = tuple(replace(item, source=source.name) for item in measured.layer_scores)  # another name may have had the same files
                found.append(replace(measured, name=source.name, layer_scores=own))
            except SourceError as error:
                left_out.append(LeftOut(name, str(error)))
    if not found:
        raise SourceError(f"None of the {len(left_out)} sources can be used; the last one: {left_out[-1].reason}")
    return Ranking(
        title=task.target.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        metric=settings.metric.value,
        rows=len(task.picked),
        all_rows=task.all_rows,
        classes=task.target.rows.n_classes,
        sources=tuple(in_order(found, task)),
        left_out=tuple(left_out),
        seconds=time.perf_counter() - begin,
        command=command,
    )


def every_known_source() -> list[str]:
    """The embedded source and every name on the shelf that can be used."""
    from headstart.sources import embedded, shelf

    entries, _ = shelf.read_shelf()
    return [embedded.NAME, *(entry.name for entry in entries if not shelf.quick_problem(entry))]


def make_task(target: Target, settings: Settings) -> Task:
    """The rows that rank: all training rows, or a stratified draw of `MOST_ROWS`."""
    every = np.arange(len(target.rows))
    picked = np.sort(nested_order(target.rows.y, every, np.random.default_rng(settings.seed))[:MOST_ROWS])
    y, groups = target.rows.y[picked], target.groups[picked]
    return Task(target, picked, groups, folds(y, groups, settings.inner_folds, settings.seed), len(every), settings)


# --- one source ---


def measure(source: Source, task: Task, store: Store, cost: CostModel) -> Kept:
    """Read the rows with one source and take every figure from that reading.

    Raises:
        SourceError: it cannot be opened, or gives numbers that are not finite.
    """
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader

    settings, y, c = task.settings, task.y, task.target.rows.n_classes
    backbone = load_backbone(source, settings.max_length)
    reader = Reader(backbone, store, settings.batch_tokens)
    pooled = reader.pooled(task.texts)
    layers, space, layer_scores = best_layers(pooled, task, source.name)
    features = mean_of_layers(pooled, layers)
    seen = LabelledFeatures(features, decompose(space.z), y, task.groups, c, task.folds, settings.seed, task.all_rows)
    scores = {name: get_estimator(name).score(seen) for name in known_estimators() if get_estimator(name).needs is Needs.FEATURES}
    head = saved_head(source)
    if head is not None:
        logits = mean_of_layers(pooled, head.layers).astype(np.float64) @ head.weight.T + head.bias
        outputs = HeadOutputs(softmax(logits), y, c)
        scores |= {n: get_estimator(n).score(outputs) for n in known_estimators() if get_estimator(n).needs is Needs.PROBABILITIES}
    held = held_out(seen, space, settings.metric)
    ahead = 0.0 if settings.metric is Metric.LOG_LOSS else scores["ridge_curve"] - scores["ridge"]
    strategy, gain, seconds = recommend(task, reader, cost)
    truncated, per_word = text_shares(backbone, task.texts)
    return Kept(
        name=source.name,
        held=held,
        sketch=sketch_of(features),
        ahead=float(ahead),
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


def best_layers(pooled: NDArray[np.float32], task: Task, name: str) -> tuple[tuple[int, ...], Space, tuple[LayerScore, ...]]:
    """The layers that a linear head reads best, by leave-one-out error, their space, and the accuracy on each single layer.

    The usual ones stay unless others are clearly better, as in the probe. `pooled` is (n, L+1, d).
    """
    y, c = task.y, task.target.rows.n_classes
    usual = usual_layers(pooled.shape[1] - 1)
    errors, scores = {}, []
    spaces: dict[tuple[int, ...], Space] = {}
    for layers in [(0,), *candidate_layers(pooled.shape[1] - 1)]:
        space = make_space(mean_of_layers(pooled, layers))
        predicted = leave_one_out(space, y, c)
        if len(layers) == 1:
            right = (predicted.argmax(axis=1) == y).mean()
            low, high = intervals.wilson(float(right), intervals.count_units(len(y), task.groups), task.settings.confidence)
            scores.append(LayerScore(name, layers[0], Estimate(float(right), low, high, len(y), task.settings.confidence)))
        if layers != (0,):
            errors[layers] = float(((predicted - np.eye(c)[y]) ** 2).sum(axis=1).mean())
            best = min(errors, key=lambda each: errors[each])
            spaces = {kept: (space if kept == layers else spaces[kept]) for kept in errors if kept in (best, usual)}
    best = min(errors, key=lambda each: errors[each])
    chosen = best if errors[best] < PROMISING * errors[usual] else usual
    return chosen, spaces[chosen], tuple(scores)


def held_out(seen: LabelledFeatures, space: Space, metric: Metric) -> FloatArray:
    """Probabilities (n, c) for rows that the probe did not train on; NaN for rows that no fold holds out.

    A ridge probe decides classes as well as a logistic one and needs no iteration, but its values are no probabilities; where those are
    judged, the logistic head runs.
    """
    from headstart.transferability.ridge import ridge_score

    if metric is Metric.LOG_LOSS:
        _, logits, _ = choose_strength(space.z, seen.y, seen.n_classes, seen.folds, None)
        return softmax(logits)
    predicted = np.maximum(
        ridge_score(seen.decomposed, seen.y, seen.n_classes, seen.folds).predictions, _LEAST_PROBABILITY / seen.n_classes
    )
    result: FloatArray = predicted / predicted.sum(axis=1, keepdims=True)
    return result


def recommend(task: Task, reader: Reader, cost: CostModel) -> tuple[str, Belief, float]:
    """The strategy of which most is expected for its seconds, what it is expected to add to the probe, and those seconds."""
    means = Means({reader.backbone.source.name: reader}, cost, [])
    wanted = [name for name in RECOMMENDED if not task.settings.strategy or name in task.settings.strategy] or list(RECOMMENDED)
    rungs = rungs_on(task.target, np.arange(task.all_rows), task.settings, means, wanted)
    rungs = [rung for rung in rungs if trial_seconds(rung, cost) <= task.settings.budget] or rungs[:1]
    best = max(rungs, key=lambda rung: net_of(expectation(rung, task.settings.metric), rung, cost))
    return best.strategy.name, expectation(best, task.settings.metric), trial_seconds(best, cost)


def text_shares(backbone: Backbone, texts: Sequence[str]) -> tuple[float, float]:
    """The share of texts that the source cuts off, and its tokens for each word between spaces."""
    from headstart.backbone.reading import tokenize

    uncut = tokenize(replace(backbone, max_length=max(backbone.max_length * 4, 2048)), texts)
    lengths = np.array([len(ids) for ids in uncut])
    special = len(tokenize(backbone, [""])[0])
    words = sum(len(text.split()) for text in texts)
    return float((lengths > backbone.max_length).mean()), float((lengths - special).sum() / max(1, words))


def sketch_of(features: NDArray[np.float32]) -> FloatArray:
    """Inner products (m, m) of at most `MAP_ROWS` centred rows, scaled to norm 1: what two sources are compared by."""
    some = features[:: max(1, math.ceil(len(features) / MAP_ROWS))].astype(np.float64)
    some = some - some.mean(axis=0)
    gram = some @ some.T
    result: FloatArray = gram / max(float(np.linalg.norm(gram)), 1e-30)
    return result


# --- all of them ---


def in_order(found: Sequence[Kept], task: Task) -> list[RankedSource]:
    """Best first, with intervals, ties, reasons and places on the map."""
    settings, metric = task.settings, task.settings.metric
    sign = 1.0 if metric.higher_is_better else -1.0
    z = normal_quantile(settings.confidence)
    probes, predicted = [], []
    for kept in found:
        seen = np.flatnonzero(~np.isnan(kept.held[:, 0]))
        probe = estimate(
            metric,
            kept.held[seen],
            task.y[seen],
            groups=task.groups[seen],
            confidence=settings.confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )
        value = probe.value + sign * (kept.ahead + kept.gain.mean)
        half = math.hypot((probe.high - probe.low) / 2, z * kept.gain.spread, z * BETWEEN[metric])
        bound = 1.0 if metric.higher_is_better else metrics.GREATEST_LOSS
        value = min(max(value, 0.0), bound)
        probes.append(probe)
        predicted.append(Estimate(value, max(0.0, value - half), min(bound, value + half), probe.n, settings.confidence))
    order = sorted(range(len(found)), key=lambda i: -sign * predicted[i].value)
    places = on_map([kept.sketch for kept in found])
    first = order[0]
    ranked = []
    for i in order:
        apart = abs(predicted[first].value - predicted[i].value)
        error = math.hypot(paired_error(found[first].held, found[i].held, task, metric), BETWEEN[metric]) if i != first else 0.0
        tied = i == first or apart < z * error
        kept = found[i]
        ranked.append(
            RankedSource(
                name=kept.name,
                predicted=predicted[i],
                probe=probes[i],
                tied=tied,
                strategy=kept.strategy,
                layers=kept.layers,
                blocks=kept.blocks,
                seconds=kept.seconds,
                parameters=kept.parameters,
                truncated_share=kept.truncated_share,
                tokens_per_word=kept.tokens_per_word,
                why=reason(kept, probes[i], tied and i != first, len(order) > 1),
                scores=kept.scores,
                layer_scores=kept.layer_scores,
                place=places[i],
            )
        )
    return ranked


def paired_error(first: FloatArray, second: FloatArray, task: Task, metric: Metric) -> float:
    """The standard error of the difference between two sources' probes on the same held-out rows."""
    seen = np.flatnonzero(~np.isnan(first[:, 0]) & ~np.isnan(second[:, 0]))
    y = task.y[seen]
    if metric is Metric.LOG_LOSS:
        apart = metrics.row_losses(first[seen], y) - metrics.row_losses(second[seen], y)
    else:
        apart = (metrics.predicted(first[seen]) == y).astype(np.float64) - (metrics.predicted(second[seen]) == y)
    return math.sqrt(intervals.variance_of_mean(apart, task.groups[seen]) + 0.5 / max(len(seen), 1) ** 2)


def on_map(sketches: Sequence[FloatArray]) -> list[tuple[float, float]]:
    """Places of s sources in the plane: near ones see the rows alike.

    Distances are the angles of centred kernel alignment (Kornblith et al. 2019, arXiv 1905.00414), 0 for features that differ by a
    rotation; classical scaling (Torgerson 1952) puts them into the plane.
    """
    flat = np.stack([sketch.ravel() for sketch in sketches])
    angles = np.arccos(np.clip(flat @ flat.T, 0.0, 1.0))
    np.fill_diagonal(angles, 0.0)
    s = len(sketches)
    middle = np.eye(s) - 1.0 / s
    values, vectors = np.linalg.eigh(-0.5 * middle @ angles**2 @ middle)
    places = np.zeros((s, 2))
    for axis in range(min(2, s)):
        column = vectors[:, -1 - axis] * math.sqrt(max(float(values[-1 - axis]), 0.0))
        # The sign of an eigenvector is chance: the source that lies furthest out stands on the positive side.
        places[:, axis] = column * (np.sign(column[np.abs(column).argmax()]) or 1.0)
    return [(float(x), float(y)) for x, y in places]


def reason(kept: Kept, probe: Estimate, tied: bool, several: bool) -> str:
    """Why a source stands where it stands, and what speaks against it, in a few words."""
    layers = f"layer {kept.layers[0]}" if len(kept.layers) == 1 else f"layers {kept.layers[0]} to {kept.layers[-1]}"
    words = [f"a probe on {layers} of {kept.blocks} has {probe.value:.2f}"]
    if kept.strategy != "probe":
        words.append(f"{kept.strategy} is expected to change that by {kept.gain.mean:+.2f}")
    if tied and several:
        words.append("not to be told from the first")
    if kept.truncated_share >= 0.05:
        words.append(f"it cuts off {kept.truncated_share:.0%} of the texts")
    if kept.tokens_per_word > 2.0:
        words.append(f"its vocabulary fits badly ({kept.tokens_per_word:.1f} tokens a word)")
    return "; ".join(words)


def save_ranking(ranking: Ranking, folder: Path) -> Path:
    """Write ranking.json and the page ranking.html into a folder, each whole or not at all; returns the page's path."""
    import dataclasses
    import json

    from headstart.report.ranking_page import write_page
    from headstart.runs import whole_file

    if folder.exists() and not folder.is_dir():
        raise HeadstartError(f"{str(folder)!r} is a file; name a folder with --save.")
    folder.mkdir(parents=True, exist_ok=True)
    with whole_file(folder / "ranking.json") as temporary:
        temporary.write_text(json.dumps(dataclasses.asdict(ranking), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    write_page(ranking, folder / "ranking.html")
    return folder / "ranking.html"
