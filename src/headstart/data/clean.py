"""A cleaned copy beside the file: same format, same columns, without the faults that need no judgement. The file itself stays as it is."""

from __future__ import annotations

import csv
import gzip
import io
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

from headstart.data.check import CONTROL_CHARACTERS, CheckResult
from headstart.data.examples import Examples
from headstart.data.rows import RowList, counted
from headstart.data.spelling import level_label
from headstart.data.table import Format, Table, as_text, open_table
from headstart.errors import DataError, HeadstartError, ResourceError


def cleaned_path(path: str | Path) -> Path:
    """Where the cleaned copy goes: `tickets.csv.gz` becomes `tickets.cleaned.csv.gz`, beside the original."""
    path = Path(path)
    ending = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    return path.with_name(path.name[: len(path.name) - len(ending)] + ".cleaned" + ending)


def write_cleaned(examples: Examples, check: CheckResult, out: str | Path | None = None) -> list[str]:
    """Write a cleaned copy of the file that `examples` came from, and say line by line what was changed.

    Left out are rows without text or label, repeats, rows of the test or validation file, all rows of a text under several labels, and
    rows that could not be read. Control characters and outer white space are stripped; labels that differ only in case or white space take
    the commonest spelling.

    Args:
        examples: what `read_examples` gave for the file.
        check: what `check_examples` gave for these examples.
        out: the copy; None: `cleaned_path`. An earlier copy there is replaced, except where it is a folder.

    Raises:
        DataError: the data came from a pipe or the hub, or `out` is the file itself.
        ResourceError: the copy cannot be written; nothing is left behind.
    """
    if examples.origin == "-" or examples.origin.startswith("hub:"):
        shown = "standard input" if examples.origin == "-" else repr(examples.origin)
        raise DataError(f"A cleaned copy is written beside a file, and {shown} is none; save the rows to a file first.")
    source = Path(examples.origin)
    target = cleaned_path(source) if out is None else Path(out)
    if target.exists() and target.samefile(source):
        raise DataError(f"The cleaned copy would replace the file {str(source)!r} itself; give it another name.")
    changes, lines = _changes(examples, check)
    with open_table(source) as table:
        try:
            _write(table, source, target, changes, examples)
        except HeadstartError:
            raise
        except OSError as error:
            raise ResourceError(f"The cleaned copy {str(target)!r} cannot be written: {error.strerror or error}.") from error
        bad = next((found for found in table.findings if found.kind == "bad rows"), None)
    if bad is not None:
        lines.append(f"Left out {counted(bad.count, 'row')} that could not be read: {_numbers(bad.rows, bad.count)}.")
    kept = sum(change is not None for change in changes.values())
    return [*lines, f"Wrote {counted(kept, 'row')} of {len(changes):,} to {str(target)!r}."]


Changes = dict[int, tuple[str, str] | None]  # by row number: the new text and label; None: the row is left out


def _changes(examples: Examples, check: CheckResult) -> tuple[Changes, list[str]]:
    """What becomes of each row, and the lines that say so."""
    spelling = _spellings(examples.labels)
    changes: Changes = {}
    empty, repeated, leaked, conflicting, stripped, respelled = (RowList() for _ in range(6))
    for i, row in enumerate(examples.rows):
        text, label = _stripped(examples.texts[i]), examples.labels[i]
        new_label = spelling[level_label(label)]
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
        else:
            if text != examples.texts[i]:
                stripped.add(row)
            if new_label != label:
                respelled.add(row)
            changes[row] = (text, new_label)
    said = (
        (empty, "Left out {} without text or label: {}."),
        (leaked, "Left out {} that the test or validation file holds too: {}."),
        (conflicting, "Left out {} whose text stands under several labels: {}."),
        (repeated, "Left out {} as repeats of an earlier row: {}."),
        (stripped, "Stripped control characters or outer white space from the text of {}: {}."),
        (respelled, "Gave {} the commonest spelling of its label: {}."),
    )
    return changes, [line.format(counted(rows.count, "row"), _numbers(rows.kept, rows.count)) for rows, line in said if rows.count]


def _spellings(labels: tuple[str, ...]) -> dict[str, str]:
    """The commonest spelling, without outer white space, of each label; of equally common ones the first."""
    counts = Counter(label.strip() for label in labels)
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
    zipped = source.suffix.lower() == ".gz"
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


def _write(table: Table, source: Path, target: Path, changes: Changes, examples: Examples) -> None:
    if table.format is Format.FOLDER:
        _write_folder(table, target, changes)
    elif table.format is Format.PARQUET:
        _write_parquet(source, target, changes, examples)
    elif table.format in (Format.CSV, Format.TSV):
        with _whole_file(source, target) as file:
            writer = csv.writer(file, delimiter=table.delimiter, lineterminator="\n")
            writer.writerow(table.columns)
            writer.writerows(record.values() for record in _kept(table, changes, examples))
    elif table.format is Format.JSONL:
        with _whole_file(source, target) as file:
            for record in _kept(table, changes, examples):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
    else:
        with _whole_file(source, target) as file:
            json.dump(list(_kept(table, changes, examples)), file, ensure_ascii=False, indent=1)


def _kept(table: Table, changes: Changes, examples: Examples) -> Iterator[dict[str, Any]]:
    """The rows that stay, with their new texts and labels; a value that does not change keeps its type."""
    for row, record in table.records():
        change = changes.get(row)
        if change is not None:
            for column, new in zip((examples.text_column, examples.label_column), change, strict=True):
                if as_text(record.get(column)) != new:
                    record[column] = new
            yield record


def _write_parquet(source: Path, target: Path, changes: Changes, examples: Examples) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    kept = {row: change for row, change in changes.items() if change is not None}
    table = table.take(np.fromiter(kept, dtype=np.int64, count=len(kept)) - 1)
    for place, column in enumerate((examples.text_column, examples.label_column)):
        new = [change[place] for change in kept.values()]
        if [as_text(value) for value in table.column(column).to_pylist()] != new:
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


def _write_folder(table: Table, target: Path, changes: Changes) -> None:
    if target.exists():
        raise DataError(f"The folder {str(target)!r} of an earlier cleaned copy is in the way; move or delete it.")
    draft = Path(tempfile.mkdtemp(dir=target.parent, prefix=f".{target.name}."))
    try:
        for row, record in table.records():
            change = changes.get(row)
            if change is not None:
                folder = draft / change[1]
                folder.mkdir(exist_ok=True)
                (folder / Path(record["file"]).name).write_text(change[0], encoding="utf-8")
        os.replace(draft, target)
    except BaseException:
        shutil.rmtree(draft, ignore_errors=True)
        raise
