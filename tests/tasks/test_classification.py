import numpy as np
import pytest
import sklearn.metrics as reference
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from headstart.data.examples import Examples
from headstart.judge import gains, intervals
from headstart.judge.calibration import softmax
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks import classification, pairs
from headstart.tasks.classification import TASK, ClassJudge

SETTINGS = Settings(confidence=0.9, resamples=150, seed=5)
TOLD = {"confidence": 0.9, "resamples": 150, "seed": 5}


def simulated(n=60, c=3, signals=(2.0, 0.5), seed=0):
    """Rows, and logits of one model for each signal."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, c, n)
    logits = [3 * rng.normal(size=(n, c)) + signal * 3 * np.eye(c)[y] for signal in signals]
    return Rows(tuple(f"text {i}" for i in range(n)), y, c), logits


def examples(texts, labels, rows=None):
    return Examples(tuple(texts), tuple(labels), tuple(rows or range(1, len(texts) + 1)), "a.csv", "text", "label")


@given(seed=st.integers(0, 10**6), n=st.integers(2, 40), c=st.integers(2, 5))
@hypothesis_settings(max_examples=30, deadline=None)
def test_scores_equal_scikit_learn(seed, n, c):
    rows, (logits, _) = simulated(n, c, seed=seed)
    judge, guesses = ClassJudge(), logits.argmax(axis=1)
    assert judge.score(Metric.ACCURACY, logits, rows) == pytest.approx(reference.accuracy_score(rows.y, guesses))
    assert judge.score(Metric.MACRO_F1, logits, rows) == pytest.approx(
        reference.f1_score(rows.y, guesses, average="macro", zero_division=0)
    )
    assert judge.score(Metric.LOG_LOSS, logits, rows) == pytest.approx(reference.log_loss(rows.y, softmax(logits), labels=range(c)))
    seen = judge.seen(Said(logits), rows, [f"class {k}" for k in range(c)])
    assert np.array_equal(seen.confusion, reference.confusion_matrix(rows.y, guesses, labels=range(c)))
    assert [one.label for one in seen.classes] == [f"class {k}" for k in range(c)]
    assert [one.recall for one in seen.classes] == pytest.approx(
        reference.recall_score(rows.y, guesses, labels=range(c), average=None, zero_division=0)
    )


def test_the_judge_hands_groups_folds_and_settings_on():
    rows, (ours, theirs) = simulated()
    judge, groups, folds = ClassJudge(), np.arange(60) // 3, np.arange(60) % 5
    p, q = softmax(ours), softmax(theirs)
    assert judge.scores(ours, rows, groups, SETTINGS) == intervals.scores(p, rows.y, groups=groups, **TOLD)
    for metric in TASK.metrics:
        assert judge.estimate(metric, ours, rows, groups, SETTINGS) == intervals.estimate(metric, p, rows.y, groups=groups, **TOLD)
        gain = judge.gain((ours, theirs), ("probe", "tfidf"), metric, rows, groups, folds, SETTINGS)
        assert gain == gains.paired_gain(p, q, rows.y, metric, winner="probe", opponent="tfidf", groups=groups, folds=folds, **TOLD)
        assert gain.winner == "probe" and gain.value > 0


@pytest.mark.parametrize("metric", [Metric.ACCURACY, Metric.LOG_LOSS])
def test_a_contrast_has_the_variance_that_resampling_gives(metric):
    rows, (ours, theirs) = simulated(n=400)
    contrast = ClassJudge().contrast(metric, ours, theirs, rows)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, 400, 400) for _ in range(800)]
    sign = 1 if metric is Metric.ACCURACY else -1
    judge = ClassJudge()

    def apart(part):
        return sign * (judge.score(metric, ours[part], rows.take(part)) - judge.score(metric, theirs[part], rows.take(part)))

    assert contrast.difference == pytest.approx(apart(np.arange(400))) and contrast.difference > 0
    assert contrast.shares.var() / 400 == pytest.approx(np.var([apart(part) for part in drawn]), rel=0.12)


def test_a_contrast_of_macro_f1_has_the_variance_of_accuracy():
    rows, (ours, theirs) = simulated()
    by_f1, by_accuracy = (ClassJudge().contrast(metric, ours, theirs, rows) for metric in (Metric.MACRO_F1, Metric.ACCURACY))
    assert by_f1.shares.var() == by_accuracy.shares.var()
    scores = [reference.f1_score(rows.y, logits.argmax(axis=1), average="macro") for logits in (ours, theirs)]
    assert by_f1.difference == pytest.approx(scores[0] - scores[1])


def test_a_turned_contrast_is_the_same_turned():
    rows, (ours, theirs) = simulated()
    for metric in TASK.metrics:
        there, back = (ClassJudge().contrast(metric, *pair, rows) for pair in ((ours, theirs), (theirs, ours)))
        assert (back.difference, back.shares.var()) == pytest.approx((-there.difference, there.shares.var()))


# --- labels ---


def test_names_are_sorted_and_a_rare_spelling_counts_as_the_common_one():
    labels = classification.make_labels(["refund"] * 60 + ["Refund"] + ["card"] * 3, ["zero", "card"])
    assert labels.names == ("card", "refund", "zero")
    assert labels.spell("Refund") == "refund" and labels.spell(" card ") == "card"
    assert labels.known("Refund") and labels.known("zero") and not labels.known("other")


def test_rows_number_the_labels_and_counts_name_them():
    labels = classification.make_labels(["b", "a", "c"], [])
    rows = classification.make_rows(["one", "two", "three"], ["c", " a", "c"], labels)
    assert (rows.texts, rows.y.tolist(), rows.n_classes, rows.sizes, rows.kinds) == (("one", "two", "three"), [2, 0, 2], 3, None, None)
    assert classification.label_counts(rows, labels.names) == (("a", 1), ("b", 0), ("c", 2))


def test_rows_know_what_their_classes_are_called_and_pairs_do_not():
    labels = classification.make_labels(["card_lost", "Refund"], [])
    made = [kind.rows(["one"], ["Refund"], labels) for kind in (TASK, pairs.TASK)]
    assert [(rows.y.tolist(), rows.names) for rows in made] == [([0], ("refund", "card lost")), ([0], ())]


def test_examples_are_used_as_they_are_read():
    given_rows = examples(["a [b]", '["c"]'], ["x", '["O"]'])
    prepared = TASK.prepare(given_rows, None)
    assert prepared.examples is given_rows and prepared.findings == ()
    assert TASK.recognise(given_rows) == ""
    assert TASK.checks.names("B-PER O") == ("B-PER O",)


def test_hard_rows_are_those_whose_label_is_least_likely():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.01, 0.99], [0.3, 0.7]])
    rows = Rows(tuple("vwxyz"), np.array([0, 0, 0, 0, 1]), 2)
    read = examples("vwxyz", ["a", "a", "a", "a", "b"], rows=(10, 20, 30, 40, 50))

    def noted(most, known):
        notes = classification.hard(np.log(p), rows, read, ("a", "b"), most, known)
        return [(note.kind, note.row, note.text, note.label, note.predicted, round(note.probability, 6)) for note in notes]

    whole = [("hard", 40, "y", "a", "b", 0.99), ("hard", 20, "w", "a", "b", 0.8), ("hard", 30, "x", "a", "b", 0.6)]
    assert noted(9, set()) == whole
    assert noted(2, set()) == whole[:2]
    assert noted(2, {20}) == [whole[0], whole[2]]
    assert noted(0, set()) == []


def test_labels_that_a_good_model_denies_are_suspect_the_surest_first():
    true = np.arange(60) % 3
    y = true.copy()
    y[[7, 20, 33]] = (y[[7, 20, 33]] + 1) % 3
    logits = 4.0 * np.eye(3)[true]
    logits[[20, 7, 33]] *= np.array([[2.0], [1.5], [1.2]])
    read = examples([f"text {i}" for i in range(60)], ["abc"[k] for k in y])
    notes = classification.suspects(logits, Rows(read.texts, y, 3), read, ("a", "b", "c"))
    assert [(note.kind, note.row, note.label, note.predicted) for note in notes] == [
        ("suspect label", i + 1, "abc"[y[i]], "abc"[true[i]]) for i in (20, 7, 33)
    ]
