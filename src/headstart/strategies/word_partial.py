"""A probe of words first, then the blocks above the cut go on learning from its head (LP-FT, Kumar et al. 2022, arXiv 2202.10054)."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.word_training import fit_words

STRATEGY = Strategy(
    name="partial",
    transfers=True,
    needs_source=True,
    summary="a probe, then the blocks above the cut tuned from its head",
    fit=lambda job: fit_words(job, "partial", job.cut),
    tunes_from=lambda job: job.cut,
    reads=lambda job: (job.source.backbone.n_blocks,),
)
