"""A cleaned copy beside the file: same columns, without the faults that need no judgement. The file itself stays as it is.

The copy has the format of the file, but for translations out of TMX or of two files of lines, which become JSON lines, and for JSON of
SQuAD's paragraphs or of a table by columns, which becomes a list of rows.
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TextIO, cast

import numpy as np

from headstart.data.answers import find_in, given_in
from headstart.data.check import CONTROL_CHARACTERS, CheckResult
from headstart.data.conll import conll_sentences
from headstart.data.examples import Examples
from headstart.data.lines import Notes, open_bytes, take_sample, text_lines
from headstart.data.pairs import split_pair
from headstart.data.parallel import two_files, unfolded_columns
from headstart.data.parse import delimited_text
from headstart.data.rows import RowList, counted
from headstart.data.spelling import composed, level_label
from headstart.data.table import Format, Table, as_text, is_one_side, open_table
from headstart.errors import DataError, HeadstartError, ResourceError


def cleaned_path(path: str | Path) -> Path:
    """Where the cleaned copy goes: `tickets.csv.gz` becomes `tickets.cleaned.csv.gz`, beside the original; Parquet, packed by itself, loses
    its .gz."""
    path = Path(path)
    if path.name in ("", ".."):  # `.` has no name to which something could be added
        path = path.resolve()
    if path.name.lower().endswith(".parquet.gz"):
        path = path.with_suffix("")
    if path.name.lower().removesuffix(".gz").endswith(".tmx"):
        return path.with_name(path.name[: path.name.lower().rindex(".tmx")] + ".cleaned.jsonl")
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    return path.with_name(path.name[: len(path.name) - len(ending)] + ".cleaned" + ending)


def write_cleaned(
    examples: Examples, check: CheckResult, out: str | Path | None = None, *, single_labels: bool = True, answers: bool = False
) -> list[str]:
    """Write a cleaned copy of the file that `examples` came from, and say line by line what was changed.

    Left out are rows without text or label, repeats, rows of the test or validation file, all rows of a text under several labels, and
    rows that could not be read. Of single labels control characters and outer white space are stripped, and labels that differ only in case
    or white space take the commonest spelling, where the text is a column's. Answers are put where they stand in their context, and those
    that stand nowhere are left out.

    Args:
        examples: what `read_examples` gave for the file, in the form of its task.
        check: what `check_examples` gave for these examples.
        out: the copy; None: `cleaned_path`. An earlier copy there is replaced, except where it is a folder.
        single_labels: each row has the name of a class. Of all other tasks texts and labels stay as they are.
        answers: the labels are answers that stand in a context.

    Raises:
        DataError: the data came from a pipe or the hub, or `out` is the file itself.
        ResourceError: the copy cannot be written; nothing is left behind.
    """
    if examples.origin == "-" or examples.origin.startswith("hub:"):
        shown = "standard input" if examples.origin == "-" else repr(examples.origin)
        raise DataError(f"A cleaned copy is written beside a file, and {shown} is none; save the rows to a file first.")
    files = two_files(examples.origin)
    source = Path(examples.origin if files is None else files[0])
    usual = cleaned_path(source) if files is None else source.with_name(f"{source.name.split('.')[0]}.cleaned.jsonl")
    target = usual if out is None else Path(out)
    if target.exists() and target.samefile(source):
        raise DataError(f"The cleaned copy would replace the file {str(source)!r} itself; give it another name.")
    with open_table(examples.origin) as table:
        # A text that was put together out of several columns, or out of a part of one, cannot be written back.
        own = examples.text_column in table.columns and examples.text_column != examples.label_column and not examples.paired
        changes, lines = _changes(examples, check, spelled=single_labels and own)
        if answers:
            lines += _repair_answers(examples, changes)
        try:
            _write(table, source, target, changes)
        except HeadstartError:
            raise
        except OSError as error:
            raise ResourceError(f"The cleaned copy {str(target)!r} cannot be written: {error.strerror or error}. {_ROOM}") from error
        bad = next((found for found in table.findings if found.kind == "bad rows"), None)
    if bad is not None:
        lines.append(f"Left out {counted(bad.count, 'row')} that could not be read: {_numbers(bad.rows, bad.count)}.")
    kept = sum(change is not None for change in changes.values())
    return [*lines, f"Wrote {counted(kept, 'row')} of {len(changes):,} to {str(target)!r}."]


_ROOM = "Make room there or get the right to write, or copy the data to a place where you have both."
Changes = dict[int, dict[str, Any] | None]
"""By row number: new values of some columns; None: the row is left out."""


def _changes(examples: Examples, check: CheckResult, *, spelled: bool) -> tuple[Changes, list[str]]:
    """What becomes of each row, and the lines that say so; `spelled`: texts are stripped and labels spelled alike."""
    spelling = _spellings(examples.labels)
    changes: Changes = {}
    empty, repeated, leaked, conflicting, stripped, respelled = (RowList() for _ in range(6))
    for i, row in enumerate(examples.rows):
        text, label = _stripped(examples.texts[i]), examples.labels[i]
        new_label = spelling[level_label(label.strip())]
        if not text or not new_label:
            empty.add(row)
            changes[row] = None
        elif check.leaked[i]:
            leaked.add(row)
            changes[row] = None
        elif check.conflicting[i]:
            conflicting.add(row)
            changes[row] = None
        elif check.repeated[i]:
            repeated.add(row)
            changes[row] = None
        elif not spelled:
            changes[row] = {}
        else:
            if text != examples.texts[i]:
                stripped.add(row)
            if new_label != label:
                respelled.add(row)
            changes[row] = {examples.text_column: text, examples.label_column: new_label}
    said = (
        (empty, "Left out {} without text or label: {}."),
        (leaked, "Left out {} that the test or validation file holds too: {}."),
        (conflicting, "Left out {} whose text stands under several labels: {}."),
        (repeated, "Left out {} as repeats of an earlier row: {}."),
        (stripped, "Stripped control characters or outer white space from the text of {}: {}."),
        (respelled, "Gave {} the commonest spelling of the label: {}."),
    )
    return changes, [line.format(counted(rows.count, "row"), _numbers(rows.kept, rows.count)) for rows, line in said if rows.count]


def _repair_answers(examples: Examples, changes: Changes) -> list[str]:
    """Put answers where they stand in their context, in `changes`, and say so."""
    moved, absent = RowList(), RowList()
    contexts = {row: split_pair(text)[1] for row, text in zip(examples.rows, examples.texts, strict=True)}
    with open_table(examples.origin) as table:
        for row, record in table.records():
            given = given_in(as_text(record.get(examples.label_column)))
            if given is None or changes.get(row) is None:
                continue
            found = [(find_in(contexts[row], answer, start), start) for answer, start in given]
            gone = any(answer is None for answer, _ in found)
            elsewhere = any(answer is not None and start is not None and answer.start != start for answer, start in found)
            if gone:
                absent.add(row)
            if elsewhere:
                moved.add(row)
            if gone or elsewhere:
                kept = [{"text": answer.text, "answer_start": answer.start} for answer, _ in found if answer is not None]
                changes[row] = {examples.label_column: kept}
    said = (
        (moved, "Put the answers of {} where they stand in the context: {}."),
        (absent, "Left out answers of {} that do not stand in the context: {}."),
    )
    return [line.format(counted(rows.count, "row"), _numbers(rows.kept, rows.count)) for rows, line in said if rows.count]


def _spellings(labels: tuple[str, ...]) -> dict[str, str]:
    """The commonest spelling, composed and without outer white space, of each label; of equally common ones the first."""
    counts = Counter(composed(label).strip() for label in labels)
    chosen: dict[str, str] = {}
    for label, _ in counts.most_common():
        chosen.setdefault(level_label(label), label)
    return chosen


def _stripped(text: str) -> str:
    return (text if text.isprintable() else CONTROL_CHARACTERS.sub("", text)).strip()


def _numbers(rows: tuple[int, ...] | list[int], count: int) -> str:
    """`3, 17 and 5 more`."""
    shown = ", ".join(map(str, rows))
    return shown + (f" and {count - len(rows):,} more" if count > len(rows) else "")


@contextmanager
def _whole_file(source: Path, target: Path) -> Iterator[TextIO]:
    """A file that appears under its name whole or not at all."""
    zipped = target.suffix.lower() == ".gz"
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    try:
        with os.fdopen(handle, "wb") as raw:
            packed = cast(BinaryIO, gzip.GzipFile(fileobj=raw, mode="wb", mtime=0)) if zipped else raw
            text = io.TextIOWrapper(packed, encoding="utf-8", newline="")
            yield text
            text.close()
        shutil.copymode(source, name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write(table: Table, source: Path, target: Path, changes: Changes) -> None:
    if table.format is Format.FOLDER:
        _write_folder(table, source, target, changes)
    elif table.format is Format.PARQUET:
        _write_parquet(source, target, changes)
    elif table.format in (Format.CSV, Format.TSV):
        with _whole_file(source, target) as file:
            file.write(table.above + "\n" * bool(table.above))  # without it another delimiter would be guessed
            file.write(delimited_text([table.columns], table.delimiter))
            for record in _kept(table, changes):
                file.write(delimited_text([[as_text(value) for value in record.values()]], table.delimiter))
    elif table.format is Format.CONLL:
        _write_conll(table, source, target, changes)
    elif table.format is Format.TEXT:
        with _whole_file(source, target) as file:
            between = "\n" if is_one_side(source) else "\n\n"
            file.write(between.join(record["text"] for record in _kept(table, changes)) + "\n")
    elif table.format in (Format.JSONL, Format.TMX, Format.LINES):
        with _whole_file(source, target) as file:
            for record in _kept(table, changes):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    else:
        with _whole_file(source, target) as file:
            json.dump(list(_kept(table, changes)), file, ensure_ascii=False, indent=1)


def _kept(table: Table, changes: Changes) -> Iterator[dict[str, Any]]:
    """The rows that stay, with their new values; one that does not change keeps its type."""
    for row, record in table.records():
        change = changes.get(row)
        if change is not None:
            for column, new in change.items():
                if as_text(record.get(column)) != as_text(new):
                    record[column] = new
            yield record


def _write_conll(table: Table, source: Path, target: Path, changes: Changes) -> None:
    """The sentences that stay, all of their columns; the table knows the first and the last alone, so the file is read beside it."""
    notes = Notes(repr(str(source)))
    with open_bytes(source, notes.origin) as stream, _whole_file(source, target) as file:
        sentences = conll_sentences(text_lines(*take_sample(stream, notes.origin), notes), notes)
        for (row, _), (_, words) in zip(table.records(), sentences, strict=True):
            if changes.get(row) is not None:
                file.writelines("\t".join(columns) + "\n" for columns in words)
                file.write("\n")


def _write_parquet(source: Path, target: Path, changes: Changes) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open_bytes(source, repr(str(source))) as stream:
        table = unfolded_columns(pq.read_table(stream))
    kept = {row: change for row, change in changes.items() if change is not None}
    table = table.take(np.fromiter(kept, dtype=np.int64, count=len(kept)) - 1)
    for column in dict.fromkeys(column for change in kept.values() for column in change):
        old = [as_text(value) for value in table.column(column).to_pylist()]
        new = [as_text(change[column]) if column in change else value for change, value in zip(kept.values(), old, strict=True)]
        if old != new:
            table = table.set_column(table.schema.get_field_index(column), column, pa.array(new, pa.string()))
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    os.close(handle)
    try:
        pq.write_table(table, name)
        shutil.copymode(source, name)
        os.replace(name, target)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def _write_folder(table: Table, source: Path, target: Path, changes: Changes) -> None:
    if target.exists():
        raise DataError(f"The folder {str(target)!r} of an earlier cleaned copy is in the way; move or delete it.")
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for row, record in table.records():
            change = changes.get(row)
            if change is not None:
                kept = {**record, **change}
                folder = draft / kept["label"]
                folder.mkdir(exist_ok=True)
                _free(folder / Path(record["file"]).name).write_text(kept["text"], encoding="utf-8")
        shutil.copymode(source, draft)  # which is for its owner alone until it is whole
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise


def _free(path: Path) -> Path:
    """The path, or one with a number behind its name where a file of another spelling of the label stands there."""
    names = itertools.chain([path.name], (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(2)))
    return next(place for place in map(path.with_name, names) if not place.exists())
