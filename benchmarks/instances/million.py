"""Choosing 10,000 of 1,000,000 rows: seconds and memory of `headstart select`, reading by the source apart.

    python benchmarks/instances/million.py [--rows 1000000] [--ways sure nearest ...]

The rows are made up: twenty domains about centres of their own, two labels along one direction, 384 features; the target are 50 rows of a
twenty-first domain. Their features are made from the row's number when they are asked for, in place of a source's, so that what is timed is
all but the encoding: reading the file (twice, and once more for the chosen texts), labels, rows that the target has too, weights, writing.
Each way runs in a process of its own. Results go to benchmarks/results/instances_million.json and .md.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, Table, describe_machine, machine_lines, markdown

WIDTH, DOMAINS, TARGET = 384, 20, 50
WANTED_SECONDS, WANTED_GB, CHOSEN = 600.0, 2.0, 10_000


def features_of(numbers: np.ndarray) -> np.ndarray:
    """Features of rows by their numbers: row i is of domain i % 20 (the target's of domain 20) and of label i // 20 % 2."""
    rng = np.random.default_rng(0)
    centres, direction = rng.normal(size=(DOMAINS + 1, WIDTH)), rng.normal(size=WIDTH)
    noise = np.random.default_rng(abs(int(numbers[0]))).normal(size=(len(numbers), WIDTH))
    domain = np.where(numbers < 0, DOMAINS, numbers % DOMAINS)
    label = 2.0 * (np.abs(numbers) // DOMAINS % 2) - 1.0
    return (centres[domain] + 0.5 * label[:, None] * direction + noise).astype(np.float32)


def write_files(folder: Path, rows: int) -> None:
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), rng.integers(3, 9))) for _ in range(20_000)]

    def line(number: int, picked: np.ndarray) -> str:
        label = "good" if abs(number) // DOMAINS % 2 else "bad"
        return json.dumps({"text": f"{number} " + " ".join(words[w] for w in picked), "label": label}) + "\n"

    for name, numbers in (("target", range(-TARGET * DOMAINS, 0, DOMAINS)), ("source", range(rows))):
        with (folder / f"{name}.jsonl").open("w") as file:
            for start in range(0, len(numbers), 10_000):
                part = numbers[start : start + 10_000]
                picked = rng.integers(0, len(words), (len(part), 12))
                file.writelines(line(number, row) for number, row in zip(part, picked, strict=True))


def one(folder: Path, way: str, share: float) -> dict[str, Any]:
    """`select` in this process."""
    from headstart.instances import select
    from headstart.settings import make_settings

    select.read_features = lambda reader, texts: features_of(np.array([int(text.split(" ", 1)[0]) for text in texts]))  # type: ignore
    settings = make_settings(
        {"rows_from": [str(folder / "source.jsonl")], "rows_by": way, "rows_share": share, "store": str(folder / "store"), "quiet": True}
    )
    begin = time.perf_counter()
    done = select.select_rows(str(folder / "target.jsonl"), settings, out=str(folder / "out.csv"), format=None)
    seconds = time.perf_counter() - begin
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {"way": way, "rows": done.rows, "chosen": done.chosen, "seconds": round(seconds, 1), "peak_gb": round(peak, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--ways", nargs="*", default=None)
    parser.add_argument("--one", nargs=3, default=None, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.one:
        print(json.dumps(one(Path(asked.one[0]), asked.one[1], float(asked.one[2]))))
        return 0
    from headstart.instances.registry import known_ways

    found = []
    with tempfile.TemporaryDirectory() as room:
        write_files(Path(room), asked.rows)
        for way in asked.ways or known_ways():
            command = [sys.executable, __file__, "--one", room, way, str(CHOSEN / asked.rows)]
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found.append(json.loads(done.stdout.splitlines()[-1]))
            print(found[-1], flush=True)
    machine = describe_machine()
    rows = [(f"`{r['way']}`", f"{r['chosen']:,} of {r['rows']:,}", f"{r['seconds']:,.0f}", f"{r['peak_gb']:.2f}") for r in found]
    met = all(r["seconds"] <= WANTED_SECONDS and r["peak_gb"] <= WANTED_GB for r in found)
    verdict = "met by all" if met else "not met by all"
    goal = f"Goal: under {WANTED_SECONDS / 60:.0f} minutes after encoding and under {WANTED_GB:.0f} GB: {verdict}."
    page = [
        "# Choosing among very many rows",
        "Reading by the source apart; the peak is of the whole process.",
        markdown(Table(f"{asked.rows:,} rows", ("way", "chosen", "s", "GB at most"), tuple(rows))),
        goal,
        "## Circumstances\n\n" + "\n".join(f"- {line}" for line in machine_lines(machine)),
    ]
    record = {"measured_by": "benchmarks/instances/million.py", "machine": machine, "ways": found}
    RESULTS.joinpath("instances_million.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    RESULTS.joinpath("instances_million.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
