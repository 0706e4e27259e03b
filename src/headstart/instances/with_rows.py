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
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import FINAL, Space, log_loss, make_space, solve_path, trying, usual_strength
from headstart.strategies.ladder import Job
from headstart.strategies.model import TransferModel
from headstart.strategies.probe import mean_of_layers, usual_layers

OWN = 3.0  # what a target row weighs against a source row
FIRMER = (1.0, 3.0, 10.0)  # penalties that are tried, as multiples of the usual one

Pick = Callable[[Neighbours, Settings], FloatArray]
"""The weight of each source row, (m,); 0 leaves it out."""


@dataclass(frozen=True)
class Together:
    """Features of a job's rows and of its pool on common axes, `space` over (n + m) rows, the target's first."""

    target: NDArray[np.float32]
    source: NDArray[np.float32]
    space: Space
    pool: Pool

    def neighbours(self, job: Job, train: IntArray) -> Neighbours:
        """What a way of choosing may look at: these rows of the target, and the pool."""
        return Neighbours(
            self.target[train],
            job.rows.y[train],
            self.source,
            self.pool.y,
            job.rows.n_classes,
            [job.rows.texts[i] for i in train],
            self.pool.texts,
            job.seed,
        )


def read_together(job: Job) -> Together:
    """Read the target's rows and the pool's with the source, at the layers that suit most data."""
    pool, reader = job.pool, job.source
    assert pool is not None  # such rungs are only there where there is one
    layers = usual_layers(reader.backbone.n_blocks)
    target, source = (mean_of_layers(reader.pooled(texts), layers) for texts in (job.rows.texts, pool.texts))
    return Together(target, source, make_space(np.concatenate([target, source])), pool)


def best_rows(given: Neighbours, settings: Settings, weights: FloatArray | None = None) -> FloatArray:
    """1 for the share of source rows that the asked way puts first, else 0."""
    found = get_way(settings.rows_by).weigh(given) if weights is None else weights
    kept = np.zeros(len(found))
    kept[np.argsort(-found, kind="stable")[: count_of(settings, len(found))]] = 1.0
    return kept


def count_of(settings: Settings, m: int) -> int:
    """How many of m source rows are chosen, 1 at least."""
    return max(1, round(settings.rows_share * m))


def fit_on(job: Job, together: Together, train: IntArray, weights: FloatArray, strength: float, tolerance: float) -> FloatArray:
    """A head's weight and bias on the axes of `together`, (c, r + 1), from some target rows and the weighted source rows."""
    n, kept = len(job.rows), np.flatnonzero(weights > 0)
    rows = np.concatenate([train, n + kept])
    y = np.concatenate([job.rows.y[train], together.pool.y[kept]])
    own = np.full(len(train), OWN) if job.class_weight is None else OWN * job.class_weight[job.rows.y[train]]
    weight = np.concatenate([own, weights[kept]])
    found = solve_path(together.space.z[rows], y, job.rows.n_classes, strength, None, tolerance, row_weight=weight)
    return np.column_stack([found.weight, found.bias])


def out_of_fold(job: Job, pick: Pick) -> tuple[TransferModel, FloatArray]:
    """The model of all rows and logits (n, c) of rows that folds hold out, NaN for others; the penalty has the least held-out loss."""
    from headstart.strategies.heads import Solution

    together, c = read_together(job), job.rows.n_classes
    picked = [pick(together.neighbours(job, train), job.settings) for train, _ in job.folds]
    tried: dict[float, FloatArray] = {}
    for times in FIRMER:
        strength = times * usual_strength(c)
        logits = np.full((len(job.rows), c), np.nan)
        for (train, held), weights in zip(job.folds, picked, strict=True):
            found = fit_on(job, together, train, weights, strength, trying(len(together.source)))
            logits[held] = together.space.z[held] @ found[:, :-1].T + found[:, -1]
        tried[strength] = logits
        if not job.folds:
            break
    strength = min(tried, key=lambda each: log_loss(tried[each], job.rows.y, job.class_weight)) if job.folds else next(iter(tried))
    every = np.arange(len(job.rows))
    found = fit_on(job, together, every, pick(together.neighbours(job, every), job.settings), strength, FINAL)
    head = together.space.to_head(Solution(found[:, :-1], found[:, -1]))
    reader = job.source
    return TransferModel(reader, None, reader.backbone.n_blocks, usual_layers(reader.backbone.n_blocks), head), tried[strength]
