"""Numbers and foreign text in the words of the report: three significant digits, intervals in brackets, nothing that breaks a page."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from markupsafe import Markup, escape

from headstart.data.table import BY_LINES, Format, format_of
from headstart.records import Estimate

MINUS = "\N{MINUS SIGN}"
NOTHING = "\N{EN DASH}"
GLUE = "\N{NO-BREAK SPACE}"  # between a number and its unit

# Width of a character as a share of the font size: a generous mean over system fonts, so that estimates err on the wide side.
NARROW_EM, WIDE_EM = 0.56, 1.05


def clean(text: str) -> str:
    """Text on one line that any page or SVG can hold.

    Runs of white space become one space; control characters, lone surrogates and characters that no XML file may hold become U+FFFD;
    those that turn the direction of what follows them are left out, as they would turn the rest of the page too.
    """
    kept = []
    for character in " ".join(text.split()):
        kind = unicodedata.category(character)
        if kind in ("Cc", "Cs") or character in "\ufffe\uffff":
            kept.append("\N{REPLACEMENT CHARACTER}")
        elif character not in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069":
            kept.append(character)
    return "".join(kept)


def shorten(text: str, characters: int) -> str:
    """`clean` text of at most this many characters, the last one an ellipsis where something was cut off."""
    # White space may shrink to nothing, so look at a little more than is kept, but never at all of a huge text.
    line = clean(text[: 4 * characters + 64])
    cut = len(line) > characters or len(text) > 4 * characters + 64
    return line[: characters - 1].rstrip() + "…" if cut else line


def squeeze(text: str, characters: int) -> str:
    """Like `shorten`, but what is left out is in the middle: names of rungs and paths differ at both ends."""
    line = clean(text)
    if len(line) <= characters:
        return line
    tail = 2 * (characters - 1) // 5
    return f"{line[: characters - 1 - tail].rstrip()}…{line[len(line) - tail :].lstrip()}"


def prose(text: str, characters: int) -> Markup:
    """`shorten`ed text, escaped, in which what stands between two backticks is code."""
    parts = shorten(text, characters).split("`")
    if len(parts) % 2 == 0:  # a backtick without its twin
        return escape("`".join(parts))
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if i % 2 else part for i, part in enumerate(parts))


def command(text: str) -> Markup:
    """A command line, escaped, that breaks before its options rather than inside them."""
    first, *options = clean(text).split(" --")
    part = Markup("<span>{}</span>")
    return Markup(" ").join([part.format(first), *(part.format(f"--{option}") for option in options)])


def text_width(text: str, font: float) -> float:
    """About how many pixels a line takes in a font of this size; never too few by much."""
    return font * sum(_em(character) for character in text)


def fit(text: str, pixels: float, font: float) -> str:
    """`clean` text that takes at most about this many pixels in a font of this size."""
    line = shorten(text, max(2, int(pixels / (font * 0.3))))
    if text_width(line, font) <= pixels:
        return line
    while len(line) > 1 and text_width(line + "…", font) > pixels:
        line = line[:-1]
    return line.rstrip("… ") + "…"


def _em(character: str) -> float:
    if unicodedata.combining(character):
        return 0.0
    return WIDE_EM if unicodedata.east_asian_width(character) in "WF" else NARROW_EM


def _decimals(largest: float) -> int:
    """Decimals that give a number of this size three significant digits, six at most; two where all of six would be zeros."""
    if largest < 5e-7:
        return 2
    return min(6, max(0, 2 - math.floor(math.log10(largest))))


def _fixed(value: float, decimals: int, signed: bool = False) -> str:
    if not math.isfinite(value):
        return NOTHING
    word = f"{abs(value):,.{decimals}f}"
    is_zero = not any(digit in word for digit in "123456789")
    sign = "" if is_zero else MINUS if value < 0 else "+" if signed else ""
    return sign + word


def number(value: float | None, signed: bool = False) -> str:
    """Three significant digits; a dash for what was not measured; thousands in groups. `signed` writes the plus too."""
    if value is None or not math.isfinite(value):
        return NOTHING
    # Rounding first: 0.9996 is 1.00, not 1.000.
    return _fixed(value, _decimals(abs(float(f"{value:.3g}"))), signed)


def interval(estimate: Estimate | None) -> str:
    """`0.893 [0.851, 0.921]`, all three to the same number of decimals; a dash for None and for nan."""
    return NOTHING if estimate is None or math.isnan(estimate.value) else span(estimate.value, estimate.low, estimate.high)


def span(value: float, low: float, high: float, signed: bool = False) -> str:
    """A value and its interval as `0.893 [0.851, 0.921]`."""
    largest = max((abs(part) for part in (value, low, high) if math.isfinite(part)), default=0.0)
    # Scores and their differences: three decimals all down the column.
    decimals = 3 if 0.01 <= largest <= 1 else _decimals(largest)
    bounds = f"[{_fixed(low, decimals, signed)}, {_fixed(high, decimals, signed)}]"
    return f"{_fixed(value, decimals, signed)} {bounds}"


def count(value: int) -> str:
    """A whole number with thousands in groups."""
    return f"{value:,}"


def many(value: int, one: str, more: str = "") -> str:
    """`1 row`, `12 rows`; `more` for a plural that is not formed by an s."""
    return f"{value:,} {one if value == 1 else more or one + 's'}"


def percent(share: float) -> str:
    """A share in [0, 1] as a percentage: whole from ten up, one decimal below."""
    if not math.isfinite(share):
        return NOTHING
    value = 100 * share
    word = f"{value:.0f}" if value >= 9.95 or value == 0 else f"{value:.1f}"
    return f"{word}{GLUE}%"


def level(confidence: float) -> str:
    """The level of an interval, to its last digit: `95 %`, `97.5 %`."""
    return f"{100 * confidence:g}{GLUE}%"


def seconds(value: float) -> str:
    """A duration: `0.42 s`, `12.3 s`, `2 min 5 s`, `1 h 4 min`."""
    if not math.isfinite(value):
        return NOTHING
    if value < 99.95:
        return f"{number(value)}{GLUE}s" if value >= 0.995 else f"{value:.2f}{GLUE}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{GLUE}min {whole % 60}{GLUE}s"
    return f"{whole // 3600:,}{GLUE}h {whole % 3600 // 60}{GLUE}min"


def size(value: int) -> str:
    """Bytes with a decimal unit: `812 bytes`, `1.20 GB`."""
    if value < 1000:
        return many(value, "byte")
    amount = float(value)
    for unit in ("kB", "MB", "GB"):
        amount /= 1000
        if amount < 999.5:
            return f"{number(amount)}{GLUE}{unit}"
    return f"{number(amount / 1000)}{GLUE}TB"


def date(created: str) -> str:
    """An ISO time to the minute, `2025-11-22 06:00 UTC`; anything else as it is."""
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return clean(created)
    zone = moment.tzname() or ""
    return f"{moment:%Y-%m-%d %H:%M} {zone}".strip()


def row_list(rows: Sequence[int], total: int) -> str:
    """`rows 3, 17, 40–59 and 9 more`; empty for no rows. Three or more in a row become a range."""
    if not rows:
        return ""
    runs: list[list[int]] = []
    for row in rows:
        if runs and row == runs[-1][-1] + 1:
            runs[-1].append(row)
        else:
            runs.append([row])
    words = [f"{run[0]}{NOTHING}{run[-1]}" if len(run) > 2 else ", ".join(str(row) for row in run) for run in runs]
    rest = f" and {total - len(rows):,} more" if total > len(rows) else ""
    return f"{'row' if len(rows) == 1 and not rest else 'rows'} {', '.join(words)}{rest}"


def rows_counted(origin: str) -> str:
    """How the rows of a file are called, up to its name."""
    format = format_of(Path(origin))
    if format in BY_LINES:
        return "Rows are called by the lines on which they begin, in"
    return "Row numbers count from 1 under the header of" if format in (Format.CSV, Format.TSV) else "Row numbers count from 1 in"
