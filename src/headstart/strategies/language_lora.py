"""Low-rank adapters on the blocks above the cut, tuned on completions from stored activations."""

from __future__ import annotations

from headstart.strategies.ladder import Strategy
from headstart.strategies.language_training import fit_language_adapters, work_of

STRATEGY = Strategy(
    name="lora",
    transfers=True,
    needs_source=True,
    summary="low-rank adapters on the blocks above the cut",
    fit=fit_language_adapters,
    tunes_from=lambda job: job.cut,
    work=lambda job, share: work_of("lora", job, share),
)
