"""A probe of words first, then everything goes on learning, embeddings included."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.word_training import fit_words

STRATEGY = Strategy(
    name="full",
    transfers=True,
    needs_source=True,
    summary="a probe, then all weights tuned from its head",
    fit=lambda job: fit_words(job, "full", 0),
    tunes_from=lambda _job: 0,
    reads=lambda job: (job.source.backbone.n_blocks,),
)
