"""`headstart rank DATA --via A --via B`: labelled data sets as source tasks, compared with the target before anything is trained on them.

How near a set's texts lie to the target's is all that is told; what a detour gains hangs on more (docs/log.md). So the table is an order in
which to try, not a promise.

Letters in shapes: n rows, d width.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.examples import Examples
from headstart.detours import Task, read_task, require_detours, task_names
from headstart.errors import DataError, SettingsError
from headstart.judge.verdict import nearness_footing
from headstart.progress import warn
from headstart.ranking.order import in_plane
from headstart.ranking.task import MOST_ROWS, make_task
from headstart.records import DataRanking, LeftOut, RankedData
from headstart.report.wording import clean
from headstart.settings import Settings, flag
from headstart.strategies.base import FloatArray
from headstart.strategies.probe import mean_of_layers, usual_layers
from headstart.target import Target, read_target
from headstart.tasks.registry import TRANSLATION, TWO_TEXTS
from headstart.transferability.registry import Estimator, FeaturePair, Needs, TextPair, get_estimator, known_estimators

ORDERING = "mmd"
# Settings of `rank` that say how a fit would go on from a source, and what it is judged by.
_OF_A_FIT = ("strategy", "cut", "budget", "metric")


def rank_data(data: str | Path | Examples, settings: Settings, *, command: str = "") -> DataRanking:
    """Compare the data sets of `settings.via` with the target, nearest first by the maximum mean discrepancy of their features.

    Of the measures it chose best on the benchmark's eight targets (docs/choosing_a_source.md).

    The first of `settings.source` reads the texts (without any, the embedded one), at most 2,000 of each set; further ones are not used,
    which is said. `command` is the command line that asked, for the page; "" in Python.

    Raises:
        SettingsError: what is asked is of a fit that would follow, and hangs on no text; or the target's task has no source tasks.
        DataError: the target, or every one of the data sets, cannot be read or learnt from; the message names it.
        SourceError: the source cannot be used.
    """
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.cache import limit_bytes, store_folder
    from headstart.sources.names import expand_names
    from headstart.sources.resolve import resolve_source

    begin = time.perf_counter()
    _require_texts_alone(settings)
    names = expand_names(settings.source)
    if len(names) > 1:
        warn(f"{names[0]!r} is the first of {len(names)} sources and reads the texts; the others are not used.")
    settings = replace(settings, source=names[:1])
    target = read_target(data, settings)
    require_detours(replace(settings, task=target.task))
    tasks, left_out = _tasks(target, settings)
    source = resolve_source(names[0] if names else None)
    backbone = load_backbone(source, settings.max_length, pairs=target.task in TWO_TEXTS, decoder=target.task == TRANSLATION)
    layers = usual_layers(backbone.n_blocks)
    rows = make_task(target, settings)
    with Store(store_folder(settings.store), limit_bytes(settings.store_limit)) as store:
        reader = Reader(backbone, store, settings.batch_tokens)
        own = mean_of_layers(reader.pooled(rows.texts), layers)
        sets, means = [], [own.mean(axis=0)]
        for path, task in tasks.items():
            texts = _some(task, settings.seed)
            features = mean_of_layers(reader.pooled(texts), layers)
            pair = FeaturePair(features, own, settings.seed)
            means.append(features.mean(axis=0))
            given = {Needs.DATA_SETS: pair, Needs.TEXTS: TextPair(texts, rows.texts)}
            estimators = [get_estimator(name) for name in known_estimators()]
            scores = {each.name: _score(each, given[each.needs]) for each in estimators if each.needs in given}
            sets.append(RankedData(task.name, path, len(task.target.rows), task.target.rows.n_classes, task.left_out, scores, (0.0, 0.0)))
    sets = [replace(item, place=place) for item, place in zip(sets, _around_the_target(means), strict=True)]
    sets.sort(key=lambda item: item.scores[ORDERING])
    return DataRanking(
        title=target.name,
        created=datetime.now(timezone.utc).isoformat(timespec="seconds"),
        source=backbone.source.name,
        rows=len(rows.picked),
        ordering=ORDERING,
        sets=tuple(sets),
        left_out=tuple(left_out),
        seconds=time.perf_counter() - begin,
        command=command,
    )


def _require_texts_alone(settings: Settings) -> None:
    """Refuse what would change a ranking of sources, but none of data sets, of which only how near their texts lie is told.

    Raises:
        SettingsError: such settings differ from their defaults.
    """
    given = [flag(name) for name in _OF_A_FIT if getattr(settings, name) != getattr(Settings, name)]
    if given:
        them = "it" if len(given) == 1 else "them"
        raise SettingsError(
            f"{', '.join(given)} cannot be followed with --via, which compares data sets by their texts alone; leave {them} out."
        )


def _around_the_target(means: list[FloatArray]) -> list[tuple[float, float]]:
    """Places in the plane by the distances between mean features (d,), the first of which is the target's and stands at (0, 0)."""
    every = np.stack(means)
    (x, y), *others = in_plane(np.linalg.norm(every[:, None] - every[None], axis=2))
    return [(across - x, up - y) for across, up in others]


def _score(estimator: Estimator, given: Any) -> float:
    """A measure of one data set; nan where it cannot be taken of these texts, as the words of texts without words.

    Raises:
        DataError: it is the one that orders.
    """
    try:
        return estimator.score(given)
    except DataError:
        if estimator.name == ORDERING:
            raise
        return math.nan


def _tasks(target: Target, settings: Settings) -> tuple[dict[str, Task], list[LeftOut]]:
    """The source tasks by their paths, and those that cannot be learnt from."""
    tasks: dict[str, Task] = {}
    left_out: list[LeftOut] = []
    for path, name in task_names(settings.via).items():
        try:
            tasks[path] = read_task(path, name, target, settings)
        except DataError as error:
            left_out.append(LeftOut(path, str(error)))
    if not tasks:
        last = left_out[-1].reason
        raise DataError(last if len(left_out) == 1 else f"None of the {len(left_out)} data sets can be learnt; the last one: {last}")
    return tasks, left_out


def _some(task: Task, seed: int) -> tuple[str, ...]:
    """At most `MOST_ROWS` texts of a source task."""
    texts = task.target.rows.texts
    picked = np.sort(np.random.default_rng(seed).permutation(len(texts))[:MOST_ROWS])
    return tuple(texts[i] for i in picked)


def data_table(ranking: DataRanking) -> Iterator[str]:
    """A line of headings, a data set a line, and what the figures stand on."""
    names = list(ranking.sets[0].scores)
    rows = [("", "data set", "rows", "labels", *names)]
    for place, item in enumerate(ranking.sets, start=1):
        scores = ("-" if math.isnan(item.scores[name]) else f"{item.scores[name]:.3f}" for name in names)
        rows.append((str(place), clean(item.name), f"{item.rows:,}", f"{item.classes:,}", *scores))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(f"{cell:{'<' if i == 1 else '>'}{widths[i]}}" for i, cell in enumerate(row)).rstrip()
    yield ""
    for item in ranking.sets:
        if item.left_out:
            yield f"{clean(item.name)}: {_rows(item.left_out)} nearly the same as rows of the target and left out."
    for set_aside in ranking.left_out:
        yield f"left out: {clean(set_aside.reason)}"
    yield from nearness_footing(ranking)


def _rows(count: int) -> str:
    return "1 row is" if count == 1 else f"{count:,} rows are"
