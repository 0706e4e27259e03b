"""A target without labels: heads fitted to its texts, on data where the right answer is known."""

import json

import numpy as np
import pytest

import headstart
from headstart.backbone.reading import Reader, tokenize
from headstart.budget import seconds_to_read
from headstart.candidates import open_means
from headstart.errors import DataError, SettingsError
from headstart.instances import target_texts, unlabelled
from headstart.instances.target_texts import has_no_labels, read_unlabelled
from headstart.instances.unlabelled import DEFAULT_WAY, WAYS, Sides, align, plain, self_labelled
from headstart.records import Severity
from headstart.settings import make_settings
from headstart.strategies.base import Rows
from headstart.strategies.heads import make_space
from headstart.strategies.ladder import Job
from small import TOPICS, bare, sentences, write_csv
from tiny import make_tiny


def shifted(n=400, m=400, d=5, seed=0):
    """Two classes along the first axis; the target is stretched along the second and moved along the third."""
    rng = np.random.default_rng(seed)
    y, truth = rng.integers(0, 2, m), rng.integers(0, 2, n)
    source, target = rng.normal(size=(m, d)), rng.normal(size=(n, d))
    source[:, 0] += 3 * y
    target[:, 0] += 3 * truth
    target[:, 1] *= 4
    target[:, 2] += 5
    return Sides(source.astype(np.float32), y, target.astype(np.float32), 2, seed), truth


def test_aligned_features_have_the_targets_mean_and_covariance():
    sides, _ = shifted(3000, 3000)
    found = align(sides.source, sides.target)
    np.testing.assert_allclose(found.mean(axis=0), sides.target.mean(axis=0), atol=1e-3)
    np.testing.assert_allclose(np.cov(found.T), np.cov(sides.target.T), atol=0.25)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_every_way_tells_the_classes_apart_where_the_texts_are_merely_shifted(name):
    sides, truth = shifted()
    head = WAYS[name](sides)
    # Weights help where both sides overlap, and here they hardly do.
    assert ((head.logits(sides.target).argmax(axis=1)) == truth).mean() > (0.7 if name == "weighted_rows" else 0.85)
    again = WAYS[name](sides)
    np.testing.assert_array_equal(head.weight, again.weight)


@pytest.mark.parametrize("name", sorted(WAYS))
def test_no_way_trips_over_few_rows_or_a_class_that_the_target_never_shows(name):
    sides, _ = shifted(12, 9)
    many = Sides(sides.source, np.arange(9) % 3, sides.target, 3, 0)
    assert np.isfinite(WAYS[name](many).logits(many.target)).all()


def test_rows_that_are_likely_among_the_targets_count_more():
    rng = np.random.default_rng(0)
    # Far from the target the classes are turned round.
    near, far = rng.normal(size=(300, 2)), rng.normal(loc=(0, 6), size=(900, 2))
    y = np.concatenate([near[:, 0] > 0, far[:, 0] < 0]).astype(np.int64)
    target = rng.normal(size=(300, 2)).astype(np.float32)
    sides = Sides(np.concatenate([near, far]).astype(np.float32), y, target, 2, 0)
    right = {name: ((WAYS[name](sides).logits(target).argmax(axis=1)) == (target[:, 0] > 0)).mean() for name in WAYS}
    assert right["weighted_rows"] > 0.9 > right["source_rows"]


def test_source_rows_that_are_held_out_are_told_by_a_head_that_did_not_learn_them(tiny_backbone, monkeypatch):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 40)
    sides = Sides(rng.normal(size=(40, 30)).astype(np.float32), y, rng.normal(size=(20, 30)).astype(np.float32), 2, 0)
    monkeypatch.setattr(unlabelled, "sides_of", lambda job: sides)
    folds = [(np.arange(20, 40), np.arange(20)), (np.arange(20), np.arange(20, 40))]
    reader = Reader(tiny_backbone("bert"), None, 4096)
    model, logits = unlabelled.out_of_fold(Job(Rows(("x",) * 40, y, 2), np.arange(40), folds, make_settings({}), 0, reader), plain)
    for train, held in folds:
        np.testing.assert_allclose(logits[held], plain(sides.take(train)).logits(sides.source[held]))
    np.testing.assert_array_equal(model.head.weight, plain(sides).weight)
    assert (logits.argmax(axis=1) == y).mean() < 0.75 < (model.head.logits(sides.source).argmax(axis=1) == y).mean()


def test_target_rows_with_labels_of_their_own_weigh_three_times_as_much_and_no_more_than_a_fifth_together(monkeypatch):
    given = []
    monkeypatch.setattr(unlabelled, "solve_path", lambda z, y, *_, row_weight, **__: given.append(row_weight))
    sides = Sides(np.zeros((40, 2), dtype=np.float32), np.arange(40) % 2, np.zeros((30, 2), dtype=np.float32), 2, 0)
    for own in (2, 30):
        labelled = 40 + np.arange(own), np.zeros(own, dtype=np.int64)
        unlabelled._with(sides, np.zeros((70, 2), dtype=np.float32), np.arange(40), labelled)
    assert given[0][:40].tolist() == given[1][:40].tolist() == [1.0] * 40
    assert given[0][40:].tolist() == [3.0, 3.0]
    assert given[1][40:].sum() == pytest.approx(0.2 * given[1].sum())


def test_only_target_rows_on_which_two_halves_of_the_source_agree_are_learnt(monkeypatch):
    taken, fit = [], unlabelled._with

    def noted(sides, z, rows, given):
        taken.append((rows, given))
        return fit(sides, z, rows, given)

    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 60)
    source, target = rng.normal(size=(60, 4)), rng.normal(size=(200, 4))
    source[np.arange(60), y] += 2
    target[np.arange(200), rng.integers(0, 3, 200)] += 2
    sides = Sides(source.astype(np.float32), y, target.astype(np.float32), 3, 0)
    monkeypatch.setattr(unlabelled, "_with", noted)
    self_labelled(sides)
    z = make_space(np.concatenate([sides.source, sides.target])).z
    # Two halves in each of three rounds, then all rows with what the last round gave.
    for turn in range(unlabelled.ROUNDS):
        halves = [fit(sides, z, rows, given).logits(z[60:]) for rows, given in taken[2 * turn : 2 * turn + 2]]
        rows, labels = taken[2 * turn + 2][1]
        for half in halves:
            np.testing.assert_array_equal(half[rows - 60].argmax(axis=1), labels)
        assert 0 < len(rows) < 200


# --- whole runs ---


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unlabelled")
    rows = sentences(150, 3)
    (folder / "target.csv").write_text("text\n" + "\n".join(text for text, _ in rows[:30]))
    write_csv(folder / "test.csv", rows[30:60])
    write_csv(folder / "one.csv", [*rows[60:110], rows[2], rows[31]])
    write_csv(folder / "two.csv", [(text, label.upper()) for text, label in rows[110:]])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def fit(task, out, **settings):
    values = {"source": str(task / "source"), "rows_from": [str(task / "one.csv"), str(task / "two.csv")], "out": str(task / out)}
    values |= {"store": str(task / "store"), "resamples": 100}
    return headstart.fit(str(task / "target.csv"), **(values | settings))


def test_a_target_without_labels_learns_neighbouring_rows_and_says_who_checked_it(task):
    with bare(page=True):
        run = fit(task, "unchecked", outer_folds=2)
    results = run.results
    assert results.judged_on == "2 outer folds of neighbouring rows; no label of the target has checked this"
    assert {trial.strategy for trial in results.trials} == {"tfidf", *WAYS}
    assert results.winner.strategy in ("tfidf", DEFAULT_WAY)
    assert "no label of the target has checked this" in (run.folder / "report.html").read_text()
    assert "no label of the target has checked this" in (run.folder / "model" / "README.md").read_text()
    assert [finding.kind for finding in results.findings].count("no labels") == 1
    # Two rows of the first set stand in the target or among other rows' texts; spellings of a label are one.
    assert sorted(run.model.labels) == sorted(TOPICS)
    assert results.data.used == 90 + 1  # the row that the target has is left out; there is no test file here
    assert set(run.model.predict(["lost card account"])) <= set(TOPICS)


def test_a_test_file_judges_it_and_its_texts_are_not_learnt(task):
    with bare():
        run = fit(task, "checked", test=str(task / "test.csv"))
    assert run.results.judged_on == "the test file" and run.results.data.used == 90
    with bare():
        asked = fit(task, "asked", strategy="aligned")
    assert asked.results.winner.strategy == "aligned"


def test_a_way_that_is_asked_for_beside_tfidf_is_no_mere_comparison(task):
    with bare():
        run = fit(task, "beside tfidf", strategy=("tfidf", "aligned"), test=str(task / "test.csv"))
    assert {run.results.winner.name, run.results.opponent.name} <= {"tfidf", "aligned"}
    assert (run.gain.winner, run.gain.opponent) == ("aligned", "tfidf")
    assert "only compared" not in {trial.reason for trial in run.results.trials}


def test_the_targets_texts_are_read_for_the_ways_that_look_at_them_and_counted_in_the_budget(task, tmp_path):
    read = {}
    for name in ("source_rows", "weighted_rows"):
        with bare():
            run = fit(task, f"read for {name}", strategy=name, test=str(task / "test.csv"), store=str(tmp_path / name))
        read[name] = run.results.spent.texts_read
    assert read["weighted_rows"] - read["source_rows"] == 30
    given = {"source": str(task / "source"), "rows_from": [str(task / "one.csv"), str(task / "two.csv")], "store": str(tmp_path / "new")}
    target = read_unlabelled(str(task / "target.csv"), make_settings(given))
    with open_means(make_settings(given)) as means:
        [reader] = means.readers.values()
        tokens = sum(len(ids) for ids in tokenize(reader.backbone, target.unlabelled))
        seconds = {name: seconds_to_read(target, means, [name]) for name in ("tfidf", *read)}
        beside = means.cost.reading(tokens, reader.backbone.block_parameters)
    assert seconds["tfidf"] == seconds["source_rows"] == pytest.approx(seconds["weighted_rows"] - beside)


def test_of_very_many_texts_some_are_drawn_and_it_is_said(task, monkeypatch):
    monkeypatch.setattr(target_texts, "MOST_TEXTS", 12)
    place, texts = str(task / "target.csv"), [text for text, _ in sentences(150, 3)[:30]]
    drawn = []
    for seed in (0, 0, 1):
        target = read_unlabelled(place, make_settings({"rows_from": [str(task / "one.csv")], "seed": seed}))
        assert len(target.unlabelled) == 12 and list(target.unlabelled) == [text for text in texts if text in target.unlabelled]
        drawn.append(target.unlabelled)
    assert drawn[0] == drawn[1] != drawn[2]
    messages = [finding.message for finding in target.findings if finding.severity is Severity.WARNING]
    assert messages[:2] == [
        f"{place!r} has 30 texts and no labels: learnt are rows of neighbouring data, fitted to these texts.",
        f"{place!r} has more texts than are looked at; 12 were drawn at random, 18 were not.",
    ]
    monkeypatch.undo()
    every = read_unlabelled(place, make_settings({"rows_from": [str(task / "one.csv")]}))
    assert list(every.unlabelled) == texts and "texts not drawn" not in {finding.kind for finding in every.findings}


def test_a_map_turns_labels_into_the_names_that_are_wanted(task):
    (task / "map.json").write_text(json.dumps({"card": "money", "CARD": "money", "login": "access", "LOGIN": "access"}))
    target = read_unlabelled(
        str(task / "target.csv"),
        make_settings({"rows_from": [str(task / "one.csv"), str(task / "two.csv")], "label_map": str(task / "map.json")}),
    )
    assert sorted(label.lower() for label in target.labels) == ["access", "money", "order"]
    assert len(target.unlabelled) == 30


def test_no_row_is_learnt_that_nearly_says_what_a_test_row_says(task, tmp_path):
    rows = sentences(150, 3)
    near = write_csv(tmp_path / "near.csv", [*rows[60:110], *((f"{text} !", label) for text, label in rows[30:33])])
    found = read_unlabelled(str(task / "target.csv"), make_settings({"rows_from": [near], "test": str(task / "test.csv")}))
    assert found.rows.texts == tuple(text for text, _ in rows[60:110])


def test_only_a_table_without_a_label_is_one(task, tmp_path):
    settings = make_settings({"rows_from": [str(task / "one.csv")]})
    assert has_no_labels(str(task / "target.csv"), settings)
    blank = tmp_path / "blank.csv"
    blank.write_text("text,label\nmy card,\nmy order,\n")
    assert has_no_labels(str(blank), settings)
    blank.write_text("text,label\nmy card,\nmy order,order\n")
    assert not has_no_labels(str(blank), settings)
    blank.write_text("text,topic\nmy card,\nmy order,\n")  # who knows which column is the label
    assert not has_no_labels(str(blank), settings)


def test_what_takes_labels_is_refused(task, tmp_path):
    with pytest.raises(SettingsError) as error:
        fit(task, "no", strategy="probe")
    known = "tfidf, source_rows, weighted_rows, aligned, self_labels"
    assert str(error.value) == f"--strategy is 'probe'; for a target without labels it must be one of {known}."
    with pytest.raises(SettingsError) as error:
        fit(task, "no", validation=str(task / "test.csv"))
    assert str(error.value) == "--validation is given, but the target has no labels; leave it out."
    for name, value in (("rows_by", "nearest"), ("rows_by", "nonsense"), ("rows_share", 0.5)):
        with pytest.raises(SettingsError) as error:
            fit(task, "no", **{name: value})
        assert str(error.value) == f"--{name.replace('_', '-')} is given, but the target has no labels; leave it out."
    (tmp_path / "few.csv").write_text("text\na\nb\n")
    with pytest.raises(DataError) as error:
        headstart.fit(str(tmp_path / "few.csv"), rows_from=str(task / "one.csv"), out=str(tmp_path / "run"))
    assert str(error.value) == f"{str(tmp_path / 'few.csv')!r} has 2 texts and no labels; give at least 10 texts."
    write_csv(tmp_path / "single.csv", [(text, "card") for text, _ in sentences(20, 9)])
    with pytest.raises(DataError) as error:
        fit(task, "no", rows_from=str(tmp_path / "single.csv"))
    assert str(error.value) == "The rows of --rows-from bear fewer than two labels, so there is nothing to tell apart; name other data."
