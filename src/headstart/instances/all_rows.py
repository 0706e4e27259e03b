"""The probe with all source rows: what choosing is compared with."""

from __future__ import annotations

import numpy as np

from headstart.instances.with_rows import out_of_fold
from headstart.strategies.ladder import Strategy

STRATEGY = Strategy(
    name="all_rows",
    transfers=True,
    needs_source=True,
    summary="a probe on the target's rows and all source rows",
    fit=lambda job: out_of_fold(job, lambda given, _: np.ones(len(given.source)))[0],
    out_of_fold=lambda job: out_of_fold(job, lambda given, _: np.ones(len(given.source))),
)
