"""What is wrong with labelled texts, before any model is loaded, and which rows a run may use."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.data.check_classes import check_classes
from headstart.data.duplicates import further_groups, near_duplicates, normalise
from headstart.data.examples import BoolArray, Examples, IntArray
from headstart.data.rows import RowList, counted, finding, quoted, rows_at
from headstart.data.spelling import common_spelling, level_label
from headstart.errors import DataError
from headstart.records import Finding, RowNote, Severity
from headstart.settings import Settings

_LONG_CHARACTERS = 100_000
CONTROL_CHARACTERS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\x80-\x9f]")
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, eq=False)
class CheckResult:
    """What was found, and what follows for the rows. Shapes: n training rows, m test rows, v validation rows, p pairs; positions count
    from 0.

    `findings` come most severe first. `usable` (n,) is False for rows without text or label, for repeats of an earlier row with the same
    label, and for rows that also stand in the test or validation file. `groups` (n,), `test_groups` (m,) and `validation_groups` (v,): rows
    of one number are nearly the same text and must stay on one side of every split; without such a file there are none. `test_groups` have
    numbers of their own, for the others are found without the test rows.
    `near_duplicate_pairs` (p, 2): positions of verified near duplicates, the smaller first. `conflicting` (n,): the same text stands
    elsewhere under another label. `repeated` and `leaked` (n,): why rows with text and label are not usable, as an earlier row, and as a
    row of the test or validation file.
    """

    findings: tuple[Finding, ...]
    usable: BoolArray
    groups: IntArray
    near_duplicate_pairs: IntArray
    conflicting: BoolArray
    repeated: BoolArray
    leaked: BoolArray
    test_groups: IntArray
    validation_groups: IntArray

    def require_usable(self) -> None:
        """Raise what stands in the way of training.

        Raises:
            DataError: the findings hold an error; the message is theirs with its remedy.
        """
        errors = [f"{found.message} {found.remedy}".strip() for found in self.findings if found.severity is Severity.ERROR]
        if errors:
            raise DataError("\n".join(errors))


@dataclass(frozen=True)
class LabelChecks:
    """How labels are checked.

    `check` takes the training rows, their labels, which rows are usable (n,) and the number of folds; `names` gives the classes that a
    label names, `counted` is what people call one and several of them, `label` what they call that of a row. `of_the_text`: a label says
    something of each word, so that texts that are nearly the same need not bear the same one. `several`: a text may have several right
    labels, as translations are. `graded`: labels differ by more or less, as numbers do, so that none of a text's has to be wrong. `about`:
    what of a text must not stand on two sides of a split, as the context of a question; None: all of it. `read_whole`: what of a text and
    its label is read in one piece and cut off where it is too long, "" for nothing; None: what is long is read in windows.
    """

    check: Callable[[Examples, Sequence[str], BoolArray, int], list[Finding]]
    names: Callable[[str], Sequence[str]]
    counted: tuple[str, str] = ("label", "labels")
    label: str = "label"
    of_the_text: bool = False
    several: bool = False
    graded: bool = False
    about: Callable[[str], str] | None = None
    read_whole: Callable[[str, str], str] | None = lambda text, label: text


def check_examples(
    train: Examples,
    *,
    test: Examples | None = None,
    validation: Examples | None = None,
    tokenize_lengths: Callable[[Sequence[str]], Sequence[int]] | None = None,
    max_length: int = Settings.max_length,
    more_can_be_read: bool = True,
    folds: int = Settings.inner_folds,
    read_findings: Iterable[Finding] = (),
    told: Container[int] = (),
    labels: LabelChecks | None = None,
) -> CheckResult:
    """Check training rows, and what they share with the test and validation rows.

    Args:
        train: the labelled rows.
        test: rows for the judge; None: there is no such file.
        validation: rows for choosing; None: there is no such file.
        tokenize_lengths: the number of tokens of each text under the source's tokeniser, uncut; None: the share cut off is not found out.
        max_length: tokens that are read, 1 or more.
        more_can_be_read: whether a setting could raise that; else the source reads no further.
        folds: rows below which a class is too small to stand in every fold.
        read_findings: what reading the file noticed; listed with the others.
        told: numbers of training rows of which these say why nothing is left of them; they are not told again as empty.
        labels: how the labels are checked; None: each is the name of a class.
    """
    checks = labels or LabelChecks(check_classes, lambda label: (label,))
    texts = [text.strip() for text in train.texts]
    given = [label.strip() for label in train.labels]
    n = len(train)
    filled = np.fromiter((bool(text) and bool(label) for text, label in zip(texts, given, strict=True)), dtype=np.bool_, count=n)
    # Spellings of one label do not conflict; of what is said of a text no sign is without meaning.
    levelled = {label: label if checks.of_the_text else level_label(label) for label in set(given)}
    same_labels = [levelled[label] for label in given]
    repeated, conflicting = _repeats(texts, same_labels, filled)
    if checks.several:
        conflicting[:] = False
    leaked = np.zeros(n, dtype=np.bool_)
    findings = [*read_findings, *_empty(train, texts, given, checks.label, told), *_repeat_findings(train, repeated, conflicting, checks)]
    if checks.graded:
        conflicting[:] = False  # told, but not wrong
    others = [(name, other) for name, other in (("test", test), ("validation", validation)) if other is not None]
    levels = [normalise(text) for text in texts] if others else []
    for name, other in others:
        theirs = [normalise(text) for text in other.texts]
        shared = _standing_in(levels, theirs)
        leaked |= shared
        findings += _leaks(train, levels, name, other, theirs, shared)
        findings += _unseen(train, name, other, checks) + _absent(train, name, other, checks)
        findings += _repeats_within(name, other)
    usable = filled & ~repeated & ~leaked
    # Test rows decide nothing: two training rows may be joined by one, so the groups of splits are found without them.
    own = [*texts, *(text.strip() for text in (() if validation is None else validation.texts))]
    near = near_duplicates(own if checks.about is None else [checks.about(text) for text in own])
    groups, validation_groups = near.groups[:n], near.groups[n:]
    pairs = near.pairs[near.pairs[:, 1] < n] if checks.about is None else near.pairs[:0]  # rows about one thing are no duplicates
    findings += _near_findings(train, texts, [] if checks.of_the_text or checks.graded else same_labels, pairs)
    test_groups, subjects = groups[:0], checks.about is not None
    if test is not None:
        test_texts = [text.strip() for text in test.texts]
        test_groups, beside = further_groups(near, test_texts if checks.about is None else [checks.about(text) for text in test_texts])
        shared = np.isin(test_groups, groups) | np.isin(beside, groups)
        findings += _near_leaks(levels, "test", test, shared, subjects)
    if validation is not None:
        findings += _near_leaks(levels, "validation", validation, np.isin(validation_groups, groups), subjects)
    findings += checks.check(train, given, usable, folds)
    findings += _texts(train, mended=checks.check is check_classes and not train.paired)
    if tokenize_lengths is not None and checks.read_whole is not None:
        findings += _cut_off(train, usable, checks.read_whole, tokenize_lengths, max_length, more_can_be_read)
    findings.sort(key=lambda found: _ORDER[found.severity])
    return CheckResult(tuple(findings), usable, groups, pairs, conflicting, repeated, leaked, test_groups, validation_groups)


# Of 287 labels that were made wrong among 300 to 1,500 rows of nine sets, heads that had not seen the row doubted 216, and 891 others
# besides; where only those count that give another label more than this, 134, and 147 others (docs/log.md).
_SURE = 0.6


def suspect_labels(probabilities: NDArray[np.float64], y: IntArray, examples: Examples, classes: Sequence[str]) -> tuple[RowNote, ...]:
    """Rows whose label is probably wrong, most suspect first, by confident learning (cleanlab), and only where the model is sure.

    A head that is wrong about half of the rows doubts as many labels; what it is not sure of says nothing about them.

    Args:
        probabilities: out-of-fold, shape (n, c); each row sums to 1.
        y: the given classes, shape (n,), values in [0, c).
        examples: the n rows.
        classes: names of the c classes.
    """
    from cleanlab.filter import find_label_issues

    present = np.unique(y)
    if len(present) < 2:
        return ()
    # Classes without a row would be asked for a threshold that cannot be had.
    kept = probabilities[:, present]
    total = kept.sum(axis=1, keepdims=True)
    kept = np.where(total > 0, kept / np.maximum(total, 1e-300), 1.0 / len(present))
    given = np.searchsorted(present, y)
    suspects = find_label_issues(given, kept, return_indices_ranked_by="self_confidence", n_jobs=1)
    return tuple(
        RowNote(
            kind="suspect label",
            row=examples.rows[i],
            text=examples.texts[i],
            label=classes[y[i]],
            predicted=classes[int(np.argmax(probabilities[i]))],
            probability=float(probabilities[i].max()),
        )
        for i in (int(suspect) for suspect in suspects)
        if probabilities[i].max() > _SURE
    )


def suspect_finding(notes: Sequence[RowNote]) -> tuple[Finding, ...]:
    """Suspect labels as a finding; none where there are none."""
    if not notes:
        return ()
    message = (
        f"{counted(len(notes), 'label')} {'is' if len(notes) == 1 else 'are'} perhaps wrong: models that did not see the row disagree."
    )
    return (finding("suspect labels", Severity.WARNING, message, [note.row for note in notes], "Look at these rows, most suspect first."),)


def _repeats(texts: list[str], labels: list[str], filled: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Which rows repeat an earlier text and label, and which bear a text that stands under two labels."""
    first: dict[str, str] = {}  # the first label of each text
    further: dict[str, set[str]] = {}  # the others, of texts that have some
    repeated = np.zeros(len(texts), dtype=np.bool_)
    for i in np.flatnonzero(filled).tolist():
        text, label = texts[i], labels[i]
        if text not in first:
            first[text] = label
        elif label == first[text] or label in further.get(text, ()):
            repeated[i] = True
        else:
            further.setdefault(text, set()).add(label)
    conflicting = np.fromiter((text in further for text in texts), dtype=np.bool_, count=len(texts)) & filled
    return repeated, conflicting


def _empty(train: Examples, texts: list[str], labels: list[str], label: str, told: Container[int]) -> list[Finding]:
    found = []
    for kind, what, values in (("text", "text", texts), ("label", label, labels)):
        rows = rows_at(train, (i for i, value in enumerate(values) if not value and train.rows[i] not in told))
        if rows.count:
            message = f"{counted(rows.count, 'row')} {'has' if rows.count == 1 else 'have'} no {what}."
            found.append(finding(f"empty {kind}", Severity.WARNING, message, rows, "They are not used; fill them in or delete them."))
    return found


def _repeat_findings(train: Examples, repeated: BoolArray, conflicting: BoolArray, checks: LabelChecks) -> list[Finding]:
    found = []
    if conflicting.any():
        rows = rows_at(train, np.flatnonzero(conflicting))
        message = f"{counted(rows.count, 'row')} share their text with a row of another {checks.label}."
        remedy = f"Decide on one {checks.label} for each of these texts{'; until then all are learnt' if checks.graded else ''}."
        found.append(finding("conflicting labels", Severity.WARNING, message, rows, remedy))
    if repeated.any():
        rows = rows_at(train, np.flatnonzero(repeated))
        message = f"{counted(rows.count, 'row')} {'repeats' if rows.count == 1 else 'repeat'} an earlier row, text and {checks.label}."
        found.append(finding("duplicates", Severity.WARNING, message, rows, "Only the first of each is used."))
    return found


def _standing_in(texts: list[str], others: list[str]) -> BoolArray:
    """Which levelled training texts also stand among the others."""
    theirs = set(others) - {""}
    return np.fromiter((text in theirs for text in texts), dtype=np.bool_, count=len(texts))


def _leaks(train: Examples, texts: list[str], name: str, other: Examples, others: list[str], shared: BoolArray) -> list[Finding]:
    """Training rows whose text, but for case and white space, is that of a row of the other file; texts are levelled."""
    if not shared.any():
        return []
    rows = rows_at(train, np.flatnonzero(shared))
    ours = {texts[i] for i in np.flatnonzero(shared)}
    theirs = sum(text in ours for text in others)
    stand = "stands" if theirs == 1 else "stand"
    message = f"{counted(theirs, f'{name} row')} also {stand} among the training rows (as {counted(rows.count, 'row')})."
    remedy = "These training rows are not used, so that the score stays honest."
    return [finding(f"{name} rows in train", Severity.WARNING, message, rows, remedy)]


def _unseen(train: Examples, name: str, other: Examples, checks: LabelChecks) -> list[Finding]:
    """Rows of the other file with a label that no training row has, in no spelling that a fit takes for the same."""
    have = [part for label in train.labels for part in checks.names(label.strip())]
    spelled = (lambda part: part) if checks.of_the_text else common_spelling(have)
    known = {spelled(part) for part in set(have)}
    unseen = Counter(part for label in other.labels if label.strip() for part in checks.names(label.strip()) if spelled(part) not in known)
    if not unseen:
        return []
    rows = rows_at(other, (i for i, label in enumerate(other.labels) if not unseen.keys().isdisjoint(checks.names(label.strip()))))
    bear = "bears a label" if rows.count == 1 else "bear labels"
    message = f"{counted(rows.count, f'{name} row')} {bear} that no training row has: {quoted(unseen)}."
    remedy = "Add training rows of these labels, or correct them; until then such rows are not judged."
    return [finding("unseen labels", Severity.WARNING, message, rows, remedy)]


def _absent(train: Examples, name: str, other: Examples, checks: LabelChecks) -> list[Finding]:
    """Labels of training rows that no row of the other file has."""
    have = [part for label in train.labels if label.strip() for part in checks.names(label.strip())]
    spelled = common_spelling(have)
    there = {spelled(part) for label in other.labels if label.strip() for part in checks.names(label.strip())}
    known = Counter(map(spelled, have))
    absent = Counter({label: count for label, count in known.items() if label not in there})
    if checks.of_the_text or not there or not absent:
        return []
    message = f"The {name} file has no row of {len(absent):,} of the {counted(len(known), 'label')}: {quoted(absent)}."
    severity = Severity.WARNING if len(there & known.keys()) < 2 else Severity.NOTE
    return [
        finding(f"labels without {name} rows", severity, message, (), "What is scored tells nothing of these labels; add rows of them.")
    ]


def _repeats_within(name: str, other: Examples) -> list[Finding]:
    """Rows of the other file that repeat an earlier one of it."""
    texts, labels = [text.strip() for text in other.texts], [label.strip() for label in other.labels]
    filled = np.fromiter((bool(text) and bool(label) for text, label in zip(texts, labels, strict=True)), dtype=np.bool_, count=len(other))
    rows = rows_at(other, np.flatnonzero(_repeats(texts, labels, filled)[0]))
    if not rows.count:
        return []
    message = f"{counted(rows.count, f'{name} row')} {'repeats' if rows.count == 1 else 'repeat'} an earlier one, text and label."
    remedy = "Intervals take them for one row with it." if name == "test" else "Only the first of each is used."
    return [finding(f"{name} duplicates", Severity.NOTE, message, rows, remedy)]


def _near_findings(train: Examples, texts: list[str], labels: list[str], pairs: IntArray) -> list[Finding]:
    found = []
    pairs = np.array([(a, b) for a, b in pairs.tolist() if texts[a] != texts[b]], dtype=np.int64).reshape(-1, 2)
    if len(pairs):
        rows = rows_at(train, np.unique(pairs[:, 1]))
        message = f"{counted(rows.count, 'row')} {'is' if rows.count == 1 else 'are'} nearly the same as an earlier row."
        found.append(finding("near duplicates", Severity.NOTE, message, rows, "They are kept on one side of every split."))
        differing = [(a, b) for a, b in pairs.tolist() if labels and labels[a] and labels[b] and labels[a] != labels[b]]
        if differing:
            rows = rows_at(train, sorted({i for pair in differing for i in pair}))
            message = f"{counted(rows.count, 'row')} {'is' if rows.count == 1 else 'are'} nearly the same as a row of another label."
            found.append(finding("near conflicts", Severity.WARNING, message, rows, "Look whether one of the labels is wrong."))
    return found


def _near_leaks(texts: list[str], name: str, other: Examples, near: BoolArray, subjects: bool) -> list[Finding]:
    """Rows of the other file that are nearly, but not exactly, training rows, or about the same, of those that `near` (m,) says are
    together with one; `texts` are levelled."""
    exact = set(texts)
    rows = rows_at(other, (i for i in np.flatnonzero(near).tolist() if other.texts[i].strip() and normalise(other.texts[i]) not in exact))
    if not rows.count:
        return []
    what = "about the same context as" if subjects else "nearly the same as"
    message = f"{counted(rows.count, f'{name} row')} {'is' if rows.count == 1 else 'are'} {what} a training row."
    return [
        finding(f"near {name} rows", Severity.NOTE, message, rows, "The score may be a little too good; judge on rows of another origin.")
    ]


def _texts(train: Examples, mended: bool) -> list[Finding]:
    """Texts with control characters, and very long ones; `mended`: `headstart check --fix` strips them."""
    found = []
    rows = rows_at(train, (i for i, text in enumerate(train.texts) if not text.isprintable() and CONTROL_CHARACTERS.search(text)))
    if rows.count:
        message = f"{counted(rows.count, 'text')} {'holds' if rows.count == 1 else 'hold'} control characters."
        remedy = "Strip them, or let `headstart check --fix` do it." if mended else "Strip them."
        found.append(finding("control characters", Severity.WARNING, message, rows, remedy))
    rows = rows_at(train, (i for i, text in enumerate(train.texts) if len(text) > _LONG_CHARACTERS))
    if rows.count:
        longest = max(map(len, train.texts))
        are = "is" if rows.count == 1 else "are"
        message = f"{counted(rows.count, 'text')} {are} longer than {_LONG_CHARACTERS:,} characters; the longest has {longest:,}."
        found.append(
            finding("long texts", Severity.WARNING, message, rows, "Look whether rows have run together; only the beginning is read.")
        )
    return found


def _cut_off(
    train: Examples,
    usable: BoolArray,
    read_whole: Callable[[str, str], str],
    tokenize_lengths: Callable[[Sequence[str]], Sequence[int]],
    max_length: int,
    more_can_be_read: bool,
) -> list[Finding]:
    positions = np.flatnonzero(usable)
    lengths = np.asarray(tokenize_lengths([read_whole(train.texts[i], train.labels[i]) for i in positions]))
    rows = rows_at(train, positions[lengths > max_length]) if len(positions) else RowList()
    if not rows.count:
        return []
    share = rows.count / len(positions)
    are = "is" if rows.count == 1 else "are"
    message = f"{counted(rows.count, 'text')} ({share:.1%}) {are} longer than {max_length:,} tokens and will be cut off."
    severity = Severity.WARNING if share >= 0.05 else Severity.NOTE
    remedy = "Raise --max-length" if more_can_be_read else "Choose a source that reads more, or split them"
    return [finding("cut off", severity, message, rows, f"{remedy}; the longest text has {int(lengths.max()):,} tokens.")]
