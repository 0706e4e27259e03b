"""From bytes to lines of text: which encoding a file is in, and what to do with bytes that do not belong to it."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

from headstart.data.rows import RowList, counted, finding
from headstart.errors import DataError, HeadstartError, ResourceError
from headstart.records import Finding, Severity
from headstart.settings import did_you_mean

SAMPLE_BYTES = 1 << 18
_PIECE_BYTES = 1 << 20
_NOT_ASCII = bytes(range(0x80, 0x100))
_GZIP_MAGIC = b"\x1f\x8b"
_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins the same way
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_UTF_8 = ("utf-8", "utf-8-sig")
_BY_MARK = ("utf-16", "utf-32")  # called so where a mark says it; where they are guessed the order of bytes is in the name


def _as_windows_1252(error: UnicodeError) -> tuple[str, int]:
    """What stands for bytes that are not UTF-8 in a UTF-8 file: pasted in from Windows, in nearly all cases."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    bad = error.object[error.start : error.end]
    return bad.decode("cp1252", errors="replace"), error.end


_MIXED = "headstart.mixed"
codecs.register_error(_MIXED, _as_windows_1252)


class _Joined(io.RawIOBase):
    """The bytes already taken as a sample, then the rest of the stream: works on pipes, which cannot go back."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        data = self._head[: len(view)] if len(self._head) else self._rest.read(len(view))
        view[: len(data)] = data
        self._head = self._head[len(data) :]
        return len(data)


def _joined(head: bytes, rest: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_Joined(head, rest), buffer_size=SAMPLE_BYTES))


def _unpacked(stream: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=stream))


@dataclass
class Notes:
    """What was noticed while a file was read. `row` is the row being read; 0 is the header."""

    origin: str
    encoding: str = "utf-8"
    row: int = 0

    def __post_init__(self) -> None:
        self.mixed = RowList()
        self.nul = RowList()
        self.left_out = RowList()
        self.left_out_because = ""
        self.surrogates = RowList()
        self.foreign = False  # bytes that are not UTF-8, in a file whose lines are not its rows
        self.encodings: dict[str, RowList] = {}  # of rows that are a file each
        self.files: list[Notes] = []  # of files of which each row has a line

    def take_encoding(self, inner: Notes) -> None:
        """Note the encoding of a file that is the row being read; one that a byte order mark tells leaves nothing to say."""
        if inner.mixed.count:
            self.mixed.add(self.row)
        elif inner.encoding not in (*_UTF_8, *_BY_MARK):
            self.encodings.setdefault(inner.encoding, RowList()).add(self.row)

    def findings(self) -> tuple[Finding, ...]:
        """One finding for each kind of thing noticed so far."""
        found = []
        if self.left_out.count:
            one = self.left_out.count == 1
            message = (
                f"{counted(self.left_out.count, 'row')} of {self.origin} {self.left_out_because} and {'was' if one else 'were'} left out."
            )
            remedy = f"Repair or delete {'it' if one else 'them'} in the file."
            found.append(finding("bad rows", Severity.WARNING, message, self.left_out, remedy))
        if self.mixed.count:
            hold = "holds" if self.mixed.count == 1 else "hold"
            message = (
                f"{counted(self.mixed.count, 'row')} of {self.origin} {hold} bytes that are not UTF-8; they were read as Windows-1252."
            )
            found.append(finding("encoding", Severity.WARNING, message, self.mixed, "Look at these rows, then save the file as UTF-8."))
        elif self.foreign:
            message = f"{self.origin} holds bytes that are not UTF-8; they were read as Windows-1252."
            found.append(finding("encoding", Severity.WARNING, message, (), "Look for odd letters, then save the file as UTF-8."))
        elif self.encoding not in _UTF_8:
            message = f"{self.origin} is not UTF-8; it was read as {self.encoding}."
            found.append(finding("encoding", Severity.NOTE, message, (), "Save it as UTF-8 if letters look wrong."))
        for encoding, rows in self.encodings.items():
            are, they = ("is", "it was") if rows.count == 1 else ("are", "they were")
            message = f"{counted(rows.count, 'row')} of {self.origin} {are} not UTF-8; {they} read as {encoding}."
            found.append(finding("encoding", Severity.WARNING, message, rows, "Look at these rows, then save their files as UTF-8."))
        if self.nul.count:
            message = f"{counted(self.nul.count, 'row')} of {self.origin} held NUL bytes, which were left out."
            found.append(finding("NUL bytes", Severity.WARNING, message, self.nul, "Look at how the file was exported."))
        if self.surrogates.count:
            message = (
                f"{counted(self.surrogates.count, 'row')} of {self.origin} held half a character (a lone surrogate), which was replaced."
            )
            found.append(finding("encoding", Severity.WARNING, message, self.surrogates, "Look at how the file was exported."))
        return (*found, *(noticed for file in self.files for noticed in file.findings()))


def read_error(origin: str, error: Exception) -> HeadstartError:
    """What the machine's refusal to read means for the user."""
    if isinstance(error, PermissionError):
        return ResourceError(f"No permission to read {origin}; give yourself the right to read it, or copy it to where you have it.")
    if isinstance(error, gzip.BadGzipFile):
        return DataError(f"{origin} is named .gz but is not a gzip file; rename it, or compress it again.")
    if isinstance(error, EOFError | zlib.error):
        return DataError(f"{origin} is a damaged or half-copied gzip file; copy or compress it again.")
    return ResourceError(f"{origin} cannot be read: {getattr(error, 'strerror', None) or error}.")


def open_bytes(path: Path, origin: str) -> IO[bytes]:
    """The file's bytes, uncompressed where its name ends in .gz.

    Raises:
        DataError: there is no such file.
        ResourceError: it may not be read.
    """
    try:
        return cast(IO[bytes], gzip.open(path)) if path.suffix.lower() == ".gz" else path.open("rb")
    except FileNotFoundError:
        names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
        hint = did_you_mean(path.name, names) or " Check the path."
        raise DataError(f"There is no file {origin}.{hint}") from None
    except OSError as error:
        raise read_error(origin, error) from error


def take_sample(stream: IO[bytes], origin: str) -> tuple[bytes, IO[bytes]]:
    """The first `SAMPLE_BYTES` of a stream, and the stream as if nothing had been read. Unpacks gzip that comes by a pipe."""
    try:
        head = stream.read(SAMPLE_BYTES)
        joined = _joined(head, stream)
        if head.startswith(_GZIP_MAGIC):
            stream = _unpacked(joined)
            head = stream.read(SAMPLE_BYTES)
            joined = _joined(head, stream)
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(origin, error) from error
    return head, joined


def find_encoding(head: bytes) -> str:
    """The encoding of a file that begins with these bytes.

    A byte order mark decides; else UTF-8 where at least as many lines are UTF-8 beyond ASCII as are not; else what
    charset-normalizer reads from the lines that are not ASCII.
    """
    for mark, name in _BOMS:
        if head.startswith(mark):
            return name
    if len(head) >= 4:
        # UTF-16 without a mark: every second byte of mostly Latin text is NUL.
        even, odd = head[0:2000:2], head[1:2000:2]
        if odd.count(0) > 0.4 * len(odd) and even.count(0) < 0.1 * len(even):
            return "utf-16-le"
        if even.count(0) > 0.4 * len(even) and odd.count(0) < 0.1 * len(odd):
            return "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head)  # a character cut in two at the end is no fault
        return "utf-8"
    except UnicodeDecodeError:
        pass
    good, bad = 0, []
    for line in head.split(b"\n"):
        if line.isascii():
            continue
        try:
            line.decode("utf-8")
            good += 1
        except UnicodeDecodeError:
            bad.append(line)
    if good >= len(bad):
        return "utf-8"
    return _guess(b"\n".join(bad)[: 1 << 16])


# Those in use for tables; the detector knows a hundred and mistakes short texts for rare ones.
_CANDIDATES = [
    "cp1252",
    "cp1250",
    "cp1251",
    "cp1253",
    "cp1254",
    "cp1255",
    "cp1256",
    "cp1257",
    "koi8_r",
    "gb18030",
    "big5",
    "cp932",
    "euc_jp",
    "cp949",
]
# Relatives of Windows-1252, for which a text of Western Europe is easily mistaken.
_RELATIVES = ("cp1250", "cp1254", "cp1257")
# Shares by which two guesses may differ and be as likely as each other.
_ALIKE = 0.005


def _guess(sample: bytes) -> str:
    """The likeliest encoding of bytes that are not UTF-8."""
    from charset_normalizer import from_bytes

    found = from_bytes(sample, cp_isolation=_CANDIDATES)
    best = found.best()
    if best is None:
        return "cp1252"
    western = [each for each in found if "cp1252" in each.could_be_from_charset]
    as_likely = [each for each in western if each.chaos <= best.chaos + _ALIKE and each.coherence >= best.coherence - _ALIKE]
    if best.encoding in _RELATIVES and as_likely:
        return "cp1252"  # which is far more common
    return best.encoding.replace("_", "-")


def text_lines(head: bytes, stream: IO[bytes], notes: Notes, *, tabular: bool = False) -> Iterator[str]:
    """The lines of a stream with their line ends, decoded; oddities go to `notes` under the row being read.

    A bare carriage return ends a line where the stream begins without a line feed; of what may be a table (`tabular`) also where its first
    line holds one, for then a line feed stands within a cell.
    """
    notes.encoding = find_encoding(head)
    wide = notes.encoding.startswith(("utf-16", "utf-32"))
    try:
        if wide or _ends_in_returns(head, tabular):
            errors = _MIXED if notes.encoding.startswith("utf-8") else "replace"
            yield from io.TextIOWrapper(stream, encoding=notes.encoding, errors=errors, newline="")
            return
        mark = len(codecs.BOM_UTF8) if notes.encoding == "utf-8-sig" else 0
        unicode = notes.encoding.startswith("utf-8")
        for line in stream:
            if mark:
                line, mark = line[mark:], 0
            if not unicode:
                yield line.decode(notes.encoding, errors="replace")
                continue
            try:
                yield line.decode("utf-8")
            except UnicodeDecodeError:
                notes.mixed.add(notes.row)
                yield line.decode("utf-8", errors=_MIXED)
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(notes.origin, error) from error


def _ends_in_returns(head: bytes, tabular: bool) -> bool:
    """Whether lines end as those of old Macs do, which Excel still writes."""
    first, feed, _ = head.lstrip(b"\r\n").partition(b"\n")
    return b"\r" in first.rstrip(b"\r") and (tabular or not feed)


def text_pieces(head: bytes, stream: IO[bytes], notes: Notes) -> Iterator[str]:
    """The text of a stream in pieces of a megabyte, where the lines of a file are not its rows; else as `text_lines`."""
    notes.encoding = find_encoding(head)
    if notes.encoding not in _UTF_8:
        reader = io.TextIOWrapper(stream, encoding=notes.encoding, errors="replace", newline="")
        pieces = iter(lambda: reader.read(_PIECE_BYTES), "")
    else:
        pieces = _utf_8_pieces(stream, notes)
    try:
        yield from pieces
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(notes.origin, error) from error


def _utf_8_pieces(stream: IO[bytes], notes: Notes) -> Iterator[str]:
    """Pieces that end with an ASCII character, so that none is cut in two."""
    held = b""
    first = True
    while True:
        read = stream.read(_PIECE_BYTES)
        held += read
        end = len(held.rstrip(_NOT_ASCII)) if read else len(held)
        piece, held = held[:end], held[end:]
        if first and piece:
            piece, first = piece.removeprefix(codecs.BOM_UTF8), False
        try:
            yield piece.decode("utf-8")
        except UnicodeDecodeError:
            notes.foreign = True
            yield piece.decode("utf-8", errors=_MIXED)
        if not read:
            return
