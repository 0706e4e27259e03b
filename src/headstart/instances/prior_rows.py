"""The chosen source rows as the prior of a head: source first, then the target's rows, held to what the source taught.

A head is fitted on the chosen source rows alone; the target's head is the one that is best on the target's rows less a penalty on how far
its weights lie from that (Chelba and Acero 2006, "Adaptation of Maximum Entropy Capitalizer: Little Data Can Help a Lot"). A large penalty
leaves the source's head.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.data.examples import IntArray
from headstart.instances.with_rows import Together, best_rows, neighbours, read_together
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import FINAL, Solution, log_loss, solve, solve_path, trying, usual_strength
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.probe import usual_layers

# Penalties that are tried, as multiples of the usual one.
HELD = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0)


def source_head(job: Job, both: Together, train: IntArray, tolerance: float) -> Solution:
    """A head on the source rows that are chosen for some of the target's."""
    assert job.pool is not None  # the rung is only there where there is one
    kept = np.flatnonzero(best_rows(neighbours(job, both, train), job.settings))
    c = job.rows.n_classes
    return solve_path(both.space.z[len(job.rows) + kept], job.pool.y[kept], c, usual_strength(c), None, tolerance)


def out_of_fold(job: Job) -> tuple[TransferModel, FloatArray]:
    """The model, and logits (n, c) of rows that folds hold out; the penalty has the least held-out loss."""
    both, rows = read_together(job), job.rows
    z, c = both.space.z[: len(rows)], rows.n_classes
    loose = trying(len(both.source))
    first = [source_head(job, both, train, loose) for train, _ in job.folds]
    tried: dict[float, FloatArray] = {}
    for strength in (times * usual_strength(c) for times in (HELD if job.folds else HELD[2:3])):
        tried[strength] = np.full((len(rows), c), np.nan)
        for (train, held), prior in zip(job.folds, first, strict=True):
            found = solve(z[train], rows.y[train], c, strength, job.class_weight, prior, loose, prior=prior)
            tried[strength][held] = found.logits(z[held])
    strength = min(tried, key=lambda each: log_loss(tried[each], rows.y, job.class_weight)) if job.folds else next(iter(tried))
    prior = source_head(job, both, np.arange(len(rows)), FINAL)
    found = solve(z, rows.y, c, strength, job.class_weight, prior, FINAL, prior=prior)
    blocks = job.source.backbone.n_blocks
    return TransferModel(job.source, None, blocks, usual_layers(blocks), both.space.to_head(found)), tried[strength]


STRATEGY = Strategy(
    name="prior_rows",
    transfers=True,
    needs_source=True,
    summary="a probe on the target's rows, held to a head on the chosen source rows",
    fit=lambda job: out_of_fold(job)[0],
    out_of_fold=out_of_fold,
    usual=False,
)
