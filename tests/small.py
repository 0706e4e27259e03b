"""A small invented task and a tiny source on which a whole `headstart.fit` takes a second or two."""

from __future__ import annotations

import csv
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tiny import WORDS

TOPICS = {
    "card": ("card", "lost", "account", "money"),
    "login": ("password", "login", "broken", "wrong"),
    "order": ("order", "price", "new", "pay"),
}
LABELS = tuple(TOPICS)


def sentences(n: int, seed: int) -> list[tuple[str, str]]:
    """n different texts of six words, three of them of the label's topic; labels in turn."""
    rng = random.Random(seed)
    found: dict[str, str] = {}
    while len(found) < n:
        label = LABELS[len(found) % len(LABELS)]
        words = [rng.choice(TOPICS[label]) for _ in range(3)] + [rng.choice(WORDS) for _ in range(5)]
        rng.shuffle(words)
        found.setdefault(" ".join(words), label)
    return list(found.items())


def write_csv(path: Path, rows: Sequence[tuple[str, str]]) -> str:
    """The rows under `text,label`; returns the path as a word for the command line."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(rows)
    return str(path)


def without_times(record: Any) -> dict[str, Any]:
    """A trial record as plain values, less what a clock measured."""
    from dataclasses import asdict

    return {name: value for name, value in asdict(record).items() if name not in ("seconds", "predicted_seconds", "curve")}
