"""How a rung is calibrated."""

import numpy as np
import pytest

from headstart.cost import CostModel
from headstart.rungs import Rung, calibration_of, trial_seconds
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy


def test_a_light_rung_on_words_costs_by_words_and_not_by_sentences():
    def seconds(sizes):
        words = sum(sizes)
        rows = Rows(("a b",) * len(sizes), np.arange(words) % 2, 2, np.array(sizes))
        job = Job(rows, np.arange(len(sizes)), [], Settings(task="ner"), 0)
        return trial_seconds(Rung(get_strategy("crf", "ner"), None, job, 20.0), CostModel(1e11, 1e11))

    base = seconds([0] * 10)
    assert seconds([30] * 10) - base == pytest.approx(3 * (seconds([10] * 10) - base), rel=0.02)


def test_labels_are_given_above_the_line_that_is_best_on_rows_that_were_held_out():
    rng = np.random.default_rng(0)
    y = (rng.random((120, 3)) < 0.2).astype(np.int64)
    logits = 3.0 * (rng.normal(size=(120, 3)) + 4.0 * y - 5.0)  # too sure, and the line lies far below zero
    rows = Rows(tuple(map(str, range(120))), y, 3, kinds=np.zeros(120, dtype=np.int64))
    job = Job(rows, np.arange(120), [], Settings(task="multilabel", metric=Metric.MICRO_F1), 0)
    calibration = calibration_of(Rung(get_strategy("probe"), None, job, 20.0), logits)

    def f1(given):
        return 2 * (given & (y > 0)).sum() / (given.sum() + y.sum())

    assert f1(calibration.of(logits) > 0) == pytest.approx(max(f1(logits > line) for line in np.unique(logits)[:-1]))
    assert calibration.factor < 0.9 and calibration.shift > 1.0 and f1(logits > 0) < 0.6
