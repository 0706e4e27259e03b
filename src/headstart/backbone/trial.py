"""A source tried on two short texts when it is opened: read alone and together, and from what enters its last block.

Any model that transformers knows passes the checks of its files, and most can be read text by text. Some cannot, and would say so late or
never: they call their blocks in a way of their own (SqueezeBERT, XLNet), fold or pad tokens within (Longformer, Nystromformer), let the
padding in (ConvBERT, MobileBERT, FNet, YOSO), look into blocks that may be stood in for (X-MOD), or number their hidden states otherwise
than the saved model asks for them (Mamba).

Letters in shapes: t tokens, d width, L blocks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from headstart.backbone.backbone import Backbone, noting_above
from headstart.backbone.cut import Trunk, noting_items, watching
from headstart.backbone.kernels import fast_linears
from headstart.backbone.reading import Float32, forward_batch, tokenize

_TEXT = "a text"  # a short one, for this is read at every opening
# Other sums of the same numbers differ by some millionths of the greatest value; a neighbour's or a padding's part in it by far more.
_TOLERANCE = 1e-3


def try_reading(backbone: Backbone) -> frozenset[str]:
    """Read two texts as `reading` does, as training above the cut does, and as the saved model does.

    Args:
        backbone: what is tried; of `prefix` and `above` nothing is asked. Its module is left as it was, all of it frozen.

    Returns:
        What `names_above` says of it, seen on the way.

    Raises:
        ValueError: why it cannot be read text by text. Whatever else its code raises says the same.
    """
    short = tokenize(backbone, [_TEXT])[0]
    long = (2 * short)[: backbone.max_length]
    short = short[: max(1, len(long) // 2)]
    with noting_items(backbone.module) as items, noting_above(backbone.module) as above:
        alone = _read(backbone, [short])
    beside = _read(backbone, [short, long])
    if any(_far(alone[k][0], beside[k][0, : len(short)]) for k in alone):
        raise ValueError("the numbers of a text change with the texts beside it")
    tried = replace(backbone, above=frozenset(above))
    if backbone.source.decodes:
        return tried.above  # of an encoder-decoder what leaves the encoder is all that is used
    if backbone.n_blocks > 1 and _far(alone[backbone.n_blocks], _from_stored(tried, alone[backbone.n_blocks - 1], items)):
        raise ValueError("its last block gives other numbers where those below are stood in for")
    # Where transformers itself collects hidden states, by hooks on the blocks, they are these; asking would leave its hooks behind.
    if not getattr(type(backbone.module), "_can_record_outputs", None):
        own = _own_states(backbone, short)
        if any(_far(alone[k], own[k]) for k in alone):
            raise ValueError("its hidden states are others than those between its blocks")
    return tried.above


def _read(backbone: Backbone, rows: list[list[int]]) -> dict[int, Float32]:
    """The hidden states (b, t, d) that enter each block and, at L, leave the model."""
    layers = range(backbone.n_blocks + 1)
    shape = (len(rows), max(map(len, rows)), backbone.width)

    def see(_layer: int, hidden: Any) -> None:
        if hidden.shape != shape:
            raise ValueError("not every layer gives one vector of the same width for each token")

    last = backbone.module.register_forward_hook(lambda _module, _args, out: see(backbone.n_blocks, out.last_hidden_state))
    try:
        with watching(backbone.module, see):
            _, states, _ = forward_batch(backbone, rows, layers)
    finally:
        last.remove()
    if set(states) != set(layers):
        raise ValueError("it does not call its blocks as PyTorch does")
    if not all(np.isfinite(found).all() for found in states.values()):
        raise ValueError("it gives numbers that are not finite")
    return states


def _far(one: Float32, other: Float32) -> bool:
    """Whether two arrays differ by more than a thousandth of the greatest value; what is no number is far from everything."""
    return not np.abs(one - other).max() <= _TOLERANCE * np.abs(one).max()  # not the same as >, which is False of what is no number


@torch.inference_mode()
def _from_stored(backbone: Backbone, entering: Float32, items: Sequence[int | None]) -> Float32:
    """Last hidden states (1, t, d) from what enters the last block, those below it being stood in for."""
    trunk = Trunk(backbone.module, backbone.n_blocks - 1, backbone.above, stored=True, items=items)
    try:
        with fast_linears(trunk):
            return np.asarray(trunk(torch.from_numpy(entering), None).numpy())
    finally:
        for parameter in trunk.restore().parameters():
            parameter.requires_grad_(False)


@torch.inference_mode()
def _own_states(backbone: Backbone, row: list[int]) -> list[Float32]:
    """The L + 1 hidden states (1, t, d) by which the saved model finds its layers, the last being what the model returns."""
    given = backbone.module(
        input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long), output_hidden_states=True
    )
    states = [*given.hidden_states[: backbone.n_blocks], given.last_hidden_state]
    return [np.asarray(state.numpy()) for state in states]
