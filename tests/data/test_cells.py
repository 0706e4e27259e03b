import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.cells import list_in, value_in

WORDS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)


@given(st.lists(WORDS, max_size=6))
@settings(max_examples=200, deadline=None)
def test_a_list_of_words_comes_back_as_json_python_and_numpy_write_it(words):
    assert list_in(json.dumps(words)) == list_in(repr(words)) == words
    assert list_in(str(np.array(words, dtype=object))) == words


@given(st.lists(st.integers(-99, 99), min_size=1, max_size=6))
@settings(max_examples=50, deadline=None)
def test_a_list_of_whole_numbers_comes_back_as_json_python_and_numpy_write_it(numbers):
    assert list_in(json.dumps(numbers)) == list_in(repr(numbers)) == list_in(str(np.array(numbers))) == numbers


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("[{'start': 0, 'end': 5, 'label': \"it's\"}]", [{"start": 0, "end": 5, "label": "it's"}]),
        ("[(0, 5, 'PER'), (6, 9, 'nan')]", [[0, 5, "PER"], [6, 9, "nan"]]),
        ("[nan]", [None]),
        ("['a', nan, None]", ["a", None, None]),
        (" ['a\\\\b', 'c\\'d']\n", ["a\\b", "c'd"]),
        ("['a'\n \"b's\"]", ["a", "b's"]),  # numpy breaks its lines
        ('["\\ud83d"]', ["\N{REPLACEMENT CHARACTER}"]),
        ("[]", []),
        # What is no list, or no whole one.
        ("['a' 'b', 'c']", None),
        ("['a' 'b' ...]", None),
        ("[3 'a' 'b']", None),
        ("['never closed", None),
        ("['a']['b']", None),
        ("[a, b]", None),
        ("[print('a')]", None),
        ("['\\d', \\d]", None),
        ("[see below] a text [sic]", None),
        ("[" * 100_000 + "]" * 100_000, None),
        ("{'a', 'b'}", None),
        ("", None),
    ],
)
def test_a_list_is_told_from_a_text(cell, found):
    assert list_in(cell) == found


@given(st.lists(WORDS, max_size=4), st.lists(st.integers(-99, 99), max_size=4))
@settings(max_examples=200, deadline=None)
def test_an_object_of_lists_comes_back_as_json_python_and_pandas_write_it(words, numbers):
    table = {"text": words, "answer_start": numbers}
    arrays = {"text": np.array(words, dtype=object), "answer_start": np.array(numbers, dtype=np.int32)}
    typed = {"text": np.array(words, dtype=str), "answer_start": np.array(numbers, dtype=np.int64)}
    assert value_in(json.dumps(table)) == value_in(repr(table)) == value_in(repr(arrays)) == table
    # numpy drops null characters at the end of a string of its own type
    assert value_in(repr(typed)) == {"text": typed["text"].tolist(), "answer_start": numbers}


@pytest.mark.parametrize(
    ("cell", "found"),
    [
        ("['a']", ["a"]),
        ("{'text': array(['array([1])', \"it's\"], dtype=object)}", {"text": ["array([1])", "it's"]}),
        ("{'start': nan}", {"start": None}),
        ("{'text': array(['a'}", None),
        ("{'text': 'never closed", None),
        ("{'a', 'b'}", None),
        ("{name} is the placeholder", None),
        ("a text", None),
    ],
)
def test_an_object_is_told_from_a_text(cell, found):
    assert value_in(cell) == found
