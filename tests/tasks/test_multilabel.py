import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.checking import check_data
from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.strategies.base import Rows
from headstart.tasks.multilabel import TASK, check_labels, hard, make_labels, make_rows, names_in, prepare, recognise, suspects

NAMES = st.text(st.characters(exclude_categories=("Cs", "Cc", "Zs", "Zl", "Zp"), exclude_characters=";|,["), min_size=1, max_size=6)


def examples(labels, texts=None):
    texts = texts or [f"text number {i}" for i in range(len(labels))]
    return Examples(tuple(texts), tuple(labels), tuple(range(1, len(labels) + 1)), "a.csv", "text", "tags")


def checked(labels, texts=None):
    """The findings of `check` on these rows, by kind."""
    result = check_data(
        examples(labels, texts), text=None, label=None, test=None, validation=None, source=None, max_length=64, task="multilabel"
    ).result
    return {finding.kind: finding for finding in result.findings}, result


# --- reading ---


@pytest.mark.parametrize(
    ("cells", "labels"),
    [
        (['["b", "a", "b"]', "[]", ""], ['["a", "b"]', "[]", ""]),
        (["[2, 10]", "[2]"], ['["10", "2"]', '["2"]']),
        (["['b', 'a, c']", "['a, c' 'b']", "[nan]", "[2 10]"], ['["a, c", "b"]', '["a, c", "b"]', "[]", '["10", "2"]']),
        (['["b", null]', "[null]", '["a, c"]'], ['["b"]', "[]", '["a, c"]']),
        (["[2.0, NaN]", "[10.0, 1.5]", '[true, {"a": 1}]'], ['["2"]', '["1.5", "10"]', '["true", "{\\"a\\": 1}"]']),
        (["b; a", "a", " ; ", ""], ['["a", "b"]', '["a"]', "", ""]),
        (["a|b,c", "d"], ['["a", "b,c"]', '["d"]']),
        (["a, b", "c"], ['["a", "b"]', '["c"]']),
        (["two  words;x"], ['["two words", "x"]']),
        (['["a"', "b"], ['["[\\"a\\""]', '["b"]']),
    ],
)
def test_labels_are_lists_or_names_with_a_separator(cells, labels):
    assert list(prepare(examples(cells)).examples.labels) == labels


@pytest.mark.parametrize(
    ("cells", "are_labels"),
    [
        (['["a", "b"]', "[]", '["a", null]'], True),
        (["[1.0, 0.0]", "[0]"], True),
        (["[0]", "[]"], True),
        (["['a', 'b']", "['a']"], True),
        ([*["[]"] * 100, '["a"]'], True),
        (["[1.5, 2.0]", "[3.0]"], False),  # measured
        (['[{"a": 1}]', "[]"], False),
        (["[true]"], False),
        (["[]", "[]"], False),
        (["[null]", "[]", "[NaN]", '[" "]'], False),  # nothing in any of them
        (["[null]", "[3.0, NaN]"], True),
    ],
)
def test_lists_of_names_and_whole_numbers_are_labels(cells, are_labels):
    assert recognise(examples(cells)) == ("'tags' holds lists of labels" if are_labels else "")


@given(st.lists(st.lists(NAMES, max_size=4), min_size=1, max_size=6), st.sampled_from([";", "|", ",", None]))
@settings(max_examples=100, deadline=None)
def test_names_come_back_however_they_were_written(rows, separator):
    cells = [json.dumps(row) if separator is None else separator.join(row) for row in rows]
    several = separator is None or any(len(row) > 1 for row in rows)
    if not any(rows) or not several:
        return
    found = prepare(examples(cells)).examples.labels
    assert [set(names_in(label)) for label in found] == [set(row) for row in rows]


def test_what_was_taken_apart_is_said():
    told = prepare(examples(["a;b", "c"])).findings
    assert [finding.message for finding in told] == ["The labels of 'a.csv' were taken apart at ';'."]
    assert [finding.message for finding in prepare(examples(["a\tb"])).findings] == ["The labels of 'a.csv' were taken apart at tabs."]
    assert prepare(examples(['["a"]'])).findings == ()


@pytest.mark.parametrize("cells", [["", ""], ["[]", ""], [" ; "]])
def test_rows_without_any_label_are_refused(cells):
    with pytest.raises(DataError) as refused:
        prepare(examples(cells))
    assert str(refused.value) == (
        "No row of 'a.csv' bears a label in 'tags'. Give lists such as [\"a\", \"b\"], or names with ; between them."
    )


# --- labels as numbers ---


def test_rows_bear_ones_and_are_stratified_by_their_rarest_label():
    labels = ['["a"]', '["a", "b"]', "[]", '["a"]', '["b", "c"]']
    known = make_labels(labels, ['["d"]'])
    assert known.names == ("a", "b", "c", "d")
    rows = make_rows(["t"] * 5, labels, known)
    assert rows.y.tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0], [0, 1, 1, 0]]
    assert rows.strata.tolist() == [1, 2, 0, 1, 3] and rows.n_classes == 4
    assert dict(TASK.label_counts(rows, known.names)) == {"a": 3, "b": 2, "c": 1, "d": 0}


def test_a_rare_spelling_counts_as_the_common_one_and_an_unknown_name_is_known_as_such():
    known = make_labels([*['["Spam"]'] * 20, '["Spam", "x"]', '["spam"]'], [])
    assert known.names == ("Spam", "x")
    assert known.spell('["spam", "x"]') == '["Spam", "x"]'
    assert known.known('["spam"]') and known.known("[]") and not known.known('["y", "x"]')


# --- checks ---


def test_a_file_of_labels_is_checked():
    labels = ['["a"]', '["a", "b"]', "[]", "", '["a"]', '["a"]', '["a"]', '["c"]'] * 2
    found, result = checked(labels)
    assert result.usable.tolist() == [True, True, True, False, True, True, True, True] * 2
    assert found["few rows"].message == "2 labels stand in few rows: 'b' (2), 'c' (2)."
    assert found["no label"].message == "2 rows of 14 bear no label." and found["no label"].rows == (3, 11)
    assert "label of all rows" not in found and "single labels" not in found


def test_rare_spellings_are_counted_with_the_common_one():
    rows = [["login"]] * 6 + [["Login"]] + [["refund", "login"]] * 6
    train = Examples(tuple(map(str, range(13))), tuple(map(json.dumps, rows)), tuple(range(2, 15)), "x.jsonl", "text", "labels")
    assert [found.kind for found in check_labels(train, train.labels, np.ones(13, dtype=bool), 5)] == ["label of all rows"]


def test_labels_that_say_nothing_are_told():
    found, _ = checked(['["a", "b"]', '["a"]', '["a", "c"]'])
    assert found["label of all rows"].message == "The label 'a' stands in every usable row."
    found, _ = checked(['["a"]', '["b"]', '["a"]'])
    assert found["single labels"].message == "Every row bears exactly one label."
    assert found["single labels"].remedy == "--task classification then learns which of them it is."


def test_a_text_under_other_labels_is_told():
    found, _ = checked(['["a"]', '["a", "b"]', '["b"]'], ["the same", "the same", "another one"])
    assert any(finding.rows == (1, 2) for finding in found.values())


# --- what a run shows ---


def test_a_wrong_label_is_suspected_and_the_worst_row_is_hard():
    rng = np.random.default_rng(0)
    y = (rng.random((120, 3)) < 0.4).astype(np.int64)
    logits = np.where(y > 0, 4.0, -4.0) + 0.3 * rng.normal(size=y.shape)
    wrong = y.copy()
    wrong[5, 1] = 1 - wrong[5, 1]
    labels = [json.dumps([name for name, on in zip("abc", row, strict=True) if on]) for row in wrong]
    rows = make_rows([f"text {i}" for i in range(120)], labels, make_labels(labels, []))
    given = examples(labels)
    [note] = suspects(logits, rows, given, ["a", "b", "c"])
    assert (note.row, note.kind) == (6, "suspect label") and note.label != note.predicted and note.probability > 0.9
    assert [note.row for note in hard(logits, rows, given, ["a", "b", "c"], 3, set())] == [6]
    assert hard(logits, rows, given, ["a", "b", "c"], 3, {6}) == []


@pytest.mark.parametrize("same", [0, 1])
def test_a_label_that_no_row_or_every_row_bears_is_never_suspect_and_troubles_nobody(same):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, (40, 2))
    logits = 4.0 * (2 * y - 1)
    logits[3] *= -1
    some = examples(["x"] * 40)
    [alone] = suspects(logits, Rows(some.texts, y, 2), some, ("a", "b"))
    wide = Rows(some.texts, np.insert(y, 1, same, axis=1), 3)
    [beside] = suspects(np.insert(logits, 1, 4.0 * (2 * same - 1), axis=1), wide, some, ("a", "c", "b"))
    assert alone.row == beside.row == 4
    assert suspects(logits, Rows(some.texts, np.stack([y[:, 0], np.full(40, same)], axis=1), 2), some, ("a", "b")) == ()


def test_rows_are_suspected_and_hard_by_the_line_that_suits_the_outputs():
    """Outputs of held-out rows lie where their model left them: here all far below zero, each label told from the others all the same."""
    rng = np.random.default_rng(0)
    y = (rng.random((120, 3)) < 0.4).astype(np.int64)
    logits = np.where(y > 0, 4.0, -4.0) + 0.3 * rng.normal(size=y.shape) - 6.0
    y[5, 1] = 1 - y[5, 1]
    labels = [json.dumps([name for name, on in zip("abc", row, strict=True) if on]) for row in y]
    rows, given = make_rows([f"text {i}" for i in range(120)], labels, make_labels(labels, [])), examples(labels)
    assert [note.row for note in suspects(logits, rows, given, ["a", "b", "c"])] == [6]
    assert [note.row for note in hard(logits, rows, given, ["a", "b", "c"], 5, set())] == [6]


def test_a_test_file_is_taken_apart_at_the_sign_of_the_training_rows():
    train = examples(["a;b", "b", "c, d;a"])
    assert list(prepare(examples(["c, d", "a;c, d"]), train).examples.labels) == ['["c, d"]', '["a", "c, d"]']
