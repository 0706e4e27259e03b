"""A number for each text.

Letters in shapes: n rows.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples
from headstart.data.rows import RowList, counted, finding
from headstart.errors import DataError
from headstart.judge.metrics import FloatArray
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Metric
from headstart.strategies.base import Rows
from headstart.tasks.base import Labels, Prepared, Task, require_one_text
from headstart.tasks.light_rungs import judged_layers, probe_and_tfidf
from headstart.tasks.number_judge import NumberJudge

# Numbers with a fraction, of more different values than these, are no classes.
_FEW_VALUES = 20
_FEWEST_ROWS = 10
# Groups of like numbers that splits are stratified by, and rows in each at least.
_STRATA, _ROWS_A_STRATUM = 10, 10
# A residual of so many robust standard deviations is worth a look.
_FAR = 4.0
_JUDGE = NumberJudge()
# Numbers whose thousands are parted by a sign; the last form could as well have a decimal comma and three decimals.
_BY_THOUSANDS = {
    ",": re.compile(r"[+-]?[1-9][0-9]{0,2}(,[0-9]{3})+(\.[0-9]*)?"),
    ".": re.compile(r"[+-]?[1-9][0-9]{0,2}(\.[0-9]{3})+(,[0-9]*)?"),
}
_EITHER_WAY = re.compile(r"[+-]?[1-9][0-9]{0,2},[0-9]{3}")


# --- reading ---


def number_in(label: str, thousands: str = "") -> float | None:
    """The number that a cell holds; None: it holds none, or one that is not finite. `thousands` is the sign that parts them, "," or "."; a
    comma that does not is taken for a decimal one where no point stands."""
    text = label.strip()
    if thousands and _BY_THOUSANDS[thousands].fullmatch(text):
        text = text.replace(thousands, "")
    if thousands != "," and "." not in text and text.count(",") == 1:
        text = text.replace(",", ".")
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def thousands_in(labels: Sequence[str], like: Sequence[str] = ()) -> tuple[str, str]:
    """The sign that parts thousands in a column, "" for none, and a cell that could be read either way, "" where another one tells.

    `1,234.5` and `1,234,567` tell that commas do, `1.234,5` that points do, `3,5` and `0,125` that commas do not; what most of such cells
    tell holds for all. A column that tells nothing is read as one that it is `like`; where that tells nothing either, cells as `1,234` are
    taken for thousands.
    """
    told = next((sign for sign in map(_told_by, (labels, like)) if sign is not None), None)
    if told is not None:
        return told, ""
    unsure = next((label.strip() for label in labels if _EITHER_WAY.fullmatch(label.strip())), "")
    return "," if unsure else "", unsure


def _told_by(labels: Sequence[str]) -> str | None:
    """The sign that parts thousands by those cells that tell; None: none does."""
    cells = [label.strip() for label in labels if "," in label or label.count(".") > 1]
    telling = [cell for cell in cells if not _EITHER_WAY.fullmatch(cell)]
    read = {sign: sum(number_in(cell, sign) is not None for cell in telling) for sign in (",", "", ".")}
    best = max(read, key=lambda sign: read[sign])  # the first of those that read as many
    return best if read[best] else None


def recognise(examples: Examples) -> str:
    """Why these rows have a number each, "" where they do not: all are numbers, some with a fraction, and of many different values."""
    given = [label for label in examples.labels if label.strip()]
    thousands, _ = thousands_in(given)
    numbers = [number_in(label, thousands) for label in given]
    if not numbers or None in numbers:
        return ""
    values = {value for value in numbers if value is not None}
    if len(values) <= _FEW_VALUES or all(value == int(value) for value in values):
        return ""
    return f"{examples.label_column!r} holds {len(values):,} different numbers"


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """Labels as numbers in their shortest form; rows whose label is none are told and not used. A file tells what its commas and points
    mean, one that leaves it open is read `like` the training rows.

    Raises:
        DataError: the rows are pairs of texts, or no row has a number.
    """
    require_one_text(examples)
    where = repr(examples.origin) if examples.origin != "-" else "standard input"
    thousands, unsure = thousands_in(examples.labels, () if like is None else like.labels)
    numbers = [number_in(label, thousands) for label in examples.labels]
    if all(number is None for number in numbers):
        example = next((label for label in examples.labels if label.strip()), "")
        shown = f" ({example[:40]!r} is none)" if example else ""
        raise DataError(f"No label of {where} in {examples.label_column!r} is a number{shown}; name their column with --label.")
    bad = RowList(
        row for row, label, number in zip(examples.rows, examples.labels, numbers, strict=True) if label.strip() and number is None
    )
    found = []
    if bad.count:
        message = f"{counted(bad.count, 'row')} of {where} {'has' if bad.count == 1 else 'have'} a label that is no number."
        found.append(finding("no number", Severity.WARNING, message, bad, "They are not used; write plain numbers, as 3.5."))
    if unsure:
        message = (
            f"{unsure!r} is read as {number_in(unsure, thousands):.0f}: commas in {examples.label_column!r} of {where} part thousands."
        )
        remedy = f"Where they stand before decimals, write a point, as {unsure.replace(',', '.')}."
        found.append(finding("thousands", Severity.NOTE, message, (), remedy))
    labels = tuple("" if number is None else repr(number) for number in numbers)
    return Prepared(replace(examples, labels=labels), tuple(found))


# --- labels ---


def check_numbers(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with the numbers: too few rows, all the same, few different ones, some far off the others."""
    some = np.flatnonzero(usable)
    where = repr(train.origin) if train.origin != "-" else "standard input"
    if len(some) < max(folds, _FEWEST_ROWS):
        message = f"Only {counted(len(some), 'row')} of {where} can be used for training."
        return [finding("no rows", Severity.ERROR, message, (), f"Give at least {max(folds, _FEWEST_ROWS)} rows with a text and a number.")]
    values = np.array([float(labels[i]) for i in some.tolist()])
    different = len(np.unique(values))
    if different == 1:
        message = f"All {len(some):,} usable rows of {where} have the number {values[0]:g}."
        return [finding("one number", Severity.ERROR, message, (), "There is nothing to learn; give rows with other numbers.")]
    found = []
    if different <= _FEW_VALUES // 4:
        message = f"There are only {different} different numbers."
        found.append(finding("few numbers", Severity.NOTE, message, (), "If they stand for classes, --task classification learns which."))
    middle = float(np.median(values))
    spread = 1.4826 * float(np.median(np.abs(values - middle)))
    far = RowList(train.rows[i] for i, value in zip(some.tolist(), values, strict=True) if spread > 0 and abs(value - middle) > 20 * spread)
    if far.count:
        message = f"{counted(far.count, 'row')} {'has a number' if far.count == 1 else 'have numbers'} far off the others."
        found.append(finding("far off", Severity.WARNING, message, far, "A slip of the pen there pulls every model; look at them."))
    return found


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """Numbers have no names: what is predicted is called `number`."""
    return Labels(("number",), lambda label: label, lambda label: number_in(label) is not None)  # as `prepare` left it, without commas


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with a number each; splits are stratified by groups of like numbers."""
    y = np.array([float(label) for label in labels], dtype=np.float64).reshape(-1, 1)
    groups = min(_STRATA, max(1, len(y) // _ROWS_A_STRATUM))
    place = np.argsort(np.argsort(y[:, 0], kind="stable"), kind="stable")
    return Rows(tuple(texts), y, 1, kinds=(place * groups // max(len(y), 1)).astype(np.int64))


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many rows have a number."""
    return ((names[0], len(rows)),)


# --- what a run shows ---


def suspects(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str]) -> tuple[RowNote, ...]:
    """Rows whose number lies further from what is predicted than four robust standard deviations of all residuals, furthest first."""
    apart = rows.y[:, 0] - logits[:, 0]
    middle = float(np.median(apart))
    spread = 1.4826 * float(np.median(np.abs(apart - middle)))
    if spread <= 0:
        return ()
    far = np.abs(apart - middle) / spread
    order = np.argsort(-far, kind="stable")
    return tuple(_note("suspect label", int(i), logits, rows, examples) for i in order if far[i] > _FAR)


def hard(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows whose number is missed by most, but for those of `known` row numbers."""
    order = [i for i in np.argsort(-np.abs(logits[:, 0] - rows.y[:, 0]), kind="stable") if examples.rows[i] not in known]
    return [_note("hard", int(i), logits, rows, examples) for i in order[:most]]


def _note(kind: str, i: int, logits: FloatArray, rows: Rows, examples: Examples) -> RowNote:
    return RowNote(kind, examples.rows[i], examples.texts[i], f"{rows.y[i, 0]:g}", f"{logits[i, 0]:.4g}")


TASK = Task(
    name="regression",
    summary="a number for each text",
    metrics=(Metric.SPEARMAN, Metric.PEARSON),
    probabilities=lambda outputs: outputs,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(check_numbers, lambda label: (), counted=("number", "numbers"), label="number", graded=True),
    labels=make_labels,
    rows=make_rows,
    label_counts=label_counts,
    judge=_JUDGE,
    suspects=suspects,
    hard=hard,
    layer_scores=lambda rows, groups, reader, settings: judged_layers(rows, groups, reader, settings, _JUDGE),
    curve=("probe", "tfidf"),
    curve_at=probe_and_tfidf,
)
