"""The light rungs that draw the label curve."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.backbone.reading import Reader
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.tasks import light_rungs
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
