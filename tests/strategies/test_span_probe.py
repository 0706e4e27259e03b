"""The head of answers on frozen tokens: its loss and minimum against PyTorch's, and that it learns an invented task."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.data.answers import NOTHING
from headstart.settings import Settings
from headstart.sources.resolve import resolve_source
from headstart.strategies import span_probe, spans
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.losses import spans_loss
from headstart.strategies.span_training import Told
from headstart.strategies.spans import F1, SpanModel
from small import COLOURS, answer_rows, asked
from tiny import HIDDEN, make_tiny


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    folder = make_tiny(tmp_path_factory.mktemp("tiny"), "bert", blocks=2, words=(*COLOURS, "phone", "coat"))
    return Reader(load_backbone(resolve_source(str(folder)), 40, pairs=True), None, 4096)


def invented(n: int, seed: int, *, without: bool = False) -> Rows:
    rows: Rows = answer_rows(asked(n, seed, without=without))
    return rows


def test_the_objective_is_the_loss_that_training_makes_small_and_its_minimum_is_torchs(reader: Reader) -> None:
    rows = invented(20, 1, without=True)
    learnt = span_probe.told_rows(reader, rows)
    [tokens] = span_probe.tokens_of(reader, learnt, [2], 10**6)
    weight, loss = span_probe.solve_spans(tokens.states, tokens, 0.3, 1e-6)
    told = learnt.pieces
    assert told.sizes is not None
    states = reader.activations(told.texts, 2)
    units = np.split(told.y, np.cumsum(told.sizes)[:-1])
    free = torch.zeros(2, HIDDEN, dtype=torch.float64, requires_grad=True)
    best = torch.optim.LBFGS([free], lr=1.0, max_iter=500, tolerance_grad=1e-9, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def pieces_loss(by: torch.Tensor) -> torch.Tensor:
        each = [
            spans_loss((torch.tensor(state, dtype=torch.float64) @ by.T)[None], torch.tensor(told)[None])
            for state, told in zip(states, units, strict=True)
        ]
        return 2 * torch.stack(each).sum()

    def step() -> torch.Tensor:
        best.zero_grad()
        total = pieces_loss(free) + 0.15 * (free**2).sum()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    best.step(step)  # type: ignore[arg-type]
    found = free.detach()
    np.testing.assert_allclose(weight, found.numpy(), atol=2e-3)
    assert loss == pytest.approx(float(pieces_loss(torch.tensor(weight))) / len(told), rel=1e-5)
    assert loss < 2 * np.log(8)


def test_pieces_beyond_the_most_tokens_are_left_out(reader: Reader) -> None:
    rows = invented(30, 2)
    told = span_probe.told_rows(reader, rows)
    [every] = span_probe.tokens_of(reader, told, [2], 10**6)
    [some, lower] = span_probe.tokens_of(reader, told, [2, 1], 60)
    assert lower.states.shape == some.states.shape and not np.array_equal(lower.states, some.states) and told.longest == 2
    assert len(some.states) <= 60 < len(every.states) and len(some.begins) == len(some.starts) == len(some.ends) < len(every.begins)
    sizes = np.diff(np.append(some.begins, len(some.states)))
    assert ((some.starts >= some.begins) & (some.ends < some.begins + sizes) & (some.starts <= some.ends)).all()


def test_what_folds_hold_out_is_answered_by_heads_that_have_not_seen_it(reader: Reader) -> None:
    rows = invented(200, 3, without=True)
    order = np.random.default_rng(0).permutation(200)
    folds = [(np.sort(np.setdiff1d(order, held)), np.sort(held)) for held in (order[:60], order[60:120])]
    job = Job(rows, np.arange(200), folds, Settings(task="qa"), 0, reader)
    probe = get_strategy("probe", "qa")
    assert probe.out_of_fold is not None
    model, outputs = probe.out_of_fold(job)
    held = np.concatenate([held for _, held in folds])
    assert np.isnan(outputs[:, 0]).sum() == 80 and not np.isnan(outputs[held]).any()
    layer, strength = span_probe.choose_span_head(reader, span_probe.told_rows(reader, rows), folds)
    train, asked_for = folds[1]
    own = span_probe.told_rows(reader, rows.take(train))
    again = span_probe.fit_span_head(reader, own, layer, strength, True).compared(rows.take(asked_for))
    np.testing.assert_allclose(outputs[asked_for], again)
    answered = rows.y[held] != NOTHING
    assert outputs[held][answered, F1].mean() > 0.4  # one of ten words by chance
    alone = probe.fit(job)
    assert isinstance(alone, SpanModel) and isinstance(model, SpanModel)
    np.testing.assert_array_equal(alone.head.weight, model.head.weight)


def test_below_the_usual_budget_a_head_is_fitted_on_fewer_tokens(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [span_probe.tokens_for(600, Settings(task="qa", budget=seconds)) for seconds in (1.0, 150.0, 600.0, 3600.0)] == [
        1,
        150,
        600,
        600,
    ]
    given: list[int] = []
    tokens_of = span_probe.tokens_of

    def noted(reader: Reader, told: Told, layers: Sequence[int], most: int) -> list[span_probe.Tokens]:
        given.append(most)
        return tokens_of(reader, told, layers, most)

    monkeypatch.setattr(span_probe, "tokens_of", noted)
    rows, order = invented(40, 5), np.arange(40)
    job = Job(rows, order, [(order[::2], order[1::2])], Settings(task="qa", budget=60.0), 0, reader)
    assert span_probe.STRATEGY.out_of_fold is not None
    span_probe.STRATEGY.out_of_fold(job)
    assert given == [6_000, 6_000, 20_000, 20_000]  # a tenth, of either side of the fold for the choice, then of the fold and of all rows


def test_of_long_contexts_some_rows_are_answered_the_same_by_every_rung(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = invented(40, 5)
    order = np.arange(40)
    folds = [(order[order % 2 == k], order[order % 2 != k]) for k in (0, 1)]
    job = Job(rows, order, folds, Settings(task="qa"), 0, reader)
    assert span_probe.STRATEGY.out_of_fold is not None
    _, whole = span_probe.STRATEGY.out_of_fold(job)
    assert not np.isnan(whole).any()
    monkeypatch.setattr(spans, "MOST_COMPARED", 0)
    _, outputs = span_probe.STRATEGY.out_of_fold(job)
    asked = ~np.isnan(outputs[:, 0])
    assert [asked[held].sum() for _, held in folds] == [4, 4]
    np.testing.assert_array_equal(outputs[asked], whole[asked])
    other = span_probe.fit_span_head(reader, span_probe.told_rows(reader, rows.take(order[:20])), 1, 1.0, False)
    _, sentences = get_strategy("sentence", "qa").out_of_fold(job)  # type: ignore[misc]
    np.testing.assert_array_equal(~np.isnan(sentences[:, 0]), asked)
    for _, held in folds:
        np.testing.assert_array_equal(~np.isnan(other.compared(rows.take(held))[:, 0]), asked[held])


def test_every_fold_learns_from_the_same_pieces_so_that_each_is_read_once(reader: Reader, tmp_path: Path) -> None:
    rows: Rows = answer_rows(asked(30, 6, words=100))
    every = span_probe.told_rows(reader, rows)
    folds = [(np.setdiff1d(np.arange(30), held), held) for held in np.split(np.arange(30), 3)]
    for train, _ in folds:
        alone = span_probe.told_rows(reader, rows.take(train))
        assert alone.pieces.texts == every.of(train).pieces.texts and len(alone.row) < len(every.row)
        np.testing.assert_array_equal(train[alone.row], every.of(train).row)
        np.testing.assert_array_equal(alone.pieces.y, every.of(train).pieces.y)
    with Store(tmp_path / "store", 10**8) as store:
        stored = Reader(reader.backbone, store, 4096)
        layer, strength = span_probe.choose_span_head(stored, every, folds)
        assert stored.read == len(every.row)
        for train, _ in folds:
            span_probe.fit_span_head(stored, every.of(train), layer, strength, False)
        assert stored.read == len(every.row)
