"""Questions and answers as rows: what is recognised, found, repaired and refused, each message whole."""

from __future__ import annotations

import json

import numpy as np
import pytest

from headstart.data.check import check_examples
from headstart.data.examples import Examples
from headstart.data.pairs import join_pair
from headstart.data.read import read_examples
from headstart.errors import DataError
from headstart.tasks import qa
from headstart.tasks.qa import TASK
from headstart.tasks.registry import get_task, recognise_task

CONTEXT = "Ada wrote to Ada in Paris."


def examples(rows, columns=("question,context", "answers"), origin="a.json"):
    """Rows of question, context and a cell of answers."""
    cells = [cell if isinstance(cell, str) else json.dumps(cell) for _, _, cell in rows]
    texts = [join_pair(question, context) for question, context, _ in rows]
    return Examples(tuple(texts), tuple(cells), tuple(range(1, len(rows) + 1)), origin, *columns, paired=True)


def said(start, text="Ada"):
    return [{"text": text, "answer_start": start}]


def read(rows, **how):
    prepared = qa.prepare(examples(rows, **how))
    told = [(one.kind, one.severity.value, one.message, one.rows, one.remedy) for one in prepared.findings]
    return [json.loads(label) if label else label for label in prepared.examples.labels], told


# --- what is recognised ---


@pytest.mark.parametrize(
    ("cells", "columns", "why"),
    [
        (
            [said(0), []],
            ("question,context", "answers"),
            "'question,context' and 'answers' hold questions, contexts and answers with their places",
        ),
        ([said(0), []], ("a,b", "c"), "'a,b' and 'c' hold questions, contexts and answers with their places"),
        (
            ["Ada", "Paris"],
            ("question,context", "answer"),
            "'question,context' and 'answer' are called as questions, contexts and answers are",
        ),
        (["Ada", "Paris"], ("question,context", "label"), ""),
        (["yes", "no"], ("question,sentence", "answer"), ""),
        ([[], []], ("a,b", "c"), ""),
    ],
)
def test_questions_with_answers_are_recognised(cells, columns, why):
    assert qa.recognise(examples([("who", CONTEXT, cell) for cell in cells], columns=columns)) == why


def test_the_task_is_there_by_name_and_before_pairs():
    assert get_task("qa") is TASK
    task, _ = recognise_task(examples([("who", CONTEXT, said(0))]))
    assert task.name == "qa"


# --- what is read ---


def test_answers_stand_where_they_are_said_to_stand():
    labels, told = read([("who", CONTEXT, said(13)), ("where", CONTEXT, "Paris"), ("when", CONTEXT, [])])
    assert labels == [[{"text": "Ada", "start": 13}], [{"text": "Paris", "start": 20}], []] and told == []


def test_an_answer_at_another_place_is_taken_where_it_stands_nearest():
    labels, told = read([("who", CONTEXT, said(12)), ("which", CONTEXT, said(1)), ("where", CONTEXT, said(20, "Paris"))])
    assert [label[0]["start"] for label in labels] == [13, 0, 20]
    message = "2 rows of 'a.json' have an answer that stands at another place than is said."
    assert told == [("moved answers", "warning", message, (1, 2), "The nearest place where it stands was taken.")]


def test_an_answer_that_stands_nowhere_is_left_out_and_a_row_without_another_not_used():
    both = [*said(0), *said(3, "Bob")]
    labels, told = read([("who", CONTEXT, said(0, "Bob")), ("which", CONTEXT, both), ("where", CONTEXT, "Paris")])
    assert labels == ["", [{"text": "Ada", "start": 0}], [{"text": "Paris", "start": 20}]]
    message = "2 rows of 'a.json' have an answer that does not stand in the context."
    remedy = "Such answers are left out, and rows without another one are not used; write answers as the context has them."
    assert told == [("absent answers", "warning", message, (1, 2), remedy)]


def test_a_row_with_an_empty_side_or_an_empty_cell_of_answers_is_not_used_and_told(tmp_path):
    place = tmp_path / "a.jsonl"
    rows = [("who", CONTEXT, ""), ("", CONTEXT, said(0)), ("who", " ", said(0)), ("where", CONTEXT, "Paris")]
    place.write_text("".join(json.dumps(dict(zip(("question", "context", "answers"), row, strict=True))) + "\n" for row in rows))
    train = qa.prepare(read_examples(place).examples).examples
    result = check_examples(train, labels=TASK.checks, folds=2)
    assert result.usable.tolist() == [False, False, False, True]
    told = {(one.kind, one.message, one.rows) for one in result.findings}
    assert ("empty text", "2 rows have no text.", (2, 3)) in told and ("empty label", "1 row has no answer.", (1,)) in told


def test_rows_that_ask_the_same_have_all_answers_and_are_repeats():
    same = [("who", CONTEXT, said(13)), ("where", CONTEXT, said(20, "Paris")), ("who", CONTEXT, said(0)), ("where", CONTEXT, [])]
    labels, told = read(same)
    both = [{"text": "Ada", "start": 13}, {"text": "Ada", "start": 0}]
    assert labels == [both, [{"text": "Paris", "start": 20}], both, []]
    message = "2 rows of 'a.json' ask what another row asks of the same context, and answer otherwise."
    assert told == [("several answers", "note", message, (1, 3), "All answers of such rows count as true.")]
    found, result = checked(same)
    assert result.usable.tolist() == [True, True, False, True] and found["conflicting labels"][2] == (2, 4)


@pytest.mark.parametrize("origin", ["a.json", "-"])
def test_a_file_of_which_no_answer_stands_in_its_context_is_refused(origin):
    where = "'a.json'" if origin == "a.json" else "standard input"
    with pytest.raises(DataError) as error:
        qa.prepare(examples([("who", CONTEXT, "Bob"), ("who", CONTEXT, said(0, "Eve"))], origin=origin))
    assert str(error.value) == f"No answer of {where} in 'answers' stands in its context; name the columns with --text and --label."


def test_a_file_of_single_texts_is_refused():
    one = Examples(("who",), ("Ada",), (1,), "a.csv", "text", "label")
    with pytest.raises(DataError) as error:
        qa.prepare(one)
    assert str(error.value) == "'a.csv' has one text a row, in 'text'; name question and context as --text QUESTION,CONTEXT."


# --- what is checked ---


def checked(rows, other=None):
    train = qa.prepare(examples(rows)).examples
    judged = None if other is None else qa.prepare(examples(other, origin="b.json")).examples
    result = check_examples(train, test=judged, labels=TASK.checks, folds=2)
    return {one.kind: (one.severity.value, one.message, one.rows, one.remedy) for one in result.findings}, result


MANY = [(f"who {i}", f"{CONTEXT} It was day {i} of {i + 7} and then of {i * 31}.", said(0)) for i in range(30)]


def test_good_rows_have_nothing_to_find():
    assert checked(MANY)[0] == {}


def test_a_question_of_the_test_file_is_left_out_of_training():
    found, result = checked(MANY, other=[MANY[3]])
    assert not result.usable[3] and result.usable.sum() == 29
    assert any(rows == (4,) for _, _, rows, _ in found.values())


def test_a_context_on_both_sides_is_told():
    found, _ = checked(MANY, other=[("another question", MANY[3][1], said(0))])
    remedy = "The score may be a little too good; judge on rows of another origin."
    assert found["near test rows"] == ("note", "1 test row is about the same context as a training row.", (1,), remedy)


def test_questions_of_one_context_stand_in_one_group_and_others_apart():
    rows = [*MANY, ("where", MANY[0][1], said(0)), ("where", MANY[5][1], [])]
    _, result = checked(rows)
    groups = result.groups
    assert groups[30] == groups[0] and groups[31] == groups[5]
    assert len(set(groups.tolist())) >= 1


def test_rows_without_any_answer_cannot_be_learnt_from():
    train = examples([("who", f"{CONTEXT} {i}", []) for i in range(30)])
    labels = ["[]"] * 30
    [found] = qa.check_answers(train, labels, np.ones(30, dtype=bool), 2)
    assert (found.severity.value, found.message, found.remedy) == (
        "error",
        "No usable row of 'a.json' has an answer.",
        "Give rows with answers too.",
    )


def test_few_answers_are_warned_of():
    train = examples([("who", f"{CONTEXT} {i}", said(0)) for i in range(5)])
    [found] = qa.check_answers(train, list(qa.prepare(train).examples.labels), np.ones(5, dtype=bool), 2)
    assert found.message == "Only 5 usable rows of 'a.json' have an answer."
    assert found.remedy == "Scores of so few are hardly more than chance; add rows."


@pytest.mark.parametrize(("contexts", "told"), [(1, "1 context"), (2, "2 contexts"), (3, "")])
def test_questions_about_fewer_contexts_than_folds_are_warned_of(contexts, told):
    train = examples([(f"who {i}", f"{CONTEXT} {i % contexts}", said(0)) for i in range(30)])
    found = qa.check_answers(train, list(qa.prepare(train).examples.labels), np.ones(30, dtype=bool), 3)
    remedy = "Questions about one context stand on one side of every split, so that folds take several; add questions about others."
    wanted = [("few contexts", f"All usable rows of 'a.json' are about {told}.", remedy)] if told else []
    assert [(one.kind, one.message, one.remedy) for one in found] == wanted


def test_no_usable_row_is_an_error():
    [found] = qa.check_answers(examples([("who", CONTEXT, said(0))]), ["[]"], np.zeros(1, dtype=bool), 2)
    assert found.message == "No row of 'a.json' can be used for training."


# --- rows ---


def test_rows_are_stratified_by_whether_there_is_an_answer():
    rows = TASK.rows(["a", "b"], ["[]", '[{"text": "x", "start": 0}]'], TASK.labels([], []))
    assert rows.strata.tolist() == [1, 0] and rows.n_classes == 1 and rows.y.dtype == object
    assert TASK.label_counts(rows, ()) == (("an answer", 1), ("no answer", 1))
