"""Training of answers: which tokens are told what, the loss, and that a small invented task is learnt and read as it was trained."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.data.answers import NOTHING, Answer, as_label
from headstart.data.pairs import join_pair, split_pair
from headstart.settings import Precision, Settings
from headstart.sources.resolve import resolve_source
from headstart.strategies import schedule
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.losses import END, START, spans_loss
from headstart.strategies.model import NO_LABEL
from headstart.strategies.pieces import make_pieces
from headstart.strategies.span_training import tokens_of, told_pieces
from headstart.strategies.spans import F1, MARGIN, SpanModel
from small import COLOURS, answer_rows, asked
from tiny import make_tiny, make_tokenizer

TOKENIZER = make_tokenizer("bert")


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = make_tiny(tmp_path_factory.mktemp("tiny"), "bert", blocks=2, words=(*COLOURS, "phone", "coat"))
    return Reader(load_backbone(resolve_source(str(folder)), 40, pairs=True), None, 4096)


def invented(n: int, seed: int, *, without: bool = False) -> Rows:
    """Questions for the colour of a thing; with `without`, every third has no answer."""
    rows: Rows = answer_rows(asked(n, seed, without=without))
    return rows


# --- what is told ---


@pytest.mark.parametrize(
    ("answer", "words"),
    [("card", ["card"]), ("my card is", ["my", "card", "is"]), ("ar", ["card"]), ("card is lost", ["card", "is", "lost"])],
)
def test_the_tokens_of_an_answer_are_those_that_it_touches(answer: str, words: list[str]) -> None:
    context = "where my card is lost today"
    (piece,) = make_pieces(TOKENIZER, 40, [join_pair("what", context)])
    span = tokens_of(piece, Answer(answer, context.index(answer)))
    assert span is not None
    assert [context[a:b] for a, b in piece.places[span[0] : span[1] + 1].tolist()] == words


def test_an_answer_that_a_piece_cuts_off_does_not_stand_in_it() -> None:
    context = " ".join(["card", "money", "refund", "order"] * 15)
    answer = Answer("refund order card", context.index("refund order card", 90))
    whole = 0
    for piece in make_pieces(TOKENIZER, 24, [join_pair("what", context)]):
        inside = piece.places[piece.inside]
        stands = inside[0, 0] <= answer.start and answer.end <= inside[-1, 1]
        span = tokens_of(piece, answer)
        assert (span is not None) == stands
        if span is not None:
            assert context[piece.places[span[0], 0] : piece.places[span[1], 1]] == answer.text
            whole += 1
    assert whole >= 1


def test_each_piece_is_told_one_start_and_one_end(reader: Reader) -> None:
    rows = invented(30, 1, without=True)
    learnt = told_pieces(reader, rows)
    told = learnt.pieces
    pieces = {piece.text: piece for piece in make_pieces(reader.backbone.tokenizer, 40, rows.texts)}
    assert learnt.longest == 2 and told.sizes.sum() == len(told.y)  # 1.2 of one token, rounded up
    for text, units in zip(told.texts, np.split(told.y, np.cumsum(told.sizes)[:-1]), strict=True):
        context = split_pair(text)[1]
        [start], [end] = (np.flatnonzero((units > 0) & (units & what > 0)).tolist() for what in (START, END))
        label = rows.y[rows.texts.index(text)]
        if label == NOTHING:
            assert start == end == 0
        else:
            places = pieces[text].places
            assert context[places[start, 0] : places[end, 1]] == json.loads(label)[0]["text"]
        assert set(np.flatnonzero(units == NO_LABEL)) == set(np.flatnonzero(~pieces[text].inside)) - {0}


def test_a_piece_that_holds_another_true_answer_is_not_told_that_it_has_none(reader: Reader) -> None:
    context = "the money is lost " + "card film car food city time " * 8 + "so the money is lost again"
    y = np.empty(1, dtype=object)
    y[0] = as_label([Answer("money", context.find("money")), Answer("money is lost again", context.rfind("money"))])
    learnt = told_pieces(reader, Rows((join_pair("what is lost", context),), y, 1, kinds=np.zeros(1, dtype=np.int64)))
    holding = ["money" in split_pair(text)[1] for text in learnt.pieces.texts]
    assert holding.count(True) >= 2 and [size > 0 for size in learnt.span] == holding


# --- the loss ---


def test_the_loss_is_the_mean_cross_entropy_of_start_and_end_among_tokens_that_can_be_one() -> None:
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(2, 5, 2))
    told = np.array([[0, NO_LABEL, START, END, 0], [START | END, NO_LABEL, 0, 0, NO_LABEL]])
    wanted = 0.0
    for row, at in ((0, (2, 3)), (1, (0, 0))):
        able = np.flatnonzero(told[row] != NO_LABEL)
        for side in (0, 1):
            wanted += (np.log(np.exp(scores[row, able, side]).sum()) - scores[row, at[side], side]) / 4
    assert float(spans_loss(torch.tensor(scores), torch.tensor(told))) == pytest.approx(wanted)


# --- rungs ---


def a_job(reader: Reader, rows: Rows, **settings: Any) -> Job:
    wanted = Settings(task="qa", batch_size=16, precision=Precision.FLOAT32, **settings)
    return Job(rows, np.arange(len(rows)), [], wanted, 0, reader, cut=1)


def test_full_training_finds_answers_that_it_has_not_seen(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 250)
    model = get_strategy("full", "qa").fit(a_job(reader, invented(240, 2, without=True), epochs=1, learning_rate=3e-3))
    assert isinstance(model, SpanModel) and model.may_abstain
    new = invented(60, 9, without=True)
    outputs = model.answer(new).outputs
    answered = new.y != NOTHING
    # By chance one of four colours, or any of ten words.
    assert outputs[answered, F1].mean() > 0.6
    assert outputs[answered, MARGIN].mean() > outputs[~answered, MARGIN].mean() + 1.0


@pytest.mark.parametrize("name", ["probe", "partial", "lora", "gradual", "full", "scratch"])
def test_each_rung_is_trained_and_reads_alike_at_any_order_of_its_rows(name: str, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 3)
    before = {key: value.clone() for key, value in reader.backbone.module.state_dict().items()}
    model = get_strategy(name, "qa").fit(a_job(reader, invented(12, 3), epochs=1))
    assert isinstance(model, SpanModel) and not model.may_abstain
    assert (model.module is None) == (name == "probe") and model.cut == {"probe": 2, "full": 0, "scratch": 0}.get(name, 1)
    rows = invented(9, 4)
    first = model.spans(rows.texts)
    second = model.spans(rows.texts[::-1])[::-1]
    assert [(s.start, s.end) for s in first] == [(s.start, s.end) for s in second]
    np.testing.assert_allclose([s.margin for s in first], [s.margin for s in second], atol=1e-4)
    after = reader.backbone.module.state_dict()
    assert all(torch.equal(after[key], value) for key, value in before.items())  # the source itself is left as it was


def test_a_model_scores_as_the_stock_class_of_its_parts(reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoModelForQuestionAnswering

    from headstart.export.span_folder import save_span_model

    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 3)
    model = get_strategy("full", "qa").fit(a_job(reader, invented(12, 3), epochs=1))
    assert isinstance(model, SpanModel)
    save_span_model(tmp_path / "model", model, "card")
    stock = AutoModelForQuestionAnswering.from_pretrained(tmp_path / "model").eval()
    tokenizer = reader.backbone.tokenizer
    for text, span in zip(invented(6, 5).texts, model.spans(invented(6, 5).texts), strict=True):
        question, context = split_pair(text)
        read = tokenizer(question, context, return_tensors="pt")
        types = torch.tensor([[int(side == 1) for side in read.encodings[0].sequence_ids]])
        types[0, -1] = 1  # the separator that closes the second text is of it
        with torch.inference_mode():
            said = stock(input_ids=read["input_ids"], attention_mask=read["attention_mask"], token_type_ids=types)
        places = read.encodings[0].offsets
        second = [i for i, place in enumerate(places) if types[0, i] and place[1] > place[0]]
        start, end = (next(i for i in second if places[i][side] == at) for side, at in ((0, span.start), (1, span.end)))
        margin = said.start_logits[0, start] + said.end_logits[0, end] - said.start_logits[0, 0] - said.end_logits[0, 0]
        assert float(margin) == pytest.approx(span.margin, abs=1e-4)


def rows_without_answers(rows: Rows, some: Sequence[int]) -> Rows:
    y = rows.y.copy()
    y[list(some)] = NOTHING
    return replace(rows, y=y)


def test_a_model_abstains_only_where_its_rows_did(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 2)
    model = get_strategy("probe", "qa").fit(a_job(reader, rows_without_answers(invented(12, 3), [4]), epochs=1))
    assert isinstance(model, SpanModel) and model.may_abstain
