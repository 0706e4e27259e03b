"""The head that a tuned model ends with: fitted on what the tuned blocks make of all rows."""

import copy
from dataclasses import replace

import numpy as np
import pytest

from headstart.backbone.reading import Reader
from headstart.settings import Precision, Settings
from headstart.strategies import gradual, lora, partial, training
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.heads import fit_head, usual_strength
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.tuned_heads import FIRMER, start_head, tuned_layers, with_fitted_head
from tiny import WORDS

SETTINGS = Settings(precision=Precision.FLOAT32, learning_rate=1e-3, epochs=1)


def job_on(reader, *, n=24, names=(), seed=0):
    rng = np.random.default_rng(seed)
    texts = tuple(f"{WORDS[k % 2]} {' '.join(rng.choice(WORDS[2:], 4))}" for k in range(n))
    return Job(Rows(texts, np.arange(n) % 2, 2, names=names), np.arange(n), [], SETTINGS, 0, reader, cut=1)


@pytest.mark.parametrize("rung", ["partial", "full", "contrastive", "soup", "lora", "gradual"])
def test_the_head_of_every_tuned_rung_is_fitted_on_its_own_features_of_texts_and_names(rung, tiny_backbone):
    job = job_on(Reader(tiny_backbone("bert"), None, 4096), names=(WORDS[0], WORDS[1]))
    model = get_strategy(rung).fit(job)
    features = model.features((*job.rows.texts, *job.rows.names))
    by_hand = fit_head(features, np.append(job.rows.y, [0, 1]), 2, strength=FIRMER * usual_strength(2))
    np.testing.assert_allclose(model.head.weight, by_hand.weight, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(model.head.bias, by_hand.bias, rtol=1e-2, atol=1e-3)


def test_rows_that_were_set_aside_for_early_stopping_are_learnt_by_the_head(tiny_backbone, monkeypatch):
    monkeypatch.setattr(training, "STOPPING_FROM", 20)
    job = job_on(Reader(tiny_backbone("bert"), None, 4096), n=60)
    model = get_strategy("partial").fit(job)
    assert any(point.validation_loss is not None for point in model.curve)
    strength = FIRMER * usual_strength(2)
    by_hand = fit_head(model.features(job.rows.texts), job.rows.y, 2, strength=strength)
    np.testing.assert_allclose(model.head.weight, by_hand.weight, rtol=1e-2, atol=1e-3)


def test_heads_of_several_labels_and_of_numbers_stay_as_they_learnt(tiny_backbone):
    reader = Reader(tiny_backbone("bert"), None, 4096)
    job = job_on(reader, n=40)
    head = LinearHead(np.ones((1, reader.backbone.width)), np.zeros(1))
    tuned = TransferModel(reader, None, reader.backbone.n_blocks, (4,), head)
    for y in (np.ones((40, 1), dtype=np.int8), np.linspace(0.0, 1.0, 40)[:, None]):
        assert with_fitted_head(tuned, replace(job, rows=Rows(job.rows.texts, y, 1))) is tuned


@pytest.mark.parametrize("rung", [partial, lora, gradual])
def test_tuning_begins_from_a_head_that_knows_no_row_that_stops_it(rung, tiny_backbone, monkeypatch):
    """A head that was fitted on the validation rows would do better on them than any pass, and training would be undone."""
    monkeypatch.setattr(training, "STOPPING_FROM", 20)
    job = job_on(Reader(tiny_backbone("bert"), None, 4096), n=60)
    train, validate = training.stopping_rows(job)
    assert validate is not None and len(train) < 60
    given = []

    def noted(job, rows, cut):
        given.append(rows.texts)
        return start_head(job, rows, cut)

    monkeypatch.setattr(rung, "start_head", noted)
    rung.STRATEGY.fit(job)
    assert given == [train.texts]


def test_the_head_that_tuning_begins_from_is_that_of_the_given_rows(tiny_backbone):
    reader = Reader(tiny_backbone("bert"), None, 4096)
    job = job_on(reader, n=60)
    some = job.rows.take(np.arange(20))
    features = reader.pooled(some.texts)[:, list(tuned_layers(reader.backbone.n_blocks, 1))].mean(axis=1)
    np.testing.assert_allclose(start_head(job, some, 1).weight, fit_head(features, some.y, 2).weight, rtol=1e-4, atol=1e-6)


def test_heads_of_tuned_rungs_weigh_the_classes(tiny_backbone):
    reader, weight, y = Reader(tiny_backbone("bert"), None, 4096), np.array([0.3, 5.0]), np.repeat([0, 1], [34, 6])
    job = job_on(reader, n=40)
    job = replace(job, rows=replace(job.rows, y=y), class_weight=weight)
    without, head = replace(job, class_weight=None), LinearHead(np.zeros((2, reader.backbone.width)), np.zeros(2))
    tuned = TransferModel(reader, copy.deepcopy(reader.backbone.module), 1, (3, 4), head)
    by_hand = fit_head(tuned.features(job.rows.texts), y, 2, strength=FIRMER * usual_strength(2), class_weight=weight)
    np.testing.assert_allclose(with_fitted_head(tuned, job).head.bias, by_hand.bias, rtol=1e-2, atol=1e-3)
    assert not np.allclose(with_fitted_head(tuned, without).head.bias, by_hand.bias, rtol=0.1)
    begun = fit_head(reader.pooled(job.rows.texts)[:, 3:].mean(axis=1), y, 2, class_weight=weight)
    np.testing.assert_allclose(start_head(job, job.rows, 1).bias, begun.bias, rtol=1e-2, atol=1e-3)
    assert not np.allclose(start_head(without, job.rows, 1).bias, begun.bias, rtol=0.1)
