import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.strategies.base import Rows, joined, with_names


@st.composite
def rows_of_words(draw, n_classes=5):
    """Rows with a class for each word, and the classes row by row."""
    each = draw(st.lists(st.lists(st.integers(0, n_classes - 1), min_size=1, max_size=4), min_size=1, max_size=7))
    texts = tuple(" ".join(f"w{k}" for k in row) for row in each)
    y = np.array([k for row in each for k in row], dtype=np.int64)
    sizes = np.array([len(row) for row in each], dtype=np.int64)
    kinds = np.array([max(row) for row in each], dtype=np.int64)
    return Rows(texts, y, n_classes, sizes, kinds), each


def plain(n=6, n_classes=3):
    return Rows(tuple(f"text {i}" for i in range(n)), np.arange(n) % n_classes, n_classes)


def unpacked(rows):
    """The classes row by row, by a loop."""
    found, place = [], 0
    for size in rows.sizes.tolist():
        found.append(rows.y[place : place + size].tolist())
        place += size
    return found


def same(a, b):
    arrays = ((a.y, b.y), (a.sizes, b.sizes), (a.kinds, b.kinds))
    return (a.texts, a.n_classes, a.names) == (b.texts, b.n_classes, b.names) and all(np.array_equal(one, two) for one, two in arrays)


@given(drawn=rows_of_words(), picks=st.lists(st.integers(0, 6), max_size=10))
@settings(max_examples=100, deadline=None)
def test_units_equal_a_loop_over_words(drawn, picks):
    rows, each = drawn
    picks = [i % len(each) for i in picks]
    place = {(i, j): sum(map(len, each[:i])) + j for i, row in enumerate(each) for j in range(len(row))}
    units = rows.units(picks)
    assert units.tolist() == [place[i, j] for i in picks for j in range(len(each[i]))]
    assert units.dtype == np.int64


@given(drawn=rows_of_words(), picks=st.lists(st.integers(0, 6), max_size=10))
@settings(max_examples=100, deadline=None)
def test_rows_are_taken_with_their_words(drawn, picks):
    rows, each = drawn
    picks = [i % len(each) for i in picks]
    part = rows.take(np.array(picks, dtype=np.int64))
    assert unpacked(part) == [each[i] for i in picks]
    assert part.texts == tuple(rows.texts[i] for i in picks)
    assert part.strata.tolist() == [max(each[i]) for i in picks]
    assert (len(part), part.n_classes) == (len(picks), rows.n_classes)


@given(drawn=rows_of_words(), cut=st.integers(0, 7), seed=st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_parts_are_joined_to_the_rows_that_they_were(drawn, cut, seed):
    rows, _ = drawn
    order = np.arange(len(rows))
    assert same(joined([rows.take(order[:cut]), rows.take(order[cut:])]), rows)
    shuffled = np.random.default_rng(seed).permutation(len(rows))
    assert same(rows.take(shuffled).take(np.argsort(shuffled)), rows)


def test_parts_of_single_labels_are_joined():
    rows = plain()
    whole = joined([rows.take([0, 1]), rows.take([2]), rows.take([]), rows.take([3, 4, 5])])
    assert (whole.texts, whole.y.tolist(), whole.n_classes, whole.sizes, whole.kinds) == (rows.texts, rows.y.tolist(), 3, None, None)
    assert joined([rows]).texts == rows.texts


def test_where_each_row_is_one_unit_positions_stay_as_they_are():
    rows = plain()
    assert rows.units([4, 0, 4]).tolist() == [4, 0, 4]
    assert rows.strata.tolist() == rows.y.tolist()
    values = np.array([5, 3, 1])
    assert rows.of_units(values).tolist() == [5, 3, 1]
    part = rows.take([5, 1])
    assert (part.texts, part.y.tolist(), part.sizes, part.kinds) == (("text 5", "text 1"), [2, 1], None, None)


@given(drawn=rows_of_words())
@settings(max_examples=40, deadline=None)
def test_a_value_of_each_row_is_that_of_its_words(drawn):
    rows, each = drawn
    assert rows.of_units(np.arange(len(each)) * 10).tolist() == [10 * i for i, row in enumerate(each) for _ in row]


@given(drawn=rows_of_words(), known=st.lists(st.booleans(), min_size=7, max_size=7))
@settings(max_examples=60, deadline=None)
def test_measured_rows_are_those_whose_logits_are_numbers(drawn, known):
    rows, each = drawn
    logits = np.full((len(rows.y), rows.n_classes), np.nan)
    measured = [i for i in range(len(each)) if known[i]]
    logits[rows.units(measured)] = 0.5
    assert rows.measured(logits).tolist() == measured


def test_measured_rows_of_single_labels():
    logits = np.zeros((6, 3))
    logits[[1, 5]] = np.nan
    assert plain().measured(logits).tolist() == [0, 2, 3, 4]


def test_rows_cannot_be_changed():
    with pytest.raises(AttributeError, match="cannot assign to field 'n_classes'"):
        plain().n_classes = 4


def test_names_are_rows_after_the_others_and_go_wherever_rows_go():
    rows = Rows(("a", "b", "c"), np.array([1, 0, 1]), 2, names=("minus", "plus"))
    named = rows.take([2, 1]).named()
    assert (named.texts, named.y.tolist(), named.n_classes) == (("c", "b", "minus", "plus"), [1, 0, 0, 1], 2)
    assert joined([rows, rows]).named().texts == ("a", "b", "c", "a", "b", "c", "minus", "plus")
    assert same(plain().named(), plain())


def test_names_train_in_every_fold_and_are_held_out_in_none():
    rows = Rows(("a", "b"), np.array([0, 1]), 2, names=("minus", "plus"))
    named, folds = with_names(rows, [(np.array([0]), np.array([1])), (np.array([1]), np.array([0]))])
    assert named.texts == ("a", "b", "minus", "plus")
    assert [(train.tolist(), held.tolist()) for train, held in folds] == [([0, 2, 3], [1]), ([1, 2, 3], [0])]
