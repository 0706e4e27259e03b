"""Rows whose gradient, by the weights of the head and of the top block, points where the target's rows want to go.

A head is fitted on the source rows alone, so that no target row has been learnt and its error is honest. There the gradient of each row's
loss is taken (TracIn, Pruthi et al. 2020; LESS, Xia et al. 2024). That of a linear layer is a sum over tokens of outer products of two
vectors; each of the two is multiplied by a random matrix, which keeps inner products on average and leaves some hundred numbers a
layer. A row counts by the cosine to the target's mean gradient: without it the loudest rows would come first. No gradient hangs on the
target's rows, so folds share them.

Letters in shapes: n target rows, m source rows, b rows of a batch, t tokens, d width, c classes, p numbers a projected side, g numbers a
row.
"""

from __future__ import annotations

import copy
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional
from transformers.pytorch_utils import Conv1D

from headstart.backbone.backbone import find_blocks
from headstart.backbone.batching import plan_batches
from headstart.backbone.cut import Trunk
from headstart.backbone.pooling import pool
from headstart.backbone.reading import Reader
from headstart.data.examples import IntArray
from headstart.errors import SettingsError
from headstart.instances.base import Neighbours, Way
from headstart.strategies.base import FloatArray, LinearHead
from headstart.strategies.heads import fit_head
from headstart.strategies.model import collate, entering_rows
from headstart.strategies.probe import usual_layers

SIDE = 16  # p
Float32 = NDArray[np.float32]


def gradients(reader: Reader, texts: Sequence[str], features: Float32, y: IntArray, head: LinearHead, side: int | None = SIDE) -> Float32:
    """The gradient of each row's cross-entropy by the linear layers of the top block and by the head, projected, (rows, g).

    Args:
        reader: reads the texts; what enters its top block is stored.
        texts: of the rows.
        features: what the head acts on (rows, d), the mean over the usual layers.
        y: classes of the rows.
        head: where the gradient is taken.
        side: p; None: nothing is projected, for comparison.
    """
    module, top = copy.deepcopy(reader.backbone.module), reader.backbone.n_blocks - 1  # the reader goes on reading with its own
    device = next(module.parameters()).device
    share = 1.0 / len(usual_layers(reader.backbone.n_blocks))
    weight, bias = (torch.tensor(part, dtype=torch.float32, device=device) for part in (head.weight, head.bias))
    trunk = Trunk(module, top, reader.backbone.above, stored=True)
    found: list[tuple[NDArray[np.int64], Float32]] = []
    done = 0
    for parameter in module.parameters():  # with ids below it a block's own weights begin the way back
        parameter.requires_grad_(not trunk.stored)
    for part in reader.portions(texts):
        rows = entering_rows(reader, part, top if trunk.stored else 0)
        places = np.arange(done, done + len(part))
        done += len(part)
        for batch in plan_batches([len(row) for row in rows], reader.batch_tokens):
            items = collate([{"row": rows[i], "label": int(y[places[i]])} for i in batch])
            entering, labels = items["entering"], items["labels"]
            assert entering is not None and labels is not None
            mask = None if items["mask"] is None else items["mask"].to(device)
            with torch.enable_grad(), _seen(find_blocks(module)[top]) as seen:
                inside = entering.to(device).requires_grad_() if trunk.stored else entering.to(device)
                pooled = pool(trunk(inside, mask), mask, reader.backbone.pooling).float()
                acted = torch.from_numpy(features[places[batch]]).to(device) + share * (pooled - pooled.detach())
                logits = functional.linear(acted, weight, bias)
                loss = functional.cross_entropy(logits, labels.to(device), reduction="sum")
                deltas = torch.autograd.grad(loss, [layer.out for layer in seen], allow_unused=True)
            error = torch.softmax(logits.detach(), dim=1) - functional.one_hot(labels.to(device), len(bias))
            flat = [_outer("head", acted.detach()[:, None], error[:, None], True, side)]
            for layer, delta in zip(seen, deltas, strict=True):
                if delta is not None:  # a block may hold layers that this pass has no use for
                    flat.append(_outer(layer.name, layer.x, delta, layer.biased, side))
            found.append((places[batch], torch.cat(flat, dim=1).cpu().numpy()))
    out = np.empty((len(texts), found[0][1].shape[1] if found else 0), dtype=np.float32)
    for at, values in found:
        out[at] = values
    return out


@dataclass(frozen=True)
class _Seen:
    """A linear layer's name, what went in (b, t, d) and came out (b, t, d), and whether it has a bias."""

    name: str
    x: torch.Tensor
    out: torch.Tensor
    biased: bool


@contextmanager
def _seen(block: nn.Module) -> Iterator[list[_Seen]]:
    """What passes through every linear layer of a block."""
    seen: list[_Seen] = []
    hooks = []
    for name, layer in block.named_modules():
        if isinstance(layer, nn.Linear | Conv1D):

            def hook(layer: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor, name: str = name) -> None:
                seen.append(_Seen(name, args[0].detach(), out, getattr(layer, "bias", None) is not None))

            hooks.append(layer.register_forward_hook(hook))
    try:
        yield seen
    finally:
        for handle in hooks:
            handle.remove()


def _outer(name: str, x: torch.Tensor, delta: torch.Tensor, biased: bool, side: int | None) -> torch.Tensor:
    """The sum over tokens of the outer products of x (b, t, d) and delta (b, t, d), each projected, in a row (b, p * p)."""
    x = torch.cat([x, x.new_ones(*x.shape[:-1], 1)], dim=-1) if biased else x
    if side is not None:
        x, delta = x @ _turn(name + " in", x.shape[-1], side).to(x), delta @ _turn(name + " out", delta.shape[-1], side).to(x)
    return torch.bmm(delta.transpose(1, 2), x).flatten(1)


def _turn(name: str, width: int, side: int) -> torch.Tensor:
    """A random matrix (width, p) that keeps inner products on average, one for each name; the identity where p is no less."""
    if width <= side:
        return torch.eye(width)
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    return torch.randn(width, side, generator=generator) / math.sqrt(side)


def weigh(given: Neighbours) -> FloatArray:
    """One plus the cosine of each row's gradient to the mean gradient of the target's rows, in [0, 2].

    Raises:
        SettingsError: no source is there to read the texts.
    """
    if given.reader is None:
        raise SettingsError("block_influence looks into the source's top block, and there is no source here; choose another way.")
    kept = given.kept
    if "head" not in kept:
        kept["head"] = fit_head(given.source, given.source_y, given.n_classes)
        kept["source"] = gradients(given.reader, given.source_texts, given.source, given.source_y, kept["head"])
        kept["target"] = {}
    known = kept["target"]
    asked = [(text, int(k)) for text, k in zip(given.target_texts, given.y, strict=True)]
    new = [i for i, row in enumerate(asked) if row not in known]
    if new:
        theirs = gradients(given.reader, [asked[i][0] for i in new], given.target[new], given.y[new], kept["head"])
        known.update({asked[i]: row for i, row in zip(new, theirs, strict=True)})
    wanted = np.mean([known[row] for row in asked], axis=0, dtype=np.float64)
    source = kept["source"].astype(np.float64)
    lengths = np.linalg.norm(source, axis=1) * np.linalg.norm(wanted)
    return np.asarray(1.0 + np.clip(source @ wanted / np.where(lengths > 0, lengths, 1.0), -1.0, 1.0))


WAY = Way(
    name="block_influence",
    summary="its gradient by the head and the top block points where the target's rows want to go",
    paper="Pruthi et al. 2020, arXiv 2002.08484 (TracIn); Xia et al. 2024, arXiv 2402.04333 (LESS)",
    assumes="what lowers the target's loss at once lowers it in the end, and the target's rows are enough to tell a direction",
    weigh=weigh,
    reads=True,
)
