"""A probe first, then low-rank adapters on the blocks above the cut, from the probe's head (LoRA, Hu et al. 2021, arXiv 2106.09685).

The source's weights stay as they are, so that what was learnt is a small file beside the source (1.8 MB for MiniLM).
"""

from __future__ import annotations

import copy
from dataclasses import replace

from headstart.strategies.adapter import add_adapters, merge_adapters
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.losses import Loss, loss_of
from headstart.strategies.model import TransferModel
from headstart.strategies.schedule import Schedule, planned_steps, schedule_of
from headstart.strategies.training import stopping_rows, tune
from headstart.strategies.tuned_heads import start_head, with_fitted_head

# Chosen on sets that no benchmark against a peer uses (docs/log.md).
RANK = 16
ALPHA = 32
RATE = 5.0  # the adapters' learning rate as a multiple of what a block's own weights learn at


def lora_schedule(job: Job, steps: int, rate: float = RATE) -> Schedule:
    """The settings' schedule at the rate of adapters, which is one for all blocks; the head's stays."""
    plan = schedule_of(job, steps)
    return replace(plan, learning_rate=rate * plan.learning_rate, layer_decay=1.0)


def fit_adapters(job: Job, *, rank: int, alpha: int, rate: float, stored: bool = True) -> TransferModel:
    """Train adapters of this rank from the job's cut on. `stored` as in `training.tune`."""
    rows, validate = stopping_rows(job)
    module = copy.deepcopy(job.source.backbone.module)
    only = add_adapters(module, job.cut, rank, alpha, job.seed)
    tuned = tune(
        job.source,
        rows,
        cut=job.cut,
        head=start_head(job, rows, job.cut),
        schedule=lora_schedule(job, planned_steps("lora", len(rows), job.settings), rate),
        class_weight=job.class_weight,
        loss=loss_of(rows, Loss.BOTH),
        module=module,
        stored=stored,
        validate=validate,
        only=only,
    )
    assert tuned.module is not None
    return with_fitted_head(replace(tuned, adapter=merge_adapters(tuned.module, rank, alpha)), job)


def fit(job: Job) -> TransferModel:
    """Train adapters above the job's cut."""
    return fit_adapters(job, rank=RANK, alpha=ALPHA, rate=RATE)


STRATEGY = Strategy(
    name="lora",
    transfers=True,
    needs_source=True,
    summary="a probe, then low-rank adapters on the blocks above the cut",
    fit=fit,
    tunes_from=lambda job: job.cut,
    usual=False,
)
