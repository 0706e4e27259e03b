import numpy as np
import pytest

from headstart.checking import check_data
from headstart.data.clean import write_cleaned
from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.tasks.regression import TASK, hard, make_labels, make_rows, number_in, prepare, recognise, suspects


def examples(labels, texts=None):
    texts = texts or [f"text number {i}" for i in range(len(labels))]
    return Examples(tuple(texts), tuple(labels), tuple(range(1, len(labels) + 1)), "a.csv", "text", "score")


def checked(labels):
    result = check_data(
        examples(labels), text=None, label=None, test=None, validation=None, source=None, max_length=64, task="regression"
    ).result
    return {finding.kind: finding for finding in result.findings}, result


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("3", 3.0),
        (" -2.5 ", -2.5),
        ("1e3", 1000.0),
        ("3,5", 3.5),
        ("1,234.5", None),
        ("1,2,3", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        ("five", None),
    ],
)
def test_numbers_are_read_with_point_or_comma(cell, number):
    assert number_in(cell) == number


@pytest.mark.parametrize(
    ("cell", "number"),
    [
        ("1,234.5", 1234.5),
        (" -12,345,678 ", -12345678.0),
        ("+1,234.", 1234.0),
        ("950", 950.0),
        ("2.5", 2.5),
        ("3,5", None),
        ("1,2345", None),
        ("1234,567", None),
        ("0,125", None),
        ("1.234,5", None),
        (",123", None),
    ],
)
def test_commas_between_thousands_are_read_where_each_stands_before_three_digits(cell, number):
    assert number_in(cell, thousands=",") == number


@pytest.mark.parametrize(
    ("labels", "numbers"),
    [
        (["1,234.5", "2,000", "12.5"], ["1234.5", "2000.0", "12.5"]),
        (["1,234,567", "2,000"], ["1234567.0", "2000.0"]),
        (["3,5", "1,234", "-2,000"], ["3.5", "1.234", "-2.0"]),
        (["0,125", "1,234"], ["0.125", "1.234"]),
        (["1234,500", "1,234"], ["1234.5", "1.234"]),
        (["3,5", "2,25", "1,234.5"], ["3.5", "2.25", ""]),  # most tell that commas stand before decimals
        (["3,5", "1,234.5"], ["", "1234.5"]),
        (["1,234", "well, 950", "12"], ["1234.0", "", "12.0"]),
        (["1.234,5", "2.000", "12,5", "3.5", "1,234"], ["1234.5", "2000.0", "12.5", "3.5", "1.234"]),
        (["1.234.567", "2.000", "-12.500"], ["1234567.0", "2000.0", "-12500.0"]),
        (["1,234.5", "1.234,5", "1.234"], ["1234.5", "", "1.234"]),
        (["1.2.3", "2.125"], ["", "2.125"]),
    ],
)
def test_a_column_tells_what_its_commas_and_points_mean(labels, numbers):
    assert list(prepare(examples(labels)).examples.labels) == numbers


def test_commas_that_could_mean_either_are_taken_for_thousands_and_told():
    found = prepare(examples(["950", "1,234", "12,500"]))
    assert found.examples.labels == ("950.0", "1234.0", "12500.0")
    [told] = found.findings
    assert (told.severity.value, told.message, told.remedy) == (
        "note",
        "'1,234' is read as 1234: commas in 'score' of 'a.csv' part thousands.",
        "Where they stand before decimals, write a point, as 1.234.",
    )
    for sure in (["1,234", "3,5"], ["1,234", "1,234.5"], ["950", "3.5"]):
        assert not [found for found in prepare(examples(sure)).findings if found.kind == "thousands"]


def test_recognition_and_test_files_read_commas_as_training_does():
    fractions = [f"{k},{k}5" for k in range(1, 40)]
    assert recognise(examples(fractions)) == "'score' holds 39 different numbers"
    assert recognise(examples([f"{k},500" for k in range(1, 40)])) == ""  # whole numbers, which may be classes
    assert recognise(examples([f"{k},500.5" for k in range(1, 40)])) == "'score' holds 39 different numbers"
    train, test = (prepare(examples(labels)).examples.labels for labels in (["1,234.5", "2,000"], ["1,500", "many"]))
    known = make_labels(train, [])
    assert [known.known(label) for label in test] == [True, False]
    assert make_rows(["t"], test[:1], known).y.tolist() == [[1500.0]]


def test_labels_become_numbers_in_one_form_and_others_are_told():
    found = prepare(examples(["3", "3,50", "many", "", "nan"]))
    assert found.examples.labels == ("3.0", "3.5", "", "", "")
    [told] = found.findings
    assert (told.message, told.rows) == ("2 rows of 'a.csv' have a label that is no number.", (3, 5))


@pytest.mark.parametrize(("labels", "shown"), [(["good", "bad"], " ('good' is none)"), (["", ""], "")])
def test_a_column_without_numbers_is_refused(labels, shown):
    with pytest.raises(DataError) as refused:
        prepare(examples(labels))
    assert str(refused.value) == f"No label of 'a.csv' in 'score' is a number{shown}; name their column with --label."


def test_few_rows_and_one_number_are_errors():
    found, result = checked([str(k) for k in range(9)])
    assert found["no rows"].message == "Only 9 rows of 'a.csv' can be used for training."
    with pytest.raises(DataError) as refused:
        result.require_usable()
    assert str(refused.value) == "Only 9 rows of 'a.csv' can be used for training. Give at least 10 rows with a text and a number."
    found, result = checked(["2.5"] * 12)
    assert found["one number"].message == "All 12 usable rows of 'a.csv' have the number 2.5."


def test_a_slip_of_the_pen_and_numbers_that_look_like_classes_are_told():
    found, _ = checked([*(str(k % 7 + 0.5) for k in range(30)), "4500"])
    assert found["far off"].message == "1 row has a number far off the others." and found["far off"].rows == (31,)
    found, _ = checked([str(k % 3) for k in range(30)])
    assert found["few numbers"].message == "There are only 3 different numbers." and "far off" not in found


def test_rows_are_stratified_by_groups_of_like_numbers():
    values = np.random.default_rng(0).permutation(100).astype(float)
    rows = make_rows(["t"] * 100, [repr(float(v)) for v in values], make_labels([], []))
    assert rows.y.shape == (100, 1) and rows.y.dtype == np.float64 and rows.n_classes == 1
    assert rows.strata.tolist() == (values // 10).astype(int).tolist()
    few = make_rows(["t"] * 15, [repr(float(v)) for v in range(15)], make_labels([], []))
    assert set(few.strata.tolist()) == {0}
    assert TASK.label_counts(rows, ("number",)) == (("number", 100),)


def test_a_number_far_from_its_prediction_is_suspect_and_the_furthest_rows_are_hard():
    rng = np.random.default_rng(0)
    y = rng.normal(size=80) * 10
    predicted = (y + rng.normal(size=80)).reshape(-1, 1)
    labels = y.copy()
    labels[4] += 30
    rows = make_rows(["t"] * 80, [repr(float(v)) for v in labels], make_labels([], []))
    given = examples([repr(float(v)) for v in labels])
    notes = suspects(predicted, rows, given, ["number"])
    assert notes[0].row == 5 and notes[0].label == f"{labels[4]:g}" and len(notes) <= 2
    worst = np.argsort(-np.abs(labels - predicted[:, 0]), kind="stable")[:3] + 1
    assert [note.row for note in hard(predicted, rows, given, ["number"], 3, set())] == worst.tolist()
    assert suspects(rows.y.copy(), rows, given, ["number"]) == ()


def test_numbers_that_are_told_elsewhere_are_not_among_the_hardest():
    labels = [f"{float(k)}" for k in range(6)]
    rows, given = make_rows(["t"] * 6, labels, make_labels([], [])), examples(labels)
    apart = np.array([[3.0], [0.1], [-5.0], [0.2], [1.0], [-2.0]])
    for known, hardest in ((set(), [3, 1]), ({3}, [1, 6]), ({3, 1, 6}, [5, 4])):
        assert [note.row for note in hard(rows.y + apart, rows, given, ["number"], 2, known)] == hardest


def test_a_test_file_that_leaves_it_open_is_read_like_the_training_rows():
    decimals, thousands, neither = examples(["3,5", "12,25"]), examples(["1,234.5", "2,000"]), examples(["3.5", "4"])
    open_file = examples(["1,234", "2,500"])
    assert list(prepare(open_file, decimals).examples.labels) == ["1.234", "2.5"]
    assert list(prepare(open_file, thousands).examples.labels) == ["1234.0", "2500.0"]
    points = examples(["1.234,5", "12,5"])
    assert list(prepare(examples(["1.234", "2.5"]), points).examples.labels) == ["1234.0", "2.5"]
    for like, told in ((decimals, []), (thousands, []), (neither, ["thousands"]), (open_file, ["thousands"])):
        assert [found.kind for found in prepare(open_file, like).findings] == told
    assert list(prepare(examples(["1,5"]), thousands).examples.labels) == ["1.5"]  # a file that says it itself is believed


def test_a_text_with_several_numbers_is_told_and_all_of_its_rows_are_learnt(tmp_path):
    rows = [*[(f"a text, the {i}th of its kind", f"{i / 2}") for i in range(20)], *[("one and the same", number) for number in "131"]]
    path = tmp_path / "a.csv"
    path.write_text("text,score\n" + "".join(f'"{text}",{number}\n' for text, number in rows))
    found = check_data(str(path), text=None, label="score", test=None, validation=None, source=None, max_length=64, task="regression")
    told = {one.kind: (one.message, one.rows, one.remedy) for one in found.result.findings}
    assert told["conflicting labels"] == (
        "3 rows share their text with a row of another number.",
        (21, 22, 23),
        "Decide on one number for each of these texts; until then all are learnt.",
    )
    assert told["duplicates"][0] == "1 row repeats an earlier row, text and number." and "near conflicts" not in told
    assert found.result.usable.tolist() == [True] * 22 + [False]
    lines = write_cleaned(found.train, found.result, single_labels=False)
    assert lines == ["Left out 1 row as repeats of an earlier row: 23.", f"Wrote 22 rows of 23 to '{tmp_path / 'a.cleaned.csv'}'."]
