"""Any number of labels for each text.

A label cell is a list (`data/cells.py`), or names with a separator between; here it is always the JSON list of the row's names in sorted
order. A row that bears none says so with an empty list, `[]`; an empty cell is a row that nobody labelled.

Letters in shapes: n rows, c labels.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from headstart.data.cells import list_in
from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples, IntArray
from headstart.data.rows import RowList, counted, finding
from headstart.data.spelling import common_spelling
from headstart.data.table import as_text
from headstart.errors import DataError
from headstart.judge.calibration import best_threshold
from headstart.judge.metrics import FloatArray
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Metric
from headstart.strategies.base import Rows
from headstart.strategies.outputs import row_losses, sigmoid
from headstart.tasks.base import Labels, Prepared, Task, require_one_text
from headstart.tasks.label_judge import LabelJudge
from headstart.tasks.light_rungs import judged_layers, probe_and_tfidf

# What may stand between labels, the first that any cell holds.
_SEPARATORS = (";", "|", "\t", ",")
_LOOKED_AT = 100
_FEW_ROWS = 5
_SHOWN = 5
_JUDGE = LabelJudge()


# --- reading ---


def names_in(label: str) -> tuple[str, ...]:
    """The names of a label in the task's form, a JSON list."""
    return tuple(json.loads(label)) if label else ()


def _are_names(items: list[Any] | None) -> bool:
    """Whether these are names, whole numbers or nothing; a table makes fractions of the numbers of a list with a gap."""
    return items is not None and all(
        item.is_integer() or item != item
        if isinstance(item, float)
        else item is None or (isinstance(item, str | int) and not isinstance(item, bool))
        for item in items
    )


def _listed(cell: str) -> list[str] | None:
    """The names in a cell that is a list, "" for nothing; None: it is none."""
    items = list_in(cell)
    if items is None:
        return None
    return [as_text(int(item) if isinstance(item, float) and item.is_integer() else item) for item in items]


def recognise(examples: Examples) -> str:
    """Why these rows bear several labels, "" where they do not: all labels are lists of names, of which some name one, and texts
    are none."""
    pairs = zip(examples.texts, examples.labels, strict=True)
    some = [(text, label) for text, label in pairs if text.strip() and label.strip() not in ("", "[]")][:_LOOKED_AT]
    lists = [list_in(label) for text, label in some if not _are_names(list_in(text))]
    named = any(as_text(item).strip() for items in lists for item in items or ())
    recognised = named and len(lists) == len(some) and all(map(_are_names, lists))
    return f"{examples.label_column!r} holds lists of labels" if recognised else ""


def _separator(labels: Sequence[str]) -> str | None:
    """The sign that parts names in cells that are no lists; None: there is none."""
    plain = [label for label in labels if _listed(label) is None]
    return next((sign for sign in _SEPARATORS if any(sign in label for label in plain)), None)


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """Labels as JSON lists of different names in sorted order; what parts the names of a cell is found among those rows that these are
    `like`.

    Raises:
        DataError: the rows are pairs of texts, or no row has a label.
    """
    require_one_text(examples)
    where = repr(examples.origin) if examples.origin != "-" else "standard input"
    lists = [_listed(label) for label in examples.labels]
    plain = [label for label, listed in zip(examples.labels, lists, strict=True) if listed is None and label.strip()]
    separator = _separator(examples.labels if like is None else like.labels)
    labels = []
    for label, listed in zip(examples.labels, lists, strict=True):
        names = listed if listed is not None else label.split(separator) if separator else [label]
        kept = sorted({" ".join(name.split()) for name in names} - {""})
        # A cell of separators alone is as empty as one of nothing.
        labels.append(json.dumps(kept, ensure_ascii=False) if kept or listed is not None else "")
    if not any(names_in(label) for label in labels):
        raise DataError(
            f'No row of {where} bears a label in {examples.label_column!r}. Give lists such as ["a", "b"], or names with ; between them.'
        )
    found = []
    if plain and separator:
        told = f"The labels of {where} were taken apart at {'tabs' if separator == chr(9) else repr(separator)}."
        found.append(finding("separator", Severity.NOTE, told))
    return Prepared(replace(examples, labels=tuple(labels)), tuple(found))


# --- labels ---


def check_labels(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with the labels: no rows, labels of too few rows or of all of them, rows that never bear two."""
    some = np.flatnonzero(usable).tolist()
    where = repr(train.origin) if train.origin != "-" else "standard input"
    if not some:
        remedy = "Give rows with a text and labels that do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    spell = common_spelling([name for i in some for name in names_in(labels[i])])  # as they are learnt
    borne = [tuple(sorted({spell(name) for name in names_in(labels[i])})) for i in some]
    counts = Counter(name for names in borne for name in names)
    if not counts:
        message = f"No label stands in the {len(some):,} usable rows of {where}."
        return [finding("no labels", Severity.ERROR, message, (), "Give rows that bear labels, or name their column with --label.")]
    found = []
    few = [f"{name!r} ({count})" for name, count in sorted(counts.items()) if count < max(folds, _FEW_ROWS)]
    if few:
        shown = ", ".join(few[:_SHOWN]) + (f" and {len(few) - _SHOWN} more" if len(few) > _SHOWN else "")
        message = f"{counted(len(few), 'label')} {'stands' if len(few) == 1 else 'stand'} in few rows: {shown}."
        remedy = "Such labels are hardly learnt and hardly measured; give more rows of them."
        found.append(finding("few rows", Severity.WARNING, message, (), remedy))
    always = [name for name, count in counts.items() if count == len(some)]
    if always:
        message = f"The label {always[0]!r} stands in every usable row."
        found.append(finding("label of all rows", Severity.WARNING, message, (), "It says nothing of a text; leave it out."))
    if all(len(names) == 1 for names in borne):
        message = "Every row bears exactly one label."
        found.append(finding("single labels", Severity.NOTE, message, (), "--task classification then learns which of them it is."))
    bare = RowList(train.rows[i] for i, names in zip(some, borne, strict=True) if not names)
    if bare.count:
        message = f"{counted(bare.count, 'row')} of {len(some):,} {'bears' if bare.count == 1 else 'bear'} no label."
        found.append(finding("no label", Severity.NOTE, message, bare))
    return found


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """The names in sorted order; a rare spelling of a name counts as the common one."""
    spell_name = common_spelling([name for label in training for name in names_in(label)])

    def spell(label: str) -> str:
        return json.dumps(sorted({spell_name(name) for name in names_in(label)}), ensure_ascii=False)

    names = sorted({spell_name(name) for label in [*training, *further] for name in names_in(label)})
    have = set(names)
    return Labels(tuple(names), spell, lambda label: have.issuperset(names_in(spell(label))))


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with a 1 for each label that they bear; splits are stratified by the rarest of them."""
    number = {name: k for k, name in enumerate(known.names)}
    y = np.zeros((len(texts), len(known.names)), dtype=np.int64)
    for i, label in enumerate(labels):
        y[i, [number[name] for name in names_in(known.spell(label))]] = 1
    often = np.where(y > 0, y.sum(axis=0), len(texts) + 1)
    kinds = np.where(y.any(axis=1), often.argmin(axis=1) + 1, 0) if len(texts) else np.zeros(0)
    return Rows(tuple(texts), y, len(known.names), kinds=kinds.astype(np.int64))


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many rows bear each label."""
    return tuple((name, int(count)) for name, count in zip(names, rows.y.sum(axis=0), strict=True))


# --- what a run shows ---


def in_words(borne: Sequence[int] | IntArray, names: Sequence[str]) -> str:
    """The names of some labels, `none` where there are none."""
    return ", ".join(names[k] for k in borne) or "none"


def suspects(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str]) -> tuple[RowNote, ...]:
    """Rows with a label too many or too few, most suspect first, by confident learning on each label (cleanlab) that some rows bear and
    others do not; of fewer than two such labels none."""
    from cleanlab.multilabel_classification.filter import find_label_issues

    varied = np.flatnonzero(rows.y.any(axis=0) & ~rows.y.all(axis=0))
    if len(varied) < 2:
        return ()
    logits = _from_the_line(logits, rows)
    borne = [np.flatnonzero(row).tolist() for row in rows.y[:, varied]]
    found = find_label_issues(borne, sigmoid(logits[:, varied]), return_indices_ranked_by="self_confidence")
    return tuple(_note("suspect label", int(i), logits, rows, examples, names) for i in found)


def hard(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows on which the outputs cost most, where some label is told wrongly, but for those of `known` row numbers."""
    logits = _from_the_line(logits, rows)
    losses, wrong = row_losses(logits, rows.y), ((logits > 0) != (rows.y > 0)).any(axis=1)
    order = [i for i in np.argsort(-losses, kind="stable") if wrong[i] and examples.rows[i] not in known]
    return [_note("hard", int(i), logits, rows, examples, names) for i in order[:most]]


def _from_the_line(logits: FloatArray, rows: Rows) -> FloatArray:
    """Held-out outputs that are above 0 where F1 is greatest."""
    return logits - best_threshold(logits, rows.y)


def _note(kind: str, i: int, logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str]) -> RowNote:
    """A row's labels and those that a model gives; the probability is that of the label which it is surest to be told wrongly."""
    odds = np.where(rows.y[i] > 0, -logits[i], logits[i])
    sure = float(sigmoid(odds.max()))
    given = in_words(np.flatnonzero(logits[i] > 0), names)
    return RowNote(kind, examples.rows[i], examples.texts[i], in_words(np.flatnonzero(rows.y[i]), names), given, sure)


TASK = Task(
    name="multilabel",
    summary="any number of labels for each text",
    metrics=(Metric.MICRO_F1, Metric.MACRO_F1, Metric.ACCURACY),
    probabilities=sigmoid,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(check_labels, names_in),
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
