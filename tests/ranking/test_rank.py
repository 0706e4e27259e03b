"""`headstart rank`: order, ties, the map, what is kept, what is left out."""

import dataclasses
import json
import math
import re
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import headstart
from headstart import cli
from headstart.errors import SettingsError, SourceError
from headstart.judge.gains import paired_gain
from headstart.judge.intervals import estimate
from headstart.prior import Belief
from headstart.ranking import kept as ranking_kept
from headstart.ranking import rank as ranking
from headstart.ranking import task as ranking_task
from headstart.ranking.kept import Kept
from headstart.ranking.measure import sketch_of, text_shares
from headstart.ranking.order import BETWEEN, LEVEL, combined, difference_error, in_order, on_map
from headstart.ranking.rank import rank
from headstart.ranking.table import table
from headstart.ranking.task import make_task
from headstart.records import Estimate, LayerScore, LeftOut
from headstart.report.ranking_page import build_page
from headstart.settings import Metric, make_settings
from headstart.sources import embedded
from headstart.sources.resolve import resolve_source
from headstart.strategies.base import Rows
from headstart.target import parts_of, read_target
from small import bare, marked, sentences, write_csv
from tiny import WORDS, make_tiny


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ranking")
    write_csv(folder / "rows.csv", sentences(120, 1))
    write_csv(folder / "test.csv", sentences(60, 2))
    make_tiny(folder / "bert", "bert", blocks=3)
    make_tiny(folder / "gpt2", "gpt2", blocks=2)
    make_tiny(folder / "broken", "bert", blocks=2)
    (folder / "broken" / "model.safetensors").write_bytes(b"no weights")
    return folder


@pytest.fixture
def settings(place, tmp_path):
    return make_settings(
        {"source": [str(place / name) for name in ("bert", "gpt2", "broken")], "store": str(tmp_path / "store"), "resamples": 200}
    )


def test_sources_of_other_kinds_are_ranked_together_and_a_broken_one_is_left_out_with_its_reason(place, settings):
    found = rank(place / "rows.csv", settings)
    assert {source.name for source in found.sources} == {str(place / "bert"), str(place / "gpt2")}
    values = [source.predicted.value for source in found.sources]
    assert values == sorted(values, reverse=True)
    [left_out] = found.left_out
    assert left_out.name == str(place / "broken") and str(place / "broken") in left_out.reason
    for source in found.sources:
        assert source.predicted.low <= source.predicted.value <= source.predicted.high
        assert [item.layer for item in source.layer_scores] == list(range(source.blocks + 1))
        assert {"logme", "hscore", "transrate", "knn", "ridge", "ridge_curve"} == set(source.scores)
    assert found.rows == found.all_rows == 120


def test_a_source_that_is_named_in_two_ways_is_ranked_once(place, settings):
    first, again = str(place / "bert"), f"{place}/./bert"
    found = rank(place / "rows.csv", replace(settings, source=(first, again)))
    assert [source.name for source in found.sources] == [first]
    told = f"The source {again!r} is the same model as {first!r}, in {first!r}; it is looked at once."
    assert found.left_out == (LeftOut(again, told),)


def test_ranked_again_no_model_is_opened_and_the_figures_are_the_same(place, settings, monkeypatch):
    first = rank(place / "rows.csv", settings)
    monkeypatch.setattr(ranking, "measure", None)  # calling it would fail
    again = rank(place / "rows.csv", settings)
    assert replace(again, created="", seconds=0.0) == replace(first, created="", seconds=0.0)


def test_adding_a_source_costs_one_source(place, settings, monkeypatch):
    rank(place / "rows.csv", replace(settings, source=(str(place / "bert"),)))
    measured, measure = [], ranking.measure
    monkeypatch.setattr(ranking, "measure", lambda source, *rest: measured.append(source.name) or measure(source, *rest))
    rank(place / "rows.csv", settings)
    assert measured == [str(place / "gpt2")]


def test_what_is_kept_is_measured_again_when_it_is_damaged_or_another_thing_is_asked(place, settings, tmp_path):
    alone = replace(settings, source=(str(place / "bert"),))
    first = rank(place / "rows.csv", alone)
    for ending in ("npz", "json"):
        [path] = (tmp_path / "store" / "rankings").glob(f"*.{ending}")
        path.write_bytes(path.read_bytes()[:-40])
        assert rank(place / "rows.csv", alone).sources == first.sources
    keys = len(list((tmp_path / "store" / "rankings").glob("*.json")))
    others = (replace(alone, metric=Metric.ACCURACY), replace(alone, few_rows=0), replace(alone, few_rows=0, test_share=0.4))
    for more, asked in enumerate(others):
        rank(place / "rows.csv", asked)
        assert len(list((tmp_path / "store" / "rankings").glob("*.json"))) == keys + 1 + more


@pytest.mark.parametrize(
    "asked",
    [
        {"learning_rate": 1e-2},
        {"layer_decay": 0.5},
        {"warmup": 0.5},
        {"weight_decay": 0.5},
        {"patience": 5},
        {"vocabulary": "new"},
        {"pack": True},
    ],
)
def test_what_a_short_training_depends_on_is_part_of_what_is_kept(place, asked):
    source, translating = resolve_source(str(place / "bert")), {"task": "translation"}
    keys = {ranking_kept.kept_key(source, "rows", make_settings({**translating, **more})) for more in ({}, asked)}
    assert len(keys) == 2


def test_rankings_unused_for_longest_go_first(tmp_path, monkeypatch):
    import os

    size = sum(path.stat().st_size for path in _kept_files(tmp_path / "one"))
    monkeypatch.setattr(ranking_kept, "MOST_BYTES", round(2.5 * size))
    (tmp_path / "rankings").mkdir()
    (tmp_path / "rankings" / "torn.npz").write_bytes(b"its json was never written")
    for at, key in enumerate(("a", "b", "c")):
        ranking_kept.keep(tmp_path, key, _kept(np.full((4, 2), 0.5), key))
        if (tmp_path / "rankings" / f"{key}.json").exists():
            os.utime(tmp_path / "rankings" / f"{key}.json", (at + 1, at + 1))
    ranking_kept.recall(tmp_path, "b")
    ranking_kept.keep(tmp_path, "d", _kept(np.full((4, 2), 0.5), "d"))
    assert sorted(path.name for path in (tmp_path / "rankings").iterdir()) == ["b.json", "b.npz", "d.json", "d.npz"]


def _kept_files(folder):
    ranking_kept.keep(folder, "a", _kept(np.full((4, 2), 0.5), "a"))
    return list((folder / "rankings").iterdir())


def test_what_is_kept_comes_back_as_it_was(tmp_path):
    kept = _kept(np.array([[0.3, 0.7], [np.nan, np.nan]]), "x")
    given = ranking_kept.keep(tmp_path, "key", kept)
    back = ranking_kept.recall(tmp_path, "key")
    assert np.array_equal(back.held, given.held, equal_nan=True)
    kept = replace(kept, held=kept.held.astype(np.float32).astype(np.float64))
    assert np.array_equal(back.held, kept.held, equal_nan=True) and np.array_equal(back.sketch, kept.sketch)
    nothing = np.zeros(0)
    assert replace(back, held=nothing, sketch=nothing) == replace(kept, held=nothing, sketch=nothing)


def test_no_row_of_the_test_file_takes_part(place, settings, tmp_path):
    """The same training rows give the same ranking, whatever the test file says."""
    one = replace(settings, source=(str(place / "bert"),))
    other = [(text, "card") for text, _ in sentences(60, 3)]
    write_csv(tmp_path / "other.csv", other)
    with_test = rank(place / "rows.csv", replace(one, test=str(place / "test.csv")))
    with_other = rank(place / "rows.csv", replace(one, test=str(tmp_path / "other.csv"), store=str(tmp_path / "fresh")))
    assert with_test.sources[0].scores == with_other.sources[0].scores
    assert with_test.sources[0].predicted == with_other.sources[0].predicted


def test_without_a_source_the_embedded_one_and_the_shelf_are_ranked(place, shelf_folder, capsys):
    assert cli.main(["sources", "add", str(place / "bert"), "--name", "mine"]) == 0
    assert cli.main(["sources", "add", "hub:somebody/model", "--name", "far"]) == 0
    (shelf_folder / "torn.json").write_text("no json")
    far = "'far' on the shelf is not ranked: it lies on the hub; name it with --source to have it fetched."
    found, left_out = ranking.every_known_source()
    assert found == [("all-MiniLM-L6-v2", "all-MiniLM-L6-v2"), ("mine", str(place / "bert"))]
    assert left_out[1].reason == far and left_out[0].reason.startswith("The file of 'torn' on the shelf is damaged: ")
    config = (place / "bert" / "config.json").read_bytes()
    (place / "bert" / "config.json").write_bytes(config + b" ")
    try:
        found, left_out = ranking.every_known_source()
        assert found == [("all-MiniLM-L6-v2", "all-MiniLM-L6-v2")]
        assert [item.name for item in left_out] == ["torn", "far", "mine"]
        assert left_out[-1].reason.startswith("'mine' on the shelf is not ranked: ")
    finally:
        (place / "bert" / "config.json").write_bytes(config)


def test_a_model_that_is_known_twice_is_ranked_once():
    for words in (["all-MiniLM-L6-v2"], [embedded.PACKAGE, "--name", "small"]):
        assert cli.main(["sources", "add", *words]) == 0
    found, left_out = ranking.every_known_source()
    assert (found, left_out) == ([("all-MiniLM-L6-v2", "all-MiniLM-L6-v2")], [])


def test_none_that_can_be_used_is_one_sentence(place, tmp_path, capsys):
    words = ["rank", str(place / "rows.csv"), "--source", "nowhere", "--store", str(tmp_path / "store"), "--quiet"]
    assert cli.main(words) != 0
    assert capsys.readouterr().err == (
        "headstart: There is no source 'nowhere': no folder, no installed package with a model and nothing on the shelf has that name. "
        "To download one, give hub:NAME.\n"
    )


@pytest.mark.slow
def test_an_earlier_run_is_also_scored_by_its_head(place, settings, tmp_path):
    run = headstart.fit(
        str(place / "rows.csv"),
        text="text",
        label="label",
        test=str(place / "test.csv"),
        source=str(place / "bert"),
        strategy="probe",
        out=str(tmp_path / "run"),
        store=settings.store,
        quiet=True,
        resamples=200,
    )
    mine = replace(settings, source=(str(run.folder),))
    taught = f"The source {str(run.folder)!r} was taught 120 of these 120 rows, so no score on them would be honest; "
    with pytest.raises(SourceError) as refused:
        rank(place / "rows.csv", mine)
    assert str(refused.value) == f"{taught}name the source that it began with."
    write_csv(tmp_path / "others.csv", sentences(90, 9))
    scores = rank(tmp_path / "others.csv", mine).sources[0].scores
    # Its own head against a loop over the definition of NCE.
    model = headstart.load(run.folder)
    target = read_target(tmp_path / "others.csv", settings)
    given = model.predict(list(target.rows.texts))
    pairs = list(zip(given, target.rows.y, strict=True))
    wanted = sum(math.log(pairs.count(pair) / given.count(pair[0])) for pair in pairs) / len(pairs)
    assert scores["nce"] == pytest.approx(wanted, abs=1e-6)
    assert scores["leep"] < 0


# --- other tasks: by the ladder's own probe ---


def _labels(place, n):
    """Rows with none, one or both of two labels, told by words."""
    rng = np.random.default_rng(3)
    rows = []
    for i in range(n):
        labels = [name for k, name in enumerate(("card", "order")) if (i + k) % 3]
        rows.append({"text": " ".join([*labels, *rng.choice(WORDS, 6)]), "labels": labels})
    place.write_text("".join(json.dumps(row) + "\n" for row in rows))


def _marked(place, n):
    place.write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in marked(n, 4)))


def _numbers(place, n):
    rng = np.random.default_rng(5)
    rows = [list(rng.choice(["card", *WORDS], 8)) for _ in range(n)]
    place.write_text(
        "".join(json.dumps({"text": " ".join(words), "label": words.count("card") + 0.1 * i / n}) + "\n" for i, words in enumerate(rows))
    )


@pytest.mark.parametrize(
    ("write", "task", "metric"),
    [(_labels, "multilabel", "micro_f1"), (_numbers, "regression", "spearman"), (_marked, "ner", "entity_f1")],
)
def test_sources_are_ranked_for_other_tasks_by_the_probe_that_a_fit_would_run(place, settings, tmp_path, write, task, metric):
    write(tmp_path / "rows.jsonl", 60)
    two = replace(settings, source=(str(place / "bert"), str(place / "gpt2")), task=task, inner_folds=2)
    found = rank(tmp_path / "rows.jsonl", two)
    assert (found.task, found.metric, len(found.sources)) == (task, metric, 2) and not found.left_out
    again = rank(tmp_path / "rows.jsonl", two)
    assert replace(again, created="", seconds=0.0) == replace(found, created="", seconds=0.0)
    for source in found.sources:
        assert source.scores == {} and source.layer_scores
        # The same rows, folds and rung as in a fit, so the same score.
        run = _fitted(tmp_path, two, source.name)
        [probe] = [trial for trial in run.results.trials if trial.name == "probe"]
        assert source.probe == probe.score


def test_of_entities_long_texts_are_said_to_be_read_in_pieces(place, settings, tmp_path):
    rows = [(40 * words, 40 * tags) for words, tags in marked(20, 4)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in rows))
    found = rank(tmp_path / "rows.jsonl", replace(settings, source=(str(place / "bert"),), inner_folds=2))
    [source] = found.sources
    assert source.truncated_share == 1.0 and source.tokens_per_word is not None
    assert "it reads 100% of the texts in pieces" in source.why and "cuts off" not in source.why
    assert "in pieces  tokens/word" in next(table(found))
    assert "texts in pieces" in build_page(found) and "cut off" not in build_page(found)


def _fitted(tmp_path, settings, source):
    with bare():
        return headstart.fit(
            str(tmp_path / "rows.jsonl"),
            source=source,
            task=settings.task,
            strategy=("probe",),
            inner_folds=2,
            outer_folds=2,
            resamples=200,
            store=settings.store,
            out=str(tmp_path / f"run {source[-4:]}"),
        )


# --- order, ties, intervals ---


def _kept(held, name="x", gain=0.0, ahead=0.0, task=None):
    y = np.arange(len(held)) % 2 if task is None else task.rows.y
    metric = Metric.ACCURACY if task is None else task.settings.metric
    seen = ~np.isnan(held[:, 0])
    return Kept(
        name=name,
        held=np.log(held),
        sketch=np.eye(2),
        probe=estimate(metric, held[seen], y[seen], groups=None, confidence=0.95, resamples=200, seed=0),
        ahead=ahead,
        ahead_error=0.0,
        gain=Belief(gain, 0.02),
        strategy="partial",
        layers=(4, 5, 6),
        blocks=6,
        seconds=1.0,
        parameters=10,
        truncated_share=0.0,
        tokens_per_word=1.2,
        scores={},
        layer_scores=(),
    )


def _task(n, metric="accuracy"):
    rows = Rows(tuple(map(str, range(n))), np.arange(n) % 2, 2)
    return SimpleNamespace(rows=rows, groups=np.arange(n), settings=make_settings({"metric": metric, "resamples": 200}))


def _held(task, right):
    """Probabilities that are right on these rows."""
    y = task.rows.y
    probabilities = np.full((len(y), 2), 0.1)
    probabilities[np.arange(len(y)), np.where(right, y, 1 - y)] = 0.9
    return probabilities


def test_the_best_probe_comes_first_a_near_one_is_tied_and_a_far_one_is_not():
    task = _task(1000)
    rows = np.arange(1000)
    best, near, far = _held(task, rows % 10 > 0), _held(task, rows % 9 > 0), _held(task, rows % 2 > 0)
    ranked = in_order([_kept(far, "far"), _kept(near, "near"), _kept(best, "best")], task)
    assert [(source.name, source.tied) for source in ranked] == [("best", True), ("near", True), ("far", False)]
    assert ranked[0].probe.value == pytest.approx(0.9)


def test_the_gain_of_the_strategy_and_the_curve_are_added_and_widen_the_interval():
    task = _task(1000)
    held = _held(task, np.arange(1000) % 10 > 1)
    [one] = in_order([_kept(held, gain=0.05, ahead=0.02)], task)
    assert one.predicted.value == pytest.approx(0.87)
    assert one.predicted.high - one.predicted.low > one.probe.high - one.probe.low
    [sure] = in_order([_kept(held, gain=0.9)], task)
    assert sure.predicted.value == sure.predicted.high == 1.0


def test_the_interval_is_as_wide_as_its_parts_together():
    task = _task(1000)
    held = _held(task, np.arange(1000) % 10 > 1)
    [one] = in_order([_kept(held)], task)
    rest = 1.959964 * math.sqrt(0.02**2 + BETWEEN[Metric.ACCURACY] ** 2 + LEVEL[Metric.ACCURACY] ** 2)
    assert one.predicted.high - one.predicted.value == pytest.approx(math.hypot((one.probe.high - one.probe.low) / 2, rest), rel=1e-3)


def _layers(*scores):
    return tuple(LayerScore("x", k, Estimate(score, score, score, 100, 0.95)) for k, score in enumerate(scores))


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_predicted_scores_are_dealt_out_by_mean_rank(metric):
    task = _task(100, metric)
    held = [_held(task, np.arange(100) % 10 > k) for k in (1, 2, 4)]
    voices = [{"logme": -0.5, "knn": 0.3}, {"logme": -0.1, "knn": 0.8}, {"logme": -9.0, "knn": 0.1}]
    kept = [dataclasses.replace(_kept(one, task=task), scores=said) for one, said in zip(held, voices, strict=True)]
    plain = [one.probe.value for one in kept]
    # Ranks of the probe 3 2 1, of LogME 2 3 1, of neighbours 2 3 1: the second is first, by however little.
    assert combined(kept, 1.0 if metric == "accuracy" else -1.0) == [plain[1], plain[0], plain[2]]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_the_best_layers_have_a_say(metric):
    """Of the layers the four best count, together: one that stands out does not outweigh four that are good."""
    task = _task(100, metric)
    held = _held(task, np.arange(100) % 10 > 1)
    sign = 1.0 if metric == "accuracy" else -1.0
    shown, steady = _layers(*(sign * np.array([0.9, 0.5, 0.5, 0.5, 0.1]))), _layers(*(sign * np.array([0.1, 0.7, 0.7, 0.7, 0.7])))
    first = dataclasses.replace(_kept(held, gain=0.02, task=task), scores={"logme": 1.0, "knn": 0.5}, layer_scores=shown)
    second = dataclasses.replace(_kept(held, task=task), scores={"logme": 2.0, "knn": 0.5}, layer_scores=steady)
    better, worse = first.probe.value + sign * 0.02, second.probe.value
    assert combined([first, second], sign) == pytest.approx([worse, better])
    # One against one, without the layers or where they agree: what is predicted of each by itself decides.
    silent = [dataclasses.replace(one, layer_scores=()) for one in (first, second)]
    alike = [dataclasses.replace(one, layer_scores=steady) for one in (first, second)]
    assert combined(silent, sign) == combined(alike, sign) == pytest.approx([better, worse])
    # Nor do layers alone speak for a task that has no other estimators.
    assert combined([dataclasses.replace(one, scores={}) for one in (first, second)], sign) == pytest.approx([better, worse])


def test_reasons_tell_by_how_much_others_moved_a_score():
    task = _task(100)
    held = [_held(task, np.arange(100) % 10 > k) for k in (1, 2, 4)]
    voices = [{"logme": -0.5, "knn": 0.3}, {"logme": -0.1, "knn": 0.8}, {"logme": -0.9, "knn": 0.1}]
    kept = [dataclasses.replace(_kept(one, str(k), gain=0.03), scores=voices[k]) for k, one in enumerate(held)]
    moved = 0
    for source in in_order(kept, task):
        parts = [float(number) for number in re.findall(r"(?:has|add|by) ([+-]?[0-9.]+[0-9])", source.why)]
        assert sum(parts) == pytest.approx(source.predicted.value, abs=0.016)  # each is told to a hundredth
        moved += "LogME, neighbours and single layers move it by" in source.why
    assert moved >= 2


@pytest.mark.parametrize(
    "voices",
    [[{}, {}], [{"logme": 1.0}, {}], [{"logme": float("nan"), "knn": 0.5}, {"logme": 1.0, "knn": 0.5}]],
)
def test_estimators_that_not_all_sources_have_or_that_tell_none_apart_have_no_say(voices):
    task = _task(100)
    held = [_held(task, np.arange(100) % 10 > k) for k in (1, 2)]
    kept = [dataclasses.replace(_kept(one), scores=said) for one, said in zip(held, voices, strict=True)]
    assert combined(kept, 1.0) == pytest.approx([one.probe.value for one in kept])
    assert combined(kept[:1], 1.0) == [kept[0].probe.value]


def test_for_log_loss_lower_is_better():
    task = _task(400, "log_loss")
    right = np.arange(400) % 10 > 0
    good, poor = _held(task, right), np.full((400, 2), 0.5)
    ranked = in_order([_kept(poor, "poor", task=task), _kept(good, "good", gain=0.1, task=task)], task)
    assert [source.name for source in ranked] == ["good", "poor"]
    expected = -(0.9 * math.log(0.9) + 0.1 * math.log(0.1)) - 0.1
    assert ranked[0].predicted.value == pytest.approx(expected)
    assert ranked[0].why == "a probe on layers 4 to 6 of 6 has 0.33; partial is expected to add -0.10"


def test_sources_that_would_pass_the_greatest_score_keep_their_order():
    task = _task(1000)
    less, all_right = _held(task, np.arange(1000) % 33 > 0), _held(task, np.arange(1000) >= 0)
    ranked = in_order([_kept(less, "less", gain=0.1), _kept(all_right, "all", gain=0.1)], task)
    assert [(source.name, source.predicted.value) for source in ranked] == [("all", 1.0), ("less", 1.0)]


def test_the_error_of_a_difference_is_that_of_the_paired_gain_and_of_both_sources_after_training():
    task = _task(400, "macro_f1")
    first, second = _held(task, np.arange(400) % 10 > 0), _held(task, np.arange(400) % 7 > 0)
    gain = paired_gain(
        first, second, task.rows.y, Metric.MACRO_F1, winner="", opponent="", groups=None, folds=None, confidence=0.95, resamples=200, seed=0
    )
    wanted = math.hypot((gain.high - gain.low) / 2 / 1.959964, BETWEEN[Metric.MACRO_F1] * math.sqrt(2))
    assert difference_error(_kept(first), _kept(second), task) == pytest.approx(wanted, rel=0.02)
    other = replace(_kept(second), strategy="probe", gain=Belief(0.0, 0.1))
    assert difference_error(_kept(first), other, task) == pytest.approx(math.hypot(wanted, 0.1, 0.02), rel=0.02)


# --- the map ---


def test_features_that_differ_by_a_rotation_and_a_scale_stand_at_one_place():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(50, 8)).astype(np.float32)
    turn, _ = np.linalg.qr(rng.normal(size=(8, 8)))
    other = rng.normal(size=(50, 8)).astype(np.float32)
    places = on_map([sketch_of(features), sketch_of((features @ turn * 3 + 2).astype(np.float32)), sketch_of(other)])
    assert places[0] == pytest.approx(places[1], abs=1e-3)
    apart = math.dist(places[0], places[2])
    # Centred kernel alignment by its own definition.
    x, z = features - features.mean(axis=0), other - other.mean(axis=0)
    alignment = np.linalg.norm(x.T @ z) ** 2 / (np.linalg.norm(x.T @ x) * np.linalg.norm(z.T @ z))
    assert apart == pytest.approx(math.acos(alignment), rel=1e-3)


def test_one_source_stands_in_the_middle():
    assert on_map([np.eye(3) / math.sqrt(3)]) == [(0.0, 0.0)]


# --- rows and texts ---


def test_of_many_rows_a_stratified_draw_is_read(place, settings, monkeypatch):
    monkeypatch.setattr(ranking_task, "MOST_ROWS", 30)
    target = read_target(place / "rows.csv", settings)
    task = make_task(target, settings)
    assert len(task.picked) == 30 and len(task.learn) == 120
    assert np.bincount(task.rows.y).tolist() == [10, 10, 10] and task.judged_by_folds


def test_rows_that_a_fit_would_set_aside_do_not_rank(place, settings):
    target = read_target(place / "rows.csv", settings)
    many = replace(settings, few_rows=100)
    task = make_task(target, many)
    [part] = parts_of(target, many)
    assert set(task.picked) == set(part.learn) and not set(task.picked) & set(part.judge)
    assert len(task.learn) == len(part.learn) and not task.judged_by_folds


def test_a_validation_file_is_the_one_fold_as_in_a_fit(place, settings, tmp_path):
    write_csv(tmp_path / "test.csv", sentences(30, 4))
    asked = replace(settings, validation=str(place / "test.csv"), test=str(tmp_path / "test.csv"))
    target = read_target(place / "rows.csv", asked)
    [(train, held)] = make_task(target, asked).folds
    assert len(held) == len(target.validation) and len(train) == len(target.rows) - len(held)


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ({"strategy": ["probee"]}, "--strategy is 'probee'; it must be one of "),
        ({"strategy": ["tfidf", "static"]}, "--strategy is tfidf, static, which does not depend on the source; there is nothing to rank."),
    ],
)
def test_a_strategy_that_cannot_be_ranked_for_is_refused(place, tmp_path, asked, message):
    with pytest.raises((SettingsError, SourceError)) as refused:
        rank(place / "rows.csv", make_settings({"source": [str(place / "bert")], "store": str(tmp_path / "store"), **asked}))
    assert str(refused.value).startswith(message)


def test_in_python_data_sets_are_not_ranked_silently(place):
    with pytest.raises(SettingsError) as refused:
        headstart.rank(str(place / "rows.csv"), via=str(place / "test.csv"))
    assert str(refused.value) == "`via` is set; headstart.rank ranks sources. `headstart rank DATA --via SET` compares data sets."


def test_in_python_rows_of_neighbouring_data_are_not_passed_over_silently(place):
    with pytest.raises(SettingsError) as refused:
        headstart.rank(str(place / "rows.csv"), rows_from=str(place / "test.csv"))
    assert str(refused.value) == "`rows_from` is set; headstart.rank looks at the target's own rows alone. Leave it out."


def test_shares_of_texts_are_those_of_a_count_by_hand(tiny_backbone):
    backbone = tiny_backbone("bert")
    short = replace(backbone, max_length=6)
    # Every word is one token, and two special tokens stand around a text.
    cut, per_word = text_shares(short, ["my card", "my card is lost again please help", "the a to i"])
    assert cut == pytest.approx(1 / 3)
    assert per_word == 1.0  # of the two that are read whole, made of words that the tokenizer knows
    assert text_shares(backbone, ["again"])[1] == len(backbone.tokenizer("again")["input_ids"]) - 2
    long = "my card is lost order please " * 20
    assert text_shares(short, [long, "pay " * 9]) == (1.0, None)  # not even their first eight words are read whole
    assert text_shares(backbone, [long, "pay " * 90]) == (1.0, 1.0)
    assert text_shares(backbone, ["\u6211\u4eec\u7684\u94b1\u5728\u54ea\u91cc\uff0c\u6211\u4eec\u7684\u8ba2\u5355\u5462" * 2])[1] is None


# --- the command ---


def test_the_command_prints_a_table_and_saves_json_and_page(place, tmp_path, capsys):
    words = [
        "rank",
        str(place / "rows.csv"),
        "--text",
        "text",
        "--label",
        "label",
        "--store",
        str(tmp_path / "store"),
        "--quiet",
        "--scores",
    ]
    for name in ("bert", "gpt2", "broken"):
        words += ["--source", str(place / name)]
    assert cli.main([*words, "--save", str(tmp_path / "page")]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[0].split() == ["source", "macro-F1", "with", "seconds", "parameters", "cut", "off", "tokens/word"]
    assert "left out: " in printed and "from 120 training rows." in printed and "ridge_curve" in printed
    plain = json.loads((tmp_path / "page" / "ranking.json").read_text())
    assert {item["name"] for item in plain["sources"]} == {str(place / "bert"), str(place / "gpt2")}
    page = (tmp_path / "page" / "ranking.html").read_text()
    assert page.count("<svg") == 4  # two figures, each wide and narrow; two sources make no map
    assert "http://" not in page.replace("http://www.w3.org", "") and "https://" not in page


def test_after_ctrl_c_the_same_command_measures_only_what_it_had_not(place, tmp_path, capsys, monkeypatch):
    words = ["rank", str(place / "rows.csv"), "--store", str(tmp_path / "store"), "--quiet"]
    words += ["--source", str(place / "bert"), "--source", str(place / "gpt2")]
    measured, measure = [], ranking.measure

    def until_the_second(source, *rest):
        if source.name == str(place / "gpt2") and not measured[1:]:
            measured.append("stopped")
            raise KeyboardInterrupt
        measured.append(source.name)
        return measure(source, *rest)

    monkeypatch.setattr(ranking, "measure", until_the_second)
    assert cli.main(words) == 130
    told = f"Stopped. Whatever was finished is kept; to go on, run the same command again: headstart {' '.join(words)}"
    assert capsys.readouterr().err == f"headstart: {told}\n"
    assert cli.main(words) == 0
    assert measured == [str(place / "bert"), "stopped", str(place / "gpt2")]


def test_a_file_in_place_of_the_folder_is_refused(place, tmp_path, capsys):
    (tmp_path / "page").write_text("mine")
    words = ["rank", str(place / "rows.csv"), "--source", str(place / "bert"), "--store", str(tmp_path / "store"), "--quiet"]
    assert cli.main([*words, "--save", str(tmp_path / "page")]) == 2
    assert not (tmp_path / "store").exists()  # told before anything is read
    assert capsys.readouterr().err == f"headstart: {str(tmp_path / 'page')!r} is a file; name a folder with --save.\n"
    assert (tmp_path / "page").read_text() == "mine"
