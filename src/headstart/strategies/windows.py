"""Words and the tokens that they are read as; a text that is longer than the source reads, in windows that overlap.

Words stand with one space between. A word is what its first token is taken for (Devlin et al. 2019, arXiv 1810.04805). A window is a
text of its own, cut between words, so that reading it and keeping what was read need nothing new. Of words that stand in two windows the
one decides in which they stand further from the edge.

Letters in shapes: w words of a window, t tokens.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbone.encoding import CHARACTERS_PER_TOKEN
from headstart.data.examples import IntArray

ABSENT = -1  # a word of which no token is read: signs that the tokenizer passes over
_AT_ONCE = 1024


@dataclass(frozen=True)
class Window:
    """A part of a text. Its first word is number `first` of the text `row`; `tokens` (w,) is where each word's first token stands, ABSENT
    for none; words `own` (from, to) of the window are those that it decides. `length` is t."""

    text: str
    row: int
    first: int
    tokens: IntArray
    own: tuple[int, int]
    length: int


def make_windows(tokenizer: Any, max_length: int, texts: Sequence[str]) -> list[Window]:
    """The windows of all texts, in order, each of at most `max_length` tokens; most texts are one."""
    windows: list[Window] = []
    for start in range(0, len(texts), _AT_ONCE):
        # A lone surrogate becomes "?", as in the reader.
        part = [text.encode("utf-8", "replace").decode("utf-8") for text in texts[start : start + _AT_ONCE]]
        for row, (text, (tokens, length)) in enumerate(zip(part, _first_tokens(tokenizer, part, None), strict=True), start=start):
            if length <= max_length and len(text) <= max_length * CHARACTERS_PER_TOKEN:
                windows.append(Window(text, row, 0, tokens, (0, len(tokens)), length))
            else:
                windows += _parts_of(tokenizer, max_length, text, row, tokens, length)
    return windows


def _first_tokens(tokenizer: Any, texts: list[str], limit: int | None) -> list[tuple[IntArray, int]]:
    """For each text where each word's first token stands, (w,), and how many tokens there are, `limit` at most; None: all."""
    told: dict[str, Any] = {"truncation": False, "verbose": False} if limit is None else {"truncation": True, "max_length": limit}
    offsets = tokenizer(texts, return_offsets_mapping=True, **told)["offset_mapping"]
    found = []
    for text, places in zip(texts, offsets, strict=True):
        starts = _word_starts(text)
        spans = np.asarray(places, dtype=np.int64).reshape(-1, 2)
        real = np.flatnonzero(spans[:, 1] > spans[:, 0])  # not the special ones
        # The last character decides: a token may begin with the space before its word.
        word = np.searchsorted(starts, spans[real, 1] - 1, side="right") - 1
        tokens = np.full(len(starts), ABSENT, dtype=np.int64)
        tokens[word[::-1]] = real[::-1]  # the first of several stays
        found.append((tokens, max(1, len(spans))))
    return found


def _word_starts(text: str) -> IntArray:
    lengths = np.array([len(word) for word in text.split(" ")], dtype=np.int64)
    return np.asarray(np.cumsum(lengths + 1) - lengths - 1)


def _parts_of(tokenizer: Any, max_length: int, text: str, row: int, tokens: IntArray, length: int) -> list[Window]:
    """A long text in windows of whole words, each beginning in the middle of the one before."""
    words = text.split(" ")
    around = len(tokenizer("", add_special_tokens=True)["input_ids"])
    room = max(1, max_length - around)
    known = np.where(tokens == ABSENT, 0, tokens)
    begins = np.maximum.accumulate(known)
    # A word ends where the next one that is read begins: one of no token takes none from it.
    behind = np.where(tokens == ABSENT, length - around // 2, tokens)
    ends = np.append(np.minimum.accumulate(behind[::-1])[::-1][1:], length - around // 2)
    starts, characters = _word_starts(text), max_length * CHARACTERS_PER_TOKEN
    stops = np.append(starts[1:] - 1, len(text))
    parts: list[tuple[int, int]] = []
    first = 0
    while True:
        last = first + 1
        while last < len(words) and ends[last] - begins[first] <= room and stops[last] - starts[first] <= characters:
            last += 1
        parts.append((first, last))
        if last == len(words):
            break
        first = max(first + 1, first + (last - first) // 2)
    windows = []
    for k, (first, last) in enumerate(parts):
        low = 0 if k == 0 else (parts[k - 1][1] + first) // 2 - first
        high = last - first if k == len(parts) - 1 else (last + parts[k + 1][0]) // 2 - first
        piece = " ".join(words[first:last])[:characters]
        ((own, size),) = _first_tokens(tokenizer, [piece], max_length)
        windows.append(Window(piece, row, first, own, (low, high), size))
    return windows
