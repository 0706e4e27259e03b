"""The ranking benchmark: which cells run in which order, what the figures of a ranking are, what the baselines say."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import rankdata

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    """Import a benchmark's module as its scripts do; afterwards nothing of it is left among the modules."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(FOLDER))
        before, path = set(sys.modules), list(sys.path)
        yield importlib.import_module
        sys.path[:] = path
    for name in set(sys.modules) - before:
        if name.split(".")[0] in ("ranking", "common", "data", "above_the_cut"):
            del sys.modules[name]


@pytest.fixture(scope="module")
def measure(load: Any) -> ModuleType:
    found: ModuleType = load("ranking.measure")
    return found


# --- regret ---

TRUTH = {"a": 0.9, "b": 0.8, "c": 0.6, "d": 0.5}


def test_regret_is_what_the_best_of_the_first_k_lacks_to_the_best_of_all(measure: ModuleType) -> None:
    backwards = {"a": 1.0, "b": 2.0, "c": 3.0, "d": 4.0}
    assert measure.regret(TRUTH, backwards, 1) == pytest.approx(40.0)  # 0.9 - 0.5
    assert measure.regret(TRUTH, backwards, 3) == pytest.approx(10.0)  # the best of d, c, b is 0.8
    assert measure.regret(TRUTH, backwards, 4) == measure.regret(TRUTH, backwards, 9) == 0.0
    assert measure.regret(TRUTH, TRUTH, 1) == 0.0


def test_regret_of_equal_scores_is_the_expectation_over_their_orders(measure: ModuleType) -> None:
    assert measure.regret(TRUTH, dict.fromkeys(TRUTH, 0.0), 1) == pytest.approx(100 * (0.9 - statistics.fmean(TRUTH.values())))
    # Of three at random only b, c, d, one in four, leaves out a.
    assert measure.regret(TRUTH, dict.fromkeys(TRUTH, 0.0), 3) == pytest.approx(10.0 / 4)
    # c is first for sure, and the second is a, b or d.
    assert measure.regret(TRUTH, {"a": 1.0, "b": 1.0, "c": 2.0, "d": 1.0}, 2) == pytest.approx((0.0 + 10.0 + 30.0) / 3)


def regret_by_orders(truth: dict[str, float], predicted: dict[str, float], k: int) -> float:
    """The mean over every order of the sources, of which the ranker's is a stable sort."""
    best, found = max(truth.values()), []
    for names in itertools.permutations(truth):
        first = sorted(names, key=lambda name: -predicted[name])[:k]
        found.append(100 * (best - max(truth[name] for name in first)))
    return statistics.fmean(found)


TABLES = st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(st.sampled_from([0.2, 0.5, 0.55, 0.7, 0.9]), min_size=n, max_size=n),
        st.lists(st.sampled_from([-1.0, 0.0, 0.5, 2.0]), min_size=n, max_size=n),
        st.integers(1, 6),
    )
)


def test_regret_agrees_with_trying_every_order(measure: ModuleType) -> None:
    @given(TABLES)
    def holds(table: tuple[list[float], list[float], int]) -> None:
        truth, predicted = ({f"s{i}": value for i, value in enumerate(values)} for values in table[:2])
        k = table[2]
        assert measure.regret(truth, predicted, k) == pytest.approx(regret_by_orders(truth, predicted, k))
        assert measure.regret(truth, predicted, k + 1) <= measure.regret(truth, predicted, k) + 1e-9

    holds()


def test_scores_of_other_sources_are_refused(measure: ModuleType) -> None:
    with pytest.raises(ValueError, match=r"^scores of \['a'\] do not rank \['a', 'b', 'c', 'd'\]$"):
        measure.regret(TRUTH, {"a": 1.0}, 1)


# --- tau ---


def tau_by_pairs(right: list[float], said: list[float]) -> float:
    """Vigna's weighted tau written down: each pair weighs 1/(r + 1) + 1/(s + 1), ranks from 0 at the best, as the mean of the value with
    ranks by (right, said) and that with ranks by (said, right); equal ones count 0 above and in their own side's norm below."""

    def with_ranks(first: list[float], second: list[float]) -> float:
        order = sorted(range(len(first)), key=lambda i: (first[i], second[i]), reverse=True)
        rank = {i: r for r, i in enumerate(order)}
        above = left = below = 0.0
        for i, j in itertools.combinations(range(len(first)), 2):
            weight = 1 / (rank[i] + 1) + 1 / (rank[j] + 1)
            one, other = np.sign(first[i] - first[j]), np.sign(second[i] - second[j])
            above += weight * one * other
            left += weight * one**2
            below += weight * other**2
        return float(above / math.sqrt(left * below))

    return (with_ranks(right, said) + with_ranks(said, right)) / 2


def test_weighted_tau_agrees_with_summing_over_pairs(measure: ModuleType) -> None:
    rng = np.random.default_rng(0)
    for _ in range(30):
        n = int(rng.integers(2, 9))
        right, said = rng.permutation(n).astype(float), rng.integers(0, 4, n).astype(float)
        names = [f"s{i}" for i in range(n)]
        if len(set(said)) > 1:
            found = measure.weighted_tau(dict(zip(names, right, strict=True)), dict(zip(names, said, strict=True)))
            assert found == pytest.approx(tau_by_pairs(right.tolist(), said.tolist()))


def test_weighted_tau_is_1_for_the_true_order_and_0_where_nothing_is_told_apart(measure: ModuleType) -> None:
    ranks = dict(zip(TRUTH, rankdata(list(TRUTH.values())).tolist(), strict=True))
    assert measure.weighted_tau(TRUTH, ranks) == pytest.approx(1.0)
    assert measure.weighted_tau(TRUTH, {name: -rank for name, rank in ranks.items()}) == pytest.approx(-1.0)
    assert measure.weighted_tau(TRUTH, dict.fromkeys(TRUTH, 3.0)) == 0.0
    assert measure.weighted_tau(dict.fromkeys(TRUTH, 0.5), TRUTH) == 0.0


# --- means and intervals ---


def test_the_interval_is_about_as_wide_as_the_standard_error_says(measure: ModuleType) -> None:
    values = np.random.default_rng(3).normal(5.0, 2.0, 200)
    mean, low, high = measure.interval(values.tolist())
    error = values.std() / math.sqrt(len(values))
    assert mean == pytest.approx(values.mean())
    assert (mean - low, high - mean) == pytest.approx((1.96 * error, 1.96 * error), rel=0.05)
    assert measure.interval([4.0]) == (4.0, 4.0, 4.0)


def cell(source: str, target: str, seed: int, partial: float, probe: float = 0.0) -> dict[str, Any]:
    return {"source": source, "target": target, "seed": seed, "partial": partial, "probe": probe}


def test_truth_is_the_mean_over_seeds_that_have_every_source(measure: ModuleType) -> None:
    cells = [
        *(cell("a", "x", 0, 0.5, 0.1), cell("b", "x", 0, 0.7, 0.2)),
        *(cell("a", "x", 1, 0.7, 0.1), cell("b", "x", 1, 0.9, 0.4)),
        cell("a", "x", 2, 0.0),  # b is not there yet
        cell("b", "y", 0, 0.3),
        cell("c", "x", 0, 0.99),  # not asked for
    ]
    assert measure.truth_by_target(cells, "partial", ["a", "b"]) == {"x": {"a": pytest.approx(0.6), "b": pytest.approx(0.8)}}
    assert measure.truth_by_target(cells, "probe", ["a", "b"]) == {"x": {"a": pytest.approx(0.1), "b": pytest.approx(0.3)}}


def test_a_ranker_is_averaged_over_seeds_and_then_over_targets(measure: ModuleType) -> None:
    truth = {"x": {"a": 0.9, "b": 0.5}, "y": {"a": 0.2, "b": 0.8}}

    def said(target: str, seed: int, a: float, b: float, seconds: float | None = 2.0) -> list[Any]:
        return [measure.Prediction("r", target, seed, "a", a, seconds), measure.Prediction("r", target, seed, "b", b, 1.0)]

    predictions = [
        *said("x", 0, 1.0, 0.0),  # right
        *said("x", 1, 0.0, 1.0),  # 40 points lost
        *said("y", 0, 1.0, 0.0, None),  # 60 points lost; its seconds are not known
        *said("y", 1, 1.0, 0.0)[:1],  # half a ranking counts for nothing
        *said("z", 0, 1.0, 0.0),  # no truth
    ]
    (quality,) = measure.qualities(truth, predictions)
    assert quality.ranker == "r"
    assert quality.targets == 2
    assert quality.regret1[0] == pytest.approx((20.0 + 60.0) / 2)
    assert quality.regret3[0] == 0.0
    assert quality.tau[0] == pytest.approx((0.0 + -1.0) / 2)
    assert quality.seconds == pytest.approx(3.0)


def test_rankers_come_with_the_least_regret_first(measure: ModuleType) -> None:
    truth = {"x": {"a": 0.9, "b": 0.5}}
    wrong = [measure.Prediction("wrong", "x", 0, "a", 0.0), measure.Prediction("wrong", "x", 0, "b", 1.0)]
    right = [measure.Prediction("right", "x", 0, "a", 1.0), measure.Prediction("right", "x", 0, "b", 0.0)]
    assert [quality.ranker for quality in measure.qualities(truth, [*wrong, *right])] == ["right", "wrong"]


# --- baselines ---

NAMES = {"minilm": 22, "mpnet": 110, "minilm+sst2": 22, "mpnet-random": 110}


def test_baselines_see_sizes_fame_and_other_targets_alone(measure: ModuleType) -> None:
    truth = {
        "x": {"minilm": 0.5, "mpnet": 0.9, "minilm+sst2": 0.7, "mpnet-random": 0.2},
        "y": {"minilm": 0.8, "mpnet": 0.6, "minilm+sst2": 0.7, "mpnet-random": 0.1},
    }
    found = {quality.ranker: quality for quality in measure.qualities(truth, measure.baselines(truth, NAMES))}
    assert set(found) == {"random", "largest", "most downloaded", "best elsewhere"}
    assert found["most downloaded"].regret1[0] == pytest.approx((40.0 + 0.0) / 2)  # MiniLM
    assert found["best elsewhere"].regret1[0] == pytest.approx((40.0 + 20.0) / 2)  # on x what is best on y, and the other way round
    assert found["largest"].regret1[0] == pytest.approx(((0.0 + 70.0) / 2 + (20.0 + 70.0) / 2) / 2)  # MPNet, trained or not
    assert found["random"].regret1[0] == pytest.approx(100 * ((0.9 - 2.3 / 4) + (0.8 - 2.2 / 4)) / 2)
    assert found["random"].tau == (0.0, 0.0, 0.0)
    fame = {p.source: p.score for p in measure.baselines(truth, NAMES) if p.ranker == "most downloaded"}
    assert sorted(fame, key=lambda name: -fame[name]) == ["minilm", "mpnet", "minilm+sst2", "mpnet-random"]


def test_the_best_elsewhere_is_not_said_of_a_single_target(measure: ModuleType) -> None:
    truth = {"x": dict.fromkeys(NAMES, 0.5)}
    assert {one.ranker for one in measure.baselines(truth, NAMES)} == {"random", "largest", "most downloaded"}


def test_seconds_are_reading_and_scoring_where_reading_was_not_helped(measure: ModuleType) -> None:
    line = {"ranker": "r", "target": "x", "seed": 1, "source": "a", "score": 0.5, "seconds": 0.25, "read_seconds": 2.0}
    whole, helped = measure.predictions_of([line, {**line, "read_seconds": None}])
    assert whole == measure.Prediction("r", "x", 1, "a", 0.5, 2.25)
    assert helped.seconds is None


# --- the truth's cells ---


def test_whole_tables_of_small_sources_come_before_mpnet_and_before_further_seeds(load: Any) -> None:
    truth = load("ranking.truth")
    places = truth.order(["mpnet", "minilm", "minilm-random", "mpnet+sst2"], ["x", "y"], [0, 1])
    assert [tuple(place) for place in places[:8]] == [
        *(("minilm", "x", 0), ("minilm-random", "x", 0), ("minilm", "y", 0), ("minilm-random", "y", 0)),
        *(("mpnet", "x", 0), ("mpnet+sst2", "x", 0), ("mpnet", "y", 0), ("mpnet+sst2", "y", 0)),
    ]
    assert {place.seed for place in places[8:]} == {1}
    assert len(set(places)) == 16


def truth_line(strategy: str, accuracy: float, seed: int = 0) -> dict[str, Any]:
    scores = {"accuracy": accuracy, "macro_f1": accuracy / 2, "seconds": 7.0, "cpu_seconds": 9.0}
    rows = {"n_train": 200, "n_test": 1000, "classes": 2, "parameters": 22, "code": "c"}
    return {"source": "minilm", "target": "subj", "seed": seed, "strategy": strategy, **scores, **rows}


def test_a_place_lacks_the_strategies_that_have_no_line(load: Any) -> None:
    truth = load("ranking.truth")
    place = truth.Place("minilm", "subj", 0)
    assert truth.missing(place, []) == ["probe", "partial"]
    assert truth.missing(place, [truth_line("probe", 0.8), truth_line("partial", 0.9, seed=1)]) == ["partial"]


def test_the_table_holds_whole_places_and_is_read_back(load: Any, tmp_path: Path) -> None:
    truth = load("ranking.truth")
    path = tmp_path / "table.json"
    truth.write_table([truth_line("probe", 0.8), truth_line("partial", 0.9), truth_line("probe", 0.7, seed=1)], path)
    cells, about = truth.read_table(path)
    wanted = {"source": "minilm", "target": "subj", "seed": 0, "probe": 0.8, "partial": 0.9, "probe_f1": 0.4, "partial_f1": 0.45}
    assert cells == [{**wanted, "seconds": 7.0, "cpu_seconds": 9.0}]
    assert about["targets"] == {"subj": [200, 1000, 2]}
    assert about["parameters"] == {"minilm": 22}
    assert about["measured_with_code"] == ["c"]
    assert "date" in about["machine"]


# --- the rows ---


@pytest.fixture
def data(load: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A data set `trec` whose test file repeats a training row, and whose labels are uneven."""
    folder = tmp_path / "trec"
    folder.mkdir()
    train = [(f"question {i}", "common" if i % 5 else "rare") for i in range(600)]
    splits = {
        "train": [*train, train[0]],
        "validation": [(f"check {i}", "common") for i in range(30)],
        "test": [("question 7", "common"), *((f"asked {i}", "rare") for i in range(50)), ("asked 1", "rare"), ("odd", "unknown")],
    }
    for split, rows in splits.items():
        lines = (json.dumps({"text": text, "label": label}) for text, label in rows)
        (folder / f"{split}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    monkeypatch.setenv("HEADSTART_DATA", str(tmp_path))
    return tmp_path


def test_training_and_held_out_rows_share_no_text_and_labels_keep_their_shares(load: Any, data: Path) -> None:
    train, held = load("ranking.targets").draw_target("trec", 0)
    assert len(train) == len(set(train.texts)) == 300
    assert np.bincount(train.y).tolist() == [240, 60]
    assert not set(train.texts) & set(held.texts)
    assert "question 7" not in train.texts
    # 51 of the test file, 30 of the validation file, the 299 undrawn rows that the test file does not hold; the unknown label is left out.
    assert len(held) == len(set(held.texts)) == 51 + 30 + 299
    assert "odd" not in held.texts
    assert held.texts[51].startswith("check")


def test_another_seed_draws_other_rows_and_the_same_seed_the_same(load: Any, data: Path) -> None:
    draw = load("ranking.targets").draw_target
    one, again, other = draw("trec", 0), draw("trec", 0), draw("trec", 1)
    assert one[0].texts == again[0].texts
    assert one[1].texts == again[1].texts
    assert set(one[0].texts) != set(other[0].texts)


def test_an_interval_covers_the_truth_within_its_ends_and_only_known_cases_count(measure: ModuleType) -> None:
    truth = {"t": {"a": 0.5, "b": 0.9}}
    lines = [
        {"target": "t", "source": "a", "low": 0.5, "high": 0.6},
        {"target": "t", "source": "b", "low": 0.5, "high": 0.8},
        {"target": "t", "source": "c", "low": 0.0, "high": 1.0},
        {"target": "u", "source": "a", "low": 0.0, "high": 1.0},
    ]
    assert measure.coverage(truth, lines) == (1, 2)


def test_gains_of_detours_stand_in_the_order_of_their_targets(load: Any) -> None:
    told = [("d", 0.01), ("b", 0.02), ("a", 0.03), ("c", 0.04), ("b", 0.06)]
    cells = [{"target": target, "gain": [gain, 0.0, 0.1], "detour_won": True} for target, gain in told]
    found = load("ranking.detours").gains_by_target
    assert found(cells) == found(cells[::-1]) == pytest.approx([3.0, 4.0, 4.0, 1.0])
