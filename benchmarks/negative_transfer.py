"""Does a run say *hurts* where transfer hurts, and how often does it say so where nothing does?

    python benchmarks/negative_transfer.py [--only CASE ...] [--repetitions 20]

Cases made so that transfer loses or has nothing to add: a source whose token embeddings are shuffled, a source of another language, a
target that word counts decide. Cases made so that nothing can win: labels drawn by chance, many times over; there the verdicts *helps* and
*hurts* are both false alarms, and a 95 % interval allows one in twenty. Each run has `probe`, `static` and `tfidf` to choose from. Done
cells are kept in benchmarks/work/negative_transfer.jsonl and not done again.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from common import describe_machine
from data import learnable, minilm, read
from headstart import fit, load

HERE = Path(__file__).parent
WORK, RESULTS = HERE / "work" / "negative_transfer.jsonl", HERE / "results" / "negative_transfer.json"
CASES = ("shuffled embeddings", "another language", "word counts", "random labels")
ROWS, TEST_ROWS = 400, 1000
RUNGS = ["tfidf", "static", "probe"]

Pairs = list[tuple[str, str]]


def shuffled_source(folder: Path) -> Path:
    """MiniLM whose tokens have each other's embeddings: all of its blocks, and nothing that they were trained on."""
    from safetensors.numpy import load_file, save_file

    place = folder / "shuffled"
    shutil.copytree(minilm(), place)
    weights = load_file(place / "model.safetensors")
    [name] = [name for name in weights if name.endswith("word_embeddings.weight")]
    weights[name] = np.ascontiguousarray(weights[name][np.random.default_rng(0).permutation(len(weights[name]))])
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return place


def drawn(name: str, seed: int) -> tuple[Pairs, Pairs]:
    """Training and test rows of a public set, at most so many."""
    rng = np.random.default_rng(seed)
    train, test = learnable(name), read(name, "test")

    def some(texts: Sequence[str], labels: Sequence[str], most: int) -> Pairs:
        picked = rng.permutation(len(texts))[:most]
        return [(texts[i], labels[i]) for i in picked]

    return some(train.texts, train.labels, ROWS), some(test.texts, test.labels, TEST_ROWS)


def counted(seed: int) -> tuple[Pairs, Pairs]:
    """Real texts with three of sixty codes among their words; the label says from which half of the codes most of them are.

    A code means nothing, so that no source has learnt it, and the texts say nothing; counts of words tell all.
    """
    rng = np.random.default_rng(seed)
    halves = np.array([f"{code:04d}" for code in rng.permutation(10_000)[:60]]).reshape(2, 30)

    def one(text: str) -> tuple[str, str]:
        own = int(rng.integers(2))
        words = text.split()
        for code in (*rng.choice(halves[own], 2, replace=False), rng.choice(halves[1 - own])):
            words.insert(int(rng.integers(len(words) + 1)), str(code))
        return " ".join(words), ("former", "latter")[own]

    train, test = drawn("subj", seed)
    return [one(text) for text, _ in train], [one(text) for text, _ in test]


def random_labels(seed: int) -> tuple[Pairs, Pairs]:
    """Real texts under labels drawn by chance."""
    rng = np.random.default_rng(seed)
    train, test = drawn("subj", seed)
    return tuple([(text, ("heads", "tails")[rng.integers(2)]) for text, _ in rows] for rows in (train, test))  # type: ignore[return-value]


def run(case: str, seed: int, folder: Path) -> dict[str, object]:
    """One run of a case; what its verdict was, and whether a model without transfer was saved, as the winner or beside it."""
    train, test = {
        "shuffled embeddings": lambda: drawn("trec", seed),
        "another language": lambda: drawn("chnsenticorp_htl", seed),
        "word counts": lambda: counted(seed),
        "random labels": lambda: random_labels(seed),
    }[case]()
    for name, rows in (("train", train), ("test", test)):
        lines = [json.dumps({"text": text, "label": label}, ensure_ascii=False) for text, label in rows]
        (folder / f"{name}.jsonl").write_text("\n".join(lines), encoding="utf-8")
    source = str(shuffled_source(folder)) if case == "shuffled embeddings" else None
    settings = {"source": source} if source else {}
    done = fit(
        folder / "train.jsonl",
        text="text",
        label="label",
        test=str(folder / "test.jsonl"),
        strategy=RUNGS,
        metric="accuracy",
        seed=seed,
        out=str(folder / "run"),
        store=str(folder / "store"),
        shelf=False,
        quiet=True,
        **settings,
    )
    gain = done.gain
    assert gain is not None  # rungs of both kinds were asked for
    # Which model is saved as the winner was chosen on training rows; where the verdict is *hurts*, one without transfer lies beside it.
    without = type(load(done.folder).reader).__name__ == "TfidfModel" or (done.folder / "without_transfer").is_dir()
    return {
        "case": case,
        "seed": seed,
        "gain": round(gain.value, 4),
        "low": round(gain.low, 4),
        "high": round(gain.high, 4),
        "verdict": gain.verdict.value,
        "winner": done.results.winner.name,
        "saved without transfer": without,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(CASES), choices=CASES)
    parser.add_argument("--repetitions", type=int, default=20)
    asked = parser.parse_args()
    WORK.parent.mkdir(exist_ok=True)
    cells = [json.loads(line) for line in WORK.read_text().splitlines()] if WORK.exists() else []
    known = {(cell["case"], cell["seed"]) for cell in cells}
    for case in asked.only:
        for seed in range(asked.repetitions if case == "random labels" else 3):
            if (case, seed) in known:
                continue
            with tempfile.TemporaryDirectory() as folder:
                cells.append(run(case, seed, Path(folder)))
            with WORK.open("a") as file:
                file.write(json.dumps(cells[-1]) + "\n")
            print(cells[-1], flush=True)
    chance = [cell for cell in cells if cell["case"] == "random labels"]
    alarms = sum(cell["verdict"] != "no clear difference" for cell in chance)
    summary = {"harmless repetitions": len(chance), "false alarms": alarms}
    text = json.dumps(
        {"measured_by": "benchmarks/negative_transfer.py", "machine": describe_machine(), **summary, "cells": cells}, indent=1
    )
    RESULTS.write_text(text + "\n", encoding="utf-8")
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
