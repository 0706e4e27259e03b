"""The probe, with the source rows that the asked way puts first."""

from __future__ import annotations

from headstart.instances.with_rows import best_rows, out_of_fold
from headstart.strategies.ladder import Strategy

STRATEGY = Strategy(
    name="chosen_rows",
    transfers=True,
    needs_source=True,
    summary="a probe on the target's rows and the chosen source rows",
    fit=lambda job: out_of_fold(job, best_rows)[0],
    out_of_fold=lambda job: out_of_fold(job, best_rows),
)
