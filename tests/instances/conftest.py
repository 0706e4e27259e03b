from __future__ import annotations

import numpy as np
import pytest

from headstart.instances.pool import Pool, SourceSet
from headstart.instances.with_rows import Together, together
from headstart.settings import make_settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job


@pytest.fixture
def told() -> tuple[Job, Together]:
    """Few target rows of many columns, and many source rows that tell the same classes."""
    rng = np.random.default_rng(0)
    y, source_y = np.arange(24) % 2, np.arange(400) % 2
    target, source = rng.normal(size=(24, 40)), rng.normal(size=(400, 40))
    target[:, 0] += 3.0 * y
    source[:, 0] += 3.0 * source_y
    one = SourceSet("near", "near.csv", 400, 0, 0, 0, 400)
    pool = Pool(tuple(f"s{i}" for i in range(400)), source_y, np.zeros(400, dtype=np.int64), np.arange(400), (one,), ())
    bins = np.arange(24) // 2 % 3
    folds = [(np.flatnonzero(bins != k), np.flatnonzero(bins == k)) for k in range(3)]
    settings = make_settings({"metric": "accuracy", "rows_by": "agreement", "resamples": 100})
    job = Job(Rows(tuple(f"t{i}" for i in range(24)), y, 2), np.arange(24), folds, settings, 0, pool=pool)
    return job, together(target.astype(np.float32), source.astype(np.float32))
