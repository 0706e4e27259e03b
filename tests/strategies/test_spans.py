"""The best span of a piece and of a context, against all spans tried one by one; what a row's outputs are."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader
from headstart.data.pairs import join_pair
from headstart.strategies.base import FloatArray, LinearHead, Rows
from headstart.strategies.pieces import Piece, make_pieces
from headstart.strategies.spans import Span, SpanModel, best_span, find_spans, said_by
from tiny import HIDDEN, make_tokenizer

Tiny = Callable[..., Backbone]
TOKENIZER = make_tokenizer("bert")


def a_piece(inside: list[bool]) -> Piece:
    """Each token of the context is three characters long, with one between."""
    places = [(4 * i, 4 * i + 3) if here else (0, 0) for i, here in enumerate(inside)]
    return Piece("", 0, np.array(places), np.array(inside))


def all_spans(piece: Piece, scores: FloatArray, longest: int) -> dict[tuple[int, int], float]:
    """Every allowed span's margin, one by one."""
    t = piece.length
    return {
        (int(piece.places[i, 0]), int(piece.places[j, 1])): float(scores[i, 0] + scores[j, 1] - scores[0, 0] - scores[0, 1])
        for i in range(t)
        for j in range(i, t)
        if piece.inside[i] and piece.inside[j] and piece.inside[i : j + 1].sum() <= longest
    }


@settings(deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=9), st.integers(1, 6), st.integers(0, 10_000))
def test_the_best_span_is_that_of_all_spans_tried(inside: list[bool], longest: int, seed: int) -> None:
    piece = a_piece([False, *inside])
    scores = np.random.default_rng(seed).normal(size=(piece.length, 2))
    (found, together), spans = best_span(piece, scores, longest), all_spans(piece, scores, longest)
    if not spans:
        assert (found.start, found.end) == (0, 0) and found.margin < -1e6 and together == -np.inf
    else:
        assert together == pytest.approx(np.log(np.exp(list(spans.values())).sum()))
        assert found.margin == pytest.approx(max(spans.values()))
        assert spans[found.start, found.end] == pytest.approx(found.margin)


def test_of_all_pieces_the_best_span_is_the_answer() -> None:
    texts = [join_pair("what", " ".join(["card", "money", "refund"] * 20)), join_pair("why", ""), join_pair("who", "my card")]
    pieces = make_pieces(TOKENIZER, 24, texts)
    drawn = {piece.text: np.random.default_rng(i).normal(size=(piece.length, 2)) for i, piece in enumerate(pieces)}

    def scored(part: Sequence[Piece]) -> Iterator[tuple[int, FloatArray]]:
        for i in reversed(range(len(part))):  # in whatever order
            yield i, drawn[part[i].text]

    for at_once in (1, 2, 100):
        found = find_spans(TOKENIZER, 24, texts, 4, scored, at_once)
        for row, span in enumerate(found):
            every: dict[tuple[int, int], float] = {}
            weights: list[float] = []
            for piece in pieces:
                if piece.row == row:
                    for place, margin in all_spans(piece, drawn[piece.text], 4).items():
                        every[place] = max(margin, every.get(place, -np.inf))
                        weights.append(np.exp(margin))
            if not every:
                assert span.start == span.end
            else:
                assert span.share == pytest.approx(max(weights) / sum(weights))
                assert every[span.start, span.end] == pytest.approx(max(every.values())) == pytest.approx(span.margin)


def rows_of(pairs: Sequence[tuple[str, str, list[dict[str, object]]]]) -> Rows:
    y = np.empty(len(pairs), dtype=object)
    y[:] = [json.dumps(answers) for _, _, answers in pairs]
    return Rows(tuple(join_pair(q, c) for q, c, _ in pairs), y, 1, kinds=np.zeros(len(pairs), dtype=np.int64))


CONTEXT = "the card was lost in paris"
FIRST, THIRD = [{"text": "the card", "start": 0}], [{"text": "lost", "start": 13}]
ROWS = rows_of([("what", CONTEXT, FIRST), ("where", CONTEXT, []), ("how", CONTEXT, THIRD)])
SPANS = [Span(4, 8, 2.0), Span(21, 26, 1.0), Span(13, 26, -1.0)]


def test_outputs_are_the_margin_and_how_right_the_span_and_none_are() -> None:
    said = said_by(SPANS, ROWS, True)
    assert said.answers == ("card", "paris", "")
    # margin, exact, F1, exact and F1 of none; "lost in paris" shares one of three words with "lost"
    wanted = [[2.0, 1, 1, 0, 0], [1.0, 0, 0, 1, 1], [-1.0, 0, 2 / 4, 0, 0]]
    np.testing.assert_allclose(said.outputs, wanted)


def test_who_may_not_abstain_always_answers() -> None:
    said = said_by(SPANS, ROWS, False)
    assert said.answers == ("card", "paris", "lost in paris") and np.isinf(said.outputs[:, 0]).all()
    np.testing.assert_allclose(said.outputs[:, 1:], said_by(SPANS, ROWS, True).outputs[:, 1:])


def test_moving_a_model_moves_its_margins_alone(tiny_backbone: Tiny) -> None:
    reader = Reader(replace(tiny_backbone("bert"), pairs=True), None, 4096)
    head = LinearHead(np.random.default_rng(3).normal(size=(2, HIDDEN)), np.zeros(2))
    model = SpanModel(reader, None, 4, 4, head, 3, True)
    moved = model.scaled(2.0, -1.0).scaled(0.5, 0.25)
    first, second = model.answer(ROWS).outputs, moved.answer(ROWS).outputs
    np.testing.assert_allclose(second[:, 0], (first[:, 0] * 2.0 - 1.0) * 0.5 + 0.25)
    np.testing.assert_allclose(second[:, 1:], first[:, 1:])
