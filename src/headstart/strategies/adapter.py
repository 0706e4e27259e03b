"""Low-rank adapters on the linear layers above the cut (LoRA, Hu et al. 2021, arXiv 2106.09685), through `peft`.

A layer W (out, in) becomes W + alpha / r * B A with A (r, in) and B (out, r); A and B alone learn. B begins at zero, so training begins
with the source's own outputs. Layers are found by their type, so no architecture needs code of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import nn

from headstart.backbone.backbone import find_blocks

_NAME = "default"  # what peft calls a model's only adapter


@dataclass(frozen=True)
class Adapter:
    """What was learnt: `weights` holds A and B by their names in the backbone, as `encoder.layer.4.output.dense.lora_A.weight`.

    `layers` are the names of the changed layers. `transposed`: their weights are (in, out), as GPT-2's.
    """

    rank: int
    alpha: int
    layers: tuple[str, ...]
    weights: Mapping[str, torch.Tensor]
    transposed: bool


def linear_layers(module: nn.Module, cut: int) -> tuple[str, ...]:
    """Names of the linear layers in the blocks from `cut` on."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's linear layer

    inside = {id(part) for block in list(find_blocks(module))[cut:] for part in block.modules()}
    return tuple(name for name, part in module.named_modules() if id(part) in inside and isinstance(part, nn.Linear | Conv1D))


def add_adapters(module: nn.Module, cut: int, rank: int, alpha: int, seed: int) -> frozenset[str]:
    """Put adapters of this rank on the linear layers from block `cut` on, in place; returns the names of what they learn."""
    return adapters_on(module, linear_layers(module, cut), rank, alpha, seed)


def adapters_on(module: nn.Module, names: tuple[str, ...], rank: int, alpha: int, seed: int) -> frozenset[str]:
    """Put adapters of this rank on the linear layers of these names, in place; returns the names of what they learn."""
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(r=rank, lora_alpha=alpha, target_modules=list(names), fan_in_fan_out=_transposed(module, names))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        inject_adapter_in_model(config, module, adapter_name=_NAME)
    return frozenset(name for name, _ in module.named_parameters() if ".lora_" in name)


def merge_adapters(module: nn.Module, rank: int, alpha: int) -> Adapter:
    """Add what the adapters learned to the layers they stand on and take them off, in place; returns what they had learned."""
    from peft.tuners.lora import LoraLayer

    found = [(name, part) for name, part in module.named_modules() if isinstance(part, LoraLayer)]
    layers = tuple(name for name, _ in found)
    weights = {
        name.replace(f".{_NAME}.", "."): parameter.detach().clone() for name, parameter in module.named_parameters() if ".lora_" in name
    }
    for name, part in found:
        part.merge()
        above, _, last = name.rpartition(".")
        setattr(module.get_submodule(above), last, part.get_base_layer())
    return Adapter(rank, alpha, layers, weights, _transposed(module, layers))


def _transposed(module: nn.Module, names: tuple[str, ...]) -> bool:
    return not any(isinstance(module.get_submodule(name), nn.Linear) for name in names)
