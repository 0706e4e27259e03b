"""The blocks above the cut learn to bring rows of one class together; then a linear head.

All pairs of a batch are compared at once, so no list of pairs is ever made and memory stays flat in the number of rows. After
SetFit (arXiv 2209.11055): a sentence encoder tuned on few labels, then a logistic head.
"""

from __future__ import annotations

from dataclasses import replace

from headstart.strategies.heads import fit_head, usual_strength
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.losses import Loss
from headstart.strategies.model import TransferModel
from headstart.strategies.training import planned_steps, schedule_of, start_head, tune

# Tuned features of the training rows lie closer together than those of new rows; a firmer penalty keeps the head from trusting them.
FIRMER = 3.0


def fit(job: Job) -> TransferModel:
    """Tune, then fit the head on the tuned features."""
    plan = schedule_of(job, planned_steps("contrastive", len(job.rows), job.settings))
    start = start_head(job, job.cut)
    tuned = tune(job.source, job.rows, cut=job.cut, head=start, schedule=plan, loss=Loss.PAIRS, balanced=True)
    head = fit_head(
        tuned.features(job.rows.texts),
        job.rows.y,
        job.rows.n_classes,
        strength=FIRMER * usual_strength(job.rows.n_classes),
        class_weight=job.class_weight,
        start=None,
    )
    return replace(tuned, head=head)


STRATEGY = Strategy(
    name="contrastive",
    transfers=True,
    needs_source=True,
    summary="blocks above the cut tuned on all pairs of each batch, then a linear head",
    fit=fit,
    tunes_from=lambda job: job.cut,
)
