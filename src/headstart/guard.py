"""The guard of neighbouring rows: they are learnt where they are of use, not where they merely do no harm.

Letters in shapes: u units, c classes.
"""

from __future__ import annotations

import math

import numpy as np

from headstart.judge.intervals import count_units
from headstart.settings import Metric
from headstart.strategies.base import FloatArray
from headstart.strategies.ladder import Job
from headstart.tasks.registry import get_task


def rows_help(logits: FloatArray | None, base: FloatArray | None, job: Job, metric: Metric) -> bool:
    """Whether a rung with source rows beats the one without on the same folds by more than the standard error of the difference.

    Args:
        logits: out-of-fold outputs (u, c) of the rung with source rows, NaN where not measured; None: it was not tried.
        base: those of the rung without, the probe where there is one; None: there is none.
        job: the rows.
        metric: what decides.
    """
    if logits is None or base is None:
        return False
    seen = np.intersect1d(job.rows.measured(logits), job.rows.measured(base))
    if not len(seen):
        return False
    units = job.rows.units(seen)
    found = get_task(job.settings.task).judge.contrast(metric, logits[units], base[units], job.rows.take(seen))
    n = count_units(len(seen), job.groups[seen])
    return found.difference > math.sqrt(max(found.shares.var(), 0.5 / n) / n)
