"""The blocks above the cut learn to bring rows of one class together; then a linear head.

All pairs of a batch are compared at once, so no list of pairs is ever made and memory stays flat in the number of rows. What is compared
are vectors of the last layer, so that every block above the cut has its part; the head reads the mean of the upper layers, as those of
other rungs do. After SetFit (arXiv 2209.11055): a sentence encoder tuned on few labels, then a logistic head.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headstart.strategies.base import LinearHead
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.losses import Loss
from headstart.strategies.model import TransferModel
from headstart.strategies.schedule import planned_steps, schedule_of
from headstart.strategies.training import tune
from headstart.strategies.tuned_heads import tuned_layers, with_fitted_head


def tuned_on_pairs(job: Job) -> TransferModel:
    """The blocks above the job's cut tuned; the head is still to be fitted."""
    plan = schedule_of(job, planned_steps("contrastive", len(job.rows), job.settings))
    blocks = job.source.backbone.n_blocks
    idle = LinearHead(np.zeros((job.rows.n_classes, job.source.backbone.width)), np.zeros(job.rows.n_classes))
    tuned = tune(job.source, job.rows, cut=job.cut, head=idle, schedule=plan, loss=Loss.PAIRS, balanced=True)
    return replace(tuned, layers=tuned_layers(blocks, job.cut))


def fit(job: Job) -> TransferModel:
    """Tune, then fit the head on the tuned features."""
    return with_fitted_head(tuned_on_pairs(job), job)


STRATEGY = Strategy(
    name="contrastive",
    transfers=True,
    needs_source=True,
    summary="blocks above the cut tuned on all pairs of each batch, then a linear head",
    fit=fit,
    tunes_from=lambda job: job.cut,
)
