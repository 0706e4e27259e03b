"""The frozen rung of words: which layer it reads, and what it says of words that were held out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from headstart.backbone.backbone import Backbone
from headstart.backbone.reading import Reader
from headstart.judge.calibration import softmax
from headstart.settings import Settings
from headstart.strategies import word_probe
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.word_model import words_at
from headstart.strategies.word_probe import candidate_layers, choose_layer, choose_words_probe
from small import FAMILIES, PEOPLE, PLACES, marked, word_rows
from tiny import HIDDEN

Tiny = Callable[..., Backbone]
NAMES = (*PEOPLE, *FAMILIES, *(word for place in PLACES for word in place))


def fold_rows(n: int, k: int = 4) -> list[tuple[np.ndarray, np.ndarray]]:
    parts = np.array_split(np.random.default_rng(0).permutation(n), k)
    return [(np.sort(np.concatenate([p for j, p in enumerate(parts) if j != i])), np.sort(parts[i])) for i in range(k)]


@pytest.fixture
def reader(tiny_backbone: Tiny) -> Reader:
    return Reader(tiny_backbone("bert", words=NAMES), None, 4096)


@pytest.mark.parametrize(
    ("architecture", "layers"),
    [("bert", (3, 4)), ("mpnet", (3, 4)), ("deberta-v2", (3, 4)), ("gpt2", (4,)), ("llama", (4,)), ("modernbert", (4,))],
)
def test_a_layer_below_the_last_is_tried_only_where_a_model_may_end_there(
    architecture: str, layers: tuple[int, ...], tiny_backbone: Tiny
) -> None:
    assert candidate_layers(tiny_backbone(architecture)) == layers  # the last three run a norm behind their blocks


@pytest.mark.parametrize(("blocks", "layers"), [(1, (1,)), (2, (2,)), (3, (3,)), (6, (4, 5, 6)), (12, (7, 8, 9, 10, 11, 12))])
def test_the_upper_half_of_the_blocks_is_tried(blocks: int, layers: tuple[int, ...]) -> None:
    assert candidate_layers(SimpleNamespace(n_blocks=blocks, above=frozenset())) == layers


@pytest.mark.parametrize("good", [3, 4])
def test_the_layer_that_knows_the_classes_is_found(good: int, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = word_rows(marked(40, 1))
    rng = np.random.default_rng(0)
    noise, centres = rng.normal(size=(2, len(rows.y), HIDDEN)).astype(np.float32), rng.normal(size=(5, HIDDEN))
    layers = {3: noise[0], 4: noise[1]}
    layers[good] = layers[good] + 2 * centres[rows.y].astype(np.float32)
    monkeypatch.setattr(word_probe, "words_at", lambda _reader, _texts, layer: layers[layer])
    assert choose_layer(reader, rows, fold_rows(40)) == good
    assert choose_layer(reader, rows, []) == 4  # nothing to compare by
    monkeypatch.setattr(word_probe, "MOST_WORDS", 1)  # two rows choose, as where each is a long document
    assert choose_layer(reader, rows, [(np.array([0]), np.arange(1, 40))]) == 4  # it holds out both or none
    everywhere = [(np.arange(40) != i).nonzero()[0] for i in range(40)]
    assert choose_layer(reader, rows, [(train, np.setdiff1d(np.arange(40), train)) for train in everywhere]) == good


def test_held_out_words_are_told_by_a_head_on_the_others_as_scikit_learn_fits_it(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, folds = word_rows(marked(40, 1)), fold_rows(40)[:3]
    kept: list[float] = []
    choose = word_probe.choose_strength
    monkeypatch.setattr(word_probe, "choose_strength", lambda *given: kept.append(choose(*given)[0]) or choose(*given))
    model, logits = choose_words_probe(reader, rows, folds)
    features = words_at(reader, rows.texts, model.layer).astype(np.float64)
    z = (features - features.mean(axis=0)) / (features.std(axis=0) * np.sqrt(HIDDEN))
    row_of = np.repeat(np.arange(40), rows.sizes)
    for train, held in folds:
        some, asked = np.isin(row_of, train), np.isin(row_of, held)
        peer = LogisticRegression(C=1 / kept[-1], tol=1e-9, max_iter=10_000).fit(z[some], rows.y[some])
        assert np.abs(softmax(logits[asked]) - peer.predict_proba(z[asked])).max() < 0.01
    never = ~np.isin(row_of, np.concatenate([held for _, held in folds]))
    assert never.any() and np.isnan(logits[never]).all() and not np.isnan(logits[~never]).any()
    peer = LogisticRegression(C=1 / kept[-1], tol=1e-9, max_iter=10_000).fit(z, rows.y)
    assert np.abs(softmax(model.predict_logits(rows.texts)) - peer.predict_proba(z)).max() < 0.01


def test_names_that_were_seen_are_told_in_sentences_that_were_not(reader: Reader) -> None:
    sentences = marked(120, 1)
    rows, others = word_rows(sentences[:80]), word_rows(sentences[80:])
    model, logits = choose_words_probe(reader, rows, fold_rows(80))
    assert (model.module, model.cut) == (None, 4)
    guessed = model.predict_logits(others.texts).argmax(axis=1)
    marks = others.y > 0
    # Of a source with random weights; saying O everywhere tells none of them.
    assert (guessed == others.y)[marks].mean() > 0.5 and (guessed == others.y)[~marks].mean() > 0.9
    assert (logits.argmax(axis=1) == rows.y)[rows.y > 0].mean() > 0.5


def test_the_labels_of_held_out_words_do_not_reach_what_is_said_of_them(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, folds = word_rows(marked(30, 2)), fold_rows(30)
    monkeypatch.setattr(word_probe, "choose_layer", lambda *_: 4)
    monkeypatch.setattr(word_probe, "choose_strength", lambda *_: (0.1, None, ()))
    _, before = choose_words_probe(reader, rows, folds)
    held = np.isin(np.repeat(np.arange(30), rows.sizes), folds[0][1])
    turned = replace(rows, y=np.where(held, (rows.y + 1) % 5, rows.y))
    _, after = choose_words_probe(reader, turned, folds)
    assert (before[held] == after[held]).all() and not (before[~held] == after[~held]).any()


@settings(deadline=None, max_examples=60)
@given(sizes=st.lists(st.integers(1, 9), min_size=6, max_size=40), most=st.integers(1, 60))
def test_what_chooses_is_whole_rows_of_so_many_words_and_folds_among_them(sizes: list[int], most: int) -> None:
    n, row_of = len(sizes), np.repeat(np.arange(len(sizes)), sizes)
    rows = Rows(tuple(" ".join("a" * size) for size in sizes), np.zeros(sum(sizes), dtype=np.int64), 2, np.array(sizes), np.zeros(n))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(word_probe, "MOST_WORDS", most)
        words, pairs = word_probe._some(rows, fold_rows(n))
    chosen = np.unique(row_of[words])
    assert words.tolist() == np.flatnonzero(np.isin(row_of, chosen)).tolist()
    assert len(words) <= max(most, 2 * max(sizes)) and len(chosen) >= 2
    assert sum(sizes) > most or len(chosen) >= n - 1
    for train, held in pairs:
        parts = set(row_of[words[train]]), set(row_of[words[held]])
        assert not parts[0] & parts[1] and parts[0] | parts[1] == set(chosen)
        assert len(train) + len(held) == len(words)
        assert any(parts[1] <= set(fold) for _, fold in fold_rows(n))


def test_the_rung_fits_what_its_out_of_fold_model_is(reader: Reader) -> None:
    rung = get_strategy("probe", "ner")
    rows = word_rows(marked(24, 3))
    job = Job(rows, np.arange(24), fold_rows(24), Settings(task="ner"), 0, reader)
    assert rung.out_of_fold is not None and rung.reads is not None and rung.tunes_from is None
    model, logits = rung.out_of_fold(job)
    assert (rung.fit(job).predict_logits(rows.texts) == model.predict_logits(rows.texts)).all()
    assert not np.isnan(logits).any() and rung.reads(job) == (3, 4)
    assert (rung.name, rung.transfers, rung.needs_source) == ("probe", True, True)
