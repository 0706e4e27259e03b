"""`headstart select`: which rows of neighbouring data a target would learn from, written with the score and the reason of each.

Of files of any size every row is weighed: a part at a time, beside the same rows drawn from all of it, so that parts compare; texts are
fetched again for the chosen rows alone. So memory is bounded by a part, the chosen rows, and some twenty bytes a row.

Letters in shapes: m source rows, d width.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.reading import Reader
from headstart.data.examples import Examples, IntArray
from headstart.errors import SettingsError
from headstart.instances.base import Neighbours, Way, effective_rows
from headstart.instances.pool import Joining, Pool, joining_of, known_rows, read_pool
from headstart.instances.registry import get_way
from headstart.judge.verdict import collapsed
from headstart.neighbouring import apart_from
from headstart.progress import bar
from headstart.settings import Settings
from headstart.sources.names import expand_names
from headstart.strategies.base import FloatArray
from headstart.target import Target, read_target
from headstart.writing import WRITERS, opened, output_format

COLUMNS = ("text", "label", "from", "row", "score", "reason")
# Rows weighed at once, and rows drawn from all of them that every part is weighed beside.
PART, BESIDE = 20_000, 5_000
_READ_AT_ONCE = 2048


@dataclass(frozen=True)
class Selected:
    """How rows were chosen: `chosen` of `rows`, of each file so many, and sentences about what was left out."""

    rows: int
    chosen: int
    by_set: tuple[tuple[str, int, int], ...]
    noticed: tuple[str, ...]


@dataclass(frozen=True)
class Weighed:
    """Every row that could be chosen, (m,): its weight, its class, the set that it stands in and its number there."""

    weight: FloatArray
    y: IntArray
    of: IntArray
    numbers: IntArray


def select_rows(data: str | Path | Examples, settings: Settings, *, out: str, format: str | None) -> Selected:
    """Choose rows of `settings.rows_from` for a target and write them, the first first.

    Args:
        data: the target.
        settings: what was asked; the first of `source` reads the texts.
        out: the file to write; `-` is standard output.
        format: `csv`, `jsonl` or `parquet`; None: as `out` is named.

    Raises:
        SettingsError: no neighbouring data, no such way, or an unknown format.
        DataError: the target, or a file, cannot be read; the message names it.
        SourceError: the source, or a file of names, cannot be used.
    """
    from headstart.candidates import open_means
    from headstart.instances.with_rows import first_rows

    if not settings.rows_from:
        raise SettingsError("There is nothing to choose from; name neighbouring data with --rows-from.")
    named = expand_names(settings.source)
    settings = replace(settings, source=named[:1])
    way, written_format = get_way(settings.rows_by), output_format(out, format)
    target = read_target(data, settings)
    pool = read_pool(target, settings)
    assert pool is not None  # something is named
    joining = joining_of(target, settings)
    large = any(one.undrawn for one in pool.sets)
    with open_means(settings) as means:
        [reader] = means.readers.values()
        found = weigh_parts(target, pool, settings, joining, reader, way) if large else weigh_pool(target, pool, reader, way, settings)
    chosen = np.flatnonzero(first_rows(found.weight, found.y, settings))
    order = chosen[np.argsort(-found.weight[chosen], kind="stable")]
    texts = _texts_of(order, found, pool, target, settings, joining, large)

    def written(i: int) -> list[object]:
        place = pool.sets[found.of[i]].path
        return [texts[i], target.labels[found.y[i]], place, int(found.numbers[i]), round(float(found.weight[i]), 6), way.summary]

    with opened(out) as stream:
        write, finish = WRITERS[written_format](stream, COLUMNS, {"row": "int64", "score": "double"})
        write([written(i) for i in order.tolist()])
        finish()
    of_each = np.bincount(found.of, minlength=len(pool.sets))
    by_set = tuple((one.path, int((found.of[order] == k).sum()), int(of_each[k])) for k, one in enumerate(pool.sets))
    said = [finding.message for finding in pool.findings if not (large and finding.kind == "source rows not drawn")]
    few = collapsed(effective_rows(found.weight), len(found.weight))
    first = f"{named[0]!r} is the first of {len(named)} sources and reads the texts; the others are not used." if len(named) > 1 else ""
    return Selected(len(found.weight), len(order), by_set, (*filter(None, [first]), *said, *filter(None, [few])))


def weigh_pool(target: Target, pool: Pool, reader: Reader, way: Way, settings: Settings) -> Weighed:
    """The rows of a pool, all at once."""
    features = read_features(reader, pool.texts)
    weights = way.weigh(
        replace(_target_alone(target, reader, settings), source=features, source_y=pool.y, source_texts=pool.texts, of=pool.of)
    )
    return Weighed(weights, pool.y, pool.of, pool.numbers)


def weigh_parts(target: Target, pool: Pool, settings: Settings, joining: Joining, reader: Reader, way: Way) -> Weighed:
    """Every row of every set that bears a label of the target and is not among its rows, a part at a time."""
    drawn = np.sort(np.random.default_rng(settings.seed).permutation(len(pool))[:BESIDE])
    some = [pool.texts[i] for i in drawn]
    read, some_y = read_features(reader, some), pool.y[drawn]
    alone = _target_alone(target, reader, settings)
    kept: list[Weighed] = []
    total = sum(one.rows - one.strange for one in pool.sets)
    with bar(total, "weighing rows", "row") as shown:
        for k, examples, classes in _parts(target, pool, settings, joining):
            theirs = read_features(reader, examples.texts)
            features, y = np.concatenate([read, theirs]), np.concatenate([some_y, classes])
            of = np.concatenate([pool.of[drawn], np.full(len(classes), k)])
            weights = way.weigh(replace(alone, source=features, source_y=y, source_texts=[*some, *examples.texts], of=of, kept={}))
            # What a way makes of the drawn rows is its scale: some have a mean of 1 over all rows that they are given.
            scale = float(weights[: len(some)].mean()) or 1.0
            numbers = np.array(examples.rows, dtype=np.int64)
            kept.append(Weighed(weights[len(some) :] / scale, classes, np.full(len(classes), k), numbers))
            shown.update(len(classes))
    return Weighed(*(np.concatenate([getattr(part, name) for part in kept]) for name in ("weight", "y", "of", "numbers")))


def _parts(target: Target, pool: Pool, settings: Settings, joining: Joining) -> Iterator[tuple[int, Examples, IntArray]]:
    """The rows of every set in parts that say nothing that a row of the target says, each with the set's number and the rows' classes."""
    for k, one in enumerate(pool.sets):
        rows = (row for row in known_rows(one.path, target.examples, settings, joining) if row[3] is not None)
        while part := list(itertools.islice(rows, PART)):
            numbers, texts, labels, classes = zip(*part, strict=True)
            kept = apart_from(Examples(texts, labels, numbers, one.path, "text", "label"), target)
            place = dict(zip(numbers, classes, strict=True))
            if len(kept):
                yield k, kept, np.array([place[row] for row in kept.rows], dtype=np.int64)


def _target_alone(target: Target, reader: Reader, settings: Settings) -> Neighbours:
    """What a way is given of the target; source rows are put in (`dataclasses.replace`)."""
    own = read_features(reader, target.rows.texts)
    none = target.rows.y[:0]
    rows = target.rows
    return Neighbours(own, rows.y, own[:0], none, len(target.labels), rows.texts, (), none, settings.seed, reader=reader)


def read_features(reader: Reader, texts: Sequence[str]) -> NDArray[np.float32]:
    """Features (m, d) of texts at the layers that suit most data; of the others no more than some texts' are in memory at once."""
    from headstart.strategies.probe import mean_of_layers, usual_layers

    layers = usual_layers(reader.backbone.n_blocks)
    parts = [mean_of_layers(reader.pooled(texts[at : at + _READ_AT_ONCE]), layers) for at in range(0, len(texts), _READ_AT_ONCE)]
    return np.concatenate(parts)


def _texts_of(
    order: IntArray, found: Weighed, pool: Pool, target: Target, settings: Settings, joining: Joining, large: bool
) -> dict[int, str]:
    """The text of each chosen row, by its position."""
    if not large:
        return {i: pool.texts[i] for i in order.tolist()}
    wanted = {(int(found.of[i]), int(found.numbers[i])): i for i in order.tolist()}
    texts = {}
    for k, one in enumerate(pool.sets):
        for row, text, _, _ in known_rows(one.path, target.examples, settings, joining):
            if (k, row) in wanted:
                texts[wanted[k, row]] = text
    return texts
