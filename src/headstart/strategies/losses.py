"""What training makes small: one loss for each kind of target, and the comparison of all pairs of a batch.

Letters in shapes: b rows, t tokens, d width, c classes.
"""

from __future__ import annotations

from enum import Enum

import torch
from torch.nn import functional

from headstart.strategies.base import Rows
from headstart.strategies.model import NO_LABEL
from headstart.strategies.outputs import Output, output_of

# What a token of a piece is told: nothing, an answer's start, its end, or both.
START, END = 1, 2


class Loss(Enum):
    """What training makes small."""

    CROSS_ENTROPY = "cross-entropy"
    PAIRS = "pairs"  # `contrastive_loss` alone; the head does not learn
    BOTH = "both"
    WORDS = "words"  # cross-entropy of every token that bears a label, where words have classes
    SPANS = "spans"  # cross-entropy of where an answer begins and ends among a piece's tokens
    LABELS = "labels"  # binary cross-entropy of each label, where a row may bear several
    SQUARED = "squared"  # half the squared error, where a row has a number


def loss_of(rows: Rows, usual: Loss) -> Loss:
    """The loss that the targets of these rows ask for; of classes `usual`."""
    return {Output.CLASS: usual, Output.LABELS: Loss.LABELS, Output.NUMBER: Loss.SQUARED}[output_of(rows.y)]


def head_loss(logits: torch.Tensor, labels: torch.Tensor, weight: torch.Tensor | None, loss: Loss) -> torch.Tensor:
    """What the outputs (b, c) of a head cost: by `loss` binary cross-entropy, half the squared error, or cross-entropy weighed by class."""
    if loss is Loss.LABELS:
        return functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
    if loss is Loss.SQUARED:
        return 0.5 * functional.mse_loss(logits, labels.to(logits.dtype))
    return functional.cross_entropy(logits, labels, weight)


def spans_loss(scores: torch.Tensor, told: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of an answer's start and end among the tokens of a piece that can be one, the mean of both.

    `scores` are (b, t, 2); `told` (b, t) has `START` and `END` as bits, NO_LABEL for tokens that can be neither.
    """
    able = told != NO_LABEL
    loss = scores.new_zeros(())
    for at, what in ((0, START), (1, END)):
        among = scores[..., at].masked_fill(~able, float("-inf"))
        target = ((told.clamp(min=0) & what) > 0).long().argmax(dim=1)
        loss = loss + functional.cross_entropy(among, target)
    return loss / 2


def contrastive_loss(pooled: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cosines over all pairs of a batch, drawn to 1 for rows of one label and to 0 for others, from pooled vectors (b, d).

    The mean squared error of either kind of pair counts alike, however many there are. It is the loss of SetFit (arXiv 2209.11055), which
    forms its pairs one by one; the supervised contrastive loss (arXiv 2004.11362) did worse with few rows (docs/log.md).
    """
    unit = functional.normalize(pooled, dim=1)
    cosine = unit @ unit.T  # (b, b)
    same = (labels[:, None] == labels[None, :]).to(cosine.dtype)
    alike = same - torch.eye(len(labels), dtype=cosine.dtype, device=labels.device)
    unlike = 1 - same
    pull = ((1 - cosine) ** 2 * alike).sum() / alike.sum().clamp(min=1)
    push = (cosine**2 * unlike).sum() / unlike.sum().clamp(min=1)
    return pull + push
