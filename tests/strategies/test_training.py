"""Batches, losses, rates and stopping of training above the cut."""

from __future__ import annotations

import copy
import gc
import weakref
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.backbone.backbone import Backbone
from headstart.backbone.cut import Trunk
from headstart.backbone.reading import Reader, tokenize
from headstart.settings import Precision, Settings
from headstart.strategies import training
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.ladder import Job
from headstart.strategies.losses import Loss, contrastive_loss
from headstart.strategies.model import TransferModel
from headstart.strategies.schedule import Schedule
from headstart.strategies.training import TunedModel, stopping_rows, tune
from headstart.strategies.tuned_heads import start_head, tuned_layers
from tiny import HIDDEN, WORDS

Tiny = Callable[..., Backbone]
PLAN = Schedule(
    steps=4,
    batch_size=8,
    learning_rate=1e-3,
    head_rate=5e-3,
    layer_decay=0.5,
    warmup=0.0,
    weight_decay=0.01,
    precision=Precision.FLOAT32,
    seed=3,
)


def some_rows(n: int = 16, classes: int = 3) -> Rows:
    rng = np.random.default_rng(0)
    return Rows(tuple(" ".join(rng.choice(WORDS, length)) for length in rng.integers(1, 12, n)), np.arange(n) % classes, classes)


def some_head(classes: int = 3) -> LinearHead:
    rng = np.random.default_rng(1)
    return LinearHead(0.3 * rng.normal(size=(classes, HIDDEN)), 0.1 * rng.normal(size=classes))


# --- losses ---


@settings(deadline=None, max_examples=50)
@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=9), seed=st.integers(0, 99))
def test_the_contrastive_loss_is_that_of_a_loop_over_all_pairs(labels: list[int], seed: int) -> None:
    vectors = np.random.default_rng(seed).normal(size=(len(labels), 5))
    alike, unlike = [], []
    for i, a in enumerate(vectors):
        for j, b in enumerate(vectors):
            cosine = float(a @ b / np.sqrt(a @ a) / np.sqrt(b @ b))
            if i != j and labels[i] == labels[j]:
                alike.append((1 - cosine) ** 2)
            if labels[i] != labels[j]:
                unlike.append(cosine**2)
    wanted = sum(alike) / max(1, len(alike)) + sum(unlike) / max(1, len(unlike))
    pooled = torch.tensor(vectors, requires_grad=True)
    loss = contrastive_loss(pooled, torch.tensor(labels))
    assert float(loss.detach()) == pytest.approx(wanted, abs=1e-9)
    loss.backward()
    assert pooled.grad is not None and torch.isfinite(pooled.grad).all()


def fresh(backbone: Backbone, cut: int, class_weight: np.ndarray | None = None, loss: Loss = Loss.CROSS_ENTROPY) -> TunedModel:
    trunk = Trunk(copy.deepcopy(backbone.module), cut, backbone.above, stored=False)
    return TunedModel(trunk, Reader(backbone, None, 4096), (4,), some_head(), class_weight, loss)


@pytest.mark.parametrize("weight", [None, np.array([0.5, 1.0, 4.0])])
def test_class_weights_reach_the_loss_and_the_head_is_the_given_one(weight: np.ndarray | None, tiny_backbone: Tiny) -> None:
    backbone, rows = tiny_backbone("bert"), some_rows(5)
    model = fresh(backbone, 2, weight).eval()
    reader = Reader(backbone, None, 1)
    logits = some_head().logits(reader.pooled(rows.texts)[:, -1])
    each = -(logits - np.log(np.exp(logits).sum(axis=1, keepdims=True)))[np.arange(5), rows.y]
    counts = np.ones(5) if weight is None else weight[rows.y]
    items = [{"row": np.array(ids), "label": int(k)} for ids, k in zip(tokenize(backbone, rows.texts), rows.y, strict=True)]
    assert float(model(**training.collate(items))["loss"].detach()) == pytest.approx((counts * each).sum() / counts.sum(), rel=1e-5)


def test_both_losses_add_up(tiny_backbone: Tiny) -> None:
    backbone, rows = tiny_backbone("bert"), some_rows(6)
    items = [{"row": np.array(ids), "label": int(k)} for ids, k in zip(tokenize(backbone, rows.texts), rows.y, strict=True)]
    batch = training.collate(items)
    one, other, both = (
        float(fresh(backbone, 2, loss=loss)(**batch)["loss"].detach()) for loss in (Loss.CROSS_ENTROPY, Loss.PAIRS, Loss.BOTH)
    )
    assert one > 0 and other > 0 and both == pytest.approx(one + other, rel=1e-6)


def test_the_loss_of_words_is_the_mean_over_all_tokens_of_the_batch_that_bear_a_label(tiny_backbone: Tiny) -> None:
    backbone, rows = tiny_backbone("bert"), some_rows(6)
    rng = np.random.default_rng(2)
    states = Reader(backbone, None, 4096).activations(rows.texts, 4)
    labels = [np.where(rng.random(len(each)) < 0.5, rng.integers(0, 3, len(each)), -100) for each in states]
    labels[2][:] = -100  # a row without any
    items = [{"row": np.array(ids), "label": each} for ids, each in zip(tokenize(backbone, rows.texts), labels, strict=True)]
    y = np.concatenate(labels)
    logits, borne = some_head().logits(np.concatenate(states))[y >= 0], y[y >= 0]
    losses = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(borne)), borne]
    assert len({len(each) for each in states}) > 1 and len(losses) > 6  # there is padding, which bears none
    model = fresh(backbone, 2, loss=Loss.WORDS).eval()
    assert float(model(**training.collate(items))["loss"].detach()) == pytest.approx(losses.mean(), rel=1e-5)
    loss = model(**training.collate([items[2]]))["loss"]
    loss.backward()
    assert float(loss.detach()) == 0.0 and not model.head.weight.grad.any()


# --- rates ---


@pytest.mark.parametrize(("architecture", "cut"), [("bert", 0), ("bert", 2), ("llama", 0), ("llama", 3)])
def test_each_block_learns_at_the_rate_asked_for(architecture: str, cut: int, tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone(architecture)
    model = fresh(backbone, cut)
    # What the optimiser is made of, without a training run around it.
    trainer = object.__new__(training._Trainer)
    trainer.model, trainer.schedule = model, PLAN
    optimizer = trainer.create_optimizer()
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    assert len(rates) == sum(len(group["params"]) for group in optimizer.param_groups)
    learning = {id(p) for p in model.trunk.module.parameters() if p.requires_grad}
    head = {id(p) for p in model.head.parameters()}
    assert set(rates) == learning | head
    assert {rates[number] for number in head} == {(5e-3, 0.0)}
    for depth, parameter in model.trunk.learning(backbone.above):
        # The top block, 3, at the full rate, and so what comes after it; each one below at half the next higher one's; -1: embeddings.
        rate, decay = rates[id(parameter)]
        assert rate == pytest.approx(1e-3 * 0.5 ** (3 - min(depth, 3)))
        assert decay == (0.01 if parameter.ndim > 1 else 0.0)


def test_a_contrastive_loss_leaves_the_head_out_of_the_optimiser(tiny_backbone: Tiny) -> None:
    model = fresh(tiny_backbone("bert"), 2, loss=Loss.PAIRS)
    trainer = object.__new__(training._Trainer)
    trainer.model, trainer.schedule = model, PLAN
    held = {id(p) for group in trainer.create_optimizer().param_groups for p in group["params"]}
    assert not held & {id(p) for p in model.head.parameters()}


def test_rates_rise_over_the_warmup_and_fall_to_nothing(tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    rates, on_step_end = [], training._Watch.on_step_end

    def watched(self, args, state, control, **kwargs):
        rates.append(max(group["lr"] for group in kwargs["optimizer"].param_groups))
        on_step_end(self, args, state, control, **kwargs)

    monkeypatch.setattr(training._Watch, "on_step_end", watched)
    plan = replace(PLAN, steps=10, warmup=0.4)
    tune(Reader(tiny_backbone("bert"), None, 4096), some_rows(), cut=3, head=some_head(), schedule=plan)
    assert [rate / plan.head_rate for rate in rates] == pytest.approx([1 / 4, 2 / 4, 3 / 4, 1, 5 / 6, 4 / 6, 3 / 6, 2 / 6, 1 / 6, 0])


# --- whole runs ---


def test_the_same_seed_gives_the_same_model_and_another_seed_another(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    first, again, other = (tune(reader, some_rows(), cut=2, head=some_head(), schedule=replace(PLAN, seed=seed)) for seed in (5, 5, 6))
    texts = ["my card", "refund"]
    assert (first.predict_logits(texts) == again.predict_logits(texts)).all() and (first.head.weight == again.head.weight).all()
    assert not (first.predict_logits(texts) == other.predict_logits(texts)).all()


def test_what_a_training_took_is_given_back_when_it_is_over(tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once, not when Python next looks for garbage among everything: each training would else leave model and optimiser behind."""
    kept: list[weakref.ref[object]] = []
    for part in (training.TunedModel, training._Trainer, torch.optim.AdamW):
        begin = part.__init__

        def noting(self: object, *args: object, begin: Callable[..., None] = begin, **kwargs: object) -> None:
            kept.append(weakref.ref(self))
            begin(self, *args, **kwargs)

        monkeypatch.setattr(part, "__init__", noting)
    plan = replace(PLAN, precision=Precision.BFLOAT16)  # for which the model is wrapped
    gc.disable()
    try:
        model = tune(Reader(tiny_backbone("bert"), None, 4096), some_rows(), cut=2, head=some_head(), schedule=plan)
        assert [each() for each in kept] == [None] * 3
    finally:
        gc.enable()
    assert np.isfinite(model.predict_logits(["my card"])).all()


def test_stopping_keeps_the_best_weights_and_comes_after_the_patience(tiny_backbone: Tiny, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    reader = Reader(tiny_backbone("bert"), None, 4096)
    told = [1.0, 0.7, 0.4, 0.6, 0.5, 0.1]  # the first is the start's, before any pass
    heads, deep = [], []

    def validate(model: TunedModel) -> tuple[float, float]:
        heads.append(model.head.weight.detach().double().numpy().copy())
        deep.append(model.trunk.module.encoder.layer[3].output.dense.weight.detach().clone())
        return told[len(heads) - 1], 0.5

    plan = replace(PLAN, steps=20, patience=2)
    model = tune(reader, some_rows(), cut=2, head=some_head(), schedule=plan, validate=validate)
    assert len(heads) == 5  # the second pass was the best; two without a better one followed
    assert (model.head.weight == heads[2]).all() and not (model.head.weight == heads[4]).all()
    assert model.module is not None and torch.equal(model.module.encoder.layer[3].output.dense.weight, deep[2])
    judged = [point for point in model.curve if point.validation_loss is not None]
    assert [(point.step, point.validation_loss, point.validation_score) for point in judged] == [
        (2 * i, loss, 0.5) for i, loss in enumerate(told[:5])
    ]
    assert list(tmp_path.iterdir()) == []  # nothing is written beside the run


def test_a_training_that_only_makes_it_worse_gives_back_its_start(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    told = iter([0.1, 0.2, 0.3])
    plan = replace(PLAN, steps=20, patience=2)
    model = tune(
        Reader(backbone, None, 4096), some_rows(), cut=2, head=some_head(), schedule=plan, validate=lambda _model: (next(told), 0.5)
    )
    assert model.head.weight == pytest.approx(some_head().weight, abs=1e-7)
    assert model.module is not None
    before = backbone.module.state_dict()
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


def test_what_classes_are_called_is_learnt_as_further_rows(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    rows = some_rows()
    named = replace(rows, names=tuple(WORDS[:3]))
    by_hand = Rows((*rows.texts, *WORDS[:3]), np.concatenate([rows.y, [0, 1, 2]]), 3)
    plan = replace(PLAN, seed=5)
    heads = [tune(reader, each, cut=1, head=some_head(), schedule=plan).head.weight for each in (named, by_hand, rows)]
    assert np.array_equal(heads[0], heads[1]) and not np.allclose(heads[0], heads[2])
    starts = [start_head(some_job(16, reader), each, 1).weight for each in (named, by_hand, rows)]
    assert np.array_equal(starts[0], starts[1]) and not np.allclose(starts[0], starts[2])


@pytest.mark.parametrize(("loss", "layers"), [(Loss.PAIRS, (4,)), (Loss.BOTH, (3, 4)), (Loss.CROSS_ENTROPY, (3, 4))])
def test_pairs_alone_are_compared_in_the_last_layer(loss: Loss, layers: tuple[int, ...], tiny_backbone: Tiny, monkeypatch) -> None:
    read = []
    pooled = training.mean_pooled

    def watched(trunk, entering, mask, layers, pooling):
        read.append(layers)
        return pooled(trunk, entering, mask, layers, pooling)

    monkeypatch.setattr(training, "mean_pooled", watched)
    model = tune(Reader(tiny_backbone("bert"), None, 4096), some_rows(), cut=2, head=some_head(), schedule=PLAN, loss=loss)
    assert set(read) == {layers} and model.layers == layers


def test_training_rows_are_learned_from_the_given_head(tiny_backbone: Tiny) -> None:
    rows = some_rows(12, 2)
    model = tune(Reader(tiny_backbone("bert"), None, 4096), rows, cut=2, head=some_head(2), schedule=replace(PLAN, steps=40))
    losses = [point.train_loss for point in model.curve if point.train_loss is not None]
    assert losses[-1] < 0.7 * losses[0]
    assert (model.predict_logits(rows.texts).argmax(axis=1) == rows.y).mean() > 0.7
    assert abs(model.head.weight - some_head(2).weight).max() < 0.3


def test_a_training_in_bfloat16_is_one(tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    seen, forward = [], TunedModel.forward

    def watched(self, entering, mask, labels):
        seen.append(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu") is torch.bfloat16)
        return forward(self, entering, mask, labels)

    monkeypatch.setattr(TunedModel, "forward", watched)
    for precision in (Precision.BFLOAT16, Precision.FLOAT32):
        plan = replace(PLAN, steps=1, precision=precision)
        tune(Reader(tiny_backbone("bert"), None, 4096), some_rows(), cut=3, head=some_head(), schedule=plan)
    assert seen == [True, False]


def test_numbers_are_told_in_their_own_unit_before_and_after_training(tiny_backbone: Tiny) -> None:
    """A training at next to no rate leaves the head that it began with, whatever the mean and the spread of the numbers."""
    rng = np.random.default_rng(0)
    rows = replace(some_rows(), y=500.0 + 20.0 * rng.normal(size=(16, 1)), n_classes=1)
    head = LinearHead(rng.normal(size=(1, HIDDEN)), np.array([480.0]))
    plan = replace(PLAN, steps=2, learning_rate=1e-12, head_rate=1e-12, weight_decay=0.0)
    model = tune(Reader(tiny_backbone("bert"), None, 4096), rows, cut=3, head=head, schedule=plan, loss=Loss.SQUARED)
    np.testing.assert_allclose(model.head.weight, head.weight, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(model.head.bias, head.bias, rtol=1e-5)


@pytest.mark.parametrize(
    ("blocks", "cut", "layers"), [(6, 0, (4, 5, 6)), (6, 2, (4, 5, 6)), (6, 4, (5, 6)), (6, 5, (6,)), (12, 4, (7, 8, 9, 10, 11, 12))]
)
def test_a_tuned_head_reads_the_upper_half_as_far_as_it_lies_above_the_cut(blocks: int, cut: int, layers: tuple[int, ...]) -> None:
    assert tuned_layers(blocks, cut) == layers


def test_training_begins_with_a_head_that_fits_the_frozen_layers(tiny_backbone: Tiny) -> None:
    backbone = tiny_backbone("bert")
    job = some_job(60, Reader(backbone, None, 4096))
    head = start_head(job, job.rows, 2)
    untouched = TransferModel(job.source, copy.deepcopy(backbone.module), 2, tuned_layers(4, 2), head)
    features = job.source.pooled(job.rows.texts)[:, 3:].mean(axis=1)
    np.testing.assert_allclose(untouched.predict_logits(job.rows.texts), head.logits(features), rtol=1e-3, atol=1e-4)
    assert (head.logits(features).argmax(axis=1) == job.rows.y).mean() > 0.5


# --- from a job ---


def some_job(n: int, reader: Reader | None = None) -> Job:
    return Job(some_rows(n), np.arange(n), [], Settings(precision=Precision.FLOAT32, layer_decay=0.7, patience=4), seed=11, reader=reader)


def test_few_rows_all_train() -> None:
    few = some_job(training.STOPPING_FROM - 1)
    rows, validate = stopping_rows(few)
    assert rows is few.rows and validate is None


def test_rows_set_aside_to_stop_by_are_of_other_groups_and_are_judged_with_the_class_weights(
    tiny_backbone: Tiny, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(training, "STOPPING_FROM", 120)
    backbone, weight, groups = tiny_backbone("bert"), np.array([0.5, 1.0, 4.0]), np.arange(120) // 2
    texts = tuple(f"{WORDS[i % len(WORDS)]} {WORDS[i // len(WORDS)]} {i}" for i in range(120))
    job = replace(some_job(120, Reader(backbone, None, 4096)), rows=Rows(texts, groups % 3, 3), groups=groups, class_weight=weight)
    rows, validate = stopping_rows(job)
    assert validate is not None and 0.85 < len(rows) / 120 < 0.95
    learnt = set(rows.texts)
    held = [i for i, text in enumerate(texts) if text not in learnt]
    assert len(held) == 120 - len(rows) and not {i // 2 for i in held} & {int(text.split()[-1]) // 2 for text in rows.texts}
    loss, score = validate(fresh(backbone, 2))
    logits, y = some_head().logits(job.source.pooled([texts[i] for i in held])[:, 4]), job.rows.y[held]
    each = np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(held)), y]
    assert loss == pytest.approx((weight[y] * each).sum() / weight[y].sum(), rel=1e-4)
    assert score == pytest.approx((logits.argmax(axis=1) == y).mean())


def test_a_training_that_diverges_says_so(tiny_backbone: Tiny) -> None:
    reader = Reader(tiny_backbone("bert"), None, 4096)
    with pytest.raises(FloatingPointError) as caught:
        tune(reader, some_rows(), cut=2, head=some_head(), schedule=replace(PLAN, learning_rate=1e38))
    assert str(caught.value) == "its weights grew beyond all numbers"


@pytest.mark.parametrize(("gpus", "used"), [(0, 0), (1, 1), (4, 1)])
def test_of_several_gpus_one_is_used(gpus, used, monkeypatch):
    plan = Schedule(3, 4, 1e-3, 1e-3, layer_decay=1.0, warmup=0.1, weight_decay=0.0, precision=Precision.FLOAT32, seed=0)
    monkeypatch.setattr(training.TrainingArguments, "n_gpu", property(lambda _: gpus))
    assert training._arguments(plan)._n_gpu == used
