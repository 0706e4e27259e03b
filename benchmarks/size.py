"""Size: `check` and `predict` over up to 1,000,000 short texts, and reading with the store at its size limit.

    python benchmarks/size.py [--quick] [--retime] [--only side=check ...]

Goal: under 2 GB of memory, and the cost of a row flat: at most 1.25 x from the smallest to the largest, by processor time, which other work
on the machine hardly changes.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import Benchmark, Cell, Clock, Record, Report, Table, main, median

WANTED_MB, WANTED_RATIO = 2048, 1.25
LABELS = tuple(f"intent {letter}" for letter in "abcdefghijkl")
SIDES = ("check", "predict", "store")
STEP = 10_000  # texts between two looks at the store's process


def made_rows(count: int, seed: int) -> Iterator[tuple[str, str]]:
    """Short texts of 4 to 9 made words, frequent and rare as words are. Labels lean on the words, but for one row in ten."""
    rng = np.random.default_rng(seed)
    syllables = [a + b for a in "bcdfglmnprst" for b in ("a", "e", "i", "o", "u", "an", "er", "il")]
    parts = rng.integers(len(syllables), size=(20_000, 3)).tolist()
    words = ["".join(syllables[k] for k in own[: 1 + i % 3]) for i, own in enumerate(parts)]
    weight = 1.0 / np.arange(1, len(words) + 1)
    edges = np.cumsum(weight / weight.sum())
    for start in range(0, count, STEP):
        n = min(STEP, count - start)
        lengths = rng.integers(4, 10, n)
        drawn = np.searchsorted(edges, rng.random(int(lengths.sum())))
        leaning = rng.random(n) < 0.9
        ends = np.cumsum(lengths)
        for i in range(n):
            chosen = np.minimum(drawn[ends[i] - lengths[i] : ends[i]], len(words) - 1)
            label = int(chosen.max() % len(LABELS)) if leaning[i] else int(rng.integers(len(LABELS)))
            yield " ".join(words[k] for k in chosen), LABELS[label]


def write_made(path: Path, count: int, seed: int) -> str:
    with path.open("w", encoding="utf-8") as stream:
        stream.write("text,label\n")
        stream.writelines(f"{text},{label}\n" for text, label in made_rows(count, seed))
    return str(path)


def command(words: list[str], statuses: tuple[int, ...]) -> dict[str, Any]:
    """Run a headstart command in its own process: seconds, processor seconds, and the kernel's account of its greatest memory.

    Raises:
        SystemExit: it ended with another status than these, or with a traceback (whose status is 1, as is that of findings).
    """
    with tempfile.TemporaryFile("w+", encoding="utf-8") as complaints:
        begin = time.monotonic()
        child = subprocess.Popen([sys.executable, "-m", "headstart", *words], stdout=subprocess.DEVNULL, stderr=complaints)
        _, status, usage = os.wait4(child.pid, 0)
        seconds = time.monotonic() - begin
        child.returncode = os.waitstatus_to_exitcode(status)
        complaints.seek(0)
        told = complaints.read()
    if child.returncode not in statuses or "Traceback" in told:
        raise SystemExit(f"`headstart {' '.join(words)}` ended with status {child.returncode}: {told[-1000:]}")
    return {
        "command_seconds": round(seconds, 3),
        "command_cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "command_peak_mb": round(usage.ru_maxrss / 1024),
        "command_status": child.returncode,
    }


def check(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        data = write_made(Path(folder) / "rows.csv", cell["rows"], seed=1)
        clock.start()
        done = command(["check", data, "--text", "text", "--label", "label"], statuses=(0, 1))
        clock.stop()
        return {**done, "file_mb": round(os.path.getsize(data) / 1e6, 1)}


def predict(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Labelling a file with a model of the frozen-features rung, made before the clock starts."""
    import headstart

    with tempfile.TemporaryDirectory() as folder:
        texts, labels = zip(*made_rows(600, seed=2), strict=True)
        run = str(Path(folder) / "run")
        test = write_made(Path(folder) / "test.csv", 60, seed=3)
        headstart.fit((texts, labels), test=test, strategy=("probe",), out=run, quiet=True)
        data = write_made(Path(folder) / "rows.csv", cell["rows"], seed=1)
        out = Path(folder) / "out.jsonl"
        clock.start()
        done = command(["predict", run, data, "--text", "text", "--out", str(out), "--quiet"], statuses=(0,))
        clock.stop()
        with out.open(encoding="utf-8") as lines:
            written = sum("prediction" in json.loads(line) for line in lines)
        if written != cell["rows"]:
            raise SystemExit(f"{written} of {cell['rows']} rows were written.")
        return done


def store(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Reading through a store that is soon full: seconds, this process's memory and the store's size after every portion."""
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.settings import Settings
    from headstart.sources.resolve import resolve_source

    points = []
    with tempfile.TemporaryDirectory() as folder, Store(Path(folder) / "store", cell["limit_mb"] * 10**6) as kept:
        reader = Reader(load_backbone(resolve_source(None), 256), kept, Settings().batch_tokens)
        rows = made_rows(cell["rows"], seed=1)
        clock.start()
        for _ in range(0, cell["rows"], cell["step"]):
            texts = [text for text, _ in (next(rows) for _ in range(cell["step"]))]
            begin = time.perf_counter()
            reader.pooled(texts)
            seconds = time.perf_counter() - begin
            size = sum(path.stat().st_size for path in (Path(folder) / "store").iterdir()) / 1e6
            resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            points.append({"seconds": round(seconds, 3), "memory_mb": round(resident), "store_mb": round(size, 1)})
        clock.stop()
        return {"points": points, "evicted": kept.stats.evicted, "step": cell["step"], "limit_mb": cell["limit_mb"]}


def cells(quick: bool) -> list[Cell]:
    if quick:
        return [
            *({"side": "check", "rows": rows} for rows in (200, 2000)),
            *({"side": "predict", "rows": rows} for rows in (50, 200)),
            {"side": "store", "rows": 400, "step": 100, "limit_mb": 2},
        ]
    return [
        *({"side": "check", "rows": rows} for rows in (1000, 100_000, 300_000, 1_000_000)),
        {"side": "store", "rows": 100_000, "step": STEP, "limit_mb": 300},
        *({"side": "predict", "rows": rows} for rows in (1000, 100_000, 1_000_000)),
    ]


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    tables, lines = [], []
    for side in ("check", "predict"):
        found = sorted((r for r in records if r["cell"]["side"] == side), key=lambda r: r["cell"]["rows"])
        if not found:
            continue
        rows = []
        cost: dict[int, float] = {}  # microseconds of a further row: what starting the command costs is left out
        seconds, worked = (
            {r["cell"]["rows"]: median([run["result"][name] for run in r["runs"]]) for r in found}
            for name in ("command_seconds", "command_cpu_seconds")
        )
        least = min(seconds)
        for record in found:
            count, peak = record["cell"]["rows"], record["result"]["command_peak_mb"]
            if count > least:
                cost[count] = 1e6 * (worked[count] - worked[least]) / (count - least)
            told = {"seconds": seconds[count], "cpu_seconds": worked[count], "cpu_us_per_further_row": cost.get(count), "peak_mb": peak}
            figures[f"{side} {count}"] = told
            further = f"{cost[count]:.1f}" if count in cost else "–"
            rows.append((f"{count:,}", f"{seconds[count]:.1f}", f"{worked[count]:.1f}", further, f"{peak:,}"))
        head = ("rows", "seconds", "processor seconds", f"µs of a processor for each row beyond {least:,}", "peak MB")
        tables.append(Table(f"`headstart {side}`, the whole process", head, tuple(rows)))
        if not cost:
            continue
        peak = max(record["result"]["command_peak_mb"] for record in found)
        flat = cost[max(cost)] / cost[min(cost)]
        met = peak < WANTED_MB and flat <= WANTED_RATIO and max(cost) == 1_000_000
        lines.append(
            f"{side}: peak {peak:,} MB, a further row up to {max(cost):,} costs {flat:.2f} x the processor time that it costs up to "
            f"{min(cost):,}; "
            f"goal: 1,000,000 rows under {WANTED_MB:,} MB and {WANTED_RATIO} x: {'met' if met else 'not met'}."
        )
    for record in (r for r in records if r["cell"]["side"] == "store"):
        points, step = record["result"]["points"], record["result"]["step"]
        table = [(f"{step * (i + 1):,}", f"{p['seconds']:.2f}", f"{p['memory_mb']:,}", f"{p['store_mb']:,}") for i, p in enumerate(points)]
        title = f"Reading through a store of {record['result']['limit_mb']:,} MB"
        tables.append(Table(title, ("texts so far", f"s for {step:,}", "memory MB", "store MB"), tuple(table)))
        later = points[len(points) // 2 :]
        slope = float(np.polyfit(np.arange(len(later)), [p["memory_mb"] for p in later], 1)[0]) if len(later) > 1 else 0.0
        million = points[-1]["memory_mb"] + slope * max(0.0, 1e6 / step - len(points))
        half = len(points) // 2
        flat = median([p["seconds"] for p in points[half:]]) / median([p["seconds"] for p in points[:half]])
        over = max(p["store_mb"] for p in points) > record["result"]["limit_mb"]
        met = million < WANTED_MB and flat <= WANTED_RATIO and not over and record["result"]["evicted"] > 0
        figures["store"] = {"mb_per_step": round(slope, 2), "mb_at_a_million": round(million), "later_half_cost": round(flat, 3)}
        evicted = record["result"]["evicted"]
        lines.append(
            f"store: memory grows by {slope:.1f} MB for {step:,} texts, so {million:,.0f} MB at 1,000,000; the later half costs "
            f"{flat:.2f} x the earlier; {evicted:,} rows gave way; goal: under {WANTED_MB:,} MB, {WANTED_RATIO} x, within the limit: "
            f"{'met' if met else 'not met'}."
        )
    return Report(figures, tuple(tables), tuple(lines))


BENCHMARK = Benchmark(
    name="size",
    title="Size: a million rows, and a full store",
    sides={"check": check, "predict": predict, "store": store},
    ours=frozenset(SIDES),
    cells=cells,
    report=report,
    notes=(
        "The texts are made: 4 to 9 words out of 20,000 made ones, frequent and rare as words are, in 12 labels.",
        "Memory is the kernel's greatest resident size of the command's process, files mapped into it included.",
        "predict's model is the frozen-features rung on all-MiniLM-L6-v2.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
