from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import DataError
from headstart.judge.intervals import estimate
from headstart.judge.label_curve import Needed, label_curve, needed_labels, sizes
from headstart.settings import Metric

COMMON = {"metric": Metric.ACCURACY, "folds": 5, "seed": 0}


@given(n=st.integers(1, 10**6), c=st.integers(1, 500))
def test_sizes_grow_evenly_from_the_number_of_classes_to_all_labels(n, c):
    found = sizes(n, c)
    assert found[-1] == n and len(found) <= 6
    assert found == sorted(set(found))
    if n > max(c, 8):
        assert found[0] == max(c, 8)
        steps = np.diff(np.log(found))
        assert np.ptp(steps) < 0.15 and (len(found) == 2 or steps.min() > 0.6)


def test_sizes_by_hand():
    assert sizes(256, 4) == [8, 16, 32, 64, 128, 256]
    assert sizes(50, 4) == [8, 20, 50]
    assert sizes(5, 4) == [5]
    assert sizes(70, 77) == [70]


def law(top, drop, power, at, noise=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return [(n, top - drop * n**-power + noise * rng.normal(), max(noise, 1e-4)) for n in at]


@pytest.mark.parametrize(
    ("top", "drop", "power", "needed"), [(0.9, 1.0, 0.5, 400), (0.95, 2.0, 0.7, 600), (0.8, 0.9, 0.3, 150), (0.99, 3.0, 1.0, 1500)]
)
def test_needed_labels_of_a_known_law(top, drop, power, needed):
    target = top - drop * needed**-power
    found = needed_labels(law(top, drop, power, [10, 25, 60, 150, 300]), target, ceiling=1.0)
    assert found.labels == pytest.approx(needed, rel=0.04)


def test_needed_labels_survive_noise():
    found = [
        needed_labels(law(0.9, 1.0, 0.5, [16, 40, 100, 250, 500], 0.005, seed), 0.9 - 1000**-0.5, ceiling=1.0).labels for seed in range(40)
    ]
    told = [labels for labels in found if labels is not None]
    assert len(told) > 30 and 700 < np.median(told) < 1400


@given(seed=st.integers(0, 10**6), target=st.floats(-0.5, 1.2), points=st.integers(0, 6), ceiling=st.sampled_from([1.0, 0.0]))
@settings(max_examples=60, deadline=None)
def test_any_points_give_an_answer_within_reach(seed, target, points, ceiling):
    rng = np.random.default_rng(seed)
    curve = [(int(n), ceiling - float(rng.random()), float(rng.choice([0.0, 0.01, 0.2]))) for n in rng.choice(500, points) + 1]
    found = needed_labels(curve, target, ceiling=ceiling)
    assert found.note.endswith(".")
    if found.labels is not None:
        assert min(n for n, _, _ in curve) <= found.labels <= 10 * max(n for n, _, _ in curve)


def test_needed_labels_say_what_is_known():
    curve = law(0.9, 1.0, 0.5, [10, 50, 250])
    assert needed_labels(curve[:2], 0.8, ceiling=1.0) == Needed(
        None, "Too few sizes were measured to tell how many labels would be needed without transfer."
    )
    assert needed_labels(curve, 0.95, ceiling=1.0) == Needed(
        None, "From its curve up to 250 labels, the rung without transfer never reaches the same score."
    )
    assert needed_labels(curve, 0.9 - 9000**-0.5, ceiling=1.0) == Needed(
        None, "Without transfer more than 2,500 labels, 10 times those at hand, would be needed for the same score."
    )
    assert needed_labels(curve, 0.3, ceiling=1.0) == Needed(10, "Without transfer 10 labels or fewer reach the same score.")
    inside, outside = (needed_labels(curve, 0.9 - n**-0.5, ceiling=1.0) for n in (100, 1200))
    assert inside.note == f"Without transfer about {inside.labels:,} labels reach the same score."
    assert outside.note == f"Without transfer about {outside.labels:,} labels would be needed for the same score (drawn out from 250)."


def test_a_flat_curve_above_or_below_the_target():
    flat = [(10, 0.8, 0.01), (50, 0.8, 0.01), (250, 0.8, 0.01)]
    assert needed_labels(flat, 0.7, ceiling=1.0).labels == 10
    assert needed_labels(flat, 0.85, ceiling=1.0).labels is None
    assert needed_labels([(10, 0.9, 0.01), (50, 0.8, 0.01), (250, 0.7, 0.01)], 0.85, ceiling=1.0).labels is None


def judge(y, metric=Metric.ACCURACY, groups=None):
    def judge_at(probabilities, held):
        of = None if groups is None else groups[held]
        return estimate(metric, probabilities, y[held], groups=of, confidence=0.95, resamples=100, seed=0)

    return judge_at


class Recorder:
    """A rung that keeps what it was asked and is right on a share of the rows that grows with its training rows."""

    def __init__(self, y, strength):
        self.y, self.strength, self.calls = y, strength, []

    def __call__(self, rung, train, held):
        self.calls.append((rung, train.copy(), held.copy()))
        share = 0.95 - self.strength[rung] * len(train) ** -0.5
        right = np.arange(len(held)) < round(share * len(held))
        guess = np.where(right, self.y[held], (self.y[held] + 1) % (self.y.max() + 1))
        return 0.9 * np.eye(self.y.max() + 1)[guess] + 0.1 / (self.y.max() + 1)


@given(seed=st.integers(0, 10**6), repeats=st.integers(1, 5))
@settings(max_examples=25, deadline=None)
def test_draws_are_nested_stratified_and_never_held_out(seed, repeats):
    rng = np.random.default_rng(seed)
    y = np.concatenate([np.arange(4), rng.choice(4, 200, p=[0.5, 0.3, 0.15, 0.05]), np.repeat(np.arange(4), 8)])
    groups = rng.integers(0, 150, len(y))
    predict = Recorder(y, {"probe": 1.0})
    curve = label_curve(
        predict, judge(y, groups=groups), y, groups=groups, rungs=["probe"], baseline=None, repeats=repeats, **COMMON | {"seed": seed}
    )
    assert curve.needed is None and curve.note == ""
    by_held: dict[bytes, list[np.ndarray]] = {}
    for _, train, held in predict.calls:
        assert not set(groups[train]) & set(groups[held])
        assert len(set(train)) == len(train)
        by_held.setdefault(held.tobytes(), []).append(train)
        shares = np.bincount(y[train], minlength=4) / len(train)
        rest = np.isin(groups, groups[held], invert=True)
        assert np.abs(shares - np.bincount(y[rest], minlength=4) / rest.sum()).max() <= 4 / len(train)
        assert set(y[train]) == set(y[rest])
    assert len(by_held) == repeats
    held_rows = np.concatenate([np.frombuffer(key, dtype=np.int64) for key in by_held])
    assert len(set(held_rows)) == len(held_rows) == curve.points[0].score.n
    if repeats == 5:
        assert len(held_rows) == len(y)
    for draws in by_held.values():
        for small, large in pairwise(draws):
            assert set(small) <= set(large)


def test_the_curve_tells_what_transfer_was_worth():
    y = np.arange(2000) % 4
    predict = Recorder(y, {"probe": 1.0, "tfidf": 1.5})
    args = {"groups": None, "rungs": ["probe", "tfidf"], "baseline": "tfidf", "repeats": 5}
    curve = label_curve(predict, judge(y), y, **args, **COMMON)
    assert [(point.rung, point.labels) for point in curve.points][-2:] == [("probe", 1600), ("tfidf", 1600)]
    last = {point.rung: point.score for point in curve.points}
    assert last["probe"].value == pytest.approx(0.95 - 1.0 / 40, abs=0.002) and last["probe"].n == 2000
    assert curve.needed == pytest.approx(3600, rel=0.1)  # 1.5 / sqrt(3600) = 1 / sqrt(1600)
    assert curve.note == f"Without transfer about {curve.needed:,} labels would be needed for the same score (drawn out from 1,600)."
    assert curve.baseline == "tfidf"
    assert label_curve(predict, judge(y), y, **args, **COMMON) == curve


def test_the_curve_in_log_loss_counts_downwards():
    y = np.arange(1000) % 4
    predict = Recorder(y, {"probe": 1.0, "tfidf": 2.5})
    asked = COMMON | {"metric": Metric.LOG_LOSS}
    curve = label_curve(predict, judge(y, Metric.LOG_LOSS), y, groups=None, rungs=["probe", "tfidf"], baseline="tfidf", repeats=5, **asked)
    assert curve.needed == pytest.approx(5000, rel=0.15)  # 800 x 2.5^2
    turned = label_curve(predict, judge(y, Metric.LOG_LOSS), y, groups=None, rungs=["tfidf", "probe"], baseline="probe", repeats=5, **asked)
    assert turned.needed == pytest.approx(128, rel=0.15)  # 800 / 2.5^2


def test_rows_that_cannot_be_parted_are_refused():
    y = np.array([0, 1, 2])
    with pytest.raises(DataError) as refused:
        label_curve(Recorder(y, {}), judge(y), y, groups=None, rungs=["a"], baseline=None, repeats=1, **COMMON)
    assert str(refused.value) == "The 3 rows are too few for folds: no class has two separate rows; add rows."


def test_a_class_of_one_row_is_trained_on_and_never_held_out():
    y = np.array([0, 1] * 30 + [2])
    predict = Recorder(y, {"probe": 1.0})
    label_curve(predict, judge(y), y, groups=None, rungs=["probe"], baseline=None, repeats=5, **COMMON)
    assert all(60 in train and 60 not in held for _, train, held in predict.calls)
