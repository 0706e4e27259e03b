"""All weights tuned on words, embeddings included."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.word_training import fit_words

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="all weights tuned, with a head on each word",
    fit=lambda job: fit_words(job, "full", 0),
    tunes_from=lambda _job: 0,
)
