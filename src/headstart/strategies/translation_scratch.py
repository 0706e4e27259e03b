"""The rung without transfer of translation: a small translator from random weights, on the pairs alone."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.translation_training import fit_from_nothing, work_of

STRATEGY = Strategy(
    name="scratch",
    transfers=False,
    needs_source=False,
    summary="a small translator from random weights",
    fit=fit_from_nothing,
    work=lambda job, share: work_of("scratch", job, share),
)
