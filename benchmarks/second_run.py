"""What is kept: a second run up to the start of training against the first, and a run with one more row.

    python benchmarks/second_run.py [--quick] [--retime]

Goal: the second run is 10 x faster than the first up to the start of training, and one added row encodes one row. Each run is a process
of its own with a run folder of its own; they share nothing but the store. A run is stopped where its first trial would begin.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Benchmark, Cell, Clock, Record, Report, Table, main, median, spread
from data import few, sample
from ours import import_all, judged, write_rows

SETS: dict[str, dict[str, int]] = {"banking77": {"per_class": 26}, "trec": {"rows": 4000}, "ohsumed": {"rows": 1000}}
ROUNDS = 3
WANTED_SPEED = 10.0
RUNS = ("first", "second", "one more row")


class _Stop(BaseException):
    """The first trial would begin."""


def up_to_training(data: str, test: str, folder: str) -> dict[str, float]:
    """Seconds of `headstart.fit` until its first trial, of the reading within it, and how many texts were read and recalled."""
    import headstart.deciding
    import headstart.pipeline
    from headstart.backbone.reading import Reader
    from headstart.settings import make_settings

    import_all()
    seen: dict[str, float] = {"reading_seconds": 0.0, "read": 0, "kept": 0}  # what is all in the store is not read ahead at all
    read_texts = Reader.read_texts

    def timed(self: Reader, *args: Any, **kwargs: Any) -> Any:
        begin = time.perf_counter()
        try:
            return read_texts(self, *args, **kwargs)
        finally:
            seen.update(read=self.read, kept=self.kept, reading_seconds=seen["reading_seconds"] + time.perf_counter() - begin)

    def stop(*args: Any, **kwargs: Any) -> Any:
        raise _Stop

    Reader.read_texts = timed  # type: ignore[method-assign]
    headstart.deciding.decide = stop
    places = {"test": test, "out": f"{folder}/run", "store": f"{folder}/../store"}
    settings = make_settings({"text": "text", "label": "label", **places, "quiet": True})
    begin = time.perf_counter()
    try:
        headstart.pipeline.fit(data, settings)
    except _Stop:
        seen["seconds"] = time.perf_counter() - begin
    return {name: round(value, 4) for name, value in seen.items()}


def runs(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Three runs in a row on one store: the rows but the last, the same again, all rows."""
    task = few(cell["data"], cell["per_class"], 0) if "per_class" in cell else sample(cell["data"], cell["rows"], 0)
    rows = task.train
    found: dict[str, Any] = {"rows": len(rows) - 1}
    clock.start()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        before = write_rows(rows.take(range(len(rows) - 1)), folder / "rows.jsonl")
        after = write_rows(rows, folder / "one-more.jsonl")
        test = write_rows(judged(task.test), folder / "test.jsonl")
        for run, data in zip(RUNS, (before, before, after), strict=True):
            place = folder / run.replace(" ", "-")
            place.mkdir()
            answer = place / "answer.json"
            begin = time.monotonic()
            subprocess.run([sys.executable, __file__, "--run", data, test, str(place), str(answer)], check=True)
            found[run] = {**json.loads(answer.read_text()), "process_seconds": round(time.monotonic() - begin, 3)}
    clock.stop()
    return found


def cells(quick: bool) -> list[Cell]:
    if quick:
        return [{"side": "runs", "data": "trec", "rows": 40, "round": 0}]
    return [{"side": "runs", "data": name, **size, "round": turn} for turn in range(ROUNDS) for name, size in SETS.items()]


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows = []
    speeds, extra = [], []
    for name in dict.fromkeys(record["cell"]["data"] for record in records):
        results = [record["result"] for record in records if record["cell"]["data"] == name]
        for run in RUNS:
            one = [result[run] for result in results]
            rows.append(
                (
                    f"{name}, {results[0]['rows']:,} rows",
                    run,
                    spread([x["seconds"] for x in one], 2),
                    spread([x["reading_seconds"] for x in one], 2),
                    spread([x["process_seconds"] for x in one], 2),
                    str(one[0]["read"]),
                    str(one[0]["kept"]),
                )
            )
        whole = [result["first"]["seconds"] / result["second"]["seconds"] for result in results]
        reading = [result["first"]["reading_seconds"] / max(result["second"]["reading_seconds"], 0.01) for result in results]
        figures[name] = {"speed": round(median(whole), 2), "reading_speed": round(median(reading), 2), "rows": results[0]["rows"]}
        speeds.append(median(whole))
        extra += [result["one more row"]["read"] for result in results]
    lines = []
    if speeds:
        met = min(speeds) >= WANTED_SPEED and set(extra) == {1}
        each = ", ".join(f"{name} {one['speed']:.1f} x (reading alone {one['reading_speed']:.1f} x)" for name, one in figures.items())
        lines = [
            f"Second run against first, up to the start of training, imports apart: {each}; texts read for one more row: "
            f"{', '.join(str(count) for count in sorted(set(extra)))}; "
            f"goal: {WANTED_SPEED:.0f} x on each, and 1 text: {'met' if met else 'not met'}."
        ]
    head = ("data", "run", "s to the first trial", "s of reading in it", "s of the process", "texts read", "texts from the store")
    return Report(figures, (Table("Three runs on one store: medians (least to greatest) over rounds", head, tuple(rows)),), tuple(lines))


BENCHMARK = Benchmark(
    name="second_run",
    title="A second run, and one more row",
    sides={"runs": runs},
    ours=frozenset({"runs"}),
    cells=cells,
    report=report,
    notes=(
        "A small test file is given, so that all rows are learnt from, and the runs stop before the first trial.",
        "The files of the model and of Python are in the operating system's cache in every run.",
    ),
)

if __name__ == "__main__":
    if sys.argv[1:2] == ["--run"]:
        Path(sys.argv[5]).write_text(json.dumps(up_to_training(*sys.argv[2:5])), encoding="utf-8")
        sys.exit(0)
    sys.exit(main(BENCHMARK, __file__, __doc__))
