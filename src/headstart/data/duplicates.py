"""Texts that are nearly the same: shingles, MinHash, then every pair that is claimed is verified.

Two texts are near duplicates when the sets of their overlapping runs of five characters (shingles) share at least `SIMILAR` of all
shingles in either (the Jaccard similarity), after case, white space and compatibility forms of letters are levelled. A text of up to five
characters is one shingle, so that `yes` is a twin of `Yes` and of nothing else.

Cost is linear in characters: texts are hashed in chunks with numpy, those whose sketches agree in one of `_BANDS` bands become
candidates, and only candidates are compared exactly. Letters in shapes: n texts, m shingles of a chunk, p pairs.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray

SIMILAR = 0.85
SHINGLE = 5
# 10 bands of 6: a pair of similarity 0.85 becomes a candidate with probability 0.99, of 0.9 with 0.9995, of 0.5 with 0.15.
_BANDS, _BAND_WIDTH = 10, 6
# A sketch of 60 estimates the similarity to about 0.05; what looks farther off than twice that is not compared exactly.
_SKETCHED_SIMILAR = 0.75
# In a band no more pairs than this share of the texts are compared, the likeliest first: the cost stays flat where all are much alike.
_COMPARED_SHARE, _COMPARED_AT_LEAST = 0.5, 10_000
_PAIR_BITS = np.uint64(20)  # pairs compared at once: 2 ** 20 at most; the other 44 bits tell their shingles apart
_CHUNK_CHARACTERS = 1 << 16  # keeps a chunk's arrays in the processor's cache
_MIX = np.uint64(0x9E3779B97F4A7C15)

UIntArray = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class NearDuplicates:
    """Pairs of near duplicates and the clusters they form.

    `pairs` has shape (p, 2): positions, the smaller first; a cluster of t texts is joined by t - 1 of them, all verified.
    `similarity` has shape (p,), values in [`SIMILAR`, 1]. `groups` has shape (n,): the smallest position of the text's cluster.
    """

    pairs: IntArray
    similarity: NDArray[np.float64]
    groups: IntArray


def normalise(text: str) -> str:
    """The text with case, white space and compatibility forms levelled; digits and punctuation stay."""
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
    return " ".join(text.casefold().split())


def near_duplicates(texts: Sequence[str], *, largest_cluster: int | None = None) -> NearDuplicates:
    """Find texts that are nearly the same. Empty texts are left alone.

    `largest_cluster` bounds how many different texts one cluster may chain together (equal once levelled counts as one); None:
    a fiftieth of all, at least 20. Without a bound, all texts of one template could hang together, and no split could part them.
    """
    n = len(texts)
    first_of: dict[str, int] = {}
    twin_of = np.arange(n)  # the first text that is equal once levelled
    for position, text in enumerate(texts):
        levelled = normalise(text)
        if levelled:
            twin_of[position] = first_of.setdefault(levelled, position)
    kept = np.fromiter(first_of.values(), dtype=np.int64, count=len(first_of))
    levelled_texts = list(first_of)
    del first_of
    clusters = _Clusters(len(kept), largest_cluster or max(20, len(kept) // 50))
    a, b, similarity = _similar_pairs(levelled_texts, clusters)
    groups_of_kept = clusters.roots()
    # `kept` ascends, so the first text of a cluster is also the smallest position.
    place = np.full(n, -1, dtype=np.int64)
    place[kept] = np.arange(len(kept))
    levelled_place = place[twin_of]
    groups = np.where(levelled_place >= 0, kept[groups_of_kept[levelled_place]] if len(kept) else 0, np.arange(n))
    twins = np.flatnonzero(twin_of != np.arange(n))
    pairs = np.concatenate([np.stack([twin_of[twins], twins], axis=1), np.stack([kept[a], kept[b]], axis=1)])
    return NearDuplicates(pairs, np.concatenate([np.ones(len(twins)), similarity]), groups)


def _similar_pairs(texts: list[str], clusters: _Clusters) -> tuple[IntArray, IntArray, NDArray[np.float64]]:
    """Joins similar texts in `clusters`; positions a < b and similarity of the pairs that did."""
    n = len(texts)
    joined: list[tuple[int, int, float]] = []
    failed = np.empty(0, dtype=np.int64)  # pairs that were compared and are not similar, as a * n + b
    sketches = _sketch(texts)
    for band in range(_BANDS if n > 1 else 0):
        keys = _band_keys(sketches[band * _BAND_WIDTH : (band + 1) * _BAND_WIDTH])
        pairs, agreement = _agreeing(sketches, _candidates(keys))
        roots = clusters.roots()
        new = (roots[pairs[:, 0]] != roots[pairs[:, 1]]) & ~np.isin(pairs[:, 0] * n + pairs[:, 1], failed)
        pairs, agreement = pairs[new], agreement[new]
        likeliest = np.argsort(-agreement, kind="stable")[: max(_COMPARED_AT_LEAST, int(_COMPARED_SHARE * n))]
        pairs = pairs[likeliest]
        similarity = _jaccard(texts, pairs)
        close = similarity >= SIMILAR
        failed = np.concatenate([failed, pairs[~close, 0] * n + pairs[~close, 1]])
        for (a, b), value in zip(pairs[close].tolist(), similarity[close].tolist(), strict=True):
            if clusters.join(a, b):
                joined.append((a, b, value))
    return (
        np.array([a for a, _, _ in joined], dtype=np.int64),
        np.array([b for _, b, _ in joined], dtype=np.int64),
        np.array([value for _, _, value in joined], dtype=np.float64),
    )


def _candidates(keys: UIntArray) -> IntArray:
    """Pairs of texts with equal keys, the smaller position first, shape (p, 2): each with its bucket's first and with the one before it.

    That is linear in the number of texts, however large a bucket is.
    """
    order = np.argsort(keys, kind="stable")
    begins = np.flatnonzero(np.append(True, keys[order][1:] != keys[order][:-1]))
    first = np.repeat(order[begins], np.diff(begins, append=len(keys)))
    follows = np.flatnonzero(first[1:] == first[:-1])
    with_first = np.stack([first[follows + 1], order[follows + 1]], axis=1)
    with_previous = np.stack([order[follows], order[follows + 1]], axis=1)
    second = with_previous[:, 0] != with_first[:, 0]
    return np.concatenate([with_first, with_previous[second]])


def _agreeing(sketches: NDArray[np.uint32], candidates: IntArray) -> tuple[IntArray, IntArray]:
    """Those candidates whose sketches agree in `_SKETCHED_SIMILAR` of their places, and in how many they do."""
    agreement = np.zeros(len(candidates), dtype=np.int64)
    for start in range(0, len(candidates), 1 << 16):
        part = candidates[start : start + (1 << 16)]
        for row in sketches:
            agreement[start : start + len(part)] += row[part[:, 0]] == row[part[:, 1]]
    close = agreement >= _SKETCHED_SIMILAR * len(sketches)
    return candidates[close], agreement[close]


def _sketch(texts: Sequence[str]) -> NDArray[np.uint32]:
    """MinHash sketches, shape (`_BANDS` * `_BAND_WIDTH`, n): the least value of each hash over a text's shingles."""
    rng = np.random.default_rng(20)  # the sketch's own constants, the same for every call
    k = _BANDS * _BAND_WIDTH
    masks = rng.integers(0, 2**32, k, dtype=np.uint32)
    factors = rng.integers(0, 2**31, k, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    sketches = np.empty((k, len(texts)), dtype=np.uint32)
    for start, stop, shingles, offsets in _shingled(texts):
        hashes = (shingles >> np.uint64(32)).astype(np.uint32)
        mixed = np.empty_like(hashes)
        for row in range(k):
            np.bitwise_xor(hashes, masks[row], out=mixed)
            np.multiply(mixed, factors[row], out=mixed)
            sketches[row, start:stop] = np.minimum.reduceat(mixed, offsets)
    return sketches


def _band_keys(band: NDArray[np.uint32]) -> UIntArray:
    """One number per text for a band of its sketch, shape (n,)."""
    keys = np.zeros(band.shape[1], dtype=np.uint64)
    for row in band:
        keys = _mixed(keys ^ row)
    return keys


def _mixed(values: UIntArray) -> UIntArray:
    """A bijective scramble of 64-bit numbers, so that every bit of the input touches the high bits of the output."""
    values = (values ^ (values >> np.uint64(31))) * _MIX
    return values ^ (values >> np.uint64(29))


def _shingled(texts: Sequence[str]) -> Iterator[tuple[int, int, UIntArray, IntArray]]:
    """Chunks of texts as hashes of their shingles: positions [start, stop), hashes (m,), and where each text's hashes begin."""
    start, characters = 0, 0
    for position, text in enumerate(texts):
        characters += len(text)
        if characters >= _CHUNK_CHARACTERS or position == len(texts) - 1:
            yield (start, position + 1, *_shingles(texts[start : position + 1]))
            start, characters = position + 1, 0


def _shingles(texts: Sequence[str]) -> tuple[UIntArray, IntArray]:
    """Hashes of all shingles of these texts, one after another (with repeats), and where each text's begin. No text may be empty."""
    # Texts end in zeros, so that one shorter than a shingle has just one, and a shingle of another text never mixes in.
    padded = "".join(text.ljust(SHINGLE, "\0") for text in texts)
    lengths = np.fromiter((max(len(text), SHINGLE) for text in texts), dtype=np.int64, count=len(texts))
    codes = np.frombuffer(padded.encode("utf-32-le", "surrogatepass"), dtype=np.uint32).astype(np.uint64)
    m = len(codes) - SHINGLE + 1
    hashes = np.zeros(m, dtype=np.uint64)
    for place in range(SHINGLE):
        hashes = (hashes ^ codes[place : place + m]) * _MIX
        hashes ^= hashes >> np.uint64(32)
    hashes = _mixed(hashes)
    ends = np.cumsum(lengths)
    counts = lengths - SHINGLE + 1
    inside = np.ones(m, dtype=bool)
    for place in range(1, SHINGLE):  # the last four windows of each text run over into the next
        inside[(ends - place)[ends - place < m]] = False
    return hashes[inside], np.cumsum(counts) - counts


def _jaccard(texts: Sequence[str], pairs: IntArray) -> NDArray[np.float64]:
    """The exact similarity of the shingle sets of the two texts of each pair, shape (p,)."""
    similarity = np.zeros(len(pairs))
    start, characters = 0, 0
    for position, (a, b) in enumerate(pairs.tolist()):
        characters += len(texts[a]) + len(texts[b])
        if characters >= 1 << 20 or position + 1 - start >= 1 << 12 or position + 1 == len(pairs):
            part = pairs[start : position + 1].T.tolist()
            first, second = (_tagged_sets([texts[i] for i in side]) for side in part)
            shared = np.intersect1d(first, second, assume_unique=True)
            n_first, n_second, n_shared = (
                np.bincount(side >> (np.uint64(64) - _PAIR_BITS), minlength=len(part[0])) for side in (first, second, shared)
            )
            similarity[start : position + 1] = n_shared / (n_first + n_second - n_shared)
            start, characters = position + 1, 0
    return similarity


def _tagged_sets(texts: Sequence[str]) -> UIntArray:
    """The sets of shingles of these texts, ascending, each shingle with its text's number in the high bits."""
    shingles, offsets = _shingles(texts)
    number = np.repeat(np.arange(len(texts), dtype=np.uint64), np.diff(offsets, append=len(shingles)))
    tagged: UIntArray = np.sort((number << (np.uint64(64) - _PAIR_BITS)) | (shingles >> _PAIR_BITS))
    new: NDArray[np.bool_] = np.append(True, tagged[1:] != tagged[:-1])  # not np.unique, whose hash table is slow on such numbers
    return tagged[new]


class _Clusters:
    """Union-find over n positions with a bound on the size of a cluster; a cluster is known by its smallest position."""

    def __init__(self, n: int, largest: int) -> None:
        self._parent = list(range(n))
        self._size: dict[int, int] = {}
        self._largest = largest

    def _root(self, x: int) -> int:
        parent = self._parent
        while parent[x] != x:
            parent[x] = parent[parent[x]]
            x = parent[x]
        return x

    def join(self, a: int, b: int) -> bool:
        """Join two clusters; False when they are one already or would grow beyond the bound."""
        low, high = sorted((self._root(a), self._root(b)))
        together = self._size.get(low, 1) + self._size.get(high, 1)
        if low == high or together > self._largest:
            return False
        self._parent[high] = low
        self._size[low] = together
        return True

    def roots(self) -> IntArray:
        """The smallest position of each position's cluster, shape (n,)."""
        roots = np.array(self._parent, dtype=np.int64)
        while len(roots) and (roots != (above := roots[roots])).any():
            roots = above
        return roots
