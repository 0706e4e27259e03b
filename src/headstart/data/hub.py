"""Data sets of the Hugging Face hub, by the optional `datasets` package."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from headstart.errors import DataError

DEFAULT_SPLIT = "train"


def hub_records(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number and values of each row of `NAME[:SPLIT]`; class numbers, and those in lists, are given by their names.

    Raises:
        DataError: `datasets` is not installed, or the data set cannot be had.
    """
    name, _, split = name.partition(":")
    split = split or DEFAULT_SPLIT
    try:
        import datasets
    except ImportError:
        raise DataError(f"Reading 'hub:{name}' needs the package datasets; install it with `pip install headstart[hub]`.") from None
    try:
        data = datasets.load_dataset(name, split=split)
    except Exception as error:  # the package raises what its many parts raise; whatever it is, the data set cannot be had
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
        offline = os.environ.get("HF_HUB_OFFLINE", "").lower() in ("1", "true", "yes", "on")
        remedy = (
            "HF_HUB_OFFLINE is set, so only what was fetched before can be read" if offline else "check its name, its split and the network"
        )
        raise DataError(f"The split {split!r} of the hub data set {name!r} cannot be had ({reason}); {remedy}.") from error
    known = {column: _names(feature, datasets.ClassLabel) for column, feature in data.features.items()}
    names = {column: found for column, found in known.items() if found is not None}

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        for row, record in enumerate(data, start=1):
            record |= {column: _named(record[column], found) for column, found in names.items()}
            yield row, record

    return records()


def _names(feature: Any, class_label: type) -> Sequence[str] | None:
    """The names of the classes whose numbers a column holds, or lists of such; None: it holds none."""
    if isinstance(feature, class_label):
        return feature.names  # type: ignore[no-any-return, attr-defined]
    # Lists are `[feature]`, or classes of the package that came and went: Sequence, List, LargeList.
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    return None if inner is None else _names(inner, class_label)


def _named(number: Any, names: Sequence[str]) -> Any:
    """The name of a class, or the list of those of several; None: there is no label."""
    if isinstance(number, list):
        return [_named(each, names) for each in number]
    # -1 is how hub data sets write "no label".
    return names[number] if number is not None and number >= 0 else None
