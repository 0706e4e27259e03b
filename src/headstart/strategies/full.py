"""All weights go on learning, the embeddings too, from the probe's head: cut 0."""

from __future__ import annotations

from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.partial import fit_from


def fit(job: Job) -> TransferModel:
    """Tune everything."""
    return fit_from(job, 0)


STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned from the probe's head",
    fit=fit,
    tunes_from=lambda _job: 0,
)
