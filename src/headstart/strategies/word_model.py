"""A model of words that transferred: a source's backbone, tuned above a cut or not at all, and a linear head on each word's first token.

Letters in shapes: u words of all texts together, t tokens, d width, c classes, L blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from headstart.backbone.cut import Trunk, trunk_above
from headstart.backbone.kernels import fast_linears
from headstart.backbone.reading import Float32, Reader
from headstart.records import CurvePoint
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import FloatArray, LinearHead
from headstart.strategies.model import states_through
from headstart.strategies.windows import ABSENT, Window, make_windows


@dataclass(frozen=True)
class WordModel:
    """A trained rung that transfers. Below the cut it reads texts through the source's store.

    `module` is the whole backbone with what it learned; None: the source's own weights, nothing was tuned. `cut` is how many blocks are
    still the source's own (L: all). The head acts on `layer`, in [0, L]. `adapter` as in
    `model.TransferModel`.
    """

    reader: Reader
    module: nn.Module | None
    cut: int
    layer: int
    head: LinearHead
    curve: tuple[CurvePoint, ...] = ()
    adapter: Adapter | None = None

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Unnormalised log-probabilities of the words of each text, (u, c); words stand with one space between."""
        if self.module is None:
            return self.head.logits(words_at(self.reader, texts, self.layer))
        with trunk_above(self.module, self.cut, self.reader.backbone.above) as trunk:
            return self.head.logits(words_through(trunk, self.reader, texts, self.layer))

    def scaled(self, factor: float, shift: float = 0.0) -> WordModel:
        """The same model with all logits multiplied by `factor`, and `shift` added."""
        return replace(self, head=self.head.scaled(factor, shift))


def words_at(reader: Reader, texts: Sequence[str], layer: int) -> Float32:
    """Vectors (u, d) of the words of frozen texts at one layer; zeros for words of which no token is read."""
    gathered = _Words(reader, texts)
    for part in gathered.portions():
        states = reader.activations([window.text for window in part], layer)
        for window, rows in zip(part, states, strict=True):
            gathered.put(window, rows)
    return gathered.vectors


@torch.inference_mode()
def words_through(trunk: Trunk, reader: Reader, texts: Sequence[str], layer: int) -> Float32:
    """Vectors (u, d) of words through a trunk, at a layer above its cut. Memory is bounded."""
    gathered = _Words(reader, texts)
    with fast_linears(trunk):
        for part in gathered.portions():
            for i, states in states_through(trunk, reader, [window.text for window in part], layer):
                gathered.put(part[i], states)
    return gathered.vectors


class _Words:
    """Vectors of the words of some texts, filled in window by window."""

    def __init__(self, reader: Reader, texts: Sequence[str]) -> None:
        self.reader = reader
        self.windows = make_windows(reader.backbone.tokenizer, reader.backbone.max_length, texts)
        sizes = np.array([text.count(" ") + 1 for text in texts], dtype=np.int64)
        self.starts = np.cumsum(sizes) - sizes
        self.vectors = np.zeros((int(sizes.sum()), reader.backbone.width), dtype=np.float32)

    def portions(self) -> Iterator[list[Window]]:
        """The windows, the longest first, in parts whose activations take at most 256 MB together."""
        ordered = sorted(self.windows, key=lambda window: -window.length)
        step = self.reader.at_once
        for start in range(0, len(ordered), step):
            yield ordered[start : start + step]

    def put(self, window: Window, states: Float32) -> None:
        """Keep the vectors of the words that a window decides, from its tokens' (t, d)."""
        low, high = window.own
        tokens = window.tokens[low:high]
        known = np.flatnonzero(tokens != ABSENT)
        self.vectors[self.starts[window.row] + window.first + low + known] = states[tokens[known]]
