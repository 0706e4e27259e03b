"""What this machine computes fastest: the matrix product in float32, and attention while training in bfloat16.

PyTorch multiplies float32 matrices on a CPU with MKL, which on some processors leaves the widest vector units idle; oneDNN, which is
part of every PyTorch build, does not (seen on a Zen 5 EPYC: 150 against 340 GFLOP/s, the results equal to rounding). Its linear layer
is an internal operator of PyTorch, so it is looked for, compared and timed once per process, and used only where it is right and faster.

The gradient of PyTorch's attention on a CPU takes two to eight times as long in bfloat16 as in float32 (docs/log.md), so that it is worked
out in float32 also where all else is bfloat16.
"""

from __future__ import annotations

import functools
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from headstart.sources.opening import quiet_transformers

_CLEARLY_FASTER = 1.15

Linear = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def _onednn_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


@functools.cache
def fastest_linear(rows: int = 512, width: int = 384, outputs: int = 1536) -> Linear:
    """`torch.nn.functional.linear`, or oneDNN's where that is right and at least 1.15 times as fast on this machine.

    They are compared on so many rows under a layer (outputs, width); the usual numbers stand for the layers of a block. Which one is
    faster hangs on the shape: MKL falls behind the wider a layer is.
    """
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(rows, width, generator=generator)
    weight, bias = torch.randn(outputs, width, generator=generator), torch.randn(outputs, generator=generator)
    with torch.inference_mode():
        try:
            if not torch.allclose(_onednn_linear(x, weight, bias), functional.linear(x, weight, bias), rtol=1e-4, atol=1e-3):
                return functional.linear
        except (RuntimeError, AttributeError, NotImplementedError):  # this build of PyTorch has no such operator
            return functional.linear
        usual, other = _seconds(functional.linear, x, weight, bias), _seconds(_onednn_linear, x, weight, bias)
    return _onednn_linear if usual > _CLEARLY_FASTER * other else functional.linear


def _seconds(linear: Linear, x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> float:
    """Least time of several short runs, after a warm-up: noise only ever adds."""
    linear(x, weight, bias)
    times = []
    for _ in range(7):
        begin = time.perf_counter()
        linear(x, weight, bias)
        times.append(time.perf_counter() - begin)
    return min(times)


# How many contexts of `fast_linears` each layer is in: threads may share a model, and the last to leave puts the usual kernel back.
_within: weakref.WeakKeyDictionary[nn.Module, int] = weakref.WeakKeyDictionary()
_counting = threading.Lock()


@contextmanager
def fast_linears(module: nn.Module) -> Iterator[None]:
    """Within this context the linear layers of `module` run on the fastest kernel. For inference on a CPU in float32 only."""
    linear = fastest_linear()
    changed = []
    if linear is not functional.linear:
        changed = [part for part in module.modules() if type(part) is nn.Linear and _on_cpu_in_float32(part.weight)]
    with _counting:
        for part in changed:
            _within[part] = _within.get(part, 0) + 1
            if _within[part] == 1:
                part.forward = functools.partial(_forward, part, linear)  # type: ignore[method-assign]
    try:
        yield
    finally:
        with _counting:
            for part in changed:
                _within[part] -= 1
                if not _within[part]:
                    del _within[part], part.forward


def _on_cpu_in_float32(weight: torch.Tensor) -> bool:
    return weight.dtype == torch.float32 and weight.device.type == "cpu"


def _forward(part: nn.Linear, linear: Linear, x: torch.Tensor) -> torch.Tensor:
    return linear(x, part.weight, part.bias)


_STOCK, _IN_FLOAT32 = "sdpa", "headstart_sdpa_in_float32"


@contextmanager
def attention_in_float32(model: nn.Module) -> Iterator[None]:
    """Within this context the models of transformers in `model` work out attention in float32 on a CPU, also under autocast."""
    from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS

    AttentionInterface.register(_IN_FLOAT32, _attention_in_float32)
    AttentionMaskInterface.register(_IN_FLOAT32, ALL_MASK_ATTENTION_FUNCTIONS[_STOCK])
    changed = []
    with quiet_transformers():  # which would tell of parts that have an attention of their own
        for part in model.modules():
            if isinstance(part, PreTrainedModel) and part.config._attn_implementation == _STOCK:
                part.set_attn_implementation(_IN_FLOAT32)
                changed.append(part)
    try:
        yield
    finally:
        with quiet_transformers():
            for part in changed:
                part.set_attn_implementation(_STOCK)


def _attention_in_float32(
    module: nn.Module, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, attention_mask: torch.Tensor | None, **kwargs: Any
) -> tuple[torch.Tensor, None]:
    """As `sdpa_attention_forward` of transformers."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    if query.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)  # type: ignore[no-any-return]
    if attention_mask is not None and attention_mask.is_floating_point():
        attention_mask = attention_mask.float()
    if kwargs.get("position_bias") is not None:  # of T5, which is added to the mask
        kwargs["position_bias"] = kwargs["position_bias"].float()
    with torch.autocast("cpu", enabled=False):
        out, _ = sdpa_attention_forward(module, query.float(), key.float(), value.float(), attention_mask, **kwargs)
    return out.to(torch.get_autocast_dtype("cpu")), None
