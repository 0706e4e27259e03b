"""A model that transferred: a source's backbone, tuned above a cut or not at all, pooled layers, a linear head.

Letters in shapes: n texts, b rows of a batch, t tokens, d width, c classes, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbone.batching import plan_batches
from headstart.backbone.cut import Trunk
from headstart.backbone.kernels import fast_linears
from headstart.backbone.pooling import pool
from headstart.backbone.reading import Float32, Reader, tokenize
from headstart.records import CurvePoint
from headstart.strategies.base import FloatArray, LinearHead


@dataclass(frozen=True)
class TransferModel:
    """A trained rung that transfers. Below the cut it reads texts through the source's store.

    `module` is the whole backbone with what it learned; None: the source's own weights, nothing was tuned. `cut` is how many blocks are
    still the source's own (L: all). The head acts on the mean of the pooled vectors of `layers`.
    """

    reader: Reader
    module: nn.Module | None
    cut: int
    layers: tuple[int, ...]
    head: LinearHead
    curve: tuple[CurvePoint, ...] = ()

    def features(self, texts: Sequence[str]) -> Float32:
        """What the head acts on, (n, d)."""
        if self.module is None:
            return np.asarray(self.reader.pooled(texts)[:, list(self.layers)].mean(axis=1))
        trunk = Trunk(self.module, self.cut, self.reader.backbone.above, stored=True)
        trunk.eval()  # a new trunk counts as training, and would leave the module so: with dropout
        try:
            return pooled_through(trunk, self.reader, texts)
        finally:
            trunk.restore()

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Unnormalised log-probabilities, (n, c)."""
        return self.head.logits(self.features(texts))

    def scaled(self, factor: float) -> TransferModel:
        """The same model with all logits multiplied by `factor`."""
        return replace(self, head=self.head.scaled(factor))


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor | None]:
    """A padded batch: `entering` (b, t, d) or (b, t), `mask` (b, t) or None where all rows are of one length, `labels` (b,)."""
    rows = [torch.as_tensor(item["row"]) for item in items]
    lengths = torch.tensor([len(row) for row in rows])
    entering = nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = None
    if int(lengths.min()) < entering.shape[1]:
        mask = (torch.arange(entering.shape[1])[None, :] < lengths[:, None]).long()
    return {"entering": entering, "mask": mask, "labels": torch.tensor([item["label"] for item in items])}


def entering_rows(reader: Reader, texts: Sequence[str], cut: int) -> list[Any]:
    """What enters the trunk for each text: stored activations (t, d), or token ids at cut 0."""
    if cut == 0:
        return [np.asarray(row, dtype=np.int64) for row in tokenize(reader.backbone, texts)]
    activations = reader.read_texts(texts, cut).activations
    assert activations is not None  # a cut was asked for
    return activations


@torch.inference_mode()
def pooled_through(trunk: Trunk, reader: Reader, texts: Sequence[str], rows: list[Any] | None = None) -> Float32:
    """Pooled last-layer features (n, d) of texts through a trunk. `rows` spares looking up what enters it."""
    rows = entering_rows(reader, texts, trunk.cut if trunk.stored else 0) if rows is None else rows
    out = np.empty((len(rows), reader.backbone.width), dtype=np.float32)
    was_training = trunk.training
    trunk.eval()
    with fast_linears(trunk):
        for batch in plan_batches([len(row) for row in rows], reader.batch_tokens):
            items = collate([{"row": rows[i], "label": 0} for i in batch])
            assert items["entering"] is not None
            device = next(trunk.module.parameters()).device
            mask = None if items["mask"] is None else items["mask"].to(device)
            out[batch] = pool(trunk(items["entering"].to(device), mask), mask, reader.backbone.pooling).float().cpu().numpy()
    trunk.train(was_training)
    return out
