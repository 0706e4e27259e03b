"""Records out of JSON: lines of objects, lists of them read entry by entry, and tables that are one object.

A record that cannot be read is noted with its row number and left out; the rest of the file is read all the same.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from headstart.data.lines import Notes
from headstart.data.parse import Record
from headstart.errors import DataError

# Columns of which one row alone holds a list: the words of a sentence, the messages of a chat.
_LISTS_BY_ROW = frozenset({"tokens", "words", "messages", "conversations"})


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
    return _without_halves(value, line, notes)


def _without_halves(value: Any, written: str, notes: Notes) -> Any:
    """A value that was written so, with half characters replaced, which is noted."""
    if "\\ud" not in written and "\\uD" not in written:
        return value
    clean = without_lone_surrogates(value)
    if clean != value:
        notes.surrogates.add(notes.row)
    return clean


def _is_object(text: str) -> bool:
    """Whether this is a JSON object."""
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def behind_object(beginning: str) -> str:
    """What stands behind the first line of a text, but for white space, where that line is a whole JSON object; "": nothing, or it is none.

    `beginning` is that of the text, without white space before it.
    """
    first, *rest = re.split("[\r\n]", beginning, maxsplit=1)
    return rest[0].lstrip() if rest and _is_object(first) else ""


def is_broken_line(beginning: str) -> bool:
    """Whether the first line of a text is no JSON object, and none that goes on in the next one, which begins another.

    `beginning` is that of the text, without white space before it.
    """
    first, *rest = re.split("[\r\n]", beginning, maxsplit=1)
    if not rest or not rest[0].lstrip().startswith("{") or _is_object(first):
        return False
    try:
        json.loads(f"{first}\n{{")
    except json.JSONDecodeError as error:
        return error.pos <= len(first) + 1  # where the other begins at the latest
    except (ValueError, RecursionError):
        pass
    return False


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


def json_records(pieces: Iterator[str], notes: Notes) -> Iterator[tuple[int, Record]]:
    """Row number and object of every entry of a JSON list, of the list under "data", or of a table that is written by columns.

    A list is read entry by entry, and lines of objects line by line, in constant memory; any other table is read whole. `pieces` are the
    text, cut anywhere.

    Raises:
        DataError: the text is not JSON, or no such list.
    """
    notes.left_out_because = "did not hold a JSON object"
    beginning = next((piece for piece in pieces if piece.strip()), "")
    if beginning.lstrip()[:1] == "[":
        yield from _list_records(_entries(_Reader(beginning, pieces, notes)), notes)
        return
    beginning = _with_more_than_a_line(beginning, pieces)
    first, _, more = beginning.lstrip().partition("\n")
    if more.strip() and _is_object(first):  # JSON lines under the name .json, as many data sets come
        yield from json_line_records(_split(itertools.chain([beginning], pieces)), notes)
        return
    text = beginning + "".join(pieces)
    try:
        value = _parse(text, notes)
    except ValueError as error:
        raise DataError(_no_json(notes, str(error))) from None
    if isinstance(value, dict):
        _require_even(value, notes.origin)
        value = rows_in(value)
    if not isinstance(value, list):
        raise DataError(_no_list(notes))
    yield from _list_records(iter(value), notes)


def _with_more_than_a_line(beginning: str, pieces: Iterator[str]) -> str:
    """The beginning of a text with as many of its further pieces as it takes to hold something behind the first line that is not blank."""
    held, ended = [beginning], "\n" in beginning.lstrip()
    more = beginning.lstrip().partition("\n")[2]
    while not more.strip():
        piece = next(pieces, None)
        if piece is None:
            break
        held.append(piece)
        more = piece if ended else piece.partition("\n")[2]
        ended = ended or "\n" in piece
    return "".join(held)


def _split(pieces: Iterator[str]) -> Iterator[str]:
    """The lines of text that comes in pieces; the other ends of lines may stand within a JSON string."""
    held: list[str] = []
    for piece in pieces:
        first, *further = piece.split("\n")
        held.append(first)
        for line in further:
            yield "".join(held)
            held = [line]
    yield "".join(held)


def _list_records(entries: Iterator[Any], notes: Notes) -> Iterator[tuple[int, Record]]:
    """The objects among the entries of a list, or the questions of SQuAD's articles; raises where none of the entries is an object."""
    objects = False
    notes.row = 1  # the one read next
    for row, entry in enumerate(entries, start=1):
        if isinstance(entry, dict) and not objects and isinstance(entry.get("paragraphs"), list):
            yield from _list_records(squad_rows(itertools.chain([entry], entries)), notes)
            return
        if isinstance(entry, dict):
            objects = True
            yield row, entry
        else:
            notes.left_out.add(row)
        notes.row = row + 1
    if notes.left_out.count and not objects:
        raise DataError(_no_list(notes))


def _no_json(notes: Notes, reason: str) -> str:
    return f"{notes.origin} is not JSON ({reason}); repair it, or name it by the format it is in."


def _no_list(notes: Notes) -> str:
    return f'{notes.origin} holds no list of objects; it must look like [{{"text": ..., "label": ...}}, ...].'


class _Reader:
    """JSON values one after another out of text that comes in pieces; only what is not yet read is held."""

    def __init__(self, beginning: str, pieces: Iterator[str], notes: Notes) -> None:
        self._text, self._pieces, self._notes = beginning, pieces, notes
        self._at = 0
        self._passed = self._lines = self._column = 0  # characters and lines let go, and characters of the last line of these
        self._whole = False

    def _more(self) -> bool:
        """Let go of what was read and take as much again as is held, a piece at least; False at the end of the text."""
        if self._whole:
            return False
        gone = self._text[: self._at]
        self._passed += len(gone)
        self._lines += gone.count("\n")
        self._column = len(gone) - gone.rfind("\n") - 1 if "\n" in gone else self._column + len(gone)
        kept, self._at = self._text[self._at :], 0
        taken, size = [], 0
        while size <= len(kept):
            piece = next(self._pieces, None)
            if piece is None:
                self._whole = True
                break
            taken.append(piece)
            size += len(piece)
        self._text = kept + "".join(taken)
        return size > 0

    def sign(self) -> str:
        """The next character that is no white space, which is not passed; "" at the end."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\n\r":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def pass_by(self) -> None:
        """Pass the character that `sign` gave."""
        self._at += 1

    def value(self) -> Any:
        """The value that begins here, which is passed."""
        while True:
            try:
                value, end = json.JSONDecoder().raw_decode(self._text, self._at)
            except json.JSONDecodeError as error:
                within = error.pos - self._at
                if self._more():
                    continue
                raise self.fault(error.msg, self._at + within) from None
            except RecursionError:
                raise DataError(_no_json(self._notes, "nested too deeply")) from None
            except ValueError as error:  # a number of more digits than Python reads
                raise self.fault(str(error)) from None
            if end + 2 >= len(self._text) and not isinstance(value, str | list | dict) and not self._whole:
                self._more()
                continue  # a number may go on, as `1` of `1.5` or of `1e+5`
            value = _without_halves(value, self._text[self._at : end], self._notes)
            self._at = end
            return value

    def fault(self, what: str, at: int | None = None) -> DataError:
        """The error that something is wrong at a place of the text held; None: here."""
        place = self._at if at is None else at
        before = self._text[:place]
        line = self._lines + before.count("\n") + 1
        column = place - before.rfind("\n") if "\n" in before else self._column + place + 1
        return DataError(_no_json(self._notes, f"{what}: line {line} column {column} (char {self._passed + place})"))


def _entries(reader: _Reader) -> Iterator[Any]:
    """The entries of the list that begins here and is all that there is.

    Raises:
        DataError: it is none; the place is told as `json.loads` would.
    """
    reader.sign()
    reader.pass_by()
    if reader.sign() == "]":
        reader.pass_by()
    else:
        while True:
            yield reader.value()
            sign = reader.sign()
            if sign not in (",", "]"):
                raise reader.fault("Expecting ',' delimiter")
            reader.pass_by()
            if sign == "]":
                break
            reader.sign()
    if reader.sign():
        raise reader.fault("Extra data")


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


def squad_rows(articles: Iterable[Any]) -> Iterator[Any]:
    """SQuAD's articles of paragraphs of questions, flat: a row for each question, with its context; what is none is None."""
    for article in articles:
        paragraphs = article.get("paragraphs") if isinstance(article, dict) else None
        for paragraph in paragraphs if isinstance(paragraphs, list) else [None]:
            questions = paragraph.get("qas") if isinstance(paragraph, dict) else None
            for question in questions if isinstance(questions, list) else [None]:
                if not isinstance(question, dict) or not isinstance(paragraph, dict):
                    yield None
                    continue
                kept = {name: question[name] for name in ("id", "question", "answers") if name in question}
                if question.get("is_impossible") is True:
                    kept["answers"] = []  # whatever stands there in place of an answer
                yield {**kept, "context": paragraph.get("context")}
