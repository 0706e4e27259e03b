"""Entities marked in their text."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headstart.records import Mark
from headstart.report.wording import clean

_WHOSE = {"label": "the label only", "model": "the model only", "both": "label and model"}


def marked(text: str, marks: Sequence[Mark], characters: int) -> Markup:
    """The text, escaped and of at most about so many characters, its entities marked with their type; of two that overlap the first."""
    parts, at = [], 0
    for mark in sorted(marks, key=lambda mark: (mark.start, -mark.end)):
        if mark.start < at or mark.end > characters:
            continue
        parts.append(Markup("{}").format(_plain(text[at : mark.start])))
        inside = Markup('<mark class="{}" title="{}">{}<small>{}</small></mark>')
        parts.append(inside.format(mark.by, _WHOSE.get(mark.by, mark.by), clean(text[mark.start : mark.end]), clean(mark.type)))
        at = mark.end
    rest = text[at : max(at, characters)]
    more = "…" if max(at, characters) < len(text) else ""
    return Markup("").join([*parts, Markup("{}{}").format(_plain(rest), more)])


def _plain(text: str) -> str:
    """Text between marks: what `clean` makes of it, the spaces at its ends kept."""
    kept = clean(text)
    before = " " if text[:1].isspace() and kept else ""
    after = " " if text[-1:].isspace() else ""
    return f"{before}{kept}{after}"
