"""The layer that turns last hidden states into logits: found in a source, what it says of tokens that are told, and the loss where it does
not learn. In a small model with a large vocabulary it is most of the work and of the memory.

Letters in shapes: n tokens that are told, d width, v vocabulary.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from headstart.backbone.backbone import Backbone
from headstart.backbone.kernels import Linear, fastest_linear
from headstart.backbone.reading import Float32
from headstart.data.examples import IntArray
from headstart.errors import SourceError
from headstart.sources.opening import quiet_transformers, read_config
from headstart.strategies.base import FloatArray

# Tokens whose logits are in memory at once: 256 of Gemma's 262,144 pieces are 268 MB.
AT_ONCE = 256
# Pieces from which a vocabulary is worth a look at which product is the fastest, and as many as are looked at.
_WIDE = 16_384
# What the least likely pieces of a wide vocabulary may give a gradient together, as a share of what all give it, to be left out of it. Of
# Gemma's 262,144 pieces a tenth stays; rounding to bfloat16 moves a gradient by twice as much.
LEFT_OUT = 1e-3

_REMEDY = "Name a causal model (GPT-2, Llama, Gemma ...) with --source."


def output_layer(backbone: Backbone) -> nn.Linear:
    """The layer (v, d) that turns the last hidden states into logits: tied to the embeddings, or read from the source's files.

    Raises:
        SourceError: the source is no causal language model, or does more than one linear layer on its last hidden states.
    """
    from transformers import AutoModelForCausalLM

    name = backbone.source.name
    try:
        with quiet_transformers():
            whole: Any = AutoModelForCausalLM.from_pretrained(
                backbone.source.folder,
                config=read_config(backbone.source.folder),
                use_safetensors=True,
                dtype=torch.float32,
                trust_remote_code=False,
                local_files_only=True,
            ).eval()
    except (ValueError, KeyError, OSError) as error:
        raise SourceError(
            f"The source {name!r} ({backbone.source.model_type}) does not write texts: transformers has no causal language model of its "
            f"kind. {_REMEDY}"
        ) from error
    layer: nn.Linear = whole.get_output_embeddings()
    ids = torch.arange(1, 5)[None] % whole.config.vocab_size
    with torch.inference_mode():
        hidden = whole.base_model(input_ids=ids).last_hidden_state
        plain = isinstance(layer, nn.Linear) and torch.allclose(layer(hidden), whole(input_ids=ids).logits, atol=1e-4)
        causal = torch.allclose(whole.base_model(input_ids=ids[:, :2]).last_hidden_state, hidden[:, :2], atol=1e-3)
    if not causal:
        raise SourceError(f"The source {name!r} looks ahead, so that it cannot write. {_REMEDY}")
    if not plain:
        raise SourceError(f"The source {name!r} does more than one linear layer on its last hidden states; choose another causal model.")
    for parameter in layer.parameters():
        parameter.requires_grad_(False)
    return layer


@torch.inference_mode()
def nats_of(states: Float32, told: IntArray, head: nn.Linear) -> FloatArray:
    """Minus the log-probability (n,) of each token that is told (n,), from the hidden states (n, d) before them."""
    found, linear = [], _fastest(head.weight)
    for begin in range(0, len(told), AT_ONCE):
        part = slice(begin, begin + AT_ONCE)
        logits = linear(torch.from_numpy(states[part]).to(head.weight.dtype), head.weight, head.bias)
        found.append(functional.cross_entropy(logits, torch.from_numpy(told[part]), reduction="none").double().numpy())
    return np.concatenate(found) if found else np.zeros(0)


class FrozenHeadLoss(torch.autograd.Function):
    """The summed cross-entropy of ids (n,) under an output layer (v, d) that does not learn, of states (n, d).

    Products are made in the number format of the weights, all else in that of the states.

    Logits are made `AT_ONCE` tokens at a time, and what they give the states is worked out at once, (softmax - one-hot) W: so none is
    kept and none is made twice, which over a large vocabulary is most of a step. The loss is of all pieces; in the second product those
    of a wide vocabulary that are next to impossible everywhere among these tokens are left out (`LEFT_OUT`; Wijmans et al. 2024, arXiv
    2411.09009, leave out what bfloat16 would round away).
    """

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None, ids: torch.Tensor) -> torch.Tensor:
        """The loss, a number."""
        loss, gradient = states.new_zeros(()), torch.empty_like(states)
        linear = _fastest(weight)
        for begin in range(0, len(states), AT_ONCE):
            part = slice(begin, begin + AT_ONCE)
            logits = linear(states[part].to(weight.dtype), weight, None).to(states.dtype)
            logits = logits if bias is None else logits + bias
            told = torch.arange(len(logits), device=logits.device), ids[part]
            said, most = logits[told], logits.amax(dim=1)
            errors = logits.sub_(most[:, None]).exp_()  # in place: a pass over the logits takes a tenth of the time of making them
            total = errors.sum(dim=1)
            loss = loss + (total.log() + most - said).sum()
            errors.div_(total[:, None])
            errors[told] -= 1.0
            if len(weight) < _WIDE:
                gradient[part] = (errors.to(weight.dtype) @ weight).to(states.dtype)
            else:
                pieces = _that_matter(errors, ids[part])
                gradient[part] = (errors[:, pieces].to(weight.dtype) @ weight[pieces]).to(states.dtype)
        ctx.save_for_backward(gradient)
        return loss

    @staticmethod
    def backward(ctx: Any, outer: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        """What the loss gives the states; nothing else learns."""
        (gradient,) = ctx.saved_tensors
        return outer * gradient, None, None, None


def _that_matter(errors: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """The pieces (k,) without which softmax - one-hot (n, v) would lose more than `LEFT_OUT` of its absolute sum over the pieces that are
    not told; those that are told, ids (n,), always."""
    sizes = errors.sum(dim=0)
    sizes[ids] = torch.inf
    wrong = -errors[torch.arange(len(errors), device=errors.device), ids].sum()  # 1 - p of each token's own piece
    ordered, order = sizes.sort()
    return order[int((ordered.double().cumsum(0) <= LEFT_OUT * wrong).sum()) :].sort().values


def _fastest(weight: torch.Tensor) -> Linear:
    """The fastest product for an output layer (v, d)."""
    if weight.dtype != torch.float32 or weight.device.type != "cpu" or len(weight) < _WIDE:
        return functional.linear
    return fastest_linear(AT_ONCE, weight.shape[1], _WIDE)
