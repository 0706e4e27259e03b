"""Rows of neighbouring data from the command to the report, on a tiny source and a small invented task."""

import csv
import json
import random
import time

import numpy as np
import pyarrow.parquet as pq
import pytest

import headstart
from headstart import cli, pipeline
from headstart.errors import SettingsError, SourceError
from headstart.instances import with_rows
from headstart.instances.pool import read_pool
from headstart.judge.verdict import rows_sentences
from headstart.settings import make_settings
from headstart.strategies.ladder import Job
from headstart.target import read_target
from small import TOPICS, bare, marked, write_csv, write_marked
from tiny import make_tiny

# Codes, not words: what the labels are called shall not tell what the rows are to tell.
TOPIC_OF = {"k1": "card", "k2": "login", "k3": "order"}
LABELS = tuple(TOPIC_OF)


def sparse(n, seed):
    """n different texts of six words, one of which belongs to a topic: a dozen rows show hardly half of the words that matter."""
    rng = random.Random(seed)
    found = {}
    while len(found) < n:
        label = LABELS[len(found) % len(LABELS)]
        others = (rng.choice(["help", "please", "today", "thanks", "hello", "soon"]) for _ in range(5))
        words = [rng.choice(TOPICS[TOPIC_OF[label]]), *others]
        rng.shuffle(words)
        found.setdefault(" ".join(words), label)
    return list(found.items())


ROWS = sparse(200, 11)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """24 training rows, 36 test rows; 60 like the target's, and 60 whose labels are turned round."""
    folder = tmp_path_factory.mktemp("rows")
    write_csv(folder / "train.csv", ROWS[:24])
    write_csv(folder / "test.csv", ROWS[24:60])
    write_csv(folder / "like.csv", ROWS[60:120])
    turned = {label: LABELS[(k + 1) % len(LABELS)] for k, label in enumerate(LABELS)}
    write_csv(folder / "false.csv", [(text, turned[label]) for text, label in ROWS[120:180]])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def fit(task, out, *files, **settings):
    values = {
        "test": str(task / "test.csv"),
        "source": str(task / "source"),
        "store": str(task / "store"),
        "rows_from": [str(task / name) for name in files],
        "strategy": ("tfidf", "probe"),
        "epochs": 1,
        "inner_folds": 3,
        "resamples": 100,
        "out": str(task / out),
    }
    return headstart.fit(str(task / "train.csv"), **(values | settings))


@pytest.fixture(scope="module")
def helped(task):
    return fit(task, "helped", "like.csv")


def test_rows_that_are_like_the_targets_are_learnt_and_compared_three_ways(task, helped):
    rows = helped.results.rows
    assert helped.results.decided == (helped.results.winner.name,)
    assert rows.learnt and helped.results.winner.strategy in ("all_rows", "chosen_rows", "graded_rows")
    assert [gain.opponent for gain in rows.gains] == ["probe", "all_rows", "random_rows"]
    assert rows.gains[0].value > 0.1 and helped.metrics["accuracy"] > 0.6
    assert (rows.sets[0].name, rows.sets[0].used, rows.sets[0].chosen, rows.chosen) == ("like", 60, 15, 15)
    assert [point.rows for point in rows.curve] == [0, 3, 6, 15, 30, 60] and sum(rows.histogram) == 60
    assert sum(rows.histogram_chosen) == rows.chosen and len(rows.histogram_chosen) == len(rows.histogram)
    assert rows.curve[-1].score.value > rows.curve[0].score.value
    assert {point.kind for point in rows.map} == {"target", "chosen", "left"} and len(rows.map) == 84
    said = rows_sentences(helped.results)
    assert said[0].startswith("The chosen model learnt from") and "above probe" in said[1]
    page = helped.report.read_text()
    assert "Rows of neighbouring data" in page and "Put last" in page
    # What is saved is what was judged: a stock probe, by its own files.
    found = helped.model.predict([text for text, _ in ROWS[24:60]])
    assert np.mean([a == b for a, (_, b) in zip(found, ROWS[24:60], strict=True)]) == pytest.approx(helped.metrics["accuracy"])


@pytest.fixture
def quick():
    """What has tests of its own is left out."""
    with bare():
        yield


def test_rows_that_mislead_stay_out(task, quick):
    run = fit(task, "misled", "false.csv")
    assert not run.results.rows.learnt and run.results.winner.strategy in ("probe", "tfidf")
    assert rows_sentences(run.results)[0].startswith("Rows of neighbouring data were tried and stay out of the chosen model")
    [one] = run.results.rows.sets
    assert (one.alone.winner, one.alone.opponent) == ("false", "no source rows") and one.alone.value < 0


def test_of_more_rows_than_the_budget_can_read_some_are_learnt_from_and_told(task, quick, monkeypatch):
    monkeypatch.setattr("headstart.candidates._READING_SHARE", 0.0)
    monkeypatch.setattr("headstart.instances.pool.FEWEST", 5)
    run = fit(task, "drawn", "like.csv")
    [one] = run.results.rows.sets
    assert (one.rows, one.used, one.undrawn) == (60, 15, 45) and run.results.rows.curve[-1].rows == 15
    [told] = [finding for finding in run.results.findings if finding.kind == "source rows not drawn"]
    assert told.count == 45 and told.message.startswith("Of 60 neighbouring rows 15 are looked at, drawn by set and label: ")
    assert pq.read_table(run.folder / "splits.parquet")["group"].to_pylist().count(-1) == 15


def test_where_the_budget_is_spent_rows_are_not_weighed_anew_to_be_shown(task, quick, helped):
    """It was begun eleven minutes ago."""
    values = {"test": str(task / "test.csv"), "source": str(task / "source"), "store": str(task / "store"), "out": str(task / "spent")}
    values |= {"rows_from": [str(task / "like.csv")], "strategy": ("tfidf", "probe"), "resamples": 100, "inner_folds": 3}
    rows = pipeline.fit(str(task / "train.csv"), make_settings(values), begin=time.perf_counter() - 660.0).results.rows
    assert rows.curve == () and rows.labels_worth == "" and len(helped.results.rows.curve) == 6
    assert rows.sets == helped.results.rows.sets and rows.histogram == helped.results.rows.histogram


def test_random_rows_are_there_to_be_compared_and_never_win(helped):
    names = [trial.name for trial in helped.results.trials]
    assert names == ["tfidf", "probe", "all_rows", "random_rows", "chosen_rows", "graded_rows"]
    assert helped.results.winner.name != "random_rows"


def test_held_out_rows_have_no_say_in_which_rows_are_chosen(task, monkeypatch):
    """Turning the labels of a fold's held-out rows round changes nothing that is said of them."""
    monkeypatch.setattr(with_rows, "FIRMER", (1.0,))
    asked = make_settings(
        {"test": str(task / "test.csv"), "source": str(task / "source"), "rows_from": [str(task / "like.csv")], "rows_by": "agreement"}
    )
    target = read_target(str(task / "train.csv"), asked)
    pool = read_pool(target, asked)
    from headstart.candidates import open_means

    with open_means(make_settings({"source": str(task / "source"), "store": str(task / "store")})) as means:
        [reader] = means.readers.values()
        train, held = np.arange(0, 18), np.arange(18, 24)
        said = []
        for turn in (0, 1):
            y = target.rows.y.copy()
            y[held] = (y[held] + turn) % 3
            rows = type(target.rows)(target.rows.texts, y, 3)
            job = Job(rows=rows, groups=np.arange(24), folds=[(train, held)], settings=asked, seed=0, reader=reader, pool=pool)
            said.append(with_rows.out_of_fold(job, with_rows.best_rows)[1][held])
    np.testing.assert_array_equal(said[0], said[1])


def test_a_tuned_rung_learns_from_chosen_rows_too(task, quick):
    run = fit(task, "tuned", "like.csv", strategy=("partial_rows",))
    [trial] = run.results.trials
    assert (trial.name, trial.cut) == ("partial_rows", 1) and run.metrics["accuracy"] > 0.34


def test_a_model_remembers_that_it_was_taught_the_source_rows(task, helped):
    table = pq.read_table(helped.folder / "splits.parquet").to_pydict()
    assert table["group"].count(-1) == 60 and table["row"][-60:] == list(range(1, 61))
    with pytest.raises(SourceError, match="was taught 60 of these 60 rows"):
        headstart.fit(
            str(task / "like.csv"),
            source=str(helped.folder),
            strategy="probe",
            store=str(task / "store"),
            out=str(task / "again"),
            inner_folds=2,
        )


def test_a_run_goes_on_with_the_same_rows_and_not_with_others(task, helped, monkeypatch):
    monkeypatch.setattr(pipeline, "decide_on", None)  # nothing is decided again
    assert fit(task, "helped", "like.csv").results == helped.results
    monkeypatch.undo()
    with pytest.raises(headstart.errors.RunError):
        fit(task, "helped", "false.csv")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"rows_by": "nearst"}, None),
        (
            {"strategy": "chosen_rows", "rows_from": ()},
            "--strategy chosen_rows learns from rows of neighbouring data; name them with --rows-from.",
        ),
        ({"strategy": ("probe", "aligned")}, "--strategy aligned is for a target without labels, and this one has some; leave it out."),
        (
            {"strategy": "source_rows", "rows_from": ()},
            "--strategy source_rows is for a target without labels, and this one has some; leave it out.",
        ),
    ],
)
def test_what_does_not_fit_together_is_refused(task, settings, message):
    with pytest.raises(SettingsError) as refused:
        fit(task, "refused", "like.csv", **settings)
    assert message is None or str(refused.value) == message


def test_for_another_task_rows_of_neighbouring_data_are_refused_as_what_they_are(task, tmp_path):
    data = write_marked(tmp_path / "marked.jsonl", marked(40, 1))
    for verb in (headstart.fit, lambda place, **given: pipeline.plan(place, make_settings(given))):
        with pytest.raises(SettingsError) as refused:
            verb(data, source=str(task / "source"), rows_from=str(task / "like.csv"), out=str(tmp_path / "run"))
        told = f"--rows-from is {task / 'like.csv'}; it is for the task classification, and the task here is ner. Leave it out."
        assert str(refused.value) == told


def test_select_writes_rows_with_score_and_reason(task, capsys):
    out = task / "selected.csv"
    words = ["select", str(task / "train.csv"), "--rows-from", str(task / "like.csv"), "--rows-from", str(task / "false.csv")]
    given = [*words, "--source", str(task / "source"), "--store", str(task / "store"), "--rows-share", "0.2", "--quiet"]
    assert cli.main([*given, "--out", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24 and list(rows[0]) == ["text", "label", "from", "row", "score", "reason"]
    scores = [float(row["score"]) for row in rows]
    assert scores == sorted(scores, reverse=True)
    known = {text: (str(task / "like.csv"), str(i + 1)) for i, (text, _) in enumerate(ROWS[60:120])}
    known |= {text: (str(task / "false.csv"), str(i + 1)) for i, (text, _) in enumerate(ROWS[120:180])}
    assert all(known[row["text"]] == (row["from"], row["row"]) for row in rows)
    told = capsys.readouterr().err
    assert f"{task / 'like.csv'}: " in told and " of 60 rows" in told
    assert cli.main([*given, "--out", str(task / "selected.jsonl")]) == 0
    lines = [json.loads(line) for line in (task / "selected.jsonl").read_text().splitlines()]
    assert [line["text"] for line in lines] == [row["text"] for row in rows]
    assert cli.main(["select", str(task / "train.csv"), "--source", str(task / "source")]) == 2
    assert "There is nothing to choose from; name neighbouring data with --rows-from." in capsys.readouterr().err


def test_select_takes_a_file_of_sources_and_says_that_the_first_reads(task, capsys):
    source = str(task / "source")
    (task / "names.txt").write_text(f"{source}\nnowhere\n")
    words = ["select", str(task / "train.csv"), "--rows-from", str(task / "like.csv"), "--store", str(task / "store"), "--quiet"]
    assert cli.main([*words, "--source", source]) == 0
    alone, told = capsys.readouterr()
    assert "sources" not in told
    assert cli.main([*words, "--source", str(task / "names.txt")]) == 0
    said = f"headstart: {source!r} is the first of 2 sources and reads the texts; the others are not used.\n"
    assert capsys.readouterr() == (alone, said + told)


def test_each_set_is_weighed_alone_and_the_rows_are_told_in_labels(helped):
    rows = helped.results.rows
    assert helped.results.decided == (helped.results.winner.name,)
    [one] = rows.sets
    assert (one.alone.winner, one.alone.opponent, one.alone.n) == ("like", "no source rows", 24) and one.alone.value > 0.05
    first, *_, last = (point.score.value for point in rows.curve)
    assert one.alone.value == pytest.approx(last - first)  # all its rows against none, on the same folds
    assert rows.labels_worth in rows_sentences(helped.results) and "without rows of neighbouring data" in rows.labels_worth


@pytest.mark.slow
def test_other_ways_of_joining_are_tried_where_they_are_asked_for(task):
    run = fit(task, "prior", "like.csv", strategy=("tfidf", "prior_rows"))
    assert {"tfidf", "prior_rows"} <= {trial.strategy for trial in run.results.trials}
    usual = fit(task, "usual", "like.csv", strategy=("tfidf", "probe"))
    assert "prior_rows" not in {trial.strategy for trial in usual.results.trials}


@pytest.mark.parametrize("way", ["sure", "nearest", "density", "boosting"])
def test_of_a_large_file_every_row_is_weighed_a_part_at_a_time(task, way, monkeypatch, capsys):
    words = ["select", str(task / "train.csv"), "--rows-from", str(task / "like.csv"), "--rows-from", str(task / "false.csv")]
    words += ["--source", str(task / "source"), "--store", str(task / "store"), "--rows-by", way, "--rows-share", "0.5"]
    found = []
    for name, size in (("whole", 20_000), ("parts", 40)):
        monkeypatch.setattr("headstart.instances.pool.MOST_ROWS", size)
        monkeypatch.setattr("headstart.instances.select.PART", size)
        monkeypatch.setattr("headstart.instances.select.BESIDE", 80)
        assert cli.main([*words, "--out", str(task / f"{name}.csv")]) == 0
        with (task / f"{name}.csv").open() as file:
            found.append({(row["from"], row["row"], row["text"], row["label"]) for row in csv.DictReader(file)})
        assert capsys.readouterr().err.count(" of 60 rows\n") == 2  # nothing of rows that were not drawn
    whole, parts = found
    # Either writes as many rows, each as its file has it; what is chosen is much the same.
    assert len(whole) == len(parts) and len(whole & parts) >= (0.9 if way == "nearest" else 0.7) * len(whole)
    for path, row, text, label in parts:
        with open(path, newline="") as file:
            assert list(csv.reader(file))[int(row)] == [text, label]
