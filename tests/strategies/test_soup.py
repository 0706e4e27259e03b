"""Two trainings of all blocks and the mean of their weights."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.backbone.reading import Reader
from headstart.settings import Precision, Settings
from headstart.strategies import resuming, schedule, training
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.strategies.soup import PARTS
from tiny import WORDS

SETTINGS = Settings(precision=Precision.FLOAT32, learning_rate=1e-3, epochs=1)


def job_on(reader, logs=None):
    rng = np.random.default_rng(0)
    texts = tuple(f"{WORDS[k % 2]} {' '.join(rng.choice(WORDS[2:], 4))}" for k in range(24))
    return Job(Rows(texts, np.arange(24) % 2, 2), np.arange(24), [], SETTINGS, 0, reader, cut=2, logs=logs)


def weights_of(model):
    return {name: tensor.double().numpy() for name, tensor in model.module.state_dict().items() if tensor.is_floating_point()}


def test_every_weight_is_the_mean_of_what_the_two_rungs_make_of_it(tiny_backbone, monkeypatch):
    monkeypatch.setattr(schedule, "FEWEST_CONTRASTIVE_STEPS", 4)
    reader = Reader(tiny_backbone("bert"), None, 4096)
    job = job_on(reader)
    soup = weights_of(get_strategy("soup").fit(job))
    alone = [weights_of(get_strategy(name).fit(replace(job, cut=0))) for name in PARTS]
    source = {name: tensor.double().numpy() for name, tensor in reader.backbone.module.state_dict().items()}
    changed = 0
    for name, weight in soup.items():
        one, other = (weights[name] for weights in alone)
        np.testing.assert_allclose(weight, (one + other) / 2, rtol=0, atol=1e-6)
        changed += not np.allclose(one, other, rtol=0, atol=1e-5)
        if np.array_equal(one, other):  # what neither tunes stays the source's to the last digit
            np.testing.assert_array_equal(weight, source[name])
    assert changed > 10


def test_each_training_logs_apart_and_their_curves_follow_one_another(tiny_backbone, tmp_path, monkeypatch):
    monkeypatch.setattr(schedule, "FEWEST_CONTRASTIVE_STEPS", 4)
    model = get_strategy("soup").fit(job_on(Reader(tiny_backbone("bert"), None, 4096), tmp_path))
    assert sorted(place.name for place in tmp_path.iterdir()) == sorted(PARTS)
    assert all(list((tmp_path / part).glob("events*")) for part in PARTS)
    steps = [point.step for point in model.curve]
    assert steps == sorted(steps) and steps[-1] == 1 + 4  # one pass of 24 rows is a step


@pytest.mark.parametrize("stop", [2, 4 + 3])
def test_stopped_in_either_training_it_goes_on_with_both(tiny_backbone, tmp_path, monkeypatch, stop):
    """Of as many steps each, from the same weights, on the same rows: what is kept of one is not taken for the other's."""
    monkeypatch.setattr(schedule, "FEWEST_CONTRASTIVE_STEPS", 4)
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "_SHARE", float("inf"))
    taken, last = [], None

    def on_step_begin(self, args, state, control, **kwargs):
        if len(taken) == last:
            raise KeyboardInterrupt
        taken.append(state.global_step)

    monkeypatch.setattr(training._Watch, "on_step_begin", on_step_begin, raising=False)
    job = job_on(Reader(tiny_backbone("bert"), None, 4096))
    job = replace(job, settings=replace(SETTINGS, epochs=4))
    whole = get_strategy("soup").fit(job)
    assert taken == [0, 1, 2, 3] * 2
    taken, last = [], stop
    with pytest.raises(KeyboardInterrupt):
        get_strategy("soup").fit(replace(job, kept=tmp_path))
    taken, last = [], None
    again = get_strategy("soup").fit(replace(job, kept=tmp_path))
    assert taken == [0, 1, 2, 3, 0, 1, 2, 3][stop - 1 :]  # all but what was kept
    np.testing.assert_allclose(again.predict_logits(job.rows.texts), whole.predict_logits(job.rows.texts), atol=1e-3)


def test_it_is_expected_to_take_as_long_as_both(tiny_backbone):
    from headstart.cost import CostModel
    from headstart.rungs import Rung, trial_seconds

    job = job_on(Reader(tiny_backbone("bert"), None, 4096))
    cost = CostModel(1e9, 1e9)
    soup = trial_seconds(Rung(get_strategy("soup"), None, job, 6.0), cost)
    alone = [trial_seconds(Rung(get_strategy(name), None, replace(job, cut=0), 6.0), cost) for name in PARTS]
    np.testing.assert_allclose(soup, sum(alone), rtol=1e-6)
