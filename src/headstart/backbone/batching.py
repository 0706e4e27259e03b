"""Tokenised texts into batches: equal lengths together, as little padding as pays, a bound on tokens.

Letters in shapes: n texts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.environment import release_free_memory

# What starting one more batch costs, in tokens that could have been read instead (measured: benchmarks/versus_encode.py).
BATCH_OVERHEAD = 96
# Giving free memory back takes some 15 ms; less often, a process that reads short texts grows to three times what it uses.
RELEASE_SECONDS = 2.0
# Where one batch does not hold all texts, at most about this share of what is read may be padding; a few more batches are started for it.
MOST_PADDING = 0.05


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[IntArray]:
    """Groups of positions to be read together, longest texts first (so that a lack of memory shows at once).

    Texts are sorted by length and the sorted lengths are cut where the sum of padding and per-batch overhead is least (dynamic
    programming over the distinct lengths); a group that holds more than `batch_tokens` tokens is then divided evenly. The overhead
    counts for less, down to a quarter, where padding would otherwise exceed 5 % of the tokens of texts that need several batches anyway.

    Args:
        lengths: tokens of each text, at least 1.
        batch_tokens: tokens with padding in one batch; a single longer text makes a batch of its own.
    """
    sizes = np.asarray(lengths, dtype=np.int64)
    batches: list[IntArray] = []
    for overhead in (BATCH_OVERHEAD, BATCH_OVERHEAD // 2, BATCH_OVERHEAD // 4):
        batches = _divide(sizes, batch_tokens, overhead)
        if sizes.sum() <= batch_tokens or padding_share(sizes, batches) < MOST_PADDING:
            break
    return batches


def in_turn(batches: Sequence[IntArray]) -> Iterator[IntArray]:
    """The batches one after the other; what they leave free in memory goes back to the system every few seconds."""
    last = time.monotonic()
    for batch in batches:
        yield batch
        if time.monotonic() - last >= RELEASE_SECONDS:
            release_free_memory()
            last = time.monotonic()


def _divide(sizes: IntArray, batch_tokens: int, overhead: int) -> list[IntArray]:
    """The groups for which padding and `overhead` tokens a group are least together."""
    order = np.argsort(-sizes, kind="stable")
    distinct, starts = np.unique(-sizes[order], return_index=True)
    distinct = -distinct  # longest first
    fit = np.maximum(1, batch_tokens // distinct)  # texts of each length that one batch takes
    counts = np.diff(np.append(starts, len(order)))
    u = len(distinct)
    # best[j]: least cost of the distinct lengths from j on; a group j..k-1 is padded to distinct[j].
    best = np.zeros(u + 1)
    upto = np.zeros(u, dtype=np.int64)
    cumulative = np.append(0, np.cumsum(counts))
    for j in range(u - 1, -1, -1):
        rows = cumulative[j + 1 :] - cumulative[j]
        cost = rows * distinct[j] + overhead * np.ceil(rows / fit[j]) + best[j + 1 :]
        upto[j] = j + 1 + int(np.argmin(cost))
        best[j] = cost[upto[j] - j - 1]
    batches: list[IntArray] = []
    j = 0
    while j < u:
        group = order[cumulative[j] : cumulative[upto[j]]]
        batches += np.array_split(group, -(-len(group) // int(fit[j])))
        j = int(upto[j])
    return batches


def padding_share(lengths: Sequence[int] | IntArray, batches: Sequence[IntArray]) -> float:
    """Share of the tokens in these batches that are padding, in [0, 1)."""
    sizes = np.asarray(lengths, dtype=np.int64)
    padded = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 0.0 if padded == 0 else 1.0 - float(sizes.sum()) / padded
