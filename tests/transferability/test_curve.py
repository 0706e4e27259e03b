from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeClassifierCV

from headstart.data.split import folds
from headstart.transferability.curve import continue_curve, ridge_curve
from headstart.transferability.decomposed import decompose

SIZES = (50, 100, 200, 400, 800)


@given(floor=st.floats(0.0, 0.4), drop=st.floats(0.5, 4.0), power=st.floats(0.2, 1.5), far=st.sampled_from([800, 1600, 8000]))
@settings(max_examples=30, deadline=None)
def test_an_exact_power_law_is_continued_exactly(floor, drop, power, far):
    points = [(n, 1 - floor - drop * n**-power, 1e-4) for n in SIZES]
    found = continue_curve(points, far)
    assert found.score == pytest.approx(1 - floor - drop * far**-power, abs=max(2e-3, 3 * found.standard_error))
    assert found.points == tuple(points)


@given(
    scores=st.lists(st.floats(0.0, 1.0), min_size=5, max_size=5),
    errors=st.lists(st.floats(0.0, 0.1), min_size=5, max_size=5),
    far=st.integers(800, 10**6),
)
@settings(max_examples=60, deadline=None)
def test_no_curve_is_continued_above_1_or_below_what_was_measured_less_its_error(scores, errors, far):
    points = list(zip(SIZES, scores, errors, strict=True))
    found = continue_curve(points, far)
    assert scores[-1] - errors[-1] - 1e-12 <= found.score <= 1.0
    assert np.isfinite(found.standard_error) and found.standard_error >= 0
    nearer = continue_curve(points, 800)
    assert found.score >= nearer.score - 1e-12


def test_the_standard_error_is_about_the_spread_of_curves_measured_again():
    rng = np.random.default_rng(0)
    truth, error = (lambda n: 0.9 - 2.0 * n**-0.5), 0.01
    found = [continue_curve([(n, truth(n) + error * rng.normal(), error) for n in SIZES], 2000) for _ in range(200)]
    spread = np.sqrt(np.mean([(each.score - truth(2000)) ** 2 for each in found]))
    # The prior about the power and the bounds hold the spread below what the error allows for.
    assert 0.6 * spread < np.median([each.standard_error for each in found]) < 2.5 * spread
    further = continue_curve([(n, truth(n), error) for n in SIZES], 20_000)
    assert further.standard_error > continue_curve([(n, truth(n), error) for n in SIZES], 2000).standard_error


def test_with_fewer_than_three_sizes_nothing_is_drawn_out():
    found = continue_curve([(200, 0.8, 0.02), (100, 0.7, 0.03)], 1000)
    assert (found.score, found.standard_error) == (0.8, 0.02)


def test_a_probes_curve_foretells_its_accuracy_at_five_times_the_rows_better_than_its_last_point_does(labelled):
    misses, last = [], []
    for seed in range(5):
        x, y = labelled(3000, 200, 4, seed=seed, apart=0.2)
        first = np.arange(300)
        found = ridge_curve(decompose(x[first]), y[first], 4, folds(y[first], first, 5, seed=0), rows=1500)
        assert [size for size, _, _ in found.points] == [60, 84, 120, 168, 240]
        there = RidgeClassifierCV(np.geomspace(1, 1e5, 12)).fit(x[:1500], y[:1500]).score(x[1500:], y[1500:])
        misses.append(found.score - there)
        last.append(found.points[-1][1] - there)
        assert abs(misses[-1]) < 3 * found.standard_error < 0.5
    assert np.square(misses).mean() < 0.5 * np.square(last).mean()


def test_few_rows_and_many_classes_still_have_a_curve(labelled):
    for n, c in ((12, 2), (20, 9), (30, 2)):
        x, y = labelled(n, 25, c, seed=n)
        found = ridge_curve(decompose(x), y, c, folds(y, np.arange(n), 3, seed=0))
        assert 0.0 <= found.score <= 1.0 and found.standard_error > 0
