"""From marked sentences to a saved model that marks entities, on a tiny source and a small invented task."""

import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from seqeval.metrics import f1_score, precision_score, recall_score

import headstart
from headstart import cli, pipeline
from headstart.errors import SettingsError
from headstart.judge.verdict import verdict_sentence
from headstart.loaded import LoadedTagger
from headstart.records import TrialStatus
from headstart.settings import Metric
from headstart.sources import shelf
from headstart.strategies import schedule
from small import FAMILIES, PEOPLE, PLACES, TAGS, bare, marked, sentences, without_times, write_csv, write_marked
from tiny import make_tiny

TRAIN, TEST = marked(90, 1)[:60], marked(90, 1)[60:]


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """Short trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "FEWEST_WORD_STEPS", 6)
        yield


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with train.jsonl (60 sentences), test.jsonl (30 others) and a tiny source that knows the names as words."""
    folder = tmp_path_factory.mktemp("entities")
    write_marked(folder / "train.jsonl", TRAIN)
    write_marked(folder / "test.jsonl", TEST)
    names = (*PEOPLE, *FAMILIES, *(word for place in PLACES for word in place))
    make_tiny(folder / "source", "bert", blocks=2, words=names)
    return folder


@pytest.fixture(scope="module")
def whole(task, few_steps):
    """A finished run with a rung without transfer, judged on the test file, nothing left out."""
    return fit(task, "whole", strategy=("crf", "probe", "partial"))


@pytest.fixture(scope="module")
def transferred(task, few_steps):
    """A finished run whose winner transfers, nothing left out."""
    return fit(task, "transferred", strategy="probe")


@pytest.fixture
def quick():
    """What has tests of its own is left out."""
    with bare():
        yield


def fit(task, out, data="train.jsonl", **settings):
    values = {
        "test": str(task / "test.jsonl"),
        "source": str(task / "source"),
        "store": str(task / "store"),
        "epochs": 1,
        "inner_folds": 2,
        "resamples": 100,
        "out": str(task / out),
    } | settings
    given = str(task / data) if isinstance(data, str) else data
    return headstart.fit(given, **{name: value for name, value in values.items() if value is not None})


def judged_logits(run, rung, part="test file"):
    """What the journal kept of a rung's answers on the words that judged it."""
    entries = map(json.loads, (run.folder / "journal.jsonl").read_text().splitlines())
    [name] = [entry["arrays"]["logits"] for entry in entries if entry["key"].startswith(f"{part}/judged {rung} x ")]
    return np.load(run.folder / "trials" / name)


def tags_of(logits, sentences_of):
    """The likeliest tags of words, sentence by sentence."""
    flat = [TAGS[k] for k in logits.argmax(axis=1)]
    ends = np.cumsum([len(words) for words, _ in sentences_of])
    return [flat[end - len(words) : end] for (words, _), end in zip(sentences_of, ends, strict=True)]


# --- a whole run ---


def test_a_run_leaves_its_results_in_its_folder(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names - {"tensorboard"} == {"run.yaml", "journal.jsonl", "trials", "splits.parquet", "model", "metrics.json", "report.html"}
    results = whole.results
    assert [trial.name for trial in results.trials] == ["crf", "probe", "partial"]
    assert [trial.transfers for trial in results.trials] == [False, True, True]
    assert results.opponent.name == "crf" and (results.task, results.metric) == ("ner", "entity_f1")
    assert (results.data.rows, results.data.used, results.data.test_rows) == (60, 60, 30)
    written = json.loads((whole.folder / "metrics.json").read_text())
    assert "entity_f1" in json.dumps(written) and whole.metrics["entity_f1"] == results.scores["entity_f1"].value
    counts = {kind: sum(tag == f"B-{kind}" for _, tags in TRAIN for tag in tags) for kind in ("LOC", "PER")}
    assert dict(results.data.labels) == counts
    assert results.spent.texts_read == 90
    splits = pq.read_table(whole.folder / "splits.parquet").to_pydict()
    assert splits["label"] == [" ".join(tags) for _, tags in TRAIN]


def test_the_verdict_speaks_of_entity_f1(whole):
    said = verdict_sentence(whole.results)
    assert f"{whole.metrics['entity_f1']:.2f} [" in said and "] entity F1" in said and "(30 rows, the test file, 95 % intervals)" in said
    assert "entity F1" in whole.report.read_text()


@pytest.mark.parametrize("who", ["winner", "opponent", "transferred"])
def test_the_scores_are_those_of_seqeval(whole, transferred, who):
    run = transferred if who == "transferred" else whole
    record = run.results.opponent if who == "opponent" else run.results.winner
    scores = run.results.opponent_scores if who == "opponent" else run.results.scores
    true, found = [list(tags) for _, tags in TEST], tags_of(judged_logits(run, record.name), TEST)
    assert scores["entity_f1"].value == pytest.approx(f1_score(true, found))
    assert scores["macro_f1"].value == pytest.approx(f1_score(true, found, average="macro"))
    assert scores["precision"].value == pytest.approx(precision_score(true, found))
    assert scores["recall"].value == pytest.approx(recall_score(true, found))
    right = [a == b for one, other in zip(true, found, strict=True) for a, b in zip(one, other, strict=True)]
    assert scores["accuracy"].value == pytest.approx(np.mean(right))


def test_the_saved_model_is_what_was_judged(transferred):
    assert isinstance(transferred.model, LoadedTagger) and transferred.model.labels == TAGS
    judged = judged_logits(transferred, "probe")
    np.testing.assert_allclose(transferred.model.reader.predict_logits([" ".join(words) for words, _ in TEST]), judged, atol=1e-4)
    entities = transferred.model.predict([list(words) for words, _ in TEST])
    assert sum(map(len, entities)) > 0


def test_transformers_gives_the_same_tags_as_the_opened_model(transferred):
    from transformers import pipeline

    mark = pipeline("token-classification", str(transferred.folder / "model"), ignore_labels=[], device="cpu")
    texts = [" ".join(words) for words, _ in TEST]
    classes = transferred.model.reader.predict_logits(texts).argmax(axis=1)
    found = []
    for text, entries in zip(texts, mark(texts), strict=True):
        starts = {len(" ".join(text.split(" ")[:i])) + (i > 0) for i in range(text.count(" ") + 1)}
        found += [entry["entity"] for entry in entries if entry["start"] in starts]
    assert found == [TAGS[k] for k in classes] and len(set(found)) > 1


def test_a_file_is_labelled_by_the_command_line(task, transferred, capsys):
    rows = [{"id": i, "tokens": list(words)} for i, (words, _) in enumerate(TEST)]
    (task / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": 30, "tokens": []}]))
    assert cli.main(["predict", str(transferred.folder), str(task / "new.jsonl"), "--out", str(task / "out.jsonl"), "--quiet"]) == 0
    lines = [json.loads(line) for line in (task / "out.jsonl").read_text().splitlines()]
    assert [{name: line[name] for name in ("id", "tokens")} for line in lines[:30]] == rows
    answers = transferred.model.tag([row["tokens"] for row in rows])
    for line, (tags, entities) in zip(lines, answers, strict=False):
        assert line["prediction"] == tags
        assert [(e["text"], e["type"], e["start"], e["end"]) for e in line["entities"]] == [
            (e.text, e.type, e.start, e.end) for e in entities
        ]
        assert line["probability"] == (pytest.approx(min(e.probability for e in entities), abs=2e-6) if entities else None)
    assert (lines[30]["prediction"], lines[30]["entities"]) == (None, None)
    assert cli.main(["predict", str(transferred.folder), str(task / "new.jsonl"), "--top", "2", "--quiet"]) != 0
    assert "--top is 2, but the model marks entities: each word has one tag. Leave it out." in capsys.readouterr().err


# --- the laws ---


def test_a_second_run_into_another_folder_reads_no_text(task, whole, quick):
    run = fit(task, "second", strategy=("crf", "probe", "partial"))
    assert run.results.spent.texts_read == 0
    assert run.results.scores == whole.results.scores
    assert [without_times(trial) for trial in run.results.trials] == [without_times(trial) for trial in whole.results.trials]


def test_one_added_sentence_reads_one_text(task, whole, quick):
    write_marked(task / "more.jsonl", [*TRAIN, (("please", "help", "anna", "smith"), ("O", "O", "B-PER", "I-PER"))])
    assert fit(task, "more", data="more.jsonl", strategy=("crf", "probe", "partial")).results.spent.texts_read == 1


def test_other_tags_in_the_test_file_change_no_decision_and_no_weight(task, transferred, quick):
    turned = [(words, tuple("B-LOC" if tag == "O" else "O" for tag in tags)) for words, tags in TEST]
    write_marked(task / "turned.jsonl", turned)
    false = fit(task, "turned", strategy="probe", test=str(task / "turned.jsonl"))
    weights = [(run.folder / "model" / "model.safetensors").read_bytes() for run in (transferred, false)]
    assert weights[0] == weights[1]
    assert list(map(without_times, transferred.results.trials)) == list(map(without_times, false.results.trials))
    # The judge did look: the same answers score otherwise.
    assert transferred.metrics["entity_f1"] != false.metrics["entity_f1"]


def test_a_finished_run_is_opened_and_not_computed_again(task, transferred, monkeypatch):
    monkeypatch.setattr(pipeline, "open_means", lambda settings: pytest.fail("a source was opened"))
    before = {path: path.stat().st_mtime_ns for path in transferred.folder.rglob("*") if path.is_file()}
    assert fit(task, "transferred", strategy="probe") == transferred
    assert {path: path.stat().st_mtime_ns for path in transferred.folder.rglob("*") if path.is_file()} == before


# --- ways to ask ---


def test_few_rows_without_a_test_file_are_judged_by_outer_folds(task, quick):
    run = fit(task, "folds", test=None, outer_folds=2, strategy=("crf", "probe"))
    assert run.results.judged_on == "2 outer folds"
    assert run.results.scores["entity_f1"].n == 60
    splits = pq.read_table(run.folder / "splits.parquet").to_pydict()
    true, found = [], []
    for k in (1, 2):
        part = [TRAIN[i] for i in range(60) if splits["judged_by"][i] == f"outer fold {k}"]
        true += [list(tags) for _, tags in part]
        found += tags_of(judged_logits(run, "crf", f"outer fold {k}"), part)
    assert len(true) == 60
    assert run.results.opponent_scores["entity_f1"].value == pytest.approx(f1_score(true, found))


@pytest.mark.parametrize("rung", ["crf", "probe", "partial", "full", "lora", "gradual", "scratch"])
def test_every_rung_can_be_asked_for_alone(task, quick, rung):
    run = fit(task, f"only {rung}", strategy=rung, shelf=False)
    assert run.results.winner.name == rung and run.gain is None
    judged = judged_logits(run, rung)
    found = run.model.reader.predict_logits([" ".join(words) for words, _ in TEST])
    np.testing.assert_allclose(found, judged, atol=1e-4)


@pytest.mark.parametrize("metric", ["entity_f1", "macro_f1", "accuracy", "log_loss"])
def test_every_metric_of_the_task_can_decide(task, quick, metric):
    run = fit(task, f"by {metric}", strategy=("crf", "probe"), metric=metric, shelf=False)
    assert run.results.metric == metric
    assert all(trial.status is TrialStatus.DONE for trial in run.results.trials)
    scores = {trial.name: trial.score.value for trial in run.results.trials}
    better = min if metric == "log_loss" else max
    assert run.results.winner.name == better(scores, key=scores.get)
    assert f"] {Metric(metric).shown}" in verdict_sentence(run.results)


def test_sentences_longer_than_is_read_are_read_in_windows(task, quick):
    run = fit(task, "windows", strategy="partial", max_length=8, shelf=False)
    judged = judged_logits(run, "partial")
    assert len(judged) == sum(len(words) for words, _ in TEST)
    found = run.model.reader.predict_logits([" ".join(words) for words, _ in TEST])
    np.testing.assert_allclose(found, judged, atol=1e-4)


@pytest.mark.slow
def test_a_model_of_long_sentences_is_opened_again_window_by_window(task):
    assert fit(task, "windows opened", strategy="partial", max_length=8, shelf=False).results.winner.name == "partial"


def test_words_and_tags_can_be_given_in_python(task, quick):
    texts, labels = [list(words) for words, _ in TRAIN], [list(tags) for _, tags in TRAIN]
    asked = {"test": None, "few_rows": 0, "strategy": "crf"}
    run = fit(task, "python", data=(texts, labels), **asked)
    assert run.results.task == "ner" and run.model.labels == TAGS
    assert run.results.scores == fit(task, "python as a file", **asked).results.scores


def test_a_finished_run_is_a_source_for_the_next(task, quick):
    first = fit(task, "first of two", strategy="partial")
    entry = shelf.find("first of two")
    assert entry.place == str(first.folder)
    write_marked(task / "others.jsonl", marked(40, 7))
    second = fit(task, "second of two", data="others.jsonl", test=None, few_rows=0, strategy="probe", source="first of two")
    assert second.results.winner.source == "first of two"
    came_from = shelf.find("second of two").came_from
    assert (came_from.name, came_from.place) == ("first of two", str(first.folder))


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "tfidf"}, "--strategy is 'tfidf'; it must be one of crf, probe, partial, lora, gradual, full, scratch."),
    ],
)
def test_what_is_not_to_be_had_for_entities_is_refused_before_anything_is_done(task, monkeypatch, settings, message):
    monkeypatch.setattr("headstart.export.onnx.check_onnx_installed", lambda: None)
    with pytest.raises(SettingsError) as caught:
        fit(task, "refused", **settings)
    assert str(caught.value) == message
    assert not (task / "refused").exists()


def test_entity_f1_is_refused_for_labels_of_whole_texts(task):
    write_csv(task / "labels.csv", sentences(30, 1))
    with pytest.raises(SettingsError) as caught:
        fit(task, "refused", data="labels.csv", test=None, metric="entity_f1")
    assert str(caught.value) == ("--metric is 'entity_f1'; for the task classification it must be one of macro_f1, accuracy, log_loss.")
    assert not (task / "refused").exists()
