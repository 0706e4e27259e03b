"""Answers in the forms that are read, and where they stand in their context."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.answers import NOTHING, Answer, as_label, find_in, from_label, given_in
from headstart.data.pairs import join_pair, split_pair
from headstart.data.read import read_examples

CONTEXT = "Ada wrote to Ada."


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ([{"text": "Ada", "answer_start": 0}], [("Ada", 0)]),
        ([{"text": "Ada", "start": 13}, {"text": "wrote"}], [("Ada", 13), ("wrote", None)]),
        ({"text": ["Ada", "wrote"], "answer_start": [0, 4]}, [("Ada", 0), ("wrote", 4)]),
        ({"text": ["Ada"], "answer_start": []}, [("Ada", None)]),  # places that are not one each say nothing
        ({"text": [], "answer_start": []}, []),
        (["Ada"], [("Ada", None)]),
        ([], []),
        ([{"text": "Ada", "answer_start": True}], [("Ada", None)]),
        ([{"text": "Ada", "answer_start": "0"}], [("Ada", None)]),
        ([{"text": "Ada", "answer_start": 13.0}], [("Ada", 13)]),  # as a table with rows that say nothing writes it
        ([{"text": "Ada", "answer_start": 0.5}, {"text": "Ada", "answer_start": float("nan")}], [("Ada", None), ("Ada", None)]),
        ({"text": "Ada", "answer_start": 13}, [("Ada", 13)]),
        ([{"answer_start": 0}], None),
        ([1], None),
        ({"answer": "Ada"}, None),
    ],
)
def test_what_a_cell_of_json_holds(cell: object, found: object) -> None:
    assert given_in(json.dumps(cell)) == found


@pytest.mark.parametrize("cell", ["Ada", "", "[1998] is the year", "{never closed", "[" * 100_000])
def test_all_else_is_plain_text(cell: str) -> None:
    assert given_in(cell) is None


@pytest.mark.parametrize(
    ("text", "said", "start"),
    [
        ("Ada", 0, 0),
        ("Ada", 13, 13),
        ("Ada", 12, 13),  # the nearest
        ("Ada", 3, 0),
        ("Ada", None, 0),
        ("Ada", -5, 0),
        ("Ada", 999, 13),
        (" Ada ", 12, 13),  # white space at an answer's ends is not of it
        ("Bob", 0, None),
        (" ", 3, None),
        ("", 0, None),
        ("ada", 0, None),  # letters have to be the same
    ],
)
def test_where_an_answer_stands(text: str, said: int | None, start: int | None) -> None:
    found = find_in(CONTEXT, text, said)
    assert found == (None if start is None else Answer(text.strip(), start))


@given(st.text("ab ", min_size=1, max_size=12), st.data())
def test_a_part_of_the_context_is_found_as_near_as_it_stands_to_what_is_said(context: str, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, len(context) - 1))
    text = context[first : data.draw(st.integers(first + 1, len(context)))]
    said = data.draw(st.integers(0, 15))
    found = find_in(context, text, said)
    wanted = text.strip()
    places = [i for i in range(len(context)) if context.startswith(wanted, i)] if wanted else []
    if not places:
        assert found is None
    else:
        assert found is not None and context[found.start : found.end] == wanted
        assert abs(found.start - said) == min(abs(place - said) for place in places)


@given(st.lists(st.tuples(st.text(min_size=1, max_size=5), st.integers(0, 99)), max_size=4))
def test_a_label_gives_back_its_answers_each_once(pairs: list[tuple[str, int]]) -> None:
    answers = [Answer(text, start) for text, start in pairs]
    assert from_label(as_label(answers)) == tuple(dict.fromkeys(answers))
    assert as_label([]) == NOTHING


def test_an_answer_behind_a_double_line_stands_where_it_is_said_to_stand() -> None:
    context = "left \u2016 right \u2016 end"
    inside = split_pair(join_pair("who", context))[1]
    assert find_in(inside, "right", context.index("right")) == Answer("right", context.index("right"))
    assert find_in(inside, "\u2016 end", context.index("\u2016 end")) == Answer("| end", context.index("\u2016 end"))


# --- files ---


def squad(*paragraphs):
    return {"version": "v2.0", "data": [{"title": "t", "paragraphs": list(paragraphs)}]}


def question(asked, *answers):
    return {"id": asked, "question": asked, "answers": [{"text": text, "answer_start": start} for text, start in answers]}


def test_squad_files_are_read_a_row_for_each_question(tmp_path):
    place = tmp_path / "squad.json"
    nested = squad({"context": CONTEXT, "qas": [question("who", ("Ada", 0)), question("when")]}, {"context": "B", "qas": [question("x")]})
    place.write_text(json.dumps(nested))
    read = read_examples(place)
    found = read.examples
    assert [split_pair(text) for text in found.texts] == [("who", CONTEXT), ("when", CONTEXT), ("x", "B")]
    assert [given_in(label) for label in found.labels] == [[("Ada", 0)], [], []]
    assert (found.text_column, found.label_column) == ("question,context", "answers")


def test_what_stands_in_place_of_an_answer_where_there_is_none_is_no_answer(tmp_path):
    place = tmp_path / "squad.json"
    asked = [question("who", ("", -1)) | {"is_impossible": True}, {"question": "when", "is_impossible": True}, question("why", ("Ada", 0))]
    place.write_text(json.dumps(squad({"context": CONTEXT, "qas": asked})))
    assert [given_in(label) for label in read_examples(place).examples.labels] == [[], [], [("Ada", 0)]]


def test_what_is_no_question_in_a_squad_file_is_left_out_and_told(tmp_path):
    place = tmp_path / "squad.json"
    broken = squad({"context": CONTEXT, "qas": [question("who", ("Ada", 0)), "?"]}, {"context": CONTEXT}, 3)
    broken["data"].append("x")
    place.write_text(json.dumps(broken))
    read = read_examples(place)
    found = read.examples
    assert [split_pair(text)[0] for text in found.texts] == ["who"]
    assert "4 rows" in " ".join(finding.message for finding in read.findings)


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("{'text': ['Ada'], 'answer_start': [13]}", [("Ada", 13)]),
        ("{'text': array(['Ada', \"Ada's\"], dtype=object), 'answer_start': array([ 0, 13], dtype=int32)}", [("Ada", 0), ("Ada's", 13)]),
        ("{'text': array([], dtype=object), 'answer_start': array([], dtype=int32)}", []),
        ("[{'text': 'Ada', 'answer_start': 13}]", [("Ada", 13)]),
    ],
)
def test_what_a_cell_holds_that_pandas_wrote(cell: str, found: object) -> None:
    assert given_in(cell) == found
