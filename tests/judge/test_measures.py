"""Scores of sums over rows, tried on entities: what a simulated population tells of the intervals, and what follows by hand."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.errors import DataError
from headstart.judge import measures
from headstart.judge.measures import F1, PRECISION, RECALL, Measure, Range
from headstart.records import Estimate, Verdict
from headstart.settings import Metric

COMMON = {"confidence": 0.95, "resamples": 200}
PAIRED = {"metric": Metric.ENTITY_F1, "winner": "probe", "opponent": "crf", **COMMON}

# How many entities a sentence has on average, and how likely one is found. Most of the others are found with another type or length.
POPULATIONS = {"usual": (1.5, 0.8), "sparse": (0.4, 0.6), "nearly all right": (1.5, 0.95), "hardly any right": (1.5, 0.2)}


def draw(rng, n, population, models=1):
    """Sums (n, 3) of each model: entities right, found, there. Sentences are easy or hard, for all models alike."""
    often, likely = POPULATIONS[population]
    there = rng.poisson(rng.gamma(2.0, often / 2.0, n))
    ease = rng.beta(3 * likely, 3 * (1 - likely), n)
    found = []
    for _ in range(models):
        hits = rng.binomial(there, ease)
        wrong = rng.binomial(there - hits, 0.7) + rng.poisson(0.3 * often * (1 - likely), n)
        found.append(np.stack([hits, hits + wrong, there], axis=1).astype(np.float64))
    return found


def by_definition(sums):
    """F1, precision and recall from the lists of entities themselves."""
    hits, found, there = (int(v) for v in sums.sum(axis=0))
    precision, recall = (hits / found if found else 0.0), (hits / there if there else 0.0)
    return 2 * precision * recall / (precision + recall) if hits else 0.0, precision, recall


@pytest.mark.parametrize("population", POPULATIONS)
def test_f1_is_the_harmonic_mean_of_precision_and_recall(population):
    for seed, n in ((0, 1), (1, 7), (2, 300)):
        (sums,) = draw(np.random.default_rng(seed), n, population)
        found = tuple(measures.value_of(measure, sums) for measure in (F1, PRECISION, RECALL))
        assert found == pytest.approx(by_definition(sums))


def test_a_score_is_given_of_many_totals_at_once():
    totals = np.array([[2.0, 0.0, 3.0], [4.0, 0.0, 3.0], [2.0, 5.0, 3.0]])  # three columns of totals
    assert F1.value(totals).tolist() == pytest.approx([2 / 3, 0.0, 1.0])
    assert PRECISION.value(totals).tolist() == pytest.approx([0.5, 0.0, 1.0])
    assert RECALL.value(totals).tolist() == pytest.approx([1.0, 0.0, 1.0])
    assert F1.trials(totals).tolist() == [3.0, 2.5, 3.0]
    assert PRECISION.trials(totals).tolist() == [4.0, 0.0, 3.0]
    assert RECALL.trials(totals).tolist() == [2.0, 5.0, 3.0]


# --- the interval ---


def test_the_estimate_is_the_value_within_its_interval():
    for seed, n, population in ((0, 2, "usual"), (1, 30, "sparse"), (2, 400, "nearly all right")):
        (sums,) = draw(np.random.default_rng(seed), n, population)
        for measure in (F1, PRECISION, RECALL):
            found = measures.estimate(measure, sums, groups=None, seed=0, **COMMON)
            assert found.value == measures.value_of(measure, sums)
            assert 0 <= found.low <= found.value <= found.high <= 1 and found.low < found.high
            assert (found.n, found.confidence) == (n, 0.95)


def test_with_one_entity_a_sentence_recall_has_the_interval_of_a_share():
    right = np.array([1.0] * 66 + [0.0] * 34)
    sums = np.stack([right, np.ones(100), np.ones(100)], axis=1)
    expected = scipy.stats.binomtest(66, 100).proportion_ci(0.95, method="wilson")
    for measure in (F1, PRECISION, RECALL):
        found = measures.estimate(measure, sums, groups=None, confidence=0.95, resamples=4000, seed=0)
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.006)


def test_a_perfect_score_on_few_entities_is_not_certain():
    sums = np.ones((20, 3))
    found = measures.estimate(F1, sums, groups=None, seed=0, **COMMON)
    assert found.low == pytest.approx(0.839, abs=0.001) and found.high == 1.0  # Wilson, 20 of 20
    # Ten sentences of two entities: no more than ten things are known to be independent.
    dense = measures.estimate(F1, 2 * sums[:10], groups=None, seed=0, **COMMON)
    assert dense.low == pytest.approx(scipy.stats.binomtest(10, 10).proportion_ci(0.95, method="wilson").low)


def test_where_nothing_was_to_be_found_nothing_is_known():
    empty = np.zeros((5, 3))
    for measure in (F1, PRECISION, RECALL):
        assert measures.estimate(measure, empty, groups=None, seed=0, **COMMON) == Estimate(0.0, 0.0, 1.0, 5, 0.95)
    missed = np.array([[0.0, 0.0, 1.0]] * 5)
    assert measures.estimate(PRECISION, missed, groups=None, seed=0, **COMMON) == Estimate(0.0, 0.0, 1.0, 5, 0.95)
    assert measures.estimate(RECALL, missed, groups=None, seed=0, **COMMON).high < 0.6


def test_no_rows_are_refused():
    with pytest.raises(DataError) as refused:
        measures.estimate(F1, np.empty((0, 3)), groups=None, seed=0, **COMMON)
    assert str(refused.value) == (
        "There are no rows to judge; give a test file with at least one labelled row, or a greater share of test rows."
    )


def covered(measure, population, n, trials):
    """How often the interval holds the truth."""
    (whole,) = draw(np.random.default_rng(99), 400_000, population)
    truth = measures.value_of(measure, whole)
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(trials):
        (sums,) = draw(rng, n, population)
        found = measures.estimate(measure, sums, groups=None, seed=trial, **COMMON)
        hits += found.low <= truth <= found.high
    return hits / trials


@pytest.mark.parametrize("population", POPULATIONS)
def test_intervals_hold_the_truth_of_a_population(population):
    assert 0.90 <= covered(F1, population, 100, 200) <= 0.99


@pytest.mark.slow
@pytest.mark.parametrize("measure", [F1, PRECISION, RECALL], ids=["f1", "precision", "recall"])
@pytest.mark.parametrize("n", [50, 300])
@pytest.mark.parametrize("population", POPULATIONS)
def test_intervals_hold_the_truth_in_many_trials(measure, population, n):
    assert 0.91 <= covered(measure, population, n, 500) <= 0.99


def test_copies_of_sentences_in_groups_do_not_narrow_the_interval():
    (sums,) = draw(np.random.default_rng(3), 120, "usual")
    told = {"confidence": 0.95, "resamples": 2000, "seed": 0}
    once = measures.estimate(F1, sums, groups=None, **told)
    copied = measures.estimate(F1, np.tile(sums, (5, 1)), groups=np.tile(np.arange(120), 5), **told)
    naive = measures.estimate(F1, np.tile(sums, (5, 1)), groups=None, **told)
    width = [found.high - found.low for found in (once, copied, naive)]
    assert width[1] == pytest.approx(width[0], rel=0.08)
    assert width[2] < 0.6 * width[0]


def test_copies_of_a_perfect_sentence_are_no_proof():
    found = measures.estimate(F1, np.ones((400, 3)), groups=np.arange(400) % 4, seed=0, **COMMON)
    assert found.low == pytest.approx(scipy.stats.binomtest(4, 4).proportion_ci(0.95, method="wilson").low)


def test_the_same_seed_gives_the_same_interval():
    (sums,) = draw(np.random.default_rng(4), 60, "usual")
    first, second, other = (measures.estimate(F1, sums, groups=None, seed=seed, **COMMON) for seed in (1, 1, 2))
    assert first == second != other


def test_resamples_are_the_same_for_all_sets_and_each_the_totals_of_rows_drawn():
    """With the number of the row in the sums, each resample tells which rows it drew."""
    n = 6
    powers = 10.0 ** np.arange(n)
    marked = np.stack([powers, np.ones(n)], axis=1)
    first, second = measures._resampled([marked, 2 * marked], None, 50, 0)
    assert (second == 2 * first).all()
    assert (first[1] == n).all()
    drawn = first[0][:, None] // powers % 10
    assert (drawn.sum(axis=1) == n).all() and len({tuple(row) for row in drawn}) > 30
    (together,) = measures._resampled([marked], np.array([0, 0, 1, 1, 2, 2]), 50, 0)
    drawn = together[0][:, None] // powers % 10
    assert (drawn[:, ::2] == drawn[:, 1::2]).all() and (drawn.sum(axis=1) == n).all()


def test_a_hundred_thousand_sentences_take_little_time():
    (sums,) = draw(np.random.default_rng(5), 100_000, "usual")
    begun = time.process_time()
    found = measures.estimate(F1, sums, groups=None, confidence=0.95, resamples=400, seed=0)  # about 0.2 s on a quiet machine
    assert time.process_time() - begun < 3
    again = measures.estimate(F1, sums[:1000], groups=None, confidence=0.95, resamples=400, seed=0)
    assert found.high - found.low == pytest.approx((again.high - again.low) / 10, rel=0.2)  # a hundred times the rows


# --- the gain ---


def test_the_gain_is_the_difference_and_positive_is_better():
    good, bad = (draw(np.random.default_rng(6), 300, population)[0] for population in ("usual", "hardly any right"))
    assert (good[:, 2] == bad[:, 2]).all()  # of the same sentences
    gain = measures.paired_gain(F1, good, bad, groups=None, folds=None, seed=0, **PAIRED)
    assert gain.value == pytest.approx(by_definition(good)[0] - by_definition(bad)[0])
    assert gain.verdict is Verdict.HELPS and 0 < gain.low < gain.value < gain.high
    assert (gain.metric, gain.n, gain.confidence, gain.winner, gain.opponent) == ("entity_f1", 300, 0.95, "probe", "crf")
    turned = measures.paired_gain(F1, bad, good, groups=None, folds=None, seed=0, **PAIRED)
    assert turned.verdict is Verdict.HURTS
    assert (turned.value, turned.low, turned.high) == pytest.approx((-gain.value, -gain.high, -gain.low), abs=1e-3)


def test_equal_predictions_differ_by_nothing_but_not_certainly_so():
    sums = np.array([[1.0, 1.0, 1.0]] * 50)
    gain = measures.paired_gain(F1, sums, sums, groups=None, folds=None, seed=0, **PAIRED)
    assert gain.value == 0 and gain.verdict is Verdict.UNCLEAR
    assert gain.high == -gain.low == pytest.approx(scipy.stats.t.ppf(0.975, 49) * np.sqrt(2) / 50)


def test_of_points_a_row_won_and_a_row_lost_count_for_their_share_of_the_points_that_are_there():
    points = Measure(lambda sums: 100.0 * sums[0] / np.maximum(sums[1], 1.0), lambda sums: sums[1], Range.POINTS)
    sums = measures.means_of(np.full(50, 0.4))
    gain = measures.paired_gain(points, sums, sums, groups=None, folds=None, seed=0, **{**PAIRED, "metric": Metric.BLEU})
    assert gain.value == 0.0 and gain.verdict is Verdict.UNCLEAR
    assert gain.high == -gain.low == pytest.approx(scipy.stats.t.ppf(0.975, 49) * np.sqrt(2) * 40 / 50)


def test_with_one_entity_a_sentence_the_interval_is_the_paired_t_test_and_a_row_more_on_either_side():
    won = np.array([1.0, 1.0, 0.0, -1.0, 1.0])
    ours, theirs = (np.stack([(sign * won > 0) * 1.0, np.ones(5), np.ones(5)], axis=1) for sign in (1, -1))
    gain = measures.paired_gain(F1, ours, theirs, groups=None, folds=None, seed=0, **{**PAIRED, "resamples": 20_000})
    half = scipy.stats.t.ppf(0.975, 4) * np.sqrt(won.var(ddof=1) / 5 + 2 / 5**2)
    assert gain.value == pytest.approx(0.4) and gain.low == pytest.approx(max(-1.0, 0.4 - half), abs=0.02)
    assert gain.low > -1 and gain.high == 1.0


def test_a_single_sentence_decides_nothing():
    ours, theirs = np.array([[9.0, 9.0, 9.0]]), np.array([[0.0, 9.0, 9.0]])
    gain = measures.paired_gain(F1, ours, theirs, groups=None, folds=None, seed=0, **PAIRED)
    assert (gain.low, gain.value, gain.high, gain.verdict) == (-1.0, 1.0, 1.0, Verdict.UNCLEAR)
    grouped = measures.paired_gain(F1, ours.repeat(9, 0), theirs.repeat(9, 0), groups=np.zeros(9, int), folds=None, seed=0, **PAIRED)
    assert (grouped.low, grouped.high, grouped.verdict) == (-1.0, 1.0, Verdict.UNCLEAR)


def alarms(population, n, trials, seed=7):
    """How often two models that are equal in the population are told apart."""
    rng = np.random.default_rng(seed)
    found = 0
    for trial in range(trials):
        ours, theirs = draw(rng, n, population, models=2)
        found += measures.paired_gain(F1, ours, theirs, groups=None, folds=None, seed=trial, **PAIRED).verdict is not Verdict.UNCLEAR
    return found / trials


@pytest.mark.parametrize("population", ["usual", "sparse"])
def test_equal_models_raise_an_alarm_no_more_often_than_promised(population):
    assert 0.01 <= alarms(population, 120, 200) <= 0.07


@pytest.mark.slow
@pytest.mark.parametrize("population", POPULATIONS)
@pytest.mark.parametrize("n", [50, 300])
def test_false_alarms_in_many_trials(population, n):
    assert alarms(population, n, 1000) <= scipy.stats.binom.ppf(0.9999, 1000, 0.055) / 1000


def test_a_true_gain_is_found():
    rng = np.random.default_rng(8)
    verdicts = []
    for trial in range(20):
        (theirs,) = draw(rng, 300, "usual")
        ours = theirs.copy()  # three tenths of what was missed are found
        more = rng.binomial((theirs[:, 2] - theirs[:, 0]).astype(int), 0.3)
        ours[:, :2] += more[:, None]
        verdicts.append(measures.paired_gain(F1, ours, theirs, groups=None, folds=None, seed=trial, **PAIRED).verdict)
    assert verdicts.count(Verdict.HELPS) >= 18


def test_copies_in_groups_count_once():
    ours, theirs = draw(np.random.default_rng(9), 80, "usual", models=2)
    told = {**PAIRED, "resamples": 2000, "seed": 0, "folds": None}
    once = measures.paired_gain(F1, ours, theirs, groups=None, **told)
    copied = measures.paired_gain(F1, np.tile(ours, (5, 1)), np.tile(theirs, (5, 1)), groups=np.tile(np.arange(80), 5), **told)
    naive = measures.paired_gain(F1, np.tile(ours, (5, 1)), np.tile(theirs, (5, 1)), groups=None, **told)
    width = [gain.high - gain.low for gain in (once, copied, naive)]
    assert width[1] == pytest.approx(width[0], rel=0.08)
    assert width[2] < 0.6 * width[0]


def test_folds_that_disagree_widen_the_interval():
    """By hand: five folds of 20 sentences; the winner finds all in three of them and nothing in two, the opponent never anything."""
    folds = np.repeat(np.arange(5), 20)
    theirs = np.array([[0.0, 1.0, 1.0]] * 100)
    ours = theirs.copy()
    ours[:, 0] = folds < 3
    by_rows = measures.paired_gain(F1, ours, theirs, groups=None, folds=None, seed=0, **PAIRED)
    by_folds = measures.paired_gain(F1, ours, theirs, groups=None, folds=folds, seed=0, **PAIRED)
    # Variance of 1, 1, 1, 0, 0 is 0.3; of that half of what rows of a fold explain, five times the variance over all rows, is taken off.
    rows = ((by_rows.high - by_rows.low) / 2 / scipy.stats.t.ppf(0.975, 99)) ** 2
    more = scipy.stats.t.ppf(0.975, 4) ** 2 * (1 / 5 + 1 / 4) * (0.3 - 0.5 * 5 * rows)
    half = np.sqrt(scipy.stats.t.ppf(0.975, 99) ** 2 * rows + more)
    assert by_rows.verdict is Verdict.HELPS
    assert by_folds.low == pytest.approx(0.6 - half) and by_folds.high == 1.0 and by_folds.verdict is Verdict.UNCLEAR
    assert measures.paired_gain(F1, ours, theirs, groups=None, folds=np.zeros(100, int), seed=0, **PAIRED) == by_rows


# --- influences ---


def without_a_little(measure, sums, i, little):
    """The derivative of the score by a row's weight, both ways."""
    weights = np.ones(len(sums))
    weights[i] += little
    more = float(measure.value(weights @ sums))
    weights[i] -= 2 * little
    return (more - float(measure.value(weights @ sums))) / (2 * little)


def mean_of_two(totals):
    """A score of its own: the mean of two F1, of totals (6, ...)."""
    return (measures.f1_of(totals[:3]) + measures.f1_of(totals[3:])) / 2


TWO = Measure(mean_of_two, lambda totals: totals[0])


@given(seed=st.integers(0, 10**6), n=st.integers(3, 30), population=st.sampled_from(list(POPULATIONS)))
@settings(max_examples=25, deadline=None)
def test_influences_are_what_leaving_a_little_of_a_row_out_changes(seed, n, population):
    rng = np.random.default_rng(seed)
    sums = draw(rng, n, population)[0] + np.array([1.0, 2.0, 2.0])  # away from where nothing is there
    for measure, of in ((F1, sums), (PRECISION, sums), (RECALL, sums), (TWO, np.hstack([sums, sums[::-1]]))):
        found = measures.influences(measure, of)
        expected = [n * without_a_little(measure, of, i, 1e-4) for i in range(n)]
        assert found == pytest.approx(expected, abs=1e-4)
        assert found.mean() == pytest.approx(0.0, abs=1e-6)


def test_influences_give_the_variance_that_resampling_gives():
    for population in POPULATIONS:
        (sums,) = draw(np.random.default_rng(10), 500, population)
        drawn = measures._resampled([sums], None, 3000, 0)[0]
        assert measures.influences(F1, sums).var() / 500 == pytest.approx(F1.value(drawn).var(), rel=0.12)


def test_where_nothing_was_to_be_found_no_row_has_influence():
    assert measures.influences(F1, np.zeros((4, 3))).tolist() == [0.0] * 4


def test_a_measure_is_plain_data():
    with pytest.raises(dataclasses.FrozenInstanceError):
        F1.value = None


def test_of_a_loss_the_interval_of_the_gain_is_that_of_the_paired_differences():
    """Bits a byte of fifty rows of a hundred bytes each, where the ratio is a mean: the paired t interval, nothing added."""
    bits = Measure(lambda sums: sums[0] / np.maximum(sums[1], 1.0), lambda sums: sums[1], Range.LOSS)
    rng = np.random.default_rng(0)
    theirs = rng.normal(1.2, 0.3, 50)
    ours = theirs - rng.normal(0.03, 0.08, 50)
    sums = [np.stack([100.0 * each, np.full(50, 100.0)], axis=1) for each in (ours, theirs)]
    options = {**PAIRED, "metric": Metric.BITS_PER_BYTE, "resamples": 20_000}
    gain = measures.paired_gain(bits, *sums, groups=None, folds=None, seed=0, **options)
    half = scipy.stats.t.ppf(0.975, 49) * (theirs - ours).std(ddof=1) / np.sqrt(50)
    assert gain.value == pytest.approx((theirs - ours).mean())
    assert (gain.low, gain.high) == pytest.approx((gain.value - half, gain.value + half), abs=0.001)
