"""Features taken apart once: the thin singular value decomposition of the centred rows, on which most estimators are closed forms.

Letters in shapes: n rows, d width, r rank (at most min(n - 1, d)), c classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.errors import DataError, SourceError
from headstart.strategies.heads import threads

FloatArray = NDArray[np.float64]

# Directions narrower than this share of the widest one are dropped. Float32 features that came through a network are good to some 1e-6 of
# their size, so these hold rounding errors; and a Gram matrix in float64, of squares, still tells singular values of this size to 1e-7.
# The usual bound, eps * max(n, d), would drop real directions: at 20,000 float32 rows it is 2e-3.
RANK = 3e-5
_BLOCK = 4096


@dataclass(frozen=True)
class Decomposed:
    """features = mean + (u * s) @ vt, up to directions that are rounding errors.

    `mean` is (d,). `u` (n, r) has orthonormal columns, which sum to 0; `vt` (r, d) has orthonormal rows. `s` (r,) falls and is above 0.
    Where all rows are the same, r is 0.
    """

    mean: FloatArray
    u: FloatArray
    s: FloatArray
    vt: FloatArray

    @property
    def n(self) -> int:
        """Rows."""
        return len(self.u)

    @property
    def width(self) -> int:
        """Columns of the features, those that never vary included."""
        return len(self.mean)


def decompose(features: NDArray[np.float32] | FloatArray) -> Decomposed:
    """The decomposition of features (n, d), exact to rounding.

    By the eigenvectors of the smaller Gram matrix, in float64: on one core 1,000 rows of width 768 take 0.1 s, where LAPACK's gesdd on the
    rows themselves takes 0.3 s; the ratio grows with n / d. Memory beyond the result: one block of rows and the Gram matrix.

    Raises:
        DataError: there are no rows.
        SourceError: some features are not finite numbers.
    """
    from scipy.linalg import eigh

    n, d = features.shape
    if n == 0:
        raise DataError("There are no rows to rank sources with; give a file with labelled rows.")
    parts = [slice(at, at + _BLOCK) for at in range(0, n, _BLOCK)]
    unfit = sum(int((~np.isfinite(features[part]).all(axis=1)).sum()) for part in parts)
    if unfit:
        raise SourceError(f"The source gives numbers that are not finite for {unfit} of {n} texts; choose another source.")
    mean = features.mean(axis=0, dtype=np.float64)
    with threads(n * d):
        if n <= d:
            x = features - mean
            values, vectors = eigh(x @ x.T, driver="evd")
            s, u = _wide(values, vectors)
            # A column of u is orthogonal to the ones exactly, rounding aside; the narrow ones have most of it.
            u -= u.mean(axis=0)
            return Decomposed(mean, u, s, (u.T @ x) / s[:, None])
        gram = np.zeros((d, d))
        for part in parts:
            x = features[part] - mean
            gram += x.T @ x
        values, vectors = eigh(gram, driver="evd")
        s, v = _wide(values, vectors)
        u = np.empty((n, len(s)))
        for part in parts:
            u[part] = ((features[part] - mean) @ v) / s
    u -= u.mean(axis=0)
    return Decomposed(mean, u, s, np.ascontiguousarray(v.T))


def _wide(values: FloatArray, vectors: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Singular values, falling, and their vectors, of a Gram matrix's eigenvalues (rising) and eigenvectors."""
    kept = values > RANK**2 * values.max(initial=0.0)
    return np.sqrt(values[kept][::-1]), np.ascontiguousarray(vectors[:, kept][:, ::-1])


def one_hot(y: IntArray, n_classes: int) -> FloatArray:
    """Targets (n, c): 1 at each row's class, 0 elsewhere."""
    targets = np.zeros((len(y), n_classes))
    targets[np.arange(len(y)), y] = 1.0
    return targets


def check_labels(y: IntArray, rows: int, n_classes: int) -> None:
    """Refuse labels that do not fit.

    Raises:
        DataError: fewer than two classes have rows, so that there is nothing to tell apart.
        ValueError: the number of labels is not `rows`, or one is out of [0, n_classes); a mistake in the calling code.
    """
    if y.shape != (rows,):
        raise ValueError(f"y of shape {y.shape} does not fit {rows} rows")
    if len(y) and (y.min() < 0 or y.max() >= n_classes):
        raise ValueError(f"y holds class numbers from {y.min()} to {y.max()}; with {n_classes} classes they start at 0")
    if len(np.unique(y)) < 2:
        raise DataError(f"The {rows:,} rows to rank sources with have fewer than two classes; give rows of at least two.")
