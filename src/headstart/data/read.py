"""Labelled texts from a file, a folder, standard input or the hub."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headstart.data.columns import LABEL_NAMES, choose_columns, choose_text_column, plain_columns, two_columns, usual_pair
from headstart.data.examples import Examples
from headstart.data.pairs import join_pair
from headstart.data.parallel import language_pair
from headstart.data.prompts import WHOLE, PromptColumns, as_prompt, chat_of, parted, prompt_columns, with_messages
from headstart.data.rows import RowList, counted, finding
from headstart.data.table import BATCH_ROWS, Format, Table, as_text, open_table
from headstart.errors import DataError
from headstart.records import Finding, Severity


@dataclass(frozen=True)
class ReadResult:
    """The examples of a file, and what was noticed while it was read: encodings, rows that had to be left out, NUL bytes. `half` are the
    numbers of pairs with an empty side, of which a finding tells."""

    examples: Examples
    findings: tuple[Finding, ...]
    half: frozenset[int] = frozenset()


def read_examples(
    path: str | Path, *, text: str | None = None, label: str | None = None, whole: bool = False, like: str = ""
) -> ReadResult:
    """Read all labelled texts of a table (see `open_table` for what can be read).

    Args:
        path: file, folder, `-` or `hub:NAME[:SPLIT]`.
        text: column of the text, of pairs both as `first,second`; None: the one called `text` beside one called `label`, or two that are
            called as pairs are, or the first of two languages, or the one called `text`, or the only one that can be it.
        label: column of the label; None: the one called `label`, or the second of two languages, or the only one that can be it.
        whole: a table of one column has texts that are learnt themselves (`prompts.WHOLE`); a .txt file has them in any case.
        like: the data whose columns `text` and `label` are, for messages; "": the user named them.

    Raises:
        DataError: the file is absent, empty, in another format, or has no such columns.
        ResourceError: it may not be read.
    """
    with open_table(path) as table:
        shown = "standard input" if table.origin == "-" else repr(table.origin)
        plain = plain_columns(table.columns, text, label)
        prompts = prompt_columns(table.columns) if plain is None else None
        named = prompts is not None and text in (None, prompts.name) and label in (None, prompts.completion or prompts.chat)
        if prompts is not None and named and (label is not None or not _labelled_texts(table, prompts)):
            return _read_prompts(table, prompts, shown, str(path))
        if table.format is Format.TEXT or (whole and len(table.columns) == 1):
            return _read_whole(table, text, shown, str(path))
        pair = two_columns(table.columns, text) or usual_pair(table.columns, text, label)
        if pair is not None and (plain is None or plain[0] in pair):  # `text` beside `text_pair` is the first of two
            return _read_pairs(table, pair, label, shown, str(path), like)
        text, label = plain or language_pair(table.columns, text, label) or (text, label)
        if len(table.columns) > 2 or (text is not None and label is not None):
            # The columns follow from their names alone, so the others need not be kept.
            chosen = choose_columns(table.columns, text, label, shown, lambda _: (), like)
            rows, cells = _read(table, chosen)
        else:
            rows, cells = _read(table, table.columns)
        if not rows:
            raise DataError(_no_rows(shown, table))
        chosen = choose_columns(table.columns, text, label, shown, cells.__getitem__, like)
        findings = table.findings
    examples = Examples(
        texts=tuple(cells[chosen[0]]),
        labels=tuple(cells[chosen[1]]),
        rows=tuple(rows),
        origin=str(path),
        text_column=chosen[0],
        label_column=chosen[1],
    )
    return ReadResult(examples, findings)


def _labelled_texts(table: Table, columns: PromptColumns) -> bool:
    """Whether a column that is called as chats are holds none, and one that is called as labels are stands beside it."""
    beside = {column.lower() for column in table.columns if column != columns.chat}
    if not columns.chat or beside.isdisjoint(LABEL_NAMES):
        return False
    return all(chat_of(cell) is None for cell in table.first_values(columns.chat))


@dataclass(frozen=True)
class RowStream:
    """Rows of an open table, once from front to back: number, text and label of each, "" where it has none; and where they stand."""

    text_column: str
    label_column: str
    rows: Iterator[tuple[int, str, str]]


@contextmanager
def stream_examples(path: str | Path, *, text: str | None = None, label: str | None = None) -> Iterator[RowStream]:
    """The labelled texts of a table of any size in constant memory; arguments as of `read_examples`. What columns hold is told by its
    first rows.

    Raises:
        DataError: as `read_examples`.
        ResourceError: it may not be read.
    """
    with open_table(path) as table:
        shown = repr(table.origin)
        records = table.records()
        first = list(itertools.islice(records, BATCH_ROWS))
        if not first:
            raise DataError(_no_rows(shown, table))
        cells = {column: [as_text(record.get(column)) for _, record in first] for column in table.columns}
        chosen = choose_columns(table.columns, text, label, shown, cells.__getitem__)
        rows = ((row, *(as_text(record.get(column)) for column in chosen)) for row, record in itertools.chain(first, records))
        yield RowStream(*chosen, rows)  # type: ignore[arg-type]


def _read_whole(table: Table, text: str | None, shown: str, origin: str) -> ReadResult:
    """The examples of a table of plain texts; their label says that they are learnt themselves."""
    column = choose_text_column(table.columns, text, shown)
    rows, cells = _read(table, (column,))
    if not rows:
        raise DataError(_no_rows(shown, table))
    return ReadResult(Examples(tuple(cells[column]), (WHOLE,) * len(rows), tuple(rows), origin, column, column), table.findings)


def _read_prompts(table: Table, columns: PromptColumns, shown: str, origin: str) -> ReadResult:
    """The examples of a table of prompts and completions, or of chats; a row without either has "" in its place."""
    rows, cells = _read(table, columns.read)
    if not rows:
        raise DataError(_no_rows(shown, table))
    if columns.chat:
        chats = [chat_of(cell) for cell in cells[columns.chat]]
        sides = [("", "") if chat is None else parted(chat) for chat in chats]
        odd = RowList(row for row, chat, cell in zip(rows, chats, cells[columns.chat], strict=True) if chat is None and cell.strip())
        findings = table.findings
        if odd.count:
            message = (
                f"{counted(odd.count, 'row')} of {shown} {'has' if odd.count == 1 else 'have'} no list of messages in {columns.chat!r}, "
                "each with a role and a content that is text."
            )
            remedy = 'They are not used; write a list of {"role": ..., "content": ...}.'
            findings = (*findings, finding("no chat", Severity.WARNING, message, odd, remedy))
        texts, labels = (tuple(side) for side in zip(*sides, strict=True))
        return ReadResult(Examples(texts, labels, tuple(rows), origin, columns.chat, columns.chat), findings)
    more = cells[columns.more] if columns.more else [""] * len(rows)
    prompts = [as_prompt(prompt, other) for prompt, other in zip(cells[columns.prompt], more, strict=True)]
    texts, labels = zip(*map(with_messages, prompts, cells[columns.completion]), strict=True)
    return ReadResult(Examples(texts, labels, tuple(rows), origin, columns.name, columns.completion), table.findings)


def _read_pairs(table: Table, pair: tuple[str, str], label: str | None, shown: str, origin: str, like: str) -> ReadResult:
    """The examples of a table of pairs; a pair of which a side is empty has the text ""."""
    rest = [column for column in table.columns if column not in pair]
    if not rest:
        raise DataError(f"{shown} has no column beside {pair[0]!r} and {pair[1]!r}, the two texts of a pair; it must hold a label too.")
    if label in pair:
        raise DataError(f"--text and --label both name the column {label!r} of {shown}; the label must stand in another one.")
    _, labels = choose_columns([pair[0], *rest], pair[0], label, shown, lambda _: (), like)
    rows, cells = _read(table, (*pair, labels))
    if not rows:
        raise DataError(_no_rows(shown, table))
    sides = list(zip(cells[pair[0]], cells[pair[1]], strict=True))
    numbers = [row for row, (first, second) in zip(rows, sides, strict=True) if bool(first.strip()) != bool(second.strip())]
    half = RowList(numbers)
    findings = table.findings
    if half.count:
        message = f"{counted(half.count, 'pair')} of {shown} {'has' if half.count == 1 else 'have'} an empty side."
        findings = (*findings, finding("empty side", Severity.WARNING, message, half, "They are not used; fill both columns."))
    texts = tuple(join_pair(first, second) if first.strip() and second.strip() else "" for first, second in sides)
    return ReadResult(
        Examples(texts, tuple(cells[labels]), tuple(rows), origin, ",".join(pair), labels, paired=True), findings, frozenset(numbers)
    )


def _read(table: Table, columns: tuple[str, ...]) -> tuple[list[int], dict[str, list[str]]]:
    """Row numbers, and the values of these columns as text. Equal short values, as labels are, share one string."""
    rows: list[int] = []
    cells: dict[str, list[str]] = {column: [] for column in columns}
    shared: dict[str, str] = {}
    for row, record in table.records():
        rows.append(row)
        for column, column_cells in cells.items():
            value = as_text(record.get(column))
            may_be_kept = len(value) <= 64 and len(shared) < 10_000
            column_cells.append(shared.setdefault(value, value) if may_be_kept else shared.get(value, value))
    return rows, cells


def _no_rows(shown: str, table: Table) -> str:
    """Why a file without a usable row is of no use."""
    if table.findings:
        return f"No row of {shown} can be used: {table.findings[0].message}"
    return f"{shown} has a header and no rows; add labelled texts."
