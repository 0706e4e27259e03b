"""The probe with all source rows, each weighing as much as the asked way says."""

from __future__ import annotations

from headstart.instances.base import Neighbours
from headstart.instances.registry import get_way
from headstart.instances.with_rows import out_of_fold
from headstart.settings import Settings
from headstart.strategies.base import FloatArray
from headstart.strategies.ladder import Strategy


def graded(given: Neighbours, settings: Settings) -> FloatArray:
    """The weight of each source row, (m,), 1 on average."""
    weights = get_way(settings.rows_by).weigh(given)
    return weights / max(float(weights.mean()), 1e-12)


STRATEGY = Strategy(
    name="graded_rows",
    transfers=True,
    needs_source=True,
    summary="a probe on the target's rows and all source rows, each by its weight",
    fit=lambda job: out_of_fold(job, graded)[0],
    out_of_fold=lambda job: out_of_fold(job, graded),
)
