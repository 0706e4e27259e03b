"""Blocks above the cut tuned on pairs, then a head."""

from dataclasses import replace

import numpy as np

from headstart.backbone.reading import Reader
from headstart.settings import Precision, Settings
from headstart.strategies import schedule, training
from headstart.strategies.base import Rows
from headstart.strategies.contrastive import STRATEGY, tuned_on_pairs
from headstart.strategies.heads import fit_head, usual_strength
from headstart.strategies.ladder import Job
from headstart.strategies.tuned_heads import FIRMER, tuned_layers
from tiny import WORDS

SETTINGS = Settings(precision=Precision.FLOAT32, learning_rate=1e-3)


def job_on(reader, names=()):
    rng = np.random.default_rng(0)
    texts = tuple(f"{WORDS[k % 2]} {' '.join(rng.choice(WORDS[2:], 4))}" for k in range(24))
    return Job(Rows(texts, np.arange(24) % 2, 2, names=names), np.arange(24), [], SETTINGS, 0, reader, cut=1)


def apart(vectors, y):
    """Mean cosine of pairs of one class minus that of pairs of two, by loops."""
    unit = [v / np.linalg.norm(v) for v in vectors]
    pairs = [(y[i] == y[j], unit[i] @ unit[j]) for i in range(len(y)) for j in range(i)]
    return np.mean([cosine for same, cosine in pairs if same]) - np.mean([cosine for same, cosine in pairs if not same])


def test_rows_of_a_class_come_together_in_the_last_layer(tiny_backbone):
    reader = Reader(tiny_backbone("bert"), None, 4096)
    job = job_on(reader)
    model = STRATEGY.fit(job)
    before, after = reader.pooled(job.rows.texts)[:, -1], replace(model, layers=(reader.backbone.n_blocks,)).features(job.rows.texts)
    assert apart(after, job.rows.y) > apart(before, job.rows.y) + 0.3


def test_the_head_reads_the_mean_of_the_upper_layers_and_knows_the_names(tiny_backbone):
    reader = Reader(tiny_backbone("bert"), None, 4096)
    job = job_on(reader, names=(WORDS[0], WORDS[1]))
    model = STRATEGY.fit(job)
    blocks = reader.backbone.n_blocks
    assert model.layers == tuned_layers(blocks, 1)
    read = [replace(model, layers=(layer,)).features((*job.rows.texts, *job.rows.names)) for layer in model.layers]
    by_hand = fit_head(np.mean(read, axis=0), np.append(job.rows.y, [0, 1]), 2, strength=FIRMER * usual_strength(2))
    np.testing.assert_allclose(model.head.weight, by_hand.weight, rtol=1e-2, atol=1e-3)
    assert (model.predict_logits(job.rows.texts).argmax(axis=1) == job.rows.y).mean() > 0.9


def test_pairs_are_compared_in_batches_that_hold_each_class_as_often(tiny_backbone, monkeypatch):
    monkeypatch.setattr(schedule, "FEWEST_CONTRASTIVE_STEPS", 6)
    batches = []

    class Watched(training.GroupedBatches):
        def __iter__(self):
            for batch in super().__iter__():
                batches.append(batch)
                yield batch

    monkeypatch.setattr(training, "GroupedBatches", Watched)
    job, y = job_on(Reader(tiny_backbone("bert"), None, 4096)), np.repeat([0, 1], [20, 4])
    tuned_on_pairs(replace(job, rows=replace(job.rows, y=y), settings=replace(SETTINGS, epochs=1, batch_size=8)))
    assert len(batches) >= 6 and all(np.bincount(y[batch], minlength=2).tolist() == [4, 4] for batch in batches)
