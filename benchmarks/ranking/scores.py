"""What each ranker says of each source, on the target's training rows alone; measure.py compares it with the truth.

Every estimator from features is asked three times: of the last layer, of the mean over the upper half of the blocks, and of the best layer,
whose score is the greatest of all blocks'. Estimators between data sets compare the rows of a source task with the target's, both read by
MiniLM; what they say stands for MiniLM trained on that task. Their seconds are those of comparing: one source reads each set once, however
many are ranked. Estimators of a source's own head are asked of sources that were trained on a task. transformer-ranker is asked with its
default settings.

Finished scores are lines in benchmarks/work/ranking/scores.jsonl and not made again. Features come from the store that the truth filled, so
the seconds of reading are those that the truth took for as many texts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from common import append_line, code_digest, read_lines
from headstart.strategies.probe import mean_of_layers, usual_layers
from ranking import sources
from ranking.targets import RANKING, SOURCE_TASKS, draw_target, draw_task
from ranking.truth import CELLS as TRUE_CELLS
from ranking.truth import STORE, STORE_BYTES, job_of, open_reader

CELLS = RANKING / "scores.jsonl"
READINGS = ("last layer", "upper half", "best layer")
DATA_SETS = "of data sets"  # ends the names of rankers that look at data sets
PEER = "transformer-ranker"
OURS = "headstart rank"  # the combination that the command prints, with its interval


def run(places: Sequence[tuple[str, str, int]], *, ours: bool, peer: bool) -> None:
    """Score (source, target, seed) places that lack a score; `ours`: by every estimator here; `peer`: by transformer-ranker."""
    from headstart.backbone.store import Store

    if peer:
        _peer()  # says at once that it is not installed
    have = {(line["ranker"], line["source"], line["target"], line["seed"]) for line in read_lines(CELLS)}
    taken = _reading_seconds()
    with Store(STORE, STORE_BYTES) as store:
        for source, target, seed in places:
            lines: Iterable[dict[str, Any]] = ()
            if ours:
                lacking = {name for name in _names(source) if (name, source, target, seed) not in have}
                lines = from_features(source, target, seed, store, lacking, taken.get((source, target, seed)))
            if peer and (PEER, source, target, seed) not in have:
                lines = [*lines, by_peer(source, target, seed)]
            _keep(lines, have, source, target, seed)
        if not ours:
            return
        for target, seed in sorted({(target, seed) for _, target, seed in places}):
            together = sorted(source for source, *place in places if place == [target, seed])
            ranker = among(together)
            if any((ranker, source, target, seed) not in have for source in together):
                for source, line in by_headstart(together, target, seed, taken):
                    _keep([{**line, "ranker": ranker}], have, source, target, seed)
            for task in SOURCE_TASKS:
                lacking = {name for name in _pair_names() if (name, f"minilm+{task}", target, seed) not in have}
                _keep(from_data_sets(task, target, seed, store, lacking), have, f"minilm+{task}", target, seed)


def _keep(lines: Iterable[dict[str, Any]], have: set[tuple[str, str, str, int]], source: str, target: str, seed: int) -> None:
    number = 0
    for line in lines:
        number += 1
        append_line(CELLS, {"source": source, "target": target, "seed": seed, "code": code_digest(), **line})
        have.add((line["ranker"], source, target, seed))
    if number:
        print(f"{source} {target} {seed}: {number} scores", flush=True)


def _estimators(*kinds: str) -> dict[str, Any]:
    """The estimators here that look at these things."""
    from headstart.transferability.registry import get_estimator, known_estimators

    found = {name: get_estimator(name) for name in known_estimators()}
    return {name: estimator for name, estimator in found.items() if estimator.needs.value in kinds}


def _names(source: str) -> list[str]:
    heads = _estimators("probabilities") if _head_of(source).is_file() else ()
    return [*(f"{name}, {reading}" for name in _estimators("features") for reading in READINGS), *heads]


def _head_of(source: str) -> Path:
    """Where the head of a source that was trained on a task lies."""
    return sources.folder_of(source) / "head" / "head.npz"


def _reading_seconds() -> dict[tuple[str, str, int], float]:
    """Seconds of reading a text by source, target and seed, as the truth took them."""
    found = (((line["source"], line["target"], line["seed"]), line) for line in read_lines(TRUE_CELLS) if line["read_texts"])
    return {place: line["read_seconds"] / line["read_texts"] for place, line in found}


def _pair_names() -> list[str]:
    return [f"{name} {DATA_SETS}" for name in _estimators("data_sets", "texts")]


def from_features(
    source: str, target: str, seed: int, store: Any, lacking: set[str], text_seconds: float | None
) -> Iterator[dict[str, Any]]:
    """A line for each ranker of `lacking`. Seconds hold taking the features apart, as if each ranker were the only one; reading a text took
    `text_seconds` (None: not known)."""
    if not lacking:
        return
    from headstart.judge.calibration import softmax
    from headstart.transferability.decomposed import decompose
    from headstart.transferability.registry import HeadOutputs, LabelledFeatures

    train, _ = draw_target(target, seed)
    reader = open_reader(sources.folder_of(source), store)
    pooled = reader.pooled(train.texts)
    read_seconds = None if text_seconds is None else round(text_seconds * len(set(train.texts)), 4)
    job = job_of(train, reader, seed)
    blocks = reader.backbone.n_blocks
    given: dict[tuple[int, ...], tuple[Any, float]] = {}

    def features(layers: tuple[int, ...]) -> tuple[Any, float]:
        if layers not in given:
            start = time.perf_counter()
            part = np.ascontiguousarray(mean_of_layers(pooled, layers))
            made = LabelledFeatures(part, decompose(part), train.y, job.groups, train.n_classes, job.folds, seed)
            given[layers] = made, time.perf_counter() - start
        return given[layers]

    for name, estimator in _estimators("features").items():
        layers_of = {
            "last layer": [(blocks,)],
            "upper half": [usual_layers(blocks)],
            "best layer": [(layer,) for layer in range(1, blocks + 1)],
        }
        for reading in READINGS:
            if f"{name}, {reading}" not in lacking:
                continue
            scores, seconds = [], 0.0
            for layers in layers_of[reading]:
                rows, taken = features(layers)
                start = time.perf_counter()
                scores.append(estimator.score(rows) * (1.0 if estimator.greater_is_better else -1.0))
                seconds += taken + time.perf_counter() - start
            yield {"ranker": f"{name}, {reading}", "score": max(scores), "seconds": round(seconds, 4), "read_seconds": read_seconds}
    for name, estimator in _estimators("probabilities").items():
        if name in lacking:
            start = time.perf_counter()
            with np.load(_head_of(source), allow_pickle=False) as head:
                features_of_head = mean_of_layers(pooled, tuple(int(layer) for layer in head["layers"])).astype(np.float64)
                said = softmax(features_of_head @ head["weight"].T + head["bias"])
            score = estimator.score(HeadOutputs(said, train.y, train.n_classes)) * (1.0 if estimator.greater_is_better else -1.0)
            yield {"ranker": name, "score": score, "seconds": round(time.perf_counter() - start, 4), "read_seconds": read_seconds}


def from_data_sets(task: str, target: str, seed: int, store: Any, lacking: set[str]) -> Iterator[dict[str, Any]]:
    """A line for each ranker of `lacking`: how near a source task's rows are to the target's, by the upper half of MiniLM's blocks."""
    if not lacking:
        return
    from headstart.transferability.registry import FeaturePair, TextPair

    train, other = draw_target(target, seed)[0], draw_task(task)[0]
    reader = open_reader(sources.folder_of("minilm"), store)
    layers = usual_layers(reader.backbone.n_blocks)
    pair = FeaturePair(mean_of_layers(reader.pooled(other.texts), layers), mean_of_layers(reader.pooled(train.texts), layers), seed)
    texts = TextPair(other.texts, train.texts)
    for name, estimator in _estimators("data_sets", "texts").items():
        ranker = f"{name} {DATA_SETS}"
        if ranker not in lacking:
            continue
        begin = time.perf_counter()
        score = estimator.score(texts if estimator.needs.value == "texts" else pair) * (1.0 if estimator.greater_is_better else -1.0)
        seconds = time.perf_counter() - begin
        yield {"ranker": ranker, "score": score, "seconds": round(seconds, 4), "read_seconds": 0.0}


def among(names: Sequence[str]) -> str:
    """What headstart's ranking of these sources is called: a source's place hangs on which others are there."""
    return OURS + " of " + ", ".join(sorted(names))


def by_headstart(
    names: Sequence[str], target: str, seed: int, text_seconds: Mapping[tuple[str, str, int], float]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """What `headstart rank` predicts for each source and training by `partial`, with its interval; equal shares of the call's seconds."""
    import headstart

    train, _ = draw_target(target, seed)
    data = (list(train.texts), [str(k) for k in train.y])
    folders = {str(sources.folder_of(name)): name for name in names}
    begin = time.perf_counter()
    found = headstart.rank(
        data,
        source=list(folders),
        strategy="partial",
        metric="accuracy",
        seed=seed,
        store=str(STORE),
        store_limit=STORE_BYTES / 1e9,
        quiet=True,
    )
    seconds = round((time.perf_counter() - begin) / len(names), 4)
    for source in found.sources:
        score, name = source.predicted, folders[source.name]
        read = text_seconds.get((name, target, seed))
        read_seconds = None if read is None else round(read * len(set(train.texts)), 4)
        yield name, {"score": score.value, "low": score.low, "high": score.high, "seconds": seconds, "read_seconds": read_seconds}


def _peer() -> Any:
    """The class of transformer-ranker.

    Raises:
        SystemExit: it is not installed.
    """
    try:
        from transformer_ranker import TransformerRanker
    except ImportError:
        raise SystemExit(
            "transformer-ranker is not installed; `pip install transformer-ranker==0.2.0 datasets` into an environment of its own "
            "if it asks for other versions of torch or transformers, and give --peer again."
        ) from None
    return TransformerRanker


def by_peer(source: str, target: str, seed: int) -> dict[str, Any]:
    """transformer-ranker's score of a source with its default settings; seconds of all its work, since it keeps nothing."""
    from datasets import Dataset

    train, _ = draw_target(target, seed)
    folder = str(sources.folder_of(source))
    ranker = _peer()(Dataset.from_dict({"text": list(train.texts), "label": train.y.tolist()}), text_column="text", label_column="label")
    begin = time.perf_counter()
    (score,) = ranker.run([folder]).scores.values()
    return {"ranker": PEER, "score": float(score), "seconds": round(time.perf_counter() - begin, 4), "read_seconds": 0.0}
