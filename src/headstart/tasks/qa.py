"""Answers to questions that stand in a context, or are not there (extractive question answering).

A row's text is the question and its context in one (`data/pairs.py`), its label a JSON list of the true answers and where they begin
(`data/answers.py`). Rows of one context stand on one side of every split.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.answers import NOTHING, Answer, as_label, find_in, from_label, given_in
from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples, IntArray
from headstart.data.pairs import split_pair
from headstart.data.rows import RowList, counted, finding
from headstart.data.split import few_folds
from headstart.errors import DataError
from headstart.judge.label_curve import PredictAt
from headstart.judge.metrics import FloatArray
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.strategies.pieces import TOKENS_A_CHARACTER
from headstart.strategies.spans import F1
from headstart.tasks.answer_judge import AnswerJudge, best_margin
from headstart.tasks.base import Labels, Prepared, Task

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

# Rows that are looked at to tell the task.
_LOOKED_AT = 100
_ANSWER_NAMES = ("answer", "answers")
_FEW_ANSWERS = 20
# Out-of-fold F1 below which a row is among the hardest.
_HARD = 0.5


# --- reading ---


def recognise(examples: Examples) -> str:
    """Why these rows are questions with answers in their context, "" where they are not."""
    if not examples.paired:
        return ""
    labels = [label for label in examples.labels if label.strip()][:_LOOKED_AT]
    given = [given_in(label) for label in labels]
    columns = f"{examples.text_column!r} and {examples.label_column!r}"
    if labels and all(found is not None for found in given) and any(given):
        return f"{columns} hold questions, contexts and answers with their places"
    if examples.text_column.lower().endswith("context") and examples.label_column.lower() in _ANSWER_NAMES:
        return f"{columns} are called as questions, contexts and answers are"
    return ""


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """Answers with the places where they stand; what does not stand in its context is told.

    Raises:
        DataError: the rows have one text each, or no answer stands in its context.
    """
    where = repr(examples.origin) if examples.origin != "-" else "standard input"
    if not examples.paired:
        raise DataError(f"{where} has one text a row, in {examples.text_column!r}; name question and context as --text QUESTION,CONTEXT.")
    labels: list[str] = []
    absent, moved, asked = RowList(), RowList(), 0
    for number, text, label in zip(examples.rows, examples.texts, examples.labels, strict=True):
        if not text.strip() or not label.strip():
            labels.append(label and NOTHING)  # a row without a text is told as such, and not as one without answers too
            continue
        given = given_in(label)
        given = [(label, None)] if given is None else given
        context = split_pair(text)[1]
        found: list[Answer] = []
        for answer, start in given:
            place = find_in(context, answer, start)
            asked += 1
            if place is None:
                absent.add(number)
            else:
                found.append(place)
                if start is not None and place.start != start and answer.strip() == answer:
                    moved.add(number)
        labels.append(as_label(found) if found or not given else "")
    if asked and not any(label not in ("", NOTHING) for label in labels):
        raise DataError(
            f"No answer of {where} in {examples.label_column!r} stands in its context; name the columns with --text and --label."
        )
    noticed: list[Finding] = []
    if absent.count:
        message = f"{counted(absent.count, 'row')} of {where} {_have(absent)} an answer that does not stand in the context."
        remedy = "Such answers are left out, and rows without another one are not used; write answers as the context has them."
        noticed.append(finding("absent answers", Severity.WARNING, message, absent, remedy))
    if moved.count:
        message = f"{counted(moved.count, 'row')} of {where} {_have(moved)} an answer that stands at another place than is said."
        noticed.append(finding("moved answers", Severity.WARNING, message, moved, "The nearest place where it stands was taken."))
    whole, joined = _with_all_answers(replace(examples, labels=tuple(labels)))
    if joined.count:
        asks, answers = ("asks", "answers") if joined.count == 1 else ("ask", "answer")
        message = f"{counted(joined.count, 'row')} of {where} {asks} what another row asks of the same context, and {answers} otherwise."
        noticed.append(finding("several answers", Severity.NOTE, message, joined, "All answers of such rows count as true."))
    return Prepared(whole, tuple(noticed))


def _with_all_answers(examples: Examples) -> tuple[Examples, RowList]:
    """Rows of the same question and context with the answers of all of them; and which rows gained any.

    A row that says that there is no answer stays as it is: it contradicts the others.
    """
    answers: dict[str, list[Answer]] = {}
    for text, label in zip(examples.texts, examples.labels, strict=True):
        if label not in ("", NOTHING):
            answers.setdefault(text, []).extend(from_label(label))
    joined, labels = RowList(), []
    for number, text, label in zip(examples.rows, examples.texts, examples.labels, strict=True):
        # In one order for all, so that rows which ask the same are repeats of each other.
        every = label if label in ("", NOTHING) else as_label(answers[text])
        if len(every) > len(label):
            joined.add(number)
        labels.append(every)
    return replace(examples, labels=tuple(labels)), joined


def _have(rows: RowList) -> str:
    return "has" if rows.count == 1 else "have"


# --- labels ---


def check_answers(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with the answers in all: none, hardly any, all about a few contexts."""
    where = repr(train.origin) if train.origin != "-" else "standard input"
    some = np.flatnonzero(usable).tolist()
    kept = [labels[i] for i in some]
    if not kept:
        remedy = "Give rows that have a question, a context and an answer and do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    answered = sum(label != NOTHING for label in kept)
    if not answered:
        return [finding("no answers", Severity.ERROR, f"No usable row of {where} has an answer.", (), "Give rows with answers too.")]
    found = []
    if answered < max(folds, _FEW_ANSWERS):
        message = f"Only {counted(answered, 'usable row')} of {where} {'has' if answered == 1 else 'have'} an answer."
        found.append(finding("few answers", Severity.WARNING, message, (), "Scores of so few are hardly more than chance; add rows."))
    contexts = len({split_pair(train.texts[i])[1] for i in some})
    if contexts < min(folds, len(kept)):
        message = f"All usable rows of {where} are about {counted(contexts, 'context')}."
        remedy = "Questions about one context stand on one side of every split, so that folds take several; add questions about others."
        found.append(finding("few contexts", Severity.WARNING, message, (), remedy))
    return found


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """Answers are no classes: any label is known."""
    return Labels((), lambda label: label, lambda label: True)


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with their true answers; splits are stratified by whether there is one."""
    y = np.empty(len(labels), dtype=object)
    y[:] = labels
    return Rows(tuple(texts), y, 1, kinds=np.array([label == NOTHING for label in labels], dtype=np.int64))


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many rows have an answer, and how many none, where there are such."""
    without = int((rows.y == NOTHING).sum())
    return (("an answer", len(rows) - without), *([("no answer", without)] if without else []))


def hard(outputs: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows whose best span is worst, by out-of-fold outputs (n, 5)."""
    notes: list[RowNote] = []
    for i in np.argsort(outputs[:, F1], kind="stable").tolist():
        if len(notes) >= most or outputs[i, F1] >= _HARD:
            break
        if examples.rows[i] not in known and rows.y[i] != NOTHING:
            question, context = split_pair(rows.texts[i])
            truth = from_label(rows.y[i])[0]
            around = context[max(0, truth.start - 120) : truth.end + 120]
            notes.append(RowNote("hard", examples.rows[i], f"{question} — {around}", truth.text))
    return notes


def curve_at(rows: Rows, groups: IntArray, reader: Reader, settings: Settings) -> PredictAt:
    """A head on frozen tokens, and the best sentence; of long contexts some rows are answered."""
    from headstart.strategies.sentence import fit_sentences
    from headstart.strategies.span_probe import MOST_TOKENS, MOST_TRIED, choose_span_head, fit_span_head, tokens_for, told_rows

    told, most = told_rows(reader, rows), tokens_for(MOST_TOKENS, settings)
    layer, strength = choose_span_head(reader, told, few_folds(rows.strata, groups, settings.seed), tokens_for(MOST_TRIED, settings))

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        if rung == "sentence":
            return fit_sentences(rows.take(train)).compared(rows.take(held))
        abstains = bool((rows.y[train] == NOTHING).any())
        return fit_span_head(reader, told.of(train), layer, strength, abstains, most).compared(rows.take(held))

    return predict_at


TASK = Task(
    name="qa",
    summary="an answer to each question, from its context",
    metrics=(Metric.ANSWER_F1, Metric.EXACT_MATCH),
    probabilities=lambda outputs: outputs,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(
        check_answers,
        lambda label: (),
        ("answer", "answers"),
        label="answer",
        of_the_text=True,
        about=lambda text: split_pair(text)[1],
        read_whole=None,
    ),
    labels=make_labels,
    rows=make_rows,
    label_counts=label_counts,
    judge=AnswerJudge(),
    suspects=lambda outputs, rows, examples, names: (),
    hard=hard,
    layer_scores=None,
    curve=("probe", "sentence"),
    curve_at=curve_at,
    calibrate=best_margin,
    in_pieces=True,
    answering=lambda rows, backbone: sum(map(len, rows.texts)) * TOKENS_A_CHARACTER * backbone.block_parameters,
)
