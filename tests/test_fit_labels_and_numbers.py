"""From texts with several labels, or with a number, to a saved model, on a tiny source and small invented tasks."""

import csv
import json
import random

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import f1_score

import headstart
from headstart import cli
from headstart.errors import SettingsError
from headstart.judge.verdict import verdict_sentence
from headstart.loaded import LoadedLabels, LoadedNumber
from small import TOPICS, bare
from tiny import WORDS, make_tiny

NAMES = tuple(TOPICS)


def labelled(n, seed):
    """n different texts of ten words; each topic is there with two of its words or not at all."""
    rng = random.Random(seed)
    rows = {}
    while len(rows) < n:
        topics = [name for name in NAMES if rng.random() < 0.4]
        words = [rng.choice(TOPICS[name]) for name in topics for _ in range(2)]
        words += [rng.choice(["help", "please", "today", "thanks"]) for _ in range(10 - len(words))]
        rng.shuffle(words)
        rows.setdefault(" ".join(words), topics)
    return list(rows.items())


def numbered(n, seed):
    """n different texts of eight words; the number counts words about cards, and has some noise."""
    rng = random.Random(seed)
    rows = {}
    while len(rows) < n:
        words = [rng.choice(TOPICS["card"] if rng.random() < 0.5 else WORDS) for _ in range(8)]
        rows.setdefault(" ".join(words), 100 + 10 * sum(word in TOPICS["card"] for word in words) + rng.gauss(0, 3))
    return list(rows.items())


MANY, SCORES = labelled(110, 1), numbered(110, 1)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Training and test files of both tasks, and a tiny source."""
    folder = tmp_path_factory.mktemp("labels")
    for name, rows in (("train", MANY[:70]), ("test", MANY[70:])):
        lines = [json.dumps({"text": text, "labels": topics}) + "\n" for text, topics in rows]
        (folder / f"many_{name}.jsonl").write_text("".join(lines))
    for name, rows in (("train", SCORES[:70]), ("test", SCORES[70:])):
        with (folder / f"score_{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([("text", "score"), *rows])
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def fit(task, out, data, **settings):
    values = {
        "source": str(task / "source"),
        "test": str(task / data.replace("train", "test")),
        "store": str(task / "store"),
        "epochs": 1,
        "inner_folds": 2,
        "resamples": 100,
        "out": str(task / out),
        "strategy": ("tfidf", "probe"),
    }
    return headstart.fit(str(task / data), **(values | settings))


@pytest.fixture(scope="module")
def labels(task):
    with bare(page=True, curve=True):
        return fit(task, "labels", "many_train.jsonl", label="labels", strategy=("tfidf", "probe", "partial"))


@pytest.fixture(scope="module")
def moved(task):
    """A run whose winner transfers and was tuned."""
    return fit(task, "moved", "many_train.jsonl", label="labels", strategy=("partial",))


@pytest.fixture(scope="module")
def number(task):
    with bare(page=True, curve=True):
        return fit(task, "number", "score_train.csv", label="score", strategy=("tfidf", "probe", "partial"))


@pytest.fixture(scope="module")
def tuned(task):
    return fit(task, "tuned", "score_train.csv", label="score", strategy=("partial",))


def test_the_task_is_recognised_and_the_report_speaks_of_it(labels, number):
    for run, name, metric in ((labels, "multilabel", "micro_f1"), (number, "regression", "spearman")):
        results = run.results
        assert (results.task, results.metric) == (name, metric)
        assert any(finding.kind == "task" for finding in results.findings)
        assert results.opponent.name == "tfidf" and results.gain.opponent == "tfidf"
        assert run.report.stat().st_size > 10_000
    assert "Label by label" in labels.report.read_text() and "Predicted against true" in number.report.read_text()
    assert "] micro-F1" in verdict_sentence(labels.results) and "Spearman" in verdict_sentence(number.results)
    assert labels.results.label_curve is not None and number.results.label_curve is not None


@pytest.mark.parametrize("which", ["labels", "moved"])
def test_the_scores_are_those_of_the_saved_model_on_the_test_file(labels, moved, which):
    run = {"labels": labels, "moved": moved}[which]
    assert isinstance(run.model, LoadedLabels) and run.model.labels == tuple(sorted(NAMES))
    given = run.model.predict([text for text, _ in MANY[70:]])
    y, found = (np.array([[name in row for name in run.model.labels] for row in rows]) for rows in ([t for _, t in MANY[70:]], given))
    assert run.metrics["micro_f1"] == pytest.approx(f1_score(y, found, average="micro"))
    assert run.metrics["macro_f1"] == pytest.approx(f1_score(y, found, average="macro", zero_division=0))
    assert dict(run.results.data.labels) == {name: sum(name in topics for _, topics in MANY[:70]) for name in sorted(NAMES)}


@pytest.mark.parametrize("which", ["number", "tuned"])
def test_the_numbers_are_those_of_the_saved_model_in_their_own_unit(number, tuned, which):
    run = {"number": number, "tuned": tuned}[which]
    assert isinstance(run.model, LoadedNumber)
    found, y = np.array(run.model.predict([text for text, _ in SCORES[70:]])), np.array([score for _, score in SCORES[70:]])
    assert run.metrics["spearman"] == pytest.approx(spearmanr(found, y).statistic, abs=1e-6)
    assert run.metrics["rmse"] == pytest.approx(np.sqrt(((found - y) ** 2).mean()), rel=1e-4)
    assert abs(found.mean() - y.mean()) < 10  # near 140, not near 0
    assert len(run.results.numbers) == 40


def test_transformers_gives_the_same_labels_and_numbers(moved, tuned):
    from transformers import pipeline

    texts = [text for text, _ in MANY[70:80]]
    say = pipeline("text-classification", str(moved.folder / "model"), trust_remote_code=True, device="cpu")
    rows = say(texts, top_k=None)
    expected = moved.model.predict_proba(texts)
    found = [[{entry["label"]: entry["score"] for entry in row}[name] for name in moved.model.labels] for row in rows]
    np.testing.assert_allclose(found, expected, atol=1e-5)
    rate = pipeline("text-classification", str(tuned.folder / "model"), trust_remote_code=True, device="cpu")
    np.testing.assert_allclose([row["score"] for row in rate(texts)], tuned.model.predict(texts), rtol=1e-5)


def test_the_line_lies_where_f1_was_best_on_held_out_rows(labels):
    trials = {trial.name: trial for trial in labels.results.trials}
    assert trials["tfidf"].score.value > 0.5  # at a probability of one half it gives hardly any label: 70 rows


def test_a_file_is_labelled_by_the_command_line(task, labels, number, capsys):
    (task / "new.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*(t for t, _ in MANY[70:76]), " "]))
    for run, many in ((labels, True), (number, False)):
        out = task / "out.jsonl"
        assert cli.main(["predict", str(run.folder), str(task / "new.jsonl"), "--out", str(out), "--quiet"]) == 0
        lines = [json.loads(line) for line in out.read_text().splitlines()]
        texts = [text for text, _ in MANY[70:76]]
        assert [line["prediction"] for line in lines[:6]] == (run.model.predict(texts) if many else pytest.approx(run.model.predict(texts)))
        assert lines[6]["prediction"] is None and ("probability" in lines[0]) is many
        if many:
            for line, row in zip(lines, run.model.predict_proba(texts), strict=False):
                assert line["probability"] == (pytest.approx(row[row > 0.5].min(), abs=2e-6) if line["prediction"] else None)
        assert cli.main(["predict", str(run.folder), str(task / "new.jsonl"), "--top", "2", "--out", str(out), "--quiet"]) != 0
    said = capsys.readouterr().err
    assert "--top is 2, but the model gives a text all labels that apply. Leave it out." in said
    assert "--top is 2, but the model predicts a number. Leave it out." in said


def test_numbers_are_written_to_parquet_as_numbers(task, number):
    import pyarrow.parquet as pq

    (task / "two.csv").write_text("id,text\n1,lost card\n2,new price\n")
    assert cli.main(["predict", str(number.folder), str(task / "two.csv"), "--out", str(task / "two.parquet"), "--quiet"]) == 0
    table = pq.read_table(task / "two.parquet")
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "double"]


def test_other_labels_in_the_test_file_change_no_weight(task, moved, monkeypatch):
    turned = [{"text": text, "labels": [name for name in NAMES if name not in topics]} for text, topics in MANY[70:]]
    (task / "many_turned.jsonl").write_text("".join(json.dumps(row) + "\n" for row in turned))
    false = fit(task, "turned", "many_train.jsonl", label="labels", strategy=("partial",), test=str(task / "many_turned.jsonl"))
    weights = [(run.folder / "model" / "model.safetensors").read_bytes() for run in (moved, false)]
    assert weights[0] == weights[1] and moved.metrics["micro_f1"] != false.metrics["micro_f1"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"strategy": "contrastive"},
            "--strategy is 'contrastive'; it must be one of tfidf, static, probe, partial, lora, gradual, full, scratch.",
        ),
        ({"metric": "log_loss"}, "--metric is 'log_loss'; for the task multilabel it must be one of micro_f1, macro_f1, accuracy."),
    ],
)
def test_what_there_is_not_for_labels_is_refused_in_one_sentence(task, settings, message):
    with pytest.raises(SettingsError) as refused:
        fit(task, "refused", "many_train.jsonl", label="labels", **settings)
    assert str(refused.value) == message


def test_suspects_are_looked_for_and_a_cleaned_copy_is_written(task, capsys, monkeypatch):
    monkeypatch.setenv("HEADSTART_STORE", str(task / "store"))
    rows = [json.loads(line) for line in (task / "many_train.jsonl").read_text().splitlines()]
    (task / "suspect.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[3]]))
    given = [str(task / "suspect.jsonl"), "--label", "labels", "--source", str(task / "source")]
    assert cli.main(["check", *given, "--suspects"]) in (0, 1)
    assert "The task is multilabel" in capsys.readouterr().out
    assert cli.main(["check", *given, "--fix"]) == 1
    said = capsys.readouterr().out.splitlines()[-2:]
    out = task / "suspect.cleaned.jsonl"
    assert said == [
        f"Left out 1 row as repeats of an earlier row: {len(rows) + 1}.",
        f"Wrote {len(rows)} rows of {len(rows) + 1} to {str(out)!r}.",
    ]
    assert [json.loads(line) for line in out.read_text().splitlines()] == rows


@pytest.mark.parametrize("rung", ["lora", "gradual"])
def test_rungs_that_are_only_run_where_they_are_named_are_saved_as_they_were_judged(task, rung):
    true = np.array([[name in topics for name in NAMES] for _, topics in MANY[70:]])
    with bare():
        many = fit(task, f"labels {rung}", "many_train.jsonl", label="labels", strategy=(rung,))
        one = fit(task, f"number {rung}", "score_train.csv", label="score", strategy=(rung,))
    assert many.results.winner.name == one.results.winner.name == rung
    order = [many.model.labels.index(name) for name in NAMES]
    found = many.model.predict_proba([text for text, _ in MANY[70:]])[:, order] > 0.5
    assert many.metrics["micro_f1"] == pytest.approx(f1_score(true, found, average="micro"))
    said = one.model.predict([text for text, _ in SCORES[70:]])
    assert one.metrics["spearman"] == pytest.approx(spearmanr(said, [value for _, value in SCORES[70:]]).statistic)
