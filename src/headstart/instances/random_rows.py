"""The probe with as many source rows drawn by chance: what choosing must beat."""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours
from headstart.instances.with_rows import first_rows, out_of_fold
from headstart.settings import Settings
from headstart.strategies.base import FloatArray
from headstart.strategies.ladder import Strategy


def _by_chance(given: Neighbours, settings: Settings) -> FloatArray:
    return first_rows(np.random.default_rng(given.seed).random(len(given.source)), given.source_y, settings)


STRATEGY = Strategy(
    name="random_rows",
    transfers=True,
    needs_source=True,
    summary="a probe on the target's rows and as many source rows drawn by chance",
    fit=lambda job: out_of_fold(job, _by_chance)[0],
    out_of_fold=lambda job: out_of_fold(job, _by_chance),
    compared_only=True,
)
