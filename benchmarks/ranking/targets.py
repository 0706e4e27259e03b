"""The rows of the ranking benchmark: training rows, which rankers see, and held-out rows, which make the truth.

Source tasks and targets are of different data sets. No figure of headstart's own quality comes from here, so the test files may serve as
held-out rows; rankers get the training rows alone.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from common import WORK
from data import Labelled, data_folder, learnable, read, shares
from headstart.strategies.base import Rows

# Where cells, sources and features lie; another folder lets a copy of the code measure what this one made.
RANKING = Path(os.environ.get("HEADSTART_RANKING", WORK / "ranking"))
# Training rows of each target: enough for some of each label, few enough that every source can be trained on every target.
TARGETS = {
    "trec": 300,
    "tweeteval_stance_abortion": 300,
    "subj": 200,
    "acl_arc": 300,
    "banking77": 400,
    "reviews_books": 200,
    "chemprot": 300,
    "ohsumed": 300,
}
SOURCE_TASKS = ("clinc150", "sst2", "tweeteval_offensive", "csabstruct", "snips", "unfair_tos_en")
SOURCE_ROWS = 1000
HELD_ROWS = 600
# Longer texts are cut: the table needs an order of sources, not their best scores, and every source must be affordable on every target.
WORDS = 32


def draw_target(name: str, seed: int) -> tuple[Rows, Rows]:
    """Training and held-out rows of a target, no text among both or twice.

    Training rows have the labels' own shares, two at least of each label that has them. Held out are the test file's rows; where these
    are fewer than 600, rows of the validation file and undrawn ones of the training file too, for a truth with less noise.
    """
    return _draw(name, TARGETS[name], seed)


def draw_task(name: str) -> tuple[Rows, Rows]:
    """1,000 training rows of a source task and held-out ones; the same for all sources."""
    return _draw(name, SOURCE_ROWS, 0)


def _draw(name: str, n: int, seed: int) -> tuple[Rows, Rows]:
    rng = np.random.default_rng([seed, n])
    pool, test = shortened(learnable(name)), shortened(read(name, "test"))
    labels = np.array(pool.labels)
    names, counts = np.unique(labels, return_counts=True)
    wanted = shares(counts, min(n, len(pool)), least=2)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:k] for label, k in zip(names, wanted, strict=True)]
    taken = rng.permutation(np.concatenate(chosen))
    train = _once(pool.take(taken), set())
    spare = rng.permutation(np.setdiff1d(np.arange(len(pool)), taken))
    # The test rows' own order may follow their labels.
    held = [test.take(rng.permutation(len(test)))]
    if any((data_folder() / name / f"validation{ending}").exists() for ending in (".jsonl", ".jsonl.gz")):
        held.append(shortened(read(name, "validation")))
    held.append(pool.take(spare))
    rest = _once(Labelled(tuple(t for part in held for t in part.texts), tuple(v for part in held for v in part.labels)), set(train.texts))
    number = {label: k for k, label in enumerate(sorted(set(train.labels)))}
    known = [i for i, label in enumerate(rest.labels) if label in number]
    return _rows(train, number), _rows(rest.take(known[:HELD_ROWS]), number)


def shortened(rows: Labelled) -> Labelled:
    """Each text without what follows its first words."""
    return Labelled(tuple(" ".join(text.split()[:WORDS]) for text in rows.texts), rows.labels)


def _once(rows: Labelled, seen: set[str]) -> Labelled:
    """Each text the first time that it comes, and none of `seen`; nor empty ones."""
    seen, kept = {"", *seen}, []
    for i, text in enumerate(rows.texts):
        if text not in seen:
            seen.add(text)
            kept.append(i)
    return rows.take(kept)


def _rows(rows: Labelled, number: dict[str, int]) -> Rows:
    return Rows(rows.texts, np.array([number[label] for label in rows.labels], dtype=np.int64), len(number))
