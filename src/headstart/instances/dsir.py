"""Rows written in the target's words: importance by hashed words and pairs of words.

Both sides are bags of words and pairs of neighbouring words, hashed into buckets; a row's weight is how much likelier its bag is under
the target's frequencies than under the source's, per term, so that long rows are not all or nothing.

Letters in shapes: m source rows, b buckets.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.instances.base import Neighbours, Way
from headstart.strategies.base import FloatArray

BUCKETS = 10_000
_TERM = re.compile(r"\w+|[^\w\s]")


def buckets(text: str) -> IntArray:
    """The bucket of each word and of each pair of neighbouring words."""
    words = _TERM.findall(text.lower())
    terms = [*words, *(f"{a} {b}" for a, b in itertools.pairwise(words))]
    return np.array([zlib.crc32(term.encode("utf-8", "surrogatepass")) % BUCKETS for term in terms], dtype=np.int64)


def frequencies(bags: Sequence[IntArray]) -> FloatArray:
    """The share of each bucket among all terms, (b,), one term of each added."""
    counts = np.ones(BUCKETS)
    for bag in bags:
        np.add.at(counts, bag, 1.0)
    return np.asarray(counts / counts.sum())


def weigh(given: Neighbours) -> FloatArray:
    """The geometric mean over a row's terms of how much likelier they are in the target, above 0."""
    source = [buckets(text) for text in given.source_texts]
    ratio = np.log(frequencies([buckets(text) for text in given.target_texts])) - np.log(frequencies(source))
    return np.asarray(np.exp([float(ratio[bag].mean()) if len(bag) else 0.0 for bag in source]))


WAY = Way(
    name="dsir",
    summary="how much likelier a row's words and word pairs are in the target",
    paper="Xie et al. 2023, arXiv 2302.03169 (DSIR), with the mean in place of the sum over terms",
    assumes="what the target is about shows in its words",
    weigh=weigh,
)
