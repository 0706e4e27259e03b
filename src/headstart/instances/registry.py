"""The ways of choosing source rows by name. A way is one file with a `WAY`, and one line here."""

from __future__ import annotations

import importlib

from headstart.errors import SettingsError
from headstart.instances.base import Way
from headstart.settings import did_you_mean

_NAMES = (
    "sure",
    "nearest",
    "class_centres",
    "agreement",
    "density",
    "dsir",
    "mean_matching",
    "influence",
    "block_influence",
    "boosting",
    "whole_sets",
)


def known_ways() -> list[str]:
    """The names of all ways, the default first."""
    return list(_NAMES)


def get_way(name: str) -> Way:
    """The way of this name.

    Raises:
        SettingsError: there is none.
    """
    if name in _NAMES:
        found: Way = importlib.import_module(f"headstart.instances.{name}").WAY
        return found
    raise SettingsError(f"--rows-by is {name!r}; it must be one of {', '.join(_NAMES)}.{did_you_mean(name, _NAMES)}")
