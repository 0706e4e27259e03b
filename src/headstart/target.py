"""The target task: usable rows with their labels as class numbers, and the rows of the judge.

Letters in shapes: n training rows, m test rows, c classes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.checking import Checked, check_data
from headstart.data.duplicates import normalise
from headstart.data.examples import Examples, IntArray
from headstart.data.split import across_groups, some_of_each, test_split
from headstart.errors import DataError, SourceError
from headstart.records import Finding, Severity
from headstart.settings import Settings
from headstart.strategies.base import Rows
from headstart.strategies.outputs import Output, output_of
from headstart.tasks.registry import DEFAULT, TRANSLATION, get_task

# Rows of a class that are kept where a file holds more than can be read.
_LEAST_OF_A_CLASS = 50


@dataclass(frozen=True)
class Target:
    """What a run learns and is judged on.

    `rows` are the usable training rows, a validation file's among them (`validation` holds their positions; None: no such file). `groups`
    (n,) bears one number for near duplicates. `unlabelled` are the texts of a target without labels, whose `rows` are those of neighbouring
    data; (): it has labels. `origin` (n,) is each row's position in `examples`, -1 for rows of the validation file. `set_aside` are the
    positions of the rows that judge; None: `parts_of` chooses them.
    `test` None: no test file; `test_groups` (m,) are as `groups`, None where no two test rows are near duplicates; `judged_on` says in
    words what those rows are. `labels` are the class names in sorted order.
    """

    name: str
    examples: Examples
    findings: tuple[Finding, ...]
    rows: Rows
    groups: IntArray
    origin: IntArray
    labels: tuple[str, ...]
    validation: IntArray | None
    test: Rows | None
    test_groups: IntArray | None
    test_numbers: tuple[int, ...]
    near_duplicates: IntArray
    judged_on: str = "the test file"
    task: str = DEFAULT
    unlabelled: tuple[str, ...] = ()
    set_aside: IntArray | None = None

    def content(self) -> str:
        """A digest of every text and label that the run may see."""
        hasher = hashlib.blake2b(digest_size=16)
        for rows in (self.rows, self.test):
            hasher.update(f"{-1 if rows is None else len(rows)}\0".encode())
            if rows is not None:
                for text, label in zip(rows.texts, self.labels_of(rows), strict=True):
                    hasher.update(f"{len(text)} {label}\0{text}".encode("utf-8", "surrogatepass"))
        hasher.update(b"" if self.validation is None else self.validation.tobytes())
        for text in self.unlabelled:
            hasher.update(f"{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
        return hasher.hexdigest()

    def some(self, n: int, why: str, settings: Settings) -> Target:
        """The target with about `n` of its rows, the classes in their own shares; `why` in words becomes a finding.

        Where a split of the rows judges, some of either side are kept: a ranking of sources, which draws others, sees none that judges.
        """
        parts = parts_of(self, settings)
        sides = [parts[0].learn, parts[0].judge] if len(parts) == 1 and parts[0].judge is not None else [np.arange(len(self.rows))]
        drawn = []
        for side in sides:
            share = len(side) / len(self.rows)
            least = max(1, round(_LEAST_OF_A_CLASS * share))
            drawn.append(side[some_of_each(self.rows.strata[side], round(n * share), least, settings.seed)])
        kept = np.sort(np.concatenate(drawn))
        told = Finding("rows left out", Severity.WARNING, why, count=len(self.rows) - len(kept))
        place = np.full(len(self.rows), -1)
        place[kept] = np.arange(len(kept))
        validation = None if self.validation is None else place[self.validation][place[self.validation] >= 0]
        return replace(
            self,
            rows=self.rows.take(kept),
            groups=self.groups[kept],
            origin=self.origin[kept],
            validation=validation if validation is not None and len(validation) else None,
            findings=(*self.findings, told),
            set_aside=place[drawn[1]] if len(drawn) == 2 else None,
        )

    def taught_by(self, rows: Rows) -> list[str]:
        """What a source must not have been taught to be judged on rows: their texts; of translations both sides together, for what a parent
        read of one side beside another language tells nothing of the other."""
        if self.task != TRANSLATION:
            return list(rows.texts)
        return [f"{text}\0{said}" for text, said in zip(rows.texts, rows.y, strict=True)]

    def parts_taught(self) -> list[list[str]]:
        """`taught_by` of the training rows, and of the test file's where there is one."""
        return [self.taught_by(rows) for rows in (self.rows, self.test) if rows is not None]

    def labels_of(self, rows: Rows) -> list[str]:
        """The label of each row in words; where its words have labels, all of them with a space between; of several labels a JSON list."""
        kind = output_of(rows.y)
        if kind is Output.TEXT:
            return [str(answer) for answer in rows.y]
        if kind is Output.NUMBER:
            return [repr(float(value)) for value in rows.y[:, 0]]
        if kind is Output.LABELS:
            return [json.dumps([self.labels[k] for k in np.flatnonzero(row)], ensure_ascii=False) for row in rows.y]
        names = [self.labels[k] for k in rows.y]
        if rows.sizes is None:
            return names
        ends = np.cumsum(rows.sizes)
        return [" ".join(names[end - size : end]) for end, size in zip(ends, rows.sizes, strict=True)]


def read_target(data: str | Path | Examples, settings: Settings) -> Target:
    """Read and check the data, and keep what can be used.

    Raises:
        DataError: the data cannot be read, or cannot be learned from.
    """
    checked = check_data(
        data,
        text=settings.text,
        label=settings.label,
        test=settings.test,
        validation=settings.validation,
        source=counting_source(settings.source),
        max_length=settings.max_length,
        task=settings.task,
    )
    checked.result.require_usable()
    return make_target(checked, name=data_name(data), test=checked.test, validation=checked.validation)


def data_name(data: str | Path | Examples) -> str:
    """What a run on this data is called: the file's or the folder's name without its endings."""
    if not isinstance(data, str | Path) or str(data) == "-":
        return "texts"
    path = Path(data)
    name = path.name if path.name not in ("", "..") else path.resolve().name  # of `.`, the folder's own
    return name.strip(".").split(".")[0] or "texts"


def counting_source(names: Sequence[str]) -> str | None:
    """The source whose tokeniser counts texts: of several the first that can be used, for one bad source of several ends no run."""
    from headstart.sources.resolve import resolve_source

    if len(names) < 2:
        return names[0] if names else None
    for name in names:
        with suppress(SourceError):
            resolve_source(name)
            return name
    return None


def make_target(checked: Checked, *, name: str, test: Examples | None, validation: Examples | None) -> Target:
    """A target from checked rows.

    Test rows without a text, or with a label that training lacks, are left out and counted; so are validation rows without a text or a
    label, those that stand in the test file, and those that repeat an earlier one.

    Raises:
        DataError: no row of the test or of the validation file is left.
    """
    train, result, task = checked.train, checked.result, get_task(checked.task)
    usable = np.flatnonzero(result.usable)
    texts = [train.texts[i] for i in usable]
    given = [train.labels[i] for i in usable]
    further: list[str] = []
    groups = result.groups[usable].astype(np.int64)
    origin = usable.astype(np.int64)
    findings = list(result.findings)
    if checked.recognised:
        findings.append(Finding("task", Severity.NOTE, f"The task is {task.name}, {task.summary}: {checked.recognised}."))
    validation_rows = None
    if validation is not None:
        tested = set() if test is None else {normalise(text) for text in test.texts}
        whole = [i for i in range(len(validation)) if validation.texts[i].strip() and validation.labels[i].strip()]
        once = {(validation.texts[i].strip(), validation.labels[i].strip()): i for i in reversed(whole)}
        extra = [i for i in sorted(once.values()) if normalise(validation.texts[i]) not in tested]
        if not extra:
            raise DataError(
                f"No row of the validation file {validation.origin!r} has a text and a label and stands outside the test file; "
                "check its columns."
            )
        if len(extra) < len(validation):
            left = len(validation) - len(extra)
            rows, they = ("row", "it is") if left == 1 else ("rows", "they are")
            what = "of the validation file without text or label, with the text of a test row, or repeated"
            message = f"{left} {rows} {what}: {they} not used."
            findings.append(Finding("validation rows left out", Severity.NOTE, message, count=left))
        start = len(texts)
        texts += [validation.texts[i] for i in extra]
        further = [validation.labels[i] for i in extra]
        groups = np.concatenate([groups, result.validation_groups[extra].astype(np.int64)])
        origin = np.concatenate([origin, np.full(len(extra), -1)])
        validation_rows = np.arange(start, len(texts))
    labels = task.labels(given, further)
    test_rows: Rows | None = None
    test_groups: IntArray | None = None
    test_numbers: tuple[int, ...] = ()
    if test is not None:
        kept = [i for i in range(len(test)) if test.texts[i].strip() and test.labels[i].strip() and labels.known(test.labels[i])]
        if not kept:
            raise DataError(
                f"No row of the test file {test.origin!r} has a text and a label that the training rows have; check its columns."
            )
        test_rows = task.rows([test.texts[i] for i in kept], [test.labels[i] for i in kept], labels)
        test_numbers = tuple(test.rows[i] for i in kept)
        together = result.test_groups[kept]
        test_groups = together if len(np.unique(together)) < len(kept) else None
        if len(kept) < len(test):
            left = len(test) - len(kept)
            have, they = ("row of the test file has", "it is") if left == 1 else ("rows of the test file have", "they are")
            message = f"{left} {have} no text, no label or a label that the training rows lack; {they} not judged."
            findings.append(Finding("test rows left out", Severity.NOTE, message, count=left))
    return Target(
        name=name,
        examples=train,
        findings=tuple(findings),
        rows=task.rows(texts, [*given, *further], labels),
        groups=groups,
        origin=origin,
        labels=labels.names,
        validation=validation_rows,
        test=test_rows,
        test_groups=test_groups,
        test_numbers=test_numbers,
        near_duplicates=result.near_duplicate_pairs,
        task=task.name,
    )


# Characters of contexts that are read for the judge, for each second of the budget: a core of a laptop reads some three times as many with
# the embedded source, pieces that overlap.
_JUDGED_CHARACTERS = 2000
_FEWEST_JUDGED = 20


@dataclass(frozen=True)
class Part:
    """Rows that a decision is made on and rows that judge it, as positions among the target's rows. `judge` None: the test file's rows."""

    name: str
    learn: IntArray
    judge: IntArray | None


def rows_to_judge(target: Target, settings: Settings) -> int:
    """How many rows may judge: all; where all of each context must be read to answer, as many as the budget has time for."""
    n = len(target.rows)
    if target.task != "qa":
        return n
    characters = sum(map(len, target.rows.texts))
    share = max(settings.budget * _JUDGED_CHARACTERS / max(characters, 1), min(1.0, _FEWEST_JUDGED / n))
    return min(n, round(share * n))


def parts_of(target: Target, settings: Settings, most: int | None = None) -> list[Part]:
    """How the run is judged: on the test file; else, with few rows, on outer folds; with many on one stratified test split.

    Where no more than `most` rows may judge, and those are not all, on one split of as many; None: as `rows_to_judge` says.
    """
    from headstart.data.split import folds

    every = np.arange(len(target.rows))
    if target.test is not None:
        return [Part(target.judged_on.removeprefix("the "), every, None)]
    if target.set_aside is not None:
        return [Part("test split", np.setdiff1d(every, target.set_aside), target.set_aside)]
    most = rows_to_judge(target, settings) if most is None else most
    if most < len(target.rows):
        # Questions about one context tell as much as few: of many contexts some questions judge, and none of their others is learnt.
        learn, judge = test_split(target.rows.strata, target.groups, settings.test_share, settings.seed)
        judge = judge[across_groups(target.groups[judge], most)]
        return [Part("test split", learn, judge)]
    if len(target.rows) < settings.few_rows:
        pairs = folds(target.rows.strata, target.groups, settings.outer_folds, settings.seed)
        return [Part(f"outer fold {k + 1}", learn, judge) for k, (learn, judge) in enumerate(pairs)]
    learn, judge = test_split(target.rows.strata, target.groups, settings.test_share, settings.seed)
    return [Part("test split", learn, judge)]
