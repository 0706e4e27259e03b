"""The source's architecture with random weights, trained on the target's answers alone."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.scratch import RATE
from headstart.strategies.span_training import fit_random_spans

STRATEGY = Strategy(
    name="scratch",
    transfers=False,
    needs_source=True,
    summary="the same architecture from random weights",
    fit=lambda job: fit_random_spans(job, RATE),
    tunes_from=lambda _job: 0,
)
