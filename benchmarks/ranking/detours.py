"""What `fit --via` gains where the source data set is the one that `rank --via` puts first: at few labels, against going directly.

    python benchmarks/ranking/detours.py [--targets NAME ...] [--per-class 8 16] [--seeds 0 ...] [--budget 180]

For each target, number of labels a class and seed: the six source data sets are ranked by the target's training rows, the first is given to
`headstart fit --via` with the rungs `probe` and `partial`, and the run's own judge tells on held-out rows what the detour gained against
the best direct rung, and what the chosen model gained or lost against it. Both come from one run, so that they share rows, budget and
machine. Finished cells are lines in benchmarks/work/ranking/detours.jsonl; results go to benchmarks/results/ranking_detours.json and .md.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, Table, append_line, code_digest, describe_machine, machine_lines, markdown, read_lines
from data import Labelled, few
from ranking.targets import RANKING, SOURCE_TASKS, TARGETS, draw_task, shortened

CELLS = RANKING / "detours.jsonl"
JUDGED = 600  # held-out rows
STRATEGIES = ("probe", "partial")


def write(path: Path, texts: Sequence[str], labels: Sequence[Any]) -> str:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *zip(texts, labels, strict=True)])
    return str(path)


def drawn(target: str, per_class: int, seed: int) -> tuple[Labelled, Labelled]:
    """Training rows, and held-out rows that have their labels and none of their texts."""
    task = few(target, per_class, seed)
    train, test = shortened(task.train), shortened(task.test)
    known, seen = set(train.labels), set(train.texts)
    fit = [i for i in range(len(test)) if test.labels[i] in known and test.texts[i] not in seen and test.texts[i]]
    return train, test.take(np.random.default_rng(seed).permutation(fit)[:JUDGED])


def run(target: str, per_class: int, seed: int, budget: int) -> dict[str, Any]:
    """One cell."""
    import headstart
    from headstart.ranking.data_sets import rank_data
    from headstart.settings import make_settings

    train, test = drawn(target, per_class, seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = write(folder / "target.csv", train.texts, train.labels)
        held = write(folder / "held.csv", test.texts, test.labels)
        sets = {}
        for task in SOURCE_TASKS:
            rows = draw_task(task)[0]
            sets[write(folder / f"{task}.csv", rows.texts, rows.y.tolist())] = task
        # One store for all cells: the six data sets are read once, and the rows of other targets are of no use to any.
        common = {"text": "text", "label": "label", "store": str(RANKING / "detours_store"), "seed": seed}
        begin = time.perf_counter()
        ranked = [sets[item.path] for item in rank_data(data, make_settings({**common, "via": list(sets)})).sets]
        ranking = time.perf_counter() - begin
        chosen = next(path for path, task in sets.items() if task == ranked[0])
        begin = time.perf_counter()
        found = headstart.fit(
            data,
            via=[chosen],
            test=held,
            strategy=list(STRATEGIES),
            metric="accuracy",
            budget=budget,
            shelf=False,
            quiet=True,
            out=str(folder / "run"),
            **common,
        ).results
        seconds = time.perf_counter() - begin
    detour = found.detour
    gain = None if detour is None else detour.gain
    by = found.winner.source or ""
    return {
        "target": target,
        "per_class": per_class,
        "seed": seed,
        "rows": len(train),
        "ranked": ranked,
        "gain": None if gain is None else [gain.value, gain.low, gain.high],
        "winner": found.winner.name,
        "detour_won": " via " in by,
        "accuracy": found.scores["accuracy"].value,
        "ranking_seconds": round(ranking, 2),
        "seconds": round(seconds, 1),
        "budget": budget,
        "code": code_digest(),
    }


def chosen_gain(cell: dict[str, Any]) -> float:
    """By how much the run's model is better than the best direct one, in points: nothing where it is the direct one."""
    return 100.0 * cell["gain"][0] if cell["detour_won"] and cell["gain"] else 0.0


def gains_by_target(cells: list[dict[str, Any]]) -> list[float]:
    """The mean gain of each target, by name: in this order the resamples draw them."""
    names = sorted({cell["target"] for cell in cells})
    return [statistics.fmean(chosen_gain(cell) for cell in cells if cell["target"] == name) for name in names]


def write_results(cells: list[dict[str, Any]]) -> Path:
    """The table of all cells, and means by number of labels with 95 % intervals over targets."""
    rng = np.random.default_rng(0)
    rows, means = [], []
    for cell in sorted(cells, key=lambda cell: (cell["per_class"], cell["target"], cell["seed"])):
        gain = "–" if cell["gain"] is None else "{:+.1f} [{:.1f}, {:.1f}]".format(*(100 * value for value in cell["gain"]))
        way = "detour" if cell["detour_won"] else "direct"
        rows.append((cell["target"], str(cell["per_class"]), str(cell["seed"]), cell["ranked"][0], gain, way, f"{chosen_gain(cell):+.1f}"))
    for per_class in sorted({cell["per_class"] for cell in cells}):
        own = [cell for cell in cells if cell["per_class"] == per_class]
        values = np.array(gains_by_target(own))
        drawn_means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
        low, high = np.quantile(drawn_means, [0.025, 0.975])
        means.append(
            (str(per_class), str(len(values)), f"{values.mean():+.2f} [{low:.2f}, {high:.2f}]", f"{min(map(chosen_gain, own)):+.1f}")
        )
    machine = describe_machine()
    older = sum(cell["code"] != code_digest() for cell in cells)
    notes = [*machine_lines(machine), *([f"{older} of {len(cells)} cells were made by other versions of the code."] if older else [])]
    page = [
        "# A source task first, chosen by rank",
        "Accuracy in points; the detour goes by the source data set that `headstart rank --via` puts first. `gain` is the best rung by the "
        "detour minus the best direct one on held-out rows, `kept` what the run's own model gained against the direct one.",
        markdown(Table("Means", ("labels a class", "targets", "kept, 95 % interval over targets", "worst cell"), tuple(means))),
        markdown(Table("Cells", ("target", "labels a class", "seed", "source data set", "gain", "chosen", "kept"), tuple(rows))),
        "## Circumstances\n\n" + "\n".join(f"- {line}" for line in notes),
    ]
    RESULTS.joinpath("ranking_detours.json").write_text(
        json.dumps({"measured_by": "benchmarks/ranking/detours.py", "machine": machine, "cells": cells}, indent=1) + "\n", encoding="utf-8"
    )
    RESULTS.joinpath("ranking_detours.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return RESULTS / "ranking_detours.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS))
    parser.add_argument("--per-class", nargs="*", type=int, default=[8, 16])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0])
    parser.add_argument("--budget", type=int, default=180, help="seconds of each run")
    asked = parser.parse_args()
    cells = read_lines(CELLS)
    have = {(cell["target"], cell["per_class"], cell["seed"]) for cell in cells}
    for seed in asked.seeds:
        for per_class in asked.per_class:
            for target in asked.targets:
                if (target, per_class, seed) not in have:
                    cells.append(run(target, per_class, seed, asked.budget))
                    append_line(CELLS, cells[-1])
                    print(cells[-1], flush=True)
    print(write_results(cells))
    return 0


if __name__ == "__main__":
    sys.exit(main())
