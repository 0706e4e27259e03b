"""Tables written as csv, jsonl or parquet, whole or not at all; standard output, pipes and devices as they are."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from headstart.data.table import as_text
from headstart.errors import SettingsError
from headstart.settings import did_you_mean

FORMATS = ("csv", "jsonl", "parquet")
STANDARD = "-"  # standard input, or standard output

Write = Callable[[Sequence[Sequence[Any]]], None]


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


def _write_csv(stream: IO[bytes], names: Sequence[str], numbers: Set[str]) -> tuple[Write, Callable[[], None]]:
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


def _write_jsonl(stream: IO[bytes], names: Sequence[str], numbers: Set[str]) -> tuple[Write, Callable[[], None]]:
    def write(rows: Sequence[Sequence[Any]]) -> None:
        # JSON has no NaN; where a number is missing it says null.
        rows = [[None if isinstance(value, float) and value != value else value for value in row] for row in rows]
        lines = [json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False, default=as_text) + "\n" for row in rows]
        stream.write(_utf8("".join(lines)))

    return write, lambda: None


def _write_parquet(stream: IO[bytes], names: Sequence[str], numbers: Set[str]) -> tuple[Write, Callable[[], None]]:
    """The columns of `numbers` as numbers, all others as text (a stream does not know its types beforehand)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = [pa.float64() if name in numbers else pa.string() for name in names]
    schema = pa.schema(list(zip(names, kinds, strict=True)))
    table = pq.ParquetWriter(stream, schema)

    def write(rows: Sequence[Sequence[Any]]) -> None:
        arrays = []
        for kind, values in zip(kinds, zip(*rows, strict=True), strict=True):
            cells = values if pa.types.is_floating(kind) else [None if value is None else as_text(value) for value in values]
            arrays.append(pa.array(cells, type=kind))
        table.write_batch(pa.record_batch(arrays, schema=schema))

    return write, table.close


WRITERS: dict[str, Callable[[IO[bytes], Sequence[str], Set[str]], tuple[Write, Callable[[], None]]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
