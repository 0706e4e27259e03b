"""What the estimators between two data sets share: checks and equal draws.

Letters in shapes: n rows of the one set, m of the other, d width.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.rows import counted
from headstart.errors import DataError


def check_pair(source: NDArray[Any], target: NDArray[Any], least: int) -> None:
    """Refuse features (n, d) and (m, d) that cannot be compared.

    Raises:
        DataError: a set has fewer rows than `least`.
        ValueError: the widths differ; a mistake in the calling code.
    """
    if source.shape[1:] != target.shape[1:]:
        raise ValueError(f"features of shapes {source.shape} and {target.shape} are not of one source")
    for name, rows in (("source", len(source)), ("target", len(target))):
        if rows < least:
            raise DataError(
                f"The {name} data set has {counted(rows, 'row')}; to compare it with another at least {least} are needed: add rows."
            )


def draw(features: NDArray[Any], most: int, seed: int) -> NDArray[Any]:
    """At most `most` of the rows (n, d), by chance and in their order; all of them where there are no more."""
    if len(features) <= most:
        return features
    return features[np.sort(np.random.default_rng(seed).choice(len(features), most, replace=False))]
