"""Reading texts through a backbone: tokenised once, equal texts once, what the store holds not at all.

Letters in shapes: n texts, t tokens, d width, L blocks.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import transformers
from numpy.typing import NDArray

from headstart.backbone.backbone import Backbone, tokenizer_digest
from headstart.backbone.batching import in_turn, plan_batches
from headstart.backbone.cut import alone_with, watching
from headstart.backbone.encoding import encode
from headstart.backbone.kernels import fast_linears
from headstart.backbone.keys import space_key, text_key
from headstart.backbone.pooling import pool
from headstart.backbone.store import Store
from headstart.progress import bar

# What a kind of model computes is the library's, and its releases change it; what they repair in the third number is taken as the same.
RELEASE = ".".join(transformers.__version__.split(".")[:2])
Float32 = NDArray[np.float32]

# Texts handled between two writes to the store: bounds memory and what a kill can lose.
_CHUNK = 2048
# Bytes of activations that may be in memory at once while texts are read ahead.
_PORTION = 256 * 2**20


@dataclass(frozen=True)
class Reading:
    """What one pass over n texts gave.

    `pooled` is (n, L+1, d): index 0 the embeddings, k the output of block k, L after the final norm. `activations[cut][i]` is (t_i, d),
    the hidden states that enter block `cut`, of each cut that was asked for; at cut L those that leave the model.
    """

    pooled: Float32
    activations: dict[int, list[Float32]]


@dataclass
class Reader:
    """Reads texts through one backbone and keeps what it computed in a store. Counts what it read.

    `store` None: nothing is kept. The counters are of this object's life: `read` texts went through the model, `kept` came from the store.
    """

    backbone: Backbone
    store: Store | None
    batch_tokens: int
    read: int = 0
    kept: int = 0
    seconds: float = 0.0
    _spaces: dict[tuple[str, int], bytes] = field(default_factory=dict)
    _tokenizer: bytes = b""

    def pooled(self, texts: Sequence[str]) -> Float32:
        """Pooled features of every layer, (n, L+1, d)."""
        return self.read_texts(texts).pooled

    def read_ahead(self, texts: Sequence[str], cuts: Sequence[int] = ()) -> int:
        """Read what the store lacks, so that all that asks later finds it there; memory stays bounded however many texts there are.

        Returns how many texts those were.
        """
        if self.store is None:
            return 0
        missing = self.lacking(texts, cuts)
        with bar(len(missing), f"reading with {self.backbone.source.name}") as shown:
            for part in self.portions(missing):
                self.read_texts(part, cuts, shown)
        return len(missing)

    def lacking(self, texts: Sequence[str], cuts: Sequence[int] = ()) -> list[str]:
        """The distinct texts whose pooled features, or activations at the cuts, are not in the store; all where there is none."""
        distinct = list(dict.fromkeys(texts))
        if self.store is None or not distinct:
            return distinct
        keys = [text_key(text) for text in distinct]
        spaces = [self.space("pooled", layer) for layer in range(self.backbone.n_blocks + 1)]
        spaces += [self.space("tokens", cut) for cut in cuts]
        have = np.logical_and.reduce([self.store.contains(space, keys) for space in spaces])
        return [distinct[i] for i in np.flatnonzero(~have)]

    def portions(self, texts: Sequence[str]) -> Iterator[Sequence[str]]:
        """The texts in parts whose activations take at most 256 MB together."""
        for start in range(0, len(texts), self.at_once):
            yield texts[start : start + self.at_once]

    @property
    def at_once(self) -> int:
        """Texts whose activations take at most 256 MB together."""
        return max(16, min(_CHUNK, _PORTION // (self.backbone.max_length * self.backbone.width * 4)))

    def activations(self, texts: Sequence[str], cut: int) -> list[Float32]:
        """The hidden states that enter block `cut`, at L those that leave the model: (t_i, d) for each text, read where not stored."""
        rows: list[Float32 | None] = [None] * len(texts)
        if self.store is not None:
            rows = self.store.read_ragged(self.space("tokens", cut), [text_key(text) for text in texts], self.backbone.width)
        missing = [i for i, row in enumerate(rows) if row is None]
        if missing:
            found = self.read_texts([texts[i] for i in missing], [cut]).activations[cut]
            for i, row in zip(missing, found, strict=True):
                rows[i] = row
        return [_present(row) for row in rows]

    def space(self, kind: str, layer: int) -> bytes:
        """The name under which results of one kind (`pooled` or `tokens`) at one layer are kept."""
        if (kind, layer) not in self._spaces:
            backbone = self.backbone
            self._tokenizer = self._tokenizer or tokenizer_digest(backbone.tokenizer) + (b"pairs" if backbone.pairs else b"")
            key = space_key(
                kind=kind,
                weights=backbone.prefix[layer],
                tokenizer=self._tokenizer,
                max_length=backbone.max_length,
                pooling=backbone.pooling.value if kind == "pooled" else "",
                format="float32",
                computed_by=RELEASE,
            )
            self._spaces[kind, layer] = key
            if self.store is not None:
                told = {"source": backbone.source.name, "kind": kind, "layer": layer, "max_length": backbone.max_length}
                told |= {"pooling": backbone.pooling.value} if kind == "pooled" else {}
                told |= {"texts": "pairs"} if backbone.pairs else {}
                self.store.register_space(key, told)
        return self._spaces[kind, layer]

    def read_texts(self, texts: Sequence[str], cuts: Sequence[int] = (), shown: Any = None) -> Reading:
        """Pooled features of every layer and the activations at all of `cuts`, in one pass.

        Equal texts are read once; texts whose results the store holds are not read at all. `shown` is a bar to move; None: one of its own.

        Raises:
            ValueError: there is no such block.
        """
        layers = self.backbone.n_blocks + 1
        if not all(0 <= cut < layers for cut in cuts):
            raise ValueError(f"cuts are {list(cuts)}; they must lie between 0 and {layers - 1}")
        keys = [text_key(text) for text in texts]
        first: dict[bytes, int] = {}
        for i, key in enumerate(keys):
            first.setdefault(key, i)
        distinct = list(first)
        pooled = np.empty((len(distinct), layers, self.backbone.width), dtype=np.float32)
        activations: dict[int, list[Float32 | None]] = {cut: [None] * len(distinct) for cut in cuts}
        missing = self._fetch(distinct, pooled, activations)
        self.kept += len(distinct) - len(missing)
        own = bar(len(missing), f"reading with {self.backbone.source.name}") if shown is None and len(missing) else nullcontext(shown)
        with own as moving:
            for start in range(0, len(missing), _CHUNK):
                part = missing[start : start + _CHUNK]
                self._compute([texts[first[distinct[i]]] for i in part], [distinct[i] for i in part], part, pooled, activations)
                moving.update(len(part))
        position = {key: i for i, key in enumerate(distinct)}
        where = np.fromiter((position[key] for key in keys), dtype=np.int64, count=len(keys))
        whole = pooled if len(distinct) == len(keys) else pooled[where]
        return Reading(whole, {cut: [_present(rows[i]) for i in where] for cut, rows in activations.items()})

    def _fetch(self, keys: list[bytes], pooled: Float32, activations: dict[int, list[Float32 | None]]) -> NDArray[np.int64]:
        """Fill in what the store holds; returns the positions that have to be read."""
        if self.store is None:
            return np.arange(len(keys))
        found = np.ones(len(keys), dtype=bool)
        for layer in range(pooled.shape[1]):
            found &= self.store.read_fixed(self.space("pooled", layer), keys, pooled[:, layer])
        for cut, rows in activations.items():
            rows[:] = self.store.read_ragged(self.space("tokens", cut), keys, self.backbone.width)
            found &= np.fromiter((row is not None for row in rows), dtype=bool, count=len(rows))
        return np.flatnonzero(~found)

    def _compute(
        self,
        texts: list[str],
        keys: list[bytes],
        into: NDArray[np.int64],
        pooled: Float32,
        activations: dict[int, list[Float32 | None]],
    ) -> None:
        """Read these texts, put the results at the positions `into`, and keep them."""
        begin = time.perf_counter()
        ids = tokenize(self.backbone, texts)
        for batch in in_turn(plan_batches([len(row) for row in ids], self.batch_tokens)):
            features, hidden, lengths = forward_batch(self.backbone, [ids[i] for i in batch], list(activations))
            pooled[into[batch]] = features
            for cut, rows in activations.items():
                for j, i in enumerate(batch):
                    rows[into[i]] = hidden[cut][j, : lengths[j]].copy()
        self.seconds += time.perf_counter() - begin
        self.read += len(texts)
        if self.store is not None:
            for layer in range(pooled.shape[1]):
                self.store.write(self.space("pooled", layer), keys, list(pooled[into, layer]))
            for cut, rows in activations.items():
                self.store.write(self.space("tokens", cut), keys, [_present(rows[i]) for i in into])


def _present(row: Float32 | None) -> Float32:
    assert row is not None  # every position was either fetched or computed
    return row


def tokenize(backbone: Backbone, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, special tokens included, at most `max_length` of them, at least one."""
    filler = backbone.tokenizer.pad_token_id or 0
    return [row or [filler] for row in encode(backbone.tokenizer, texts, backbone.max_length, pairs=backbone.pairs)]


def pad(rows: Sequence[Sequence[int]], filler: int) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Token ids padded on the right, (b, t), and their mask; None when all rows are of one length."""
    longest = max(len(row) for row in rows)
    if all(len(row) == longest for row in rows):
        return torch.tensor(rows, dtype=torch.long), None
    ids = torch.full((len(rows), longest), filler, dtype=torch.long)
    mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row, dtype=torch.long)
        mask[i, : len(row)] = 1
    return ids, mask


@torch.inference_mode()
def forward_batch(backbone: Backbone, rows: Sequence[Sequence[int]], cuts: Sequence[int]) -> tuple[Float32, dict[int, Float32], list[int]]:
    """One batch through the model: pooled features (b, L+1, d), activations (b, t, d) at each of the cuts, and the lengths."""
    ids, mask = pad(rows, backbone.tokenizer.pad_token_id or 0)
    features = torch.empty(len(rows), backbone.n_blocks + 1, backbone.width)
    caught: dict[int, torch.Tensor] = {}

    def see(k: int, hidden: torch.Tensor) -> None:
        features[:, k] = pool(hidden, mask, backbone.pooling)
        if k in cuts:
            caught[k] = hidden

    device = next(backbone.module.parameters()).device
    ids, mask = ids.to(device), None if mask is None else mask.to(device)
    with alone_with(backbone.module), fast_linears(backbone.module), watching(backbone.module, see):
        last = backbone.module(input_ids=ids, attention_mask=mask).last_hidden_state
    features[:, -1] = pool(last, mask, backbone.pooling)
    if backbone.n_blocks in cuts:
        caught[backbone.n_blocks] = last
    return features.numpy(), {cut: hidden.cpu().numpy() for cut, hidden in caught.items()}, [len(row) for row in rows]
