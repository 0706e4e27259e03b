"""All weights tuned on completions, embeddings included, and with them an output layer that is tied to them; another one stays as it is."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.language_training import fit_language

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned, an output layer that is not tied to the embeddings aside",
    fit=lambda job: fit_language(job, "full", 0),
    tunes_from=lambda _job: 0,
)
