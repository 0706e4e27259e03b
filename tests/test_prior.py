"""Beliefs about rungs: Bayes' rule, the worth of a measurement, and the table, each against an independent computation."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy import integrate, stats

from headstart.prior import Belief, Case, believe, expect, expect_temperature, read_cases, worth_measuring
from headstart.settings import Metric
from headstart.strategies.ladder import known_strategies

means, spreads = st.floats(-0.3, 0.3), st.floats(0.005, 0.3)


def case(rung="partial", per_class=64.0, classes=6, tokens=20.0, accuracy=0.04, log_loss=0.3, data="set"):
    return Case(data, rung, per_class, classes, tokens, accuracy, log_loss)


def here(cases, rung="partial", metric=Metric.ACCURACY, per_class=64.0, classes=6, tokens=20.0):
    return expect(rung, metric, per_class=per_class, classes=classes, tokens=tokens, cases=cases)


def update(belief, difference, error):
    """What is believed of a single rung after a measurement."""
    [mean], [[variance]] = believe([belief], np.ones((1, 1)), {0: difference}, np.array([[error**2]]), None)
    return Belief(mean, math.sqrt(variance))


def worth(belief, rival, error):
    """A rung against a rival of which all is known."""
    return worth_measuring(np.array([belief.mean, rival]), np.diag([belief.spread**2, 0.0]), 0, error, None)


def drawn(seed, k):
    """Priors of k rungs, how they correlate, and the covariance of both."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(k, k + 1))
    alike = mixed @ mixed.T
    alike /= np.sqrt(np.outer(np.diag(alike), np.diag(alike)))
    spread = rng.uniform(0.01, 0.1, k)
    return (
        [Belief(float(m), float(s)) for m, s in zip(rng.normal(0, 0.05, k), spread, strict=True)],
        alike,
        alike * np.outer(spread, spread),
    )


@hypothesis_settings(max_examples=25, deadline=None)
@given(mean=means, spread=spreads, measured=means, error=spreads)
def test_an_update_is_bayes_rule_integrated_numerically(mean, spread, measured, error):
    grid = np.linspace(min(mean, measured) - 8 * max(spread, error), max(mean, measured) + 8 * max(spread, error), 20_001)
    log_density = stats.norm.logpdf(grid, mean, spread) + stats.norm.logpdf(measured, grid, error)
    weight = np.exp(log_density - log_density.max())
    expected = (grid * weight).sum() / weight.sum()
    deviation = math.sqrt(((grid - expected) ** 2 * weight).sum() / weight.sum())
    after = update(Belief(mean, spread), measured, error)
    assert after.mean == pytest.approx(expected, abs=1e-6)
    assert after.spread == pytest.approx(deviation, rel=1e-3)


@given(mean=means, spread=spreads, first=means, second=means, error=spreads)
def test_two_measurements_count_like_their_mean(mean, spread, first, second, error):
    twice = update(update(Belief(mean, spread), first, error), second, error)
    once = update(Belief(mean, spread), (first + second) / 2, error / math.sqrt(2))
    assert twice.mean == pytest.approx(once.mean, abs=1e-9)
    assert twice.spread == pytest.approx(once.spread, rel=1e-9)


def test_a_measurement_without_error_is_believed_and_a_certain_belief_is_not_moved():
    assert update(Belief(0.1, 0.2), 0.05, 0.0) == Belief(0.05, 0.0)
    assert update(Belief(0.1, 1e-9), 0.5, 0.1).mean == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("mean", "spread", "rival", "error"),
    [(0.0, 0.05, 0.0, 0.02), (0.05, 0.05, 0.0, 0.02), (-0.04, 0.03, 0.02, 0.05), (0.0, 0.1, 0.1, 0.01), (0.01, 0.02, 0.0, 0.2)],
)
def test_the_worth_of_a_measurement_is_what_a_simulated_choice_gains(mean, spread, rival, error):
    rng = np.random.default_rng(0)
    truth = rng.normal(mean, spread, 2_000_000)
    measured = truth + rng.normal(0, error, truth.size)
    believed = (mean / spread**2 + measured / error**2) / (1 / spread**2 + 1 / error**2)
    # With the measurement the better of the two is taken; without it, whichever is better on average.
    gained = np.where(believed > rival, truth, rival).mean() - max(mean, rival)
    assert worth(Belief(mean, spread), rival, error) == pytest.approx(gained, abs=3e-4)


@given(mean=means, spread=spreads, rival=means, error=spreads)
def test_the_worth_is_the_integral_of_the_better_mean(mean, spread, rival, error):
    moved = spread**2 / math.sqrt(spread**2 + error**2)
    low, high = mean - 10 * moved, mean + 10 * moved
    inside = [point for point in (rival,) if low < point < high]
    better, _ = integrate.quad(lambda m: max(m, rival) * stats.norm.pdf(m, mean, moved), low, high, points=inside or None, limit=200)
    assert worth(Belief(mean, spread), rival, error) == pytest.approx(better - max(mean, rival), abs=1e-6)
    assert worth(Belief(mean, spread), rival, error) >= 0


def test_nothing_is_worth_measuring_of_what_is_certain():
    assert worth(Belief(0.1, 0.0), 0.1, 0.01) == 0.0


@given(seed=st.integers(0, 10_000), k=st.integers(1, 5), share=st.floats(0, 1))
def test_what_was_measured_of_some_moves_all_as_the_precisions_say(seed, k, share):
    """Precisions add up, whichever rungs they are of: another form of the same rule."""
    priors, alike, covariance = drawn(seed, k)
    rng = np.random.default_rng(seed + 1)
    measured = {i: float(rng.normal(0, 0.1)) for i in range(k) if rng.random() < share}
    mixed = rng.normal(0, 0.05, (len(measured), len(measured)))
    errors = mixed @ mixed.T + 1e-4 * np.eye(len(measured))  # two that stand on the same rows go wrong together
    sides = np.eye(k)[list(measured)]
    precision = np.linalg.inv(covariance) + sides.T @ np.linalg.inv(errors) @ sides
    pull = np.linalg.inv(covariance) @ [prior.mean for prior in priors] + sides.T @ np.linalg.inv(errors) @ list(measured.values())
    after, spread = believe(priors, alike, measured, errors, None)
    np.testing.assert_allclose(after, np.linalg.solve(precision, pull), atol=1e-7)
    np.testing.assert_allclose(spread, np.linalg.inv(precision), atol=1e-8)


def test_what_is_not_alike_is_not_moved_and_what_is_alike_is_moved_its_share():
    priors = [Belief(0.0, 0.05)] * 3
    alike = np.array([[1.0, 0.8, 0.0], [0.8, 1.0, 0.0], [0.0, 0.0, 1.0]])
    after, covariance = believe(priors, alike, {0: 0.1}, np.array([[1e-18]]), None)
    np.testing.assert_allclose(after, [0.1, 0.08, 0.0], atol=1e-9)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), [0.0, 0.05 * 0.6, 0.05], atol=1e-8)


@hypothesis_settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 10_000), k=st.integers(2, 6), error=st.floats(0.005, 0.2))
def test_the_worth_among_many_is_the_integral_of_the_greatest_of_the_moved_means(seed, k, error):
    priors, _, covariance = drawn(seed, k)
    levels = np.array([prior.mean for prior in priors])
    slopes = covariance[:, 0] / math.sqrt(covariance[0, 0] + error**2)
    grid = np.linspace(-9, 9, 40_001)
    greatest = (levels[:, None] + slopes[:, None] * grid).max(axis=0)
    expected = integrate.trapezoid(greatest * stats.norm.pdf(grid), grid) - levels.max()
    assert worth_measuring(levels, covariance, 0, error, None) == pytest.approx(expected, abs=1e-8)


def test_of_two_rungs_that_stand_and_fall_together_neither_is_worth_measuring_for_the_choice_between_them():
    spread = 0.05
    together, apart = np.full((2, 2), spread**2), np.diag([spread**2] * 2)
    assert worth_measuring(np.zeros(2), together, 0, 0.02, None) == pytest.approx(0.0, abs=1e-12)
    assert worth_measuring(np.zeros(2), apart, 0, 0.02, None) > 0.01


# --- the table ---


@pytest.mark.parametrize("metric", Metric)
def test_a_blank_table_expects_nothing_and_is_unsure(metric):
    belief = here([], metric=metric)
    assert belief.mean == 0.0
    in_its_unit = {Metric.LOG_LOSS: (0.2, 0.08), Metric.BITS_PER_BYTE: (0.2, 0.08), Metric.BLEU: (5, 2), Metric.CHRF: (5, 2)}
    assert belief.spread == pytest.approx(math.hypot(*in_its_unit.get(metric, (0.05, 0.02))))


def test_cases_of_other_rungs_say_nothing():
    assert here([case("full", accuracy=0.5)] * 20) == here([])


@pytest.mark.parametrize(("metric", "value"), [(Metric.ACCURACY, 0.04), (Metric.MACRO_F1, 0.04), (Metric.LOG_LOSS, 0.3)])
def test_where_many_cases_lie_their_value_is_expected(metric, value):
    belief = here([case()] * 12, metric=metric)
    assert belief.mean == pytest.approx(value, rel=1e-4)
    # Twelve cases that agree leave the spread that no table takes away.
    assert belief.spread == pytest.approx(0.08 if metric is Metric.LOG_LOSS else 0.02, rel=0.01)


def test_one_case_is_not_believed_whole():
    belief = here([case(accuracy=0.1)])
    assert 0.05 < belief.mean < 0.1
    assert belief.spread > here([case(accuracy=0.1)] * 12).spread


def test_near_cases_outweigh_far_ones():
    table = [case(per_class=8.0, accuracy=0.1)] * 10 + [case(per_class=500.0, accuracy=-0.05)] * 10
    assert here(table, per_class=8.0).mean == pytest.approx(0.1, abs=0.002)
    assert here(table, per_class=500.0).mean == pytest.approx(-0.05, abs=0.002)
    between = [here(table, per_class=float(n)).mean for n in (8, 16, 64, 128, 500)]
    assert between == sorted(between, reverse=True)


def test_the_weights_are_those_of_a_normal_kernel_in_logarithms():
    table = [case(per_class=32.0, classes=2, tokens=40.0, accuracy=0.1), case(per_class=100.0, classes=20, tokens=10.0, accuracy=-0.02)]
    reach = np.array([0.45, 1.2, 1.0])
    apart = [np.log(np.array([c.per_class, c.classes, c.tokens]) / [64.0, 6, 20.0]) / reach for c in table]
    weight = np.array([0.5 * math.exp(-2), *(math.exp(-(gap**2).sum() / 2) for gap in apart)])
    value = np.array([0.0, 0.1, -0.02])
    mean = np.average(value, weights=weight)
    variance = np.average((value - mean) ** 2 + np.array([0.05**2, 0, 0]), weights=weight)
    belief = here(table)
    assert belief.mean == pytest.approx(mean)
    assert belief.spread == pytest.approx(math.sqrt(variance + 0.02**2))


def test_how_warm_a_rung_is_hangs_mostly_on_cases_of_as_many_classes():
    table = [replace(case(classes=2), temperature=3.0), replace(case(classes=12), temperature=0.8)]
    apart = [math.exp(-((math.log(c.classes / 12) / 0.5) ** 2) / 2) for c in table]
    expected = math.exp(sum(w * math.log(c.temperature) for w, c in zip(apart, table, strict=True)) / (0.5 + sum(apart)))
    assert expect_temperature("partial", per_class=64.0, classes=12, tokens=20.0, cases=table) == pytest.approx(expected)


@pytest.mark.parametrize(("asked", "as_if"), [(2.0, 8.0), (5000.0, 256.0)])
def test_beyond_the_sizes_that_were_measured_the_nearest_speaks(asked, as_if):
    table = [case(per_class=8.0, accuracy=0.01), case(per_class=256.0, accuracy=0.03)]
    assert here(table, per_class=asked) == here(table, per_class=as_if)
    assert here(table, per_class=8.0).mean < 0.02 < here(table, per_class=256.0).mean


def test_a_case_whose_probe_did_as_well_says_more_and_what_is_gained_grows_with_the_root_of_the_errors():
    near, far = replace(case(accuracy=0.04), probe_error=0.2), replace(case(accuracy=0.1), probe_error=0.8)

    def hoped(error, cases):
        return expect("partial", Metric.ACCURACY, per_class=64.0, classes=6, tokens=20.0, cases=cases, probe_error=error).mean

    weight = [0.5 * math.exp(-2), 1.0, math.exp(-((math.log(4) / 0.7) ** 2) / 2)]
    assert hoped(0.2, [near, far]) == pytest.approx(np.average([0.0, 0.04, 0.1 / 2], weights=weight))
    assert hoped(0.8, [near, far]) == pytest.approx(np.average([0.0, 0.04 * 2, 0.1], weights=[weight[0], weight[2], weight[1]]))
    # What is not known of one side sets nothing apart.
    assert hoped(None, [near, far]) == here([replace(near, probe_error=None), replace(far, probe_error=None)]).mean
    assert hoped(0.2, [case()]) == here([case()]).mean
    loss = expect("partial", Metric.LOG_LOSS, per_class=64.0, classes=6, tokens=20.0, cases=[near] * 12, probe_error=0.2)
    assert loss.mean == pytest.approx(0.3, rel=1e-4)  # of losses no law is known, and they are told as they were measured


def test_what_lies_far_below_stays_as_far_below_where_errors_are_many():
    """Cases that fell by 0.1 where the probe told 2 % wrong would be 0.5 below where it tells half wrong: as good as out, and no surer."""
    told = expect(
        "partial",
        Metric.ACCURACY,
        per_class=64.0,
        classes=6,
        tokens=20.0,
        probe_error=0.5,
        cases=[replace(case(accuracy=-0.1), probe_error=0.02)] * 12,
    )
    assert -0.15 <= told.mean < -0.1


def test_temperatures_too_come_from_cases_whose_probe_did_as_well():
    cases = [replace(case(), temperature=2.0, probe_error=0.1), replace(case(), temperature=8.0, probe_error=0.6)]
    told = [
        expect_temperature("partial", per_class=64.0, classes=6, tokens=20.0, cases=cases, probe_error=error) for error in (0.1, None, 0.6)
    ]
    assert told == sorted(told) and told[0] < 2.0 < told[2]


def test_cases_that_disagree_leave_more_doubt():
    agree = [case(accuracy=0.04)] * 10
    disagree = [case(accuracy=0.14)] * 5 + [case(accuracy=-0.06)] * 5
    assert here(disagree).mean == pytest.approx(here(agree).mean, abs=1e-6)
    assert here(disagree).spread == pytest.approx(math.hypot(0.1, 0.02), rel=0.01)


def test_how_far_a_rung_fell_elsewhere_does_not_widen_what_is_hoped_of_it():
    fell = here([case(accuracy=-0.1)] * 5 + [case(accuracy=-0.6)] * 5)
    assert fell == here([case(accuracy=-0.1)] * 5 + [case(accuracy=-0.15)] * 5)
    assert fell.mean + 3 * fell.spread < 0


def test_far_from_every_case_nothing_is_expected():
    assert here([case(accuracy=0.3)] * 3, tokens=1e9) == Belief(pytest.approx(0.0, abs=1e-6), pytest.approx(math.hypot(0.05, 0.02)))


def test_texts_without_tokens_have_a_belief_too():
    belief = here([case(tokens=20.0)] * 12, tokens=0.0)
    assert math.isfinite(belief.mean)
    assert 0 < belief.spread < 1


def test_the_shipped_table_is_sound():
    for item in read_cases():
        assert item.rung in known_strategies()
        assert item.per_class > 0
        assert item.classes >= 2
        assert item.tokens > 0
        assert -1 <= item.accuracy <= 1
        assert math.isfinite(item.log_loss)
        assert item.probe_error is not None and 0 < item.probe_error < 1


def test_another_table_can_be_read(tmp_path):
    place = tmp_path / "prior.json"
    place.write_text(json.dumps({"cases": [case().__dict__]}))
    assert read_cases(path=str(place)) == (case(),)


# --- temperatures ---


def temperature_here(cases, rung="partial"):
    return expect_temperature(rung, per_class=64.0, classes=6, tokens=20.0, cases=cases)


def test_without_cases_nothing_is_known_of_the_temperature():
    assert temperature_here([]) == 1.0
    assert temperature_here([replace(case(), temperature=3.0)], rung="full") == 1.0


def test_the_temperature_is_the_geometric_mean_of_near_cases_drawn_to_one_as_if_half_a_case_said_so():
    cases = [replace(case(), temperature=2.0), replace(case(), temperature=4.5)]
    assert temperature_here(cases) == pytest.approx((2.0 * 4.5) ** (1 / 2.5))
    far = replace(case(per_class=1.0), temperature=50.0)
    assert temperature_here([*cases, far]) == pytest.approx(temperature_here(cases), rel=1e-3)


def test_cases_of_another_kind_of_task_say_as_much_and_are_believed_less():
    case = Case("a", "partial", 10.0, 3, 20.0, 0.04, 0.1)
    own = expect("partial", Metric.ACCURACY, per_class=10, classes=3, tokens=20, cases=[case] * 5)
    kin = expect("partial", Metric.ACCURACY, per_class=10, classes=3, tokens=20, cases=[case] * 5, kin=True)
    none = expect("partial", Metric.ACCURACY, per_class=10, classes=3, tokens=20, cases=[])
    assert kin.mean == own.mean and kin.spread**2 == pytest.approx(own.spread**2 + 0.05**2) and none.spread >= 0.05
    assert {found.task for found in read_cases("pairs")} == {"classification"} and {found.task for found in read_cases("ner")} == {"ner"}


@given(difference=st.floats(-0.2, 0.2), error=st.floats(0.001, 0.2), spread=st.floats(0.01, 0.1))
def test_a_difference_to_a_rung_of_which_no_more_is_known_moves_both_by_half(difference, error, spread):
    """Two independent beliefs, b0 and b1 ~ N(0, s): b1 - b0 has variance 2 s^2, and given their sum it says nothing."""
    (before, after), covariance = believe([Belief(0.0, spread)] * 2, np.eye(2), {1: difference}, np.array([[error**2]]), 0)
    apart = difference * 2 * spread**2 / (2 * spread**2 + error**2)
    assert (before, after) == pytest.approx((-apart / 2, apart / 2), abs=1e-12)
    assert covariance.sum() == pytest.approx(2 * spread**2)  # the sum's variance stays
    left = covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]
    assert left == pytest.approx(1 / (1 / (2 * spread**2) + 1 / error**2))


def test_what_a_difference_is_worth_is_what_drawn_measurements_gain():
    """Knowledge gradient by brute force: measure b1 - b0 many times over, and choose."""
    covariance, error = np.array([[4.0, 1.0, 0.0], [1.0, 3.0, 0.5], [0.0, 0.5, 2.0]]) / 1e4, 0.01
    means = np.array([0.01, 0.0, 0.005])
    side = np.array([-1.0, 1.0, 0.0])
    moved = covariance @ side
    told = np.random.default_rng(0).normal(size=400_000) * np.sqrt(side @ moved + error**2)
    chosen = (means + np.outer(told, moved) / (side @ moved + error**2)).max(axis=1)
    assert worth_measuring(means, covariance, 1, error, 0) == pytest.approx(chosen.mean() - means.max(), rel=0.02)
