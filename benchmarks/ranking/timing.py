"""Seconds to rank twelve sources on 1,000 rows: `headstart rank` with an empty store, again, and transformer-ranker with its defaults.

    python benchmarks/ranking/timing.py [--rounds 1]

The sides take turns. The rows are 1,000 of banking77's training rows; the sources are MiniLM's eight and four of MPNet's. One that was not
made is stood in for by its base with weights that are moved by a hundredth: time does not hang on what a source has learnt. Results go
to benchmarks/results/ranking_timing.json.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
import zlib
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from common import RESULTS, describe_machine, median
from data import sample
from ranking import sources
from ranking.scores import _peer

NAMES = (*sources.names("minilm"), *sources.names("mpnet")[:4])


def found_or_stood_in_for(room: Path) -> dict[str, str]:
    """The sources' names by their folders; those that were not made are written into `room`."""
    found = {}
    for name in NAMES:
        made = sources.RANKING / "sources" / name
        whole = name in sources.BASES or (made / "config.json").is_file()
        found[str(sources.folder_of(name) if whole else stand_in(name, room / name))] = name
    return found


def stand_in(name: str, folder: Path) -> Path:
    """A copy of a source's base with weights that are moved by a hundredth."""
    import torch
    from safetensors.torch import load_file, save_file

    base = sources.folder_of(sources.base_of(name))
    shutil.copytree(base, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.bin", "onnx", "openvino", ".git*", ".cache"))
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    weights = load_file(base / "model.safetensors")
    for weight in weights.values():
        if weight.is_floating_point():
            weight *= 1.0 + 0.01 * torch.randn(weight.shape, generator=generator)
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def ours(folders: dict[str, str], texts: list[str], labels: list[str], store: str) -> tuple[float, list[str]]:
    import headstart

    begin = time.perf_counter()
    found = headstart.rank((texts, labels), source=list(folders), metric="accuracy", store=store, quiet=True)
    return time.perf_counter() - begin, [folders[source.name] for source in found.sources]


def peer(folders: dict[str, str], texts: list[str], labels: list[str]) -> float:
    from datasets import Dataset

    number = {label: k for k, label in enumerate(sorted(set(labels)))}
    data = Dataset.from_dict({"text": texts, "label": [number[label] for label in labels]})
    begin = time.perf_counter()
    _peer()(data, text_column="text", label_column="label").run(list(folders))
    return time.perf_counter() - begin


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=1)
    asked = parser.parse_args()
    train = sample("banking77", 1000, 0).train
    texts, labels = list(train.texts), list(train.labels)
    rounds: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as room:
        folders = found_or_stood_in_for(Path(room))
        for _ in range(asked.rounds):
            with tempfile.TemporaryDirectory() as store:
                first, order = ours(folders, texts, labels, store)
                again, _ = ours(folders, texts, labels, store)
            rounds.append({"first": first, "again": again, "transformer-ranker": peer(folders, texts, labels), "order": order})
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
        "stood in for": [name for folder, name in folders.items() if folder.startswith(room)],
        "rows": len(texts),
        **summary,
        "rounds": rounds,
    }
    RESULTS.joinpath("ranking_timing.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
