"""Predicted seconds: operations over speed, corrected by what was measured."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.cost import CostModel

SPEED = 1e11


@given(tokens=st.integers(1, 10**7), weights=st.integers(10**4, 10**9))
def test_reading_takes_two_operations_a_weight_and_token(tokens, weights):
    seconds = CostModel(SPEED, 2 * SPEED).reading(tokens, weights)
    assert seconds == pytest.approx(2 * tokens * weights / (2 * SPEED) / 0.6)


def test_training_takes_three_times_as_many_for_what_learns_and_some_time_a_step():
    cost = CostModel(SPEED, SPEED)
    still = cost.training("partial", tokens=1e5, learning=0, frozen=1e7, steps=0)
    learning = cost.training("partial", tokens=1e5, learning=1e7, frozen=0, steps=0)
    assert learning == pytest.approx(3 * still)
    assert cost.training("partial", tokens=0, learning=1e7, frozen=0, steps=100) == pytest.approx(1.0)


@given(rows=st.integers(1, 10**6), classes=st.integers(2, 1000))
def test_light_rungs_grow_with_rows_and_classes(rows, classes):
    cost = CostModel(SPEED, SPEED)
    assert 0 < cost.light("tfidf", rows, classes) <= cost.light("tfidf", rows + 1000, classes)
    assert cost.light("probe", rows, classes) <= cost.light("probe", rows, classes + 10)


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=5))
def test_after_each_measurement_the_same_trial_is_predicted_as_it_was_measured(measured):
    cost = CostModel(SPEED, SPEED)
    for seconds in measured:
        light = cost.light("tfidf", 500, 12)
        training = cost.training("partial", tokens=1e6, learning=1e7, frozen=0, steps=50)
        cost.learn_light("tfidf", light, seconds)
        cost.learn("partial", training, 2 * seconds)
        assert cost.light("tfidf", 500, 12) == pytest.approx(seconds)
        assert cost.training("partial", tokens=1e6, learning=1e7, frozen=0, steps=50) == pytest.approx(2 * seconds)
        # A rung that was never run is predicted as before.
        assert cost.light("probe", 500, 12) == CostModel(SPEED, SPEED).light("probe", 500, 12)


def test_a_prediction_of_nothing_corrects_nothing():
    cost = CostModel(SPEED, SPEED)
    cost.learn("partial", 0.0, 5.0)
    cost.learn_light("tfidf", 0.0, 5.0)
    assert cost == CostModel(SPEED, SPEED)


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=3))
def test_a_training_that_was_never_run_is_corrected_as_the_others_are_on_average(times):
    cost, plain = CostModel(SPEED, SPEED), CostModel(SPEED, SPEED)
    work = {"tokens": 1e6, "learning": 1e7, "frozen": 0.0, "steps": 50}
    for number, each in enumerate(times):
        cost.learn(f"rung {number}", cost.training(f"rung {number}", **work), each * plain.training("any", **work))
    expected = plain.training("full", **work) * float(np.prod(times)) ** (1 / len(times))
    assert cost.training("full", **work) == pytest.approx(expected)
    assert cost.training("rung 0", **work) == pytest.approx(times[0] * plain.training("any", **work))
    assert cost.light("probe", 500, 12) == plain.light("probe", 500, 12)


@pytest.mark.parametrize("training", [True, False])
def test_a_slow_machine_reads_and_where_it_trains_too_trains_more_slowly(training):
    cost, plain, work = CostModel(SPEED, SPEED), CostModel(SPEED, SPEED), {"tokens": 1e6, "learning": 1e7, "frozen": 0.0, "steps": 0}
    cost.slow_down(2.5, training=training)
    assert cost.training("full", **work) == pytest.approx((2.5 if training else 1.0) * plain.training("full", **work))
    assert cost.reading(1e6, 1e7) == pytest.approx(2.5 * plain.reading(1e6, 1e7))
