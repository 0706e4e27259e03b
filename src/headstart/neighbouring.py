"""Labelled data beside the target's own: which columns to read, and which rows the target has too.

Source tasks (`detours.py`) and source rows (`instances/`) are read with it.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.data.columns import choose_columns, two_columns, usual_pair
from headstart.data.duplicates import near_duplicates
from headstart.data.examples import Examples
from headstart.data.prompts import prompt_columns
from headstart.data.table import open_table
from headstart.errors import DataError
from headstart.settings import Settings
from headstart.target import Target
from headstart.tasks.registry import GENERATION

# What is wrong with data of a task that has no part to share with another.
NO_SOURCE_TASK = "it is data for the task {}; learn it by itself, and name its run with --source."


def same_file(one: str, other: str) -> bool:
    """Whether two names are of one file."""
    return one == other or (Path(one).exists() and Path(other).exists() and Path(one).resolve() == Path(other).resolve())


def columns_like(path: str, target: Examples, settings: Settings) -> tuple[str | None, str | None]:
    """The columns of another file: those named for the target where the file has them too, else None, which finds its only ones.

    Raises:
        DataError: there are several that could be it.
    """
    with open_table(path) as table:
        columns = table.columns
    own = (settings.text or target.text_column, settings.label or target.label_column)
    text, label = (name if name in columns else None for name in own)
    if two_columns(columns, own[0]) is not None:
        return own[0], label
    if usual_pair(columns, None, None) is not None:
        return None, label
    if len(columns) > 2:
        try:
            choose_columns(columns, text, label, repr(path), lambda _: ())
        except DataError:
            if prompt_columns(columns) is not None:
                raise DataError(NO_SOURCE_TASK.format(GENERATION)) from None
            shown = ", ".join(map(repr, columns[:10])) + (f" and {len(columns) - 10} more" if len(columns) > 10 else "")
            raise DataError(
                f"it has no columns that are plainly text and label; call them so, or as in the target's data ({own[0]!r} and {own[1]!r}). "
                f"Its columns: {shown}."
            ) from None
    return text, label


def said_of(error: DataError, target: Examples, settings: Settings) -> str:
    """What is wrong with a file beside the target's; where that names --text or --label, also how this file's columns are found."""
    said, own = str(error), (settings.text or target.text_column, settings.label or target.label_column)
    if "--text" not in said and "--label" not in said:
        return said
    found = f"of this file, columns that are called the same are read ({own[0]!r} and {own[1]!r})"
    return f"{said} These options name the target's columns; {found}."


def apart_from(examples: Examples, target: Target, read_as: Sequence[str] | None = None) -> Examples:
    """The rows that say nothing that a row of the target says, be it learnt from, chosen on or judged on; near duplicates are the same.

    `read_as` are the rows' texts in their task's own form; None: as they stand.
    """
    own = [*target.examples.texts, *target.rows.texts, *(target.test.texts if target.test is not None else ())]
    return unlike(examples, own, read_as)


def unlike(examples: Examples, own: Sequence[str], read_as: Sequence[str] | None = None) -> Examples:
    """The rows that say nothing that one of the texts `own` says; `read_as` as of `apart_from`."""
    texts = [text.strip() for text in (*own, *(examples.texts if read_as is None else read_as))]
    # No bound on a cluster: a text that another one joins to the target's is left out too, which costs a row and never lets one through.
    groups = near_duplicates(texts, largest_cluster=len(texts)).groups
    shared = np.isin(groups[len(own) :], groups[: len(own)])
    return examples.take(np.flatnonzero(~shared))
