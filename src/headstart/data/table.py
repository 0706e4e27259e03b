"""A table of any size, read once from front to back: files, folders, pipes and hub data sets behind one interface."""

from __future__ import annotations

import io
import itertools
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

from headstart.data import conll
from headstart.data.columns import LABEL_NAMES, TEXT_NAMES
from headstart.data.from_json import behind_object, is_broken_line, json_line_records, json_records
from headstart.data.hub import hub_records
from headstart.data.lines import Notes, find_encoding, open_bytes, read_error, take_sample, text_lines, text_pieces
from headstart.data.parallel import is_language, is_tmx, line_records, side_names, tmx_records, two_files, unfolded, unfolded_columns
from headstart.data.parse import (
    Record,
    delimited_records,
    delimited_rows,
    find_delimiter,
    is_one_column,
    text_records,
)
from headstart.errors import DataError
from headstart.records import Finding

BATCH_ROWS = 1000
HUB_PREFIX = "hub:"
STANDARD_INPUT = "-"


class Format(str, Enum):
    """How a table is written."""

    CSV = "csv"
    TSV = "tsv"
    JSON = "json"
    JSONL = "jsonl"
    PARQUET = "parquet"
    CONLL = "conll"
    TMX = "tmx"
    LINES = "lines"  # two files of parallel lines
    TEXT = "text"  # paragraphs or lines of plain text
    FOLDER = "folder"
    HUB = "hub"


# Their rows have the numbers of the lines on which they begin.
BY_LINES = (Format.TEXT, Format.CONLL)

_BY_SUFFIX = {
    ".csv": Format.CSV,
    ".tsv": Format.TSV,
    ".json": Format.JSON,
    ".jsonl": Format.JSONL,
    ".ndjson": Format.JSONL,
    ".parquet": Format.PARQUET,
    ".tmx": Format.TMX,
    ".txt": Format.TEXT,
    **dict.fromkeys((".conll", ".bio", ".bio2", ".iob", ".iob2", ".bioes"), Format.CONLL),
}
# What a file that bears a text format's name may be instead, by its first bytes.
_BINARY = (
    (b"PAR1", "a Parquet file; rename it to end in .parquet"),
    (b"PK\x03\x04", "a zip archive or an Excel workbook; save the sheet as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook; save the sheet as CSV"),
    (b"%PDF", "a PDF; save the table as CSV"),
    (b"SQLite format 3", "an SQLite database; export the table as CSV"),
    (b"\x89PNG", "an image"),
)
# How the first line of JSON begins: an object, perhaps in a list. What else stands in brackets is a text: `[Scene 1]`.
_JSON_START = re.compile(r'\[?\s*\{\s*("|$)|\[\s*$')
_LINE_END = re.compile("[\r\n]")
# What Excel writes above the header to say how columns are parted.
_SAID_DELIMITER = re.compile(r'"?sep=([^\w"])"?', re.IGNORECASE)


@dataclass(frozen=True)
class Batch:
    """Some rows of a table. `rows` are their numbers, `cells[column]` their values as the file holds them; None: absent."""

    rows: tuple[int, ...]
    cells: dict[str, list[Any]]

    def __len__(self) -> int:
        return len(self.rows)

    def texts(self, column: str) -> list[str]:
        """The values of a column as text."""
        return [as_text(value) for value in self.cells[column]]


def as_text(value: Any) -> str:
    """A cell as text: None is "", true is `true`, the number 3 is `3`, lists and objects are JSON."""
    if isinstance(value, str):
        return value
    if value is None or value != value:  # the second: a missing number
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="replace")
    if isinstance(value, list | dict):
        import json

        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


class Table:
    """An open table: its columns, and its rows once from front to back.

    `columns` are in the file's order; for JSON they are all that the first 1,000 rows name. `kinds` are Arrow's names of the types of those
    columns that the file says are numbers or true and false: of Parquet. `above` is the line above the header of delimited text that says
    the delimiter, "" where there is none. Memory stays constant in the number of rows
    except for JSON that is one object, as SQuAD's and tables by columns, which is read whole. Close it, or use it as a context manager.
    """

    def __init__(
        self,
        origin: str,
        format: Format,
        columns: tuple[str, ...],
        records: Iterator[tuple[int, Record]],
        notes: Notes,
        *,
        delimiter: str = ",",
        above: str = "",
        kinds: Mapping[str, str] = MappingProxyType({}),
        close: Callable[[], None] | None = None,
    ) -> None:
        self.origin = origin
        self.format = format
        self.columns = columns
        self.delimiter = delimiter
        self.above = above
        self.kinds = kinds
        self._records = records
        self._notes = notes
        self._close = close

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was noticed so far: encodings, bad rows, NUL bytes. Complete when all rows have been read."""
        return self._notes.findings()

    def records(self) -> Iterator[tuple[int, Record]]:
        """Number and values of each row; a value that a JSON row does not have is absent. Rows that cannot be read are left out.

        Raises:
            DataError: no row at all can be read.
            ResourceError: the machine refuses to go on reading.
        """
        yield from self._records

    def first_values(self, column: str) -> list[Any]:
        """The values of a column in the first rows, which `records` gives all the same."""
        first = list(itertools.islice(self._records, BATCH_ROWS))
        self._records = itertools.chain(first, self._records)
        return [record.get(column) for _, record in first]

    def batches(self, size: int = BATCH_ROWS) -> Iterator[Batch]:
        """The rows in batches of `size` at most, for work in constant memory; the same errors as `records`."""
        records = self.records()
        while chunk := list(itertools.islice(records, size)):
            rows, values = zip(*chunk, strict=True)
            yield Batch(rows, {column: [record.get(column) for record in values] for column in self.columns})

    def close(self) -> None:
        """Close the file behind the table."""
        if self._close is not None:
            self._close()

    def __enter__(self) -> Table:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_table(path: str | Path, *, labelled: bool = True) -> Table:
    """Open a table by file, folder, `-` (standard input) or `hub:NAME[:SPLIT]`, whatever its size.

    The format follows from the name: .csv, .tsv, .json, .jsonl, .conll, .tmx, .txt (each also with .gz), .parquet; a folder has one
    sub-folder of .txt files per class (columns text, label, file), and a .conll file gives tokens and tags. A .txt file is paragraphs,
    parted by blank lines, or a text on each line where it has none; with a header of columns, or as JSON, it is a table. `FIRST,SECOND`
    are two files of which line n of one is the translation of line n of the other; one of them alone, called by its language (`new.en`), is
    a text on each line, blank ones too. Standard input and files of other names are told by their beginning.

    Not `labelled`: words of a .conll file may stand without a tag.

    Raises:
        DataError: no such file, an empty one, or not the format that its name says.
        ResourceError: it may not be read.
    """
    origin = str(path)
    if origin == STANDARD_INPUT:
        notes = Notes("standard input")
        return _stream_table(origin, None, sys.stdin.buffer, notes, owned=False)
    notes = Notes(repr(origin))
    if origin.startswith(HUB_PREFIX):
        records = hub_records(origin[len(HUB_PREFIX) :])
        return _columns_from_records(origin, Format.HUB, records, notes)
    files = two_files(origin)
    if files is not None:
        return Table(origin, Format.LINES, side_names(*files), line_records(*files, notes), notes)
    file = Path(path)
    if file.is_dir():
        return Table(origin, Format.FOLDER, ("text", "label", "file"), _folder_records(file, notes), notes)
    format = format_of(file)
    stream = open_bytes(file, notes.origin)
    try:
        if format is Format.PARQUET:
            return _parquet_table(origin, stream, notes)
        return _stream_table(origin, format, stream, notes, labelled=labelled)
    except BaseException:
        stream.close()
        raise


def format_of(path: Path) -> Format | None:
    """The format that a file's name says, .gz aside; None: the name says nothing."""
    suffix = _suffix_of(path)
    return Format.TEXT if is_language(suffix[1:]) else _BY_SUFFIX.get(suffix.lower())


def is_one_side(path: str | Path) -> bool:
    """Whether a file bears the name of a language, as one of two whose lines belong together does: `new.en`."""
    return is_language(_suffix_of(Path(path))[1:])


def _suffix_of(path: Path) -> str:
    """How a file's name ends, .gz aside."""
    suffixes = [*path.suffixes]
    if suffixes and suffixes[-1].lower() == ".gz":
        suffixes.pop()
    return suffixes[-1] if suffixes else ""


def _stream_table(origin: str, format: Format | None, stream: IO[bytes], notes: Notes, owned: bool = True, labelled: bool = True) -> Table:
    """A table of delimited text or JSON from bytes."""
    head, joined = take_sample(stream, notes.origin)
    if not head.strip():
        raise DataError(f"{notes.origin} is empty; it must hold {'texts' if format is Format.TEXT else 'a header and rows'}.")
    for magic, what in _BINARY:
        if head.startswith(magic):
            if origin == STANDARD_INPUT:
                raise DataError(f"{notes.origin} is {what}; give it as a file.")
            raise DataError(f"{notes.origin} is {what}.")
    if format is Format.TMX or (format is None and is_tmx(head)):
        return _columns_from_records(origin, Format.TMX, tmx_records(joined, notes), notes, stream.close if owned else None)
    close = stream.close if owned else None
    beginning = _beginning(head, find_encoding(head))
    first = _LINE_END.split(beginning, maxsplit=1)[0]
    format = _told_by_beginning(format, beginning, first)
    if format is Format.JSON:
        return _columns_from_records(origin, format, json_records(text_pieces(head, joined, notes), notes), notes, close)
    by_line = format is Format.TEXT and is_one_side(origin)
    plain = format is Format.TEXT and not _has_header(first)
    lines = text_lines(head, joined, notes, tabular=format in (Format.CSV, Format.TSV, Format.TEXT) and not plain and not by_line)
    if format is Format.JSONL:
        return _columns_from_records(origin, format, json_line_records(lines, notes), notes, close)
    if format is Format.CONLL:
        records = conll.conll_records(lines, notes, tagged=labelled)
        return Table(origin, format, conll.COLUMNS, records, notes, close=close)
    if plain:
        ends = "\n" if "\n" in beginning else "\r"
        by_paragraph = not by_line and any(not line.strip() for line in beginning.strip().split(ends))
        return Table(origin, format, ("text",), text_records(lines, by_paragraph, notes, blank=by_line), notes, close=close)
    if format is not Format.TEXT and first.startswith("{") and first.rstrip().endswith("}"):
        raise DataError(f"{notes.origin} holds JSON lines; rename it to end in .jsonl.")
    format = Format.CSV if format is Format.TEXT else format
    lines = itertools.dropwhile(lambda line: not line.strip(), lines)
    said = _SAID_DELIMITER.fullmatch(first)
    if said is not None:
        next(lines)
    delimiter = said[1] if said else "\t" if format is Format.TSV else find_delimiter(beginning)
    one_column = said is None and format is Format.CSV and is_one_column(beginning, delimiter)
    rows = delimited_rows(lines, delimiter, notes, one_column=one_column)
    header = _header(next(rows, []), notes)
    records, above = delimited_records(rows, header, notes), said[0] if said else ""
    return Table(origin, format, tuple(header), records, notes, delimiter=delimiter, above=above, close=close)


def _told_by_beginning(format: Format | None, beginning: str, first: str) -> Format:
    """The format of text of which the name says `format`, by its beginning and its first line: what has no name, or is JSON under that of
    plain text or of the other kind of JSON."""
    if format is Format.TEXT and _JSON_START.match(first):
        format = None
    if format is None and first.startswith("{"):
        return Format.JSONL if behind_object(beginning) or is_broken_line(beginning) else Format.JSON
    if format is Format.JSON and (behind_object(beginning).startswith("{") or is_broken_line(beginning)):
        return Format.JSONL
    if format in (None, Format.JSONL) and first.startswith("["):
        return Format.JSON
    return format or Format.CSV


def _has_header(first: str) -> bool:
    """Whether the first line of a .txt file names columns: parted by tabs, or such that one of them is plainly a text or a label."""
    names = {name.strip().lower() for name in first.split(find_delimiter(f"{first}\n{first}\n"))}
    return "\t" in first.strip() or (len(names) > 1 and not names.isdisjoint((*TEXT_NAMES, *LABEL_NAMES)))


def _beginning(head: bytes, encoding: str) -> str:
    """The sample as text, from the first line that is not blank."""
    return head[: 1 << 16].decode(encoding, errors="replace").replace("\0", "").lstrip("\ufeff \t\r\n")


def _header(names: list[str], notes: Notes) -> list[str]:
    """The columns' names without surrounding white space; a column without a name is called by its place.

    Raises:
        DataError: two columns have the same name.
    """
    header = [name.strip().lstrip("\ufeff") or f"column {place}" for place, name in enumerate(names, start=1)]
    for place, name in enumerate(header):
        if name in header[:place]:
            raise DataError(f"{notes.origin} has two columns named {name!r}; rename one of them in the header.")
    return header


def _columns_from_records(
    origin: str, format: Format, records: Iterator[tuple[int, Record]], notes: Notes, close: Callable[[], None] | None = None
) -> Table:
    """A table whose columns are those that its first rows name."""
    records = ((row, unfolded(record)) for row, record in records)
    first = list(itertools.islice(records, BATCH_ROWS))
    if not first and notes.left_out.count:
        raise DataError(f"{notes.origin} is not JSON lines: no line holds a JSON object; name it by the format it is in.")
    columns = tuple(dict.fromkeys(str(name) for _, record in first for name in record))
    return Table(origin, format, columns, itertools.chain(first, records), notes, close=close)


def _parquet_table(origin: str, stream: IO[bytes], notes: Notes) -> Table:
    """A table from a Parquet file, row group by row group."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(stream)
    except (pa.ArrowException, OSError) as error:
        if not error.args or "arquet" in str(error) or isinstance(error, pa.ArrowInvalid):
            raise DataError(f"{notes.origin} is not a Parquet file; name it by the format it is in.") from None
        raise read_error(notes.origin, error) from error
    schema = unfolded_columns(file.schema_arrow.empty_table()).schema
    columns = tuple(str(name) for name in schema.names)
    for place, name in enumerate(columns):
        if name in columns[:place]:
            raise DataError(f"{notes.origin} has two columns named {name!r}; rename one of them.")

    def records() -> Iterator[tuple[int, Record]]:
        row = 0
        try:
            for batch in file.iter_batches(batch_size=BATCH_ROWS):
                for record in _batch_records(unfolded_columns(batch)):
                    row += 1
                    yield row, record
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{notes.origin} is a damaged Parquet file after row {row:,}: {str(error).splitlines()[0]}.") from None

    numbers = re.compile("u?int[0-9]+|float|double|bool")
    kinds = {str(field.name): str(field.type) for field in schema if numbers.fullmatch(str(field.type))}
    return Table(origin, Format.PARQUET, columns, records(), notes, kinds=kinds, close=stream.close)


def _batch_records(batch: Any) -> list[Record]:
    """The rows of an Arrow batch; columns whose values Python cannot hold, as dates beyond the year 9999, as Arrow writes them."""
    import pyarrow as pa

    def values(column: Any) -> list[Any]:
        try:
            return column.to_pylist()  # type: ignore[no-any-return]
        except (OverflowError, ValueError):
            return column.cast(pa.string()).to_pylist()  # type: ignore[no-any-return]

    try:
        return batch.to_pylist()  # type: ignore[no-any-return]
    except (OverflowError, ValueError):
        names = list(map(str, batch.schema.names))
        return [dict(zip(names, cells, strict=True)) for cells in zip(*map(values, batch.columns), strict=True)]


def _folder_records(folder: Path, notes: Notes) -> Iterator[tuple[int, Record]]:
    """One record for each .txt file of each sub-folder, by name of class, then of file.

    Raises:
        DataError: the folder holds no such files.
    """
    notes.row = 1
    for label in sorted(entry for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith(".")):
        for file in sorted(label.glob("*.txt")):
            with open_bytes(file, repr(str(file))) as stream:
                content = stream.read()
            inner = Notes(notes.origin)
            head, joined = take_sample(io.BytesIO(content), notes.origin)
            text = "".join(text_lines(head, joined, inner))
            notes.take_encoding(inner)
            yield notes.row, {"text": text, "label": label.name, "file": f"{label.name}/{file.name}"}
            notes.row += 1
    if notes.row == 1:
        raise DataError(f"The folder {notes.origin} holds no class; it must hold one sub-folder of .txt files per class.")
