import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, f1_score, label_ranking_average_precision_score, precision_recall_fscore_support

from headstart.judge import measures
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.label_judge import RANKING, LabelJudge, ranking_precisions

JUDGE, QUICK = LabelJudge(), Settings(resamples=400)


def rows_of(y):
    return Rows(tuple(f"t{i}" for i in range(len(y))), np.asarray(y, dtype=np.int64), np.shape(y)[1])


def drawn(seed, n=80, c=4, sure=1.0):
    rng = np.random.default_rng(seed)
    y = (rng.random((n, c)) < np.linspace(0.1, 0.6, c)).astype(np.int64)
    return rng.normal(size=(n, c)) + sure * (2 * y - 1), y


@pytest.mark.parametrize("seed", range(4))
def test_all_scores_are_those_of_scikit_learn(seed):
    logits, y = drawn(seed)
    scores = JUDGE.scores(logits, rows_of(y), None, QUICK)
    given = logits > 0
    assert scores["micro_f1"].value == pytest.approx(f1_score(y, given, average="micro"))
    assert scores["macro_f1"].value == pytest.approx(f1_score(y, given, average="macro", zero_division=0))
    assert scores["accuracy"].value == pytest.approx(accuracy_score(y, given))
    assert scores[RANKING].value == pytest.approx(label_ranking_average_precision_score(y, logits))
    precision, recall, _, _ = precision_recall_fscore_support(y, given, average="micro")
    assert (scores["precision"].value, scores["recall"].value) == (pytest.approx(precision), pytest.approx(recall))
    for estimate in scores.values():
        assert 0 <= estimate.low <= estimate.value <= estimate.high <= 1 and estimate.n == 80


@given(st.integers(0, 10_000), st.integers(1, 5), st.booleans())
@settings(max_examples=60, deadline=None)
def test_the_order_of_labels_counts_as_in_scikit_learn_with_ties_and_rows_of_none_and_all(seed, c, ties):
    rng = np.random.default_rng(seed)
    logits = rng.integers(0, 3, (12, c)).astype(float) if ties else rng.normal(size=(12, c))
    y = rng.integers(0, 2, (12, c))
    assert ranking_precisions(logits, y).mean() == pytest.approx(label_ranking_average_precision_score(y, logits))


def test_each_label_has_its_own_precision_and_recall():
    logits, y = drawn(7)
    seen = JUDGE.seen(Said(logits), rows_of(y), ["a", "b", "c", "d"])
    precision, recall, f1, support = precision_recall_fscore_support(y, logits > 0, zero_division=0)
    for k, one in enumerate(seen.classes):
        assert (one.precision, one.recall, one.f1) == (pytest.approx(precision[k]), pytest.approx(recall[k]), pytest.approx(f1[k]))
        assert (one.label, one.rows) == ("abcd"[k], support[k])
    assert seen.confusion == () and seen.numbers == ()


@pytest.mark.parametrize("metric", [Metric.MICRO_F1, Metric.MACRO_F1, Metric.ACCURACY])
def test_gain_and_contrast_are_differences_of_the_scores(metric):
    (better, y), (worse, _) = drawn(3, n=300, sure=2.0), drawn(4, n=300, sure=0.2)
    rows = rows_of(y)
    gain = JUDGE.gain((better, worse), ("a", "b"), metric, rows, None, None, QUICK)
    apart = JUDGE.score(metric, better, rows) - JUDGE.score(metric, worse, rows)
    assert gain.value == pytest.approx(apart) and gain.low < apart < gain.high and gain.low > 0
    contrast = JUDGE.contrast(metric, better, worse, rows)
    assert contrast.difference == pytest.approx(apart)
    # The variance by rows is that of the paired resamples.
    rng = np.random.default_rng(0)
    again = []
    for _ in range(300):
        some = rng.integers(0, 300, 300)
        again.append(JUDGE.score(metric, better[some], rows.take(some)) - JUDGE.score(metric, worse[some], rows.take(some)))
    assert contrast.shares.var() / 300 == pytest.approx(np.var(again), rel=0.35)


def test_the_interval_of_micro_f1_holds_the_truth():
    """The truth is the score of a population of which every judged set is drawn."""
    logits, y = drawn(11, n=20_000)
    truth = f1_score(y, logits > 0, average="micro")
    rng, held = np.random.default_rng(5), 0
    for trial in range(200):
        some = rng.integers(0, 20_000, 60)
        found = measures.estimate(*_sums(logits[some], y[some]), groups=None, confidence=0.95, resamples=200, seed=trial)
        held += found.low <= truth <= found.high
    assert 180 <= held <= 199


def _sums(logits, y):
    from headstart.tasks.label_judge import sums_of

    return sums_of(Metric.MICRO_F1, logits, rows_of(y))
