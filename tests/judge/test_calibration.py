from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import HeadstartError
from headstart.judge import metrics
from headstart.judge.calibration import Calibration, best_threshold, fit_temperature, softmax


def logits_of(seed, n, c, scale):
    """Logits whose softmax is right when they are divided by `scale`."""
    rng = np.random.default_rng(seed)
    true = 2.0 * rng.normal(size=(n, c))
    y = (softmax(true).cumsum(axis=1) < rng.random((n, 1))).sum(axis=1).clip(0, c - 1)
    return scale * true, y


def penalised(log_t, logits, y):
    """The same cost by a way of its own: scikit-learn style probabilities, summed loss, prior of log T."""
    p = softmax(logits / np.exp(log_t))
    return metrics.row_losses(p, y).sum() + 0.5 * log_t**2


@given(seed=st.integers(0, 10**6), n=st.integers(1, 80), c=st.integers(2, 6), log_scale=st.floats(-3, 3))
@settings(max_examples=40, deadline=None)
def test_the_temperature_is_the_minimum_of_a_brute_force_search(seed, n, c, log_scale):
    logits, y = logits_of(seed, n, c, np.exp(log_scale))
    found = np.log(fit_temperature(logits, y))
    best = scipy.optimize.brute(penalised, [slice(-4.6, 4.6, 0.05)], args=(logits, y), finish=None, Ns=1, full_output=True)[1]
    assert penalised(found, logits, y) <= best + 1e-6


@given(seed=st.integers(0, 10**6), n=st.integers(1, 80), c=st.integers(2, 6), log_scale=st.floats(-6, 6))
@settings(max_examples=60, deadline=None)
def test_no_prediction_changes_and_the_loss_of_the_fitting_rows_never_grows(seed, n, c, log_scale):
    logits, y = logits_of(seed, n, c, np.exp(log_scale))
    temperature = fit_temperature(logits, y)
    assert 0.01 <= temperature <= 100
    before, after = softmax(logits), softmax(logits / temperature)
    assert ((logits / temperature).argmax(axis=1) == logits.argmax(axis=1)).all()
    assert metrics.log_loss(after, y) <= metrics.log_loss(before, y) + 1e-12


def test_what_is_usual_stands_where_no_row_speaks_and_fades_where_many_do():
    logits, y = logits_of(0, 5000, 5, 1.0)
    assert fit_temperature(logits[:0], y[:0], 2.5) == 2.5
    few = [fit_temperature(logits[:12], y[:12], usual) for usual in (0.4, 1.0, 2.5)]
    many = [fit_temperature(logits, y, usual) for usual in (0.4, 1.0, 2.5)]
    assert few == sorted(few) and few[2] > 1.1 * few[0]
    assert many == pytest.approx([1.0] * 3, rel=0.05)


def test_many_rows_find_the_true_temperature():
    for scale in (0.1, 1.0, 8.0):
        logits, y = logits_of(0, 5000, 5, scale)
        assert fit_temperature(logits, y) == pytest.approx(scale, rel=0.06)


def test_sixteen_rows_that_are_all_right_do_not_make_certainty():
    y = np.arange(16) % 4
    logits = 2.0 * np.eye(4)[y]
    assert 0.2 < fit_temperature(logits, y) < 1
    assert softmax(logits / fit_temperature(logits, y)).max() < 0.9999


def test_calibration_helps_rows_that_it_did_not_see():
    logits, y = logits_of(1, 3000, 4, 5.0)
    temperature = fit_temperature(logits[:1000], y[:1000])
    before, after = softmax(logits[1000:]), softmax(logits[1000:] / temperature)
    assert metrics.calibration_error(after, y[1000:]) < 0.3 * metrics.calibration_error(before, y[1000:])


def test_no_rows_change_nothing():
    assert fit_temperature(np.empty((0, 3)), np.empty(0, dtype=np.int64)) == 1.0


def test_logits_that_are_no_numbers_are_refused():
    with pytest.raises(HeadstartError) as refused:
        fit_temperature(np.array([[np.inf, 0.0]]), np.array([0]))
    assert str(refused.value) == (
        "A logit to be calibrated is not a number; the training diverged: lower the learning rate or choose another source."
    )


def test_softmax_is_exact_where_logits_are_huge():
    assert softmax(np.array([[1e4, 1e4, 0.0]]))[0].tolist() == [0.5, 0.5, 0.0]


# --- the line between labels ---


@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(1, 3), st.booleans())
@settings(max_examples=80, deadline=None)
def test_no_other_line_gives_a_greater_f1(seed, n, c, ties):
    rng = np.random.default_rng(seed)
    logits = rng.integers(-3, 3, (n, c)).astype(float) if ties else rng.normal(size=(n, c))
    y = rng.integers(0, 2, (n, c))
    line = best_threshold(logits, y)

    def f1(at):
        given = logits > at
        return 2 * (given & (y > 0)).sum() / max(given.sum() + y.sum(), 1)

    # Every line between two outputs, and one above them all; below the lowest it would give everything to everyone.
    lines = [at for at in np.unique(logits) if at < logits.max()]
    if y.any() and lines:
        assert f1(line) == pytest.approx(max(map(f1, lines)))
    else:
        assert line == 0.0


def test_calibration_multiplies_and_then_moves():
    np.testing.assert_allclose(Calibration(2.0, -1.0).of(np.array([[0.0, 3.0]])), [[-1.0, 5.0]])
