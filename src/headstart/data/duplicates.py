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
    `similarity` has shape (p,), values in [`SIMILAR`, 1]. `groups` has shape (n,): the smallest position of the text's cluster. `sketched`
    are the different texts, with which further ones are compared.
    """

    pairs: IntArray
    similarity: NDArray[np.float64]
    groups: IntArray
    sketched: Sketched


@dataclass(frozen=True, eq=False)
class Sketched:
    """The k different texts, levelled and not empty, that a search has sketched.

    `place` gives each its number in [0, k), and `first` (k,) the position where it stands first. `sketches` has shape (`_BANDS` *
    `_BAND_WIDTH`, k); `roots` (k,) is the least number of the text's cluster.
    """

    place: dict[str, int]
    first: IntArray
    sketches: NDArray[np.uint32]
    roots: IntArray


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
    place: dict[str, int] = {}
    places = _placed(texts, place)
    first = _first_positions(places, 0, len(place))
    clusters = _Clusters(np.arange(len(place)), largest_cluster or max(20, len(place) // 50))
    sketches = _sketch(list(place))
    joined: list[tuple[int, int, float]] = []
    for similar in _similar_pairs(list(place), sketches, clusters):
        for a, b, value in similar:
            if clusters.join(a, b):
                joined.append((a, b, value))
    roots = clusters.roots()
    positions = np.arange(len(texts))
    twin_of = np.where(places >= 0, first[places], positions) if len(place) else positions  # the first text that is equal once levelled
    # `first` ascends, so the first text of a cluster is also the smallest position.
    groups = np.where(places >= 0, first[roots[places]], positions) if len(place) else positions
    twins = np.flatnonzero(twin_of != positions)
    near = np.array([(a, b) for a, b, _ in joined], dtype=np.int64).reshape(-1, 2)
    pairs = np.concatenate([np.stack([twin_of[twins], twins], axis=1), first[near]])
    similarity = np.array([1.0] * len(twins) + [value for _, _, value in joined], dtype=np.float64)
    return NearDuplicates(pairs, similarity, groups, Sketched(place, first, sketches, roots))


def further_groups(found: NearDuplicates, texts: Sequence[str]) -> tuple[IntArray, IntArray]:
    """The groups of m further texts beside those that were `found` among n, (m,), and what earlier text each is nearly the same as, (m,).

    The earlier ones are not compared with each other again, and their groups stay as they are: a group of further texts that are like two
    of them has the smaller number. One of further texts alone is n and the smallest position among these. The second array is the group of
    an earlier text, -1 where there is none; it is not always the text's own, for a cluster has the bound of `near_duplicates`.
    """
    known, n = found.sketched, len(found.groups)
    place = dict(known.place)
    places = _placed(texts, place)
    first = np.concatenate([known.first, n + _first_positions(places, len(known.place), len(place))])
    every = list(place)
    sketches = np.concatenate([known.sketches, _sketch(every[len(known.place) :])], axis=1)
    clusters = _Clusters(np.concatenate([known.roots, np.arange(len(known.place), len(place))]), max(20, len(place) // 50))
    beside = np.concatenate([known.roots, np.full(len(place) - len(known.place), -1)])
    for similar in _similar_pairs(every, sketches, clusters, begin=len(known.place)):
        for a, b, _ in similar:
            if beside[b] < 0 and a < len(known.place):
                beside[b] = known.roots[a]
            clusters.join(a, b)
    if not place:
        return n + np.arange(len(texts)), np.full(len(texts), -1)
    groups = np.where(places >= 0, first[clusters.roots()[places]], n + np.arange(len(texts)))
    return groups, np.where((places >= 0) & (beside[places] >= 0), first[beside[places]], -1)


def _placed(texts: Sequence[str], place: dict[str, int]) -> IntArray:
    """The number of each text once levelled, (n,), -1 for an empty one; those that are new get the next ones in `place`."""
    levelled = map(normalise, texts)
    return np.fromiter((place.setdefault(text, len(place)) if text else -1 for text in levelled), dtype=np.int64, count=len(texts))


def _first_positions(places: IntArray, begin: int, end: int) -> IntArray:
    """Where each of the numbers from `begin` to before `end`, which all stand there, stands first."""
    numbers, positions = np.unique(places, return_index=True)
    return positions[(numbers >= begin) & (numbers < end)].astype(np.int64)


def _similar_pairs(
    texts: list[str], sketches: NDArray[np.uint32], clusters: _Clusters, begin: int = 0
) -> Iterator[list[tuple[int, int, float]]]:
    """Positions a < b and similarity of similar texts that are not yet together in `clusters`, likeliest first, band by band; whoever takes
    them joins them. b is `begin` or more: texts before it were compared with each other."""
    n = len(texts)
    failed = np.empty(0, dtype=np.int64)  # pairs that were compared and are not similar, as a * n + b
    for band in range(_BANDS if n > 1 else 0):
        keys = _band_keys(sketches[band * _BAND_WIDTH : (band + 1) * _BAND_WIDTH])
        candidates = _candidates(keys)
        pairs, agreement = _agreeing(sketches, candidates[candidates[:, 1] >= begin] if begin else candidates)
        roots = clusters.roots()
        new = (roots[pairs[:, 0]] != roots[pairs[:, 1]]) & ~np.isin(pairs[:, 0] * n + pairs[:, 1], failed)
        pairs, agreement = pairs[new], agreement[new]
        likeliest = np.argsort(-agreement, kind="stable")[: max(_COMPARED_AT_LEAST, int(_COMPARED_SHARE * n))]
        pairs = pairs[likeliest]
        similarity = _jaccard(texts, pairs)
        close = similarity >= SIMILAR
        failed = np.concatenate([failed, pairs[~close, 0] * n + pairs[~close, 1]])
        yield [(a, b, value) for (a, b), value in zip(pairs[close].tolist(), similarity[close].tolist(), strict=True)]


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
    """Union-find over n positions with a bound on the size of a cluster; a cluster is known by its smallest position.

    `roots` (n,) tells the clusters at the beginning.
    """

    def __init__(self, roots: IntArray, largest: int) -> None:
        self._parent = roots.tolist()
        numbers, sizes = np.unique(roots, return_counts=True)
        self._size = dict(zip(numbers[sizes > 1].tolist(), sizes[sizes > 1].tolist(), strict=True))
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
