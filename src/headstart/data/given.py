"""Texts and labels that are handed over in memory: lists, columns of tables, arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from numbers import Real
from typing import Any

import numpy as np

from headstart.errors import DataError


def listed(given: Iterable[Any], what: str = "texts") -> list[Any]:
    """What was given as a list, one element a row: of a column of a table its values, of a table of one column those of that. An element
    that is an array itself, as the words of a row read from Parquet are, is a list.

    Raises:
        DataError: a table or matrix of several columns.
    """
    shape = getattr(given, "shape", None)
    if shape is None:
        return [_as_list(element) for element in given]
    if len(shape) != 1 and not (len(shape) == 2 and shape[1] == 1):
        raise DataError(f"The {what} have the shape {tuple(shape)}; give one for each row, as a list or one column.")
    return [_as_list(element) for element in np.asarray(given, dtype=object).ravel().tolist()]


def _as_list(element: Any) -> Any:
    return element.tolist() if isinstance(element, np.ndarray) else element


def texts_of(given: Iterable[Any], may_be: Callable[[Any], bool] = lambda text: isinstance(text, str)) -> list[Any]:
    """The texts of a list or a column; `may_be` says what counts as one.

    Raises:
        DataError: as `listed`, or one is no text.
    """
    texts = listed(given)
    for position, text in enumerate(texts):
        if not may_be(text):
            raise DataError(f"Text {position + 1} is {text!r}, which is no string; every text must be one.")
    return texts


def plain(value: Any) -> Any:
    """A cell as JSON has it: arrays, tuples and sets as lists, those within others too."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, set | frozenset):
        value = sorted(value, key=str)
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return {name: plain(part) for name, part in value.items()} if isinstance(value, dict) else value


def is_missing(value: object) -> bool:
    """Whether a cell of a table holds nothing: None, NaN, NaT or NA."""
    return value is None or type(value).__name__ in ("NAType", "NaTType") or (isinstance(value, Real) and math.isnan(value))
