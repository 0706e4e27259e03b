"""The light rungs that draw the label curve."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.backbone.reading import Reader
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.tasks import light_rungs
from headstart.tasks.label_judge import LabelJudge
from headstart.tasks.light_rungs import probe_and_tfidf
from tiny import WORDS


@pytest.mark.parametrize("rung", ["probe", "tfidf"])
def test_every_point_of_the_curve_is_learnt_with_the_names_of_the_classes(rung, tiny_backbone, monkeypatch):
    monkeypatch.setattr(light_rungs, "few_folds", lambda strata, groups, seed: [])  # the usual penalty, whatever the rows
    rng = np.random.default_rng(0)
    y = np.arange(20) % 2
    rows = Rows(tuple(" ".join(rng.choice(WORDS[20 * k : 20 * k + 20], 5)) for k in y), y, 2)
    names = (WORDS[0], WORDS[-1])
    by_hand = Rows((*rows.texts, *names), np.append(y, [0, 1]), 2)
    train, held = np.arange(12), np.arange(12, 20)

    def said(given, learnt):
        reader = Reader(tiny_backbone("bert"), None, 4096)
        return probe_and_tfidf(given, np.arange(len(given)), reader, Settings())(rung, learnt, held)

    found = said(replace(rows, names=names), train)
    assert found.shape == (8, 2)
    np.testing.assert_allclose(found, said(by_hand, np.append(train, [20, 21])), rtol=1e-5, atol=1e-6)
    assert not np.allclose(found, said(rows, train))


@pytest.mark.parametrize("rung", ["probe", "tfidf"])
def test_the_curve_is_of_rungs_with_the_class_weights_of_the_run(rung, tiny_backbone, monkeypatch):
    monkeypatch.setattr(light_rungs, "few_folds", lambda strata, groups, seed: [])
    rng = np.random.default_rng(1)
    y = np.repeat([0, 1], [40, 8])
    rows = Rows(tuple(" ".join(rng.choice(WORDS[:40], 5)) for _ in y), y, 2)
    train, held = np.arange(48), np.arange(48)

    def rare_share(metric):
        reader = Reader(tiny_backbone("bert"), None, 4096)
        said = probe_and_tfidf(rows, np.arange(48), reader, Settings(metric=metric))(rung, train, held)
        return np.exp(said[:, 1] - np.logaddexp(said[:, 0], said[:, 1])).mean()

    assert rare_share(Metric.ACCURACY) == pytest.approx(8 / 48, abs=0.02)  # a head with a free bias meets the shares that it is given
    assert rare_share(Metric.MACRO_F1) > 1.3 * rare_share(Metric.ACCURACY)


@pytest.mark.parametrize("rung", ["probe", "tfidf"])
def test_the_curve_of_several_labels_is_drawn_at_the_line_of_its_own_training_rows(rung, tiny_backbone, monkeypatch):
    """Labels so rare that hardly any output is above zero: F1 at the line of the folds is far above that at zero."""
    rng = np.random.default_rng(0)
    y = (rng.random((160, 3)) < 0.12).astype(np.int64)
    texts = tuple(" ".join([*(WORDS[k] for k in np.flatnonzero(row)), *rng.choice(WORDS[10:], 6)]) for row in y)
    rows = Rows(texts, y, 3, kinds=(y.argmax(axis=1) + 1) * y.any(axis=1))
    asked = Settings(task="multilabel", metric=Metric.MICRO_F1)
    predict_at = probe_and_tfidf(rows, np.arange(160), Reader(tiny_backbone("bert"), None, 4096), asked)
    lines, line = [], light_rungs._line
    monkeypatch.setattr(light_rungs, "_line", lambda logits, some: lines.append(line(logits, some)) or lines[-1])
    held = np.arange(120, 160)
    said = predict_at(rung, np.arange(120), held)
    [drawn] = lines
    at_the_line, at_zero = (LabelJudge().score(Metric.MICRO_F1, outputs, rows.take(held)) for outputs in (said, said + drawn))
    assert drawn < -0.3 and at_the_line > at_zero + 0.05


@pytest.mark.parametrize("rung", ["probe", "tfidf"])
def test_no_point_of_the_curve_knows_a_row_that_it_tells(rung, tiny_backbone):
    """Turning the labels of held-out rows round changes nothing that is said of them."""
    rng, y, said = np.random.default_rng(0), np.arange(40) % 2, []
    texts = tuple(" ".join(rng.choice(WORDS, 5)) for _ in y)
    train, held = np.arange(30), np.arange(30, 40)
    for turn in (0, 1):
        rows = Rows(texts, np.append(y[train], (y[held] + turn) % 2), 2)
        said.append(probe_and_tfidf(rows, np.arange(40), Reader(tiny_backbone("bert"), None, 4096), Settings())(rung, train, held))
    np.testing.assert_array_equal(said[0], said[1])
