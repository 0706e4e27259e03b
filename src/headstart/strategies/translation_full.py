"""All weights of a translator tuned: a parent's, or an encoder's with a new decoder."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.translation_training import fit_translation, work_of

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned",
    fit=lambda job: fit_translation(job, "full"),
    work=lambda job, share: work_of("full", job, share),
)
