"""Scores of answers, the threshold of no answer, and what the report is shown."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from headstart.data.pairs import join_pair
from headstart.judge.calibration import Calibration
from headstart.records import Mark
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.answer_judge import AnswerJudge, best_margin, matched
from small import widths

JUDGE = AnswerJudge()
SETTINGS = Settings(confidence=0.95, resamples=100, seed=1)


def rows_of(answered: list[bool]) -> Rows:
    y = np.empty(len(answered), dtype=object)
    y[:] = [json.dumps([{"text": "card", "start": 4}]) if here else "[]" for here in answered]
    return Rows(tuple(join_pair("what", "the card") for _ in answered), y, 1, kinds=np.zeros(len(answered), dtype=np.int64))


def drawn(n: int, seed: int) -> tuple[np.ndarray, Rows]:
    """Outputs (n, 5) as they can be: none is right where there is no answer, and nowhere else."""
    rng = np.random.default_rng(seed)
    answered = rng.random(n) < 0.6
    f1 = np.where(answered, rng.choice([0.0, 0.4, 1.0], n), 0.0)
    none = (~answered).astype(float)
    return np.column_stack([rng.choice([-2.0, -1.0, 0.5, 1.5, 3.0], n), f1 == 1, f1, none, none]).astype(float), rows_of(answered.tolist())


def test_scores_are_means_over_rows_as_each_is_answered() -> None:
    outputs = np.array([[2.0, 1, 1, 0, 0], [-1.0, 1, 1, 0, 0], [1.0, 0, 0, 1, 1], [-3.0, 0, 0, 1, 1], [0.5, 0, 0.4, 0, 0]])
    rows = rows_of([True, True, False, False, True])
    scores = JUDGE.scores(outputs, rows, None, SETTINGS)
    assert {name: score.value for name, score in scores.items()} == pytest.approx(
        {"answer_f1": 2.4 / 5, "exact_match": 2 / 5, "f1_where_there_is_an_answer": 1.4 / 3, "right_where_there_is_none": 1 / 2}
    )
    assert scores["f1_where_there_is_an_answer"].n == 3 and scores["answer_f1"].low <= 2.4 / 5 <= scores["answer_f1"].high
    assert set(JUDGE.scores(outputs[[0, 1, 4]], rows.take([0, 1, 4]), None, SETTINGS)) == {"answer_f1", "exact_match"}


def test_copies_of_rows_in_groups_do_not_narrow_the_intervals() -> None:
    found = widths(JUDGE, *drawn(120, 3))
    assert set(found) == {"answer_f1", "exact_match", "f1_where_there_is_an_answer", "right_where_there_is_none"}
    for name, (once, copied, naive) in found.items():
        assert copied == pytest.approx(once, rel=0.15) and naive < 0.65 * once, name


@settings(deadline=None)
@given(st.integers(1, 30), st.integers(0, 10_000))
@example(22, 344)  # two lines gain as much, one of them more surely
def test_no_other_line_gives_these_rows_a_greater_f1_by_more_than_its_standard_error(n: int, seed: int) -> None:
    outputs, rows = drawn(n, seed)
    moved = outputs.copy()
    calibration = best_margin(outputs, rows)
    moved[:, 0] = calibration.of(outputs[:, 0])
    lines = [-10.0, 10.0, *(np.unique(outputs[:, 0])[:, None] + [-0.01, 0.01]).ravel()]
    best = max((np.where(outputs[:, 0] > line, outputs[:, 2], outputs[:, 4]) for line in lines), key=np.mean)
    own = matched(Metric.ANSWER_F1, outputs)
    error = np.std(best - own, ddof=1) / np.sqrt(n) if n > 1 else np.inf
    if calibration == Calibration():
        assert (rows.y != "[]").all() or np.mean(best - own) <= error + 1e-9 or np.isclose(best.mean(), own.mean())
    else:
        assert matched(Metric.ANSWER_F1, moved).mean() == pytest.approx(best.mean())
        assert best.mean() > own.mean() and not (rows.y != "[]").all()


def test_a_line_is_moved_by_a_clear_gain_and_not_by_a_few_rows() -> None:
    # Answers with a margin below 2 are wrong: of many rows that is plain, of four it is not.
    outputs = np.array([[3.0, 1, 1, 0, 0], [1.0, 0, 0, 1, 1]] * 40)
    rows = rows_of([True, False] * 40)
    assert best_margin(outputs, rows) == Calibration(1.0, -2.0)
    few = np.array([[3.0, 1, 1, 0, 0], [3.0, 1, 1, 0, 0], [2.5, 1, 1, 0, 0], [1.0, 0, 0, 1, 1]])
    assert best_margin(few, rows_of([True, True, True, False])) == Calibration()


def test_where_answers_may_not_be_withheld_nothing_is_moved() -> None:
    outputs, rows = drawn(20, 1)
    outputs[:, 0] = np.inf
    assert best_margin(outputs, rows) == Calibration()


def test_an_answer_is_shown_in_what_stands_around_it_with_marks_on_both() -> None:
    context = "x " * 200 + "in old Paris today" + " y" * 200
    true, given_ = "Paris", "old Paris"
    y = np.empty(1, dtype=object)
    y[0] = json.dumps([{"text": true, "start": context.index(true)}])
    rows = Rows((join_pair("where?", context),), y, 1, kinds=np.zeros(1, dtype=np.int64))
    (shown,) = JUDGE.seen(Said(np.array([[1.0, 0, 2 / 3, 0, 0]]), (given_,)), rows, ()).shown
    assert shown.text.startswith("where? — …") and (shown.truth, shown.answer) == (true, given_)
    assert shown.score == pytest.approx(2 / 3)
    assert {(shown.text[mark.start : mark.end], mark.by) for mark in shown.marks} == {(true, "label"), (given_, "model")}


@pytest.mark.parametrize(
    ("answers", "answer", "marks"), [([], "", ()), ([["card", 4]], "", (("card", "label"),)), ([["card", 4]], "card", (("card", "both"),))]
)
def test_right_answers_are_marked_once_and_none_not_at_all(
    answers: list[list[object]], answer: str, marks: tuple[tuple[str, str], ...]
) -> None:
    y = np.empty(1, dtype=object)
    y[0] = json.dumps([{"text": text, "start": start} for text, start in answers])
    rows = Rows((join_pair("what?", "the card"),), y, 1, kinds=np.zeros(1, dtype=np.int64))
    (shown,) = JUDGE.seen(Said(np.zeros((1, 5)), (answer,)), rows, ()).shown
    assert tuple((shown.text[mark.start : mark.end], mark.by) for mark in shown.marks) == marks
    assert all(isinstance(mark, Mark) for mark in shown.marks)


def test_a_right_answer_that_stands_twice_is_marked_where_it_is_meant() -> None:
    y = np.empty(1, dtype=object)
    y[0] = json.dumps([{"text": "Ann", "start": 19}])
    rows = Rows((join_pair("who was second?", "Ann met Bob. Later Ann left."),), y, 1, kinds=np.zeros(1, dtype=np.int64))
    (shown,) = JUDGE.seen(Said(np.zeros((1, 5)), ("Ann",)), rows, ()).shown
    [mark] = shown.marks
    assert (mark.by, shown.text[mark.start : mark.end], shown.text[mark.end :]) == ("both", "Ann", " left.")
