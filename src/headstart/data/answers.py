"""Answers that stand in a context: how a cell holds them, and where in the context they are.

Three forms are read: SQuAD's lists of `{"text", "answer_start"}` or one of these alone, the same turned round (`{"text": [...],
"answer_start": [...]}`, as the hub keeps them), and plain text; the first two in JSON, or as pandas writes them in a CSV. In a row's label
they stand as a JSON list of `{"text", "start"}`; an empty list says that the context holds no answer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from headstart.data.cells import value_in
from headstart.data.pairs import without_mark

NOTHING = "[]"  # the label of a row whose context holds no answer


@dataclass(frozen=True)
class Answer:
    """An answer's text and where it begins in its context, in characters."""

    text: str
    start: int

    @property
    def end(self) -> int:
        """Where it ends."""
        return self.start + len(self.text)


def given_in(cell: str) -> list[tuple[str, int | None]] | None:
    """The answers that a cell holds, each with the place that it is said to stand at (None: not said); None: the cell is plain text."""
    found = value_in(cell)
    if isinstance(found, dict) and isinstance(found.get("text"), list):
        starts = found.get("answer_start", found.get("start"))
        starts = starts if isinstance(starts, list) and len(starts) == len(found["text"]) else [None] * len(found["text"])
        found = [{"text": text, "answer_start": start} for text, start in zip(found["text"], starts, strict=True)]
    if isinstance(found, dict):
        found = [found]
    if not isinstance(found, list):
        return None
    pairs = [_pair(item) for item in found]
    return None if any(pair is None for pair in pairs) else [pair for pair in pairs if pair is not None]


def _pair(item: Any) -> tuple[str, int | None] | None:
    if isinstance(item, str):
        return item, None
    if not isinstance(item, dict) or not isinstance(item.get("text"), str):
        return None
    start = item.get("answer_start", item.get("start"))
    if isinstance(start, bool) or not isinstance(start, int | float) or not float(start).is_integer():
        return item["text"], None
    return item["text"], int(start)  # a table may have made it 12.0


def find_in(context: str, text: str, start: int | None) -> Answer | None:
    """Where an answer stands in its context: at `start` if it does, else at its occurrence nearest to there; None: nowhere.

    The context is that of a joined text, and so are the signs of the answer that is given back.
    """
    text = without_mark(text).strip()
    if not text:
        return None
    if start is not None and start >= 0 and context[start : start + len(text)] == text:
        return Answer(text, start)
    places = []
    at = context.find(text)
    while at >= 0:
        places.append(at)
        at = context.find(text, at + 1)
    return Answer(text, min(places, key=lambda place: abs(place - (start or 0)))) if places else None


def as_label(answers: Sequence[Answer]) -> str:
    """The answers as a row's label, each once."""
    different = dict.fromkeys(answers)
    return json.dumps([{"text": answer.text, "start": answer.start} for answer in different], ensure_ascii=False)


def from_label(label: str) -> tuple[Answer, ...]:
    """The answers of a label that `as_label` made."""
    return tuple(Answer(item["text"], item["start"]) for item in json.loads(label))
