"""NCE: negative conditional entropy of the target's labels given the class that the source's head names.

Tran et al. 2019, "Transferability and Hardness of Supervised Classification Tasks" (arXiv 1908.08142). Intuition: a source helps if,
knowing the class it gives a row, little is left open about the row's label.

Assumed: only the source's most probable class counts, not how sure it is. The same rows count and judge, so that many source classes
and few rows look too good.

Letters in shapes: n rows, s classes of the source, c classes of the target.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.transferability.decomposed import FloatArray, check_labels
from headstart.transferability.registry import Estimator, HeadOutputs, Needs


def nce(probabilities: FloatArray | NDArray[np.float32], y: IntArray, n_classes: int) -> float:
    """-H(label | source's class), in nats, in [-log(n_classes), 0]; greater is better.

    Args:
        probabilities: the source head's (n, s); the greatest of a row counts, between equal ones the first.
        y: class numbers of the target (n,) in [0, n_classes).
        n_classes: how many classes the target has.

    Raises:
        DataError: fewer than two classes have rows.
    """
    check_labels(y, len(probabilities), n_classes)
    width = probabilities.shape[1]
    joint = np.bincount(y * width + probabilities.argmax(axis=1), minlength=n_classes * width).reshape(n_classes, width)
    share = joint / np.maximum(joint.sum(axis=0), 1)
    seen = joint > 0
    return min(float((joint[seen] * np.log(share[seen])).sum()) / len(y), 0.0)


def _score(given: HeadOutputs) -> float:
    return nce(given.probabilities, given.y, given.n_classes)


ESTIMATOR = Estimator(
    name="nce",
    needs=Needs.PROBABILITIES,
    summary="negative entropy of the labels given the source head's class",
    paper="Tran et al. 2019, arXiv 1908.08142",
    range=(None, 0.0),
    greater_is_better=True,
    score=_score,
)
