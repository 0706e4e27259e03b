"""Texts and labels handed over in memory: lists, columns of tables, what is missing in them."""

import numpy as np
import pandas as pd
import pytest

import headstart
from headstart._public import as_data
from headstart.data.given import is_missing, listed, plain, texts_of
from headstart.errors import DataError, SettingsError

TABLE = pd.DataFrame({"text": ["one", "two", "three"], "label": ["a", None, "b"]})


@pytest.mark.parametrize(
    "given", [["one", "two"], ("one", "two"), iter(["one", "two"]), np.array(["one", "two"]), TABLE.text[:2], TABLE[["text"]][:2]]
)
def test_a_list_a_column_and_a_table_of_one_column_are_the_same(given):
    assert texts_of(given) == ["one", "two"]


def test_several_columns_and_elements_that_are_no_texts_are_told():
    with pytest.raises(DataError) as wide:
        listed(TABLE)
    assert str(wide.value) == "The texts have the shape (3, 2); give one for each row, as a list or one column."
    with pytest.raises(DataError) as missing:
        texts_of(["one", float("nan")])
    assert str(missing.value) == "Text 2 is nan, which is no string; every text must be one."


def test_what_a_table_leaves_out_is_missing_whatever_it_is_called():
    assert all(map(is_missing, [None, float("nan"), np.float32("nan"), pd.NA, pd.NaT]))
    assert not any(map(is_missing, ["", "nan", 0, 0.0, False, 3, np.int64(1)]))


def test_cells_of_tables_are_what_json_has():
    nested = {"text": np.array(["one"], dtype=object), "answer_start": np.array([3])}
    assert plain(nested) == {"text": ["one"], "answer_start": [3]}
    assert [plain(cell) for cell in (np.array(["b", "a"]), ("b", "a"), {"b", "a"}, "b", 3, None)] == [
        ["b", "a"],
        ["b", "a"],
        ["a", "b"],
        "b",
        3,
        None,
    ]


def test_lists_of_labels_and_answers_may_stand_in_arrays_as_a_table_holds_them():
    texts = ["one", "two", "three"]
    labels = [["anger", "joy"], ["joy"], []]
    answers = [{"text": ["one"], "answer_start": [0]}] * 3
    held = [{"text": np.array(["one"], dtype=object), "answer_start": np.array([0])}] * 3
    table = pd.DataFrame({"text": texts, "label": [np.array(names, dtype=object) for names in labels], "answers": held})
    assert as_data((table.text, table.label)).labels == as_data((texts, labels)).labels == ('["anger", "joy"]', '["joy"]', "[]")
    assert as_data((table.text, table.answers)).labels == as_data((texts, answers)).labels
    assert as_data((texts, answers)).labels[0] == '{"text": ["one"], "answer_start": [0]}'


def test_words_of_a_row_may_stand_in_an_array_too():
    words, tags = [["Oslo", "sleeps"], ["so"]], [["B-LOC", "O"], ["O"]]
    table = pd.DataFrame({"tokens": [np.array(row, dtype=object) for row in words], "tags": [np.array(row) for row in tags]})
    assert listed(table.tokens) == listed(list(table.tokens)) == words
    assert as_data((table.tokens, table.tags)) == as_data((words, tags))


@pytest.mark.parametrize("kind", [object, "string", "category"])
def test_rows_without_a_label_are_told_in_memory_as_in_a_file(kind):
    labels = pd.Series([*"ab" * 10, None, None]).astype(kind)
    found = headstart.check(([f"text number {i} of many" for i in range(22)], labels))
    assert int(found.usable.sum()) == 20
    assert [finding.message for finding in found.findings if finding.kind == "empty label"] == ["2 rows have no label."]


@pytest.mark.parametrize(
    "data", [TABLE, [("one", "a"), ("two", "b"), ("three", "a")], 7, iter([]), {"text": ["one"], "label": ["a"]}, {1, 2}]
)
def test_data_that_is_no_pair_of_columns_is_told_how_to_give_it(data):
    for verb in (headstart.check, headstart.fit, headstart.rank):
        with pytest.raises(DataError) as refused:
            verb(data)
        assert str(refused.value) == "Give a path, or a pair of texts and labels, as in (table['text'], table['label'])."


def test_a_table_is_no_path_of_a_test_file():
    for name, given in (("test", TABLE), ("source", [TABLE])):
        with pytest.raises(SettingsError) as refused:
            headstart.fit((["a", "b"], ["x", "y"]), **{name: given})
        assert str(refused.value) == f"--{name} is a DataFrame; it must be a name, a path or a number."


def test_a_plan_is_no_run():
    with pytest.raises(SettingsError) as refused:
        headstart.fit((["a", "b"], ["x", "y"]), dry_run=True)
    assert str(refused.value) == "`dry_run` is set; headstart.fit fits. `headstart fit DATA --dry-run` prints the plan."
