"""Two texts that are read as one: how they stand in one string, so that every other room sees texts.

Between them stands a double vertical line with spaces about it. A line of that kind within one of the texts becomes a plain one, so that
every other sign of the text stays at its place.
"""

from __future__ import annotations

MARK = "\N{DOUBLE VERTICAL LINE}"
BETWEEN = f" {MARK} "


def without_mark(text: str) -> str:
    """A text as it stands in a joined one, of the same length."""
    return text.replace(MARK, "|")


def join_pair(first: str, second: str) -> str:
    """Both texts in one."""
    return BETWEEN.join(without_mark(part) for part in (first, second))


def split_pair(text: str) -> tuple[str, str]:
    """The two texts of one that `join_pair` made; of any other the text and ""."""
    first, _, second = text.partition(BETWEEN)
    return first, second
