"""All weights tuned on where answers begin and end, embeddings included."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.span_training import fit_spans

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned, with a head for starts and ends",
    fit=lambda job: fit_spans(job, "full", 0),
    tunes_from=lambda _job: 0,
)
