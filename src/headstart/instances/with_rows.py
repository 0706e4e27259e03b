"""Learning from the target's rows and rows of a pool together: what the rungs with source rows share.

The choice is made anew for every fold from that fold's training rows alone; rows that are held out, and rows that judge, have no say in it.

Letters in shapes: n target rows, m source rows, d width, c classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.instances.base import Neighbours
from headstart.instances.pool import Pool
from headstart.instances.registry import get_way
from headstart.settings import Settings
from headstart.strategies.base import FloatArray, LinearHead
from headstart.strategies.heads import FINAL, Solution, Space, log_loss, make_space, solve, solve_path, trying, usual_strength
from headstart.strategies.ladder import Job
from headstart.strategies.model import TransferModel
from headstart.strategies.probe import mean_of_layers, usual_layers

OWN = 3.0  # what a target row weighs against a source row
FIRMER = (1.0, 3.0, 10.0)  # penalties that are tried, as multiples of the usual one

Pick = Callable[[Neighbours, Settings], FloatArray]
"""The weight of each source row, (m,); 0 leaves it out."""


@dataclass(frozen=True)
class Together:
    """Features (n, d) of a job's rows and (m, d) of its pool, and both on common axes: `space` over (n + m) rows, the target's first."""

    target: NDArray[np.float32]
    source: NDArray[np.float32]
    space: Space


def read_together(job: Job) -> Together:
    """Read the target's rows and the pool's with the source, at the layers that suit most data; the pool's are read once."""
    pool, reader = _pool(job), job.source
    layers = usual_layers(reader.backbone.n_blocks)
    name = reader.backbone.source.name
    if name not in pool.features:
        pool.features[name] = mean_of_layers(reader.pooled(pool.texts), layers)
    return together(mean_of_layers(reader.pooled(job.rows.texts), layers), pool.features[name])


def together(target: NDArray[np.float32], source: NDArray[np.float32]) -> Together:
    """Both sides' features on common axes."""
    return Together(target, source, make_space(np.concatenate([target, source])))


def _pool(job: Job) -> Pool:
    assert job.pool is not None  # rungs with rows are only there where there are some
    return job.pool


def neighbours(job: Job, both: Together, train: IntArray) -> Neighbours:
    """What a way of choosing may look at: these rows of the target, and the pool."""
    pool, texts = _pool(job), [job.rows.texts[i] for i in train]
    z = both.space.z[np.concatenate([train, np.arange(len(job.rows), len(both.space.z))])]
    rows = job.rows
    kept = pool.kept.setdefault(job.reader.backbone.source.name if job.reader else "", {})
    return Neighbours(
        both.target[train], rows.y[train], both.source, pool.y, rows.n_classes, texts, pool.texts, pool.of, job.seed, z, job.reader, kept
    )


def best_rows(given: Neighbours, settings: Settings) -> FloatArray:
    """1 for the share of source rows that the asked way puts first, else 0."""
    return first_rows(get_way(settings.rows_by).weigh(given), given.source_y, settings)


def first_rows(weights: FloatArray, y: IntArray, settings: Settings) -> FloatArray:
    """1 for the share of rows of the greatest weights (m,) within each class of y (m,), one at least of each, else 0.

    Taken over all classes at once, nearness to the target's middle would choose the commonest class alone.
    """
    kept = np.zeros(len(weights))
    for k, count in enumerate(_counts(y, settings)):
        own = np.flatnonzero(y == k)
        kept[own[np.argsort(-weights[own], kind="stable")[:count]]] = 1.0
    return kept


def in_turn(weights: FloatArray, y: IntArray) -> IntArray:
    """All rows in the order in which a growing share takes them: equally far down each class, the greatest weights (m,) first."""
    depth = np.empty(len(weights))
    for k in np.unique(y):
        own = np.flatnonzero(y == k)
        depth[own[np.argsort(-weights[own], kind="stable")]] = (np.arange(len(own)) + 0.5) / len(own)
    return np.lexsort((-weights, depth))


def count_of(settings: Settings, y: IntArray) -> int:
    """How many source rows of classes y (m,) are chosen."""
    return int(_counts(y, settings).sum())


def _counts(y: IntArray, settings: Settings) -> IntArray:
    """How many rows of each class are chosen: 1 at least of those that have any."""
    sizes = np.bincount(y)
    return np.where(sizes > 0, np.maximum(1, np.round(settings.rows_share * sizes).astype(np.int64)), 0)


def fit_on(
    job: Job, both: Together, train: IntArray, weights: FloatArray, strength: float, tolerance: float, start: Solution | None = None
) -> Solution:
    """A head on the common axes, from some target rows and the weighted source rows; `start` saves time and changes nothing else."""
    n, kept = len(job.rows), np.flatnonzero(weights > 0)
    rows = np.concatenate([train, n + kept])
    y = np.concatenate([job.rows.y[train], _pool(job).y[kept]])
    own = np.full(len(train), OWN) if job.class_weight is None else OWN * job.class_weight[job.rows.y[train]]
    weight = np.concatenate([own, weights[kept]])
    z, c = both.space.z[rows], job.rows.n_classes
    if start is None:
        return solve_path(z, y, c, strength, None, tolerance, row_weight=weight)
    return solve(z, y, c, strength, None, start, tolerance, row_weight=weight)


def fit_head_on(job: Job, both: Together, pick: Pick) -> tuple[LinearHead, FloatArray]:
    """A head from all rows, and logits (n, c) of rows that folds hold out, NaN for others; the penalty has the least held-out loss."""
    c = job.rows.n_classes
    picked = [pick(neighbours(job, both, train), job.settings) for train, _ in job.folds]
    tried: dict[float, FloatArray] = {}
    starts: list[Solution | None] = [None] * len(job.folds)
    for strength in (times * usual_strength(c) for times in (FIRMER if job.folds else FIRMER[:1])):
        tried[strength] = np.full((len(job.rows), c), np.nan)
        for k, ((train, held), weights) in enumerate(zip(job.folds, picked, strict=True)):
            starts[k] = found = fit_on(job, both, train, weights, strength, trying(len(both.source)), starts[k])
            tried[strength][held] = found.logits(both.space.z[held])
    strength = min(tried, key=lambda each: log_loss(tried[each], job.rows.y, job.class_weight)) if job.folds else next(iter(tried))
    every = np.arange(len(job.rows))
    found = fit_on(job, both, every, pick(neighbours(job, both, every), job.settings), strength, FINAL)
    return both.space.to_head(found), tried[strength]


def out_of_fold(job: Job, pick: Pick) -> tuple[TransferModel, FloatArray]:
    """The rung that learns from the source rows that `pick` weighs: its model, and logits (n, c) of rows that folds hold out."""
    head, logits = fit_head_on(job, read_together(job), pick)
    blocks = job.source.backbone.n_blocks
    return TransferModel(job.source, None, blocks, usual_layers(blocks), head), logits
