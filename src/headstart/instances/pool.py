"""Rows of neighbouring data that a target could learn from: read, their labels joined with the target's, without rows that it has too.

Letters in shapes: m rows of all sets together.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import Examples, IntArray
from headstart.data.read import stream_examples
from headstart.data.rows import RowList, counted, finding
from headstart.data.spelling import level_label
from headstart.data.split import some_of_each
from headstart.data.table import STANDARD_INPUT
from headstart.errors import DataError, SettingsError
from headstart.instances.registry import get_way
from headstart.neighbouring import apart_from, columns_like, said_of, same_file
from headstart.records import Finding, Severity
from headstart.settings import Settings, did_you_mean, flag
from headstart.target import Target, data_name
from headstart.tasks.registry import require_settings_of
from headstart.taught import text_digest

# Of a larger set so many rows are drawn at random before any is looked at: every one is read by the source.
MOST_ROWS = 20_000
# Rows of a label of a set that are kept where the budget leaves time for fewer rows than there are.
FEWEST = 10
# Of a file with more kinds of labels than this the others are counted together: it is text, or a number a row.
_MOST_KINDS, _OTHERS = 10_000, "others"


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

    `features` keeps what each source read of them, by its name, and `kept` what ways of choosing work out once.
    """

    texts: tuple[str, ...]
    y: IntArray
    of: IntArray
    numbers: IntArray
    sets: tuple[SourceSet, ...]
    findings: tuple[Finding, ...]
    features: dict[str, NDArray[np.float32]] = field(default_factory=dict, compare=False)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict, compare=False)

    def __len__(self) -> int:
        return len(self.texts)

    def some(self, n: int, seed: int) -> Pool:
        """The pool with about `n` of its rows, the labels of each set in their own shares, `FEWEST` rows of each at least or all it has."""
        kept = some_of_each(self.of * (int(self.y.max()) + 1) + self.y, n, FEWEST, seed)
        left = np.bincount(self.of[kept], minlength=len(self.sets)).tolist()
        sets = tuple(replace(one, undrawn=one.undrawn + one.used - used, used=used) for one, used in zip(self.sets, left, strict=True))
        texts = tuple(self.texts[i] for i in kept)
        return Pool(texts, self.y[kept], self.of[kept], self.numbers[kept], sets, self.findings)

    def content(self) -> str:
        """A digest of all rows, and of which set each stands in: ways of choosing go by sets, and so does what is told."""
        names = json.dumps([one.name for one in self.sets])
        hasher = hashlib.blake2b(self.y.tobytes() + self.of.tobytes() + names.encode(), digest_size=16)
        for text in self.texts:
            hasher.update(f"{len(text)}\0{text}".encode("utf-8", "surrogatepass"))
        return hasher.hexdigest()


def read_pool(target: Target, settings: Settings) -> Pool | None:
    """The rows of `settings.rows_from`; None: none were asked for, or the target has no other.

    Raises:
        SettingsError: the task is none with single labels, there is no such way of choosing, or the map is none.
        DataError: a file cannot be read, is the target's own, or has no row of use; the message names it.
    """
    if not settings.rows_from:
        for name in ("label_map", "rows_by", "rows_share"):
            if getattr(settings, name) != getattr(Settings, name):
                raise SettingsError(f"{flag(name)} is given without --rows-from; name the data that it is for.")
        return None
    if target.unlabelled:
        return None  # such rows are the target's own rows
    if settings.via:
        raise SettingsError(
            "--via and --rows-from are both given; try one of them at a time, for each changes what the other is compared with."
        )
    require_settings_of(settings, target.task)
    get_way(settings.rows_by)  # before anything is read
    joining = joining_of(target, settings)
    texts: list[str] = []
    y: list[int] = []
    of: list[int] = []
    numbers: list[int] = []
    sets: list[SourceSet] = []
    findings: list[Finding] = []
    met: set[str] = set()
    for number, path in enumerate(dict.fromkeys(settings.rows_from)):
        found = draw(path, target.examples, settings, joining, seed=settings.seed + number)
        met |= found.met
        if not found.known:
            raise DataError(
                f"No label of {path!r} (--rows-from) is one of the target's. Its labels: {_listed(list(found.strange))}; the target's: "
                f"{_listed(target.labels)}. Say with --label-map which stands for which."
            )
        drawn = found.drawn
        kept = apart_from(drawn, target)
        if not len(kept):
            raise DataError(f"All {len(drawn):,} rows of {path!r} (--rows-from) say nearly the same as rows of the target.")
        place = dict(zip(drawn.rows, found.classes, strict=True))
        new = [place[row] for row in kept.rows]
        strange = sum(found.strange.values())
        undrawn = found.known - len(drawn)
        made = SourceSet(data_name(path), path, found.known + strange, strange, len(drawn) - len(kept), undrawn, len(kept))
        findings += [*passed_over(path, found.over), *_findings(made, found.strange, len(set(new)))]
        texts += kept.texts
        y += new
        of += [len(sets)] * len(kept)
        numbers += kept.rows
        sets.append(made)
    unmet = [theirs for theirs in joining.mapped if theirs not in met]
    if unmet:
        stand = "stands" if len(unmet) == 1 else "stand"
        message = f"{counted(len(unmet), 'label')} of the map {settings.label_map!r} {stand} in no row: {_listed(unmet)}."
        findings.append(Finding("label map", Severity.WARNING, message, count=len(unmet)))
    target_classes, sets_of, rows = (np.array(values, dtype=np.int64) for values in (y, of, numbers))
    return Pool(tuple(texts), target_classes, sets_of, rows, tuple(sets), tuple(findings))


class Joins(Protocol):
    """What gives labels of other data a class; `mapped` are those that the user's map names."""

    @property
    def mapped(self) -> Mapping[str, Any]:
        """The labels that the map names."""
        ...

    def class_of(self, label: str) -> int | None:
        """The class of a label; None: it has none."""
        ...


@dataclass(frozen=True)
class Joining:
    """How labels of other data become classes of the target: `ours` by their levelled names, `mapped` by what the user said."""

    ours: Mapping[str, int]
    mapped: Mapping[str, int]

    def class_of(self, label: str) -> int | None:
        """The target's class of a label; None: it has none."""
        return self.mapped.get(label.strip(), self.ours.get(level_label(label)))


def joining_of(target: Target, settings: Settings) -> Joining:
    """How labels join: by name, and as `--label-map` says.

    Raises:
        SettingsError: the map is none, or names a label that the target does not have.
    """
    mapped = _mapped(settings.label_map, target.labels) if settings.label_map is not None else {}
    return Joining({level_label(label): k for k, label in enumerate(target.labels)}, mapped)


@dataclass(frozen=True)
class PassedOver:
    """Rows of a file that count for nothing, noted as they are met: those that are `blank`, without text or label, and those that say
    `again` what an earlier row says, of which some are of `other` classes than that one.
    """

    blank: RowList = field(default_factory=RowList)
    again: RowList = field(default_factory=RowList)
    other: RowList = field(default_factory=RowList)


@dataclass(frozen=True)
class Drawn:
    """Rows drawn from a file: `drawn` with the `classes` of each, of `known` that bear a label of the target; how often each of the
    `strange` labels was met (of very many kinds only the first), all labels that the map names and were `met`, and the rows that were
    passed `over`.
    """

    drawn: Examples
    classes: tuple[int, ...]
    known: int
    strange: Counter[str]
    met: set[str]
    over: PassedOver


def known_rows(
    path: str, target: Examples, settings: Settings, joining: Joins, over: PassedOver | None = None
) -> Iterator[tuple[int, str, str, int | None]]:
    """Number, text, label and class (None: the target has none such) of each row of a file that has both, each text once; in constant
    memory but for eight bytes and what a dictionary takes a row. Rows that are passed over are noted in `over`.

    Raises:
        DataError: the file is one of the target's own, or cannot be read; the message names it.
    """
    for what, file in (("data", target.origin), ("test file", settings.test), ("validation file", settings.validation)):
        if file is not None and same_file(path, file):
            raise DataError(f"--rows-from names {path!r}, which is the {what} of the target itself; name other data.")
    if path == STANDARD_INPUT:
        raise DataError(f"--rows-from is {path!r}; the rows must stand in a file, a folder or hub:NAME.")
    over = over or PassedOver()
    seen: dict[int, int | None] = {}
    classes: dict[str, int | None] = {}
    try:
        text, label = columns_like(path, target, settings)
        with stream_examples(path, text=text, label=label) as stream:
            for row, said, named in stream.rows:
                if not said.strip() or not named.strip():
                    over.blank.add(row)
                    continue
                if named not in classes and len(classes) < _MOST_KINDS:
                    classes[named] = joining.class_of(named)
                number = classes[named] if named in classes else joining.class_of(named)
                digest = text_digest(said)
                if digest in seen:
                    over.again.add(row)
                    if number != seen[digest]:
                        over.other.add(row)
                    continue
                seen[digest] = number
                yield row, said, named, number
    except DataError as error:
        raise DataError(f"The rows of {path!r} (--rows-from) cannot be read: {said_of(error, target, settings)}") from None
    if not seen:
        raise DataError(f"No row of {path!r} (--rows-from) has a text and a label.")


def draw(path: str, target: Examples, settings: Settings, joining: Joins, *, seed: int) -> Drawn:
    """At most `MOST_ROWS` rows of a file by chance, each with the same, however long it is (Vitter 1985, algorithm R)."""
    rng = np.random.default_rng(seed)
    kept: list[tuple[int, str, str, int]] = []
    strange: Counter[str] = Counter()
    met: set[str] = set()
    known, over = 0, PassedOver()
    for row, text, label, number in known_rows(path, target, settings, joining, over):
        if label.strip() in joining.mapped:
            met.add(label.strip())
        if number is None:
            strange[label if label in strange or len(strange) < _MOST_KINDS else _OTHERS] += 1
            continue
        known += 1
        if len(kept) < MOST_ROWS:
            kept.append((row, text, label, number))
        elif (place := int(rng.integers(known))) < MOST_ROWS:
            kept[place] = row, text, label, number
    kept.sort()
    rows, texts, labels, classes = zip(*kept, strict=True) if kept else ((), (), (), ())
    return Drawn(Examples(texts, labels, rows, path, "text", "label"), classes, known, strange, met, over)


def read_map(path: str) -> dict[str, str]:
    """The label of the target that each label of other data stands for.

    Raises:
        SettingsError: there is no such file, or it is no map.
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
    return {str(theirs).strip(): str(ours).strip() for theirs, ours in told.items()}


def _mapped(path: str, labels: Sequence[str]) -> dict[str, int]:
    """The target's class of each label that the file names.

    Raises:
        SettingsError: as `read_map`, or it names a label that the target does not have.
    """
    number = {level_label(label): k for k, label in enumerate(labels)}
    found = {}
    for theirs, name in read_map(path).items():
        if level_label(name) not in number:
            raise SettingsError(
                f"{path!r} (--label-map) maps {theirs!r} to {name!r}, which is no label of the target."
                f"{did_you_mean(name, labels)} Its labels: {_listed(labels)}."
            )
        found[theirs] = number[level_label(name)]
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
        message = not_drawn(one.path, one.undrawn)
        found.append(Finding("source rows not drawn", Severity.NOTE, message, count=one.undrawn))
    if classes == 1:
        message = f"The rows of {one.path!r} are of one class only; they can say little of what tells classes apart."
        found.append(Finding("source of one class", Severity.WARNING, message, count=one.used))
    return found


def passed_over(path: str, over: PassedOver) -> list[Finding]:
    """That rows of a file have no text or no label, and that rows say again what others say; nothing where there are none."""
    found = []
    if over.blank.count:
        has, they = ("has", "it is") if over.blank.count == 1 else ("have", "they are")
        message = f"{counted(over.blank.count, 'row')} of {path!r} {has} no text or no label; {they} left out."
        found.append(finding("source rows left out", Severity.NOTE, message, over.blank))
    if over.again.count:
        repeats, they = ("repeats", "it is") if over.again.count == 1 else ("repeat", "they are")
        message = f"{counted(over.again.count, 'row')} of {path!r} {repeats} the text of an earlier row; {they} left out"
        message += f", {over.other.count:,} with another label." if over.other.count else "."
        found.append(finding("source rows left out", Severity.NOTE, message, over.again))
    return found


def not_drawn(path: str, undrawn: int) -> str:
    """That a file has more rows than are looked at, in a sentence."""
    return f"{path!r} has more rows than are looked at; {MOST_ROWS:,} were drawn at random, {undrawn:,} were not."


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name if len(name) <= 40 else name[:40] + "\u2026") for name in names[:8])
    return shown + (f" and {len(names) - 8} more" if len(names) > 8 else "")
