"""The cut: catching what the blocks of a model pass upwards, and training above stored activations.

No code per architecture: a model's blocks are found (`find_blocks`), forward pre-hooks catch or replace the hidden states that enter a
block, and blocks below the cut are replaced by ones that hand their input on in the form that the real ones return. Masks, positions and
rotary tables stay the model's own.

Letters in shapes: b rows, t tokens, d width, L blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

from headstart.backbone.backbone import find_blocks

# The names under which the architectures pass hidden states to a block when they do not pass them first.
_HIDDEN_NAMES = ("hidden_states", "x", "hidden_state")


def _hidden_of(args: tuple[Any, ...], kwargs: dict[str, Any]) -> torch.Tensor:
    """The hidden states among a block's arguments."""
    if args:
        first: torch.Tensor = args[0]
        return first
    for name in _HIDDEN_NAMES:
        if name in kwargs:
            found: torch.Tensor = kwargs[name]
            return found
    raise TypeError(f"a block was called with none of {', '.join(_HIDDEN_NAMES)}: {sorted(kwargs)}")


def _with_hidden(args: tuple[Any, ...], kwargs: dict[str, Any], hidden: torch.Tensor) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The same arguments with other hidden states."""
    if args:
        return (hidden, *args[1:]), kwargs
    name = next(name for name in _HIDDEN_NAMES if name in kwargs)
    return args, {**kwargs, name: hidden}


@contextmanager
def watching(module: nn.Module, see: Callable[[int, torch.Tensor], None]) -> Iterator[None]:
    """Within this context `see(k, hidden)` is called with the input of every block k (b, t, d), which is the output of block k-1.

    The output of the last block is not seen: what the model returns as `last_hidden_state` (after its final norm) stands for it.
    """
    hooks = []
    for k, block in enumerate(find_blocks(module)):

        def hook(_block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], k: int = k) -> None:
            see(k, _hidden_of(args, kwargs))

        hooks.append(block.register_forward_pre_hook(hook, with_kwargs=True))
    try:
        yield
    finally:
        for handle in hooks:
            handle.remove()


class _PassThrough(nn.Module):
    """Stands in for a frozen block: returns its input in the form in which the real block returns its output."""

    def __init__(self, block: nn.Module, as_tuple: bool) -> None:
        super().__init__()
        self.as_tuple = as_tuple
        # Models read such attributes off their blocks (Gemma 3, ModernBERT: which attention mask and which rotary table).
        for name in ("attention_type", "layer_idx", "is_sliding"):
            if hasattr(block, name):
                setattr(self, name, getattr(block, name))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = _hidden_of(args, kwargs)
        return (hidden,) if self.as_tuple else hidden


def returns_tuple(module: nn.Module) -> bool:
    """Whether the blocks of this model return a tuple (MPNet, GPT-2) or a bare tensor (BERT), found by one small forward pass."""
    found: list[bool] = []
    hook = find_blocks(module)[0].register_forward_hook(lambda _block, _args, out: found.append(isinstance(out, tuple)))
    try:
        with torch.inference_mode():
            ids = torch.ones(1, 2, dtype=torch.long)
            module(input_ids=ids, attention_mask=torch.ones_like(ids))
    finally:
        hook.remove()
    return found[0]


class AboveCut(nn.Module):
    """The upper part of a model, fed with activations at the cut.

    While it lives, the blocks below the cut of `module` are stood in for; `restore()` puts them back, and `module` is then whole again,
    with whatever its upper blocks learned.
    """

    def __init__(self, module: nn.Module, cut: int) -> None:
        super().__init__()
        blocks = find_blocks(module)
        if not 0 < cut < len(blocks):
            raise ValueError(f"cut is {cut}; it must lie between 1 and {len(blocks) - 1}")
        as_tuple = returns_tuple(module)
        # Kept in plain lists, so that they are no part of this module's parameters.
        self._frozen = [list(blocks)[:cut]]
        self._pending: list[torch.Tensor] = []
        for k in range(cut):
            blocks[k] = _PassThrough(blocks[k], as_tuple)
        self.module = module
        self.cut = cut
        self._hook = blocks[cut].register_forward_pre_hook(self._enter, with_kwargs=True)

    def _enter(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _with_hidden(args, kwargs, self._pending[0])

    def forward(self, hidden: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Last hidden states (b, t, d) from activations at the cut (b, t, d). `attention_mask` is (b, t); None: no padding."""
        ids = torch.ones(hidden.shape[:2], dtype=torch.long, device=hidden.device)  # their embeddings are computed and thrown away
        self._pending = [hidden]
        try:
            out: torch.Tensor = self.module(input_ids=ids, attention_mask=attention_mask).last_hidden_state
        finally:
            self._pending = []
        return out

    def upper_blocks(self) -> list[nn.Module]:
        """The blocks above the cut, lowest first."""
        return list(find_blocks(self.module))[self.cut :]

    def restore(self) -> nn.Module:
        """Put the frozen blocks back; returns the whole module."""
        blocks = find_blocks(self.module)
        self._hook.remove()
        for k, block in enumerate(self._frozen[0]):
            blocks[k] = block
        return self.module


def trainable_above(module: nn.Module, cut: int, late: set[int]) -> list[nn.Parameter]:
    """The parameters that learn at this cut: those of the blocks from `cut` on and of what runs after the last block.

    At cut 0 everything learns, the embeddings too. `late` holds the ids of parameters that run only after the last block.
    """
    if cut == 0:
        return [p for name, p in module.named_parameters() if "pooler" not in name]
    own = [p for block in list(find_blocks(module))[cut:] for p in block.parameters()]
    return own + [p for name, p in module.named_parameters() if id(p) in late and "pooler" not in name]
