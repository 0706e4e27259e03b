"""`partial` on the target's rows and the chosen source rows together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.instances.with_rows import best_rows, count_of, neighbours, read_together
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.partial import fit_from

MOST_TIMES = 8  # as many source rows as the target has, at most: more would drown it, and cost


def rows_added(job: Job) -> int:
    """How many source rows are learnt beside the job's."""
    return 0 if job.pool is None else min(count_of(job.settings, job.pool.y), MOST_TIMES * len(job.rows))


def fit(job: Job) -> TransferModel:
    """Tune the blocks above the job's cut on both."""
    pool = job.pool
    assert pool is not None  # the rung is only there where there is one
    weights = best_rows(neighbours(job, read_together(job), np.arange(len(job.rows))), job.settings)
    kept = np.flatnonzero(weights)
    if len(kept) > (most := rows_added(job)):
        kept = np.sort(np.random.default_rng(job.seed).permutation(kept)[:most])
    rows = Rows((*job.rows.texts, *(pool.texts[i] for i in kept)), np.concatenate([job.rows.y, pool.y[kept]]), job.rows.n_classes)
    groups = np.concatenate([job.groups, job.groups.max(initial=0) + 1 + np.arange(len(kept))])
    job.source.read_ahead(rows.texts, [job.cut] if job.cut else [])
    return fit_from(replace(job, rows=rows, groups=groups, folds=[]), job.cut)


STRATEGY = Strategy(
    name="partial_rows",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned on the target's rows and the chosen source rows",
    fit=fit,
    tunes_from=lambda job: job.cut,
    adds=rows_added,
)
