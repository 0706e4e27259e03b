"""The target: usable rows, spellings, test rows that can be judged, and how a run is judged."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.data.examples import Examples
from headstart.errors import DataError
from headstart.settings import Settings
from headstart.target import Target, data_name, parts_of, read_target
from small import LABELS, asked, sentences, write_asked, write_csv


def read(data, **settings) -> Target:
    return read_target(data, Settings(**settings))


def examples(rows):
    return Examples(tuple(t for t, _ in rows), tuple(k for _, k in rows), tuple(range(1, len(rows) + 1)), "made", "text", "label")


def finding(target, kind):
    [found] = [item for item in target.findings if item.kind == kind]
    return found


def test_rows_without_text_or_label_and_repeated_rows_are_dropped_and_the_others_keep_their_numbers():
    rows = sentences(30, 1)
    faulty = [("", "card"), *rows[:10], ("lost my card", ""), *rows[10:], rows[3], ("  ", "login")]
    target = read(examples(faulty))
    assert target.rows.texts == tuple(text for text, _ in rows)
    assert [target.labels[k] for k in target.rows.y] == [label for _, label in rows]
    assert [target.examples.rows[i] for i in target.origin] == [*range(2, 12), *range(13, 33)]
    assert target.labels == LABELS
    assert len(target.groups) == len(target.rows) == 30


def test_near_duplicates_share_a_group_and_are_never_parted():
    rows = sentences(60, 2)
    long = "the new card that i asked for when my old one was lost did not come in the time that you had said it would"
    rows += [(long, "card"), (long + " be", "card"), (long.replace("old", "first"), "card")]
    target = read(examples(rows), few_rows=0)
    assert len(set(target.groups[-3:].tolist())) == 1
    [part] = parts_of(target, Settings(few_rows=0))
    held = set(part.judge.tolist())
    assert len({row in held for row in (60, 61, 62)}) == 1


@pytest.mark.parametrize(("rare", "common", "joined"), [(1, 60, True), (4, 60, True), (5, 60, False), (4, 40, False)])
def test_a_rare_spelling_counts_as_the_common_one(rare, common, joined):
    rows = [(text, "Card" if label == "card" else label) for text, label in sentences(3 * common, 3)]
    odd = [(f"{text} odd", " cArD ") for text, _ in sentences(rare, 4)]
    target = read(examples([*rows, *odd]))
    assert target.labels == (("Card", "login", "order") if joined else ("Card", "cArD", "login", "order"))
    assert np.bincount(target.rows.y)[0] == common + rare * joined


def test_white_space_around_a_label_never_counts():
    rows = [(text, f" {label}\t" if i % 2 else label) for i, (text, label) in enumerate(sentences(60, 5))]
    assert read(examples(rows)).labels == LABELS


def test_test_rows_that_cannot_be_judged_are_left_out_and_counted(tmp_path):
    judged = sentences(12, 7)
    test = [*judged[:6], ("where is it", "parcel"), ("", "card"), *judged[6:], ("what of it", ""), ("lost card now", "CARD")]
    target = read(examples(sentences(90, 6)), test=write_csv(tmp_path / "test.csv", test))
    assert target.test.texts == (*(text for text, _ in judged), "lost card now")
    assert [target.labels[k] for k in target.test.y] == [label for _, label in judged] + ["card"]
    assert target.test_numbers == (*range(1, 7), *range(9, 15), 16)
    assert finding(target, "test rows left out").message == (
        "3 rows of the test file have no text, no label or a label that the training rows lack; they are not judged."
    )
    assert finding(target, "test rows left out").count == 3


def test_one_left_out_row_is_told_in_the_singular(tmp_path):
    test = [*sentences(12, 7), ("where is it", "parcel")]
    target = read(examples(sentences(90, 6)), test=write_csv(tmp_path / "test.csv", test))
    assert finding(target, "test rows left out").message == (
        "1 row of the test file has no text, no label or a label that the training rows lack; it is not judged."
    )


def test_a_test_file_of_which_no_row_can_be_judged_is_refused(tmp_path):
    place = write_csv(tmp_path / "test.csv", [("where is it", "parcel"), ("when is it", "post")])
    with pytest.raises(DataError) as caught:
        read(examples(sentences(90, 6)), test=place)
    assert str(caught.value) == (
        f"No row of the test file {place!r} has a text and a label that the training rows have; check its columns."
    )


def test_rows_of_the_test_file_are_not_trained_on(tmp_path):
    rows = sentences(90, 8)
    target = read(examples(rows), test=write_csv(tmp_path / "test.csv", rows[:9]))
    assert set(target.rows.texts) & set(target.test.texts) == set()
    assert (len(target.rows), len(target.test)) == (81, 9)


def test_validation_rows_stand_among_the_training_rows_and_are_marked(tmp_path):
    extra = sentences(110, 9)[90:]
    target = read(examples(sentences(110, 9)[:90]), validation=write_csv(tmp_path / "v.csv", [*extra, ("", "card")]))
    assert target.validation.tolist() == list(range(90, 110))
    assert [target.rows.texts[i] for i in target.validation] == [text for text, _ in extra]
    assert target.origin[90:].tolist() == [-1] * 20
    assert len(target.groups) == 110


def test_rows_of_the_test_file_are_not_validated_on(tmp_path):
    rows = sentences(120, 10)
    test, validation = write_csv(tmp_path / "test.csv", rows[90:105]), write_csv(tmp_path / "v.csv", rows[100:120])
    target = read(examples(rows[:90]), test=test, validation=validation)
    assert set(target.rows.texts) & set(target.test.texts) == set()
    assert [target.rows.texts[i] for i in target.validation] == [text for text, _ in rows[105:120]]
    assert finding(target, "validation rows left out").message == (
        "5 rows of the validation file without text or label, with the text of a test row, or repeated: they are not used."
    )


def test_a_validation_file_of_which_no_row_can_be_used_is_refused(tmp_path):
    rows = sentences(100, 10)
    place = write_csv(tmp_path / "v.csv", [*rows[90:], ("", "card")])
    with pytest.raises(DataError) as caught:
        read(examples(rows[:90]), test=write_csv(tmp_path / "test.csv", rows[90:]), validation=place)
    assert str(caught.value) == (
        f"No row of the validation file {place!r} has a text and a label and stands outside the test file; check its columns."
    )


def test_the_content_follows_every_text_and_label(tmp_path):
    rows, test = sentences(60, 11), sentences(72, 12)[60:]
    whole = read(examples(rows), test=write_csv(tmp_path / "a.csv", test)).content()
    assert read(examples(rows), test=write_csv(tmp_path / "b.csv", test)).content() == whole
    other = {
        read(examples(rows)).content(),
        read(examples([(rows[0][0] + "s", rows[0][1]), *rows[1:]]), test=str(tmp_path / "a.csv")).content(),
        read(examples([(rows[0][0], "login"), *rows[1:]]), test=str(tmp_path / "a.csv")).content(),
        read(examples(rows), test=write_csv(tmp_path / "c.csv", [(test[0][0], "login"), *test[1:]])).content(),
        read(examples(rows), test=write_csv(tmp_path / "d.csv", test[1:])).content(),
    }
    assert len(other | {whole}) == 6


def test_which_validation_rows_decide_is_part_of_the_content(tmp_path):
    rows = sentences(90, 13)
    first = read(examples(rows[:70]), validation=write_csv(tmp_path / "a.csv", rows[70:]))
    second = read(examples(rows[:80]), validation=write_csv(tmp_path / "a.csv", rows[80:]))
    assert first.rows.texts == second.rows.texts
    assert first.content() != second.content()


# --- how it is judged ---


def test_a_test_file_judges_what_was_decided_on_all_rows(tmp_path):
    target = read(examples(sentences(90, 1)), test=write_csv(tmp_path / "test.csv", sentences(100, 2)[90:]))
    [part] = parts_of(target, Settings())
    assert (part.name, part.judge) == ("test file", None)
    assert part.learn.tolist() == list(range(len(target.rows)))


def test_few_rows_are_judged_by_outer_folds_that_cover_every_row_once():
    target = read(examples(sentences(90, 1)))
    parts = parts_of(target, Settings(outer_folds=4))
    assert [part.name for part in parts] == [f"outer fold {k}" for k in (1, 2, 3, 4)]
    assert sorted(np.concatenate([part.judge for part in parts]).tolist()) == list(range(90))
    for part in parts:
        assert sorted([*part.learn.tolist(), *part.judge.tolist()]) == list(range(90))


@pytest.mark.parametrize(("few_rows", "parts"), [(91, 5), (90, 1), (0, 1)])
def test_from_few_rows_on_one_stratified_split_judges(few_rows, parts):
    target = read(examples(sentences(90, 1)))
    found = parts_of(target, Settings(few_rows=few_rows, test_share=0.2))
    assert len(found) == parts
    if parts == 1:
        assert found[0].name == "test split"
        assert np.bincount(target.rows.y[found[0].judge]).tolist() == [6, 6, 6]


def test_of_questions_on_long_contexts_one_split_of_fewer_judges(tmp_path):
    """Outer folds would read every context whole; 2,000 characters for each second of the budget are read, of twenty questions at least."""
    questions = asked(100, 1, words=200)
    target = read(write_asked(tmp_path / "asked.json", questions), task="qa")
    characters = sum(map(len, target.rows.texts))
    assert len(parts_of(target, Settings(budget=characters / 2000 + 1))) == 5
    for share, judged in ((0.5, 20), (0.15, 20), (0.1, 20)):  # the usual share of a split at most; twenty at least
        [part] = parts_of(target, Settings(budget=share * characters / 2000, test_share=0.2))
        assert part.name == "test split" and abs(len(part.judge) - judged) <= 1
        assert sorted([*part.learn, *part.judge]) == list(range(len(target.rows)))
    [part] = parts_of(target, Settings(budget=0.3 * characters / 2000, test_share=0.4))
    assert 28 <= len(part.judge) <= 32
    # Ten questions on each context: some of every context that is set aside judge, and none of the others of it is learnt.
    together = replace(target, groups=np.arange(100) // 10)
    [part] = parts_of(together, Settings(budget=0.1 * characters / 2000, test_share=0.4))
    judged, counts = np.unique(together.groups[part.judge], return_counts=True)
    assert (len(judged), counts.tolist()) == (4, [5] * 4)
    assert len(part.learn) == 60 and not set(judged) & set(together.groups[part.learn].tolist())


def test_a_target_of_some_rows_keeps_each_row_with_what_belongs_to_it(tmp_path):
    rows = sentences(300, 7)
    write_csv(tmp_path / "rows.csv", rows[:240])
    write_csv(tmp_path / "validation.csv", rows[240:])
    whole = read(tmp_path / "rows.csv", validation=str(tmp_path / "validation.csv"))
    some = whole.some(160, "there are many", Settings())
    assert 157 <= len(some.rows) == len(some.groups) == len(some.origin) <= 160
    label_of = dict(rows)
    assert all(label_of[text] == some.labels[k] for text, k in zip(some.rows.texts, some.rows.y, strict=True))
    assert all(
        position == -1 or whole.examples.texts[position] == text for position, text in zip(some.origin, some.rows.texts, strict=True)
    )
    assert set(some.validation.tolist()) == {i for i, position in enumerate(some.origin) if position == -1}
    left = finding(some, "rows left out")
    assert (left.message, left.count) == ("there are many", 300 - len(some.rows))
    assert whole.some(300, "", Settings()).rows.texts == whole.rows.texts


def test_of_some_rows_those_judge_that_would_judge_among_all(tmp_path):
    asked = Settings(few_rows=100)
    whole = read(write_csv(tmp_path / "rows.csv", sentences(400, 7)))
    [part] = parts_of(whole, asked)
    some = whole.some(200, "", asked)
    [drawn] = parts_of(some, asked)
    set_aside = {whole.rows.texts[i] for i in part.judge}
    assert {some.rows.texts[i] for i in drawn.judge} <= set_aside
    assert set_aside.isdisjoint(some.rows.texts[i] for i in drawn.learn)
    assert len(drawn.judge) / len(some.rows) == pytest.approx(len(part.judge) / 400, abs=0.02)
    assert len(drawn.judge) + len(drawn.learn) == len(some.rows)


def test_repeated_validation_rows_are_used_once_and_near_duplicates_of_training_rows_share_their_group(tmp_path):
    rows = sentences(100, 12)
    twins = [(text.upper() + "!", label) for text, label in rows[:3]]
    place = write_csv(tmp_path / "v.csv", [*rows[90:], *rows[90:], *twins])
    target = read(examples(rows[:90]), validation=place, few_rows=0)
    assert [target.rows.texts[i] for i in target.validation] == [text for text, _ in [*rows[90:], *twins]]
    assert finding(target, "validation rows left out").count == 10
    assert target.groups[-3:].tolist() == target.groups[:3].tolist()
    for settings in (Settings(few_rows=0), Settings()):
        for part in parts_of(target, settings):
            held = set(target.groups[part.judge].tolist())
            assert held.isdisjoint(target.groups[part.learn].tolist())


def test_test_rows_that_are_nearly_the_same_share_a_group(tmp_path):
    rows = sentences(100, 13)
    once = write_csv(tmp_path / "once.csv", rows[90:])
    assert read(examples(rows[:90]), test=once).test_groups is None
    thrice = write_csv(tmp_path / "thrice.csv", [("", "card"), *rows[90:] * 3])
    groups = read(examples(rows[:90]), test=thrice).test_groups
    assert groups.tolist() == groups[:10].tolist() * 3 and len(set(groups.tolist())) == 10


def test_rows_moved_from_the_training_file_to_the_test_file_are_other_content(tmp_path):
    rows = sentences(100, 14)
    cuts = [read(examples(rows[:n]), test=write_csv(tmp_path / f"{n}.csv", rows[n:])) for n in (90, 80)]
    assert cuts[0].content() != cuts[1].content()


@pytest.mark.parametrize(
    ("data", "name"),
    [("a/tickets.csv.gz", "tickets"), ("a/b/", "b"), (".", "here"), ("..", "above"), (".hidden.csv", "hidden"), ("-", "texts")],
)
def test_a_run_is_called_as_its_data_are(tmp_path, monkeypatch, data, name):
    (tmp_path / "above" / "here").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "above" / "here")
    assert data_name(data) == name
