"""What the shelf says of one source, and how it is read back from its file."""

from __future__ import annotations

import dataclasses
import json
import types
import typing
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from headstart.records import Estimate


class Kind(str, Enum):
    """What stands behind a name on the shelf."""

    RUN = "run"  # a finished run of headstart
    FOLDER = "folder"
    PACKAGE = "package"
    HUB = "hub"


@dataclass(frozen=True)
class Origin:
    """The source that a run's weights began from.

    `name` is as the user gave it, `place` leads there from everywhere (an absolute folder, a package's name, `hub:NAME`), `digest` is that
    of its files then; "": not known.
    """

    name: str
    place: str
    digest: str


@dataclass(frozen=True)
class Learned:
    """What a run learned from and how well. `data` names the file, `rows` counts those that were used, `median_tokens` is of one text."""

    strategy: str
    data: str
    rows: int
    median_tokens: int
    metric: str
    score: Estimate
    judged_on: str
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Entry:
    """One source on the shelf.

    `place` is an absolute folder (run, folder), the name of a package, or `hub:NAME`. `digest` and `files` (path, bytes) are of what it
    computes with, as it was when it was added; "" and () for a hub model, which is not downloaded before it is used. `task` and `labels`
    are "" and () where the source has none of its own. `learned` None: no run made it. `came_from` None: not known, or it began from
    random weights. `added` is a day, as in 2026-11-03.
    """

    name: str
    kind: Kind
    place: str
    digest: str
    files: tuple[tuple[str, int], ...]
    task: str
    labels: tuple[str, ...]
    learned: Learned | None
    came_from: Origin | None
    added: str


@dataclass(frozen=True)
class Damaged:
    """A file of the shelf that cannot be read as an entry; `name` is by which `remove` takes it away."""

    name: str
    path: Path
    reason: str


class WrongEntryError(Exception):
    """What a file says is not what an entry says."""


def parse_entry(content: bytes) -> Entry:
    """The entry in a file's content; what is unknown in it is passed over, for a newer headstart wrote it.

    Raises:
        WrongEntryError: it is none, and why.
    """
    try:
        entry: Entry = _typed(Entry, json.loads(content), "")
    except (ValueError, RecursionError, OverflowError):
        raise WrongEntryError("it is no JSON") from None
    if entry.kind in (Kind.RUN, Kind.FOLDER) and not Path(entry.place).is_absolute():
        raise WrongEntryError("its place is no absolute folder")
    return entry


def _typed(kind: Any, value: Any, where: str) -> Any:
    """A value of the JSON as the type of its field, strictly; `where` names it."""
    if isinstance(kind, types.UnionType):  # every union here is one type or None
        return None if value is None else _typed(typing.get_args(kind)[0], value, where)
    if typing.get_origin(kind) is tuple:
        inner = typing.get_args(kind)
        if not isinstance(value, list) or (inner[-1] is not Ellipsis and len(inner) != len(value)):
            raise WrongEntryError(f"its {where} is no such list")
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else inner
        return tuple(_typed(part, item, where) for part, item in zip(kinds, value, strict=True))
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        if not isinstance(value, dict):
            raise WrongEntryError(f"its {where} is no object" if where else "it is no JSON object")
        hints = typing.get_type_hints(kind)
        absent = sorted(hints.keys() - value.keys())
        if absent:
            raise WrongEntryError(f"it lacks {absent[0]}")
        return kind(**{name: _typed(hint, value[name], name) for name, hint in hints.items()})
    if kind is Kind and value in [member.value for member in Kind]:
        return Kind(value)
    if kind is float and type(value) is int:
        return float(value)
    if type(value) is not kind:
        raise WrongEntryError(f"its {where} is {str(value)[:40]!r}")
    return value
