"""Translation: each row a text, and the same in another language.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.backbone.backbone import Backbone
from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples
from headstart.data.parallel import is_language
from headstart.data.rows import RowList, counted, finding
from headstart.errors import DataError
from headstart.judge.metrics import FloatArray
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Metric
from headstart.strategies.base import Rows
from headstart.strategies.pieces import TOKENS_A_CHARACTER
from headstart.strategies.translation import BEAMS
from headstart.tasks.base import Labels, Prepared, Task
from headstart.tasks.translation_judge import TranslationJudge, row_chrf

# Below this many pairs a translator learns hardly anything but the commonest words.
_FEW_ROWS = 200
# So many times longer or shorter than the data's own ratio, and by so many characters, is out of proportion.
_OUT_OF_PROPORTION, _APART = 3.0, 40


def recognise(examples: Examples) -> str:
    """Why these rows are translations, "" where they are not."""
    text, label = examples.text_column, examples.label_column
    if not examples.paired and is_language(text) and is_language(label) and text.lower() != label.lower():
        return f"{text!r} and {label!r} are languages"
    return ""


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """The examples as they are.

    Raises:
        DataError: the rows are pairs of texts, or no row has a translation.
    """
    where = repr(examples.origin) if examples.origin != "-" else "standard input"
    if examples.paired:
        raise DataError(f"{where} has two texts a row, {examples.text_column!r}; name the column of the source with --text.")
    if not any(label.strip() for label in examples.labels):
        raise DataError(f"No row of {where} has a translation in {examples.label_column!r}; name its column with --label.")
    return Prepared(examples, ())


def check_translations(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with pairs: too few, lengths out of proportion, a side that is not translated."""
    where = repr(train.origin) if train.origin != "-" else "standard input"
    kept = np.flatnonzero(usable).tolist()
    if not kept:
        remedy = "Give rows that have a text and its translation and do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    found = []
    if len(kept) < max(folds, _FEW_ROWS):
        message = f"Only {counted(len(kept), 'usable pair')} of {where} {'has' if len(kept) == 1 else 'have'} both sides."
        found.append(finding("few rows", Severity.WARNING, message, (), "A translator learns little from so few; add pairs, or a parent."))
    sizes = np.array([[len(train.texts[i].strip()), len(labels[i])] for i in kept], dtype=np.float64)
    usual = float(np.median(sizes[:, 1] / sizes[:, 0]))
    expected = sizes[:, 0] * usual
    odd = np.maximum(sizes[:, 1] / expected, expected / sizes[:, 1]) > _OUT_OF_PROPORTION
    odd &= np.abs(sizes[:, 1] - expected) > _APART
    if odd.any():
        rows = RowList(train.rows[i] for i, out in zip(kept, odd, strict=True) if out)
        message = f"{counted(rows.count, 'pair')} of {where} {'is' if rows.count == 1 else 'are'} out of proportion in length."
        found.append(finding("lengths", Severity.WARNING, message, rows, "Look whether both sides say the same."))
    same = RowList(train.rows[i] for i in kept if train.texts[i].strip() == labels[i])
    if same.count:
        have = "has the same text on both sides" if same.count == 1 else "have the same text on both sides"
        message = f"{counted(same.count, 'pair')} of {where} {have}."
        found.append(finding("not translated", Severity.WARNING, message, same, "Translate or delete them, if they are no names."))
    return found


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """Translations are no classes: any is known."""
    return Labels((), lambda label: label, lambda label: True)


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with their true translations."""
    y = np.empty(len(labels), dtype=object)
    y[:] = [label.strip() for label in labels]
    return Rows(tuple(texts), y, 1, kinds=np.zeros(len(labels), dtype=np.int64))


def hard(outputs: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows whose translation is least like the true one, by out-of-fold outputs (n, 34)."""
    worst = np.argsort(row_chrf(outputs), kind="stable")
    kept = [i for i in worst.tolist() if examples.rows[i] not in known][:most]
    return [RowNote("hard", examples.rows[i], f"{rows.texts[i]} — {rows.y[i]}", "") for i in kept]


def answering(rows: Rows, backbone: Backbone) -> float:
    """Multiplications of one rung that translates these rows, by a decoder of the encoder's size."""
    tokens = sum(len(label) * TOKENS_A_CHARACTER for label in rows.y.tolist())
    return BEAMS * tokens * backbone.parameters_total


TASK = Task(
    name="translation",
    summary="a text in another language",
    metrics=(Metric.BLEU, Metric.CHRF),
    probabilities=lambda outputs: outputs,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(
        check_translations, lambda label: (), ("translation", "translations"), label="translation", of_the_text=True, several=True
    ),
    labels=make_labels,
    rows=make_rows,
    label_counts=lambda rows, names: (("a translation", len(rows)),),
    judge=TranslationJudge(),
    suspects=lambda outputs, rows, examples, names: (),
    hard=hard,
    layer_scores=None,
    curve=("full", "scratch"),
    curve_at=None,
    ranked_by="brief",
    answering=answering,
)
