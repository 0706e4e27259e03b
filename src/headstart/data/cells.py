"""Lists and objects in a cell of a table: as JSON writes them, and as Python and numpy do, whose writing pandas leaves in a CSV."""

from __future__ import annotations

import ast
import json
import re
import warnings
from typing import Any

from headstart.data.from_json import without_lone_surrogates
from headstart.data.given import plain

_STRING = r"""'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*\""""
_STRINGS = re.compile(_STRING, re.DOTALL)
_STRINGS_AND_GAPS = re.compile(rf"{_STRING}|\bnan\b", re.DOTALL)
_ARRAYS = re.compile(rf"(?P<begin>\barray\((?=\[))|(?P<end>\](?:,\s*dtype=(?:\w+|'[^']*'))?\))|{_STRING}", re.DOTALL)
_NUMBERS = re.compile(r"\[\s*-?[0-9]+(\s+-?[0-9]+)+\s*\]")


def list_in(cell: str) -> list[Any] | None:
    """The list that a cell holds, half characters replaced; None: it holds none. A missing number is None or NaN."""
    if not cell.lstrip().startswith("["):
        return None
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        found = _in_python(cell.strip())
    return without_lone_surrogates(found) if isinstance(found, list) else None


def value_in(cell: str) -> Any:
    """The list or object that a cell holds, half characters replaced; None: it holds none."""
    if not cell.lstrip().startswith("{"):
        return list_in(cell)
    try:
        found = json.loads(cell)
    except (ValueError, RecursionError):
        found = _literal(_ARRAYS.sub(_without_array, cell.strip()))
    return without_lone_surrogates(found) if isinstance(found, dict) else None


def _without_array(found: re.Match[str]) -> str:
    """What stands for a part of `array(['a'], dtype=object)` in a list; strings stay as they are."""
    return "" if found["begin"] else "]" if found["end"] else found[0]


def _in_python(cell: str) -> Any:
    """The value that Python writes so, tuples as lists, or the list of strings or whole numbers that numpy does: `['a' 'b']`, `[1 2]`; else
    None."""
    if not cell.endswith("]"):  # a text that begins in brackets
        return None
    if _NUMBERS.fullmatch(cell):
        return [int(number) for number in cell[1:-1].split()]
    beside = [part.strip() for part in _STRINGS.split(cell)]
    touching = [not part for part in beside[1:-1]]
    if any(touching):  # without a comma between they would be one string to Python
        if not all(touching) or (beside[0], beside[-1]) != ("[", "]"):
            return None
        cell = f"[{', '.join(_STRINGS.findall(cell))}]"
    return _literal(cell)


def _literal(cell: str) -> Any:
    """The value that Python writes so, tuples as lists and NaN as None; None: it is none."""
    cell = _STRINGS_AND_GAPS.sub(lambda found: "None" if found[0] == "nan" else found[0], cell)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes that Python does not know
            return plain(ast.literal_eval(cell))
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return None
