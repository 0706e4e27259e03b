"""Mean similarity: the cosine between the mean features of two data sets.

Vu et al. 2020, "Exploring and Predicting Transferability across NLP Tasks" (arXiv 2005.00770), who call it the text embedding of a task.
Intuition: data sets about the same things have their centres in the same direction.

Assumed: the centre says what a set is about; spread and labels are not seen. Both sets were read by the same source. Features of most
sources share a large mean, so compare values with each other, not with 1.

Letters in shapes: n rows of the one set, m of the other, d width.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.transferability.decomposed import FloatArray
from headstart.transferability.pairs import check_pair
from headstart.transferability.registry import Estimator, FeaturePair, Needs


def mean_similarity(source: NDArray[np.float32] | FloatArray, target: NDArray[np.float32] | FloatArray) -> float:
    """Cosine in [-1, 1] of the mean rows of source (n, d) and target (m, d); 0 where a mean is 0. Greater is nearer.

    Raises:
        DataError: a set has no rows.
    """
    check_pair(source, target, least=1)
    one, other = source.mean(axis=0, dtype=np.float64), target.mean(axis=0, dtype=np.float64)
    lengths = float(np.linalg.norm(one) * np.linalg.norm(other))
    return float(np.clip(one @ other / lengths, -1.0, 1.0)) if lengths > 0 else 0.0


def _score(given: FeaturePair) -> float:
    return mean_similarity(given.source, given.target)


ESTIMATOR = Estimator(
    name="mean_similarity",
    needs=Needs.DATA_SETS,
    summary="cosine of the two sets' mean features",
    paper="Vu et al. 2020, arXiv 2005.00770",
    range=(-1.0, 1.0),
    greater_is_better=True,
    score=_score,
)
