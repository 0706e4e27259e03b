"""What `full` and `contrastive` make of the weights is averaged, and a head is fitted on what the mean makes of the rows: a model soup
(Wortsman et al. 2022, arXiv 2203.05482).

Both begin at the source's weights and change them little, so that what lies half way between the two is a model as well. What they learn
differs, and what only one of them took for a rule is halved. Of `full`, `partial` and `contrastive` these two went best together, and with
all blocks free in both better than with the lower ones frozen in `contrastive` (docs/log.md).
"""

from __future__ import annotations

from dataclasses import replace

import torch

from headstart.strategies.contrastive import tuned_on_pairs
from headstart.strategies.gradual import joined
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.partial import tuned_from
from headstart.strategies.tuned_heads import with_fitted_head

PARTS = ("full", "contrastive")


def fit(job: Job) -> TransferModel:
    """Tune twice, average, fit the head."""
    first, second = (replace(job, cut=0, logs=None if job.logs is None else job.logs / part) for part in PARTS)
    model, other = tuned_from(first, 0), tuned_on_pairs(second)
    assert model.module is not None and other.module is not None
    with torch.no_grad():
        for mine, theirs in zip(model.module.parameters(), other.module.parameters(), strict=True):
            mine.lerp_(theirs, 0.5)
    return with_fitted_head(replace(model, curve=joined(model.curve, other.curve)), job)


STRATEGY = Strategy(
    name="soup",
    transfers=True,
    needs_source=True,
    summary="the weights of `full` and `contrastive` averaged, then a linear head",
    fit=fit,
    tunes_from=lambda _job: 0,
    trains_as=PARTS,
)
