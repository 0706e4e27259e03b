"""What training above the cut is fed with: rows as they enter the trunk, fetched when they are needed, in batches of like length.

Letters in shapes: t tokens, d width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import Dataset, Sampler

from headstart.backbone.reading import Reader, tokenize
from headstart.strategies.base import Rows
from headstart.strategies.model import NO_LABEL, PADDING, entering_rows

# Bytes of what enters the trunk that stay in memory during a training.
HELD_BYTES = 2**30
# Groups of rows of one class among which the one of fitting length is chosen.
_CHOICE = 8


Fetch = Callable[[Sequence[int]], Sequence[Any]]
"""Gives the rows at these positions as they enter the trunk."""


class Entering(Dataset[dict[str, Any]]):
    """Training rows as what enters the model: activations (t, d), or token ids (t,) where nothing is stored; with what is to be predicted
    of each, or of each token.

    Rows are fetched a batch at a time; as many as `HELD_BYTES` take stay in memory, the others are fetched again. `lengths` (n,) are t.
    `tokens` are the ids that occur, with that of padding; None: not known.
    """

    def __init__(self, lengths: NDArray[np.int64], labels: Sequence[Any], fetch: Fetch, tokens: NDArray[np.int64] | None = None) -> None:
        self.lengths, self.labels, self.fetch, self.tokens = lengths, labels, fetch, tokens
        self._held: dict[int, Any] = {}
        self._room = HELD_BYTES

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitems__(self, indices: Sequence[int]) -> list[dict[str, Any]]:
        """A batch; PyTorch's loader looks for this name."""
        missing = [i for i in dict.fromkeys(indices) if i not in self._held]
        fetched = dict(zip(missing, self.fetch(missing), strict=True))
        for i, row in fetched.items():
            if row.nbytes <= self._room:
                self._held[i] = row
                self._room -= row.nbytes
        return [{"row": fetched[i] if i in fetched else self._held[i], "label": self.labels[i]} for i in indices]

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.__getitems__([index])[0]


def entering_of(reader: Reader, rows: Rows, cut: int) -> Entering:
    """Rows as they enter a trunk at `cut`, at 0 as token ids; what the store holds is fetched from it."""
    labels: Sequence[Any] = rows.y.tolist() if rows.sizes is None else np.split(rows.y, np.cumsum(rows.sizes)[:-1])
    ids = tokenize(reader.backbone, rows.texts)
    filler = reader.backbone.tokenizer.pad_token_id  # some architectures pad further by themselves
    tokens = np.fromiter(sorted({PADDING, filler or PADDING}.union(*ids)), dtype=np.int64)
    return Entering(np.array([len(row) for row in ids]), labels, lambda at: entering_rows(reader, [rows.texts[i] for i in at], cut), tokens)


class GroupedBatches(Sampler[list[int]]):
    """Batches of rows of like length, in random order, new at every pass.

    With `balanced` every batch holds each class about equally often (rare classes come again), which a contrastive loss needs.
    """

    def __init__(self, lengths: NDArray[np.int64], y: NDArray[np.int64], batch_size: int, seed: int, balanced: bool) -> None:
        self.lengths, self.y, self.batch_size, self.balanced = lengths, y, batch_size, balanced
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return max(1, -(-len(self.y) // self.batch_size))

    def skip(self, passes: int) -> None:
        """Go on as if so many passes had been drawn."""
        for _ in range(passes):
            for _ in self:
                pass

    def __iter__(self) -> Iterator[list[int]]:
        if self.balanced:
            yield from self._balanced()
            return
        order = self.rng.permutation(len(self.y))
        pool_size = self.batch_size * 16  # sorted within pools only, so that passes differ
        batches = []
        for start in range(0, len(order), pool_size):
            part = order[start : start + pool_size]
            part = part[np.argsort(-self.lengths[part], kind="stable")]
            batches += [part[i : i + self.batch_size] for i in range(0, len(part), self.batch_size)]
        for i in self.rng.permutation(len(batches)):
            yield batches[i].tolist()

    def _balanced(self) -> Iterator[list[int]]:
        """Each batch: some classes in turn, at least two rows of each where it has them, of like length where there is a choice."""
        members = {int(k): np.flatnonzero(self.y == k) for k in np.unique(self.y)}
        per_class = max(2, self.batch_size // len(members))
        classes_each = min(len(members), max(2, self.batch_size // per_class))
        groups: dict[int, list[NDArray[np.int64]]] = {k: [] for k in members}
        queue: list[int] = []

        def next_group(k: int, near: float | None) -> NDArray[np.int64]:
            """Rows of a class, of those that come next the ones whose mean length is nearest."""
            if not groups[k]:
                rows = self.rng.permutation(members[k])
                take = min(per_class, len(rows))
                for start in range(0, len(rows) - take + 1, take * _CHOICE):
                    part = rows[start : start + take * _CHOICE]
                    part = part[: len(part) // take * take]  # before they are sorted, so that at every pass others are left out
                    part = part[np.argsort(self.lengths[part], kind="stable")]
                    groups[k] += np.split(part, len(part) // take)
            choice = groups[k][:_CHOICE]
            if near is None:
                return groups[k].pop(int(self.rng.integers(len(choice))))
            return groups[k].pop(int(np.argmin([abs(self.lengths[group].mean() - near) for group in choice])))

        for _ in range(len(self)):
            chosen: list[int] = []
            batch: list[NDArray[np.int64]] = []
            while len(chosen) < classes_each:
                if not queue:
                    queue = self.rng.permutation(list(members)).tolist()
                k = queue.pop()
                if k not in chosen:
                    chosen.append(k)
                    batch.append(next_group(k, float(self.lengths[batch[0]].mean()) if batch else None))
            yield np.concatenate(batch).tolist()


def packed(items: list[dict[str, Any]]) -> dict[str, torch.Tensor | None]:
    """A batch as one row of all its texts: `entering` (1, t, d) or (1, t), `positions` (1, t) that begin anew with each text, `labels`
    (1, t) of its tokens, the first of each text without one, and no mask. For causal models alone."""
    rows = [torch.as_tensor(item["row"]) for item in items]
    labels = [torch.as_tensor(item["label"]).clone() for item in items]
    for label in labels:
        label[:1] = NO_LABEL  # nothing of its own stands before it
    positions = torch.cat([torch.arange(len(row)) for row in rows])
    return {"entering": torch.cat(rows)[None], "mask": None, "labels": torch.cat(labels)[None], "positions": positions[None]}
