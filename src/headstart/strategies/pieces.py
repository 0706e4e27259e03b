"""A question with a piece of its context, as the source reads them: long contexts in pieces that overlap.

A row's text is the question and its context in one (`data/pairs.py`). A piece is a text of the same form, the question whole in each, so
that reading it and keeping what was read need nothing new.

Letters in shapes: t tokens.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headstart.backbone.encoding import CHARACTERS_PER_TOKEN
from headstart.data.examples import BoolArray, IntArray
from headstart.data.pairs import join_pair, split_pair

# Of what is read at once a question takes a third at most, and neighbouring pieces share a quarter.
QUESTION_SHARE, SHARED = 3, 4
# Special tokens around two texts, at most, and one for a word that is read otherwise at a cut.
_AROUND = 5
# Tokens that are read of a character of context, those of pieces that overlap and the question in each counted in: for guesses of time.
TOKENS_A_CHARACTER = 0.4
_AT_ONCE = 256


def draw_of(text: str) -> int:
    """A number drawn by what a text is. Rows that are taken in its order are the same in every fold, so that what was read for one is there
    for the next."""
    return int.from_bytes(hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest(), "big")


def drawn(texts: Sequence[str], most_characters: int, fewest: int) -> IntArray:
    """Positions of the texts that come first in the order of `draw_of`, in that order: as many as have `most_characters` together, and
    `fewest` at least."""
    order = np.array(sorted(range(len(texts)), key=lambda i: draw_of(texts[i])), dtype=np.int64)
    lengths = np.cumsum([len(texts[i]) for i in order])
    return order[: max(fewest, int(np.searchsorted(lengths, most_characters, side="right")))]


def sizes(max_length: int) -> tuple[int, int, int]:
    """Tokens of a question at most, of a piece with its question, and those that neighbouring pieces share, for so many read at once."""
    question, shared = max(1, max_length // QUESTION_SHARE), max_length // SHARED
    return question, max(max_length - _AROUND, question + shared + _AROUND), shared


@dataclass(frozen=True)
class Piece:
    """A question and a part of the context of the row `row`. `places` (t, 2) are where in the whole context each token begins and ends;
    `inside` (t,) tells which tokens are of the context at all."""

    text: str
    row: int
    places: IntArray
    inside: BoolArray

    @property
    def length(self) -> int:
        """Tokens."""
        return len(self.inside)


def make_pieces(tokenizer: Any, max_length: int, texts: Sequence[str]) -> list[Piece]:
    """The pieces of all texts, in order, each of at most `max_length` tokens; a short context is one piece."""
    pieces: list[Piece] = []
    for begin in range(0, len(texts), _AT_ONCE):
        # A lone surrogate becomes "?", as in the reader.
        sides = [split_pair(text.encode("utf-8", "replace").decode("utf-8")) for text in texts[begin : begin + _AT_ONCE]]
        limit = max_length * CHARACTERS_PER_TOKEN  # beyond it the reader cuts either side off
        questions = _shortened(tokenizer, max_length, [question[:limit] for question, _ in sides])
        cuts = _cuts(tokenizer, max_length, questions, [context for _, context in sides])
        parts = [sides[row][1][first : min(last, first + limit)] for row, first, last in cuts]
        read = tokenizer([questions[row] for row, _, _ in cuts], parts, truncation=True, max_length=max_length, return_offsets_mapping=True)
        for number, (row, first, _) in enumerate(cuts):
            places = np.asarray(read["offset_mapping"][number], dtype=np.int64).reshape(-1, 2)
            sequence = read.encodings[number].sequence_ids
            inside = np.array([side == 1 for side in sequence], dtype=bool) & (places[:, 1] > places[:, 0])
            pieces.append(Piece(join_pair(questions[row], parts[number]), begin + row, places + first, inside))
    return pieces


def _shortened(tokenizer: Any, max_length: int, questions: list[str]) -> list[str]:
    """Questions that leave room for their context."""
    limit = sizes(max_length)[0]
    offsets = tokenizer(questions, add_special_tokens=False, return_offsets_mapping=True, truncation=False, verbose=False)["offset_mapping"]
    return [text if len(places) <= limit else text[: places[limit - 1][1]] for text, places in zip(questions, offsets, strict=True)]


def _cuts(tokenizer: Any, max_length: int, questions: list[str], contexts: list[str]) -> list[tuple[int, int, int]]:
    """Where contexts are cut: (row, first character, character behind the last), one for each piece; all rows have one at least."""
    _, piece, shared = sizes(max_length)
    read = tokenizer(
        questions,
        contexts,
        truncation="only_second",
        max_length=piece,
        stride=shared,
        return_overflowing_tokens=True,
        return_offsets_mapping=True,
    )
    cuts = []
    for encoding, places, row in zip(read.encodings, read["offset_mapping"], read["overflow_to_sample_mapping"], strict=True):
        spans = [place for place, side in zip(places, encoding.sequence_ids, strict=True) if side == 1 and place[1] > place[0]]
        cuts.append((row, spans[0][0], spans[-1][1]) if spans else (row, 0, 0))
    return cuts
