"""Seconds to rank twelve sources on 1,000 rows: `headstart rank` with an empty store, again, and transformer-ranker with its defaults.

    python benchmarks/ranking/timing.py [--rounds 1]

The sides take turns. The rows are 1,000 of banking77's training rows; the sources are MiniLM's eight and four of MPNet's. Results go to
benchmarks/results/ranking_timing.json.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, describe_machine, median
from data import sample
from ranking import sources
from ranking.scores import _peer

NAMES = (*sources.names("minilm"), *sources.names("mpnet")[:4])


def ours(texts: list[str], labels: list[str], store: str) -> tuple[float, list[str]]:
    import headstart

    folders = {str(sources.folder_of(name)): name for name in NAMES}
    begin = time.perf_counter()
    found = headstart.rank((texts, labels), source=list(folders), metric="accuracy", store=store, quiet=True)
    return time.perf_counter() - begin, [folders[source.name] for source in found.sources]


def peer(texts: list[str], labels: list[str]) -> float:
    from datasets import Dataset

    number = {label: k for k, label in enumerate(sorted(set(labels)))}
    data = Dataset.from_dict({"text": texts, "label": [number[label] for label in labels]})
    begin = time.perf_counter()
    _peer()(data, text_column="text", label_column="label").run([str(sources.folder_of(name)) for name in NAMES])
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    train = sample("banking77", 1000, 0).train
    texts, labels = list(train.texts), list(train.labels)
    rounds: list[dict[str, Any]] = []
    for _ in range(asked.rounds):
        with tempfile.TemporaryDirectory() as store:
            first, order = ours(texts, labels, store)
            again, _ = ours(texts, labels, store)
        rounds.append({"first": first, "again": again, "transformer-ranker": peer(texts, labels), "order": order})
        print(rounds[-1], flush=True)
    figures = {name: median([each[name] for each in rounds]) for name in ("first", "again", "transformer-ranker")}
    summary = {
        **figures,
        "faster than transformer-ranker": figures["transformer-ranker"] / figures["first"],
        "again faster than first": figures["first"] / figures["again"],
    }
    told = {
        "measured_by": "benchmarks/ranking/timing.py",
        "machine": describe_machine(),
        "sources": NAMES,
        "rows": len(texts),
        **summary,
        "rounds": rounds,
    }
    RESULTS.joinpath("ranking_timing.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
