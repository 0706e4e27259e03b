"""Resampling rows, or whole groups of near-duplicates, many times over in bounded memory.

Every metric here is a function of sums over rows, so a resample needs no row-by-row work: with S (k sums, u units) and the number of
times that each unit was drawn W (u units, b resamples), all resampled sums are S @ W. S is sparse: a row touches about seven of its
sums.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from headstart.data.examples import IntArray
from headstart.judge import metrics
from headstart.judge.metrics import FloatArray

# Above this number, rows are tied into as many random bundles of equal size. A bundle's sum of independent rows is as good a unit as a row,
# and 4,000 units tell a variance to within 3 %; a million rows then cost what 4,000 do.
_MOST_UNITS = 4_000
# Numbers in one block of drawn counts or of resampled sums: 16 MB.
BLOCK = 2_000_000


@dataclass(frozen=True)
class Sums:
    """The sums behind all metrics of one set of predictions: `matrix` is (k, u), k = 3 + bins + 3 c.

    In this order: rows, rows right, losses, confidence minus rightness by bin; then by class rows right, rows that bear it, rows given it.
    """

    matrix: sparse.csr_array
    bins: int
    classes: int


@dataclass(frozen=True)
class Values:
    """One number per resample, or just one, for every metric; each has shape (resamples,)."""

    accuracy: FloatArray
    macro_f1: FloatArray
    log_loss: FloatArray
    calibration_error: FloatArray


def row_sums(probabilities: FloatArray, y: IntArray) -> Sums:
    """The sums of each single row, so u = n."""
    n, c = probabilities.shape
    guesses, confidences = metrics.predicted(probabilities), probabilities.max(axis=1).astype(np.float64)
    right = (guesses == y).astype(np.float64)
    in_bin = metrics.confidence_bins(confidences)
    bins = int(in_bin.max()) + 1
    every, ones = np.arange(n), np.ones(n)
    first_class = 3 + bins
    entries = [
        (np.zeros(n, np.int64), ones),
        (np.ones(n, np.int64), right),
        (np.full(n, 2), metrics.row_losses(probabilities, y)),
        (3 + in_bin, confidences - right),
        (first_class + y, right),
        (first_class + c + y, ones),
        (first_class + 2 * c + guesses, ones),
    ]
    where = np.concatenate([row for row, _ in entries])
    what = np.concatenate([value for _, value in entries])
    matrix = sparse.csr_array((what, (where, np.tile(every, len(entries)))), shape=(first_class + 3 * c, n))
    return Sums(matrix, bins, c)


def values(sums: Sums, totals: FloatArray) -> Values:
    """The metrics that follow from totals of shape (k, resamples)."""
    rows, right, loss = totals[0], totals[1], totals[2]
    gaps = np.abs(totals[3 : 3 + sums.bins]).sum(axis=0)
    hits, actual, given = totals[3 + sums.bins :].reshape(3, sums.classes, -1)
    return Values(right / rows, metrics.macro_f1_from_counts(hits, actual, given), loss / rows, gaps / rows)


def units(n: int, groups: IntArray | None, rng: np.random.Generator) -> tuple[IntArray, int]:
    """Which unit each row is drawn with, shape (n,), and the number of independent things behind the units: rows, or groups where given."""
    numbers = np.arange(n) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    independent = int(numbers.max()) + 1
    if independent > _MOST_UNITS:
        numbers = rng.permutation(np.arange(independent) % _MOST_UNITS)[numbers]
    return np.asarray(numbers, dtype=np.int64), independent


def resampled(sets: list[Sums], unit_of_row: IntArray, resamples: int, rng: np.random.Generator) -> list[Values]:
    """The metrics of each set of predictions on the same resamples: as many units as there are, drawn with replacement."""
    u = int(unit_of_row.max()) + 1
    n = len(unit_of_row)
    membership = sparse.csr_array((np.ones(n), (np.arange(n), unit_of_row)), shape=(n, u))
    matrices = [one.matrix @ membership for one in sets]
    width = max(u, *(matrix.shape[0] for matrix in matrices))
    blocks: list[list[Values]] = [[] for _ in sets]
    for start in range(0, resamples, step := max(1, BLOCK // width)):
        b = min(step, resamples - start)
        drawn = rng.integers(0, u, size=(u, b), dtype=np.int64)
        drawn *= b
        drawn += np.arange(b)
        counts = np.bincount(drawn.reshape(-1), minlength=u * b).reshape(u, b).astype(np.float64)
        for one, matrix, kept in zip(sets, matrices, blocks, strict=True):
            kept.append(values(one, np.asarray(matrix @ counts)))
    return [_joined(kept) for kept in blocks]


def _joined(parts: list[Values]) -> Values:
    return Values(
        np.concatenate([part.accuracy for part in parts]),
        np.concatenate([part.macro_f1 for part in parts]),
        np.concatenate([part.log_loss for part in parts]),
        np.concatenate([part.calibration_error for part in parts]),
    )
