"""The frozen rung of words: a logistic head on each word's first token, at the layer that serves best.

A stock class of transformers holds a head on the last layer alone, so one layer is read, and where it is not the last the model that is
saved ends there (`export/token_folder.py`). Layers are compared by held-out log-loss on some of the rows.

Letters in shapes: n rows, u words, d width, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader
from headstart.strategies.base import Fitted, FloatArray, Folds, Rows
from headstart.strategies.heads import FINAL, Space, choose_strength, log_loss, make_space, solve_path
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.word_model import WordModel, words_at

MOST_WORDS = 20_000  # that choose layer and penalty


def candidate_layers(backbone: Backbone) -> tuple[int, ...]:
    """The upper half of the blocks; the last alone where something runs behind it, which a model that ends sooner would lack."""
    blocks = backbone.n_blocks
    return (blocks,) if backbone.above else tuple(range(blocks + 1 - max(blocks // 2, 1), blocks + 1))


def choose_layer(reader: Reader, rows: Rows, folds: Folds) -> int:
    """The layer on which a head has the least log-loss on the first fold that parts the rows which choose; the last where none does."""
    layers = candidate_layers(reader.backbone)
    some, pairs = _some(rows, folds)
    if not pairs or len(layers) == 1:
        return layers[-1]
    return min(layers, key=lambda layer: _held_out_loss(make_space(words_at(reader, rows.texts, layer)), rows, some, pairs[:1]))


def _held_out_loss(space: Space, rows: Rows, some: np.ndarray, pairs: Folds) -> float:
    y = rows.y[some]
    _, logits, _ = choose_strength(space.z[some], y, rows.n_classes, pairs, None)
    return log_loss(logits, y, None)


def _some(rows: Rows, folds: Folds) -> tuple[np.ndarray, Folds]:
    """Words of whole rows, `MOST_WORDS` at most, as positions, and the folds among them."""
    order = np.random.default_rng(0).permutation(len(rows))
    sizes = np.ones(len(rows), dtype=np.int64) if rows.sizes is None else rows.sizes
    chosen = np.zeros(len(rows), dtype=bool)
    chosen[order[: max(2, int(np.searchsorted(np.cumsum(sizes[order]), MOST_WORDS)))]] = True
    words = np.flatnonzero(rows.of_units(chosen))
    place = np.full(len(rows.y), -1, dtype=np.int64)
    place[words] = np.arange(len(words))
    pairs = [(place[rows.units(train[chosen[train]])], place[rows.units(held[chosen[held]])]) for train, held in folds]
    return words, [(train, held) for train, held in pairs if len(train) and len(held)]


def choose_words_probe(reader: Reader, rows: Rows, folds: Folds) -> tuple[WordModel, FloatArray]:
    """The probe on all rows, and logits (u, c) of words that the folds hold out, NaN for others."""
    layer = choose_layer(reader, rows, folds)
    space = make_space(words_at(reader, rows.texts, layer))
    some, pairs = _some(rows, folds)
    strength, _, _ = choose_strength(space.z[some], rows.y[some], rows.n_classes, pairs, None)
    logits = np.full((len(rows.y), rows.n_classes), np.nan)
    for train, held in folds:
        kept, asked = rows.units(train), rows.units(held)
        logits[asked] = solve_path(space.z[kept], rows.y[kept], rows.n_classes, strength, None, FINAL).logits(space.z[asked])
    solution = solve_path(space.z, rows.y, rows.n_classes, strength, None, FINAL)
    return WordModel(reader, None, reader.backbone.n_blocks, layer, space.to_head(solution)), logits


def _job_out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    return choose_words_probe(job.source, job.rows, job.folds)


STRATEGY = Strategy(
    name="probe",
    transfers=True,
    needs_source=True,
    summary="a linear head on the frozen vector of each word",
    fit=lambda job: _job_out_of_fold(job)[0],
    out_of_fold=_job_out_of_fold,
    reads=lambda job: candidate_layers(job.source.backbone),
)
