"""LEEP: how well a source's own head, with its classes renamed by counting, predicts the target's labels.

Nguyen et al. 2020, "LEEP: A New Measure to Evaluate Transferability of Learned Representations" (arXiv 2002.12462). Intuition: a source
helps if what its head says of a row tells the row's label, however differently the classes are called.

Assumed: given the source's class, the row says nothing more about its label. The same rows count and judge, so that many source classes
and few rows look too good.

Letters in shapes: n rows, s classes of the source, c classes of the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.transferability.decomposed import FloatArray, check_labels, one_hot
from headstart.transferability.registry import Estimator, HeadOutputs, Needs


def leep(probabilities: FloatArray | NDArray[np.float32], y: IntArray, n_classes: int) -> float:
    """Mean log-probability of the labels, in nats, at most 0; greater is better.

    Args:
        probabilities: the source head's (n, s), each row non-negative and summing to 1.
        y: class numbers of the target (n,) in [0, n_classes).
        n_classes: how many classes the target has.

    Raises:
        DataError: fewer than two classes have rows.
    """
    check_labels(y, len(probabilities), n_classes)
    given = np.asarray(probabilities, dtype=np.float64)
    given = given / given.sum(axis=1, keepdims=True)  # float32 rows sum to 1 within rounding only
    joint = one_hot(y, n_classes).T @ given  # (c, s)
    total = joint.sum(axis=0)
    conditional = joint / np.where(total > 0, total, 1.0)
    expected = (conditional[y] * given).sum(axis=1)  # (n,)
    return min(float(np.log(expected).mean()), 0.0)


def _score(given: HeadOutputs) -> float:
    return leep(given.probabilities, given.y, given.n_classes)


ESTIMATOR = Estimator(
    name="leep",
    needs=Needs.PROBABILITIES,
    summary="log-probability of the labels from the source head's probabilities",
    paper="Nguyen et al. 2020, arXiv 2002.12462",
    range=(None, 0.0),
    greater_is_better=True,
    score=_score,
)
