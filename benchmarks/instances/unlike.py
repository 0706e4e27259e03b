"""Does the guard keep rows out that are of another kind? Fifteen cells, each a whole `headstart fit --rows-from`.

    python benchmarks/instances/unlike.py

50 labelled reviews, half of each class, and 700 tweets whose labels are made to stand for praise and blame: rows that look as if they could
be of use and say something else; and 50 sentences of film reviews (sst2) with 700 phrases out of the news (mpqa) of the same two labels,
five draws. Told is whether the model that was chosen learnt from them, and what the best rung with them gained on
the judged rows. Finished cells are lines in benchmarks/work/instances_unlike.jsonl.
"""

from __future__ import annotations

import csv
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, WORK, append_line, code_digest, describe_machine, read_lines
from data import read
from instances.measure import drawn

CELLS = WORK / "instances_unlike.jsonl"
TARGETS = ("books", "kitchen_housewares", "music", "toys_games", "apparel")
# What is joined by its labels' own names.
FILMS, PHRASES, DRAWS = "sst2", "mpqa", range(5)
MAPS = {
    "tweeteval_offensive": {"offensive": "negative", "not-offensive": "positive"},
    "tweeteval_hate": {"hate": "negative", "not-hate": "positive"},
}


def write(path: Path, rows: list[tuple[str, str]]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *rows])
    return str(path)


def run(domain: str, beside: str, seed: int) -> dict[str, Any]:
    import headstart

    rows, others = read(domain if domain == FILMS else f"reviews_{domain}", "train"), read(beside, "train")
    order = np.random.default_rng(0).permutation(len(rows))
    names = sorted(set(rows.labels))
    picked = order[drawn(np.array([names.index(rows.labels[i]) for i in order]), 50, seed)]
    judged = order[-400:]
    some = np.random.default_rng(seed).permutation(len(others))[:700]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "map.json").write_text(json.dumps(MAPS.get(beside)), encoding="utf-8")
        results = headstart.fit(
            write(folder / "target.csv", [(rows.texts[i], rows.labels[i]) for i in picked]),
            test=write(folder / "test.csv", [(rows.texts[i], rows.labels[i]) for i in judged]),
            rows_from=[write(folder / "beside.csv", [(others.texts[i], others.labels[i]) for i in some])],
            label_map=str(folder / "map.json") if beside in MAPS else None,
            strategy=["probe"],
            metric="accuracy",
            seed=seed,
            out=str(folder / "run"),
            store=str(WORK / "instances_store"),
            shelf=False,
            quiet=True,
        ).results
    assert results.rows is not None
    gain = results.rows.gains[0]
    return {
        "domain": domain,
        "beside": beside,
        "seed": seed,
        "learnt": results.rows.learnt,
        "gain": [gain.value, gain.low, gain.high],
        "winner": results.winner.name,
        "code": code_digest(),
    }


def main() -> int:
    cells = read_lines(CELLS)
    have = {(cell["domain"], cell["beside"], cell["seed"]) for cell in cells}
    wanted = [(domain, tweets, 0) for tweets in MAPS for domain in TARGETS] + [(FILMS, PHRASES, seed) for seed in DRAWS]
    for key in wanted:
        if key not in have:
            cells.append(run(*key))
            append_line(CELLS, cells[-1])
            print(cells[-1], flush=True)
    kept = sum(not cell["learnt"] for cell in cells)
    summary = {"cells": len(cells), "kept out": kept, "gains": {}}
    for others in (*MAPS, PHRASES):
        summary["gains"][others] = [round(cell["gain"][0], 3) for cell in cells if cell["beside"] == others]
    RESULTS.joinpath("instances_unlike.json").write_text(
        json.dumps({"measured_by": "benchmarks/instances/unlike.py", "machine": describe_machine(), **summary, "each": cells}, indent=1)
        + "\n",
        encoding="utf-8",
    )
    print(summary)
    return 0


if __name__ == "__main__":
    sys.exit(main())
