"""Word embeddings in training: the rows of the tokens that occur, in place of the whole table.

A few hundred texts hold a tenth of a vocabulary of 30,000 pieces, and a hundredth of one of 250,000. The gradient of the whole table is
filled with zeros, measured, clipped and stepped over at every step all the same; on short texts that is a seventh of the time
(docs/log.md). What occurs learns as it would have; the other rows stay the source's own, where weight decay would have shrunk them.

Letters in shapes: v tokens of the vocabulary, k of them that occur, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from headstart.data.examples import IntArray

_PLACE = "headstart_place"  # (v,) the row of each token in the short table
_FEW = 0.5  # share of the vocabulary up to which a short table pays


@contextmanager
def occurring_only(module: Any, tokens: IntArray) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Within this context the word embeddings of `module`, where they learn, are those of `tokens` alone; no others can be read.

    Yields a context in which all tokens can be read, as they have been learnt until then, but none learns. `tokens` are ids; what stands
    for padding belongs to them.
    """
    try:
        table = module.get_input_embeddings()
    except NotImplementedError:  # transformers cannot name those of every architecture
        table = None
    pays = isinstance(table, nn.Embedding) and table.weight.requires_grad and len(tokens) <= _FEW * table.num_embeddings
    if not pays or sum(weight is table.weight for part in module.modules() for weight in part.parameters(recurse=False)) > 1:
        yield nullcontext  # a table that stands in several places (T5's) is read elsewhere too
        return
    short = _ShortTable(table, torch.as_tensor(tokens))
    short.enter()

    @contextmanager
    def whole() -> Iterator[None]:
        short.leave()
        try:
            yield
        finally:
            short.enter()

    try:
        yield whole
    finally:
        short.leave()


class _ShortTable:
    """The rows (k, d) of a table (v, d) that learn, and what it takes to put them in its place and back."""

    def __init__(self, table: nn.Embedding, tokens: torch.Tensor) -> None:
        self.table, self.tokens = table, tokens
        self.whole, self.padding = table.weight, table.padding_idx
        self.rows = nn.Parameter(self.whole.detach()[tokens].clone())
        self.place = torch.full((table.num_embeddings,), -1)  # PyTorch refuses to read a row -1
        self.place[tokens] = torch.arange(len(tokens))

    def enter(self) -> None:
        self.table.weight = self.rows
        self.table.padding_idx = None if self.padding is None or self.place[self.padding] < 0 else int(self.place[self.padding])
        self.table.register_buffer(_PLACE, self.place.to(self.rows.device), persistent=False)
        self.hook = self.table.register_forward_pre_hook(_in_short_table)

    def leave(self) -> None:
        self.hook.remove()
        delattr(self.table, _PLACE)
        rows = self.table.weight  # moving a model to a device may have replaced the parameter
        assert isinstance(rows, nn.Parameter)
        self.rows = rows
        whole = self.whole.detach().to(rows.device)
        whole[self.tokens] = rows.detach()
        self.whole = nn.Parameter(whole, requires_grad=rows.requires_grad)
        self.table.weight, self.table.padding_idx = self.whole, self.padding


def _in_short_table(table: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
    return getattr(table, _PLACE)[args[0]], *args[1:]
