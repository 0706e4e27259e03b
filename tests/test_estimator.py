"""`TransferClassifier` keeps scikit-learn's rules. A quick stand-in does the training; the engine has tests of its own."""

import inspect
import sys
import types

import numpy as np
import pytest
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_score
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils.estimator_checks import (
    check_estimator_cloneable,
    check_estimator_repr,
    check_get_params_invariance,
    check_no_attributes_set_in_init,
    check_parameters_default_constructible,
    check_set_params,
)

import headstart
from headstart.errors import DataError, SettingsError
from headstart.estimator import TransferClassifier
from headstart.progress import say
from headstart.settings import Metric, Settings, as_plain

TEXTS = [f"{word} number {n}" for n in range(12) for word in ("aardvark", "zebra", "mole")]
LABELS = [word for _ in range(12) for word in ("first", "last", "middle")]


def letters(texts):
    """How often each letter stands in a text, shape (n, 26)."""
    return np.array([[text.count(chr(97 + place)) for place in range(26)] for text in texts], dtype=np.float64)


class LetterModel:
    """Counts letters. Its labels stand in reversed order, so that a caller who relies on their order is wrong."""

    def __init__(self, texts, labels, settings):
        self.settings = settings
        self.head = LogisticRegression(C=10.0).fit(letters(texts), labels)
        self.labels = list(self.head.classes_)[::-1]

    def predict_proba(self, texts):
        return self.head.predict_proba(letters(texts))[:, ::-1]


@pytest.fixture(autouse=True)
def training(monkeypatch):
    monkeypatch.setitem(sys.modules, "headstart.in_memory", types.SimpleNamespace(train_classifier=LetterModel))


def test_every_parameter_is_a_setting_with_its_default():
    plain = as_plain(Settings())
    parameters = {name: item.default for name, item in inspect.signature(TransferClassifier).parameters.items()}
    assert parameters == {name: tuple(plain[name]) if isinstance(plain[name], list) else plain[name] for name in parameters}
    assert len(parameters) == 18


def test_fit_predict_score_and_classes():
    model = TransferClassifier().fit(TEXTS, LABELS)
    assert model.classes_.tolist() == ["first", "last", "middle"]
    assert model.predict(["zebra", "mole", "aardvark"]).tolist() == ["last", "middle", "first"]
    assert model.predict_proba(["zebra", "mole"]).shape == (2, 3)
    np.testing.assert_allclose(model.predict_proba(["zebra", "mole"]).sum(axis=1), 1.0)
    assert model.predict_proba(["zebra"]).argmax() == 1
    assert model.score(TEXTS, LABELS) == 1.0


def test_settings_reach_the_training():
    model = TransferClassifier(source="some/folder", strategy=["probe", "tfidf"], budget="2m", metric="accuracy", cut=2, seed=7)
    used = model.fit(TEXTS, LABELS).model_.settings
    assert used == Settings(source=("some/folder",), strategy=("probe", "tfidf"), budget=120.0, metric=Metric.ACCURACY, cut=2, seed=7)


@pytest.mark.parametrize("labels", [[3, 1, 2], [True, False, True], [1.0, 5.0, 9.0], np.array([30, 10, 20]), ["b", "a", "c"]])
def test_labels_come_back_in_the_type_that_was_given(labels):
    y = [labels[n % 3] for n in range(36)]
    model = TransferClassifier().fit(TEXTS, y)
    np.testing.assert_array_equal(model.classes_, np.unique(labels))
    assert model.score(TEXTS, y) > 0.6
    assert type(model.predict(TEXTS).tolist()[0]) is type(np.asarray(labels).tolist()[0])


@pytest.mark.parametrize("shape", [(36,), (36, 1)])
def test_arrays_of_texts_are_texts(shape):
    X = np.array(TEXTS, dtype=object).reshape(shape)
    assert TransferClassifier().fit(X, np.array(LABELS)).score(X, LABELS) == 1.0


@pytest.mark.parametrize("quiet", [True, False])
def test_it_is_silent_where_it_is_asked_to_be(monkeypatch, capsys, quiet):
    def training(*given):
        say("  training probe")
        return LetterModel(*given)

    monkeypatch.setitem(sys.modules, "headstart.in_memory", types.SimpleNamespace(train_classifier=training))
    TransferClassifier(quiet=quiet).fit(TEXTS, LABELS)
    assert capsys.readouterr().err == ("" if quiet else "  training probe\n")


def test_clone_cross_validation_pipeline_and_grid_search():
    copy = clone(TransferClassifier(cut=3, source=("a", "b")))
    assert (copy.cut, copy.source) == (3, ("a", "b"))
    assert cross_val_score(TransferClassifier(), TEXTS, LABELS, cv=StratifiedKFold(3)).tolist() == [1.0, 1.0, 1.0]
    lower = FunctionTransformer(lambda texts: [text.lower() for text in texts])
    steps = Pipeline([("lower", lower), ("classify", TransferClassifier())])
    assert steps.fit([text.upper() for text in TEXTS], LABELS).score([text.upper() for text in TEXTS], LABELS) == 1.0
    search = GridSearchCV(steps, {"classify__cut": [1, 2], "classify__metric": ["accuracy"]}, cv=2).fit(TEXTS, LABELS)
    assert search.best_estimator_.named_steps["classify"].model_.settings.cut == search.best_params_["classify__cut"]


@pytest.mark.parametrize(
    "check",
    [
        check_estimator_cloneable,
        check_estimator_repr,
        check_get_params_invariance,
        check_no_attributes_set_in_init,
        check_parameters_default_constructible,
        check_set_params,
    ],
)
def test_scikit_learns_own_checks_that_need_no_matrix(check):
    check("TransferClassifier", TransferClassifier())


def test_it_says_of_itself_that_it_takes_strings():
    tags = TransferClassifier().__sklearn_tags__()
    assert is_classifier(TransferClassifier())
    assert (tags.input_tags.string, tags.input_tags.one_d_array, tags.input_tags.two_d_array) == (True, True, False)


def test_repr_shows_what_differs_from_the_defaults():
    assert repr(TransferClassifier(cut=2, metric="accuracy")) == "TransferClassifier(cut=2, metric='accuracy')"
    assert headstart.TransferClassifier is TransferClassifier


def test_before_fit_it_says_so():
    with pytest.raises(NotFittedError):
        TransferClassifier().predict(["a"])


def test_classes_in_the_other_form_of_unicode_are_those_of_the_model():
    model = TransferClassifier()
    model.classes_ = np.array(["cafe\u0301", "the\u0301"])
    model.model_ = types.SimpleNamespace(labels=("th\u00e9", "caf\u00e9"), predict_proba=lambda texts: [[0.2, 0.8]] * len(texts))
    assert model.predict_proba(["a"]).tolist() == [[0.8, 0.2]]
    assert model.predict(["a"]).tolist() == ["cafe\u0301"]


@pytest.mark.parametrize(
    ("X", "y", "message"),
    [
        ("one text", ["a"], "X is one string; give a list of texts, as in [text]."),
        (["a", None], ["a", "b"], "Text 2 is None, which is no string; every text must be one."),
        (["a", 3.5], ["a", "b"], "Text 2 is 3.5, which is no string; every text must be one."),
        (np.zeros((2, 3)), ["a", "b"], "The texts have the shape (2, 3); give one for each row, as a list or one column."),
        (["a", "b"], ["a"], "There are 2 texts and 1 labels; give one label for each text."),
        (["a", "b"], ["a", None], "y[1] is None; every text needs a label."),
        (["a", "b"], [1.0, float("nan")], "y[1] is nan; every text needs a label."),
        (["a", "b"], ["a", 1], "y[0] is 'a' and y[1] is 1; the labels must be all strings or all numbers."),
        (["a", "b"], [0.25, 0.5], "y[0] is 0.25, which looks like a measured number; a classifier needs classes."),
        (["a", "b"], [["a", "b"], ["a", "b"]], "y has the shape (2, 2); give one label for each text."),
        (["a", "b"], ["x", "x"], "All 2 labels are the same ('x'); a classifier needs at least two classes."),
        (["a", "b"], ["pos", "pos "], "The labels 'pos' and 'pos ' differ in white space or Unicode form alone; make them one."),
        (
            ["a", "b"],
            ["e\u0301", "\u00e9"],
            "The labels 'e\u0301' and '\u00e9' differ in white space or Unicode form alone; make them one.",
        ),
        (["a", "b"], ["pos", " "], "One of the labels is ' ', which names no class; leave its rows out."),
        ([], [], "There are no texts; a classifier needs at least two classes."),
    ],
)
def test_bad_input_is_told_in_one_sentence(X, y, message):
    with pytest.raises(DataError) as caught:
        TransferClassifier().fit(X, y)
    assert str(caught.value) == message


def test_bad_settings_are_told_in_fit_all_at_once():
    model = TransferClassifier(metric="acuracy", epochs="many")
    with pytest.raises(SettingsError) as caught:
        model.fit(TEXTS, LABELS)
    assert caught.value.problems == [
        "--epochs is 'many'; it must be a whole number.",
        "--metric is 'acuracy'; it must be one of accuracy, macro_f1, log_loss, entity_f1, micro_f1, "
        "spearman, pearson, answer_f1, exact_match, bleu, chrf, bits_per_byte, rouge_l. Did you mean 'accuracy'?",
    ]


def test_labels_with_white_space_around_them_come_back_as_they_were():
    padded = [f" {label}" for label in LABELS]
    model = TransferClassifier().fit(TEXTS, padded)
    assert model.predict(TEXTS).tolist() == padded


def test_a_class_of_which_no_row_can_be_used_is_never_likely(monkeypatch):
    class WithoutLast(LetterModel):
        def __init__(self, texts, labels, settings):
            kept = [i for i, label in enumerate(labels) if label != "last"]
            super().__init__([texts[i] for i in kept], [labels[i] for i in kept], settings)

    monkeypatch.setitem(sys.modules, "headstart.in_memory", types.SimpleNamespace(train_classifier=WithoutLast))
    model = TransferClassifier().fit(TEXTS, LABELS)
    found = model.predict_proba(TEXTS)
    assert model.classes_.tolist() == ["first", "last", "middle"] and found.shape == (36, 3)
    assert (found[:, 1] == 0).all() and found.sum(axis=1) == pytest.approx(1.0)
