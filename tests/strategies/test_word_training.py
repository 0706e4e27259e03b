"""Training of words above the cut: which token bears which label, when it stops, and the rungs that are trained so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch

from headstart.backbone.backbone import Backbone, find_blocks
from headstart.backbone.reading import Reader, tokenize
from headstart.settings import Precision, Settings
from headstart.strategies import schedule, training, word_training
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.model import NO_LABEL, TransferModel
from headstart.strategies.schedule import Schedule, planned_steps
from headstart.strategies.training import tune
from headstart.strategies.word_model import WordModel
from headstart.strategies.word_training import fit_words, random_words, token_rows, tune_words
from small import FAMILIES, PEOPLE, PLACES, marked, word_rows
from tiny import HIDDEN

Tiny = Callable[..., Backbone]
NAMES = (*PEOPLE, *FAMILIES, *(word for place in PLACES for word in place))
DROPPED = "\u0301"
PLAN = Schedule(
    steps=4,
    batch_size=4,
    learning_rate=1e-3,
    head_rate=5e-3,
    layer_decay=0.9,
    warmup=0.0,
    weight_decay=0.01,
    precision=Precision.FLOAT32,
    seed=3,
)
HEAD = LinearHead(np.random.default_rng(1).normal(size=(5, HIDDEN)) * 0.3, np.array([0.1, -0.2, 0.3, 0.0, 0.5]))


@pytest.fixture
def reader(tiny_backbone: Tiny) -> Reader:
    return Reader(tiny_backbone("bert", words=NAMES), None, 4096)


@pytest.fixture
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schedule, "FEWEST_WORD_STEPS", 4)


def a_job(reader: Reader, n: int = 24, seed: int = 0, **settings: object) -> Job:
    asked = Settings(task="ner", epochs=1, batch_size=32, precision=Precision.FLOAT32, **settings)  # type: ignore[arg-type]
    return Job(word_rows(marked(n, 1)), np.arange(n), [], asked, seed, reader, cut=2)


# --- rows of tokens ---


@pytest.mark.parametrize("architecture", ["bert", "roberta", "gpt2", "llama"])
def test_the_first_token_of_a_word_bears_its_label_and_no_other_token_any(architecture: str, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    sentences = marked(12, 1)
    rows = word_rows(sentences)
    tokens = token_rows(Reader(backbone, None, 4096), rows)
    assert tokens.texts == rows.texts and tokens.strata.tolist() == rows.strata.tolist() and tokens.n_classes == 5
    starts = np.cumsum(rows.sizes) - rows.sizes
    wanted: list[int] = []
    for (words, _), start in zip(sentences, starts, strict=True):
        before = None
        for number in backbone.tokenizer(list(words), is_split_into_words=True).word_ids():
            wanted.append(NO_LABEL if number is None or number == before else rows.y[start + number])
            before = number
    assert len(wanted) > len(rows.y) + 12  # names are several tokens here
    assert tokens.y.tolist() == wanted
    assert tokens.sizes.tolist() == [len(ids) for ids in tokenize(backbone, rows.texts)]


def test_each_word_of_a_long_text_bears_its_label_once_and_a_word_without_a_token_none(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    texts = ("a b", " ".join(["card", "unbelievable", DROPPED, "lost"] * 15), DROPPED)
    y = np.arange(63) % 5
    tokens = token_rows(Reader(backbone, None, 4096), Rows(texts, y, 5, np.array([2, 60, 1]), np.array([0, 2, 1])))
    assert len(tokens) > 5 and tokens.strata.tolist() == [0, *[2] * (len(tokens) - 2), 1]
    read = [k for k, word in zip(y, " ".join(texts).split(" "), strict=True) if word != DROPPED]
    assert tokens.y[tokens.y != NO_LABEL].tolist() == read
    assert tokens.sizes.tolist() == [len(ids) for ids in tokenize(backbone, tokens.texts)]


# --- training ---


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "deberta-v2"])
def test_stored_activations_give_the_losses_and_the_model_that_running_the_frozen_blocks_gives(
    architecture: str, tiny_backbone: Tiny
) -> None:
    reader, rows = Reader(tiny_backbone(architecture), None, 4096), word_rows(marked(12, 1))
    one, other = (tune_words(reader, rows, cut=2, head=HEAD, schedule=PLAN, stored=stored) for stored in (True, False))
    losses = [[point.train_loss for point in model.curve] for model in (one, other)]
    assert len(losses[0]) == 4 and losses[0][-1] != losses[0][0]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    np.testing.assert_allclose(one.head.weight, other.head.weight, atol=1e-4)
    assert one.module is not None and other.module is not None
    np.testing.assert_allclose(one.predict_logits(rows.texts), other.predict_logits(rows.texts), atol=5e-3)


def test_one_seed_gives_one_model_and_another_seed_another(reader: Reader, few_steps: None) -> None:
    first, again, other = (fit_words(a_job(reader, seed=seed), "partial", 2) for seed in (5, 5, 6))
    texts = ["my card in paris", "refund"]
    assert (first.head.weight == again.head.weight).all()
    assert first.module is not None and again.module is not None
    same = again.module.state_dict()
    assert all(torch.equal(weight, same[name]) for name, weight in first.module.state_dict().items())
    assert (first.predict_logits(texts) == again.predict_logits(texts)).all()
    assert not (first.predict_logits(texts) == other.predict_logits(texts)).all()


def test_training_makes_the_loss_of_its_own_words_small(reader: Reader) -> None:
    rows = word_rows(marked(16, 1))
    model = tune_words(reader, rows, cut=2, head=HEAD, schedule=replace(PLAN, steps=60, learning_rate=3e-3, head_rate=1e-2))
    losses = [point.train_loss for point in model.curve]
    assert losses[-1] < 0.3 * losses[0]
    assert (model.predict_logits(rows.texts).argmax(axis=1) == rows.y).mean() > 0.9


def test_a_text_of_which_nothing_is_read_spoils_no_training(reader: Reader) -> None:
    """A batch without any label has no mean loss; it must not count."""
    rows = Rows((DROPPED, f"{DROPPED} {DROPPED}"), np.array([0, 1, 1]), 5, np.array([1, 2]), np.array([0, 1]))
    model = tune_words(reader, rows, cut=2, head=HEAD, schedule=replace(PLAN, weight_decay=0.0))
    assert [point.train_loss for point in model.curve] == [0.0] * 4
    assert model.head.weight == pytest.approx(HEAD.weight, abs=1e-7)
    assert model.module is not None
    before = reader.backbone.module.state_dict()
    assert all(torch.equal(weight, before[name]) for name, weight in model.module.state_dict().items())


# --- beginning and end ---


def test_training_begins_with_a_head_that_takes_all_classes_for_equally_likely(reader: Reader, monkeypatch, few_steps: None) -> None:
    begun = []

    def watched(*args: object, head: LinearHead, **named: object) -> TransferModel:
        begun.append(head)
        return tune(*args, head=head, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(word_training, "tune", watched)
    fit_words(a_job(reader), "partial", 2)
    assert begun[0].weight.shape == (5, HIDDEN) and not begun[0].weight.any() and not begun[0].bias.any()


def test_however_many_rows_there_are_all_train_and_to_the_end(reader: Reader, monkeypatch, few_steps: None) -> None:
    monkeypatch.setattr(training, "STOPPING_FROM", 20)
    job = a_job(reader, 40, patience=1)
    told: list[int] = []
    monkeypatch.setattr(word_training, "token_rows", lambda reader, rows: (told.append(len(rows)), token_rows(reader, rows))[1])
    for fit in (lambda: fit_words(job, "partial", 2), lambda: random_words(job, 1e-3)):
        model = fit()
        assert told.pop() == 40 and all(point.validation_loss is None for point in model.curve)
        assert model.curve[-1].step == planned_steps("partial", 40, job.settings)


# --- the rungs ---


def changed(model: WordModel, reader: Reader) -> set[str]:
    """Which parts of the source learnt: the numbers of blocks, and `below` for what stands under them."""
    assert model.module is not None
    before = dict(reader.backbone.module.named_parameters())
    blocks = {id(weight): str(k) for k, block in enumerate(find_blocks(model.module)) for weight in block.parameters()}
    return {
        blocks.get(id(weight), "below")
        for name, weight in model.module.named_parameters()
        if "pooler" not in name and not torch.equal(weight, before[name])
    }


@pytest.mark.parametrize(
    ("name", "cut", "learnt"), [("partial", 2, {"2", "3"}), ("partial", 3, {"3"}), ("full", 0, {"below", "0", "1", "2", "3"})]
)
def test_a_rung_trains_the_blocks_from_its_cut_on(name: str, cut: int, learnt: set[str], reader: Reader, few_steps: None) -> None:
    rung = get_strategy(name, "ner")
    job = replace(a_job(reader), cut=cut if name == "partial" else 3)
    assert rung.tunes_from is not None and rung.tunes_from(job) == cut
    assert (rung.name, rung.transfers, rung.needs_source, rung.out_of_fold) == (name, True, True, None)
    model = rung.fit(job)
    assert isinstance(model, WordModel) and (model.cut, model.layer) == (cut, 4)
    assert changed(model, reader) == learnt


def test_random_weights_are_no_transfer_and_the_seed_alone_decides_them(reader: Reader, few_steps: None) -> None:
    rung = get_strategy("scratch", "ner")
    assert (rung.transfers, rung.needs_source) == (False, True)
    assert rung.tunes_from is not None and rung.tunes_from(a_job(reader)) == 0
    # The source itself was made at random from seed 0.
    models = [rung.fit(a_job(reader, seed=7)), random_words(a_job(reader, seed=7), 1e-6), random_words(a_job(reader, seed=8), 1e-6)]
    assert isinstance(models[0], WordModel) and (models[0].cut, models[0].layer) == (0, 4)
    weights = [model.module.embeddings.word_embeddings.weight for model in models]
    # The first learnt a little, at its own rate.
    assert torch.allclose(weights[0], weights[1], atol=0.01) and not torch.equal(weights[0], weights[1])
    assert not torch.allclose(weights[1], weights[2], atol=0.01)
    assert not torch.allclose(weights[1], reader.backbone.module.embeddings.word_embeddings.weight, atol=0.01)


def test_a_rung_takes_the_steps_that_are_planned_for_its_rows(reader: Reader, few_steps: None) -> None:
    job = a_job(reader, 15)
    model = fit_words(replace(job, settings=replace(job.settings, epochs=24)), "partial", 3)
    # Four steps for up to sixty rows; six times as many for six times the passes, half of it for a fourth of the rows.
    assert model.curve[-1].step == 12
