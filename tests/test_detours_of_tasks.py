"""Detours between kinds of tasks: what is learnt first and what is learnt then need not be of one kind."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file
from seqeval.metrics import f1_score as entity_f1

import headstart
from headstart import deciding
from headstart.errors import DataError
from headstart.report.build import build_report
from headstart.strategies import schedule
from small import asked, bare, marked, sentences, write_asked, write_csv
from tiny import WORDS, make_tiny


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """Entities, numbers, pairs and single labels, and a tiny source."""
    folder = tmp_path_factory.mktemp("kinds")
    make_tiny(folder / "source", "bert", blocks=2)
    write_csv(folder / "labels.csv", sentences(60, 1))
    (folder / "marked.jsonl").write_text("".join(json.dumps({"tokens": words, "tags": tags}) + "\n" for words, tags in marked(70, 2)))
    rng = np.random.default_rng(0)
    with (folder / "numbers.csv").open("w", newline="") as file:
        rows = [list(rng.choice(["card", *WORDS], 8)) for _ in range(60)]
        csv.writer(file).writerows(
            [("text", "score"), *((" ".join(words), words.count("card") + 0.01 * i) for i, words in enumerate(rows))]
        )
    with (folder / "pairs.csv").open("w", newline="") as file:
        sides = [(" ".join(rng.choice(WORDS, 5)), " ".join(rng.choice(WORDS, 5)), "same" if i % 2 else "other") for i in range(60)]
        csv.writer(file).writerows([("text_a", "text_b", "label"), *sides])
    write_asked(folder / "questions.json", asked(60, 3))
    write_asked(folder / "others.json", asked(60, 4, without=True))
    return folder


def by_detour(rungs, **how):
    """The planner, but for its choice of winner: the tuned rung by the detour, from the weights as they were left."""
    decision = DECIDE(rungs, **how)
    chosen = next((r for r in rungs if r.detour is not None and r.strategy.name == "partial" and " half " not in r.name), None)
    return decision if chosen is None else replace(decision, winner=chosen, transfer=chosen, via=chosen)


DECIDE = deciding.decide


def fit(place, data, via, out_name="", steps=6, **settings):
    """A run whose trainings of words and answers take `steps` steps."""
    with pytest.MonkeyPatch.context() as patch, bare():
        patch.setattr(schedule, "FEWEST_WORD_STEPS", steps)
        patch.setattr(deciding, "decide", by_detour)
        patch.setattr("headstart.planner._next", lambda *given: None)
        return headstart.fit(
            str(place / data),
            via=str(place / via),
            source=str(place / "source"),
            strategy=("probe", "partial"),
            store=str(place / "store"),
            inner_folds=2,
            outer_folds=2,
            resamples=100,
            budget=1e6,
            out=str(place / f"{data} by {via}{out_name}"),
            **{"epochs": 1} | settings,
        )


@pytest.mark.parametrize(
    ("data", "via", "kinds", "metrics"),
    [
        pytest.param("marked.jsonl", "labels.csv", ("ner", "classification"), ("entity_f1", "macro_f1"), marks=pytest.mark.slow),
        ("labels.csv", "marked.jsonl", ("classification", "ner"), ("macro_f1", "entity_f1")),
        pytest.param("pairs.csv", "labels.csv", ("pairs", "classification"), ("macro_f1", "macro_f1"), marks=pytest.mark.slow),
        pytest.param("numbers.csv", "pairs.csv", ("regression", "pairs"), ("spearman", "macro_f1"), marks=pytest.mark.slow),
        ("questions.json", "others.json", ("qa", "qa"), ("answer_f1", "answer_f1")),
        pytest.param("questions.json", "labels.csv", ("qa", "classification"), ("answer_f1", "macro_f1"), marks=pytest.mark.slow),
        pytest.param("labels.csv", "questions.json", ("classification", "qa"), ("macro_f1", "answer_f1"), marks=pytest.mark.slow),
    ],
)
def test_a_source_task_may_be_of_another_kind(task, data, via, kinds, metrics):
    run = fit(task, data, via, task=kinds[0], **({"label": "score"} if kinds[0] == "regression" else {}))
    stage = headstart.runs.open_run(run.folder / "via" / via.partition(".")[0])
    assert (run.results.task, stage.results.task) == kinds and (run.results.metric, stage.results.metric) == metrics
    told = run.results.detour
    assert told.tasks[0].metric == metrics[1] and told.tasks[0].score == stage.results.scores[metrics[1]]
    assert told.before == told.tasks[0].score and told.after.n == told.before.n
    assert run.results.winner.name.endswith(f"via {via.partition('.')[0]}")
    assert f"{headstart.settings.shown_metric(metrics[1])} " in build_report(run.results)


@pytest.mark.slow
def test_forgetting_of_entities_is_their_f1_under_the_saved_backbone(task):
    """The source task's own head on the saved backbone, put together from two files and read by the pipeline's own means."""
    import torch
    from transformers import AutoModelForTokenClassification, AutoTokenizer

    run = fit(task, "labels.csv", "marked.jsonl", steps=130, epochs=8, learning_rate=3e-3, out_name="long")
    stage = run.folder / "via" / "marked"
    model = AutoModelForTokenClassification.from_pretrained(stage / "model").eval()
    final = {
        name.removeprefix("backbone."): torch.from_numpy(weight)
        for name, weight in load_file(run.folder / "model" / "model.safetensors").items()
    }
    model.base_model.load_state_dict({name: weight for name, weight in final.items() if not name.startswith("classifier")}, strict=False)
    tokenizer = AutoTokenizer.from_pretrained(stage / "model")
    import pyarrow.parquet as pq

    learnt = set(pq.read_table(stage / "splits.parquet")["row"].to_pylist())
    true, given = [], []
    for number, (words, tags) in enumerate(marked(70, 2), 1):
        if number in learnt:
            continue
        read = tokenizer(list(words), is_split_into_words=True, return_tensors="pt")
        with torch.inference_mode():
            found = model(**read).logits[0].argmax(dim=1).tolist()
        first = {word: at for at, word in reversed(list(enumerate(read.word_ids()))) if word is not None}
        true.append(list(tags))
        given.append([model.config.id2label[found[first[word]]] for word in range(len(words))])
    assert any(tag != "O" for tags in given for tag in tags)  # else both would be 0 whatever the weights
    assert len(true) == run.results.detour.after.n
    assert run.results.detour.after.value == pytest.approx(entity_f1(true, given, zero_division=0))


@pytest.mark.slow
def test_rows_of_a_source_task_that_the_target_has_too_are_known_in_whatever_form_they_stand(task, tmp_path):
    """Token lists on one side, running texts on the other."""
    rows = marked(70, 2)
    write_csv(tmp_path / "running.csv", [(" ".join(words), f"label {i % 2}") for i, (words, _) in enumerate(rows[:10])] + sentences(40, 7))
    (task / "running.csv").write_text((tmp_path / "running.csv").read_text())
    run = fit(task, "running.csv", "marked.jsonl")
    [told] = run.results.detour.tasks
    assert told.left_out == 10


@pytest.mark.parametrize(
    ("rows", "kind"),
    [
        ([{"prompt": f"say {i}", "completion": f"card {i}"} for i in range(30)], "generation"),
        ([{"instruction": f"say {i}", "input": "", "output": f"card {i}"} for i in range(30)], "generation"),
        ([{"translation": {"en": f"my card {i}", "de": f"meine karte {i}"}} for i in range(30)], "translation"),
    ],
)
def test_what_is_learnt_whole_is_no_source_task_on_the_way(task, tmp_path, rows, kind):
    path = tmp_path / "other.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    with pytest.raises(DataError) as refused:
        headstart.fit(str(task / "labels.csv"), via=str(path), source=str(task / "source"), out=str(tmp_path / "run"))
    reason = f"it is data for the task {kind}; learn it by itself, and name its run with --source."
    assert str(refused.value) == f"The source task {str(path)!r} (--via) cannot be learnt: {reason}"
