"""Blocks above the cut tuned on completions, from stored activations."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.language_training import fit_language, work_of

STRATEGY = Strategy(
    name="partial",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned",
    fit=lambda job: fit_language(job, "partial", job.cut),
    tunes_from=lambda job: job.cut,
    work=lambda job, share: work_of("partial", job, share),
)
