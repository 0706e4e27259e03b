"""Which matrix multiplication this machine does fastest in float32.

PyTorch multiplies float32 matrices on a CPU with MKL, which on some processors leaves the widest vector units idle; oneDNN, which is
part of every PyTorch build, does not (seen on a Zen 5 EPYC: 150 against 340 GFLOP/s, the results equal to rounding). Its linear layer
is an internal operator of PyTorch, so it is looked for, compared and timed once per process, and used only where it is right and faster.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn import functional

_CLEARLY_FASTER = 1.15

Linear = Callable[[torch.Tensor, torch.Tensor, torch.Tensor | None], torch.Tensor]


def _onednn_linear(x: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
    result: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
    return result


@functools.cache
def fastest_linear() -> Linear:
    """`torch.nn.functional.linear`, or oneDNN's where that is right and at least 1.15 times as fast on this machine."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(512, 384, generator=generator)
    weight, bias = torch.randn(1536, 384, generator=generator), torch.randn(1536, generator=generator)
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


@contextmanager
def fast_linears(module: nn.Module) -> Iterator[None]:
    """Within this context the linear layers of `module` run on the fastest kernel. For inference on a CPU in float32 only."""
    linear = fastest_linear()
    changed = []
    if linear is not functional.linear:
        for part in module.modules():
            if type(part) is nn.Linear and part.weight.dtype == torch.float32 and part.weight.device.type == "cpu":
                part.forward = functools.partial(_forward, part, linear)  # type: ignore[method-assign]
                changed.append(part)
    try:
        yield
    finally:
        for part in changed:
            del part.forward


def _forward(part: nn.Linear, linear: Linear, x: torch.Tensor) -> torch.Tensor:
    return linear(x, part.weight, part.bias)
