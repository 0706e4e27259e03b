"""Rows of neighbouring data that a target could learn from: read, their labels joined with the target's, without rows that it has too.

Letters in shapes: m rows of all sets together.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import Examples, IntArray
from headstart.data.read import read_examples
from headstart.data.rows import counted
from headstart.data.spelling import level_label
from headstart.data.table import STANDARD_INPUT
from headstart.errors import DataError, SettingsError
from headstart.instances.registry import get_way
from headstart.neighbouring import apart_from, columns_like, same_file
from headstart.records import Finding, Severity
from headstart.settings import Settings, did_you_mean
from headstart.target import Target, data_name
from headstart.tasks.registry import DEFAULT

# Of a larger set so many rows are drawn at random before any is looked at: every one is read by the source.
MOST_ROWS = 20_000


@dataclass(frozen=True)
class SourceSet:
    """One file of neighbouring rows: of `rows` with text and label, `strange` bear labels that the target does not have, `shared` say
    nearly the same as rows of the target, `undrawn` were not drawn, and `used` are left.
    """

    name: str
    path: str
    rows: int
    strange: int
    shared: int
    undrawn: int
    used: int


@dataclass(frozen=True)
class Pool:
    """The rows of all sets: texts (m), classes of the target (m,), the set of each (m,), and its number in the file.

    `features` keeps what each source read of them, by its name.
    """

    texts: tuple[str, ...]
    y: IntArray
    of: IntArray
    numbers: IntArray
    sets: tuple[SourceSet, ...]
    findings: tuple[Finding, ...]
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.texts)

    def content(self) -> str:
        """A digest of all rows."""
        hasher = hashlib.blake2b(self.y.tobytes(), digest_size=16)
        for text in self.texts:
            hasher.update(f"{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
        return hasher.hexdigest()


def read_pool(target: Target, settings: Settings) -> Pool | None:
    """The rows of `settings.rows_from`; None: none were asked for.

    Raises:
        SettingsError: the task is none with single labels, there is no such way of choosing, or the map is none.
        DataError: a file cannot be read, is the target's own, or has no row of use; the message names it.
    """
    if not settings.rows_from:
        if settings.label_map is not None:
            raise SettingsError("--label-map is given without --rows-from; name the data whose labels it maps.")
        return None
    if settings.via:
        raise SettingsError(
            "--via and --rows-from are both given; try one of them at a time, for each changes what the other is compared with."
        )
    if target.task != DEFAULT:
        raise SettingsError(f"--rows-from is for {DEFAULT}; the task is {target.task}. Leave it out.")
    get_way(settings.rows_by)  # before anything is read
    ours = {level_label(label): k for k, label in enumerate(target.labels)}
    mapped = _read_map(settings.label_map, target.labels) if settings.label_map is not None else {}
    texts: list[str] = []
    y: list[int] = []
    of: list[int] = []
    numbers: list[int] = []
    sets: list[SourceSet] = []
    findings: list[Finding] = []
    met: set[str] = set()
    for path in dict.fromkeys(settings.rows_from):
        examples = _read(path, target, settings)
        met.update(examples.labels)
        classes = [mapped.get(label.strip(), ours.get(level_label(label))) for label in examples.labels]
        known = [i for i, k in enumerate(classes) if k is not None]
        strange = Counter(label for label, k in zip(examples.labels, classes, strict=True) if k is None)
        if not known:
            raise DataError(
                f"No label of {path!r} (--rows-from) is one of the target's. Its labels: {_listed(list(strange))}; the target's: "
                f"{_listed(target.labels)}. Say with --label-map which stands for which."
            )
        rng = np.random.default_rng(settings.seed)
        drawn = np.sort(rng.permutation(known)[:MOST_ROWS])
        kept = apart_from(examples.take(drawn), target)
        if not len(kept):
            raise DataError(f"All {len(drawn):,} rows of {path!r} (--rows-from) say nearly the same as rows of the target.")
        place = dict(zip(examples.rows, classes, strict=True))
        new = [int(place[row] or 0) for row in kept.rows]
        made = SourceSet(
            data_name(path), path, len(examples), len(examples) - len(known), len(drawn) - len(kept), len(known) - len(drawn), len(kept)
        )
        findings += _findings(made, strange, len(set(new)))
        texts += kept.texts
        y += new
        of += [len(sets)] * len(kept)
        numbers += kept.rows
        sets.append(made)
    unmet = [theirs for theirs in mapped if theirs not in {label.strip() for label in met}]
    if unmet:
        stand = "stands" if len(unmet) == 1 else "stand"
        message = f"{counted(len(unmet), 'label')} of the map {settings.label_map!r} {stand} in no row: {_listed(unmet)}."
        findings.append(Finding("label map", Severity.WARNING, message, count=len(unmet)))
    target_classes, sets_of, rows = (np.array(values, dtype=np.int64) for values in (y, of, numbers))
    return Pool(tuple(texts), target_classes, sets_of, rows, tuple(sets), tuple(findings))


def _read(path: str, target: Target, settings: Settings) -> Examples:
    """The rows of a file that have a text and a label, each text once."""
    for what, file in (("data", target.examples.origin), ("test file", settings.test), ("validation file", settings.validation)):
        if file is not None and same_file(path, file):
            raise DataError(f"--rows-from names {path!r}, which is the {what} of the target itself; name other data.")
    if path == STANDARD_INPUT:
        raise DataError(f"--rows-from is {path!r}; the rows must stand in a file, a folder or hub:NAME.")
    try:
        text, label = columns_like(path, target, settings)
        examples = read_examples(path, text=text, label=label).examples
    except DataError as error:
        raise DataError(f"The rows of {path!r} (--rows-from) cannot be read: {error}") from None
    first: dict[str, int] = {}
    for i, (said, label) in enumerate(zip(examples.texts, examples.labels, strict=True)):
        if said.strip() and label.strip():
            first.setdefault(said.strip(), i)
    if not first:
        raise DataError(f"No row of {path!r} (--rows-from) has a text and a label.")
    return examples.take(list(first.values()))


def _read_map(path: str, labels: Sequence[str]) -> dict[str, int]:
    """The target's class of each label that the file names.

    Raises:
        SettingsError: there is no such file, it is no map, or it names a label that the target does not have.
    """
    import yaml

    file = Path(path)
    try:
        text = file.read_text(encoding="utf-8")
        told = json.loads(text) if file.suffix == ".json" else yaml.load(text, Loader=yaml.BaseLoader)  # every word as it stands
    except FileNotFoundError:
        raise SettingsError(f"There is no file {path!r} (--label-map).") from None
    except (OSError, UnicodeDecodeError, ValueError, yaml.YAMLError) as error:
        raise SettingsError(f"{path!r} (--label-map) cannot be read: {str(error).splitlines()[0]}.") from None
    if not isinstance(told, Mapping) or not told:
        raise SettingsError(f"{path!r} (--label-map) is no map; write a line `theirs: ours` for each label.")
    number = {level_label(label): k for k, label in enumerate(labels)}
    found = {}
    for theirs, ours in told.items():
        name = str(ours).strip()
        if level_label(name) not in number:
            raise SettingsError(
                f"{path!r} (--label-map) maps {str(theirs).strip()!r} to {name!r}, which is no label of the target."
                f"{did_you_mean(name, labels)} Its labels: {_listed(labels)}."
            )
        found[str(theirs).strip()] = number[level_label(name)]
    return found


def _findings(one: SourceSet, strange: Counter[str], classes: int) -> list[Finding]:
    found = []
    if one.strange:
        names = _listed([name for name, _ in strange.most_common()])
        bear, they = ("bears a label", "it is") if one.strange == 1 else ("bear labels", "they are")
        message = f"{counted(one.strange, 'row')} of {one.path!r} {bear} that the target does not have; {they} left out: {names}."
        found.append(Finding("source rows left out", Severity.NOTE, message, count=one.strange))
    if one.shared:
        says, they = ("says", "it is") if one.shared == 1 else ("say", "they are")
        message = f"{counted(one.shared, 'row')} of {one.path!r} {says} nearly the same as rows of the target; {they} left out."
        found.append(Finding("source rows left out", Severity.NOTE, message, count=one.shared))
    if one.undrawn:
        message = f"{one.path!r} has more rows than are looked at; {MOST_ROWS:,} were drawn at random, {one.undrawn:,} were not."
        found.append(Finding("source rows not drawn", Severity.NOTE, message, count=one.undrawn))
    if classes == 1:
        message = f"The rows of {one.path!r} are of one class only; they can say little of what tells classes apart."
        found.append(Finding("source of one class", Severity.WARNING, message, count=one.used))
    return found


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name if len(name) <= 40 else name[:40] + "\u2026") for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
