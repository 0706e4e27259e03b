"""A pretrained source as files, before anything is loaded."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from pathlib import Path


class Pooling(str, Enum):
    """How one vector is made of a text's token vectors."""

    MEAN = "mean"  # of all tokens that the attention mask keeps
    CLS = "cls"  # the first token
    LAST = "last"  # the last token that the mask keeps: causal models
    MAX = "max"  # greatest value of each dimension over the kept tokens


@dataclass(frozen=True)
class Source:
    """A checked pretrained source: safe to open, complete as far as files tell.

    `name` is as the user gave it. `pooling` is what the source itself says (sentence-transformers files), else what suits its kind.
    `max_length` is the longest text in tokens that it was made for; None: it does not say. `licence` and `model_type` come from its own
    files. `notes` says in words what of the source's own files is not followed; most have none. `place` is where the name leads, from
    everywhere the same: an absolute folder, a package's name, or `hub:NAME`. `decodes`: it is an encoder-decoder, and what is read is its
    encoder.
    """

    name: str
    folder: Path
    pooling: Pooling
    max_length: int | None
    model_type: str
    licence: str | None
    notes: tuple[str, ...] = ()
    place: str = ""
    decodes: bool = False
