"""Records out of lines: delimited text and JSON lines, one bad row at a time; and delimited text out of rows.

A record that cannot be read is noted with its row number and left out; the rest of the file is read all the same.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal

from headstart.data.lines import Notes
from headstart.errors import DataError

Record = dict[str, Any]

DELIMITERS = (",", ";", "\t", "|")
_SNIFFED_ROWS = 50
# A quote that is never closed would swallow the rest of the file; a field of more lines or characters than this is taken for one.
_FIELD_LINES = 10_000
_FIELD_CHARACTERS = 100_000_000
# Columns of which one row alone holds a list: the words of a sentence, the messages of a chat.
_LISTS_BY_ROW = frozenset({"tokens", "words", "messages", "conversations"})


def find_delimiter(sample: str) -> str:
    """The delimiter under which the header has most fields and the rows have as many as the header; `,` where there is only one column.

    `sample` is the beginning of the file; its last line may be cut.
    """
    lines = sample.splitlines(keepends=True)
    if len(lines) > 1 and not lines[-1].endswith(("\n", "\r")):
        lines = lines[:-1]
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

    def __next__(self) -> str:
        line = self._again.pop() if self._again else next(self._lines)
        if "\0" in line:
            self._notes.nul.add(self._notes.row)
            line = line.replace("\0", "")
        self.record.append(line)
        self._characters += len(line)
        if len(self.record) > _FIELD_LINES or self._characters > _FIELD_CHARACTERS:
            raise csv.Error("a quote is never closed")
        return line

    def begin_record(self) -> None:
        """Forget the lines of the last record."""
        self.record = []
        self._characters = 0

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


def delimited_rows(lines: Iterator[str], delimiter: str, notes: Notes) -> Iterator[list[str]]:
    """The header, then every row that has as many fields as the header. Blank lines are passed over, but count as rows."""
    csv.field_size_limit(_FIELD_CHARACTERS)
    feed = _Feed(lines, notes)
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    fields = 0
    while True:
        feed.begin_record()
        row: list[str] | None
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error:
            first, rest = feed.record[0], feed.record[1:]
            feed.put_back(rest)
            row = _one_line(first, delimiter, fields) if fields else next(csv.reader([first], delimiter=delimiter), [])
        if row is not None and not row:
            notes.row += bool(fields)
            continue
        if not fields and row is not None:
            fields = len(row)
            notes.left_out_because = f"did not have the {fields} fields of the header"
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


def without_lone_surrogates(value: Any) -> Any:
    """The same JSON value with half characters, which no encoding can write, replaced by `\N{REPLACEMENT CHARACTER}`."""
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [without_lone_surrogates(part) for part in value]
    if isinstance(value, dict):
        return {without_lone_surrogates(key): without_lone_surrogates(part) for key, part in value.items()}
    return value


def _parse(line: str, notes: Notes) -> Any:
    """A JSON value; ValueError where it is none (also for nesting beyond reason)."""
    try:
        value = json.loads(line)
    except RecursionError:
        raise ValueError("nested too deeply") from None
    if "\\ud" in line or "\\uD" in line:
        clean = without_lone_surrogates(value)
        if clean != value:
            notes.surrogates.add(notes.row)
        return clean
    return value


def json_line_records(lines: Iterator[str], notes: Notes) -> Iterator[tuple[int, Record]]:
    """Row number and object of every line; lines that hold none are noted and left out."""
    notes.left_out_because = "did not hold a JSON object"
    notes.row = 1
    for line in lines:
        if line.strip():
            try:
                value = _parse(line, notes)
            except ValueError:
                value = None
            if isinstance(value, dict):
                yield notes.row, value
            else:
                notes.left_out.add(notes.row)
        notes.row += 1


def json_records(text: str, notes: Notes) -> Iterator[tuple[int, Record]]:
    """Row number and object of every entry of a JSON list, of the list under "data", or of a table that is written by columns.

    Raises:
        DataError: the text is not JSON, or no such list.
    """
    notes.left_out_because = "did not hold a JSON object"
    try:
        value = _parse(text, notes)
    except ValueError as error:
        first_line = text.lstrip().split("\n", 1)[0]
        try:
            lines_of_json = isinstance(json.loads(first_line), dict)
        except (ValueError, RecursionError):
            lines_of_json = False
        if lines_of_json:  # JSON lines under the name .json, as many data sets come
            yield from json_line_records(iter(text.split("\n")), notes)  # the other ends of lines may stand within a JSON string
            return
        raise DataError(f"{notes.origin} is not JSON ({error}); repair it, or name it by the format it is in.") from None
    if isinstance(value, dict):
        _require_even(value, notes.origin)
        value = rows_in(value)
    if isinstance(value, list) and any(isinstance(entry, dict) and isinstance(entry.get("paragraphs"), list) for entry in value):
        value = squad_rows(value)
    if not isinstance(value, list) or (value and not any(isinstance(entry, dict) for entry in value)):
        raise DataError(f'{notes.origin} holds no list of objects; it must look like [{{"text": ..., "label": ...}}, ...].')
    for notes.row, entry in enumerate(value, start=1):
        if isinstance(entry, dict):
            yield notes.row, entry
        else:
            notes.left_out.add(notes.row)


def _require_even(table: Record, origin: str) -> None:
    """Raise where a table is written by columns that have not one length.

    Raises:
        DataError: that is so.
    """
    by_columns = len(table) > 1 and "data" not in table and all(isinstance(column, list) for column in table.values())
    if by_columns and len(set(map(len, table.values()))) > 1 and not any(name.lower() in _LISTS_BY_ROW for name in table):
        told = ", ".join(f"{name!r} {len(column):,}" for name, column in list(table.items())[:5])
        raise DataError(f"{origin} holds columns of different lengths ({told}); give every row a value in each.")


def rows_in(table: Record) -> list[Any]:
    """The rows of a table that is one JSON object; of an object that is none, the object itself as the only row.

    It is a list under `data`; or columns, as lists of one length or as objects of the same keys (pandas' usual form); or `columns` with
    lists of their values under `data` (its form "split"); or rows under their numbers (its form "index").
    """
    data, names, columns = table.get("data"), table.get("columns"), list(table.values())
    if isinstance(data, list) and any(isinstance(entry, dict) for entry in data):
        return data
    if isinstance(data, list) and isinstance(names, list) and all(isinstance(row, list) and len(row) == len(names) for row in data):
        return [dict(zip(map(str, names), row, strict=True)) for row in data]
    if all(isinstance(column, list) for column in columns) and len(set(map(len, columns))) == 1:
        if not any(name.lower() in _LISTS_BY_ROW and not all(isinstance(cell, list) for cell in table[name]) for name in table):
            return [dict(zip(table, row, strict=True)) for row in zip(*columns, strict=True)]
    elif all(isinstance(column, dict) for column in columns):
        if all(map(str.isdigit, table)):
            return columns
        alike = all(column.keys() == columns[0].keys() for column in columns)
        if alike and (len(columns) > 1 or all(map(str.isdigit, columns[0]))):
            return [{name: table[name][key] for name in table} for key in columns[0]]
    return data if isinstance(data, list) else [table]


def text_records(lines: Iterator[str], by_paragraph: bool, notes: Notes) -> Iterator[tuple[int, Record]]:
    """The texts of a plain file, each under the number of its first line: paragraphs, parted by blank lines, or else lines."""
    said: list[str] = []
    for number, line in enumerate(lines, start=1):
        notes.row = number
        if "\0" in line:
            notes.nul.add(number)
            line = line.replace("\0", "")
        line = line.lstrip("\ufeff").rstrip("\r\n")
        if line.strip() and by_paragraph:
            said.append(line)
        elif line.strip():
            yield number, {"text": line}
        elif said:
            yield number - len(said), {"text": "\n".join(said)}
            said = []
    if said:
        yield notes.row + 1 - len(said), {"text": "\n".join(said)}


def squad_rows(articles: list[Any]) -> list[Any]:
    """SQuAD's articles of paragraphs of questions, flat: a row for each question, with its context; what is none is None."""
    rows: list[Any] = []
    for article in articles:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for paragraph in paragraphs if isinstance(paragraphs, list) else [None]:
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            for question in questions if isinstance(questions, list) else [None]:
                if not isinstance(question, dict) or not isinstance(paragraph, dict):
                    rows.append(None)
                    continue
                kept = {name: question[name] for name in ("id", "question", "answers") if name in question}
                rows.append({**kept, "context": paragraph.get("context")})
    return rows
