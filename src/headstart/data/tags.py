"""Tags of words: the schemes in which they are written, and the entities that they mark.

Everything behind this file is BIO2: `B-LOC` where an entity begins, `I-LOC` where it goes on, `O` outside. Schemes: Ramshaw and Marcus 1995
(IOB), Tjong Kim Sang and Veenstra 1999 (IOB1, IOB2 = BIO2, IOE), Ratinov and Roth 2009 (BILOU = BIOES).

Letters in shapes: n rows, u words of all rows together.
"""

from __future__ import annotations

import functools
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from headstart.data.cells import list_in
from headstart.data.examples import BoolArray, IntArray
from headstart.data.signs import marks

OUTSIDE = "O"
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}"
UNNAMED = "ENTITY"  # the type of entities that are marked by prefixes alone
# What another scheme's prefix means: begins, inside, ends, stands alone.
_PREFIXES = {"B": "B", "I": "I", "M": "I", "E": "E", "L": "E", "S": "S", "U": "S"}


class Scheme(str, Enum):
    """How tags mark entities."""

    BIO2 = "BIO2"  # every entity begins with B
    IOB1 = "IOB1"  # B only between two entities of one type that touch
    BIOES = "BIOES"  # the last word bears E, a single one S
    IO = "IO"  # the type alone


@dataclass(frozen=True)
class Spans:
    """Entities of all rows, in order: each from word `start` to before word `end`, of a `kind` in [1, types]. Words count through all."""

    start: IntArray
    end: IntArray
    kind: IntArray


def split_tag(tag: str) -> tuple[str, str]:
    """Prefix and type: `B-LOC` is B and LOC, `LOC` is "" and LOC, `O` is O and ""."""
    if tag in (OUTSIDE, OUTSIDE.lower(), ""):
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    return (_PREFIXES[prefix], kind) if dash and prefix in _PREFIXES and kind else ("", tag)


def are_bare(rows: Iterable[Sequence[str]]) -> bool:
    """Whether all tags are prefixes alone, such that they say where entities begin: there is one type, and it has no name."""
    marked = {tag for tags in rows for tag in tags if split_tag(tag)[0] != OUTSIDE}
    return marked <= _PREFIXES.keys() and not marked.isdisjoint("BSU")


def with_type(tag: str) -> str:
    """A prefix alone with the type `UNNAMED` behind it."""
    return tag if split_tag(tag)[0] == OUTSIDE else f"{tag}-{UNNAMED}"


def find_scheme(rows: Iterable[Sequence[str]]) -> Scheme:
    """The scheme in which most of the tags make sense; BIO2 where nothing is marked."""
    counts: Counter[str] = Counter()
    loose = apart = 0
    for tags in rows:
        before = (OUTSIDE, "")
        for tag in tags:
            prefix, kind = split_tag(tag)
            counts[prefix] += 1
            touching = before[1] == kind
            loose += prefix == "I" and not touching
            apart += prefix == "B" and not touching
            before = prefix, kind
    ends, begins = counts["E"] + counts["S"], counts["B"] + counts["S"]
    if counts[""] > counts["B"] + counts["I"] + ends:
        return Scheme.IO
    if 2 * ends > begins:  # in BIOES there are as many ends as beginnings
        return Scheme.BIOES
    return Scheme.IOB1 if loose > apart else Scheme.BIO2


def to_bio2(tags: Sequence[str], scheme: Scheme) -> tuple[list[str], int | None]:
    """The tags in BIO2, and the position of the first that breaks their scheme (None: none does); there an entity begins."""
    written: list[str] = []
    broken: list[int] = []
    before, open_kind = OUTSIDE, ""  # an entity of this type may go on
    for i, tag in enumerate(tags):
        prefix, kind = split_tag(tag)
        if prefix == OUTSIDE:
            if scheme is Scheme.BIOES and open_kind:
                broken.append(i - 1)
            before, open_kind = OUTSIDE, ""
            written.append(OUTSIDE)
            continue
        goes_on = open_kind == kind
        keeps = True
        if prefix == "" or scheme is Scheme.IO:
            keeps = (prefix == "") is (scheme is Scheme.IO)
        elif scheme is Scheme.BIO2:
            keeps = prefix == "B" or goes_on
        elif scheme is Scheme.BIOES:
            keeps = goes_on if prefix in ("I", "E") else not open_kind
        elif scheme is Scheme.IOB1:
            keeps = prefix == "I" or (goes_on and before != OUTSIDE)
        if not keeps:
            broken.append(i)
        begins = not goes_on or prefix in ("B", "S")
        written.append(f"{'B' if begins else 'I'}-{kind}")
        before, open_kind = prefix, "" if prefix in ("E", "S") else kind
    if scheme is Scheme.BIOES and open_kind:
        broken.append(len(tags) - 1)
    return written, broken[0] if broken else None


def tag_names(kinds: Sequence[str]) -> tuple[str, ...]:
    """The classes of a word: 0 is outside, 2k + 1 begins an entity of type k, 2k + 2 goes on with one."""
    return (OUTSIDE, *(f"{prefix}-{kind}" for kind in kinds for prefix in "BI"))


def spans_of(y: IntArray, sizes: IntArray) -> Spans:
    """The entities that class numbers (u,) of words mark, `sizes` (n,) words a row.

    A word that goes on with what does not go before it begins an entity of its own.
    """
    kind = (y + 1) // 2
    before = np.concatenate([[0], kind[:-1]]) if len(y) else kind
    before[(np.cumsum(sizes) - sizes)[sizes > 0]] = 0
    begins = (kind > 0) & ((y % 2 == 1) | (before != kind))
    start = np.flatnonzero(begins)
    ends = np.concatenate([np.flatnonzero((kind == 0) | begins), [len(y)]])
    return Spans(start, ends[np.searchsorted(ends, start, side="right")], kind[start])


def same_spans(first: Spans, second: Spans) -> BoolArray:
    """Which entities of the first also stand, word for word and by type, among the second."""
    place = {(int(s), int(e)): int(k) for s, e, k in zip(second.start, second.end, second.kind, strict=True)}
    pairs = zip(first.start.tolist(), first.end.tolist(), first.kind.tolist(), strict=True)
    return np.fromiter((place.get((s, e), -1) == k for s, e, k in pairs), dtype=np.bool_, count=len(first.start))


@functools.cache
def _word() -> re.Pattern[str]:
    """A word of a running text. Marks that are set on a letter, as Hindi vowels and accents that stand by themselves, belong to its word,
    and so do the joiners of Persian; Python takes none of them for letters."""
    on = f"[{marks()}{_JOINERS}]"
    return re.compile(rf"\w(?:\w|{on})*|[^\w\s]{on}*")


def words_of(text: str) -> list[tuple[int, int]]:
    """Where the words of a running text stand, as (start, end): runs of letters and digits, and every other sign by itself."""
    return [match.span() for match in _word().finditer(text)]


def list_of_words(cell: str) -> list[str] | None:
    """The words of a cell that holds a list of strings (`cells.list_in`); None: it holds none."""
    found = list_in(cell)
    return found if found is not None and all(isinstance(item, str) for item in found) else None
