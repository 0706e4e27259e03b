"""The frozen rung of answers: a head for starts and ends on each token of the last layer, whose activations are stored."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.span_training import fit_span_head

STRATEGY = Strategy(
    name="probe",
    transfers=True,
    needs_source=True,
    summary="a head for starts and ends on the frozen vector of each token",
    fit=fit_span_head,
    tunes_from=lambda job: job.source.backbone.n_blocks - 1,
    reads=lambda job: (job.source.backbone.n_blocks,),
)
