"""The main job from a labelled file to a saved model, on a tiny source and a small invented task, and the laws that it keeps."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import yaml
from sklearn.base import clone
from sklearn.metrics import accuracy_score, f1_score, log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import headstart
from headstart import budget, candidates, deciding, outcome, pipeline, planner, runs
from headstart.backbone.reading import Reader
from headstart.errors import RunError, SettingsError, SourceError
from headstart.records import TrialStatus, Verdict
from headstart.settings import Precision, Settings, make_settings
from headstart.sources import shelf
from headstart.sources.entries import Origin
from headstart.sources.identity import content_digest
from headstart.strategies import resuming, training
from small import LABELS, bare, sentences, without_times, write_csv
from tiny import make_tiny, write_sentence_files


@pytest.fixture(scope="session")
def task(tmp_path_factory):
    """A folder with train.csv (90 rows), test.csv (30 other rows), validation.csv (24 more) and a tiny source."""
    folder = tmp_path_factory.mktemp("task")
    rows = sentences(144, 1)
    write_csv(folder / "train.csv", rows[:90])
    write_csv(folder / "test.csv", rows[90:120])
    write_csv(folder / "validation.csv", rows[120:])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


@pytest.fixture(scope="session")
def whole(task):
    """A finished run, judged on the test file, nothing left out but rows dealt out anew, by which words alone win on such toy rows."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("headstart.candidates.REPEATS", 1)
        return fit(task, "whole", strategy=("tfidf", "probe", "partial"))


@pytest.fixture
def quick():
    """What has tests of its own is left out."""
    with bare():
        yield


@pytest.fixture
def with_curve():
    """`quick`, but the label curve is drawn, to be compared."""
    with bare(curve=True):
        yield


def asked(task, **settings):
    """Everything that a quick run is asked for; None takes a setting away."""
    values = {
        "test": str(task / "test.csv"),
        "source": str(task / "source"),
        "strategy": ("tfidf", "probe"),
        "store": str(task / "store"),
        "epochs": 1,
        "resamples": 100,
    } | settings
    return {name: value for name, value in values.items() if value is not None}


def fit(task, out, data="train.csv", **settings):
    return headstart.fit(str(task / data), **asked(task, out=str(task / out), **settings))


def same_results(left, right):
    """Whether two runs found the same, whatever their clocks said."""

    def compared(run):
        results = run.results
        return [without_times(trial) for trial in results.trials], replace(
            results, trials=(), winner=None, opponent=None, spent=None, created="", command="", title="", environment={}
        )

    return compared(left) == compared(right)


def weights(run):
    """The bytes of the saved model."""
    [place] = [path for path in (run.folder / "model").iterdir() if path.name.endswith(".safetensors")]
    return place.read_bytes()


def journal(run):
    """What was remembered, by key."""
    lines = (run.folder / "journal.jsonl").read_text().splitlines()
    return {entry["key"]: entry for entry in map(json.loads, lines)}


def judged_logits(run, rung, part="test file"):
    """What the journal kept of a rung's answers on the rows that judged it."""
    [entry] = [entry for key, entry in journal(run).items() if key.startswith(f"{part}/judged {rung} x ")]
    return np.load(run.folder / "trials" / entry["arrays"]["logits"])


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


# --- a whole run ---


def test_a_run_leaves_everything_in_its_folder(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names == {"run.yaml", "journal.jsonl", "trials", "splits.parquet", "model", "metrics.json", "report.html", "tensorboard"}
    assert {"config.json", "README.md"} <= {path.name for path in (whole.folder / "model").iterdir()}
    assert "http://" not in whole.report.read_text().replace("http://www.w3.org", "")
    assert not [path for path in whole.folder.rglob("*") if path.name.startswith(".")]


def test_every_trial_has_its_scores_and_every_training_its_curve_in_tensorboard(whole):
    def events(folder):
        """Each scalar's last value, by name."""
        found = EventAccumulator(str(folder))
        found.Reload()
        return {name: found.Scalars(name)[-1].value for name in found.Tags()["scalars"]}

    tried = [trial for trial in whole.results.trials if trial.score is not None]
    place = whole.folder / "tensorboard" / "test-file"
    assert len(tried) >= 2
    for trial in tried:
        said = events(place / trial.name)
        metric = whole.results.metric
        told = [said[f"trial/{name}"] for name in (metric, f"{metric}, lower bound", f"{metric}, upper bound", "seconds")]
        assert told == pytest.approx([trial.score.value, trial.score.low, trial.score.high, trial.seconds], rel=1e-5)
    assert events(place / whole.results.winner.name)["train/loss"] > 0


def test_the_results_open_again_as_they_were(whole):
    assert runs.open_run(whole.folder).results == whole.results


def test_every_rung_has_its_record(whole, task):
    results = whole.results
    assert [trial.name for trial in results.trials] == ["tfidf", "probe", "partial"]
    assert [trial.transfers for trial in results.trials] == [False, True, True]
    assert [trial.cut for trial in results.trials] == [None, None, 1]
    assert results.winner in results.trials
    assert results.opponent.name == "tfidf"
    assert results.judged_on == "the test file"
    assert (results.data.rows, results.data.used, results.data.test_rows) == (90, 90, 30)
    assert results.data.labels == tuple((label, 30) for label in LABELS)
    assert {layer.layer for layer in results.layers} == {0, 1, 2}
    assert results.label_curve.points[-1].labels == 72
    assert results.spent.texts_read == 120 + len(LABELS)  # what the labels are called is read too


def test_the_saved_model_gives_label_names_and_is_what_was_judged(whole, task):
    test = sentences(144, 1)[90:120]
    texts = [text for text, _ in test]
    logits = judged_logits(whole, whole.results.winner.name)
    assert whole.model.predict(texts) == [LABELS[k] for k in logits.argmax(axis=1)]
    np.testing.assert_allclose(whole.model.predict_proba(texts), softmax(logits), atol=1e-5)
    assert whole.model.labels == LABELS


@pytest.mark.parametrize("who", ["winner", "opponent"])
def test_the_scores_are_scikit_learns_on_the_judged_answers(whole, who):
    record = getattr(whole.results, who)
    y = [label for _, label in sentences(144, 1)[90:120]]
    probabilities = softmax(judged_logits(whole, record.name))
    answers = [LABELS[k] for k in probabilities.argmax(axis=1)]
    found = whole.results.scores if who == "winner" else whole.results.opponent_scores
    assert found["accuracy"].value == pytest.approx(accuracy_score(y, answers))
    assert found["macro_f1"].value == pytest.approx(f1_score(y, answers, average="macro"))
    assert found["log_loss"].value == pytest.approx(log_loss(y, probabilities))
    assert found["accuracy"].n == 30
    if who == "winner":
        assert whole.metrics["accuracy"] == found["accuracy"].value
        confusion = np.zeros((3, 3), dtype=int)
        for true, given in zip(y, answers, strict=True):
            confusion[LABELS.index(true), LABELS.index(given)] += 1
        assert whole.results.confusion == tuple(map(tuple, confusion.tolist()))


def test_the_gain_is_the_paired_difference_to_no_transfer(whole):
    y = [label for _, label in sentences(144, 1)[90:120]]

    def macro_f1(rung):
        return f1_score(y, [LABELS[k] for k in judged_logits(whole, rung).argmax(axis=1)], average="macro")

    gain = whole.gain
    assert gain.opponent == "tfidf"
    assert gain.value == pytest.approx(macro_f1(gain.winner) - macro_f1("tfidf"))
    assert gain.low <= gain.value <= gain.high


def test_which_row_went_where_is_written_down(whole):
    table = pq.read_table(whole.folder / "splits.parquet").to_pydict()
    assert table["row"] == list(range(1, 91))
    assert table["label"] == [label for _, label in sentences(144, 1)[:90]]
    assert set(table["judged_by"]) == {""}


def test_few_rows_are_judged_by_outer_folds_in_each_of_which_all_is_decided_again(task, quick):
    run = fit(task, "folds", test=None, outer_folds=3)
    assert run.results.judged_on == "3 outer folds"
    assert run.results.scores["accuracy"].n == 90
    keys = set(journal(run))
    for part in ("outer fold 1", "outer fold 2", "outer fold 3"):
        assert {f"{part}/tfidf/folds", f"{part}/probe/folds", f"{part}/judged tfidf", f"{part}/judged probe"} <= {
            key.partition(" x ")[0] for key in keys
        }
    assert {"all rows/tfidf/folds", "all rows/probe/folds"} <= keys
    table = pq.read_table(run.folder / "splits.parquet").to_pydict()
    assert {name: table["judged_by"].count(name) for name in set(table["judged_by"])} == {f"outer fold {k}": 30 for k in (1, 2, 3)}
    for name, measured in (("tfidf", "opponent_scores"),):  # the one rung without transfer: it was judged in every fold
        right = 0
        for k in (1, 2, 3):
            given = [label for label, part in zip(table["label"], table["judged_by"], strict=True) if part == f"outer fold {k}"]
            right += (np.array(LABELS)[judged_logits(run, name, f"outer fold {k}").argmax(axis=1)] == given).sum()
        assert getattr(run.results, measured)["accuracy"].value == pytest.approx(right / 90)


def test_where_not_even_the_cheapest_rung_is_trained_for_each_fold_in_time_one_split_judges(task, quick, monkeypatch, capsys):
    asked = {"test": None, "outer_folds": 3, "budget": 700}
    with monkeypatch.context() as patched:
        patched.setattr(budget, "trial_seconds", lambda rung, cost, share=1.0: 100.0)  # four decisions, each with a trial and a training
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "dear", **asked)
    said = capsys.readouterr().err
    assert "  Outer folds would take about 820 s with the cheapest rung, tfidf, so one split of the rows judges.\n" in said
    run = fit(task, "dear", **asked)  # it goes on as it began
    assert run.results.judged_on == "one stratified test split" and run.results.scores["accuracy"].n == 18


@pytest.mark.parametrize("verb", [headstart.fit, headstart.rank, lambda data, **given: pipeline.plan(data, make_settings(given))])
def test_a_setting_that_only_another_task_could_follow_is_refused(task, verb):
    with pytest.raises(SettingsError) as caught:
        verb(str(task / "train.csv"), source=str(task / "source"), pack=True)
    assert caught.value.problems == ["--pack is true; it is for the task generation, and the task here is classification. Leave it out."]


def test_many_rows_are_judged_on_one_split_and_the_winner_learns_from_all(task, quick):
    run = fit(task, "split", test=None, few_rows=0)
    assert run.results.judged_on == "one stratified test split"
    assert run.results.scores["accuracy"].n == 18
    kinds = {"sources", "rows that fit", "time and speed", "test split", "all rows", "spent before the label curve", "came from"}
    assert {key.split("/")[0] for key in journal(run)} == kinds


def test_a_validation_file_is_what_rungs_are_chosen_on(task, quick):
    run = fit(task, "validation", validation=str(task / "validation.csv"))
    assert run.results.data.used == 114
    for trial in run.results.trials:
        assert trial.split == "1 of 1 training folds"
        assert trial.score.n == 24


@pytest.mark.parametrize("rung", ["tfidf", "static", "probe", "contrastive", "partial", "full", "scratch"])
def test_every_rung_can_be_asked_for_alone(task, quick, rung):
    run = fit(task, f"only {rung}", strategy=rung, export="none")
    assert run.results.winner.name == rung
    assert run.gain is None
    assert run.results.trials == (run.results.winner,)
    texts = [text for text, _ in sentences(144, 1)[90:120]]
    logits = judged_logits(run, rung)
    np.testing.assert_allclose(run.model.predict_proba(texts), softmax(logits), atol=1e-5)


# --- more rows than the budget can read ---


@pytest.fixture
def slow_reader(monkeypatch):
    """As many rows are read as a run asks for at least."""
    monkeypatch.setattr(candidates, "_READING_SHARE", 0.0)
    monkeypatch.setattr("headstart.cost._READING_SHARE", 1e-9)
    monkeypatch.setattr("headstart.target._LEAST_OF_A_CLASS", 10)


def test_of_more_rows_than_the_budget_can_read_some_are_learnt_from(task, quick, slow_reader, capsys):
    run = fit(task, "some", few_rows=60, strategy=("tfidf", "probe"))
    [told] = [finding for finding in run.results.findings if finding.kind == "rows left out"]
    start = re.fullmatch(
        r"Of 90 rows some 60 are learnt from, drawn by label: reading all would take about [\d,]+ s of the (.*)", told.message
    )
    assert start is not None and start[1] == "600 s there are." and told.count == 30
    assert f"  {told.message} Give a longer --budget, and another --out, for more." in capsys.readouterr().err.splitlines()
    learnt = pq.read_table(run.folder / "splits.parquet").to_pydict()
    assert len(learnt["row"]) == run.results.data.used == 60 and set(learnt["label"]) == {"card", "login", "order"}


def test_a_run_that_goes_on_learns_from_as_many_rows_as_it_began_with(task, quick, slow_reader, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("headstart.saving.save_winner", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "fewer", few_rows=60)
    monkeypatch.setattr(candidates, "_READING_SHARE", 1e9)  # on a faster machine
    monkeypatch.setattr("headstart.cost._READING_SHARE", 1.0)
    assert fit(task, "fewer", few_rows=60).results.data.used == 60


def test_a_rung_that_reads_no_source_learns_from_all_rows(task, quick, slow_reader):
    assert fit(task, "words", few_rows=60, strategy=("tfidf",)).results.data.used == 90


def test_features_of_all_rows_must_fit_into_the_memory(task, quick, monkeypatch):
    monkeypatch.setattr(candidates, "memory_bytes", lambda: 4 * 60 * 3 * 32 * 4)  # a quarter holds two blocks and the embeddings of 60 rows
    monkeypatch.setattr("headstart.target._LEAST_OF_A_CLASS", 10)
    [told] = [finding for finding in fit(task, "large", few_rows=30).results.findings if finding.kind == "rows left out"]
    assert told.message == "Of 90 rows some 60 are learnt from, drawn by label: reading all would take about 0 GB of memory."


# --- law 1: the test rows decide nothing ---


def test_other_labels_in_the_test_file_change_no_decision_and_no_weight(task, with_curve):
    rows = sentences(144, 1)[90:120]
    turned = [(text, LABELS[(LABELS.index(label) + 1 + i % 2) % 3]) for i, (text, label) in enumerate(rows)]
    write_csv(task / "turned.csv", turned)
    true = fit(task, "true labels", strategy=("tfidf", "probe", "partial"))
    false = fit(task, "turned labels", strategy=("tfidf", "probe", "partial"), test=str(task / "turned.csv"))
    assert list(map(without_times, true.results.trials)) == list(map(without_times, false.results.trials))
    assert true.results.winner.name == false.results.winner.name
    assert weights(true) == weights(false)
    assert true.results.label_curve is not None and true.results.label_curve == false.results.label_curve
    assert true.results.layers == false.results.layers
    for rung in ("tfidf", true.results.winner.name):
        np.testing.assert_array_equal(judged_logits(true, rung), judged_logits(false, rung))
    # The judge did look: the same answers score otherwise.
    assert true.results.scores["accuracy"].value != false.results.scores["accuracy"].value


# --- law 2: nothing is computed twice ---


def test_a_second_run_into_another_folder_reads_no_text(task, whole, with_curve):
    run = fit(task, "second", strategy=("tfidf", "probe", "partial"))
    assert (run.results.spent.texts_read, run.results.spent.texts_from_store > 0) == (0, True)
    assert same_results(run, whole)


def test_one_added_row_reads_one_text(task, whole, quick):
    write_csv(task / "more.csv", [*sentences(144, 1)[:90], ("please help me with my lost card", "card")])
    assert fit(task, "more", data="more.csv").results.spent.texts_read == 1


# --- law 3: a kill loses nothing finished ---


class Killed(BaseException):
    """Nothing in the package catches this."""


def test_a_run_stopped_after_any_line_of_the_journal_goes_on_to_the_same_results(task, quick, monkeypatch):
    settings = {"strategy": ("tfidf", "probe", "partial"), "test": None, "outer_folds": 2, "inner_folds": 2}
    straight = fit(task, "straight", **settings)
    total = len((straight.folder / "journal.jsonl").read_text().splitlines())
    original = runs.RunFolder._note
    done = []

    def note(self, key, result):
        original(self, key, result)
        done.append(key)
        if len(done) % 4 == 0:
            raise Killed

    monkeypatch.setattr(runs.RunFolder, "_note", note)
    stops = 0
    while True:
        try:
            resumed = fit(task, "resumed", **settings)
            break
        except Killed:
            stops += 1
    assert stops == total // 4
    assert len(done) == len(set(done)) == total  # no work was done twice
    assert same_results(resumed, straight)
    assert weights(resumed) == weights(straight)


@pytest.mark.slow
@pytest.mark.parametrize("lines", [3, 8])
def test_a_killed_process_goes_on_where_it_was(task, quick, lines):
    straight = fit(task, f"whole process {lines}")
    settings = asked(task, out=str(task / f"killed {lines}"))
    code = f"""
import os, signal
import headstart
from headstart import runs, saving
count = []
def note(self, key, result, original=runs.RunFolder._note):
    if len(count) == {lines}:
        os.kill(os.getpid(), signal.SIGKILL)  # in mid-work: the result is there, the journal does not know of it
    original(self, key, result)
    count.append(key)
def save(*arguments, **named):
    os.kill(os.getpid(), signal.SIGKILL)
runs.RunFolder._note = note
saving.save_winner = save
headstart.fit({str(task / "train.csv")!r}, **{settings!r})
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert done.returncode == -signal.SIGKILL, done.stderr
    before = (task / f"killed {lines}" / "journal.jsonl").read_text().splitlines()
    assert len(before) == min(lines, 8)
    resumed = fit(task, f"killed {lines}")
    assert (resumed.folder / "journal.jsonl").read_text().splitlines()[: len(before)] == before
    assert same_results(resumed, straight)
    assert weights(resumed) == weights(straight)


def test_a_run_stopped_in_a_training_goes_on_within_it(task, quick, monkeypatch, capsys):
    monkeypatch.setattr(resuming, "EVERY", 0.0)
    monkeypatch.setattr(resuming, "_SHARE", float("inf"))
    settings = {"strategy": ("tfidf", "probe", "partial"), "epochs": 2}
    taken, last = [], None

    def on_step_begin(self, args, state, control, **kwargs):
        if last is not None and len(taken) == last:
            raise Killed
        taken.append(state.global_step)

    monkeypatch.setattr(training._Watch, "on_step_begin", on_step_begin, raising=False)
    straight = fit(task, "straight training", **settings)
    assert not (straight.folder / "unfinished").exists()
    steps, last, taken = len(taken), taken.index(0, 1) - 1, []  # the fold that calibrates it comes after
    with pytest.raises(Killed):
        fit(task, "stopped training", **settings)
    [kept] = (task / "stopped training" / "unfinished").rglob("about.json")
    assert json.loads(kept.read_text())["step"] == 4
    before, last, taken = len(taken), None, []
    resumed = fit(task, "stopped training", **settings)
    assert "going on after step 4 of 6" in capsys.readouterr().err
    assert before + len(taken) == steps + 1  # the step after which nothing was kept yet
    assert same_results(resumed, straight)
    assert not (resumed.folder / "unfinished").exists()


def test_a_run_that_goes_on_after_judging_saves_what_was_judged_and_decides_once(task, quick, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("headstart.saving.save_winner", lambda *_, **__: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "judged", strategy=("tfidf", "probe", "partial"))
    decisions = []
    decide = deciding.decide
    monkeypatch.setattr(deciding, "decide", lambda *given, **how: decisions.append(decide(*given, **how)) or decisions[-1])
    resumed = fit(task, "judged", strategy=("tfidf", "probe", "partial"))
    assert [decision.winner.name for decision in decisions] == [resumed.results.winner.name]
    texts = [text for text, _ in sentences(144, 1)[90:120]]
    np.testing.assert_allclose(resumed.model.predict_proba(texts), softmax(judged_logits(resumed, resumed.results.winner.name)), atol=1e-5)


def test_a_report_that_could_not_be_written_is_written_by_the_next_run(task, quick, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "unreported")
    assert not (task / "unreported" / "metrics.json").exists()
    assert fit(task, "unreported").report.read_text() == "report"


def test_a_finished_run_is_opened_and_not_computed_again(task, whole, capsys, monkeypatch):
    monkeypatch.setattr(pipeline, "open_means", lambda settings: pytest.fail("a source was opened"))
    before = {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()}
    again = fit(task, "whole", strategy=("tfidf", "probe", "partial"))
    assert again == whole
    assert {path: path.stat().st_mtime_ns for path in whole.folder.rglob("*") if path.is_file()} == before
    assert capsys.readouterr().err == f"{whole.folder} is finished already; its results:\non the shelf as 'whole'\n"


def test_a_run_whose_winner_has_no_other_form_says_so_and_is_finished(task, quick, monkeypatch, capsys):
    monkeypatch.setattr("headstart.export.onnx.check_onnx_installed", lambda: None)
    run = fit(task, "plain", strategy="tfidf", export="onnx")
    told = "no ONNX file is saved: the winner is without transfer\n"
    assert run.results.winner.name == "tfidf" and told in capsys.readouterr().err
    before = {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()}
    assert fit(task, "plain", strategy="tfidf", export="onnx") == run and told in capsys.readouterr().err
    assert {path: path.stat().st_mtime_ns for path in run.folder.rglob("*") if path.is_file()} == before


def test_a_run_that_goes_on_counts_with_the_time_and_the_speed_that_it_began_with(task, quick, monkeypatch):
    given = []

    def stopped(part, target, settings, run, means, strategies, seconds):
        given.append((seconds, means.cost.training_speed, means.cost.reading_speed))
        raise Killed

    monkeypatch.setattr(pipeline, "judge_part", stopped)
    for speed in (1e11, 3e11):
        monkeypatch.setattr("headstart.environment.gemm_speeds", lambda speed=speed: dict.fromkeys(Precision, speed))
        with pytest.raises(Killed):
            fit(task, "goes on")
    assert given[0] == given[1] and given[0][1:] == (1e11, 1e11)


# The training rows and the labels' names; the judged rows enter a model from its cut, which is 0 for the mean of weights.
@pytest.mark.parametrize(("rung", "texts"), [("partial", 90 + 3 + 30), ("soup", 90 + 3)])
def test_every_text_is_read_once_for_all_that_a_rung_trains(task, quick, rung, texts):
    run = fit(task, f"read once by {rung}", strategy=rung, store=str(task / f"store of {rung}"))
    assert run.results.winner.name == rung
    assert run.results.spent.texts_read == texts


def test_what_reading_takes_is_no_time_for_trials(task, quick, monkeypatch):
    given = []

    def stopped(part, target, settings, run, means, strategies, seconds):
        given.append(seconds)
        raise Killed

    monkeypatch.setattr(pipeline, "judge_part", stopped)
    read, now = pipeline.read_rows, time.perf_counter
    for slow in (0.0, 100.0):
        late = []
        monkeypatch.setattr(pipeline, "read_rows", lambda *asked, slow=slow, late=late: [read(*asked), late.append(slow)][0])
        monkeypatch.setattr(pipeline.time, "perf_counter", lambda late=late: now() + sum(late))
        with pytest.raises(Killed):
            fit(task, f"read in {slow}", budget=600)
    assert given[0] - given[1] == pytest.approx(100.0, abs=5.0)


def test_where_the_budget_is_spent_no_label_curve_is_drawn(task, with_curve):
    """It was begun eleven minutes ago."""
    settings = make_settings(asked(task, out=str(task / "spent")))
    run = pipeline.fit(str(task / "train.csv"), settings, begin=time.perf_counter() - 660.0)
    assert run.results.label_curve is None and fit(task, "not spent").results.label_curve is not None


def test_damaged_results_are_written_anew(task, quick):
    run = fit(task, "damaged")
    (run.folder / "metrics.json").write_text('{"title": ')
    assert same_results(fit(task, "damaged"), run)
    assert runs.open_run(run.folder).results.title == "train"


LOST = ("model", "half of the weights", "half of config.json")


@pytest.mark.parametrize(("rung", "lost"), [*((rung, lost) for rung in ("tfidf", "probe") for lost in LOST), ("probe", "tokenizer.json")])
def test_a_model_that_is_gone_or_damaged_is_made_anew_by_the_same_command(task, quick, monkeypatch, capsys, rung, lost):
    run = fit(task, f"lost {rung}", strategy=rung)
    before, model = weights(run), run.folder / "model"
    [place] = model.glob("*.safetensors") if "weights" in lost else [model / lost.removeprefix("half of ")]
    if lost == "model":
        shutil.rmtree(model)
    elif lost.startswith("half of"):
        place.write_bytes(place.read_bytes()[: place.stat().st_size // 2])
    else:
        place.unlink()
    exported = []
    monkeypatch.setattr("headstart.export.onnx.check_onnx_installed", lambda: None)
    monkeypatch.setattr("headstart.export.onnx.export_onnx", lambda folder, out: exported.append(folder))
    capsys.readouterr()
    again = fit(task, f"lost {rung}", strategy=rung, export="onnx")
    said = capsys.readouterr().err.splitlines()
    assert said[0] == f"the model of {run.folder} is gone or damaged; it is made anew" and "finished already" not in "".join(said)
    assert weights(again) == before and same_results(again, run) and again.model.labels == LABELS
    assert exported == ([model] if rung == "probe" else [])
    fit(task, f"lost {rung}", strategy=rung)
    assert "is finished already" in capsys.readouterr().err


def test_another_seed_or_other_data_in_the_same_folder_is_refused(task, whole):
    with pytest.raises(RunError) as caught:
        fit(task, "whole", strategy=("tfidf", "probe", "partial"), seed=1)
    assert str(caught.value) == (
        f"The folder {str(whole.folder)!r} holds another run (other data or settings: seed); name another with --out, or remove it."
    )
    with pytest.raises(RunError) as caught:
        fit(task, "whole", data="test.csv", test=None, strategy=("tfidf", "probe", "partial"))
    assert str(caught.value) == (
        f"The folder {str(whole.folder)!r} holds another run (other data or settings: data, content, test); "
        "name another with --out, or remove it."
    )


def test_where_and_how_loud_are_no_other_run(task, quick, monkeypatch):
    run = fit(task, "moved")
    assert fit(task, "moved", quiet=True, budget=1000, store=str(task / "another store")).results == run.results


def test_a_winner_that_cannot_be_trained_on_all_rows_gives_way_to_the_next_best(task, quick, monkeypatch):
    from headstart.strategies import probe

    def fail(job):
        if len(job.rows) == 90:
            raise RuntimeError("The head never settled.\nAnd more.")
        return whole_fit(job)

    whole_fit = probe.STRATEGY.fit
    monkeypatch.setattr(probe, "STRATEGY", replace(probe.STRATEGY, fit=fail))
    run = fit(task, "failing winner")
    assert run.results.winner.name == "tfidf"
    [record] = [trial for trial in run.results.trials if trial.name == "probe"]
    assert (record.status, record.reason) == (TrialStatus.FAILED, "The head never settled.")
    assert run.model.predict(["my lost card"]) == ["card"]


def test_a_source_that_changed_since_the_run_began_is_refused(task, quick, monkeypatch):
    source = make_tiny(task / "changing", "bert", blocks=2)
    with monkeypatch.context() as patched:
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "begun", source=str(source))
    make_tiny(source, "bert", blocks=2, seed=5)
    with pytest.raises(RunError) as caught:
        fit(task, "begun", source=str(source))
    assert str(caught.value) == (
        f"The source {str(source)!r} has changed since the run in {str(task / 'begun')!r} began; put it back, "
        "or name another folder with --out."
    )


def test_a_run_goes_on_with_a_source_that_it_began_with_or_not_at_all(task, quick, monkeypatch):
    first, second = (make_tiny(task / f"of two, {name}", "bert", blocks=2, seed=seed) for seed, name in enumerate(("first", "second")))
    asked_for = {"source": [str(first), str(second)]}

    def hide(folder):
        (folder / "config.json").rename(folder / "away.json")

    def put_back(folder):
        (folder / "away.json").rename(folder / "config.json")

    hide(second)
    with monkeypatch.context() as patched:
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "of two", **asked_for)
    put_back(second)
    hide(first)
    with pytest.raises(RunError) as caught:
        fit(task, "of two", **asked_for)
    assert str(caught.value) == (
        f"The run in {str(task / 'of two')!r} began with {str(first)!r}, which cannot be used now; put it right, or name another folder "
        "with --out."
    )
    put_back(first)
    assert fit(task, "of two", **asked_for).results.winner is not None


@pytest.mark.parametrize("changed", ["the pooling", "the tokenizer"])
def test_a_source_that_reads_otherwise_since_the_run_began_is_refused(task, quick, monkeypatch, changed):
    """Its weights are the same."""
    source = make_tiny(task / f"changing {changed}", "bert", blocks=2, pooling="mean")
    out = task / f"begun before {changed} changed"
    with monkeypatch.context() as patched:
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, out.name, source=str(source))
    if changed == "the pooling":
        write_sentence_files(source, "cls")
    else:
        tokenizer = json.loads((source / "tokenizer.json").read_text())
        (source / "tokenizer.json").write_text(json.dumps(tokenizer | {"normalizer": None}))
    with pytest.raises(RunError) as caught:
        fit(task, out.name, source=str(source))
    assert str(caught.value) == (
        f"The source {str(source)!r} has changed since the run in {str(out)!r} began; put it back, or name another folder with --out."
    )


def test_a_run_of_before_more_than_weights_was_noted_of_its_sources_goes_on(task, quick, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr("headstart.report.build.write_report", lambda *_: (_ for _ in ()).throw(Killed()))
        with pytest.raises(Killed):
            fit(task, "begun long ago")
    path = task / "begun long ago" / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        if line["key"] == "sources":
            del line["result"]["spaces"]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert fit(task, "begun long ago").results.winner.name in ("tfidf", "probe")


def test_a_finished_run_is_exported_when_asked_afterwards(task, quick, monkeypatch):
    written = []
    monkeypatch.setattr("headstart.export.onnx.check_onnx_installed", lambda: None)
    monkeypatch.setattr("headstart.export.onnx.export_onnx", lambda folder, out: written.append((folder, out)) or out.touch())
    run = fit(task, "exported later")
    assert not written
    for _ in range(2):
        fit(task, "exported later", export="onnx")
    assert written == [(run.folder / "model", run.folder / "model" / "model.onnx")]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [40, 60])
def test_a_whole_run_keeps_its_budget(task, seconds):
    rungs = ("tfidf", "probe", "contrastive", "partial", "full", "scratch")
    begin = time.monotonic()
    run = fit(task, f"budget {seconds}", strategy=rungs, epochs=150, budget=seconds, store=str(task / f"store {seconds}"))
    assert time.monotonic() - begin <= 1.1 * seconds
    assert run.results.winner.strategy in rungs


def test_a_folder_of_an_unknown_user_is_refused_before_anything_is_read(task, monkeypatch):
    told = "The {} '~nouser/x' begins with '~nouser', a folder that this machine does not know; write it out."
    with pytest.raises(SettingsError) as caught:
        headstart.fit(str(task / "train.csv"), out="~nouser/x")
    assert str(caught.value) == told.format("output folder")
    monkeypatch.setattr(pipeline, "read_whole", lambda *_: pytest.fail("the data were read"))
    monkeypatch.setenv("HEADSTART_SHELF", "~nouser/x")
    with pytest.raises(SettingsError) as caught:
        headstart.fit(str(task / "train.csv"), out=str(task / "never"))
    assert str(caught.value) == told.format("shelf")


def test_the_output_folder_may_lie_in_ones_own_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert pipeline.run_folder("data", make_settings({"out": "~/runs/one"})) == tmp_path / "runs" / "one"


# --- sources ---


def test_a_plan_leaves_out_what_a_fit_would(task, capsys):
    sources = (str(task / "source"), str(make_tiny(task / "unfit", "modernbert", blocks=2)))

    def refused(target, reader):
        if reader.backbone.source.name.endswith("unfit"):
            raise SourceError("It is unfit.")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_require_fit", refused)
        told = pipeline.plan(
            str(task / "train.csv"), make_settings({"source": sources, "store": str(task / "store"), "out": str(task / "p")})
        )
    assert "unfit" not in told and capsys.readouterr().err.endswith("  It is unfit.\n")


def test_one_bad_source_of_several_is_a_finding_and_the_run_goes_on(task, quick):
    run = fit(task, "one bad", source=(str(task / "source"), str(task / "nowhere")))
    [finding] = [item for item in run.results.findings if item.kind == "source left out"]
    with pytest.raises(SourceError) as caught:
        fit(task, "only bad", source=str(task / "nowhere"))
    assert finding.message == str(caught.value)
    assert [trial.name for trial in run.results.trials] == ["tfidf", "probe"]


def test_a_bad_source_in_the_first_place_is_no_other_than_one_in_the_second(task, quick):
    run = fit(task, "first bad", source=(str(task / "nowhere"), str(task / "source")))
    assert [item.kind for item in run.results.findings].count("source left out") == 1


def test_only_bad_sources_are_an_error(task):
    with pytest.raises(SourceError) as caught:
        fit(task, "all bad", source=(str(task / "nowhere"), str(task / "nowhere else")))
    assert str(caught.value).startswith("None of the 2 sources can be used; the last one: ")
    assert "'" + str(task / "nowhere else") + "'" in str(caught.value)


def test_two_good_sources_are_both_tried(task, quick):
    make_tiny(task / "other source", "distilbert", seed=3, blocks=2)
    run = fit(task, "two", source=(str(task / "source"), str(task / "other source")))
    names = [trial.name for trial in run.results.trials]
    assert names == ["tfidf", f"probe from {task / 'source'}", f"probe from {task / 'other source'}"]
    assert all(trial.status is TrialStatus.DONE for trial in run.results.trials)
    assert {layer.source for layer in run.results.layers} == {str(task / "source"), str(task / "other source")}


def test_one_source_of_many_that_gives_no_finite_numbers_is_left_out_and_named(task, quick, monkeypatch, capsys):
    sources = [str(make_tiny(task / f"many {k}", "bert", seed=k, blocks=2)) for k in range(5)]
    read = Reader.read_texts

    def spoilt(self, texts, *given):
        found = read(self, texts, *given)
        if self.backbone.source.name == sources[0]:
            found.pooled[:] = np.nan
        return found

    monkeypatch.setattr(Reader, "read_texts", spoilt)
    run = fit(task, "many sources", source=sources)
    why = "The source gives numbers that are not finite for 90 of 90 texts; choose another source."
    assert f"  {sources[0]} could not be ranked ({why})" in capsys.readouterr().err.splitlines()
    status = {trial.source: trial.status for trial in run.results.trials if trial.strategy == "probe"}
    assert status == {sources[0]: TrialStatus.FAILED} | dict.fromkeys(sources[1:], TrialStatus.DONE)
    assert {layer.source for layer in run.results.layers} == set(sources[1:])


def test_the_table_is_asked_about_no_transfer_with_the_length_of_the_texts(task):
    settings = make_settings(asked(task))
    target = pipeline.read_target(str(task / "train.csv"), settings)
    with candidates.open_means(settings) as means:
        rungs = candidates.rungs_on(target, np.arange(90), settings, means, ["tfidf", "probe"])
    assert rungs[0].tokens == rungs[1].tokens == pytest.approx(10.0, abs=0.5)  # eight words and two special tokens


# --- the shelf ---


def test_a_finished_run_is_a_source_for_the_next_by_its_name(task, quick, capsys):
    first = fit(task, "first of two", data="validation.csv", strategy=("probe",))
    assert "on the shelf as 'first of two'" in capsys.readouterr().err.splitlines()
    entry = shelf.find("first of two")
    assert (entry.place, entry.labels, entry.learned.rows) == (str(first.folder), LABELS, 24)
    assert entry.learned.score == first.results.scores["macro_f1"]
    assert entry.came_from == Origin(str(task / "source"), str(task / "source"), content_digest(task / "source"))
    second = fit(task, "second of two", strategy=("probe",), source="first of two")
    assert second.results.winner.source == "first of two"
    assert shelf.find("second of two").came_from == Origin("first of two", str(first.folder), entry.digest)


def test_a_run_that_was_killed_before_it_stood_on_the_shelf_is_put_there_by_the_same_command(task, quick):
    fit(task, "late", strategy=("probe",), shelf=False)
    assert shelf.read_shelf() == ([], [])
    fit(task, "late", strategy=("probe",))
    before = shelf.find("late")
    weights = task / "late" / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"?")
    fit(task, "late", strategy=("probe",))
    assert shelf.find("late") == before  # a changed model is not taken for what was added


def test_where_transfer_hurts_on_the_judged_rows_alone_the_model_without_it_is_saved_too(task, quick, monkeypatch):
    # On the training rows the rung with transfer is made to seem better than it is, on the judged rows worse.
    net, gain_of = planner._net, outcome.gain_of
    monkeypatch.setattr(planner, "_net", lambda state, cost: net(state, cost) + 2.0 * state.rung.strategy.transfers)
    monkeypatch.setattr(outcome, "gain_of", lambda *given: replace(gain_of(*given), verdict=Verdict.HURTS))
    run = fit(task, "it hurts", strategy=("static", "tfidf"))
    assert run.results.winner.name == "static"
    beside = run.folder / "without_transfer"
    assert run.summary().splitlines()[-2:] == [
        f"use it  headstart predict '{run.folder}' FILE",  # as a shell takes it
        f"without transfer  headstart predict '{beside}' FILE",
    ]
    texts, labels = map(list, zip(*sentences(144, 1)[90:120], strict=True))
    predicted = headstart.load(beside).predict(texts)
    assert f1_score(labels, predicted, average="macro") == pytest.approx(run.results.opponent_scores["macro_f1"].value)
    alone = fit(task, "without", strategy=("tfidf",))
    assert predicted == headstart.load(alone.folder).predict(texts)
    assert not (alone.folder / "without_transfer").exists()
    front = yaml.safe_load((beside / "README.md").read_text().split("---")[1])
    assert (front["library_name"], front["model-index"][0]["results"][0]["metrics"]) == (
        "headstart",
        yaml.safe_load((alone.folder / "model" / "README.md").read_text().split("---")[1])["model-index"][0]["results"][0]["metrics"],
    )


def test_a_model_that_does_not_stand_its_proof_is_not_there(task, quick, monkeypatch):
    def refused(folder, *_, **__):
        raise RunError(f"The model saved to {str(Path(folder).resolve())!r} gives other probabilities.")

    with monkeypatch.context() as patched:
        patched.setattr("headstart.saving.verify", refused)
        with pytest.raises(RunError) as told:
            fit(task, "unproven", strategy=("tfidf", "probe"))
    folder = task / "unproven"
    assert str(told.value) == f"The model saved to {str(folder / 'model')!r} gives other probabilities."
    assert not any(place.name.startswith("model") for place in folder.iterdir())
    with pytest.raises(RunError):
        headstart.load(folder)
    assert fit(task, "unproven", strategy=("tfidf", "probe")).model.labels


def test_a_form_that_cannot_be_made_keeps_no_finished_run_off_the_shelf(task, quick, monkeypatch):
    def refused(*_):
        raise RunError("torch cannot export it.")

    monkeypatch.setattr("headstart.saving.export_model", refused)
    with pytest.raises(RunError):
        fit(task, "no other form", strategy=("probe",))
    assert shelf.find("no other form") is not None


def test_a_winner_without_transfer_is_not_put_on_the_shelf(task, quick):
    fit(task, "nothing to transfer", strategy=("tfidf",))
    assert shelf.read_shelf() == ([], [])


def test_a_run_cannot_begin_from_itself_and_is_left_as_it_was(task, quick):
    run = fit(task, "round", strategy=("probe",))
    before = sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*"))
    for source in (str(run.folder), str(run.folder / "model"), shelf.find("round").name):
        with pytest.raises(RunError) as caught:
            fit(task, "round", strategy=("probe",), source=source)
        assert str(caught.value) == (
            f"The run in {str(run.folder)!r} would be its own source: {source!r} is in that folder. "
            "Name another folder with --out, or another source with --source."
        )
    assert sorted((path, path.stat().st_mtime_ns) for path in run.folder.rglob("*")) == before


def test_a_text_file_of_sources_is_what_it_names(task, quick):
    (task / "sources.txt").write_text(f"# two\n{task / 'source'}\n{task / 'nowhere'}\n")
    run = fit(task, "from a list", source=str(task / "sources.txt"))
    [finding] = [item for item in run.results.findings if item.kind == "source left out"]
    assert str(task / "nowhere") in finding.message
    assert f"- {task / 'nowhere'}\n" in (run.folder / "run.yaml").read_text()


# --- scikit-learn ---


def test_the_estimator_decides_and_trains_in_memory(task, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    texts, labels = map(list, zip(*sentences(90, 1), strict=True))
    given = asked(task, test=None, resamples=None)
    model = headstart.TransferClassifier(**given).fit(texts, labels)
    assert model.classes_.tolist() == list(LABELS)
    assert model.score(texts, labels) > 0.8
    np.testing.assert_allclose(model.predict_proba(texts[:5]).sum(axis=1), 1.0)
    assert clone(model).get_params() == model.get_params()
    assert list(Path().iterdir()) == []


def test_the_estimator_leaves_out_a_source_that_cannot_be_used(task):
    texts, labels = map(list, zip(*sentences(60, 1), strict=True))
    given = asked(task, test=None, resamples=None)
    model = headstart.TransferClassifier(**{**given, "source": [str(task / "nowhere"), given["source"]], "strategy": "probe"})
    assert len(model.fit(texts, labels).predict(texts)) == 60


def test_the_estimator_stands_cross_validation_and_grid_search(task):
    texts, labels = map(list, zip(*sentences(60, 1), strict=True))
    model = headstart.TransferClassifier(**asked(task, test=None, resamples=None), inner_folds=2)
    assert (cross_val_score(model, texts, labels, cv=2) > 0.4).all()
    search = GridSearchCV(model, {"strategy": ["probe", "static", ("tfidf",)]}, cv=2).fit(texts, labels)
    assert search.best_params_["strategy"] in ("probe", "static", ("tfidf",))
    assert len(search.predict(texts)) == 60


def test_settings_are_frozen_into_the_run(whole):
    import yaml

    written = yaml.safe_load((whole.folder / "run.yaml").read_text())
    assert written["settings"]["epochs"] == 1
    assert set(written["settings"]) | pipeline._NOT_ASKED == {*Settings.__dataclass_fields__}
    assert set(written["versions"]) == {"headstart", "torch", "transformers"}
