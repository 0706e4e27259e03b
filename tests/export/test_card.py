from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import yaml
from huggingface_hub import ModelCard

from headstart.export.card import model_card
from headstart.records import ClassScore, DataSummary, Estimate, Results, Spent, TrialRecord, TrialStatus
from headstart.sources.source import Pooling, Source

SOURCE = Source("all-MiniLM-L6-v2", Path("nowhere"), Pooling.MEAN, 256, "bert", "apache-2.0", ("its Dense module is left out",))


def estimate(value: float) -> Estimate:
    return Estimate(value, value - 0.05, value + 0.05, 120)


def trial(name: str, strategy: str, *, transfers: bool) -> TrialRecord:
    source = "all-MiniLM-L6-v2" if transfers else None
    return TrialRecord(
        name, strategy, source, 4 if transfers else None, transfers, TrialStatus.DONE, "5 folds", estimate(0.8), None, 3.0, 2.0
    )


def results(**changes: Any) -> Results:
    winner, opponent = trial("partial", "partial", transfers=True), trial("tfidf", "tfidf", transfers=False)
    whole = Results(
        title="tickets",
        created="2026-01-02",
        data=DataSummary("tickets.csv", 600, 580, 120, (("refund", 50), ("a|b\n*c*", 40)), 12, 0.01),
        findings=(),
        metric="macro_f1",
        seeds=(0,),
        judged_on="one stratified test split",
        trials=(winner, opponent),
        winner=winner,
        opponent=opponent,
        scores={"accuracy": estimate(0.91234), "macro_f1": estimate(0.9), "log_loss": estimate(0.3), "calibration_error": estimate(0.05)},
        opponent_scores=None,
        gain=None,
        class_scores=(ClassScore("refund", 0.9, 0.9, 0.9, 60), ClassScore("a|b\n*c*", 0.5, 0.5, 0.5, 3)),
        confusion=((1, 0), (0, 1)),
        layers=(),
        label_curve=None,
        worth_a_look=(),
        spent=Spent({"read": 1.0}, 1, 0, 0, 0),
        command="headstart fit tickets.csv",
    )
    return dataclasses.replace(whole, **changes)


def front(card: str) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(card.split("---\n")[1])
    return loaded


def test_the_front_matter_names_licence_base_model_and_measured_metrics() -> None:
    assert front(model_card(results(), SOURCE, max_length=128, language="en")) == {
        "language": "en",
        "license": "apache-2.0",
        "library_name": "transformers",
        "pipeline_tag": "text-classification",
        "tags": ["text-classification", "headstart", "transfer-learning"],
        "base_model": "sentence-transformers/all-MiniLM-L6-v2",
        "metrics": ["accuracy", "f1"],
        "model-index": [
            {
                "name": "tickets",
                "results": [
                    {
                        "task": {"type": "text-classification", "name": "Text classification"},
                        "dataset": {"type": "custom", "name": "tickets.csv", "split": "one stratified test split"},
                        "metrics": [
                            {"type": "accuracy", "name": "Accuracy", "value": 0.9123},
                            {"type": "f1", "name": "Macro F1", "value": 0.9, "args": {"average": "macro"}},
                            {"type": "log_loss", "name": "Log-loss", "value": 0.3},
                            {"type": "expected_calibration_error", "name": "Calibration error", "value": 0.05},
                        ],
                    }
                ],
            }
        ],
    }


def test_the_hub_reads_the_measured_metrics_out_of_the_card() -> None:
    data = ModelCard(model_card(results(), SOURCE)).data
    assert [(e.metric_type, e.metric_value) for e in data.eval_results][:2] == [("accuracy", 0.9123), ("f1", 0.9)]
    assert data.model_name == "tickets"


def test_a_model_without_transfer_names_no_base_model_no_licence_and_no_remote_code() -> None:
    card = model_card(results(winner=trial("tfidf", "tfidf", transfers=False)), None)
    assert {"base_model", "license", "language", "datasets"}.isdisjoint(front(card))
    assert front(card)["library_name"] == "headstart"
    assert "trust_remote_code" not in card and 'headstart.load("DIR")' in card


def test_a_local_source_is_no_base_model_and_a_hub_source_and_data_set_are_named_without_their_prefix() -> None:
    local = dataclasses.replace(SOURCE, name="./mine")
    assert "base_model" not in front(model_card(results(), local))
    hub = dataclasses.replace(SOURCE, name="hub:org/name@main")
    card = front(model_card(results(data=dataclasses.replace(results().data, name="hub:org/data")), hub))
    assert card["base_model"] == "org/name" and card["datasets"] == ["org/data"]
    assert card["model-index"][0]["results"][0]["dataset"]["type"] == "org/data"


@pytest.mark.parametrize(
    ("task", "labels", "what"),
    [
        ("ner", (("PER", 9),), "A model that marks 1 type of entities, transferred"),
        ("ner", (("PER", 9), ("LOC", 9)), "A model that marks 2 types of entities, transferred"),
        ("multilabel", (("a", 9),), "A model that gives a text any of 1 label, transferred"),
    ],
)
def test_one_type_of_entities_is_no_plural(task: str, labels: tuple[tuple[str, int], ...], what: str) -> None:
    whole = results()
    assert what in model_card(results(task=task, data=dataclasses.replace(whole.data, labels=labels)), SOURCE)


def test_the_card_of_a_model_that_writes_tells_what_becomes_of_long_prompts() -> None:
    card = model_card(results(task="generation"), SOURCE, max_length=128)
    assert (
        "- It reads 128 tokens, of a prompt with its completion. Of a longer prompt `headstart predict` leaves out the beginning; "
        "the pipeline ends with an error." in card
    )
    assert "tokens of a text is not read" not in card


def test_the_card_says_how_to_use_it_what_was_read_and_what_is_hardly_measured() -> None:
    card = model_card(results(), SOURCE, max_length=128)
    assert 'pipeline("text-classification", "DIR", trust_remote_code=True)' in card
    assert "- What stands after the first 128 tokens of a text is not read." in card
    assert "- Judged on fewer than ten rows each, so hardly measured: a\\|b \\*c\\*." in card
    assert "- of the source: its Dense module is left out" in card
    assert "| a\\|b \\*c\\* | 40 |" in card


def test_labels_of_any_length_and_number_leave_the_card_short() -> None:
    many = tuple((f"{i} " + "é" * 10_000, 3) for i in range(500))
    card = model_card(results(data=dataclasses.replace(results().data, labels=many)), SOURCE)
    assert "and 300 more; `config.json` names all." in card
    assert len(card) < 40_000


def test_no_label_writes_markup_into_the_card() -> None:
    hostile = "<img src=x onerror=alert(1)> [a](http://b) `c` | d"
    data = dataclasses.replace(results().data, labels=((hostile, 50), ("b", 40)))
    card = model_card(results(data=data, class_scores=(ClassScore(hostile, 0.5, 0.5, 0.5, 3),)), SOURCE)
    assert "\\<img src=x onerror=alert(1)\\> \\[a\\](http://b) \\`c\\` \\| d" in card
    body = card.split("---\n", 2)[2].replace("\\<", "").replace("\\[", "").replace("\\`", "")
    assert "<img" not in body and "[a]" not in body and "`c" not in body


def test_the_card_lists_what_was_tried_to_the_end_and_nothing_else() -> None:
    whole, half = trial("probe", "probe", transfers=True), trial("full", "full", transfers=True)
    stopped = dataclasses.replace(half, status=TrialStatus.STOPPED, score=estimate(0.99))
    card = model_card(results(trials=(*results().trials, whole, stopped)), SOURCE)
    assert "| probe | 0.800 [0.750, 0.850] | 3 |" in card and "| full |" not in card


def test_a_class_of_ten_judged_rows_is_measured_and_one_of_nine_hardly() -> None:
    scores = tuple(ClassScore(name, 0.5, 0.5, 0.5, rows) for name, rows in (("nine", 9), ("ten", 10)))
    assert "so hardly measured: nine." in model_card(results(class_scores=scores), SOURCE)


def test_a_score_that_cannot_be_taken_is_a_dash_and_no_number_for_the_hub() -> None:
    nan = float("nan")
    card = model_card(results(scores={"macro_f1": estimate(0.9), "r2": Estimate(nan, nan, nan, 120)}), SOURCE)
    assert "| variance explained | – |" in card
    assert "nan" not in card.lower().split()
    assert [metric["name"] for metric in front(card)["model-index"][0]["results"][0]["metrics"]] == ["Macro F1"]


def test_rows_of_a_validation_file_are_not_counted_among_those_of_the_data() -> None:
    data = dataclasses.replace(results().data, used=640, validation=60)
    assert "- data: tickets.csv, 580 of 600 rows used" in model_card(results(data=data), SOURCE)
