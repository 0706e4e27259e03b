"""CoNLL columns: a word a line, its tag last on the line, a blank line between sentences; the word's number may stand before it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from headstart.data.lines import Notes
from headstart.data.tags import split_tag

COLUMNS = ("tokens", "tags")
_DOCUMENT = "-DOCSTART-"
_SPACES = re.compile(" +")  # not the no-break ones, which stand within a word


def conll_records(lines: Iterable[str], notes: Notes, *, tagged: bool = True) -> Iterator[tuple[int, dict[str, Any]]]:
    """A record for each sentence, under the number of the line of its first word.

    The first column is the word, or the second where the first one numbers the words of its sentence; the last one is its tag; other
    columns are passed over. Not `tagged`: words may stand alone, and a sentence of such words has no tags.
    """
    for row, words in _without_numbers(conll_sentences(lines, notes, tagged=tagged), 2 if tagged else 1):
        whole = all(len(columns) > 1 and columns[-1] for columns in words)
        tags = {"tags": [columns[-1] for columns in words]} if whole else {}
        yield row, {"tokens": [columns[0] for columns in words], **tags}


def _without_numbers(sentences: Iterable[tuple[int, list[list[str]]]], fewest: int) -> Iterator[tuple[int, list[list[str]]]]:
    """Sentences without the column that numbers their words from 0 or 1; words must have `fewest` columns beside it.

    Where a sentence is one word, its 1 may be the word: such a sentence goes as the one before it; at the beginning of the file, as the
    next that tells.
    """
    alone: list[tuple[int, list[list[str]]]] = []
    numbered: bool | None = None
    for row, words in sentences:
        may_be = _are_numbered(words, fewest)
        if len(words) > 1 or not may_be:
            numbered = may_be
            yield from ((first, _words(each, numbered, fewest)) for first, each in alone)
            alone = []
        if numbered is None:
            alone.append((row, words))
        else:
            yield row, _words(words, numbered, fewest)
    yield from alone


def _are_numbered(words: Sequence[Sequence[str]], fewest: int) -> bool:
    """Whether the first column numbers the words."""
    begins = words[0][0] if words[0][0] in ("0", "1") else ""
    return bool(begins) and all(len(columns) > fewest and columns[0] == str(int(begins) + i) for i, columns in enumerate(words))


def _words(words: list[list[str]], numbered: bool, fewest: int) -> list[list[str]]:
    return [columns[1:] for columns in words] if numbered and _are_numbered(words, fewest) else words


def conll_sentences(lines: Iterable[str], notes: Notes, *, tagged: bool = True) -> Iterator[tuple[int, list[list[str]]]]:
    """The words of each sentence with all of their columns, under the number of the line of its first word.

    A line without a word leaves its sentence out, and where they are `tagged` one with a word alone does. A line such as `# sent_id = 5` is
    a comment: it has no tab where words have one, and else stands before a sentence and ends in no tag.
    """
    words: list[list[str]] = []
    first = bad = 0
    tabs = False
    notes.row = 1
    for number, line in enumerate(lines, start=1):
        notes.row = number + 1  # the one read next
        columns = line.split("\t") if "\t" in line else _SPACES.split(line.strip(" \t\r\n"))
        columns = [column.strip() for column in columns]
        comment = columns[:1] == ["#"] and len(columns) > 1 and "\t" not in line
        comment = comment and (tabs or (not words and not split_tag(columns[-1])[0]))
        if not any(columns) or columns[0] == _DOCUMENT or comment:
            if words and not bad:
                yield first, words
            words, bad = [], 0
            continue
        tabs = "\t" in line
        if not words:
            first = number
        if not columns[0] or (tagged and (len(columns) < 2 or not columns[-1])):
            if not bad:
                notes.left_out.add(number)
                notes.left_out_because = notes.left_out_because or f"had no word{' and tag' if tagged else ''} on a line"
            bad = number
        words.append(columns)
    if words and not bad:
        yield first, words
