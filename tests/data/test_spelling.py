import pytest
from hypothesis import given
from hypothesis import strategies as st

from headstart.data.spelling import common_spelling, composed, level_label, names_in_words


@pytest.mark.parametrize(
    ("label", "level"),
    [
        ("Card_Arrival", "card arrival"),
        ("card-arrival", "card arrival"),
        (" card  arrival ", "card arrival"),
        ("a__b", "a b"),
        ("-1", "-1"),
        ("1", "1"),
        ("A-", "a-"),
        ("_", "_"),
        ("  ", "  "),
        ("ÜBER-satz", "über satz"),
        ("U\u0308BER satz", "über satz"),
        ("\ufeffcard\u00ad arrival \u200b", "card arrival"),
        ("\u200b", "\u200b"),
    ],
)
def test_a_sign_counts_for_a_space_between_words_alone(label, level):
    assert level_label(label) == level


def test_a_rare_negative_number_is_no_spelling_of_the_positive_one():
    spelled = common_spelling([*["1"] * 100, *["0"] * 100, *["-1"] * 3])
    assert [spelled(label) for label in ("1", "0", "-1")] == ["1", "0", "-1"]


def test_a_label_in_two_forms_of_unicode_is_one_however_often_each_stands():
    spelled = common_spelling(["caf\u00e9"] * 20 + ["cafe\u0301"] * 20 + ["Cafe\u0301"])
    assert {spelled(label) for label in ("caf\u00e9", "cafe\u0301", " cafe\u0301 ", "Cafe\u0301")} == {"caf\u00e9"}
    assert common_spelling(["cafe\u0301"])("cafe\u0301") == "caf\u00e9"


@given(label=st.text("aÜ\u0308_- \u00a0\u200b\ufeff\u200d", max_size=8))
def test_composing_keeps_what_is_seen_and_changes_nothing_twice(label):
    once = composed(label)
    assert composed(once) == once and bool(once.strip()) == bool(label.strip())
    assert level_label(once.strip()) == level_label(label.strip())  # as --fix looks labels up


def test_signs_that_show_nothing_make_no_label_of_their_own():
    seen = ["refund"] * 20
    spelled = common_spelling([*seen, *["refund\u200b"] * 20, *["refund \u200e"] * 20, *["می\u200cخواهم"] * 20, *["میخواهم"] * 20])
    assert {spelled(label) for label in ("refund", "\ufeffrefund", "refund\u200b", "refund \u200e")} == {"refund"}
    assert spelled("می\u200cخواهم") != spelled("میخواهم")  # a joiner is seen


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (("card_arrival", "PIN-blocked", "ExchangeRate"), ("card arrival", "pin blocked", "exchange rate")),
        (("comp.graphics", "rec/autos"), ("comp graphics", "rec autos")),
        (("C01_bacterial", "c02"), ()),  # a code alone says nothing, and then the names of the others would stand alone
        (("0", "1"), ()),
        (("no", "ja"), ()),  # too short to be told from a code
        (("Refund", "refund"), ()),  # two classes, one name
        (("yes!", "x" * 201), ()),  # a text, not a name
        (("отмена", "возврат"), ("отмена", "возврат")),
    ],
)
def test_labels_are_names_where_each_says_something_of_its_own(labels, names):
    assert names_in_words(labels) == names


@given(labels=st.lists(st.text(max_size=30), unique=True, max_size=6))
def test_there_is_one_name_for_each_label_or_none_at_all(labels):
    names = names_in_words(labels)
    assert names == () or (len(names) == len(set(names)) == len(labels) and all(names))
