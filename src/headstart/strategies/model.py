"""A model that transferred: a source's backbone, tuned above a cut or not at all, pooled layers, a linear head.

Letters in shapes: n texts, b rows of a batch, t tokens, d width, c classes, L blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.backbone.batching import in_turn, plan_batches
from headstart.backbone.cut import Trunk, trunk_above
from headstart.backbone.kernels import fast_linears
from headstart.backbone.pooling import pool
from headstart.backbone.reading import Float32, Reader, tokenize
from headstart.records import CurvePoint
from headstart.sources.source import Pooling
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import FloatArray, LinearHead

# The label of a token that has none.
NO_LABEL = -100
# The id that stands behind the shorter texts of a batch; it is masked.
PADDING = 0
# Pooled features of all layers that are in memory at once.
_HELD_BYTES = 256_000_000


@dataclass(frozen=True)
class TransferModel:
    """A trained rung that transfers. Below the cut it reads texts through the source's store.

    `module` is the whole backbone with what it learned; None: the source's own weights, nothing was tuned. `cut` is how many blocks are
    still the source's own (L: all). The head acts on the mean of the pooled vectors of `layers`. `adapter` is what was learnt where that is
    a low-rank change; `module` has it merged.
    """

    reader: Reader
    module: nn.Module | None
    cut: int
    layers: tuple[int, ...]
    head: LinearHead
    curve: tuple[CurvePoint, ...] = ()
    adapter: Adapter | None = None

    def features(self, texts: Sequence[str]) -> Float32:
        """What the head acts on, (n, d)."""
        if self.module is None:
            backbone = self.reader.backbone
            found = np.empty((len(texts), backbone.width), dtype=np.float32)
            step = max(1, _HELD_BYTES // ((backbone.n_blocks + 1) * backbone.width * 4))
            for begin in range(0, len(texts), step):
                part = slice(begin, begin + step)
                found[part] = self.reader.pooled(texts[part])[:, list(self.layers)].mean(axis=1)
            return found
        with trunk_above(self.module, self.cut, self.reader.backbone.above) as trunk:
            return pooled_through(trunk, self.reader, texts, self.layers)

    def predict_logits(self, texts: Sequence[str]) -> FloatArray:
        """Unnormalised log-probabilities, (n, c)."""
        return self.head.logits(self.features(texts))

    def scaled(self, factor: float, shift: float = 0.0) -> TransferModel:
        """The same model with all logits multiplied by `factor`, and `shift` added."""
        return replace(self, head=self.head.scaled(factor, shift))


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor | None]:
    """A padded batch: `entering` (b, t, d) or (b, t), `mask` (b, t) or None where all rows are of one length, `labels` (b,) or, where
    tokens have labels, (b, t), or where rows have several labels or a number, (b, c)."""
    rows = [torch.as_tensor(item["row"]) for item in items]
    lengths = torch.tensor([len(row) for row in rows])
    entering = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=PADDING)
    mask = None
    if int(lengths.min()) < entering.shape[1]:
        mask = (torch.arange(entering.shape[1])[None, :] < lengths[:, None]).long()
    if not np.ndim(items[0]["label"]):
        labels = torch.tensor([item["label"] for item in items])
    else:
        labels = nn.utils.rnn.pad_sequence([torch.as_tensor(item["label"]) for item in items], batch_first=True, padding_value=NO_LABEL)
    return {"entering": entering, "mask": mask, "labels": labels}


def entering_rows(reader: Reader, texts: Sequence[str], cut: int) -> list[Any]:
    """What enters the trunk for each text: stored activations (t, d), or token ids at cut 0."""
    if cut == 0:
        return [np.asarray(row, dtype=np.int64) for row in tokenize(reader.backbone, texts)]
    return reader.activations(texts, cut)


def mean_pooled(trunk: Trunk, entering: torch.Tensor, mask: torch.Tensor | None, layers: Sequence[int], pooling: Pooling) -> torch.Tensor:
    """What a head acts on, (b, d): the mean over the layers of pooled hidden states, in float32; `entering` as `Trunk.forward` takes it.

    A batch of texts of unlike length passes the trunk in several parts where the padding that this spares is worth it.
    """
    if mask is None:
        return _mean_pooled(trunk, entering, None, layers, pooling)
    lengths = mask.sum(dim=1).tolist()
    parts = plan_batches(lengths, entering.shape[0] * entering.shape[1])
    if len(parts) == 1:
        return _mean_pooled(trunk, entering, mask, layers, pooling)
    pooled = []
    for part in parts:
        t = max(lengths[i] for i in part)
        even = min(lengths[i] for i in part) == t
        rows = torch.as_tensor(part, device=entering.device)
        pooled.append(_mean_pooled(trunk, entering[rows, :t], None if even else mask[rows, :t], layers, pooling))
    return torch.cat(pooled)[torch.as_tensor(np.argsort(np.concatenate(parts)), device=entering.device)]


def _mean_pooled(trunk: Trunk, entering: torch.Tensor, mask: torch.Tensor | None, layers: Sequence[int], pooling: Pooling) -> torch.Tensor:
    pooled = [pool(states, mask, pooling).float() for states in trunk.hidden(entering, mask, layers)]
    return pooled[0] if len(pooled) == 1 else torch.stack(pooled).mean(dim=0)


@torch.inference_mode()
def states_through(trunk: Trunk, reader: Reader, texts: Sequence[str], layer: int) -> Iterator[tuple[int, Float32]]:
    """The position of each text and its hidden states (t, d) through a trunk, at a layer above its cut; in whatever order."""
    device = next(trunk.module.parameters()).device
    rows = entering_rows(reader, texts, trunk.cut if trunk.stored else 0)
    for batch in in_turn(plan_batches([len(row) for row in rows], reader.batch_tokens)):
        items = collate([{"row": rows[i], "label": 0} for i in batch])
        assert items["entering"] is not None
        mask = None if items["mask"] is None else items["mask"].to(device)
        (states,) = trunk.hidden(items["entering"].to(device), mask, [layer])
        for i, state in zip(batch, states.float().cpu().numpy(), strict=True):
            yield i, state[: len(rows[i])]


@torch.inference_mode()
def pooled_through(trunk: Trunk, reader: Reader, texts: Sequence[str], layers: Sequence[int]) -> Float32:
    """Features (n, d) of texts through a trunk: the mean over `layers`, which lie above its cut. Memory is bounded."""
    out = np.empty((len(texts), reader.backbone.width), dtype=np.float32)
    device = next(trunk.module.parameters()).device
    order = sorted(range(len(texts)), key=lambda i: -len(texts[i]))  # so that every portion holds texts of like length
    done = 0
    with fast_linears(trunk):
        for part in reader.portions([texts[i] for i in order]):
            rows = entering_rows(reader, part, trunk.cut if trunk.stored else 0)
            places = np.array(order[done : done + len(part)])
            done += len(part)
            for batch in in_turn(plan_batches([len(row) for row in rows], reader.batch_tokens)):
                items = collate([{"row": rows[i], "label": 0} for i in batch])
                assert items["entering"] is not None
                mask = None if items["mask"] is None else items["mask"].to(device)
                pooled = mean_pooled(trunk, items["entering"].to(device), mask, layers, reader.backbone.pooling)
                out[places[batch]] = pooled.cpu().numpy()
    return out
