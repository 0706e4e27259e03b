"""Blocks above the cut tuned on where answers begin and end, from stored activations."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.span_training import fit_spans

STRATEGY = Strategy(
    name="partial",
    transfers=True,
    needs_source=True,
    summary="the blocks above the cut tuned, with a head for starts and ends",
    fit=lambda job: fit_spans(job, "partial", job.cut),
    tunes_from=lambda job: job.cut,
)
