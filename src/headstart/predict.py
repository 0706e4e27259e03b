"""Labelling a file of any size with a trained model, in constant memory and in the order of its rows.

A window of some thousands of rows is read, its different texts go through the model together (so that batches of equal length can
be formed), and its rows are written before the next window is read. Letters in shapes: n texts, c labels.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.answers import Model, form_of
from headstart.data.columns import choose_text_column, two_columns
from headstart.data.pairs import join_pair
from headstart.data.prompts import prompt_of
from headstart.data.rows import counted
from headstart.data.table import as_text, open_table
from headstart.environment import expand_home, release_free_memory
from headstart.errors import DataError, RunError, SettingsError
from headstart.runs import ASKED
from headstart.writing import STANDARD, WRITERS, Write, opened, output_format

if TYPE_CHECKING:
    from headstart.loaded import Loaded

# A window is whatever comes first: enough rows to sort by length with profit, or as much text as stays small beside a model.
WINDOW_ROWS = 4096
WINDOW_CHARACTERS = 16_000_000
# Of a model that writes: its rows take seconds each, and whoever reads the output waits for a window.
WRITTEN_ROWS = 64

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Predicted:
    """How a file was labelled.

    `rows` were written, of them `empty` without a text and therefore without a prediction, and `beyond` without some values, whose
    columns appear only after the first rows of a JSON file. `noticed` says in sentences what was odd about the file.
    """

    rows: int
    empty: int
    beyond: int
    noticed: tuple[str, ...] = ()

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the person should know of it, in sentences."""
        told = list(self.noticed)
        if not self.rows:
            told.append("There were no rows to label; of a table the first line is the header.")
        if self.empty:
            told.append(f"{counted(self.empty, 'row')} of {self.rows:,} without a text got no prediction.")
        if self.beyond:
            told.append(f"{counted(self.beyond, 'row')} of {self.rows:,} had columns that the first rows do not have; these were left out.")
        return tuple(told)


def predict_file(folder: str, data: str, *, out: str, format: str | None, top: int, text: str | None) -> Predicted:
    """Label a file with the model of a run.

    Args:
        folder: a run, or a saved model.
        data: a table in any format that headstart reads; `-` is standard input.
        out: the file to write, which appears whole or not at all; `-` is standard output.
        format: `csv`, `jsonl` or `parquet`; None: as `out` is named, csv on standard output.
        top: labels for each text, likeliest first; from 1 to the number of labels.
        text: column of the texts; None: the one that the model was trained on, or the only one.

    Raises:
        SettingsError: an unknown format, `top` out of its range, or an `out` that cannot be a file.
        DataError: no such file, no such column, or columns that the output would write twice.
        RunError: the folder holds no model.
    """
    written_format = output_format(out, format)
    if out != STANDARD and data != STANDARD and os.path.realpath(out) == os.path.realpath(data):
        raise SettingsError(f"--out {out!r} is the file that is read; choose another name.")
    from headstart.loaded import load
    from headstart.progress import bar

    with open_table(data, labelled=False) as table:
        shown = "standard input" if data == STANDARD else repr(data)
        if not table.columns:
            raise DataError(f"{shown} holds no rows.")
        column = text_column(table.columns, named=text, trained=_trained_column(expand_home(folder, "The model", RunError)), origin=shown)
        model = load(folder)
        require_form(model, table.columns, column, shown)
        form = form_of(model, top)
        names = output_columns(table.columns, form.columns, origin=shown)
        if model.labels and top > (known := len(model.labels)):
            raise SettingsError(f"--top is {top}, but the model knows {known} labels; it must lie between 1 and {known}.")
        with opened(out) as stream, bar(0, "Predicting", unit="row") as progress:
            write, finish = WRITERS[written_format](stream, names, {**table.kinds, **dict.fromkeys(form.numbers, "double")})
            done = predict_rows(table.columns, table.records(), model, write, column=column, top=top, progress=progress.update)
            finish()
        noticed = tuple(f"{finding.message} {finding.remedy}".strip() for finding in table.findings)
    return dataclasses.replace(done, noticed=noticed)


def predict_rows(
    columns: Sequence[str],
    records: Iterable[tuple[int, Record]],
    model: Model | Loaded,
    write: Write,
    *,
    column: str,
    top: int,
    progress: Callable[[int], object],
) -> Predicted:
    """Label rows window by window and hand each labelled window to `write`.

    A written row is the input's values in the order of `columns`, then what `form_of` says of the text. A row whose text is blank gets
    None. Equal texts of a window go through the model once.

    Args:
        columns: the input's columns; what a record holds besides is counted and not written.
        records: number and values of each row.
        model: gives probabilities; `top` is at most its number of labels.
        write: receives the rows of one window.
        column: that of `columns` which holds the text, of pairs `first,second`.
        top: labels for each text.
        progress: is told the number of rows written after each window.
    """
    rows = empty = beyond = 0
    known = set(columns)
    form = form_of(model, top)
    nothing: list[Any] = [None] * len(form.columns)
    text_of = reading_of(columns, column, _writes(model))
    most = WRITTEN_ROWS if getattr(model, "form", "") in ("writing", "translation") else WINDOW_ROWS
    for window in windows(records, most):
        texts = [text_of(record) for record in window]
        answers = form.answers(texts)
        write([[*map(record.get, columns), *answers.get(text, nothing)] for record, text in zip(window, texts, strict=True)])
        rows += len(window)
        empty += sum(text not in answers for text in texts)
        beyond += sum(not record.keys() <= known for record in window)
        progress(len(window))
        release_free_memory()
    return Predicted(rows, empty, beyond)


def require_form(model: Model | Loaded, columns: Sequence[str], column: str, origin: str) -> None:
    """Raise where a model of pairs is given one column of texts, or one of single texts two.

    Raises:
        DataError: that is so.
    """
    if _writes(model) and prompt_of({}, column) is not None:
        return
    wants, has = getattr(model, "form", "") in ("pairs", "answers"), two_columns(columns, column) is not None
    if wants and not has:
        raise DataError(f"The model reads pairs of texts; name the two columns of {origin} with --text FIRST,SECOND.")
    if has and not wants:
        raise DataError(f"The model reads one text a row, and --text names two columns of {origin}: {column!r}; name one.")


def _writes(model: Model | Loaded) -> bool:
    """Whether a model takes prompts and writes."""
    return getattr(model, "form", "") == "writing"


def reading_of(columns: Sequence[str], column: str, writes: bool) -> Callable[[Record], str]:
    """How the text of a row is read: from one column, or of pairs from both, "" where one of them is blank; for a model that `writes` as
    its prompt, where the column is called as prompts are."""
    if writes and prompt_of({}, column) is not None:
        return lambda record: prompt_of(record, column) or ""
    pair = two_columns(columns, column)
    if pair is None:
        return lambda record: as_text(record.get(column))

    def joined(record: Record) -> str:
        first, second = (as_text(record.get(name)) for name in pair)
        return join_pair(first, second) if first.strip() and second.strip() else ""

    return joined


def windows(records: Iterable[tuple[int, Record]], most: int) -> Iterator[list[Record]]:
    """The rows in portions of at most so many, or fewer where their cells are long; a single row is never split."""
    window: list[Record] = []
    characters = 0
    for _, record in records:
        window.append(record)
        characters += sum(len(cell) for cell in record.values() if isinstance(cell, str | bytes))
        if len(window) == most or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


# --- columns and formats ---


def text_column(columns: Sequence[str], *, named: str | None, trained: str | None, origin: str) -> str:
    """The column that holds the texts: the named one, else the one that the model was trained on, else `text`, else the only one.

    Raises:
        DataError: there is no such column, or it cannot be told which.
    """
    known = trained in columns or two_columns(columns, trained) is not None
    return choose_text_column(columns, trained if named is None and known else named, origin)


def output_columns(columns: Sequence[str], new: Sequence[str], *, origin: str) -> list[str]:
    """The input's columns, then the new ones.

    Raises:
        DataError: the input has a column of such a name.
    """
    taken = [name for name in new if name in columns]
    if taken:
        raise DataError(f"{origin} already has a column {taken[0]!r}, where the prediction would go; rename or drop it in the file first.")
    return [*columns, *new]


def parse_top(word: str) -> int:
    """The number of labels to give, at least 1.

    Raises:
        SettingsError: no whole number, or less than 1.
    """
    try:
        top = int(word)
    except ValueError:
        raise SettingsError(f"--top is {word!r}; it must be a whole number.") from None
    if top < 1:
        raise SettingsError(f"--top is {top}; it must be at least 1.")
    return top


def _trained_column(folder: Path) -> str | None:
    """The text column that a run was trained on, as its run.yaml says, where `folder` is the run or a model in it; None where it does not,
    or where there is a model without a run."""
    import yaml

    place = next((run / ASKED for run in (folder, folder.parent) if (run / ASKED).is_file()), None)
    if place is None:
        return None
    try:
        told = yaml.safe_load(place.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    for part in ("columns", "settings"):
        named = told.get(part) if isinstance(told, dict) else None
        if isinstance(named, dict) and isinstance(named.get("text"), str):
            return str(named["text"])
    return None
