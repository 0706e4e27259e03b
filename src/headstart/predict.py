"""Labelling a file of any size with a trained model, in constant memory and in the order of its rows.

A window of some thousands of rows is read, its different texts go through the model together (so that batches of equal length can
be formed), and its rows are written before the next window is read. Letters in shapes: n texts, c labels.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, Protocol, cast

from headstart.data.columns import choose_text_column, two_columns
from headstart.data.pairs import join_pair, split_pair
from headstart.data.parse import without_lone_surrogates
from headstart.data.rows import counted
from headstart.data.table import as_text, open_table
from headstart.data.tags import list_of_words
from headstart.errors import DataError, SettingsError
from headstart.settings import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.loaded import Loaded, LoadedLabels, LoadedNumber, LoadedPairs, LoadedTagger

FORMATS = ("csv", "jsonl", "parquet")
STANDARD = "-"  # standard input, or standard output

# A window is whatever comes first: enough rows to sort by length with profit, or as much text as stays small beside a model.
WINDOW_ROWS = 4096
WINDOW_CHARACTERS = 16_000_000

Record = Mapping[str, Any]
Write = Callable[[Sequence[Sequence[Any]]], None]


class Model(Protocol):
    """What predicts: `headstart.load(folder)` gives one."""

    @property
    def labels(self) -> Sequence[str]:
        """The c labels, in the order of the columns of `predict_proba`."""
        ...

    def predict_proba(self, texts: Sequence[str]) -> NDArray[np.floating[Any]]:
        """Probabilities of shape (n, c)."""
        ...


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

    with open_table(data) as table:
        shown = "standard input" if data == STANDARD else repr(data)
        column = text_column(table.columns, named=text, trained=_trained_column(Path(folder)), origin=shown)
        model = load(folder)
        require_form(model, table.columns, column, shown)
        form = form_of(model, top)
        names = output_columns(table.columns, form.columns, origin=shown)
        if top > (known := len(model.labels)):
            raise SettingsError(f"--top is {top}, but the model knows {known} labels; it must lie between 1 and {known}.")
        with opened(out) as stream, bar(0, "Predicting", unit="row") as progress:
            write, finish = WRITERS[written_format](stream, names, len(table.columns))
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
    text_of = reading_of(columns, column)
    for window in windows(records, text_of):
        texts = [text_of(record) for record in window]
        answers = form.answers(texts)
        write([[*map(record.get, columns), *answers.get(text, nothing)] for record, text in zip(window, texts, strict=True)])
        rows += len(window)
        empty += sum(text not in answers for text in texts)
        beyond += sum(not record.keys() <= known for record in window)
        progress(len(window))
    return Predicted(rows, empty, beyond)


def require_form(model: Model | Loaded, columns: Sequence[str], column: str, origin: str) -> None:
    """Raise where a model of pairs is given one column of texts, or one of single texts two.

    Raises:
        DataError: that is so.
    """
    wants, has = getattr(model, "form", "") == "pairs", two_columns(columns, column) is not None
    if wants and not has:
        raise DataError(f"The model reads pairs of texts; name the two columns of {origin} with --text FIRST,SECOND.")
    if has and not wants:
        raise DataError(f"The model reads one text a row, and --text names two columns of {origin}: {column!r}; name one.")


def reading_of(columns: Sequence[str], column: str) -> Callable[[Record], str]:
    """How the text of a row is read: from one column, or of pairs from both, "" where one of them is blank."""
    pair = two_columns(columns, column)
    if pair is None:
        return lambda record: as_text(record.get(column))

    def joined(record: Record) -> str:
        first, second = (as_text(record.get(name)) for name in pair)
        return join_pair(first, second) if first.strip() and second.strip() else ""

    return joined


def windows(records: Iterable[tuple[int, Record]], text_of: Callable[[Record], str]) -> Iterator[list[Record]]:
    """The rows in portions of at most WINDOW_ROWS, or fewer where their texts are long; a single row is never split."""
    window: list[Record] = []
    characters = 0
    for _, record in records:
        window.append(record)
        characters += len(text_of(record))
        if len(window) == WINDOW_ROWS or characters >= WINDOW_CHARACTERS:
            yield window
            window, characters = [], 0
    if window:
        yield window


@dataclass(frozen=True)
class Form:
    """What is said of a text: the new `columns`, and `answers` to their values for each different text that is not blank."""

    columns: tuple[str, ...]
    answers: Callable[[Sequence[str]], dict[str, list[Any]]]


@dataclass(frozen=True)
class _OfJoined:
    """A model of pairs that takes both texts in one."""

    labels: tuple[str, ...]
    predict_proba: Callable[[Sequence[str]], NDArray[np.floating[Any]]]


# Of what there is only one answer a text.
_ONE_ANSWER = {
    "tags": "marks entities: each word has one tag",
    "labels": "gives a text all labels that apply",
    "number": "predicts a number",
}


def form_of(model: Model | Loaded, top: int) -> Form:
    """What a model says of a text.

    The `top` likeliest labels, each with its probability; where a text may bear several, all that apply, and the least of their
    probabilities; a number; or the tag of each word, the least probability of one within an entity, and the entities.

    Raises:
        SettingsError: `top` is above 1 for a model that has one answer.
    """
    kind = getattr(model, "form", "label")
    if kind in _ONE_ANSWER and top > 1:
        raise SettingsError(f"--top is {top}, but the model {_ONE_ANSWER[kind]}. Leave it out.")
    if kind == "tags":
        return Form(("prediction", "probability", "entities"), lambda texts: _marked(texts, cast("LoadedTagger", model)))
    if kind == "labels":
        return Form(("prediction", "probability"), lambda texts: _labelled(texts, cast("LoadedLabels", model)))
    if kind == "number":
        return Form(("prediction",), lambda texts: _numbered(texts, cast("LoadedNumber", model)))
    if kind == "pairs":
        pairs = cast("LoadedPairs", model)
        model = _OfJoined(pairs.labels, lambda texts: pairs.predict_proba([split_pair(text) for text in texts]))
    model = cast(Model, model)
    new = [name if place == 1 else f"{name}_{place}" for place in range(1, top + 1) for name in ("prediction", "probability")]
    return Form(tuple(new), lambda texts: _answers(texts, model, top))


def _different(texts: Sequence[str]) -> list[str]:
    """The different texts that are not blank."""
    return list(dict.fromkeys(text for text in texts if text.strip()))


def _labelled(texts: Sequence[str], model: LoadedLabels) -> dict[str, list[Any]]:
    """For each different text: its labels, and the least of their probabilities; None where it has none."""
    different = _different(texts)
    found: dict[str, list[Any]] = {}
    for text, row in zip(different, model.predict_proba(different), strict=True):
        given = [k for k in (-row).argsort(kind="stable").tolist() if row[k] > 0.5]
        found[text] = [[model.labels[k] for k in given], round(float(row[given].min()), 6) if given else None]
    return found


def _numbered(texts: Sequence[str], model: LoadedNumber) -> dict[str, list[Any]]:
    """For each different text: the number."""
    different = _different(texts)
    return {text: [float(f"{value:.7g}")] for text, value in zip(different, model.predict(different), strict=True)}


def _answers(texts: Sequence[str], model: Model, top: int) -> dict[str, list[Any]]:
    """For each different text that is not blank: label, probability, second label, second probability, and so on to `top`."""
    import numpy as np

    different = _different(texts)
    if not different:
        return {}
    probabilities = np.asarray(model.predict_proba(different), dtype=np.float64)  # (n, c)
    best = np.argsort(-probabilities, axis=1, kind="stable")[:, :top]  # (n, top)
    values = np.take_along_axis(probabilities, best, axis=1).round(6).tolist()
    labels = list(model.labels)
    return {
        text: [part for number, value in zip(numbers, row, strict=True) for part in (labels[number], value)]
        for text, numbers, row in zip(different, best.tolist(), values, strict=True)
    }


def _marked(texts: Sequence[str], model: LoadedTagger) -> dict[str, list[Any]]:
    """For each different text that is not blank, or list of words as JSON: the words' tags, the least probability, the entities."""
    words = {text: without_lone_surrogates(list_of_words(text)) for text in dict.fromkeys(texts) if text.strip()}
    read = {text: text if listed is None else listed for text, listed in words.items() if listed != []}
    found = {}
    for text, (tags, entities) in zip(read, model.tag(list(read.values())), strict=True):
        sure = min((entity.probability for entity in entities), default=None)
        told = [{**dataclasses.asdict(entity), "probability": round(entity.probability, 6)} for entity in entities]
        found[text] = [tags, None if sure is None else round(sure, 6), told]
    return found


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


def output_format(out: str, format: str | None) -> str:
    """The format to write: the named one, else by the ending of `out`, else csv on standard output.

    Raises:
        SettingsError: an unknown format or ending, or parquet to a terminal.
    """
    if format is not None and format not in FORMATS:
        raise SettingsError(f"--format is {format!r}; it must be one of {', '.join(FORMATS)}.{did_you_mean(format, FORMATS)}")
    if format is None and out != STANDARD:
        format = Path(out).suffix.lower().lstrip(".")
        if format not in FORMATS:
            raise SettingsError(f"The name --out {out!r} does not tell the format; end it in .csv, .jsonl or .parquet, or give --format.")
    if format == "parquet" and out == STANDARD and sys.stdout.isatty():
        raise SettingsError("Parquet is no text for a terminal; give --out FILE, or lead the output into a file or a pipe.")
    return format or "csv"


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
    """The text column that a run was trained on, as its run.yaml says; None where it does not, or where there is a model without a run."""
    import yaml

    try:
        told = yaml.safe_load((folder / "run.yaml").read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return None
    for part in ("columns", "settings"):
        named = told.get(part) if isinstance(told, dict) else None
        if isinstance(named, dict) and isinstance(named.get("text"), str):
            return str(named["text"])
    return None


# --- writing ---


@contextmanager
def opened(out: str) -> Iterator[IO[bytes]]:
    """A stream into a file that appears whole at the end or not at all; standard output, pipes and devices are written as they are.

    Raises:
        SettingsError: `out` is a folder, or lies in one that does not exist.
    """
    if out == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(os.path.realpath(out))  # a link keeps pointing where it points
    if path.is_dir():
        raise SettingsError(f"--out {out!r} is a folder; give a file in it, as {os.path.join(out, 'predictions.csv')!r}.")
    if not path.parent.is_dir():
        raise SettingsError(f"--out {out!r} lies in a folder that does not exist; make {str(path.parent)!r} first.")
    if path.exists() and not path.is_file():  # a device or a named pipe must not be replaced by a file
        with path.open("wb") as stream:
            yield stream
        return
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with part.open("wb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def _write_csv(stream: IO[bytes], names: Sequence[str], given: int) -> tuple[Write, Callable[[], None]]:
    def write(rows: Sequence[Sequence[Any]]) -> None:
        cells = [[as_text(value) for value in row] for row in rows]
        text = _csv_text(cells)
        if "\r" in text:  # csv before Python 3.13 leaves it bare, and readers then see the end of a row
            text = "".join(_csv_text([row], csv.QUOTE_ALL if any("\r" in cell for cell in row) else csv.QUOTE_MINIMAL) for row in cells)
        stream.write(_utf8(text))

    write([names])
    return write, lambda: None


def _csv_text(rows: Sequence[Sequence[str]], quoting: Literal[0, 1] = csv.QUOTE_MINIMAL) -> str:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n", quoting=quoting).writerows(rows)
    return buffer.getvalue()


def _utf8(text: str) -> bytes:
    """Bytes of a text; half characters (lone surrogates, which JSON can hold) as their escapes."""
    return text.encode("utf-8", errors="backslashreplace")


def _write_jsonl(stream: IO[bytes], names: Sequence[str], given: int) -> tuple[Write, Callable[[], None]]:
    def write(rows: Sequence[Sequence[Any]]) -> None:
        # JSON has no NaN; where a number is missing it says null.
        rows = [[None if isinstance(value, float) and value != value else value for value in row] for row in rows]
        lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=as_text) + "\n" for row in rows]
        stream.write(_utf8("".join(lines)))

    return write, lambda: None


def _write_parquet(stream: IO[bytes], names: Sequence[str], given: int) -> tuple[Write, Callable[[], None]]:
    """Every input column as text (a stream does not know its types beforehand), probabilities and predicted numbers as numbers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    numbers = names[given:] == ["prediction"]  # without a probability it is a number
    kinds = [
        pa.float64() if place >= given and (numbers or name.startswith(("probability", "score"))) else pa.string()
        for place, name in enumerate(names)
    ]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    table = pq.ParquetWriter(stream, schema)

    def write(rows: Sequence[Sequence[Any]]) -> None:
        arrays = []
        for kind, values in zip(kinds, zip(*rows, strict=True), strict=True):
            cells = values if pa.types.is_floating(kind) else [None if value is None else as_text(value) for value in values]
            arrays.append(pa.array(cells, type=kind))
        table.write_batch(pa.record_batch(arrays, schema=schema))

    return write, table.close


WRITERS: dict[str, Callable[[IO[bytes], Sequence[str], int], tuple[Write, Callable[[], None]]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
