"""From pairs of texts to a saved model, on a tiny source and a small invented task."""

import csv
import random

import numpy as np
import pytest
from sklearn.metrics import f1_score

import headstart
from headstart import cli
from headstart.errors import DataError
from headstart.loaded import LoadedPairs
from small import bare
from tiny import WORDS, make_tiny


def pairs(n, seed):
    """n different pairs of five words; they share three words (same) or none (other)."""
    rng = random.Random(seed)
    found = {}
    while len(found) < n:
        first = rng.sample(WORDS, 5)
        rest = [word for word in WORDS if word not in first]
        same = len(found) % 2 == 0
        second = [*first[:3], *rng.sample(rest, 2)] if same else rng.sample(rest, min(5, len(rest)))
        rng.shuffle(second)
        found.setdefault((" ".join(first), " ".join(second)), "same" if same else "other")
    return list(found.items())


ROWS = pairs(90, 3)


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pairs")
    for name, rows in (("train", ROWS[:60]), ("test", ROWS[60:])):
        with (folder / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows(
                [("id", "premise", "hypothesis", "label"), *((i, *pair, label) for i, (pair, label) in enumerate(rows))]
            )
    make_tiny(folder / "source", "bert", blocks=2)
    return folder


def fit(task, out, **settings):
    values = {
        "source": str(task / "source"),
        "test": str(task / "test.csv"),
        "store": str(task / "store"),
        "epochs": 1,
        "inner_folds": 2,
        "resamples": 100,
        "out": str(task / out),
    }
    return headstart.fit(str(task / "train.csv"), **(values | settings))


@pytest.fixture(scope="module")
def plain(task):
    with bare(page=True, curve=True):
        return fit(task, "plain", strategy=("tfidf", "probe"))


@pytest.fixture(scope="module")
def tuned(task):
    return fit(task, "tuned", strategy=("full",))


def test_the_task_is_recognised_and_words_that_both_share_are_seen_without_transfer(plain):
    results = plain.results
    assert (results.task, results.metric, results.winner.name) == ("pairs", "macro_f1", "tfidf")
    assert plain.metrics["accuracy"] > 0.8
    assert [finding.message for finding in results.findings if finding.kind == "task"] == [
        "The task is pairs, one label for each pair of texts: the texts stand in two columns, 'premise,hypothesis'."
    ]


@pytest.mark.parametrize("which", ["plain", "tuned"])
def test_the_scores_are_those_of_the_saved_model(plain, tuned, which):
    run = {"plain": plain, "tuned": tuned}[which]
    assert isinstance(run.model, LoadedPairs)
    found = run.model.predict([pair for pair, _ in ROWS[60:]])
    assert run.metrics["macro_f1"] == pytest.approx(f1_score([label for _, label in ROWS[60:]], found, average="macro"))


def test_transformers_gives_the_same_probabilities(tuned):
    from transformers import pipeline

    given = [{"text": first, "text_pair": second} for (first, second), _ in ROWS[60:70]]
    say = pipeline("text-classification", str(tuned.folder / "model"), trust_remote_code=True, device="cpu")
    rows = [{entry["label"]: entry["score"] for entry in row} for row in say(given, top_k=None)]
    expected = tuned.model.predict_proba(given)
    np.testing.assert_allclose([[row[name] for name in tuned.model.labels] for row in rows], expected, atol=1e-5)
    turned = tuned.model.predict_proba([(second, first) for (first, second), _ in ROWS[60:70]])
    assert np.abs(turned - expected).max() > 1e-6  # which text is the first matters


def test_a_file_is_labelled_by_the_command_line(task, tuned, capsys):
    with (task / "new.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("premise", "hypothesis"), *(pair for pair, _ in ROWS[60:66]), ("lost", " ")])
    assert cli.main(["predict", str(tuned.folder), str(task / "new.csv"), "--top", "2", "--out", str(task / "out.csv"), "--quiet"]) == 0
    with (task / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["prediction"] for row in rows] == [*tuned.model.predict([pair for pair, _ in ROWS[60:66]]), ""]
    assert list(rows[0]) == ["premise", "hypothesis", "prediction", "probability", "prediction_2", "probability_2"]
    (task / "one.csv").write_text("text\nlost card\n")
    assert cli.main(["predict", str(tuned.folder), str(task / "one.csv"), "--quiet"]) != 0
    where = str(task / "one.csv")
    assert f"The model reads pairs of texts; name the two columns of {where!r} with --text FIRST,SECOND." in capsys.readouterr().err


def test_pairs_in_python_are_tuples(task):
    given = ([pair for pair, _ in ROWS[:60]], [label for _, label in ROWS[:60]])
    found = headstart.check(given, source=str(task / "source"))
    assert found.usable.all()
    mixed = ([*given[0][:-1], "one text"], given[1])
    with pytest.raises(DataError) as refused:
        headstart.check(mixed, source=str(task / "source"), task="pairs")
    assert str(refused.value) == (
        "'(texts, labels)' has one text a row, in 'text'; name the two columns of the pairs as --text FIRST,SECOND."
    )


def test_a_model_takes_pairs_and_nothing_else(tuned):
    for no_pair in ("one text", "ab", None, ("a",), ("a", None), {"text": "a"}):
        with pytest.raises(TypeError) as refused:
            tuned.model.predict([no_pair])
        assert str(refused.value) == f"a pair of two texts is taken, not {no_pair!r}."
    assert tuned.model.predict([]) == []


@pytest.mark.parametrize("rung", ["lora", "gradual"])
def test_rungs_that_are_only_run_where_they_are_named_are_saved_as_they_were_judged(task, rung):
    with bare():
        run = fit(task, f"only {rung}", strategy=(rung,))
    found = run.model.predict([pair for pair, _ in ROWS[60:]])
    assert run.results.winner.name == rung
    assert run.metrics["macro_f1"] == pytest.approx(f1_score([label for _, label in ROWS[60:]], found, average="macro"))
