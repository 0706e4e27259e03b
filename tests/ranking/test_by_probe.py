"""The figures of a source for tasks without closed forms, on a tiny source."""

import random

import numpy as np
import pytest

from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.ranking import by_probe
from headstart.ranking.task import make_task
from headstart.rungs import Rung, calibration_of
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from headstart.strategies import spans
from headstart.strategies.ladder import Job, get_strategy
from headstart.target import read_target
from headstart.tasks.registry import deciding_metric, get_task
from small import asked, write_asked
from tiny import make_tiny


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """A task of questions, some half of them without an answer in their context, and a reader that knows no colours."""
    folder = tmp_path_factory.mktemp("by_probe")
    make_tiny(folder / "bert", "bert", blocks=2)
    rng = random.Random(1)
    rows = [(question, context, () if rng.random() < 0.4 else given) for question, context, given in asked(60, 1, without=True, words=20)]
    settings = make_settings({"task": "qa", "source": [str(folder / "bert")], "resamples": 100})
    task = make_task(read_target(write_asked(folder / "asked.json", rows), settings), settings)
    return task, Reader(load_backbone(resolve_source(str(folder / "bert")), settings.max_length, pairs=True), None, 4096)


def test_where_the_line_of_no_answer_lies_moves_margins_and_no_score(questions):
    task, reader = questions
    probe = get_strategy("probe", "qa")
    job = Job(task.rows, task.groups, list(task.folds), task.settings, 0, reader=reader)
    assert probe.out_of_fold is not None
    raw = probe.out_of_fold(job)[1]
    shift = calibration_of(Rung(probe, None, job, 1.0), raw).shift
    held, _ = by_probe.held_by_probe(task, reader)
    assert abs(shift) > 0.01
    np.testing.assert_array_equal(held[:, 1:], raw[:, 1:])
    np.testing.assert_allclose(held[:, 0], raw[:, 0] + shift)
    judge, metric = get_task("qa").judge, deciding_metric(task.settings)
    assert judge.score(metric, raw, task.rows) <= judge.score(metric, held, task.rows) <= 1.0


def test_the_curve_is_drawn_of_the_answers_that_are_looked_for(questions, monkeypatch):
    task, reader = questions
    whole = by_probe.drawn_out(task, reader)
    monkeypatch.setattr(spans, "MOST_COMPARED", 400)  # characters of each fold: a few contexts of a hundred
    some = by_probe.drawn_out(task, reader)
    assert np.isfinite([*whole, *some]).all() and some != whole
