"""Blocks above the cut tuned on words, from stored activations."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.word_training import fit_words

STRATEGY = Strategy(
    name="partial",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned, with a head on each word",
    fit=lambda job: fit_words(job, "partial", job.cut),
    tunes_from=lambda job: job.cut,
)
