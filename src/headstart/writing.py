"""Tables written as csv, jsonl or parquet, whole or not at all; standard output, pipes and devices as they are."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from headstart.data.parse import delimited_text
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
        OSError: it cannot be written; `filename` is `out`.
    """
    if out in (STANDARD, "/dev/stdout"):
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    # A link keeps pointing where it points; what is no file, such as a pipe of the shell's, may have no path behind it.
    path = Path(out) if os.path.exists(out) and not os.path.isfile(out) else Path(os.path.realpath(out))
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
    except OSError as error:
        if error.filename in (None, str(part)):  # a full disk names no file, and no one asked for that of the part
            error.filename = out
        raise
    finally:
        part.unlink(missing_ok=True)


def _write_csv(stream: IO[bytes], names: Sequence[str], kinds: Mapping[str, str]) -> tuple[Write, Callable[[], None]]:
    def write(rows: Sequence[Sequence[Any]]) -> None:
        stream.write(_utf8(delimited_text([[as_text(value) for value in row] for row in rows])))

    write([names])
    return write, lambda: None


def _utf8(text: str) -> bytes:
    """Bytes of a text; half characters (lone surrogates, which JSON can hold) as their escapes."""
    return text.encode("utf-8", errors="backslashreplace")


def _write_jsonl(stream: IO[bytes], names: Sequence[str], kinds: Mapping[str, str]) -> tuple[Write, Callable[[], None]]:
    def write(rows: Sequence[Sequence[Any]]) -> None:
        records = [dict(zip(names, map(_json_value, row), strict=True)) for row in rows]
        lines = [json.dumps(record, ensure_ascii=False, default=as_text) + "\n" for record in records]
        stream.write(_utf8("".join(lines)))

    return write, lambda: None


def _json_value(value: Any) -> Any:
    """A value as JSON can hold it: it has neither NaN nor infinity, and says null where there is no number."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, list):
        return [_json_value(part) for part in value]
    if isinstance(value, dict):
        return {key: _json_value(part) for key, part in value.items()}
    return value


def _write_parquet(stream: IO[bytes], names: Sequence[str], kinds: Mapping[str, str]) -> tuple[Write, Callable[[], None]]:
    """The columns of `kinds` as numbers of that kind, all others as text (of a stream no types are known beforehand)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    types = [pa.type_for_alias(kinds.get(name, "string")) for name in names]
    schema = pa.schema(list(zip(names, types, strict=True)))
    table = pq.ParquetWriter(stream, schema)

    def write(rows: Sequence[Sequence[Any]]) -> None:
        arrays = []
        for name, type, values in zip(names, types, zip(*rows, strict=True), strict=True):
            cells = values if name in kinds else [None if value is None else as_text(value) for value in values]
            arrays.append(pa.array(cells, type=type))
        table.write_batch(pa.record_batch(arrays, schema=schema))

    return write, table.close


WRITERS: dict[str, Callable[[IO[bytes], Sequence[str], Mapping[str, str]], tuple[Write, Callable[[], None]]]] = {
    "csv": _write_csv,
    "jsonl": _write_jsonl,
    "parquet": _write_parquet,
}
