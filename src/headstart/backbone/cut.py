"""The cut: catching what the blocks of a model pass upwards, and training above stored activations.

No code per architecture: a model's blocks are found (`find_blocks`), forward pre-hooks catch or replace the hidden states that enter a
block, and blocks below the cut are replaced by ones that hand their input on in the form that the real ones return. Masks, positions and
rotary tables stay the model's own.

Letters in shapes: b rows, t tokens, d width, L blocks.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.utils.hooks import RemovableHandle

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


_locks: weakref.WeakKeyDictionary[nn.Module, threading.RLock] = weakref.WeakKeyDictionary()
_making = threading.Lock()


@contextmanager
def alone_with(module: nn.Module) -> Iterator[None]:
    """Within this context no other thread is in one with the same model: hooks in a model would see another thread's pass too."""
    with _making:
        lock = _locks.setdefault(module, threading.RLock())
    with lock:
        yield


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

    def __init__(self, block: nn.Module, items: int | None) -> None:
        super().__init__()
        self.items = items
        # Models read such attributes off their blocks (Gemma 3, ModernBERT: which attention mask and which rotary table).
        for name in ("attention_type", "layer_idx", "is_sliding"):
            if hasattr(block, name):
                setattr(self, name, getattr(block, name))

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        hidden = _hidden_of(args, kwargs)
        return hidden if self.items is None else (hidden, *[None] * (self.items - 1))


@contextmanager
def noting_items(module: nn.Module) -> Iterator[list[int | None]]:
    """Within this context every pass adds to the list how many items the blocks return, as `returned_items` says it."""
    found: list[int | None] = []
    hook = find_blocks(module)[0].register_forward_hook(
        lambda _block, _args, out: found.append(len(out) if isinstance(out, tuple) else None)
    )
    try:
        yield found
    finally:
        hook.remove()


def returned_items(module: nn.Module) -> int | None:
    """How many items the blocks return in a tuple (MPNet 1, DeBERTa-v2 2); None: a bare tensor (BERT). Seen in a small pass."""
    with noting_items(module) as found, torch.inference_mode():
        ids = torch.ones(1, 2, dtype=torch.long)
        module(input_ids=ids, attention_mask=torch.ones_like(ids))
    return found[0]


class Trunk(nn.Module):
    """A backbone that is trained from the cut upwards, fed with token ids or with stored activations at the cut.

    With `stored` the blocks below the cut are stood in for and the input is the hidden states (b, t, d) that enter block `cut`; without
    it the input is token ids (b, t) and the frozen blocks run each time, without dropout: both give the same losses. Cut 0 trains all,
    the embeddings too, and always reads ids. The module that is given is changed in place; `restore()` makes it whole again, with
    whatever its upper blocks learned. `only` names the parameters that alone learn (adapters); None: all from the cut upwards. `items`
    begins with what `returned_items` says, where that is known; else it is found out in a pass.
    """

    def __init__(
        self,
        module: nn.Module,
        cut: int,
        above: frozenset[str],
        *,
        stored: bool,
        only: frozenset[str] | None = None,
        items: Sequence[int | None] = (),
    ) -> None:
        super().__init__()
        self.only = only
        blocks = find_blocks(module)
        if not 0 <= cut < len(blocks):
            raise ValueError(f"cut is {cut}; it must lie between 0 and {len(blocks) - 1}")
        self.module = module
        self.cut = cut
        self.stored = stored and cut > 0
        # In a plain list, so that they are no part of this module while they are stood in for.
        self._frozen: list[nn.Module] = list(blocks)[:cut]
        self._entering: list[torch.Tensor] = []
        self._hooks: list[RemovableHandle] = []
        for parameter in module.parameters():
            parameter.requires_grad_(False)
        for _, parameter in self.learning(above):
            parameter.requires_grad_(True)
        if self.stored:
            returned = items[0] if items else returned_items(module)
            for k in range(cut):
                blocks[k] = _PassThrough(blocks[k], returned)
            self._hooks.append(blocks[cut].register_forward_pre_hook(self._enter, with_kwargs=True))

    def learning(self, above: frozenset[str]) -> list[tuple[int, nn.Parameter]]:
        """What learns, each with its depth: k for block k, L for what runs after the last block, -1 for the embeddings (cut 0 only)."""
        blocks = find_blocks(self.module)
        depth = {id(p): k for k, block in enumerate(blocks) for p in block.parameters()}
        found = []
        for name, parameter in self.module.named_parameters():
            if self.only is not None and name not in self.only:
                continue
            level = depth.get(id(parameter), len(blocks) if name in above else -1)
            if level >= self.cut or (self.cut == 0 and "pooler" not in name):
                found.append((level, parameter))
        return found

    def _enter(self, _block: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        return _with_hidden(args, kwargs, self._entering[0])

    def forward(self, entering: torch.Tensor, mask: torch.Tensor | None, positions: torch.Tensor | None = None) -> torch.Tensor:
        """Last hidden states (b, t, d). `entering` is described above; `mask` is (b, t), None: no padding. `positions` (b, t) begin anew
        where one text follows another in a row, which a causal model then keeps apart; None: every row is one text."""
        ids = entering
        if self.stored:
            # The embeddings of these ids are computed and thrown away: the hook puts the stored activations in their place.
            ids = torch.ones(entering.shape[:2], dtype=torch.long, device=entering.device)
            self._entering = [entering]
        try:
            # Without a mask and a cache of keys the causal models of transformers tell packed texts by their positions.
            packed = {} if positions is None else {"position_ids": positions, "use_cache": False}
            out: torch.Tensor = self.module(input_ids=ids, attention_mask=mask, **packed).last_hidden_state
        finally:
            self._entering = []
        return out

    def hidden(self, entering: torch.Tensor, mask: torch.Tensor | None, layers: Sequence[int]) -> list[torch.Tensor]:
        """Hidden states (b, t, d) of layers above the cut: layer k is the output of block k - 1, layer L what the model returns."""
        caught: dict[int, torch.Tensor] = {}
        with watching(self.module, caught.__setitem__):
            caught[len(find_blocks(self.module))] = self(entering, mask)
        return [caught[layer] for layer in layers]

    def train(self, mode: bool = True) -> Trunk:
        """Dropout stays off everywhere: below the cut because training must see what was stored, above it because it costs a third of the
        time on a CPU and gained nothing (docs/log.md)."""
        super().train(False)
        return self

    def restore(self) -> nn.Module:
        """Put the frozen blocks back; returns the whole module."""
        for hook in self._hooks:
            hook.remove()
        if self.stored:
            blocks = find_blocks(self.module)
            for k, block in enumerate(self._frozen):
                blocks[k] = block
        return self.module


@contextmanager
def trunk_above(module: nn.Module, cut: int, above: frozenset[str]) -> Iterator[Trunk]:
    """A trunk that is fed with stored activations, for a model that has learnt; the module is whole again afterwards."""
    with alone_with(module):
        trunk = Trunk(module, cut, above, stored=True)
        try:
            yield trunk
        finally:
            trunk.restore()
