"""Which rows train and which are held out: stratified by class, never parting a group, the same for the same seed.

Letters in shapes: n rows, c classes, k folds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.errors import DataError

_PINNED = -1  # a row that is never held out


def test_split(y: IntArray, groups: IntArray, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Positions of the training rows and of the test rows, both ascending; together all rows.

    Args:
        y: class numbers, shape (n,), values in [0, c).
        groups: group numbers, shape (n,); rows of one group stay on one side. Give `np.arange(n)` where there are no groups.
        share: share of each class that is tested, in (0, 1); met to within one row where groups are single rows.
        seed: start of the random choice.

    Every class keeps a row on the training side; a class whose rows are all in one group is not tested at all.

    Raises:
        DataError: the rows cannot be parted: no class has two groups.
    """
    bins = _assign(y, groups, np.array([1.0 - share, share]), np.random.default_rng(seed))
    test = np.flatnonzero(bins == 1)
    if len(test) == 0:
        why = _not_separate(groups)
        raise DataError(f"The {len(y):,} rows are too few to set some aside for a test{why}; add rows, or give a test file with --test.")
    return np.flatnonzero(bins != 1), test


def some_of_each(y: IntArray, n: int, least: int, seed: int) -> IntArray:
    """Positions of about `n` rows, ascending: the classes in their own shares, but `least` of each at least, or all that it has.

    Args:
        y: class numbers, shape (m,), values in [0, c).
        n: rows that are wanted; more come where the classes' least are more.
        least: rows of a class that are kept whatever its share.
        seed: start of the random choice.
    """
    counts = np.bincount(y)
    floor = np.minimum(counts, least)
    beyond = counts - floor
    share = min(1.0, max(0, n - int(floor.sum())) / max(1, int(beyond.sum())))
    wanted = floor + np.floor(beyond * share).astype(np.int64)
    rng = np.random.default_rng(seed)
    chosen = [rng.permutation(np.flatnonzero(y == k))[: wanted[k]] for k in np.flatnonzero(counts)]
    return np.sort(np.concatenate(chosen))


def across_groups(groups: IntArray, n: int) -> IntArray:
    """Positions of at most `n` rows, ascending: the first of each group, then the second of each, and so on. `groups` (m,) are theirs."""
    order = np.argsort(groups, kind="stable")
    _, starts, counts = np.unique(groups[order], return_index=True, return_counts=True)
    turn = np.empty(len(groups), dtype=np.int64)
    turn[order] = np.arange(len(groups)) - np.repeat(starts, counts)
    return np.sort(np.argsort(turn, kind="stable")[:n])


def folds(y: IntArray, groups: IntArray, k: int, seed: int, repeat: int = 0) -> list[tuple[IntArray, IntArray]]:
    """k pairs of positions (training rows, held rows), both ascending; a pair together is all rows.

    Every row is held at most once, and exactly once unless a class would be left without a training row: rows of a class
    that stands in a single group are never held. With so few rows that a fold would hold none, there are fewer folds.

    Args:
        y: class numbers, shape (n,), values in [0, c).
        groups: group numbers, shape (n,); rows of one group are held together. Give `np.arange(n)` where there are no groups.
        k: folds, 2 or more.
        seed: start of the random choice; each repeat makes its own from it.
        repeat: which time it is that the rows are dealt out.

    Raises:
        DataError: the rows cannot be parted: no class has two groups.
    """
    bins = _assign(y, groups, np.full(k, 1.0 / k), np.random.default_rng([seed, repeat]))
    pairs = [(np.flatnonzero(bins != fold), held) for fold in range(k) if len(held := np.flatnonzero(bins == fold))]
    if not pairs:
        raise DataError(f"The {len(y):,} rows are too few for folds: no class has two separate rows{_not_separate(groups)}; add rows.")
    return pairs


def _not_separate(groups: IntArray) -> str:
    """Which of many rows are one for a split, "" where none are."""
    alike = len(np.unique(groups)) < len(groups)
    return " (rows that are nearly the same, or about one context, are not)" if alike else ""


def few_folds(y: IntArray, groups: IntArray, seed: int, k: int = 3) -> list[tuple[IntArray, IntArray]]:
    """Some folds; none where no class has two separate rows."""
    try:
        return folds(y, groups, k, seed)
    except DataError:
        return []


def _assign(y: IntArray, groups: IntArray, shares: NDArray[np.float64], rng: np.random.Generator) -> IntArray:
    """The bin of each row, in [0, len(shares)) or `_PINNED`, so that bin b gets `shares[b]` of each class as nearly as groups allow."""
    n = len(y)
    if n == 0:
        return np.empty(0, dtype=np.int64)
    y = np.unique(y, return_inverse=True)[1]
    group = np.unique(groups, return_inverse=True)[1]
    n_classes, n_groups = int(y.max()) + 1, int(group.max()) + 1
    cells = np.unique(y * n_groups + group)  # which class stands in which group
    cell_class, cell_group = cells // n_groups, cells % n_groups
    pinned = np.zeros(n_groups, dtype=bool)
    pinned[cell_group[np.bincount(cell_class, minlength=n_classes)[cell_class] == 1]] = True

    order = np.argsort(group, kind="stable")
    starts = np.searchsorted(group[order], np.arange(n_groups + 1))
    sizes = np.diff(starts)
    free = ~pinned[group]
    targets = shares[:, None] * np.bincount(y[free], minlength=n_classes)  # (bins, c)
    given = np.zeros_like(targets)
    bin_of_group = np.full(n_groups, _PINNED, dtype=np.int64)

    # Groups of more than one class, greatest first, each to the bin that lacks its classes most.
    mixed = np.bincount(cell_group, minlength=n_groups) > 1
    several = np.flatnonzero(mixed & ~pinned)
    several = several[rng.permutation(len(several))]
    for g in several[np.argsort(-sizes[several], kind="stable")]:
        members = order[starts[g] : starts[g + 1]]
        classes, counts = np.unique(y[members], return_counts=True)
        filled = (given[:, classes] + counts) / targets[:, classes]
        bin_of = int(np.argmin(filled @ counts + 1e-9 * given.sum(axis=1)))
        bin_of_group[g] = bin_of
        given[bin_of, classes] += counts

    # All others, greatest first, fill what is left open: groups of one size and class are dealt out together, single rows last.
    plain = np.flatnonzero(~mixed & ~pinned)
    plain = plain[rng.permutation(len(plain))]
    class_of = y[order[starts[plain]]]
    class_order = rng.permutation(n_classes)[class_of]  # so that no class is always the last to be rounded
    plain = plain[np.lexsort((class_order, -sizes[plain]))]
    class_of = y[order[starts[plain]]]
    block_starts = np.flatnonzero(np.diff(sizes[plain] * n_classes + class_of, prepend=-1))
    owed = np.zeros(len(shares))  # rows that rounding has kept from each bin so far
    for block in np.split(plain, block_starts[1:]) if len(plain) else []:
        size, c = sizes[block[0]], y[order[starts[block[0]]]]
        wanted = _fill((targets[:, c] - given[:, c]) / size, len(block))
        whole = _round(wanted, len(block), owed / size)
        owed += (wanted - whole) * size
        given[:, c] += whole * size
        bin_of_group[block] = np.repeat(np.arange(len(shares)), whole)

    _keep_every_class_in_training(bin_of_group, cell_class, cell_group, n_classes)
    return bin_of_group[group]


def _fill(lacking: NDArray[np.float64], rows: int) -> NDArray[np.float64]:
    """How many of `rows` each bin gets so that what they lack is levelled: non-negative, sums to `rows`."""
    wanted = np.maximum(lacking, 0.0)
    total = wanted.sum()
    return wanted * (rows / total) if total > 0 else np.full(len(lacking), rows / len(lacking))


def _round(wanted: NDArray[np.float64], rows: int, owed: NDArray[np.float64]) -> IntArray:
    """Whole numbers that sum to `rows`, each the floor or the ceiling of `wanted`; the bins owed most are rounded up."""
    whole = np.floor(wanted + 1e-9).astype(np.int64)
    part = wanted - whole
    claims = np.where(part > 1e-9, part + owed, -np.inf)
    whole[np.argsort(-claims, kind="stable")[: rows - int(whole.sum())]] += 1
    return whole


def _keep_every_class_in_training(bin_of_group: IntArray, cell_class: IntArray, cell_group: IntArray, n_classes: int) -> None:
    """Pins, in place, one group of each class whose groups all fell into one bin, so that holding that bin leaves the class a row."""
    low, high = np.full(n_classes, np.iinfo(np.int64).max), np.full(n_classes, _PINNED)
    np.minimum.at(low, cell_class, bin_of_group[cell_group])
    np.maximum.at(high, cell_class, bin_of_group[cell_group])
    for c in np.flatnonzero((low == high) & (low != _PINNED)):
        bin_of_group[cell_group[np.searchsorted(cell_class, c)]] = _PINNED
