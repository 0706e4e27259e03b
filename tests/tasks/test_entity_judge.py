from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from seqeval.metrics import accuracy_score, f1_score, precision_score, recall_score
from seqeval.metrics.sequence_labeling import precision_recall_fscore_support
from seqeval.scheme import IOB2

from headstart.data.tags import tag_names
from headstart.judge import measures
from headstart.judge.calibration import softmax
from headstart.records import Verdict
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.entity_judge import EntityJudge, entity_counts, sums_of, word_losses
from headstart.tasks.ner import TASK

KINDS = ("LOC", "ORG", "PER")
NAMES = tag_names(KINDS)
JUDGE = EntityJudge()
SETTINGS = Settings(confidence=0.95, resamples=200, seed=1)


def mended(classes):
    """The same sentence in BIO2: what goes on with nothing begins an entity."""
    kind = (classes + 1) // 2
    before = np.concatenate([[0], kind[:-1]])
    return np.where((kind > 0) & (classes % 2 == 0) & (kind != before), classes - 1, classes)


def random_classes(rng, n):
    """Classes of the words of n sentences, in BIO2."""
    return [mended(rng.choice(len(NAMES), int(rng.integers(1, 9)), p=[0.4] + [0.1] * 6)) for _ in range(n)]


def altered(rng, sentences, share):
    """The same sentences with a share of their words put into another class."""
    return [np.where(rng.random(len(one)) < share, rng.integers(0, len(NAMES), len(one)), one) for one in sentences]


def as_rows(sentences):
    sizes = np.array([len(one) for one in sentences], dtype=np.int64)
    texts = tuple(" ".join("w" * size) for size in sizes.tolist())
    return Rows(texts, np.concatenate(sentences).astype(np.int64), len(NAMES), sizes)


def as_logits(sentences, rng=None):
    """Logits whose likeliest classes are these."""
    y = np.concatenate(sentences)
    noise = 0.0 if rng is None else rng.random((len(y), len(NAMES)))
    return 4.0 * np.eye(len(NAMES))[y] + noise


def tags(sentences):
    return [[NAMES[k] for k in one] for one in sentences]


def case(seed, n=12, share=0.3, valid=False):
    """Sentences, what a model finds, in BIO2 where `valid`, and both as the judge takes them."""
    rng = np.random.default_rng(seed)
    true = random_classes(rng, n)
    found = altered(rng, true, share)
    found = [mended(one) for one in found] if valid else found
    return true, found, as_rows(true), as_logits(found, rng)


# --- scores against seqeval ---


def check_against_seqeval(true, found, rows, logits, **how):
    told = {"zero_division": 0, **how}
    expected = [score(tags(true), tags(found), **told) for score in (f1_score, precision_score, recall_score)]
    scores = JUDGE.scores(logits, rows, None, SETTINGS)
    assert [scores[name].value for name in ("entity_f1", "precision", "recall")] == pytest.approx(expected)
    assert JUDGE.score(Metric.ENTITY_F1, logits, rows) == pytest.approx(expected[0])
    macro = f1_score(tags(true), tags(found), average="macro", **told)
    assert scores["macro_f1"].value == JUDGE.score(Metric.MACRO_F1, logits, rows) == pytest.approx(macro)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12), share=st.sampled_from([0.1, 0.4, 1.0]))
@hypothesis_settings(max_examples=30, deadline=None)
def test_scores_equal_seqeval_also_where_predictions_break_the_scheme(seed, n, share):
    true, found, rows, logits = case(seed, n, share=share)
    if any(k for one in (*true, *found) for k in one):  # of nothing at all seqeval takes the mean over no type
        check_against_seqeval(true, found, rows, logits)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12))
@hypothesis_settings(max_examples=20, deadline=None)
def test_scores_of_predictions_in_the_scheme_equal_the_strict_ones_of_seqeval(seed, n):
    true, found, rows, logits = case(seed, n, valid=True, share=0.5)
    if any(k for one in (*true, *found) for k in one):  # of nothing at all seqeval says nothing strictly
        check_against_seqeval(true, found, rows, logits, mode="strict", scheme=IOB2)


@given(seed=st.integers(0, 10**6), n=st.integers(1, 12))
@hypothesis_settings(max_examples=20, deadline=None)
def test_scores_by_type_equal_seqeval(seed, n):
    true, found, rows, logits = case(seed, n)
    expected = precision_recall_fscore_support(tags(true), tags(found), average=None, zero_division=0)
    present = sorted({NAMES[k][2:] for one in (*true, *found) for k in one if k})
    seen = JUDGE.seen(Said(logits), rows, NAMES)
    assert seen.confusion == () and [one.label for one in seen.classes] == list(KINDS)
    for one in seen.classes:
        told = [column[present.index(one.label)] for column in expected] if one.label in present else [0.0, 0.0, 0.0, 0]
        assert (one.precision, one.recall, one.f1, one.rows) == pytest.approx(tuple(told))


def test_scores_of_words_equal_seqeval_and_scikit_learn():
    true, found, rows, logits = case(3, 40)
    scores = JUDGE.scores(logits, rows, None, SETTINGS)
    assert scores["accuracy"].value == pytest.approx(accuracy_score(tags(true), tags(found)))
    assert scores["log_loss"].value == pytest.approx(reference.log_loss(rows.y, softmax(logits), labels=range(7)))
    assert word_losses(logits, rows).mean() == pytest.approx(scores["log_loss"].value)
    assert list(scores) == ["entity_f1", "precision", "recall", "macro_f1", "accuracy", "log_loss", "calibration_error"]


@given(seed=st.integers(0, 10**6), n=st.integers(1, 8))
@hypothesis_settings(max_examples=40, deadline=None)
def test_counts_of_each_row_and_type_equal_a_loop(seed, n):
    true, found, rows, logits = case(seed, n)
    expected = np.zeros((n, 3, len(KINDS)))
    for i, pair in enumerate(zip(found, true, strict=True)):
        sets = []
        for classes in pair:
            spans, start = set(), None
            for j, k in enumerate([*classes.tolist(), 0]):
                kind = (k + 1) // 2
                if start is not None and (k % 2 == 1 or kind != start[1]):
                    spans.add((start[0], j, start[1]))
                    start = None
                if kind and start is None:
                    start = (j, kind)
            sets.append(spans)
        for place, spans in enumerate((sets[0] & sets[1], sets[0], sets[1])):
            for _, _, kind in spans:
                expected[i, place, kind - 1] += 1
    assert (entity_counts(logits, rows) == expected).all()


def test_an_entity_counts_only_where_both_ends_and_the_type_agree():
    """By hand: right; too long; another type; one that is none; one that is missed."""
    true = [np.array([1, 2, 0]), np.array([1, 2, 0]), np.array([1, 2, 0]), np.array([0, 0]), np.array([5])]
    found = [np.array([1, 2, 0]), np.array([1, 2, 2]), np.array([3, 4, 0]), np.array([0, 5]), np.array([0])]
    rows, logits = as_rows(true), as_logits(found)
    assert entity_counts(logits, rows).sum(axis=0).tolist() == [[1, 0, 0], [2, 1, 1], [3, 0, 1]]
    assert JUDGE.score(Metric.ENTITY_F1, logits, rows) == pytest.approx(2 * 1 / (4 + 4))
    assert JUDGE.score(Metric.MACRO_F1, logits, rows) == pytest.approx((2 / 5 + 0 + 0) / 3)


def test_a_type_that_is_nowhere_does_not_lower_the_mean_over_types():
    sentences = [np.array([1, 2, 0, 3])]
    rows = as_rows(sentences)
    assert JUDGE.score(Metric.MACRO_F1, as_logits(sentences), rows) == 1.0
    assert JUDGE.score(Metric.MACRO_F1, as_logits([np.array([0, 0, 0, 0])]), rows) == 0.0
    nothing = as_rows([np.array([0, 0])])
    assert JUDGE.score(Metric.MACRO_F1, as_logits([np.array([0, 0])]), nothing) == 0.0


# --- intervals ---


def test_every_score_lies_in_its_interval_and_is_the_estimate_by_itself():
    true, _, rows, logits = case(5, 40)
    groups = np.arange(40) // 2
    scores = JUDGE.scores(logits, rows, groups, SETTINGS)
    for found in scores.values():
        assert 0 <= found.low <= found.value <= found.high and found.low < found.high
    for metric in TASK.metrics:
        assert JUDGE.estimate(metric, logits, rows, groups, SETTINGS) == scores[metric.value]
    assert {name: scores[name].n for name in ("entity_f1", "macro_f1", "accuracy", "log_loss")} == {
        "entity_f1": 40,
        "macro_f1": 40,
        "accuracy": len(rows.y),
        "log_loss": len(rows.y),
    }
    assert sum(map(len, true)) == len(rows.y)


def test_words_of_a_sentence_are_one_thing_and_not_many():
    """Sentences of ten words, in each of which all are right or all are wrong, tell as much as one word each."""
    right = np.array([True] * 30 + [False] * 10)
    rows = as_rows([np.zeros(10, dtype=np.int64)] * 40)
    logits = as_logits([np.full(10, 0 if one else 1) for one in right])
    found = JUDGE.estimate(Metric.ACCURACY, logits, rows, None, SETTINGS)
    expected = scipy.stats.binomtest(30, 40).proportion_ci(0.95, method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert JUDGE.scores(logits, rows, None, SETTINGS)["accuracy"] == found


def test_copies_of_sentences_in_groups_do_not_narrow_any_interval():
    rng = np.random.default_rng(6)
    true = random_classes(rng, 80)
    found = altered(rng, true, 0.2)
    settings = Settings(resamples=1000)
    once = JUDGE.scores(as_logits(found), as_rows(true), None, settings)
    copied, naive = (
        JUDGE.scores(as_logits(found * 4), as_rows(true * 4), groups, settings) for groups in (np.tile(np.arange(80), 4), None)
    )
    for name in ("entity_f1", "precision", "recall", "macro_f1", "accuracy"):
        width = [scores[name].high - scores[name].low for scores in (once, copied, naive)]
        assert width[1] == pytest.approx(width[0], rel=0.12)
        assert width[2] < 0.65 * width[0]


def test_the_interval_of_the_mean_over_types_holds_the_truth():
    """A population of sentences whose types are unequally frequent and unequally hard."""
    share = np.array([0.6, 0.3, 0.1])
    easy = np.array([0.9, 0.7, 0.5])

    def sample(rng, n):
        there = rng.multinomial(1, share, n).astype(float) * rng.integers(1, 3, (n, 1))
        hits = rng.binomial(there.astype(int), easy).astype(float)
        return np.hstack([hits, there, there])  # what was not found was found at another place

    measure, rng = measures.mean_by_class(3), np.random.default_rng(7)
    held = 0
    for trial in range(150):
        sums = sample(rng, 150)
        found = measures.estimate(measure, sums, groups=None, confidence=0.95, resamples=150, seed=trial)
        held += found.low <= easy.mean() <= found.high
    assert 0.90 <= held / 150 <= 0.99


# --- gains and contrasts ---


def two_models(seed=8, n=150, shares=(0.1, 0.4)):
    rng = np.random.default_rng(seed)
    true = random_classes(rng, n)
    return as_rows(true), tuple(as_logits(altered(rng, true, share), rng) for share in shares)


@pytest.mark.parametrize("metric", TASK.metrics)
def test_the_better_model_gains_the_difference(metric):
    rows, logits = two_models()
    gain = JUDGE.gain(logits, ("probe", "crf"), metric, rows, None, None, SETTINGS)
    scores = [JUDGE.score(metric, one, rows) for one in logits]
    assert gain.value == pytest.approx(abs(scores[0] - scores[1]))
    assert gain.verdict is Verdict.HELPS and gain.low < gain.value < gain.high
    assert (gain.metric, gain.winner, gain.opponent, gain.confidence) == (metric.value, "probe", "crf", 0.95)
    assert JUDGE.gain(logits[::-1], ("crf", "probe"), metric, rows, None, None, SETTINGS).verdict is Verdict.HURTS


@pytest.mark.parametrize("metric", TASK.metrics)
def test_groups_and_folds_of_rows_widen_the_interval_of_a_gain(metric):
    rows, logits = two_models(shares=(0.3, 0.32))

    def width(groups, folds):
        gain = JUDGE.gain(logits, ("probe", "crf"), metric, rows, groups, folds, SETTINGS)
        return gain.high - gain.low

    folds = np.argsort(np.argsort(sums_of(Metric.ENTITY_F1, logits[0], rows)[1][:, 0], kind="stable")) // 30  # as unlike as can be
    assert width(np.arange(150) // 50, None) > 1.3 * width(None, None)
    assert width(None, folds) > 1.3 * width(None, None)
    assert width(None, np.zeros(150, dtype=np.int64)) == width(None, None)


@pytest.mark.parametrize("metric", TASK.metrics)
def test_a_contrast_has_the_variance_that_resampling_sentences_gives(metric):
    rows, (ours, theirs) = two_models()
    contrast = JUDGE.contrast(metric, ours, theirs, rows)
    sign = 1 if metric.higher_is_better else -1

    def apart(part):
        units, taken = rows.units(part), rows.take(part)
        return sign * (JUDGE.score(metric, ours[units], taken) - JUDGE.score(metric, theirs[units], taken))

    assert contrast.difference == pytest.approx(apart(np.arange(150))) and contrast.difference > 0
    rng = np.random.default_rng(9)
    drawn = [apart(rng.integers(0, 150, 150)) for _ in range(400)]
    assert contrast.shares.var() / 150 == pytest.approx(np.var(drawn), rel=0.2)


def test_a_contrast_of_a_model_with_itself_is_nothing():
    rows, (ours, _) = two_models()
    for metric in TASK.metrics:
        contrast = JUDGE.contrast(metric, ours, ours, rows)
        assert (contrast.difference, contrast.shares.var()) == (0.0, 0.0)
