"""Rows that could be the target's own: the ratio of densities, by a classifier that tells target rows from source rows.

The classifier's probabilities come from folds, so that no row is judged by a model that has learnt it, and are calibrated by one
temperature. The ratio is clipped, for a few rows of huge weight would be all that is learnt from.

Letters in shapes: n target rows, m source rows.
"""

from __future__ import annotations

import numpy as np

from headstart.data.split import folds
from headstart.instances.base import Neighbours, Way
from headstart.judge.calibration import fit_temperature
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import choose_head

MOST = 10.0  # times the mean weight


def weigh(given: Neighbours) -> FloatArray:
    """The density ratio of each source row, mean 1 before it is clipped, in [0, 10]."""
    n, m = len(given.target), len(given.source)
    features = np.concatenate([given.target, given.source])
    domain = np.repeat([1, 0], [n, m]).astype(np.int64)
    pairs = folds(domain, np.arange(n + m), min(5, n, m), given.seed) if min(n, m) > 1 else []
    choice = choose_head(features, domain, 2, pairs, None)
    logits = choice.out_of_fold_logits
    seen = np.flatnonzero(~np.isnan(logits[:, 0]))
    apart = (logits[:, 1] - logits[:, 0]) / fit_temperature(logits[seen], domain[seen])
    if len(seen) < n + m:
        whole = choice.head.logits(features)
        apart = np.where(np.isnan(apart), whole[:, 1] - whole[:, 0], apart)
    ratio = np.exp(np.clip(apart[n:], -30.0, 30.0)) * m / n
    ratio = np.minimum(ratio / ratio.mean(), MOST)
    return np.asarray(ratio)


WAY = Way(
    name="density",
    summary="how much likelier a row is among the target's than among the source's, by a calibrated classifier",
    paper="Bickel et al. 2009 (discriminative learning under covariate shift)",
    assumes="labels mean the same on both sides, only their texts are differently frequent",
    weigh=weigh,
)
