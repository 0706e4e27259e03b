import csv
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.columns import choose_text_column, two_columns, usual_pair
from headstart.data.pairs import BETWEEN, join_pair, split_pair
from headstart.data.read import read_examples
from headstart.errors import DataError

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)


@given(TEXTS, TEXTS)
def test_a_pair_comes_back_as_it_was_but_for_lines_of_the_kind_that_part_it(first, second):
    assert split_pair(join_pair(first, second)) == (first.replace("\u2016", "|"), second.replace("\u2016", "|"))


def test_a_text_that_is_no_pair_has_an_empty_second():
    assert split_pair("one text") == ("one text", "")
    assert join_pair("a", "") == "a \u2016 " and split_pair("a \u2016 ") == ("a", "")


# --- columns ---


@pytest.mark.parametrize(
    ("columns", "text", "found"),
    [
        (["a", "b", "label"], "a,b", ("a", "b")),
        (["a", "b", "label"], " b , a ", ("b", "a")),
        (["a,b", "a", "b"], "a,b", None),  # a column of that very name
        (["a", "b,c"], "a,b,c", ("a", "b,c")),
        (["a", "b"], "a,a", None),
        (["a", "b"], "a,c", None),
        (["a", "b"], None, None),
    ],
)
def test_two_columns_are_named_with_a_comma(columns, text, found):
    assert two_columns(columns, text) == found
    if found:
        assert choose_text_column(columns, text, "'x'") == text


@pytest.mark.parametrize(
    ("columns", "text", "label", "found"),
    [
        (["id", "Premise", "hypothesis", "label"], None, None, ("Premise", "hypothesis")),
        (["sentence1", "sentence2"], None, None, ("sentence1", "sentence2")),
        (["question", "sentence", "label"], None, "sentence", None),
        (["question", "answer", "label"], None, None, None),
        (["premise", "hypothesis", "text"], "text", None, None),
    ],
)
def test_pairs_are_known_by_their_names(columns, text, label, found):
    assert usual_pair(columns, text, label) == found


# --- reading ---


def write(path, header, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return str(path)


def test_a_table_of_pairs_is_read_with_both_texts_in_one(tmp_path):
    path = write(
        tmp_path / "a.csv", ["premise", "hypothesis", "label"], [["it rains", "it is wet", "yes"], ["x", " ", "no"], ["", "", "no"]]
    )
    result = read_examples(path)
    examples = result.examples
    assert examples.texts == (f"it rains{BETWEEN}it is wet", "", "") and examples.labels == ("yes", "no", "no")
    assert (examples.paired, examples.text_column, examples.label_column) == (True, "premise,hypothesis", "label")
    [told] = result.findings
    assert (told.message, told.rows) == (f"1 pair of {path!r} has an empty side.", (2,))
    assert examples.take([0]).paired


def test_any_two_columns_can_be_named_and_the_label_is_the_one_that_is_left(tmp_path):
    path = write(tmp_path / "a.csv", ["left", "right", "same"], [["a", "b", "1"]])
    examples = read_examples(path, text="right,left").examples
    assert (examples.texts, examples.labels, examples.label_column) == ((f"b{BETWEEN}a",), ("1",), "same")
    lines = tmp_path / "a.jsonl"
    lines.write_text(json.dumps({"x": "a", "y": "b", "n": 3, "label": "k"}) + "\n")
    assert read_examples(str(lines), text="x,y").examples.labels == ("k",)


@pytest.mark.parametrize(
    ("header", "text", "label", "message"),
    [
        (
            ["a", "b", "c"],
            "a,d",
            None,
            "{path!r} has no column 'a,d' (--text). Its columns: 'a', 'b', 'c'.",
        ),
        (
            ["a", "b", "c"],
            "a,b",
            "b",
            "--text and --label both name the column 'b' of {path!r}; the label must stand in another one.",
        ),
        (
            ["premise", "hypothesis", "x", "y"],
            None,
            None,
            "{path!r} has no column that is plainly the label; name it with --label. Its columns: 'premise', 'x', 'y'.",
        ),
        (
            ["premise", "hypothesis"],
            None,
            None,
            "{path!r} has no column beside 'premise' and 'hypothesis', the two texts of a pair; it must hold a label too.",
        ),
    ],
)
def test_tables_of_pairs_without_what_is_needed_are_refused(tmp_path, header, text, label, message):
    path = write(tmp_path / "a.csv", header, [["1"] * len(header)])
    with pytest.raises(DataError) as refused:
        read_examples(path, text=text, label=label)
    assert str(refused.value) == message.format(path=path)


def test_a_table_of_pairs_without_rows_is_refused(tmp_path):
    path = write(tmp_path / "a.csv", ["premise", "hypothesis", "label"], [])
    with pytest.raises(DataError) as refused:
        read_examples(path)
    assert str(refused.value) == f"{path!r} has a header and no rows; add labelled texts."
