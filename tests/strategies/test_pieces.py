"""Questions with pieces of their contexts: each piece fits, all together hold the whole context, and a short one is read as it is."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.encoding import encode
from headstart.data.pairs import join_pair, split_pair
from headstart.strategies.pieces import make_pieces, sizes
from tiny import WORDS, make_tokenizer

FAMILIES = ("bert", "roberta")
TOKENIZERS = {name: make_tokenizer(name) for name in FAMILIES}
PARTS = [*WORDS[:6], "refund", "unbelievable", "3.5%", "ok!?", "naïve", "\u0301", "你好"]
SOME = st.lists(st.sampled_from(PARTS), max_size=60).map(" ".join)


def own_tokens(tokenizer: Any, context: str) -> list[tuple[int, int]]:
    """Where each token of a whole context begins and ends, as the tokenizer tells of it alone."""
    places = tokenizer(context, add_special_tokens=False, return_offsets_mapping=True, verbose=False)["offset_mapping"]
    return [place for place in places if place[1] > place[0]]


@pytest.mark.parametrize("family", FAMILIES)
@settings(deadline=None, max_examples=40)
@given(question=SOME, context=SOME, max_length=st.integers(24, 64))
def test_pieces_fit_and_hold_every_token_of_the_context_at_its_place(family: str, question: str, context: str, max_length: int) -> None:
    tokenizer = TOKENIZERS[family]
    pieces = make_pieces(tokenizer, max_length, [join_pair(question, context)])
    ids = encode(tokenizer, [piece.text for piece in pieces], max_length, pairs=True)
    held: set[tuple[int, int]] = set()
    for piece, row in zip(pieces, ids, strict=True):
        assert piece.length == len(row) <= max_length and piece.places.shape == (piece.length, 2) and piece.row == 0
        asked, part = split_pair(piece.text)
        assert question.startswith(asked) and part in context
        held |= {tuple(place) for place in piece.places[piece.inside].tolist()}
    assert held == set(own_tokens(tokenizer, context))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_short_context_is_one_piece_as_it_stands(family: str) -> None:
    text = join_pair("what is lost", "my card is lost")
    (piece,) = make_pieces(TOKENIZERS[family], 64, [text])
    assert piece.text == text
    words = [split_pair(text)[1][a:b] for a, b in piece.places[piece.inside].tolist()]
    assert words == ["my", "card", "is", "lost"]


def test_neighbouring_pieces_share_what_is_said() -> None:
    tokenizer, context = TOKENIZERS["bert"], " ".join(["card", "money"] * 60)
    pieces = make_pieces(tokenizer, 40, [join_pair("what", context)])
    assert len(pieces) > 3
    _, most, shared = sizes(40)
    for one, other in itertools.pairwise(pieces):
        ours, theirs = ({tuple(place) for place in piece.places[piece.inside].tolist()} for piece in (one, other))
        assert len(ours & theirs) == shared and one.length <= most <= 40


def test_a_long_question_is_shortened_so_that_context_is_read() -> None:
    question, context = " ".join(["why"] * 100), "my card is lost"
    pieces = make_pieces(TOKENIZERS["bert"], 30, [join_pair(question, context)])
    assert split_pair(pieces[0].text)[0] == " ".join(["why"] * sizes(30)[0])
    assert sum(piece.inside.sum() for piece in pieces) == 4


def test_rows_keep_their_numbers_and_an_empty_context_is_a_piece_too() -> None:
    texts = [join_pair("a", "my card"), join_pair("b", ""), join_pair("c", " ".join(["money"] * 100))]
    pieces = make_pieces(TOKENIZERS["bert"], 30, texts)
    rows = [piece.row for piece in pieces]
    assert sorted(set(rows)) == [0, 1, 2] and rows == sorted(rows) and rows.count(1) == 1
    assert not pieces[rows.index(1)].inside.any()


def test_no_texts_are_no_pieces() -> None:
    assert make_pieces(TOKENIZERS["bert"], 30, []) == []
    assert np.array_equal(sizes(512), (170, 507, 128))


def test_a_piece_ends_where_the_reader_cuts_it_off() -> None:
    tokenizer = TOKENIZERS["bert"]
    context = "my card " + " " * 7000 + " is lost " + "money " * 100
    pieces = make_pieces(tokenizer, 64, [join_pair("what", context), join_pair("what" + " " * 7000 + "is", "my card is lost")])
    assert [piece.length for piece in pieces] == [len(row) for row in encode(tokenizer, [piece.text for piece in pieces], 64, pairs=True)]
