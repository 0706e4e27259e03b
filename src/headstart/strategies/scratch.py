"""The source's architecture with random weights, trained on the target alone: what the architecture is worth without what it learned."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from torch import nn

from headstart.backbone.encoding import tell_texts_apart
from headstart.strategies.base import LinearHead
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.losses import Loss, loss_of
from headstart.strategies.model import TransferModel
from headstart.strategies.schedule import Schedule, planned_steps, schedule_of
from headstart.strategies.training import stopping_rows, tune

# Nothing has been learned that too long steps could spoil, and much is still to learn.
RATE = 3e-4


def random_module(job: Job) -> nn.Module:
    """The source's architecture with random weights, the same for the same seed."""
    backbone = job.source.backbone
    with torch.random.fork_rng():
        torch.manual_seed(job.seed)
        module: nn.Module = type(backbone.module)(backbone.module.config)
    module.eval()
    if backbone.pairs:
        tell_texts_apart(module, backbone.tokenizer.sep_token_id)
    return module


def random_schedule(job: Job, rows: int, rate: float) -> Schedule:
    """How long so many rows are learnt from random weights, all blocks at one rate."""
    return replace(schedule_of(job, planned_steps("scratch", rows, job.settings)), learning_rate=rate, head_rate=rate, layer_decay=1.0)


def fit(job: Job) -> TransferModel:
    """Train everything from random weights."""
    backbone = job.source.backbone
    head = LinearHead(np.zeros((job.rows.n_classes, backbone.width)), np.zeros(job.rows.n_classes))
    rows, validate = stopping_rows(job)
    plan = random_schedule(job, len(rows), RATE)
    return tune(
        job.source,
        rows,
        cut=0,
        head=head,
        schedule=plan,
        class_weight=job.class_weight,
        loss=loss_of(rows, Loss.CROSS_ENTROPY),
        module=random_module(job),
        validate=validate,
    )


STRATEGY = Strategy(
    name="scratch",
    transfers=False,
    needs_source=True,
    summary="the same architecture from random weights",
    fit=fit,
    tunes_from=lambda _job: 0,
)
