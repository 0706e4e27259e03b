"""Tokenised texts into batches: equal lengths together, as little padding as pays, a bound on tokens.

Letters in shapes: n texts.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray

# What starting one more batch costs, in tokens that could have been read instead (measured: benchmarks/versus_encode.py).
BATCH_OVERHEAD = 96


def plan_batches(lengths: Sequence[int], batch_tokens: int) -> list[IntArray]:
    """Groups of positions to be read together, longest texts first (so that a lack of memory shows at once).

    Texts are sorted by length and the sorted lengths are cut where the sum of padding and per-batch overhead is least (dynamic
    programming over the distinct lengths); a group that holds more than `batch_tokens` tokens is then divided evenly.

    Args:
        lengths: tokens of each text, at least 1.
        batch_tokens: tokens with padding in one batch; a single longer text makes a batch of its own.
    """
    if not len(lengths):
        return []
    sizes = np.asarray(lengths, dtype=np.int64)
    order = np.argsort(-sizes, kind="stable")
    distinct, starts = np.unique(-sizes[order], return_index=True)
    distinct = -distinct  # longest first
    counts = np.diff(np.append(starts, len(order)))
    u = len(distinct)
    # best[j]: least cost of the distinct lengths from j on; a group j..k-1 is padded to distinct[j].
    best = np.zeros(u + 1)
    upto = np.zeros(u, dtype=np.int64)
    cumulative = np.append(0, np.cumsum(counts))
    for j in range(u - 1, -1, -1):
        rows = cumulative[j + 1 :] - cumulative[j]
        tokens = rows * distinct[j]
        cost = tokens + BATCH_OVERHEAD * np.ceil(tokens / batch_tokens) + best[j + 1 :]
        upto[j] = j + 1 + int(np.argmin(cost))
        best[j] = cost[upto[j] - j - 1]
    batches: list[IntArray] = []
    j = 0
    while j < u:
        group = order[cumulative[j] : cumulative[upto[j]]]
        pieces = -(-len(group) * int(distinct[j]) // batch_tokens)
        batches += [piece for piece in np.array_split(group, min(pieces, len(group))) if len(piece)]
        j = int(upto[j])
    return batches


def padding_share(lengths: Sequence[int], batches: Sequence[IntArray]) -> float:
    """Share of the tokens in these batches that are padding, in [0, 1)."""
    sizes = np.asarray(lengths, dtype=np.int64)
    padded = sum(int(sizes[batch].max()) * len(batch) for batch in batches)
    return 0.0 if padded == 0 else 1.0 - float(sizes.sum()) / padded
