"""`headstart select`: which rows of neighbouring data a target would learn from, written with the score and the reason of each.

Letters in shapes: m source rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.data.examples import Examples
from headstart.errors import SettingsError
from headstart.instances.pool import Pool, read_pool
from headstart.instances.registry import get_way
from headstart.settings import Settings
from headstart.target import read_target
from headstart.writing import WRITERS, opened, output_format

COLUMNS = ("text", "label", "from", "row", "score", "reason")


@dataclass(frozen=True)
class Selected:
    """How rows were chosen: `chosen` of `rows`, of each file so many, and sentences about what was left out."""

    rows: int
    chosen: int
    by_set: tuple[tuple[str, int, int], ...]
    noticed: tuple[str, ...]


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
        SourceError: the source cannot be used.
    """
    from headstart.candidates import open_means
    from headstart.instances.base import Neighbours
    from headstart.instances.with_rows import first_rows
    from headstart.strategies.probe import mean_of_layers, usual_layers

    if not settings.rows_from:
        raise SettingsError("There is nothing to choose from; name neighbouring data with --rows-from.")
    way, written_format = get_way(settings.rows_by), output_format(out, format)
    target = read_target(data, settings)
    pool = read_pool(target, settings)
    assert pool is not None  # something is named
    with open_means(replace(settings, source=settings.source[:1])) as means:
        [reader] = means.readers.values()
        layers = usual_layers(reader.backbone.n_blocks)
        own, theirs = (mean_of_layers(reader.pooled(texts), layers) for texts in (target.rows.texts, pool.texts))
    seen = Neighbours(own, target.rows.y, theirs, pool.y, len(target.labels), target.rows.texts, pool.texts, settings.seed)
    weights = way.weigh(seen)
    chosen = np.flatnonzero(first_rows(weights, pool.y, settings))
    order = chosen[np.argsort(-weights[chosen], kind="stable")]
    rows = [_row(int(i), float(weights[i]), pool, target.labels, way.summary) for i in order]
    with opened(out) as stream:
        write, finish = WRITERS[written_format](stream, COLUMNS, {"score"})
        write(rows)
        finish()
    by_set = tuple((one.path, int((pool.of[order] == k).sum()), one.used) for k, one in enumerate(pool.sets))
    return Selected(len(pool), len(order), by_set, tuple(finding.message for finding in pool.findings))


def _row(i: int, score: float, pool: Pool, labels: Sequence[str], why: str) -> list[object]:
    return [pool.texts[i], labels[pool.y[i]], pool.sets[pool.of[i]].path, str(pool.numbers[i]), round(score, 6), why]
