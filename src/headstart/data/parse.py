"""Records out of lines: delimited text and plain text, one bad row at a time; and delimited text out of rows.

A record that cannot be read is noted with its row number and left out; the rest of the file is read all the same.
"""

from __future__ import annotations

import csv
import io
import itertools
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from headstart.data.lines import Notes
from headstart.data.rows import counted
from headstart.errors import DataError

Record = dict[str, Any]

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 50
# A quote that is never closed would swallow the rest of the file; a field of more lines or characters than this is taken for one.
_FIELD_LINES = 10_000
_FIELD_CHARACTERS = 100_000_000


def _whole_lines(sample: str) -> list[str]:
    """The lines of the beginning of a file with their ends, without the last one where that may be cut and is not the only one."""
    lines = sample.splitlines(keepends=True)
    return lines[:-1] if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")) else lines


def find_delimiter(sample: str) -> str:
    """The delimiter under which the header has most fields and the rows have as many as the header; `,` where there is only one column.

    `sample` is the beginning of the file; its last line may be cut.
    """
    lines = _whole_lines(sample)
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        try:
            rows = list(itertools.islice((row for row in csv.reader(lines, delimiter=delimiter) if row), _SNIFFED_ROWS))
        except csv.Error:
            continue
        if not rows or len(rows[0]) < 2:
            continue
        agreeing = sum(len(row) == len(rows[0]) for row in rows) / len(rows)
        if (agreeing, len(rows[0])) > best_score:
            best, best_score = delimiter, (agreeing, len(rows[0]))
    return best


class _Feed:
    """Lines for `csv.reader`, remembering those of the record that is being read so that they can be put back."""

    def __init__(self, lines: Iterator[str], notes: Notes) -> None:
        self._lines = lines
        self._again: list[str] = []
        self._notes = notes
        self.record: list[str] = []
        self._characters = 0

    def __iter__(self) -> _Feed:
        return self

    def _line(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        if "\0" in line:
            self._notes.nul.add(self._notes.row)
            line = line.replace("\0", "")
        return line

    def __next__(self) -> str:
        line = self._line()
        self.record.append(line)
        self._characters += len(line)
        if len(self.record) > _FIELD_LINES or self._characters > _FIELD_CHARACTERS:
            raise csv.Error("a quote is never closed")
        return line

    def begin_record(self) -> None:
        """Forget the lines of the last record."""
        self.record = []
        self._characters = 0

    def unquoted(self) -> str | None:
        """The next line without its end, where it does not begin with a quote; None: it does, or there is none."""
        try:
            line = self._line()
        except StopIteration:
            return None
        if line.startswith('"'):
            self.put_back([line])
            return None
        return line.rstrip("\r\n")

    def put_back(self, lines: list[str]) -> None:
        """Give these lines again."""
        self._again += reversed(lines)


def _one_line(line: str, delimiter: str, fields: int) -> list[str] | None:
    """A line that breaks the rules of quoting, read with none, then with lenient ones; None: neither gives the right number of fields."""
    for quoting in (csv.QUOTE_NONE, csv.QUOTE_MINIMAL):
        try:
            row = next(csv.reader([line.rstrip("\r\n")], delimiter=delimiter, quoting=quoting, strict=False), [])
        except csv.Error:
            continue
        if len(row) == fields:
            return row
    return None


def _header_of(line: str, delimiter: str, notes: Notes) -> list[str]:
    """The names in a header that breaks the rules of quoting.

    Raises:
        DataError: they cannot be told apart.
    """
    try:
        return next(csv.reader([line], delimiter=delimiter), [])
    except csv.Error:
        raise DataError(
            f"The header of {notes.origin} cannot be read; write the names of its columns on one line, with {delimiter!r} between."
        ) from None


def is_one_column(sample: str, delimiter: str) -> bool:
    """Whether a table that begins so has one column of texts, in which the delimiter is a sign like any other.

    So it is where the header is one field, unless another number of fields is the commonest among the rows. One with a space behind a
    delimiter, or that breaks the rules of quoting, is a text. `sample` is the beginning of the file.
    """
    header, *lines = [line for line in _whole_lines(sample) if line.strip()] or [""]
    rows = _strict_rows(lines, delimiter) or [row for line in lines[:_SNIFFED_ROWS] for row in _strict_rows([line], delimiter) or [[line]]]
    fields = Counter(1 if any(cell.startswith(" ") for cell in row[1:]) else len(row) for row in rows)
    return delimiter not in header and fields[1] == max(fields.values(), default=0)


def _strict_rows(lines: list[str], delimiter: str) -> list[list[str]]:
    """The first rows of these lines; none where they break the rules of quoting."""
    try:
        return list(itertools.islice(csv.reader(lines, delimiter=delimiter, strict=True), _SNIFFED_ROWS))
    except csv.Error:
        return []


def delimited_rows(lines: Iterator[str], delimiter: str, notes: Notes, *, one_column: bool = False) -> Iterator[list[str]]:
    """The header, then every row that has as many fields as the header. Blank lines are passed over, but count as rows.

    `one_column`: a line that does not begin with a quote is one field, whatever stands in it.
    """
    csv.field_size_limit(_FIELD_CHARACTERS)
    feed = _Feed(lines, notes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    fields = 0
    while True:
        feed.begin_record()
        text = feed.unquoted() if one_column and fields else None
        row: list[str] | None
        try:
            row = next(reader) if text is None else [text] * bool(text)
        except StopIteration:
            return
        except csv.Error:
            first, rest = feed.record[0], feed.record[1:]
            feed.put_back(rest)
            row = _one_line(first, delimiter, fields) if fields else _header_of(first, delimiter, notes)
        if row is not None and not row:
            notes.row += bool(fields)
            continue
        if not fields and row is not None:
            fields = len(row)
            notes.left_out_because = f"did not have the {counted(fields, 'field')} of the header"
            yield row
        elif row is None or len(row) != fields:
            notes.left_out.add(notes.row)
        else:
            yield row
        notes.row += 1


def delimited_records(rows: Iterable[list[str]], header: list[str], notes: Notes) -> Iterator[tuple[int, Record]]:
    """Row number and record of every row under the header."""
    for row in rows:
        yield notes.row, dict(zip(header, row, strict=True))


def delimited_text(rows: Sequence[Sequence[str]], delimiter: str = ",") -> str:
    """Rows as delimited text, of which every reader makes the same cells."""
    text = _written(rows, delimiter)
    if "\r" in text:  # csv before Python 3.13 leaves it bare, and readers then see the end of a row
        everything = [any("\r" in cell for cell in row) for row in rows]
        kinds: list[Literal[0, 1]] = [csv.QUOTE_ALL if quoted else csv.QUOTE_MINIMAL for quoted in everything]
        text = "".join(_written([row], delimiter, kind) for row, kind in zip(rows, kinds, strict=True))
    return text


def _written(rows: Sequence[Sequence[str]], delimiter: str, quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=delimiter, lineterminator="\n", quoting=quoting).writerows(rows)
    return buffer.getvalue()


def text_records(lines: Iterator[str], by_paragraph: bool, notes: Notes, *, blank: bool = False) -> Iterator[tuple[int, Record]]:
    """The texts of a plain file, each under the number of its first line: paragraphs, parted by blank lines, or else lines, `blank` ones
    among them."""
    said: list[str] = []
    number = 0
    notes.row = 1
    for number, line in enumerate(lines, start=1):
        notes.row = number + 1  # the one read next
        if "\0" in line:
            notes.nul.add(number)
            line = line.replace("\0", "")
        line = line.lstrip("\ufeff").rstrip("\r\n")
        if line.strip() and by_paragraph:
            said.append(line)
        elif line.strip() or blank:
            yield number, {"text": line}
        elif said:
            yield number - len(said), {"text": "\n".join(said)}
            said = []
    if said:
        yield number + 1 - len(said), {"text": "\n".join(said)}
