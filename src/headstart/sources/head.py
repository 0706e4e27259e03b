"""The classification head that a source brings from its own task, where headstart saved it: what LEEP and NCE look at.

Letters in shapes: s classes of the source, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.sources import files
from headstart.sources.resolve import WRAPPER
from headstart.sources.source import Source

# Kinds of problems whose outputs are no probabilities of one class each.
OTHER_PROBLEMS = ("regression", "multi_label_classification")


@dataclass(frozen=True)
class SavedHead:
    """A linear head: `weight` (s, d) and `bias` (s,) on the mean of the pooled vectors of `layers`."""

    layers: tuple[int, ...]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]


def saved_head(source: Source) -> SavedHead | None:
    """The head of a model that headstart saved, which tells one class of a text; None for any other, whose head may be of any shape."""
    config = files.read_json(source.folder / "config.json")
    if config.get("model_type") != WRAPPER or config.get("problem_type") in OTHER_PROBLEMS:
        return None
    from safetensors import safe_open

    arrays = {}
    for path in files.weight_files(source.folder):
        with safe_open(path, framework="pt") as file:  # numpy knows no bfloat16
            for name in ("classifier.weight", "classifier.bias"):
                if name in file.keys():  # noqa: SIM118 - it is no dictionary
                    arrays[name] = file.get_tensor(name).double().numpy()
    names = config.get("id2label") or {}
    if len(arrays) < 2 or config.get("layers") is None or len(names) != len(arrays["classifier.bias"]):
        return None
    return SavedHead(tuple(int(layer) for layer in config["layers"]), arrays["classifier.weight"], arrays["classifier.bias"])
