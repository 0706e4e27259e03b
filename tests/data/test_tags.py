import itertools

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.data.tags import (
    Scheme,
    Spans,
    are_bare,
    find_scheme,
    list_of_words,
    same_spans,
    spans_of,
    split_tag,
    tag_names,
    to_bio2,
    with_type,
    words_of,
)

KINDS = ("LOC", "PER", "E-mail")


@st.composite
def entities(draw, kinds=KINDS):
    """The number of words of a sentence, and its entities as (start, end, kind), in order and never within each other."""
    found, place = [], 0
    for gap, length in draw(st.lists(st.tuples(st.integers(0, 2), st.integers(1, 3)), max_size=5)):
        found.append((place + gap, place + gap + length, draw(st.sampled_from(kinds))))
        place += gap + length
    return max(1, place + draw(st.integers(0, 2))), found


def write(n, found, scheme):
    """The tags of a sentence in a scheme, by its definition."""
    tags = ["O"] * n
    ended = {}  # the kind of the entity that ends before a word
    for start, end, kind in found:
        for i in range(start, end):
            first, last = i == start, i == end - 1
            tags[i] = {
                Scheme.IO: kind,
                Scheme.BIO2: f"{'B' if first else 'I'}-{kind}",
                Scheme.IOB1: f"{'B' if first and ended.get(start) == kind else 'I'}-{kind}",
                Scheme.BIOES: f"{'S' if first and last else 'B' if first else 'E' if last else 'I'}-{kind}",
            }[scheme]
        ended[end] = kind
    return tags


def read_back(tags):
    """The entities of BIO2 tags, word by word."""
    found, open_at = [], None
    for i, tag in enumerate([*tags, "O"]):
        if open_at is not None and not tag.startswith("I-"):
            found.append((open_at, i, tags[open_at][2:]))
            open_at = None
        if tag.startswith("B-"):
            open_at = i
        elif tag.startswith("I-"):
            assert open_at is not None and tags[open_at][2:] == tag[2:], "I- must go on with an entity of its type"
    return found


def run_together(found):
    """Whether two entities of one type stand side by side."""
    return any(a[1] == b[0] and a[2] == b[2] for a, b in itertools.pairwise(found))


@pytest.mark.parametrize(
    ("tag", "parts"),
    [
        ("O", ("O", "")),
        ("o", ("O", "")),
        ("", ("O", "")),
        ("B-LOC", ("B", "LOC")),
        ("I-per-son", ("I", "per-son")),
        ("L-LOC", ("E", "LOC")),
        ("U-LOC", ("S", "LOC")),
        ("M-LOC", ("I", "LOC")),
        ("LOC", ("", "LOC")),
        ("B-", ("", "B-")),
        ("B", ("", "B")),
        ("b-LOC", ("", "b-LOC")),
        ("LOC-B", ("", "LOC-B")),
    ],
)
def test_a_tag_is_a_prefix_and_a_type(tag, parts):
    assert split_tag(tag) == parts


@pytest.mark.parametrize("scheme", [Scheme.BIO2, Scheme.IOB1, Scheme.BIOES])
@given(sentences=st.lists(entities(), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_entities_written_in_a_scheme_are_read_back_whole(scheme, sentences):
    rows = [write(n, found, scheme) for n, found in sentences]
    seen = find_scheme(rows)
    for tags, (n, found) in zip(rows, sentences, strict=True):
        again, broken = to_bio2(tags, seen)
        assert broken is None and len(again) == n and read_back(again) == found
        assert to_bio2(tags, scheme) == (again, None)


@given(sentences=st.lists(entities(("LOC", "PER")), min_size=1, max_size=4))
@settings(max_examples=60, deadline=None)
def test_types_alone_are_read_back_where_no_two_alike_touch(sentences):
    rows = [write(n, found, Scheme.IO) for n, found in sentences]
    for tags, (_, found) in zip(rows, sentences, strict=True):
        again, broken = to_bio2(tags, find_scheme(rows))
        assert broken is None
        if not run_together(found):
            assert read_back(again) == found


@pytest.mark.parametrize("scheme", Scheme)
def test_the_scheme_is_found(scheme):
    sentences = [(4, [(0, 2, "LOC"), (2, 3, "LOC")]), (3, [(1, 2, "PER")]), (2, [])]
    assert find_scheme([write(n, found, scheme) for n, found in sentences]) is scheme


@pytest.mark.parametrize(
    ("scheme", "stray"),
    [(Scheme.BIO2, "E-LOC"), (Scheme.BIO2, "LOC"), (Scheme.BIO2, "I-PER"), (Scheme.IOB1, "B-PER"), (Scheme.IO, "S-LOC")],
)
def test_a_single_tag_of_another_scheme_does_not_decide(scheme, stray):
    rows = [write(4, [(1, 3, "LOC")], scheme)] * 9 + [["O", stray]]
    assert find_scheme(rows) is scheme
    assert [to_bio2(tags, scheme)[1] is None for tags in rows] == [True] * 9 + [False]


@pytest.mark.parametrize("rows", [[], [[]], [["O", "o", ""], ["O"]]])
def test_where_nothing_is_marked_the_scheme_is_the_usual_one(rows):
    assert find_scheme(rows) is Scheme.BIO2


@pytest.mark.parametrize(
    ("scheme", "tags", "read", "place"),
    [
        (Scheme.BIO2, "O I-LOC I-LOC", "O B-LOC I-LOC", 1),
        (Scheme.BIO2, "B-PER I-LOC", "B-PER B-LOC", 1),
        (Scheme.BIO2, "B-LOC LOC", "B-LOC I-LOC", 1),
        (Scheme.BIO2, "B-LOC O I-LOC I-PER", "B-LOC O B-LOC B-PER", 2),
        (Scheme.IOB1, "O B-LOC", "O B-LOC", 1),
        (Scheme.IOB1, "I-PER B-LOC", "B-PER B-LOC", 1),
        (Scheme.BIOES, "B-LOC I-LOC O", "B-LOC I-LOC O", 1),
        (Scheme.BIOES, "B-LOC I-LOC", "B-LOC I-LOC", 1),
        (Scheme.BIOES, "B-LOC S-LOC", "B-LOC B-LOC", 1),
        (Scheme.BIOES, "S-LOC E-LOC O", "B-LOC B-LOC O", 1),
        (Scheme.BIOES, "B-LOC E-LOC I-LOC E-LOC", "B-LOC I-LOC B-LOC I-LOC", 2),
        (Scheme.BIOES, "LOC", "B-LOC", 0),
        (Scheme.IO, "B-LOC", "B-LOC", 0),
    ],
)
def test_an_entity_begins_at_the_word_that_breaks_the_scheme(scheme, tags, read, place):
    assert to_bio2(tags.split(), scheme) == (read.split(), place)


@pytest.mark.parametrize(
    ("scheme", "tags", "read"),
    [
        (Scheme.BIO2, "B-LOC B-LOC I-LOC O B-PER", "B-LOC B-LOC I-LOC O B-PER"),
        (Scheme.IOB1, "I-LOC B-LOC I-LOC I-PER O I-PER", "B-LOC B-LOC I-LOC B-PER O B-PER"),
        (Scheme.BIOES, "S-LOC B-LOC M-LOC L-LOC U-PER o", "B-LOC B-LOC I-LOC I-LOC B-PER O"),
        (Scheme.IO, "LOC LOC PER O PER", "B-LOC I-LOC B-PER O B-PER"),
    ],
)
def test_tags_in_their_scheme_are_written_in_bio2(scheme, tags, read):
    assert to_bio2(tags.split(), scheme) == (read.split(), None)


@given(
    tags=st.lists(st.sampled_from(["O", "LOC", "B-LOC", "I-LOC", "E-LOC", "S-LOC", "B-PER", "I-PER", "E-PER"])),
    scheme=st.sampled_from(Scheme),
)
@settings(max_examples=150, deadline=None)
def test_what_comes_out_is_always_bio2_and_stays_as_it_is(tags, scheme):
    again, _ = to_bio2(tags, scheme)
    marked = {i for start, end, _ in read_back(again) for i in range(start, end)}
    assert marked == {i for i, tag in enumerate(tags) if tag != "O"}
    assert [split_tag(tag)[1] for tag in again] == [split_tag(tag)[1] for tag in tags]
    assert to_bio2(again, Scheme.BIO2) == (again, None)


def test_classes_are_outside_then_two_for_each_type():
    assert tag_names(["LOC", "PER"]) == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert tag_names([]) == ("O",)


# --- spans ---


def looped(y, sizes):
    """The entities that class numbers mark, by a loop over words."""
    found, place = [], 0
    for size in sizes:
        row = [*y[place : place + size], 0]
        open_at, open_kind = None, 0
        for i, k in enumerate(row):
            kind = (k + 1) // 2
            if open_at is not None and (kind != open_kind or k % 2 == 1):
                found.append((open_at, place + i, open_kind))
                open_at = None
            if kind and open_at is None:
                open_at, open_kind = place + i, kind
        place += size
    return found


def listed(spans):
    return list(zip(spans.start.tolist(), spans.end.tolist(), spans.kind.tolist(), strict=True))


ROWS_OF_CLASSES = st.lists(st.lists(st.integers(0, 6), max_size=6), max_size=6)


@given(rows=ROWS_OF_CLASSES)
@example([[2], [2], [], [1, 2]])
@settings(max_examples=200, deadline=None)
def test_spans_equal_a_loop_over_words(rows):
    y, sizes = np.array([k for row in rows for k in row], dtype=np.int64), np.array([len(row) for row in rows], dtype=np.int64)
    assert listed(spans_of(y, sizes)) == looped(y.tolist(), sizes.tolist())


@given(sentences=st.lists(entities(("LOC", "PER")), min_size=1, max_size=5))
@settings(max_examples=60, deadline=None)
def test_spans_are_the_entities_that_were_written(sentences):
    names = tag_names(["LOC", "PER"])
    y = np.array([names.index(tag) for n, found in sentences for tag in write(n, found, Scheme.BIO2)], dtype=np.int64)
    sizes = np.array([n for n, _ in sentences])
    expected, place = [], 0
    for n, found in sentences:
        expected += [(place + start, place + end, 1 + ["LOC", "PER"].index(kind)) for start, end, kind in found]
        place += n
    assert listed(spans_of(y, sizes)) == expected


def test_spans_leave_the_class_numbers_as_they_were():
    y = np.array([2, 2, 0, 1], dtype=np.int64)
    spans_of(y, np.array([1, 3]))
    assert y.tolist() == [2, 2, 0, 1]


def test_spans_that_agree_are_found_by_hand():
    first = Spans(np.array([0, 2, 5]), np.array([2, 3, 6]), np.array([1, 2, 1]))
    second = Spans(np.array([0, 2, 4]), np.array([2, 3, 6]), np.array([1, 1, 1]))
    assert same_spans(first, second).tolist() == [True, False, False]
    assert same_spans(second, first).tolist() == [True, False, False]
    nothing = Spans(*(np.empty(0, dtype=np.int64),) * 3)
    assert same_spans(nothing, first).tolist() == []
    assert same_spans(first, nothing).tolist() == [False] * 3


@given(pairs=st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), max_size=20), cut=st.integers(0, 20))
@settings(max_examples=150, deadline=None)
def test_equal_spans_are_those_of_both_loops(pairs, cut):
    ours, theirs = (np.array([pair[side] for pair in pairs], dtype=np.int64) for side in (0, 1))
    sizes = [min(cut, len(pairs)), max(0, len(pairs) - cut)]
    both = set(looped(theirs.tolist(), sizes))
    found = same_spans(spans_of(ours, np.array(sizes)), spans_of(theirs, np.array(sizes)))
    assert found.tolist() == [span in both for span in looped(ours.tolist(), sizes)]


# --- words ---


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Marie Curie-Skłodowska, 1903.", ["Marie", "Curie", "-", "Skłodowska", ",", "1903", "."]),
        ("  two\n lines\t", ["two", "lines"]),
        ("a_b's €5", ["a_b", "'", "s", "€", "5"]),
        ("", []),
    ],
)
def test_words_of_a_running_text(text, words):
    assert [text[start:end] for start, end in words_of(text)] == words


@given(text=st.text(max_size=40))
@settings(max_examples=100, deadline=None)
def test_words_hold_everything_but_white_space(text):
    places = words_of(text)
    assert "".join(text[start:end] for start, end in places) == "".join(text.split())
    assert all(before[1] <= after[0] for before, after in itertools.pairwise(places))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("cafe\u0301s, s'il", ["cafe\u0301s", ",", "s", "'", "il"]),  # an accent that stands by itself
        ("بِسْمِ می\u200cخواهم", ["بِسْمِ", "می\u200cخواهم"]),
        ("❤\ufe0f+1\ufe0f\u20e3", ["❤\ufe0f", "+", "1\ufe0f\u20e3"]),
        ("\u0301 a", ["\u0301", "a"]),
        ("我在Oslo", ["我在Oslo"]),
    ],
)
def test_marks_are_of_the_letter_that_they_are_set_on(text, words):
    assert [text[start:end] for start, end in words_of(text)] == words


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ('["a", "b c"]', ["a", "b c"]),
        (' ["é"]', ["é"]),
        ("[]", []),
        ("['a', 'b c']", ["a", "b c"]),
        ("[1, 2]", None),
        ('["a", null]', None),
        ('{"a": "b"}', None),
        ('"a"', None),
        ("[see below] a text", None),
        ('["never closed', None),
        ("[" * 100_000, None),
        ("", None),
    ],
)
def test_a_list_of_words_is_told_from_a_text(cell, words):
    assert list_of_words(cell) == words


@pytest.mark.parametrize(
    ("rows", "bare"),
    [
        ([["O", "B", "I"], ["O"]], True),
        ([["S"], ["O", "B", "E"]], True),
        ([["O", "I", "I"]], False),  # a type called I, for all that is known
        ([["O", "B", "I"], ["B-LOC"]], False),
        ([["O", "O"]], False),
    ],
)
def test_prefixes_alone_are_of_one_type_without_a_name(rows, bare):
    assert are_bare(rows) is bare
    assert [with_type(tag) for tag in ("O", "B", "I")] == ["O", "B-ENTITY", "I-ENTITY"]
