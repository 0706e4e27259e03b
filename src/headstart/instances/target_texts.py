"""A target without labels, read: its texts, and the labelled rows of neighbouring data that are learnt in its place."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.checking import Checked
from headstart.data.check import check_examples
from headstart.data.columns import LABEL_NAMES, choose_text_column
from headstart.data.examples import Examples
from headstart.data.read import read_examples
from headstart.data.rows import counted
from headstart.data.spelling import level_label
from headstart.data.table import as_text, open_table
from headstart.errors import DataError, SettingsError
from headstart.instances.pool import draw, not_drawn, passed_over, read_map
from headstart.neighbouring import unlike
from headstart.records import Finding, Severity
from headstart.settings import Settings, flag
from headstart.target import Target, data_name, make_target
from headstart.tasks.registry import DEFAULT, get_task

_FEWEST = 10
# Of more texts so many are drawn at random: every one is read by the source.
MOST_TEXTS = 20_000


def has_no_labels(data: str | Path | Examples, settings: Settings) -> bool:
    """Whether a target has texts alone: one column, or a label's column that is blank in every row.

    Raises:
        DataError, ResourceError: as `open_table`.
    """
    if isinstance(data, Examples):
        return not any(label.strip() for label in data.labels)
    if settings.task not in (None, DEFAULT) or str(data) == "-":
        return False
    with open_table(data) as table:
        named = settings.label or next((name for name in table.columns if name.lower() in LABEL_NAMES), None)
        if named is None or named not in table.columns:
            return len(table.columns) == 1 and named is None
        return not any(as_text(record.get(named)).strip() for _, record in table.records())


def read_unlabelled(data: str | Path | Examples, settings: Settings) -> Target:
    """The rows of neighbouring data as a target's, with the texts that they are fitted to.

    The classes are all labels of the neighbouring data, as `--label-map` turns them.

    Raises:
        SettingsError: something is asked that takes labels.
        DataError: a file cannot be read, or nothing is left to learn from.
    """
    for name in ("via", "validation", "rows_by", "rows_share"):  # rows are chosen for labelled ones alone; here all of them are learnt
        if getattr(settings, name) != getattr(Settings, name):
            raise SettingsError(f"{flag(name)} is given, but the target has no labels; leave it out.")
    own, texts = _texts_of(data, settings)
    if len(own) < _FEWEST:
        raise DataError(f"{own.origin!r} has {counted(len(own), 'text')} and no labels; give at least {_FEWEST} texts.")
    test = None if settings.test is None else read_examples(settings.test, text=settings.text, label=settings.label).examples
    source, findings = _labelled(own, texts, test, settings)
    checks = get_task(DEFAULT).checks
    result = check_examples(source, test=test, max_length=settings.max_length, read_findings=findings, labels=checks)
    result.require_usable()
    target = make_target(Checked(source, result, DEFAULT), name=data_name(data), test=test, validation=None)
    return replace(target, unlabelled=own.texts)


def _texts_of(data: str | Path | Examples, settings: Settings) -> tuple[Examples, int]:
    """The different texts of the target, labels blank, at most `MOST_TEXTS` of them; and how many there are in all."""
    if isinstance(data, Examples):
        kept, n = _drawn(data.texts, settings.seed)
        origin, column, label = data.origin, data.text_column, data.label_column
    else:
        with open_table(data) as table:
            named = next((name for name in table.columns if name == settings.label or name.lower() in LABEL_NAMES), None)
            column = choose_text_column([name for name in table.columns if name != named], settings.text, repr(table.origin))
            kept, n = _drawn((as_text(record.get(column)) for _, record in table.records()), settings.seed)
        origin, label = str(data), named or "label"
    return Examples(tuple(kept), ("",) * len(kept), tuple(range(1, len(kept) + 1)), origin, column, label), n


def _drawn(texts: Iterable[str], seed: int) -> tuple[list[str], int]:
    """At most `MOST_TEXTS` of the different texts that are not blank, by chance, in their order (Vitter 1985, algorithm R); and how many
    there are. Memory beyond the result: a hash of each."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, str]] = []
    seen: set[int] = set()
    for text in texts:
        if not text.strip() or hash(text) in seen:
            continue
        seen.add(hash(text))
        if len(kept) < MOST_TEXTS:
            kept.append((len(seen), text))
        elif (place := int(rng.integers(len(seen)))) < MOST_TEXTS:
            kept[place] = len(seen), text
    return [text for _, text in sorted(kept)], len(seen)


class AnyLabel:
    """Every label of neighbouring data is a class, by its name or as `mapped` turns it; equal but for spelling are one."""

    def __init__(self, mapped: Mapping[str, str]) -> None:
        self.mapped = mapped
        self.names: list[str] = []
        self._numbers: dict[str, int] = {}

    def class_of(self, label: str) -> int:
        """The class of a label, as a number of `names`."""
        name = self.mapped.get(label.strip(), label.strip())
        if level_label(name) not in self._numbers:
            self._numbers[level_label(name)] = len(self.names)
            self.names.append(name)
        return self._numbers[level_label(name)]


def _labelled(target: Examples, all_texts: int, test: Examples | None, settings: Settings) -> tuple[Examples, list[Finding]]:
    """The labelled rows of all sets that say nothing that the target or the test file says, set after set, numbered on and on.

    `all_texts`: how many the target has, of which `target` holds those that were drawn; only these are compared with.
    """
    texts: list[str] = []
    labels: list[str] = []
    has = f"{target.origin!r} has {counted(all_texts, 'text')} and no labels"
    message = f"{has}: learnt are rows of neighbouring data, fitted to these texts."
    findings = [Finding("no labels", Severity.WARNING, message, count=all_texts, remedy="Label some, and the gain can be told.")]
    if undrawn := all_texts - len(target):
        drawn = f"{target.origin!r} has more texts than are looked at; {len(target):,} were drawn at random, {undrawn:,} were not."
        findings.append(Finding("texts not drawn", Severity.WARNING, drawn, count=undrawn))
    joins = AnyLabel({} if settings.label_map is None else read_map(settings.label_map))
    own = [*target.texts, *(test.texts if test is not None else ())]
    for number, path in enumerate(dict.fromkeys(settings.rows_from)):
        found = draw(path, target, settings, joins, seed=settings.seed + number)
        kept = unlike(found.drawn, own)
        shared, undrawn = len(found.drawn) - len(kept), found.known - len(found.drawn)
        findings += passed_over(path, found.over)
        if shared:
            says, they = ("says", "it is") if shared == 1 else ("say", "they are")
            told = f"{counted(shared, 'row')} of {path!r} {says} nearly the same as rows of the target; {they} left out."
            findings.append(Finding("source rows left out", Severity.NOTE, told, count=shared))
        if undrawn:
            findings.append(Finding("source rows not drawn", Severity.NOTE, not_drawn(path, undrawn), count=undrawn))
        place = dict(zip(found.drawn.rows, found.classes, strict=True))
        texts += kept.texts
        labels += [joins.names[place[row]] for row in kept.rows]
    if len(set(labels)) < 2:
        raise DataError("The rows of --rows-from bear fewer than two labels, so there is nothing to tell apart; name other data.")
    origin = ", ".join(dict.fromkeys(settings.rows_from))
    return Examples(tuple(texts), tuple(labels), tuple(range(1, len(texts) + 1)), origin, target.text_column, target.label_column), findings
