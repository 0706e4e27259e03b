"""From questions and contexts to a saved model that answers, on a tiny source and a small invented task."""

import json
import math
import re

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import headstart
from headstart import cli, pipeline
from headstart.data.pairs import join_pair
from headstart.errors import DataError, RunError, SettingsError, SourceError
from headstart.export.verify import as_given, verify_answers
from headstart.judge.verdict import verdict_sentence
from headstart.loaded_answers import LoadedAnswers
from headstart.settings import Metric
from headstart.strategies import schedule
from small import COLOURS, answer_rows, asked, bare, sentences, without_times, write_asked, write_csv
from tiny import make_tiny

ALL = asked(90, 1, without=True)
TRAIN, TEST = ALL[:60], ALL[60:]
PAIRS = [(question, context) for question, context, _ in TEST]
RUNGS = ("sentence", "probe", "partial")


@pytest.fixture(scope="module", autouse=True)
def few_steps():
    """Short trainings."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schedule, "FEWEST_WORD_STEPS", 6)
        yield


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A folder with train.json (60 questions), test.json (30 others), and a tiny source that knows the colours as words."""
    folder = tmp_path_factory.mktemp("answers")
    write_asked(folder / "train.json", TRAIN)
    write_asked(folder / "test.json", TEST)
    make_tiny(folder / "source", "bert", blocks=2, words=(*COLOURS, "phone", "coat"))
    return folder


@pytest.fixture(scope="module")
def whole(task, few_steps):
    """A finished run of three rungs, judged on the test file, nothing left out."""
    return fit(task, "whole", strategy=RUNGS)


@pytest.fixture(scope="module")
def transferred(task, few_steps):
    """A finished run whose winner transfers, nothing left out."""
    return fit(task, "transferred", strategy="partial")


@pytest.fixture
def quick():
    """What has tests of its own is left out."""
    with bare():
        yield


def fit(folder, out, data="train.json", **settings):
    values = {
        "test": str(folder / "test.json"),
        "source": str(folder / "source"),
        "store": str(folder / "store"),
        "epochs": 1,
        "inner_folds": 2,
        "resamples": 100,
        "out": str(folder / out),
    } | settings
    return headstart.fit(str(folder / data), **{name: value for name, value in values.items() if value is not None})


def judged_outputs(run, rung, part="test file"):
    """What the journal kept of a rung's outputs on the rows that judged it, (n, 5)."""
    entries = map(json.loads, (run.folder / "journal.jsonl").read_text().splitlines())
    [name] = [entry["arrays"]["logits"] for entry in entries if entry["key"].startswith(f"{part}/judged {rung} x ")]
    return np.load(run.folder / "trials" / name)


def points(said, truths):
    """F1 of an answer without punctuation, as this task's are, with the true one, a single word."""
    words = [word for word in said.split() if word not in ("a", "an", "the")]
    if not truths or not words:
        return float(not truths and not words)
    return 2 * float(truths[0][0] in words) / (len(words) + 1)


# --- a whole run ---


def test_a_run_leaves_its_results_in_its_folder(whole):
    names = {path.name for path in whole.folder.iterdir()}
    assert names - {"tensorboard"} == {"run.yaml", "journal.jsonl", "trials", "splits.parquet", "model", "metrics.json", "report.html"}
    results = whole.results
    assert {trial.name: trial.transfers for trial in results.trials} == {"sentence": False, "probe": True, "partial": True}
    assert results.opponent.name == "sentence" and (results.task, results.metric) == ("qa", "answer_f1")
    assert (results.data.rows, results.data.used, results.data.test_rows) == (60, 60, 30)
    assert dict(results.data.labels) == {"an answer": 40, "no answer": 20}
    assert set(results.scores) == {"answer_f1", "exact_match", "f1_where_there_is_an_answer", "right_where_there_is_none"}


def test_rows_that_take_half_of_the_budget_to_answer_are_told_at_the_start(task, quick, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr("headstart.tasks.qa.TOKENS_A_CHARACTER", 1e8)
        fit(task, "long", strategy=("sentence", "probe"))
    [told] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("Answering the rows")]
    assert re.fullmatch(r"Answering the rows that judge takes about [\d,]+ s of the [\d,]+ s there are\.", told)
    fit(task, "short", strategy=("sentence", "probe"), inner_folds=3)
    assert "Answering the" not in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # peft asks transformers for it
def test_an_adapter_is_saved_with_its_head_and_answers_as_the_merged_model_does(task, capsys):
    run = fit(task, "adapted", strategy="lora", adapter=True, epochs=8, learning_rate=1e-3)
    assert "opened the adapter on its source in a fresh process: the same answers to 8 rows" in capsys.readouterr().err
    folder = run.folder / "model"
    # What is merged is the source's weight and the product of the two matrices, by hand; the head stands in the adapter too.
    learnt, whole = load_file(folder / "adapter" / "adapter_model.safetensors"), load_file(folder / "model.safetensors")
    before = load_file(task / "source" / "model.safetensors")
    name = "encoder.layer.1.output.dense"
    low, high = (learnt[f"base_model.model.bert.{name}.lora_{part}.weight"] for part in "AB")
    np.testing.assert_allclose(whole[f"bert.{name}.weight"], before[f"{name}.weight"] + 2.0 * high @ low, atol=1e-5)
    assert np.abs(high).max() > 0
    np.testing.assert_array_equal(learnt["base_model.model.qa_outputs.weight"], whole["qa_outputs.weight"])
    # The classic loss of heads: with another head it opens as well, and that is found.
    given = as_given([join_pair(question, context) for question, context in PAIRS], True)
    said = headstart.load(run.folder).predict(given)
    other = {key: -value if "qa_outputs" in key else value for key, value in learnt.items()}
    save_file(other, folder / "adapter" / "adapter_model.safetensors")
    with pytest.raises(RunError, match="answers otherwise than the trained one"):
        verify_answers(folder, "qa", given, said, adapter=True)


def test_the_verdict_and_the_report_speak_of_answers(whole):
    said = verdict_sentence(whole.results)
    assert "] answer F1" in said and "(30 rows, the test file, 95 % intervals)" in said
    page = whole.report.read_text()
    assert "Answers in their context" in page and "which " in page and "<mark" in page
    assert "pipeline(" not in page and "What is taken for what" not in page


def test_the_card_says_what_the_model_is(transferred):
    card = (transferred.folder / "model" / "README.md").read_text()
    assert "pipeline_tag: question-answering" in card and "A model that finds the answer to a question in a context" in card
    assert "AutoModelForQuestionAnswering" in card and "text-classification" not in card and "is not read" not in card


@pytest.mark.parametrize("who", ["whole", "transferred"])
def test_the_saved_model_is_what_was_judged(request, who):
    run = request.getfixturevalue(who)
    assert isinstance(run.model, LoadedAnswers)
    said = run.model.predict(PAIRS)
    assert run.metrics["answer_f1"] == pytest.approx(np.mean([points(one, row[2]) for one, row in zip(said, TEST, strict=True)]))
    outputs = judged_outputs(run, run.results.winner.name)
    margins = [span.margin for span in run.model.find([join_pair(*pair) for pair in PAIRS])]
    # The journal keeps outputs as they were before calibration moved them, or after: the order is the same.
    np.testing.assert_array_equal(np.argsort(outputs[:, 0], kind="stable"), np.argsort(np.float64(margins), kind="stable"))


def test_an_answer_tells_its_place_and_how_sure_it_is(transferred):
    for (question, context), found, text in zip(PAIRS, transferred.model.answer(PAIRS), transferred.model.predict(PAIRS), strict=True):
        assert found.text == text == context[found.start : found.end] and 0 < found.probability <= 1
        [span] = transferred.model.find([join_pair(question, context)])
        there = 1 / (1 + math.exp(-span.margin))
        assert found.probability == pytest.approx(there * span.share if text else 1 - there)


def test_a_file_is_answered_by_the_command_line(task, transferred, capsys):
    rows = [{"id": i, "question": question, "context": context} for i, (question, context) in enumerate(PAIRS)]
    (task / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in [*rows, {"id": 30, "question": "", "context": "x"}]))
    assert cli.main(["predict", str(transferred.folder), str(task / "new.jsonl"), "--out", str(task / "out.jsonl")]) == 0
    lines = [json.loads(line) for line in (task / "out.jsonl").read_text().splitlines()]
    for line, row, found in zip(lines, rows, transferred.model.answer(PAIRS), strict=False):
        assert {name: line[name] for name in row} == row and line["prediction"] == found.text
        assert line["probability"] == pytest.approx(found.probability, abs=1e-5)
        assert (line["start"], line["end"]) == ((found.start, found.end) if found.text else (None, None))
    assert [lines[30][name] for name in ("prediction", "probability", "start", "end")] == [None] * 4
    assert cli.main(["predict", str(transferred.folder), str(task / "new.jsonl"), "--top", "2"]) != 0
    assert "--top is 2, but the model gives each question one answer. Leave it out." in capsys.readouterr().err


def test_a_file_of_single_texts_is_refused_by_a_model_of_answers(task, transferred, capsys):
    (task / "single.jsonl").write_text('{"text": "a card"}\n')
    assert cli.main(["predict", str(transferred.folder), str(task / "single.jsonl"), "--text", "text"]) != 0
    assert "The model reads pairs of texts; name the two columns of" in capsys.readouterr().err


# --- the saved model in a fresh process ---


@pytest.mark.slow
def test_a_model_that_answers_otherwise_than_the_trained_one_is_found_out(transferred):
    texts = [join_pair(*pair) for pair in PAIRS[:3]]
    said = transferred.model.predict(PAIRS[:3])
    verify_answers(transferred.folder / "model", "qa", as_given(texts, True), said)
    with pytest.raises(headstart.HeadstartError, match="answers otherwise than the trained one"):
        verify_answers(transferred.folder / "model", "qa", as_given(texts, True), ["?", *said[1:]])


@pytest.mark.slow
def test_contexts_in_many_pieces_and_odd_texts_are_answered_alike_without_headstart(transferred):
    long = [(question, context) for question, context, _ in asked(3, 7, words=150)]
    odd = [("why " * 60, long[0][1]), ("", "card"), ("which card", ""), ("wo?", "Die rote Karte – «naïve» 你好 \u0301!  two  spaces")]
    pairs = [*long, *odd]
    said = transferred.model.predict(pairs)
    verify_answers(transferred.folder / "model", "qa", as_given([join_pair(*pair) for pair in pairs], True), said)
    assert all(one in context for one, (_, context) in zip(said, pairs, strict=True))


# --- the laws ---


def test_a_second_run_into_another_folder_decides_and_scores_the_same(task, whole, quick):
    run = fit(task, "second", strategy=RUNGS)
    assert run.results.scores == whole.results.scores and run.results.spent.texts_read == 0
    assert [without_times(trial) for trial in run.results.trials] == [without_times(trial) for trial in whole.results.trials]


def test_other_answers_in_the_test_file_change_no_decision_and_no_weight(task, transferred, quick):
    write_asked(task / "turned.json", [(question, context, ((context.split()[0], 0),)) for question, context, _ in TEST])
    false = fit(task, "turned", strategy="partial", test=str(task / "turned.json"))
    weights = [(run.folder / "model" / "model.safetensors").read_bytes() for run in (transferred, false)]
    assert weights[0] == weights[1]
    assert list(map(without_times, transferred.results.trials)) == list(map(without_times, false.results.trials))
    assert transferred.metrics["answer_f1"] != false.metrics["answer_f1"]


def test_a_finished_run_is_opened_and_not_computed_again(task, transferred, monkeypatch):
    monkeypatch.setattr(pipeline, "open_means", lambda settings: pytest.fail("a source was opened"))
    assert fit(task, "transferred", strategy="partial") == transferred


# --- ways to ask ---


@pytest.mark.parametrize("rung", ["sentence", "probe", "partial", "full", "lora", "gradual", "scratch"])
def test_every_rung_can_be_asked_for_alone(task, quick, rung):
    run = fit(task, f"only {rung}", strategy=rung, shelf=False)
    assert run.results.winner.name == rung and run.gain is None
    said = run.model.predict(PAIRS)
    assert run.metrics["answer_f1"] == pytest.approx(np.mean([points(one, row[2]) for one, row in zip(said, TEST, strict=True)]))


@pytest.mark.parametrize("metric", ["answer_f1", "exact_match"])
def test_every_metric_of_the_task_can_decide(task, quick, metric):
    run = fit(task, f"by {metric}", strategy=("sentence", "probe"), metric=metric, shelf=False)
    assert run.results.metric == metric and f"] {Metric(metric).shown}" in verdict_sentence(run.results)


def test_where_every_question_has_an_answer_one_is_always_given(task, quick):
    write_asked(task / "all.json", asked(40, 5))
    run = fit(task, "all", data="all.json", strategy="probe", shelf=False)
    assert not run.model.may_abstain and all(run.model.predict(PAIRS))
    shares = [span.share for span in run.model.find([join_pair(*pair) for pair in PAIRS])]
    assert [found.probability for found in run.model.answer(PAIRS)] == pytest.approx(shares) and len(set(shares)) > 10 and max(shares) < 1


def test_few_questions_without_a_test_file_are_judged_by_outer_folds(task, quick):
    run = fit(task, "folds", test=None, outer_folds=2, strategy=("sentence", "probe"), shelf=False)
    assert run.results.judged_on == "2 outer folds" and run.results.scores["answer_f1"].n == 60


def test_a_finished_run_is_a_source_for_the_next(task, quick):
    fit(task, "first of two", strategy="partial")
    write_asked(task / "others.json", asked(40, 8))
    second = fit(task, "second of two", data="others.json", test=None, few_rows=0, strategy="probe", source="first of two")
    assert second.results.winner.source == "first of two"


# --- what is refused ---


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "tfidf"}, "--strategy is 'tfidf'; it must be one of sentence, probe, partial, lora, gradual, full, scratch."),
        ({"metric": "accuracy"}, "--metric is 'accuracy'; for the task qa it must be one of answer_f1, exact_match."),
        ({"export": "onnx"}, "--export is not there for the task qa. Leave it out."),
    ],
)
def test_what_is_not_to_be_had_for_answers_is_refused_before_anything_is_done(task, settings, message):
    with pytest.raises(SettingsError) as caught:
        fit(task, "refused", **settings)
    assert str(caught.value) == message
    assert not (task / "refused").exists()


def test_single_texts_are_refused(task):
    write_csv(task / "labels.csv", sentences(30, 1))
    with pytest.raises(DataError) as caught:
        fit(task, "refused", data="labels.csv", test=None, task="qa")
    where = repr(str(task / "labels.csv"))
    assert str(caught.value) == f"{where} has one text a row, in 'text'; name question and context as --text QUESTION,CONTEXT."


def test_a_source_without_a_class_for_answers_is_refused(task):
    make_tiny(task / "gemma", "gemma3_text", blocks=2)
    with pytest.raises(SourceError):
        fit(task, "refused", source=str(task / "gemma"), strategy="probe")


def test_rows_of_the_task_are_what_the_file_says():
    rows = answer_rows(TEST)
    assert len(rows) == 30 and rows.texts[0] == join_pair(*PAIRS[0])
