"""Translations: the forms in which texts of two languages stand side by side.

Four are read: a table with a column for each language; records whose `translation` holds a text for each; two files of which line n of
one is the translation of line n of the other, named together as `FIRST,SECOND`; and TMX, the exchange format of translation memories.
"""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator, Sequence
from html.entities import html5
from pathlib import Path
from typing import IO, Any
from xml.parsers import expat

from headstart.data.lines import Notes, open_bytes, read_error, take_sample, text_lines
from headstart.data.parse import Record
from headstart.errors import DataError

TRANSLATION = "translation"
# Two columns called so are a source and its translation, where nobody says otherwise.
_SIDES = (("source", "target"), ("src", "tgt"), ("src", "trg"))
# The languages of ISO 639-1 (https://www.loc.gov/standards/iso639-2), by their codes.
_CODES_OF_LANGUAGES = (
    "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff "
    "fi fj fo fr fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku "
    "kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu "
    "rm rn ro ru rw sa sc sd se sg si sk sl sm sn so sq sr ss st su sv sw ta te tg th ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo "
    "wa wo xh yi yo za zh zu"
)
_LANGUAGES = frozenset(_CODES_OF_LANGUAGES.split())
# A language, perhaps with its script or region, or both. After an underscore their case decides: `is_spam` and `id_str` are no languages.
_CODE = re.compile(r"[A-Za-z]{2}(-[A-Z][a-z]{3})?(-([A-Za-z]{2}|[0-9]{3}))?|[a-z]{2}_([A-Z]{2}|[A-Z][a-z]{3})")
_NUMBERS = "id"  # Indonesian, and in nearly all tables what numbers the rows
_XML_LANGUAGE = ("xml:lang", "lang")
# Within a segment of TMX these hold the codes of a layout, not its text.
_CODES = frozenset({"bpt", "ept", "ph", "it", "ut"})
_PIECE = 1 << 16


def is_language(name: str) -> bool:
    """Whether a name is the code of a language, perhaps with a region or a script: `de`, `pt-BR`, `zh_Hant`."""
    return name[:2].lower() in _LANGUAGES and _CODE.fullmatch(name) is not None


def language_pair(columns: Sequence[str], text: str | None, label: str | None) -> tuple[str, str] | None:
    """The column of the source and that of its translation, where a table plainly has them.

    They are the only two called by a language's code, in the table's order, or `source` and `target`; a column that was named is the one
    it was named for. `id` is a language only where the table has no third column. None: there are no such two, or both were named.
    """
    if text is not None and label is not None:
        return None
    named = {text, label} - {None}
    lowered = {column.lower(): column for column in columns}
    pairs = [tuple(lowered[name] for name in pair) for pair in _SIDES if set(pair) <= lowered.keys()]
    languages = tuple(column for column in columns if is_language(column) and (len(columns) == 2 or column.lower() != _NUMBERS))
    for pair in [*([languages] if len(languages) == 2 else []), *pairs]:
        if named <= set(pair):
            first, second = pair
            turned = text == second or label == first
            return (second, first) if turned else (first, second)
    return None


def unfolded(record: Record) -> Record:
    """A record with a column for each language, where it has one `translation` that holds them."""
    sides = record.get(TRANSLATION)
    if not isinstance(sides, dict):
        return record
    return {**{name: value for name, value in record.items() if name != TRANSLATION}, **{str(name): value for name, value in sides.items()}}


def unfolded_columns(table: Any) -> Any:
    """An Arrow table or batch with a column for each language, where it has one `translation` that holds them; as `unfolded` does."""
    import pyarrow as pa

    place = table.schema.get_field_index(TRANSLATION)
    if place < 0 or not pa.types.is_struct(table.schema.field(place).type):
        return table
    names = [*table.schema.names, *(side.name for side in table.schema.field(place).type)]
    columns = [*table.columns, *table.column(place).flatten()]
    del names[place], columns[place]
    return type(table).from_arrays(columns, names=names)


# --- two files ---


def two_files(origin: str) -> tuple[Path, Path] | None:
    """The files that `FIRST,SECOND` names, where there is no file of that whole name; None: it names no two files.

    Raises:
        DataError: one of the two is there alone.
    """
    if "," not in origin or Path(origin).exists():
        return None
    places = [i for i, sign in enumerate(origin) if sign == ","]
    pairs = [(Path(origin[:at].strip()), Path(origin[at + 1 :].strip())) for at in places]
    for first, second in pairs:
        if first.is_file() and second.is_file():
            return first, second
    for first, second in pairs:
        if first.is_file() or second.is_file():
            absent = second if first.is_file() else first
            open_bytes(absent, f"{str(absent)!r}, one of the two in {origin!r}").close()  # which says what stands there in its place
    return None


def side_names(first: Path, second: Path) -> tuple[str, str]:
    """What the lines of two files are called: by their endings where these are languages (`train.en`, `train.de.gz`), else by their
    sides."""
    names = [Path(file.name.removesuffix(".gz")).suffix.lstrip(".") for file in (first, second)]
    if all(map(is_language, names)) and names[0] != names[1]:
        return names[0], names[1]
    return _SIDES[0]


def line_records(first: Path, second: Path, notes: Notes) -> Iterator[tuple[int, Record]]:
    """Line n of both files as row n.

    Raises:
        DataError: one has more lines than the other, so that nobody knows which belong together.
    """
    names = side_names(first, second)
    counts = [0, 0]
    with open_bytes(first, repr(str(first))) as one, open_bytes(second, repr(str(second))) as two:
        sides = [_lines(stream, str(file), notes) for stream, file in ((one, first), (two, second))]
        for row, lines in enumerate(itertools.zip_longest(*sides), start=1):
            counts = [count + (line is not None) for count, line in zip(counts, lines, strict=True)]
            if None not in lines:
                notes.row = row
                yield row, dict(zip(names, lines, strict=True))
    if counts[0] != counts[1]:
        raise DataError(
            f"{str(first)!r} has {counts[0]:,} lines and {str(second)!r} {counts[1]:,}; line n of one must be the translation of line n of "
            "the other."
        )


def _lines(stream: IO[bytes], origin: str, notes: Notes) -> Iterator[str]:
    """The lines of a file, each without its end; what is noticed of it is told under its own name."""
    head, joined = take_sample(stream, repr(origin))
    inner = Notes(repr(origin), row=1)
    notes.files.append(inner)
    for line in text_lines(head, joined, inner):
        inner.row += 1
        yield line.rstrip("\r\n")


# --- TMX ---


class _Units:
    """What an XML parser calls while it reads TMX; whole units gather in `found`."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.found: list[Record] = []
        self.languages: dict[str, str] = {}  # as each is written first: their case means nothing in TMX
        self._unit: dict[str, str] | None = None
        self._language = ""
        self._text: list[str] | None = None
        self._codes = 0

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if name == "tu":
            self._unit = {}
        elif name == "tuv":
            code = next((attributes[key] for key in _XML_LANGUAGE if key in attributes), "").strip()
            self._language = self.languages.setdefault(code.lower(), code) if code else ""
        elif name == "seg" and self._unit is not None and self._language:
            self._text = []
        elif name in _CODES:
            self._codes += 1

    def end(self, name: str) -> None:
        if name == "seg" and self._text is not None and self._unit is not None:
            self._unit.setdefault(self._language, "".join(self._text).strip())
            self._text = None
        elif name in _CODES:
            self._codes -= 1
        elif name == "tu" and self._unit is not None:
            self.found.append(dict(self._unit))
            self._unit = None

    def text(self, text: str) -> None:
        if self._text is not None and not self._codes:
            self._text.append(text)

    def skipped(self, name: str, of_the_declaration: bool) -> None:
        """An entity that only the file behind the declaration of TMX tells, which is not read: HTML's, in nearly all cases."""
        if not of_the_declaration:
            self.text(html5.get(f"{name};", f"&{name};"))

    def entity(self, *_: Any) -> None:
        raise DataError(f"{self.origin} declares entities of its own, which can blow up beyond all memory; save it again without them.")


def tmx_records(stream: IO[bytes], notes: Notes) -> Iterator[tuple[int, Record]]:
    """The units of a TMX file, a column for each language, unit by unit; memory stays bounded.

    Raises:
        DataError: the file is no XML, damaged, in an encoding that no reader of XML here knows, declares entities, or says no languages.
    """
    units = _Units(notes.origin)
    parser = expat.ParserCreate()
    parser.StartElementHandler, parser.EndElementHandler = units.start, units.end
    parser.CharacterDataHandler, parser.EntityDeclHandler, parser.SkippedEntityHandler = units.text, units.entity, units.skipped
    row = 0
    for piece in itertools.chain(_pieces(stream, notes.origin), [None]):
        try:
            parser.Parse(piece or b"", piece is None)
        except expat.ExpatError as error:
            raise DataError(
                f"{notes.origin} is damaged XML at line {error.lineno:,} ({expat.errors.messages[error.code]}); export it again as TMX."
            ) from None
        except (ValueError, LookupError) as error:  # of the encoding that its first line names: unknown, or one that expat cannot read
            raise DataError(f"{notes.origin} is in an encoding that cannot be read here ({error}); save it again as UTF-8.") from None
        for record in units.found:
            row += 1
            notes.row = row
            yield row, record
        units.found.clear()
    if not row:
        raise DataError(f"{notes.origin} holds no unit of translation (<tu>); export it again as TMX.")
    if not units.languages:
        raise DataError(f"{notes.origin} says of no text in which language it is (<tuv xml:lang=...>); export it again as TMX.")


def _pieces(stream: IO[bytes], origin: str) -> Iterator[bytes]:
    """The stream piece by piece.

    Raises:
        DataError: it is packed, and damaged.
        ResourceError: the machine refuses to go on reading.
    """
    try:
        yield from iter(lambda: stream.read(_PIECE), b"")
    except (OSError, EOFError, zlib.error) as error:
        raise read_error(origin, error) from error


def is_tmx(head: bytes) -> bool:
    """Whether a file that begins so is TMX."""
    return b"<tmx" in head[:4096] or b"<\x00t\x00m\x00x\x00" in head[:4096]
