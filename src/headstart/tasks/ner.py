"""Entities in a text: a class for each of its words.

Rows are written as words with one space between, so that every other room sees plain texts; a label is the words' tags in the same way.
Three forms are read: lists of tokens and tags (CoNLL columns, JSON lines), running texts with spans of characters, and words and tags that
stand in two cells with spaces between.

Letters in shapes: n rows, u words of all rows together, c classes of a word.
"""

from __future__ import annotations

import warnings
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.data.cells import list_in
from headstart.data.check import LabelChecks
from headstart.data.examples import BoolArray, Examples, IntArray
from headstart.data.rows import RowList, counted, finding
from headstart.data.spelling import composed
from headstart.data.split import few_folds
from headstart.data.table import Format, format_of
from headstart.data.tags import (
    OUTSIDE,
    UNNAMED,
    Scheme,
    are_bare,
    find_scheme,
    spans_of,
    split_tag,
    tag_names,
    to_bio2,
    with_type,
    words_of,
)
from headstart.errors import DataError
from headstart.judge.calibration import softmax
from headstart.judge.label_curve import PredictAt
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Finding, Mark, RowNote, Severity
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.tasks.base import Labels, Prepared, Task
from headstart.tasks.entity_judge import EntityJudge, word_losses

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

# Rows that are looked at to tell the task.
_LOOKED_AT = 100
# A space that stands within a token, so that words stay apart by plain spaces alone.
_WITHIN = "\N{NO-BREAK SPACE}"
_FEW_ENTITIES = 5
_NO_STRING = "something among the tokens that is no string"
# What begins so is no running text, for its words would be taken with their quotes.
_LIST_OF_STRINGS = ("['", '["')
_BROKEN = "a list that is broken off or damaged"
# Probability of another tag from which a given one is suspect.
_SURE = 0.9
_JUDGE = EntityJudge()


# --- reading ---


@dataclass(frozen=True)
class Worded:
    """The words and tags of a row; `problem` says in a word why it cannot be used, "" where it can. `moved`: spans that were set to whole
    words; `lost`: spans within another or outside of the text, which were left out."""

    words: tuple[str, ...]
    tags: tuple[str, ...]
    problem: str = ""
    moved: bool = False
    lost: bool = False


def recognise(examples: Examples) -> str:
    """Why these rows mark entities, "" where they do not."""
    pairs = zip(examples.texts, examples.labels, strict=True)
    some = [(text, label) for text, label in pairs if text.strip() and label.strip() not in ("", "[]")][:_LOOKED_AT]
    some, all_of_them = [pair for pair in some if not any(map(_is_broken, pair))], len(some)
    if not some or 2 * len(some) < all_of_them:  # a few lists may be broken off, which is told of their rows
        return ""
    columns = f"{examples.text_column!r} and {examples.label_column!r}"
    if all(_may_be_tokens(text) and _list_of(label, str | int) is not None for text, label in some):
        return f"{columns} hold tokens and their tags"
    spans = [_list_of(label, dict | list) for _, label in some]
    if all(found is not None and all(map(_is_span, found)) for found in spans) and any(spans):
        return f"{examples.label_column!r} holds spans of characters"
    return ""


def _may_be_tokens(cell: str) -> bool:
    """Whether a cell holds a list, of which some are strings: a table loses words such as `None` or `NA`, and leaves a gap."""
    found = list_in(cell)
    return found is not None and (not found or any(isinstance(item, str) for item in found))


def _is_broken(cell: str) -> bool:
    """Whether a cell begins as a list of strings, and is none."""
    return cell.lstrip().startswith(_LIST_OF_STRINGS) and list_in(cell) is None


def _list_of(cell: str, kinds: Any) -> list[Any] | None:
    """The list that a cell holds; None: it holds none, or one of other things."""
    found = list_in(cell)
    return found if found is not None and all(isinstance(item, kinds) for item in found) else None


def _is_span(item: Any) -> bool:
    return _span(item) is not None


def _span(item: Any) -> tuple[int, int, str] | None:
    """Start, end and type, a word, of a span as {"start", "end", "label"} (`start_offset` and `end_offset` with doccano) or [start, end,
    label]."""
    if isinstance(item, dict):
        kind = next((item[name] for name in ("label", "type", "tag", "entity") if name in item), None)
        item = [item.get("start", item.get("start_offset")), item.get("end", item.get("end_offset")), kind]
    if len(item) != 3 or not isinstance(item[2], str) or not item[2].strip():
        return None
    start, end = item[:2]
    return (start, end, composed("_".join(item[2].split()))) if isinstance(start, int) and isinstance(end, int) else None


def read_row(text: str, label: str) -> Worded:
    """A row from its two cells, in whatever form they are."""
    tokens, tags = list_in(text), list_in(label)
    listed = tokens is not None and all(isinstance(token, str) for token in tokens)
    if _is_broken(text) or _is_broken(label):
        return Worded((), (), _BROKEN)
    if tags is None:
        return Worded((), (), "tokens without a list of tags") if listed else _paired(text.split(), label.split())
    if not listed and all(isinstance(tag, dict | list) for tag in tags):
        return _from_spans(text, tags)
    if not all(isinstance(tag, str | int) for tag in tags):
        return Worded((), (), "tokens without a list of tags" if listed else "something in the list of tags that is none")
    if tokens is not None and not listed:
        return Worded((), (), _NO_STRING)
    words = text.split() if tokens is None else [_WITHIN.join(token.split()) for token in tokens]
    return _paired(words, ["_".join(str(tag).split()) for tag in tags])


def _paired(words: Sequence[str], tags: Sequence[str]) -> Worded:
    if len(words) != len(tags):
        return Worded((), (), "another number of tags than of words")
    if any(tag.isdigit() for tag in tags):
        return Worded((), (), "numbers for tags")
    kept = [(word, tag) for word, tag in zip(words, tags, strict=True) if word]
    return Worded(tuple(word for word, _ in kept), tuple(composed(tag) for _, tag in kept))


def _from_spans(text: str, spans: Sequence[Any]) -> Worded:
    """Words of a running text, tagged by spans of characters; the longer of two that overlap is taken."""
    places = words_of(text)
    starts, ends = [start for start, _ in places], [end for _, end in places]
    tags = [OUTSIDE] * len(places)
    moved = lost = False
    for item in sorted((_span(each) for each in spans), key=lambda span: (span is None, span and (span[0] - span[1], span[0]))):
        if item is None:
            return Worded((), (), "a span without start, end and label")
        start, end, kind = item
        covered = range(bisect_right(ends, start), bisect_left(starts, end))
        if not covered or not 0 <= start < end <= len(text) or any(tags[i] != OUTSIDE for i in covered):
            lost = True
            continue
        first, last = places[covered[0]][0], places[covered[-1]][1]
        moved |= text[start:end].strip() != text[first:last]
        for i in covered:
            tags[i] = f"{'B' if i == covered[0] else 'I'}-{kind}"
    return Worded(tuple(text[a:b] for a, b in places), tuple(tags), moved=moved, lost=lost)


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """Words with spaces between and BIO2 tags, and what is wrong with them.

    Raises:
        DataError: no row can be read as words and tags.
    """
    where = _where(examples)
    read = [
        read_row(text, label) if text.strip() and label.strip() else Worded((), ())
        for text, label in zip(examples.texts, examples.labels, strict=True)
    ]
    sound = [row for row in read if row.words and not row.problem]
    if not sound:
        why = next((row.problem for row in read if row.problem), "no words")
        raise DataError(
            f"No row of {where} can be read as words with tags ({why}). Give lists of tokens and tags, CoNLL columns in a file "
            'that ends in .conll, or a text with spans such as [{"start": 0, "end": 5, "label": "LOC"}].'
        )
    bare = are_bare(row.tags for row in sound)
    if bare:
        read = [replace(row, tags=tuple(map(with_type, row.tags))) for row in read]
        sound = [row for row in read if row.words and not row.problem]
    scheme = find_scheme([row.tags for row in sound])
    texts, labels = [], []
    problems: dict[str, RowList] = {}
    by_lines = format_of(Path(examples.origin)) is Format.CONLL  # where each word has a line of its own
    broken, moved, lost = RowList(), RowList(), RowList()
    for number, row, text, label in zip(examples.rows, read, examples.texts, examples.labels, strict=True):
        if row.problem:
            problems.setdefault(row.problem, RowList()).add(number)
        if not row.words or row.problem:
            bare_text = not row.words and not row.problem and label.strip()
            texts.append("" if bare_text else text if not row.words else " ".join(row.words))
            labels.append(OUTSIDE if bare_text else "")  # its tags are there, and what is told is that words are not
            continue
        tags, place = to_bio2(row.tags, scheme)
        if place is not None:
            broken.add(number + place if by_lines else number)
        for rows, is_so in ((moved, row.moved), (lost, row.lost)):
            if is_so:
                rows.add(number)
        texts.append(" ".join(row.words))
        labels.append(" ".join(tags))
    found = [
        finding("tags", Severity.WARNING, f"{counted(rows.count, 'row')} of {where} {_have(rows)} {why}.", rows, _repair(why))
        for why, rows in problems.items()
    ]
    if broken.count:
        message = f"{counted(broken.count, 'row')} of {where} {_have(broken)} tags that break the scheme {scheme.value}."
        word = "word on each of these lines" if by_lines else "word that breaks it"
        remedy = f"An entity was taken to begin at the {word}; correct these tags."
        found.append(finding("broken tags", Severity.WARNING, message, broken, remedy))
    if moved.count:
        message = f"{counted(moved.count, 'row')} of {where} {_have(moved)} spans that begin or end within a word."
        found.append(finding("spans", Severity.WARNING, message, moved, "They were widened to whole words; correct their offsets."))
    if lost.count:
        message = f"{counted(lost.count, 'row')} of {where} {_have(lost)} spans that overlap a longer one or lie outside the text."
        found.append(finding("spans", Severity.WARNING, message, lost, "These spans were left out: a word has one tag here."))
    if bare:
        message = f"The tags of {where} name no type of entity; it is called {UNNAMED}."
        found.append(finding("types", Severity.NOTE, message))
    if scheme is not Scheme.BIO2:
        found.append(finding("scheme", Severity.NOTE, f"The tags of {where} are in the scheme {scheme.value}, read as BIO2."))
    return Prepared(replace(examples, texts=tuple(texts), labels=tuple(labels)), tuple(found))


def _where(examples: Examples) -> str:
    return repr(examples.origin) if examples.origin != "-" else "standard input"


def _have(rows: RowList) -> str:
    return "has" if rows.count == 1 else "have"


def _repair(why: str) -> str:
    if why == "numbers for tags":
        return "Write the tags' names: a number says neither the type nor where an entity begins."
    if why == _NO_STRING:
        return "They are not used; write every word as a string."
    if why == _BROKEN:
        return "They are not used; write the list whole."
    return "They are not used; give each word one tag."


# --- labels ---


def kinds_in(label: str) -> tuple[str, ...]:
    """The types of entities that a row's tags name."""
    return tuple(dict.fromkeys(kind for tag in label.split() if (kind := split_tag(tag)[1])))


def check_tags(train: Examples, labels: Sequence[str], usable: BoolArray, folds: int) -> list[Finding]:
    """What is wrong with the tags: no rows, no entities, types with too few of them."""
    some = np.flatnonzero(usable).tolist()
    where = _where(train)
    if not some:
        remedy = "Give rows of words with tags that do not stand in the test file."
        return [finding("no rows", Severity.ERROR, f"No row of {where} can be used for training.", (), remedy)]
    entities = Counter(tag[2:] for i in some for tag in labels[i].split() if tag.startswith("B-"))
    if not entities:
        message = f"No word of the {len(some):,} usable rows of {where} bears a tag other than {OUTSIDE}."
        return [
            finding(
                "no entities", Severity.ERROR, message, (), "Give rows that mark entities, or name the column of the tags with --label."
            )
        ]
    few = [f"{kind!r} ({count})" for kind, count in sorted(entities.items()) if count < max(folds, _FEW_ENTITIES)]
    if not few:
        return []
    shown = ", ".join(few[:_FEW_ENTITIES]) + (f" and {len(few) - _FEW_ENTITIES} more" if len(few) > _FEW_ENTITIES else "")
    message = f"{counted(len(few), 'type')} of entities {'has' if len(few) == 1 else 'have'} few examples: {shown}."
    return [finding("few entities", Severity.WARNING, message, (), "Such types are hardly learnt and hardly measured; mark more of them.")]


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """Types in sorted order."""
    kinds = sorted({kind for label in [*training, *further] for kind in kinds_in(label)})
    have = set(kinds)
    return Labels(tag_names(kinds), lambda label: label, lambda label: have.issuperset(kinds_in(label)))


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with a class for each word; splits are stratified by the rarest type that a row holds."""
    number = {name: k for k, name in enumerate(known.names)}
    tags = [[number[tag] for tag in label.split()] for label in labels]
    sizes = np.array([len(each) for each in tags], dtype=np.int64)
    y = np.array([k for each in tags for k in each], dtype=np.int64)
    often = np.bincount((y + 1) // 2, minlength=len(known.names) // 2 + 1)
    held = [{(k + 1) // 2 for k in each if k} for each in tags]
    kinds = np.array([min(each, key=lambda kind: (often[kind], kind), default=0) for each in held], dtype=np.int64)
    return Rows(tuple(texts), y, len(known.names), sizes, kinds)


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many entities there are of each type."""
    begins = np.bincount(rows.y, minlength=rows.n_classes)[1::2]
    return tuple((name[2:], int(count)) for name, count in zip(names[1::2], begins, strict=True))


# --- what a run shows ---


def marks_of(words: Sequence[str], given: IntArray, found: IntArray, names: Sequence[str]) -> tuple[Mark, ...]:
    """The entities of one row by its label and by a model, in the order in which they stand."""
    ends = np.cumsum([len(word) + 1 for word in words]) - 1
    sizes = np.array([len(words)])
    sides = {}
    for by, y in (("label", given), ("model", found)):
        spans = spans_of(y, sizes)
        sides[by] = set(zip(spans.start.tolist(), spans.end.tolist(), spans.kind.tolist(), strict=True))
    marks = [
        Mark(int(ends[first]) - len(words[first]), int(ends[last - 1]), names[2 * kind - 1][2:], by)
        for by, spans in (
            ("both", sides["label"] & sides["model"]),
            ("label", sides["label"] - sides["model"]),
            ("model", sides["model"] - sides["label"]),
        )
        for first, last, kind in spans
    ]
    return tuple(sorted(marks, key=lambda mark: (mark.start, mark.end, mark.by)))


def hard(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows whose entities were missed, the most surprising words first."""
    assert rows.sizes is not None
    ends = np.cumsum(rows.sizes)
    losses, found = word_losses(logits, rows), logits.argmax(axis=1)
    parts = [slice(end - size, end) for end, size in zip(ends, rows.sizes, strict=True)]
    worst = np.array([losses[part].max() for part in parts])
    notes: list[RowNote] = []
    for i in np.argsort(-worst, kind="stable"):
        if len(notes) >= most or worst[i] < np.log(2):
            break
        marks = marks_of(rows.texts[i].split(" "), rows.y[parts[i]], found[parts[i]], names)
        if examples.rows[i] not in known and any(mark.by != "both" for mark in marks):
            notes.append(_note("hard", int(i), rows, examples, marks))
    return notes


def suspects(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str]) -> tuple[RowNote, ...]:
    """Rows with a word whose tag is probably wrong: by confident learning on words (cleanlab), and only where the model is sure.

    A head on few sentences is wrong about many words; unlike with whole texts, what it is not sure of says nothing about the tag.
    """
    from cleanlab.filter import find_label_issues

    assert rows.sizes is not None
    present = np.unique(rows.y)
    if len(present) < 2:
        return ()
    kept = softmax(logits)[:, present]
    total = kept.sum(axis=1, keepdims=True)
    kept = np.where(total > 0, kept / np.maximum(total, 1e-300), 1.0 / len(present))
    with warnings.catch_warnings():  # of a class that a single word bears, which is never suspect
        warnings.filterwarnings("ignore", message="May not flag all label issues", category=UserWarning)
        words = find_label_issues(np.searchsorted(present, rows.y), kept, return_indices_ranked_by="self_confidence", n_jobs=1)
    words = words[kept[words].max(axis=1) > _SURE]
    row_of = np.repeat(np.arange(len(rows)), rows.sizes)
    ends = np.cumsum(rows.sizes)
    notes = []
    for i in dict.fromkeys(row_of[words].tolist()):
        part = slice(int(ends[i] - rows.sizes[i]), int(ends[i]))
        marks = marks_of(rows.texts[i].split(" "), rows.y[part], logits[part].argmax(axis=1), names)
        if any(mark.by != "both" for mark in marks):
            notes.append(_note("suspect label", i, rows, examples, marks))
    return tuple(notes)


def _note(kind: str, i: int, rows: Rows, examples: Examples, marks: tuple[Mark, ...]) -> RowNote:
    given, told = (_listed([mark for mark in marks if mark.by in (side, "both")], rows.texts[i]) for side in ("label", "model"))
    return RowNote(kind, examples.rows[i], rows.texts[i], given, told, marks=marks)


def _listed(marks: Sequence[Mark], text: str) -> str:
    """`Paris LOC, Marie Curie PER`."""
    return ", ".join(f"{text[mark.start : mark.end]} {mark.type}" for mark in marks) or "no entity"


def layer_scores(rows: Rows, groups: IntArray, reader: Reader, settings: Settings) -> list[tuple[int, Estimate]]:
    """Entity F1 of a ridge head on each layer that a probe may read, each word predicted without itself."""
    from headstart.strategies.heads import make_space
    from headstart.strategies.probe import leave_one_out
    from headstart.strategies.word_model import words_at
    from headstart.strategies.word_probe import candidate_layers

    found = []
    for layer in candidate_layers(reader.backbone):
        space = make_space(words_at(reader, rows.texts, layer))
        predicted = leave_one_out(space, rows.y, rows.n_classes)
        found.append((layer, _JUDGE.estimate(Metric.ENTITY_F1, predicted, rows, groups, settings)))
    return found


def curve_at(rows: Rows, groups: IntArray, reader: Reader, settings: Settings) -> PredictAt:
    """A probe on the layer that suits all rows, and a CRF."""
    from headstart.strategies.crf import fit_crf
    from headstart.strategies.heads import fit_head
    from headstart.strategies.word_model import words_at
    from headstart.strategies.word_probe import choose_layer

    layer = choose_layer(reader, rows, few_folds(rows.strata, groups, settings.seed))
    features = words_at(reader, rows.texts, layer)

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        part = rows.take(train)
        if rung == "crf":
            return fit_crf(part).predict_logits([rows.texts[i] for i in held])
        return fit_head(features[rows.units(train)], part.y, part.n_classes).logits(features[rows.units(held)])

    return predict_at


TASK = Task(
    name="ner",
    summary="entities in each text",
    metrics=(Metric.ENTITY_F1, Metric.MACRO_F1, Metric.ACCURACY, Metric.LOG_LOSS),
    probabilities=softmax,
    recognise=recognise,
    prepare=prepare,
    checks=LabelChecks(check_tags, kinds_in, ("type of entities", "types of entities"), of_the_text=True, read_whole=None),
    labels=make_labels,
    rows=make_rows,
    label_counts=label_counts,
    judge=_JUDGE,
    suspects=suspects,
    hard=hard,
    layer_scores=layer_scores,
    curve=("probe", "crf"),
    curve_at=curve_at,
)
