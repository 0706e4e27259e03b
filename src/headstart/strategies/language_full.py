"""All weights tuned on completions, embeddings and output layer included, tied to each other or not."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.language_training import fit_language, work_of

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned",
    fit=lambda job: fit_language(job, "full", 0),
    tunes_from=lambda _job: 0,
    work=lambda job, share: work_of("full", job, share),
)
