import dataclasses
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.examples import Examples
from headstart.errors import SettingsError
from headstart.settings import Metric, Settings, as_plain, make_settings
from headstart.tasks import registry

KNOWN = "classification, generation, multilabel, ner, pairs, qa, regression, translation"


def examples(texts, labels, columns=("text", "label")):
    return Examples(tuple(texts), tuple(labels), tuple(range(1, len(texts) + 1)), "a.csv", *columns)


def test_every_known_task_bears_its_own_name_and_says_what_it_is():
    assert registry.known_tasks() == ["classification", "generation", "multilabel", "ner", "pairs", "qa", "regression", "translation"]
    for name in registry.known_tasks():
        task = registry.get_task(name)
        assert task.name == name and task.summary and task.metrics
        assert len(set(task.metrics)) == len(task.metrics)
    assert registry.get_task(None).name == "classification"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nre", f"--task is 'nre'; it must be one of {KNOWN}. Did you mean 'ner'?"),
        (
            "clasification",
            f"--task is 'clasification'; it must be one of {KNOWN}. Did you mean 'classification'?",
        ),
        ("quality", f"--task is 'quality'; it must be one of {KNOWN}."),
        ("", f"--task is ''; it must be one of {KNOWN}."),
    ],
)
def test_an_unknown_task_is_refused_with_the_nearest(name, message):
    with pytest.raises(SettingsError) as refused:
        registry.get_task(name)
    assert str(refused.value) == message


@pytest.mark.parametrize(
    ("task", "asked", "decides"),
    [
        (None, None, Metric.MACRO_F1),
        (None, Metric.ACCURACY, Metric.ACCURACY),
        ("classification", Metric.LOG_LOSS, Metric.LOG_LOSS),
        ("multilabel", None, Metric.MICRO_F1),
        ("regression", None, Metric.SPEARMAN),
        ("regression", Metric.PEARSON, Metric.PEARSON),
        ("ner", None, Metric.ENTITY_F1),
        ("ner", Metric.MACRO_F1, Metric.MACRO_F1),
        ("ner", Metric.ACCURACY, Metric.ACCURACY),
        ("ner", Metric.LOG_LOSS, Metric.LOG_LOSS),
    ],
)
def test_what_was_asked_decides_and_else_the_usual_metric_of_the_task(task, asked, decides):
    assert registry.deciding_metric(Settings(task=task, metric=asked)) is decides


@pytest.mark.parametrize("task", [None, "classification"])
def test_a_metric_of_another_task_is_refused(task):
    with pytest.raises(SettingsError) as refused:
        registry.deciding_metric(Settings(task=task, metric=Metric.ENTITY_F1))
    assert str(refused.value) == ("--metric is 'entity_f1'; for the task classification it must be one of macro_f1, accuracy, log_loss.")


@pytest.mark.parametrize("metric", [Metric.ROUGE_L, Metric.EXACT_MATCH])
def test_what_is_measured_of_written_texts_decides_nothing_for_no_rung_writes_on_folds(metric):
    with pytest.raises(SettingsError) as refused:
        registry.deciding_metric(Settings(task="generation", metric=metric))
    assert str(refused.value) == f"--metric is {metric.value!r}; for the task generation it must be bits_per_byte."


def test_tokens_with_tags_are_recognised_as_entities():
    task, why = registry.recognise_task(examples(['["Marie", "slept"]'], ['["B-PER", "O"]'], ("tokens", "ner_tags")))
    assert (task.name, why) == ("ner", "'tokens' and 'ner_tags' hold tokens and their tags")


def test_texts_with_spans_are_recognised_as_entities():
    task, why = registry.recognise_task(examples(["Marie slept"], ['[[0, 5, "PER"]]'], ("text", "spans")))
    assert (task.name, why) == ("ner", "'spans' holds spans of characters")


LABELS = st.one_of(st.sampled_from(["a", "b", "O", "B-PER", "O O", "[]", "[x]", "1", "[1, 2, 3]", '["a", "b"]']), st.text(max_size=8))
LISTS = st.one_of(st.none(), st.integers(), st.text(max_size=3), st.lists(st.integers(), max_size=3)).map(json.dumps)


@given(rows=st.lists(st.tuples(st.text(max_size=30), st.one_of(LABELS, LISTS)), max_size=8))
@settings(max_examples=200, deadline=None)
def test_texts_with_labels_are_never_taken_for_entities(rows):
    texts, labels = [text.lstrip("[") for text, _ in rows], [label for _, label in rows]
    task, why = registry.recognise_task(examples(texts, labels))
    if any(label.startswith("[") for label in labels):
        assert task.name != "ner"
    else:
        assert (task.name, why) == ("classification", "")


@pytest.mark.parametrize(
    ("labels", "name", "why"),
    [
        (['["a"]', '["a", "b"]', "[]", ""], "multilabel", "'label' holds lists of labels"),
        (["[1, 2]", "[3]"], "multilabel", "'label' holds lists of labels"),
        (["[]", "[]"], "classification", ""),
        (['["a"]', "a"], "classification", ""),
        ([str(k + 0.5) for k in range(21)], "regression", "'label' holds 21 different numbers"),
        ([str(k + 0.5) for k in range(20)], "classification", ""),
        ([str(k) for k in range(100)], "classification", ""),
        ([f"{k},5" for k in range(30)], "regression", "'label' holds 30 different numbers"),
        ([*(str(k + 0.5) for k in range(30)), "none"], "classification", ""),
        ([*(str(k + 0.5) for k in range(30)), "nan"], "classification", ""),
        ([], "classification", ""),
    ],
)
def test_lists_of_labels_and_numbers_are_recognised_and_said(labels, name, why):
    task, reason = registry.recognise_task(examples(["a text"] * len(labels), labels))
    assert (task.name, reason) == (name, why)


@given(
    rows=st.lists(st.tuples(st.text(max_size=10).map(lambda text: "[" + text), st.sampled_from(["a", "b"])), max_size=5),
    deep=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_texts_that_begin_like_a_list_are_texts(rows, deep):
    texts, labels = [text for text, _ in rows], [label for _, label in rows]
    task, _ = registry.recognise_task(examples([*texts, *["[" * 100_000] * deep], [*labels, *["a"] * deep]))
    assert task.name == "classification"


# --- settings of other tasks ---


def refused_settings(task, *further, **values):
    with pytest.raises(SettingsError) as caught:
        registry.require_settings_of(make_settings(values), task, *further)
    return caught.value.problems


def test_a_setting_of_another_task_is_refused_with_its_value_and_its_tasks():
    here = "and the task here is qa. Leave it out."
    assert refused_settings("qa", pack=True) == [f"--pack is true; it is for the task generation, {here}"]
    assert refused_settings("qa", vocabulary="extend", rows_from=("a.csv", "b.csv"), patience=9) == [
        f"--rows-from is a.csv, b.csv; it is for the task classification, {here}",
        f"--vocabulary is extend; it is for the task translation, {here}",
        f"--patience is 9; it is for the tasks classification, pairs, multilabel and regression, {here}",
    ]


def test_a_setting_of_the_task_itself_of_a_source_task_or_at_its_default_is_taken():
    usual = as_plain(Settings())
    for task in registry.known_tasks():
        registry.require_settings_of(make_settings(usual), task)
    registry.require_settings_of(make_settings({"pack": True, "cut": 2}), "generation")
    registry.require_settings_of(make_settings({"patience": 9}), "qa", "pairs")
    tasks = "the tasks classification, pairs, multilabel, regression, ner, qa and generation"
    assert refused_settings("translation", layer_decay=0.5, cut=0) == [
        f"{given}; it is for {tasks}, and the task here is translation. Leave it out." for given in ("--cut is 0", "--layer-decay is 0.5")
    ]


def test_settings_are_for_tasks_that_there_are():
    named = {task for item in dataclasses.fields(Settings) for task in item.metadata["tasks"]}
    assert named == set(registry.known_tasks())
