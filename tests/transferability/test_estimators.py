"""Every estimator keeps one contract and the laws of its kind, and other packages can add theirs."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.split import folds
from headstart.errors import DataError, SettingsError
from headstart.transferability import registry
from headstart.transferability.decomposed import decompose
from headstart.transferability.registry import (
    Estimator,
    FeaturePair,
    HeadOutputs,
    LabelledFeatures,
    Needs,
    TextPair,
    get_estimator,
    known_estimators,
)

OF_FEATURES = ("logme", "hscore", "transrate", "knn", "ridge", "ridge_curve")
NAMES = (*OF_FEATURES, "leep", "nce", "mean_similarity", "mmd", "a_distance", "vocabulary")
SIDES = st.sampled_from([(40, 7), (18, 50), (24, 24)])


def given_features(x, y, c, seed=0):
    n = len(y)
    return LabelledFeatures(x, decompose(x), y, np.arange(n), c, folds(y, np.arange(n), 4, seed), seed)


def test_the_estimators_are_known_by_name() -> None:
    assert tuple(known_estimators()) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_every_estimator_keeps_the_contract(name, labelled):
    estimator = get_estimator(name)
    assert estimator.name == name and estimator.summary and estimator.summary == estimator.summary.strip(" .") and estimator.paper
    x, y = labelled(40, 12, 3)
    other = labelled(30, 12, 3, seed=1)[0]
    inputs = {
        Needs.FEATURES: given_features(x, y, 3),
        Needs.PROBABILITIES: HeadOutputs(np.random.default_rng(0).dirichlet(np.ones(5), 40), y, 3),
        Needs.DATA_SETS: FeaturePair(x, other, seed=0),
        Needs.TEXTS: TextPair(("my card is lost",), ("lost card", "refund")),
    }
    score = estimator.score(inputs[estimator.needs])
    assert type(score) is float and np.isfinite(score)
    low, high = estimator.range
    assert (low is None or low <= score) and (high is None or score <= high)
    assert estimator.score(inputs[estimator.needs]) == score


@pytest.mark.parametrize(
    ("name", "n", "d"),
    # Not TransRate with fewer rows than columns: it says itself that it knows nothing there.
    [(name, 200, 10) for name in OF_FEATURES] + [(name, 40, 80) for name in OF_FEATURES if name != "transrate"],
)
def test_features_that_tell_the_classes_apart_score_above_those_that_do_not(name, n, d, labelled):
    score = get_estimator(name).score
    scores = []
    for apart in (0.0, 0.7, 3.0):
        scores.append(score(given_features(*labelled(n, d, 2, seed=5, apart=apart), 2)))
    assert scores[0] < scores[1] < scores[2] or (name in ("ridge", "ridge_curve", "knn") and scores[0] < scores[1] <= scores[2] == 1.0)


@pytest.mark.parametrize("name", OF_FEATURES)
def test_features_that_never_vary_have_a_score_and_one_class_has_none(name):
    constant = np.full((20, 4), 0.5, dtype=np.float32)
    assert np.isfinite(get_estimator(name).score(given_features(constant, np.arange(20) % 2, 2)))
    one_class = replace(given_features(constant, np.arange(20) % 2, 2), y=np.zeros(20, dtype=np.int64))
    with pytest.raises(DataError) as caught:
        get_estimator(name).score(one_class)
    assert str(caught.value).endswith("have fewer than two classes; give rows of at least two.")


@given(seed=st.integers(0, 10**6), side=SIDES)
@settings(max_examples=12, deadline=None)
def test_a_rotation_of_the_features_changes_no_score(seed, side, labelled, rotation):
    n, d = side
    x, y = labelled(n, d, 3, seed)
    turned = (x.astype(np.float64) @ rotation(d, seed)).astype(np.float32)
    for name in ("logme", "hscore", "transrate", "ridge", "knn"):
        score = get_estimator(name).score
        # Turned rows are rounded to float32 again; a held-out row that stands on the border may go over.
        close = 1.01 / n if name in ("ridge", "knn") else 1e-4
        assert score(given_features(turned, y, 3)) == pytest.approx(score(given_features(x, y, 3)), abs=close, rel=1e-4)


@given(seed=st.integers(0, 10**6), side=SIDES, scale=st.floats(1e-3, 1e3))
@settings(max_examples=12, deadline=None)
def test_the_unit_of_the_features_changes_no_score(seed, side, scale, labelled):
    x, y = labelled(*side, 3, seed)
    x -= x.mean(axis=0)  # or rounding after scaling would weigh more than 1e-7 of the spread
    scaled = (x * scale).astype(np.float32)
    for name in OF_FEATURES:
        score = get_estimator(name).score
        close = 1.01 / len(y) if name in ("ridge", "ridge_curve", "knn") else 1e-4
        assert score(given_features(scaled, y, 3)) == pytest.approx(score(given_features(x, y, 3)), abs=close, rel=1e-4)


@given(seed=st.integers(0, 10**6), side=SIDES)
@settings(max_examples=12, deadline=None)
def test_the_order_of_rows_and_the_numbers_of_classes_change_no_score(seed, side, labelled):
    x, y = labelled(*side, 4, seed)
    rng = np.random.default_rng(seed)
    order, names = rng.permutation(len(y)), rng.permutation(4)
    place = np.argsort(order)
    whole = given_features(x, y, 4)
    moved_folds = [(np.sort(place[train]), np.sort(place[held])) for train, held in whole.folds]
    moved = replace(given_features(x[order], names[y[order]], 4), folds=moved_folds)
    for name in ("logme", "hscore", "transrate", "ridge", "knn"):
        score = get_estimator(name).score
        close = 1.01 / len(y) if name in ("ridge", "knn") else 1e-6
        assert score(moved) == pytest.approx(score(whole), abs=close, rel=1e-6)


# --- names ---


def test_an_unknown_name_is_refused_with_those_that_there_are() -> None:
    for name, hint in (("logm", " Did you mean 'logme'?"), ("zzz", "")):
        with pytest.raises(SettingsError) as caught:
            get_estimator(name)
        assert str(caught.value) == f"There is no estimator {name!r}; it must be one of {', '.join(NAMES)}.{hint}"


MINE = Estimator("mine", Needs.TEXTS, "counts", "none", (0.0, None), greater_is_better=True, score=lambda given: float(len(given.source)))


def test_other_packages_add_estimators_but_never_replace_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*, group: str) -> list[EntryPoint]:
        assert group == "headstart.estimators"
        return [EntryPoint(name, f"{__name__}:MINE", group) for name in ("mine", "also", "ridge")]

    monkeypatch.setattr(registry, "entry_points", listed)
    assert known_estimators() == [*NAMES, "also", "mine"]
    assert get_estimator("mine") is MINE
    assert get_estimator("ridge") is not MINE
