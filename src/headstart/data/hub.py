"""Data sets of the Hugging Face hub, by the optional `datasets` package."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

from headstart.errors import DataError

DEFAULT_SPLIT = "train"


def hub_records(name: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Row number and values of each row of `NAME[:SPLIT]`; class numbers are given by their names.

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
    names = {column: feature.names for column, feature in data.features.items() if isinstance(feature, datasets.ClassLabel)}

    def records() -> Iterator[tuple[int, dict[str, Any]]]:
        for row, record in enumerate(data, start=1):
            for column, known in names.items():
                number = record[column]
                # -1 is how hub data sets write "no label".
                record[column] = known[number] if number is not None and number >= 0 else None
            yield row, record

    return records()
