"""A target without labels: heads on labelled rows of neighbouring domains, fitted to the target's texts.

    python benchmarks/instances/unlabelled.py [--texts 50 700] [--seeds 0 1 2] [--domains NAME ...]

The twelve `reviews_*` domains, each in turn the target with so many texts without labels; the source are 700 labelled rows of each of the
other eleven. The same features as of `measure.py`; judged on the same 400 rows. Results go to benchmarks/results/instances_unlabelled.json
and .md.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from measure import SOURCE_ROWS, domains, features_of

from common import RESULTS, WORK, Table, append_line, describe_machine, machine_lines, markdown, read_lines

CELLS = WORK / "instances_unlabelled.jsonl"


def run(domain: str, n: int, seed: int) -> dict[str, Any]:
    from headstart.instances.unlabelled import WAYS, Sides

    own, others = features_of(domain), [features_of(name) for name in domains() if name != domain]
    picked = np.random.default_rng([seed, n]).permutation(SOURCE_ROWS)[:n]
    source, y = (np.concatenate([other[key][:SOURCE_ROWS] for other in others]) for key in ("features", "y"))
    sides = Sides(source, y, own["features"][picked], 2, seed)
    judged, truth = own["features"][SOURCE_ROWS:], own["y"][SOURCE_ROWS:]
    accuracy, seconds = {}, {}
    for name, adapt in WAYS.items():
        begin = time.perf_counter()
        head = adapt(sides)
        seconds[name] = round(time.perf_counter() - begin, 3)
        accuracy[name] = float((head.logits(judged).argmax(axis=1) == truth).mean())
    return {"domain": domain, "n": n, "seed": seed, "accuracy": accuracy, "seconds": seconds}


def write_results(cells: list[dict[str, Any]]) -> Path:
    rng = np.random.default_rng(0)
    tables = []
    for n in sorted({cell["n"] for cell in cells}):
        own = [cell for cell in cells if cell["n"] == n]
        names = sorted({cell["domain"] for cell in own})
        rows = []
        for side in own[0]["accuracy"]:
            apart = np.array(
                [np.mean([c["accuracy"][side] - c["accuracy"]["source_rows"] for c in own if c["domain"] == d]) for d in names]
            )
            means = 100 * apart[rng.integers(0, len(apart), (10_000, len(apart)))].mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            gain = "–" if side == "source_rows" else f"{100 * apart.mean():+.1f} [{low:.1f}, {high:.1f}]"
            seconds = np.median([c["seconds"][side] for c in own])
            rows.append(
                (side, f"{100 * np.mean([c['accuracy'][side] for c in own]):.1f}", gain, f"{100 * apart.min():+.1f}", f"{seconds:.1f}")
            )
        columns = ("way", "accuracy", "over source rows as they are", "worst domain", "s")
        tables.append(markdown(Table(f"{n} texts without labels ({len(names)} domains, {len(own)} cells)", columns, tuple(rows))))
    machine = describe_machine()
    page = ["# A target without labels", "Accuracy in %, differences in points with 95 % intervals over domains.", *tables]
    page.append("## Circumstances\n\n" + "\n".join(f"- {line}" for line in machine_lines(machine)))
    record = {"measured_by": "benchmarks/instances/unlabelled.py", "machine": machine, "cells": cells}
    RESULTS.joinpath("instances_unlabelled.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    RESULTS.joinpath("instances_unlabelled.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return RESULTS / "instances_unlabelled.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--texts", nargs="*", type=int, default=[50, 700])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--domains", nargs="*", default=None)
    asked = parser.parse_args()
    cells = read_lines(CELLS)
    have = {(cell["domain"], cell["n"], cell["seed"]) for cell in cells}
    for seed in asked.seeds:
        for n in asked.texts:
            for domain in asked.domains or domains():
                if (domain, n, seed) not in have:
                    cells.append(run(domain, n, seed))
                    append_line(CELLS, cells[-1])
                    print(domain, n, seed, cells[-1]["accuracy"], flush=True)
            print(write_results(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
