from dataclasses import replace

import numpy as np
import pytest

from headstart.data import duplicates
from headstart.data.check import _repeats, check_examples, suspect_finding, suspect_labels
from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.records import Severity
from headstart.tasks.registry import get_task


def examples(pairs, origin="tickets.csv"):
    texts, labels = zip(*pairs, strict=True)
    return Examples(tuple(texts), tuple(labels), tuple(range(1, len(pairs) + 1)), origin, "text", "label")


def plain(n=40, labels=("a", "b")):
    """n rows without any fault: texts that share no run of five characters worth the name."""
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 8)) for _ in range(4 * n)]
    return [(" ".join(words[4 * i : 4 * i + 4]), labels[i % len(labels)]) for i in range(n)]


def found(result, kind):
    """What the only finding of a kind says."""
    (one,) = [finding for finding in result.findings if finding.kind == kind]
    return one.severity.value, one.message, one.rows, one.count, one.remedy


def test_rows_without_fault_give_no_findings_and_are_all_used():
    result = check_examples(examples(plain()))
    assert result.findings == ()
    assert result.usable.all()
    assert list(result.groups) == list(range(40))
    assert result.near_duplicate_pairs.shape == (0, 2)
    result.require_usable()


def test_empty_texts_and_labels_are_found_and_not_used():
    result = check_examples(examples([*plain(), ("  ", "a"), ("some text", ""), ("", "")]))
    assert found(result, "empty text") == (
        "warning",
        "2 rows have no text.",
        (41, 43),
        2,
        "They are not used; fill them in or delete them.",
    )
    assert found(result, "empty label")[1:3] == ("2 rows have no label.", (42, 43))
    assert list(np.flatnonzero(~result.usable)) == [40, 41, 42]


def test_of_equal_rows_only_the_first_is_used():
    rows = plain()
    result = check_examples(examples([*rows, rows[3], rows[3]]))
    assert found(result, "duplicates")[1:3] == ("2 rows repeat an earlier row, text and label.", (41, 42))
    assert list(np.flatnonzero(~result.usable)) == [40, 41]


def test_the_same_text_under_two_labels_is_found_used_and_kept_together():
    rows = plain()
    result = check_examples(examples([*rows, (rows[0][0], "b")]))
    assert found(result, "conflicting labels")[1:3] == ("2 rows share their text with a row of another label.", (1, 41))
    assert result.usable.all()
    assert result.groups[0] == result.groups[40]
    assert list(np.flatnonzero(result.conflicting)) == [0, 40]


def test_a_text_of_very_many_labels_is_looked_up_and_not_gone_through():
    compared = 0

    class Label(str):
        __hash__ = str.__hash__

        def __eq__(self, other):
            nonlocal compared
            compared += 1
            return str.__eq__(self, other)

    labels = [Label(i // 2) for i in range(2000)]
    repeated, conflicting = _repeats(["the same"] * 2000, labels, np.ones(2000, dtype=bool))
    assert np.flatnonzero(repeated).tolist() == list(range(1, 2000, 2)) and conflicting.all()
    assert compared < 20_000  # a million, one label after another


def test_near_duplicates_are_kept_together_and_those_of_another_label_are_told_apart():
    rows = plain()
    result = check_examples(examples([*rows, (rows[0][0].upper() + "!", "a"), (rows[2][0] + " !", "b")]))
    assert found(result, "near duplicates")[1:3] == ("2 rows are nearly the same as an earlier row.", (41, 42))
    assert found(result, "near conflicts")[1:3] == ("2 rows are nearly the same as a row of another label.", (3, 42))
    assert result.groups[40] == 0
    assert result.groups[41] == 2


def test_rows_of_the_test_file_are_not_trained_on():
    rows = plain()
    test = examples([(rows[5][0], "b"), (rows[5][0], "b"), ("something else altogether", "a"), (rows[7][0] + " ?", "b")], "test.csv")
    result = check_examples(examples(rows), test=test)
    assert found(result, "test rows in train") == (
        "warning",
        "2 test rows also stand among the training rows (as 1 row).",
        (6,),
        1,
        "These training rows are not used, so that the score stays honest.",
    )
    assert list(np.flatnonzero(~result.usable)) == [5]
    assert found(result, "near test rows")[1:3] == ("1 test row is nearly the same as a training row.", (4,))


def test_rows_of_a_validation_file_are_not_trained_on_too_and_each_file_has_its_own_groups():
    rows = plain()
    strange = ["something else altogether", "nothing at all of the kind", "words that stand nowhere before"]
    test = examples([(text, "a") for text in strange], "test.csv")
    validation = examples([(rows[5][0], "b"), (rows[7][0] + " ?", "b")], "validation.csv")
    result = check_examples(examples(rows), test=test, validation=validation)
    assert np.flatnonzero(result.leaked).tolist() == np.flatnonzero(~result.usable).tolist() == [5]
    assert found(result, "validation rows in train")[2] == (6,)
    assert result.validation_groups.tolist() == [result.groups[5], result.groups[7]]
    assert len(result.test_groups) == 3 and set(result.test_groups.tolist()).isdisjoint(result.groups.tolist())


def test_training_rows_are_joined_by_rows_of_the_validation_file_and_never_by_those_of_the_test_file():
    rows = plain()
    middle = " ".join(text for text, _ in plain(60)[50:56])  # shares 0.87 of its shingles with either end, which share 0.77 with each other
    ends = [(middle + " and ten more signs of it all", "a"), ("a beginning of ten signs more " + middle, "a")]
    train, between = examples([*rows, *ends]), examples([(middle, "b"), ("something else altogether", "a")], "test.csv")
    alone, tested, validated = (check_examples(train, **files) for files in ({}, {"test": between}, {"validation": between}))
    assert alone.groups.tolist() == tested.groups.tolist() == list(range(42))
    assert tested.near_duplicate_pairs.tolist() == alone.near_duplicate_pairs.tolist() == []
    assert found(tested, "near test rows")[1:3] == ("1 test row is nearly the same as a training row.", (1,))
    assert validated.groups[40] == validated.groups[41] == validated.validation_groups[0]
    assert found(validated, "near validation rows")[2] == (1,)


def test_training_rows_are_not_sought_through_a_second_time_for_a_test_file(monkeypatch):
    sketched = []
    sketch = duplicates._sketch
    monkeypatch.setattr(duplicates, "_sketch", lambda texts: sketched.append(len(texts)) or sketch(texts))
    rows = plain()
    test = examples([(rows[7][0] + " ?", "b"), ("something else altogether", "a"), (rows[5][0], "a")], "test.csv")
    result = check_examples(examples(rows), test=test)
    assert sketched == [40, 2]
    assert found(result, "near test rows")[2] == (1,)
    assert result.test_groups.tolist() == [7, 41, 5]


def test_test_rows_made_from_a_template_of_training_rows_are_told_however_many_these_are():
    order = "the customer wrote that order {} has not arrived yet and asks for help with it, please call back soon".format
    train = [(order(i), "a") for i in range(60)]
    result = check_examples(examples([*plain(), *train]), test=examples([(order(i), "a") for i in range(60, 90)], "test.csv"))
    assert found(result, "near test rows")[1] == "30 test rows are nearly the same as a training row."
    assert np.unique(result.test_groups, return_counts=True)[1].max() <= 20


def test_labels_that_only_the_test_file_has_are_found():
    test = examples([("something else altogether", "c"), ("nothing at all of the kind", "a"), ("x y z", "d")], "test.csv")
    assert found(check_examples(examples(plain()), test=test), "unseen labels") == (
        "warning",
        "2 test rows bear labels that no training row has: 'c', 'd'.",
        (1, 3),
        2,
        "Add training rows of these labels, or correct them; until then such rows are not judged.",
    )


def test_one_class_only_is_an_error():
    result = check_examples(examples(plain(labels=("greeting",))))
    assert result.findings[0].severity is Severity.ERROR
    with pytest.raises(DataError) as error:
        result.require_usable()
    assert str(error.value) == (
        "All 40 usable rows of 'tickets.csv' bear the same label, 'greeting'. "
        "Give rows of at least two labels, or name another column with --label."
    )


@pytest.mark.parametrize(("label", "kind"), [("{}.5", "numbers to be predicted (regression)"), ("id-{}", "an id or free text")])
def test_all_labels_distinct_is_an_error(label, kind):
    with pytest.raises(DataError) as error:
        check_examples(examples([(text, label.format(i)) for i, (text, _) in enumerate(plain())])).require_usable()
    assert str(error.value) == (
        f"All 40 labels of the column 'label' of 'tickets.csv' are distinct, so it looks like {kind}, not classes. "
        "Name the column of the classes with --label."
    )


def test_few_labels_that_are_distinct_among_many_missing_are_no_ids():
    with pytest.raises(DataError) as error:
        check_examples(examples([(text, "ab"[i] if i < 2 else "") for i, (text, _) in enumerate(plain())])).require_usable()
    assert str(error.value) == (
        "Only 2 of 40 rows of 'tickets.csv' have a label in the column 'label', each another one. "
        "Fill in labels, several rows of each, or name another column with --label."
    )


def test_labels_that_are_distinct_once_repeats_are_left_out_are_no_ids():
    with pytest.raises(DataError) as error:
        check_examples(examples([(text, f"kind {i}") for i, (text, _) in enumerate(plain()[:3])] * 10)).require_usable()
    assert str(error.value) == (
        "Each of the 3 usable rows of 'tickets.csv' bears a label of its own; rows that repeat an earlier one or stand in the test file "
        "are not counted. Give several different texts of every label."
    )


def test_no_usable_row_is_an_error():
    with pytest.raises(DataError) as error:
        check_examples(examples([("", "a"), ("x", "")])).require_usable()
    assert str(error.value) == (
        "No row of 'tickets.csv' can be used for training. Give rows that have a text and a label and do not stand in the test file."
    )


def test_classes_of_one_row_and_of_too_few_are_found():
    result = check_examples(examples([*plain(), *[(t + "q", "rare") for t, _ in plain(80)[60:62]], (plain(90)[80][0], "single")]), folds=5)
    assert found(result, "single rows") == (
        "warning",
        "1 class has only one row: 'single'.",
        (43,),
        1,
        "It is trained on but never tested; add rows, or merge it with another class.",
    )
    assert found(result, "small classes")[1:3] == ("1 class has fewer than 5 rows, too few to stand in every fold: 'rare'.", (41, 42))


def test_a_rare_spelling_of_a_label_is_no_class_of_its_own():
    rows = [(text, label) for text, label in plain(80)]
    rows[0] = (rows[0][0], "A")
    kinds = [finding.kind for finding in check_examples(examples(rows)).findings]
    assert kinds == ["label spelling"]


def test_imbalance_is_a_note_from_ten_to_one_on():
    rows = plain(121, labels=("big",))
    result = check_examples(examples([(text, "small" if i < 11 else "big") for i, (text, _) in enumerate(rows)]))
    assert found(result, "imbalance")[:2] == ("note", "The largest class, 'big', has 110 rows and the smallest, 'small', 11.")


def test_numbers_spaces_emoji_and_long_labels_are_classes_like_any_other():
    labels = ("3", "two words", "🎉", "l" * 10_000)
    result = check_examples(examples(plain(labels=labels)))
    assert result.findings == ()


def test_a_long_label_is_shortened_in_messages():
    result = check_examples(examples([*plain(), (plain(60)[50][0], "l" * 10_000)]))
    assert found(result, "single rows")[1] == f"1 class has only one row: '{'l' * 40}…'."


def test_labels_spelled_in_two_ways_are_found_and_do_not_count_as_a_conflict():
    rows = plain()
    result = check_examples(examples([*rows, (rows[0][0], "A "), (plain(60)[50][0], "A ")]))
    assert found(result, "label spelling")[1:3] == ("1 label is spelled in more than one way: 'a' and 'A '.", (41, 42))
    assert not result.conflicting.any()


def test_a_label_in_two_forms_of_unicode_is_one_class_and_told():
    rows = plain(40, labels=("caf\u00e9", "cafe\u0301", "tea"))
    result = check_examples(examples([*rows, (rows[0][0], "cafe\u0301")]))
    assert found(result, "label spelling")[1] == "1 label is spelled in more than one way: 'caf\u00e9' in two forms that look the same."
    assert found(result, "label spelling")[3] == 14 and not result.conflicting.any()
    test = examples([("something else altogether", "te\u0301"), ("nothing at all of the kind", "cafe\u0301"), ("x y z", "tea")], "test.csv")
    assert found(check_examples(examples(rows[::2]), test=test), "unseen labels")[1:3] == (
        "1 test row bears a label that no training row has: 'te\u0301'.",
        (1,),
    )


def test_what_a_cleaned_copy_leaves_as_it_is_is_left_to_the_user():
    """Of pairs and of other tasks than single labels `--fix` keeps texts and labels."""
    some = examples([*plain(), ("bell\x07 rings", "a"), ("one more", "A")])
    for kind, remedy in (("control characters", "Strip them"), ("label spelling", "Spell each label in one way")):
        assert found(check_examples(some), kind)[-1] == f"{remedy}, or let `headstart check --fix` do it."
        assert found(check_examples(replace(some, paired=True)), kind)[-1] == f"{remedy}."
    assert found(check_examples(some, labels=get_task("ner").checks), "control characters")[-1] == "Strip them."


def test_control_characters_and_very_long_texts_are_found():
    result = check_examples(examples([*plain(), ("bell\x07 rings", "a"), ("tab\tand\nline are fine", "a"), ("word " * 1_000_000, "b")]))
    assert found(result, "control characters") == (
        "warning",
        "1 text holds control characters.",
        (41,),
        1,
        "Strip them, or let `headstart check --fix` do it.",
    )
    assert found(result, "long texts") == (
        "warning",
        "1 text is longer than 100,000 characters; the longest has 5,000,000.",
        (43,),
        1,
        "Look whether rows have run together; only the beginning is read.",
    )


def test_the_share_of_texts_that_would_be_cut_off_is_told():
    result = check_examples(examples(plain()), tokenize_lengths=lambda texts: [10 * (i + 1) for i in range(len(texts))], max_length=380)
    assert found(result, "cut off") == (
        "warning",
        "2 texts (5.0%) are longer than 380 tokens and will be cut off.",
        (39, 40),
        2,
        "Raise --max-length; the longest text has 400 tokens.",
    )


def test_findings_come_most_severe_first():
    rows = [(text, "one") for text, _ in plain()]
    result = check_examples(examples([*rows, ("", "one"), (rows[1][0] + "!", "one")]))
    assert [finding.severity.value for finding in result.findings] == ["error", "warning", "note"]


def test_a_row_number_is_that_of_the_file_not_the_position():
    rows = plain()
    texts, labels = zip(*rows, ("", "a"), strict=True)
    result = check_examples(Examples(texts, labels, tuple(range(100, 141)), "x.csv", "text", "label"))
    assert found(result, "empty text")[2] == (140,)


def test_planted_wrong_labels_are_suspected():
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 150)
    probabilities = np.full((150, 4), 0.01)  # the fourth class has no row
    probabilities[np.arange(150), y] = 0.97
    given = y.copy()
    wrong = [4, 60, 100]
    given[wrong] = (given[wrong] + 1) % 3
    notes = suspect_labels(probabilities, given, examples(plain(150)), ["p", "q", "r", "s"])
    assert sorted(note.row for note in notes) == [5, 61, 101]
    assert {note.label for note in notes} <= {"p", "q", "r"}
    assert notes[0].probability == pytest.approx(0.97)
    (finding,) = suspect_finding(notes)
    assert finding.message == "3 labels are perhaps wrong: models that did not see the row disagree."
    assert suspect_finding(()) == ()
    unsure = np.full((150, 4), 0.17)
    unsure[np.arange(150), y] = 0.49
    assert suspect_labels(unsure, given, examples(plain(150)), ["p", "q", "r", "s"]) == ()


def test_what_a_model_gives_is_called_right_where_the_first_class_has_no_row():
    true = 1 + np.arange(60) % 2
    y = true.copy()
    y[[7, 20, 33]] = 3 - y[[7, 20, 33]]
    probabilities = np.where(np.arange(3) == true[:, None], 0.9, 0.05)
    notes = suspect_labels(probabilities, y, examples(plain(60)), ["nobody", "q", "r"])
    assert sorted(note.row for note in notes) == [8, 21, 34]
    assert all((note.label, note.predicted) == (("q", "r") if y[note.row - 1] == 1 else ("r", "q")) for note in notes)


def test_a_test_row_that_differs_in_case_and_spaces_alone_is_a_training_row():
    rows = plain()
    test = examples([(f"  {rows[5][0].upper()} ", "b"), ("something else altogether", "a")], "test.csv")
    result = check_examples(examples(rows), test=test)
    assert found(result, "test rows in train")[1:3] == ("1 test row also stands among the training rows (as 1 row).", (6,))
    assert list(np.flatnonzero(result.leaked)) == [5]
    assert all(finding.kind != "near test rows" for finding in result.findings)


@pytest.mark.parametrize(
    ("name", "remedy"), [("test", "Intervals take them for one row with it."), ("validation", "Only the first of each is used.")]
)
def test_repeats_within_the_other_files_are_told(name, remedy):
    rows = [("something else altogether", "a"), ("nothing at all of the kind", "b")]
    result = check_examples(examples(plain()), **{name: examples([*rows, rows[0], rows[1], ("", ""), ("", "")], f"{name}.csv")})
    assert found(result, f"{name} duplicates") == ("note", f"2 {name} rows repeat an earlier one, text and label.", (3, 4), 2, remedy)
    groups = {"test": result.test_groups, "validation": result.validation_groups}[name]
    assert groups[0] == groups[2] and groups[1] == groups[3] and groups[0] != groups[1]


def test_a_label_of_the_test_file_in_another_spelling_is_none_that_training_lacks():
    rows = plain()
    test = examples([("something else altogether", "A"), ("nothing at all of the kind", "b ")], "test.csv")
    assert all(finding.kind != "unseen labels" for finding in check_examples(examples(rows), test=test).findings)


def test_signs_that_join_no_words_tell_labels_apart():
    rows = [(f"text number {i} of all", ("1", "-1", "A", "A-")[i % 4]) for i in range(40)]
    result = check_examples(examples([*rows, (rows[0][0], "-1")]))
    assert {finding.kind for finding in result.findings} - {"near duplicates", "near conflicts"} == {"conflicting labels"}


@pytest.mark.parametrize("task", ["translation", "generation", "qa"])
def test_texts_that_follow_a_text_are_no_repeats_for_their_case_and_signs(task):
    rows = Examples(("give me a name",) * 4, ("US_dollar", "us dollar", "US-dollar", "US_dollar "), (1, 2, 3, 4), "x.csv", "text", "label")
    assert check_examples(rows, labels=get_task(task).checks).usable.tolist() == [True, True, True, False]


def test_a_column_called_like_one_of_its_labels_is_a_missing_header():
    headless = replace(examples(plain()), label_column="a")
    assert found(check_examples(headless), "no header") == (
        "warning",
        "The column 'a' is called like one of its labels: the file may have no line of column names.",
        (),
        0,
        "Write one on top, as text,label; without it the first row is lost.",
    )


@pytest.mark.parametrize(("labels", "severity", "absent"), [("ab", "note", "c, d"), ("a", "warning", "b, c, d")])
def test_labels_that_no_row_of_the_test_file_has_are_told(labels, severity, absent):
    rows = plain(44, "abcd")
    test = examples([row for row in rows[40:] if row[1] in labels])
    told = found(check_examples(examples(rows[:40]), test=test), "labels without test rows")
    count = absent.count(",") + 1
    assert told[0] == severity and told[1].startswith(f"The test file has no row of {count} of the 4 labels: ")
    assert all(repr(label) in told[1] for label in absent.split(", "))
    assert told[4] == "What is scored tells nothing of these labels; add rows of them."
