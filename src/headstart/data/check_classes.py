"""What is wrong with labels that each name a class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from headstart.data.examples import BoolArray, Examples
from headstart.data.rows import counted, finding, first_few, quoted, rows_at, shortened
from headstart.data.spelling import common_spelling, composed, level_label
from headstart.records import Finding, Severity

# From these ratios of the largest class to the smallest on, imbalance is worth a note, and a warning.
_UNEVEN, _VERY_UNEVEN = 10, 100


def check_classes(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with labels that each name a class: too few, too many, uneven, spelled in several ways."""
    spelled = common_spelling([labels[i] for i in np.flatnonzero(usable).tolist()])
    counted_as = {label: spelled(label) for label in set(labels)}  # as a fit counts them
    return _header(train) + _classes(train, [counted_as[label] for label in labels], usable, folds) + _label_spelling(train)


def _header(train: Examples) -> list[Finding]:
    """A column that is called like one of its own labels: the first row was taken for the names of the columns."""
    if train.label_column not in {label.strip() for label in train.labels}:
        return []
    message = f"The column {shortened(train.label_column)!r} is called like one of its labels: the file may have no line of column names."
    return [finding("no header", Severity.WARNING, message, (), "Write one on top, as text,label; without it the first row is lost.")]


def _classes(train: Examples, labels: list[str], usable: BoolArray, folds: int) -> list[Finding]:
    counts = Counter(labels[i] for i in np.flatnonzero(usable))
    n = int(usable.sum())
    where = repr(train.origin) if train.origin != "-" else "standard input"
    column = shortened(train.label_column)
    if n == 0:
        remedy = "Give rows that have a text and a label and do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    if len(counts) == 1:
        message = f"All {n:,} usable rows of {where} bear the same label, {next(iter(map(shortened, counts)))!r}."
        return [finding("one class", Severity.ERROR, message, (), "Give rows of at least two labels, or name another column with --label.")]
    labelled = [label for label in labels if label]
    if len(counts) == n and 2 * len(labelled) <= len(labels):
        message = f"Only {n:,} of {len(labels):,} rows of {where} have a label in the column {column!r}, each another one."
        remedy = "Fill in labels, several rows of each, or name another column with --label."
        return [finding("distinct labels", Severity.ERROR, message, (), remedy)]
    if len(counts) == n and len(set(labelled)) < len(labelled):
        message = (
            f"Each of the {n:,} usable rows of {where} bears a label of its own; rows that repeat an earlier one or stand in the test file "
            "are not counted."
        )
        return [finding("distinct labels", Severity.ERROR, message, (), "Give several different texts of every label.")]
    if len(counts) == n:
        kind = "numbers to be predicted (regression)" if all(map(_is_number, counts)) else "an id or free text"
        message = f"All {n:,} labels of the column {column!r} of {where} are distinct, so it looks like {kind}, not classes."
        return [finding("distinct labels", Severity.ERROR, message, (), "Name the column of the classes with --label.")]
    found = []
    small = {label: count for label, count in counts.items() if count < folds}
    single = [label for label, count in small.items() if count == 1]
    if single:
        rows = rows_at(train, (i for i in np.flatnonzero(usable).tolist() if counts[labels[i]] == 1))
        are, them = ("class has", "It is") if len(single) == 1 else ("classes have", "They are")
        message = f"{len(single):,} {are} only one row: {quoted(single)}."
        remedy = f"{them} trained on but never tested; add rows, or merge {'it' if len(single) == 1 else 'them'} with another class."
        found.append(finding("single rows", Severity.WARNING, message, rows, remedy))
    few = [label for label, count in small.items() if count > 1]
    if few:
        few_set = set(few)
        rows = rows_at(train, (i for i in np.flatnonzero(usable).tolist() if labels[i] in few_set))
        are = "class has" if len(few) == 1 else "classes have"
        message = f"{len(few):,} {are} fewer than {folds} rows, too few to stand in every fold: {quoted(few)}."
        found.append(finding("small classes", Severity.WARNING, message, rows, "Add rows, or merge them with another class."))
    if 2 * len(counts) > n:
        message = (
            f"{len(counts):,} classes for {n:,} rows are more than one class for two rows; the column {column!r} may not hold classes."
        )
        found.append(finding("many classes", Severity.WARNING, message, (), "Name the column of the classes with --label."))
    ranked = counts.most_common()
    (largest, most), (smallest, fewest) = ranked[0], ranked[-1]
    if most / fewest >= _UNEVEN:
        severity = Severity.WARNING if most / fewest >= _VERY_UNEVEN else Severity.NOTE
        message = f"The largest class, {shortened(largest)!r}, has {most:,} rows and the smallest, {shortened(smallest)!r}, {fewest:,}."
        found.append(
            finding("imbalance", severity, message, (), "Classes are weighted in training; judge by macro-F1 rather than accuracy.")
        )
    return found


def _label_spelling(train: Examples) -> list[Finding]:
    """Labels that differ only in case, white space, Unicode form, `_` or `-`."""
    spellings: dict[str, Counter[str]] = {}
    for label, count in Counter(train.labels).items():
        if label.strip():
            spellings.setdefault(level_label(label), Counter())[label] = count
    found = []
    several = [spelled for spelled in spellings.values() if len(spelled) > 1]
    if several:
        rarer = {label for spelled in several for label, _ in spelled.most_common()[1:]}
        rows = rows_at(train, (i for i, label in enumerate(train.labels) if label in rarer))
        pairs = [_two_ways(a, b) for (a, _), (b, _), *_ in (spelled.most_common() for spelled in several)]
        are = "is" if len(several) == 1 else "are"
        message = f"{counted(len(several), 'label')} {are} spelled in more than one way: {first_few(pairs)}."
        by_itself = "" if train.paired else ", or let `headstart check --fix` do it"  # which leaves pairs as they are
        found.append(finding("label spelling", Severity.WARNING, message, rows, f"Spell each label in one way{by_itself}."))
    return found


def _two_ways(one: str, other: str) -> str:
    """Two spellings of a label; those that look the same are shown once."""
    if composed(one) == composed(other):
        return f"{shortened(one)!r} in two forms that look the same"
    return f"{shortened(one)!r} and {shortened(other)!r}"


def _is_number(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return True
