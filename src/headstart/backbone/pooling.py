"""One vector from a text's token vectors.

Letters in shapes: b rows, t tokens, d width.
"""

from __future__ import annotations

import torch

from headstart.sources.source import Pooling


def pool(hidden: torch.Tensor, mask: torch.Tensor | None, pooling: Pooling) -> torch.Tensor:
    """Pool token vectors of shape (b, t, d) to (b, d).

    Args:
        hidden: token vectors.
        mask: (b, t), 1 where a token is real; rows are padded on the right. None: no padding at all.
        pooling: how.
    """
    if pooling is Pooling.CLS:
        return hidden[:, 0]
    if mask is None:
        if pooling is Pooling.MEAN:
            return hidden.mean(dim=1)
        return hidden[:, -1] if pooling is Pooling.LAST else hidden.amax(dim=1)
    if pooling is Pooling.LAST:
        return hidden[torch.arange(len(hidden), device=hidden.device), mask.sum(dim=1) - 1]
    weight = mask.unsqueeze(-1).to(hidden.dtype)  # (b, t, 1)
    if pooling is Pooling.MEAN:
        return (hidden * weight).sum(dim=1) / weight.sum(dim=1)
    return hidden.masked_fill(weight == 0, -torch.inf).amax(dim=1)
