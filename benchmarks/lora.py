"""LoRA above the cut from stored activations against the same LoRA with the whole forward pass: steps a second and validation loss.

    python benchmarks/lora.py [--quick] [--retime] [--only cut=4 ...]

MiniLM (6 blocks). Both sides train the same adapters on the same batches; the one reads what enters the cut, the other runs the frozen
blocks at every step, as LoRA elsewhere does.
"""

from __future__ import annotations

import itertools
import sys
import time
from collections.abc import Mapping
from typing import Any

from common import Benchmark, Cell, Clock, Record, Report, Table, alternate, main, median, spread
from data import few

DATA, PER_CLASS = "trec", 32
PASSES = 4  # the first one is left out: it warms up
ROUNDS = 3
SIDES = ("stored", "whole pass")


def train(cell: Cell, clock: Clock, *, stored: bool) -> Mapping[str, Any]:
    """Steps a second, the first pass left out, and the loss on held-out rows after each pass."""
    import copy
    from dataclasses import replace

    import numpy as np
    import torch
    from torch.nn import functional

    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.settings import Precision, Settings
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.adapter import add_adapters
    from headstart.strategies.base import Rows
    from headstart.strategies.ladder import Job
    from headstart.strategies.lora import ALPHA, RANK, lora_schedule
    from headstart.strategies.losses import Loss
    from headstart.strategies.model import pooled_through
    from headstart.strategies.training import TunedModel, tune
    from headstart.strategies.tuned_heads import start_head

    settings = Settings(precision=Precision.FLOAT32, epochs=cell["passes"])
    task = few(cell["data"], cell["per_class"], 0)
    numbers = {label: k for k, label in enumerate(sorted(set(task.train.labels)))}
    rows = Rows(task.train.texts, np.array([numbers[label] for label in task.train.labels]), len(numbers))
    order = np.random.default_rng(0).permutation(len(rows))
    held, rows = rows.take(order[: len(rows) // 4]), rows.take(order[len(rows) // 4 :])
    backbone = load_backbone(resolve_source(None), settings.max_length)
    reader = Reader(backbone, None, settings.batch_tokens)
    job = Job(rows, np.arange(len(rows)), [], settings, 0, reader, None, cell["cut"])
    module = copy.deepcopy(backbone.module)
    only = add_adapters(module, cell["cut"], RANK, ALPHA, 0)
    head = start_head(job, cell["cut"])
    a_pass = -(-len(rows) // settings.batch_size)
    spans: list[tuple[float, float]] = []
    losses: list[float] = []

    def validate(model: TunedModel) -> tuple[float, float]:
        begin = time.perf_counter()
        logits = torch.from_numpy(pooled_through(model.trunk, reader, held.texts, model.layers)) @ model.head.weight.detach().T
        losses.append(float(functional.cross_entropy(logits + model.head.bias.detach(), torch.from_numpy(held.y))))
        spans.append((begin, time.perf_counter()))
        return -float(len(losses)), 0.0  # the last pass is kept

    schedule = replace(lora_schedule(job, a_pass * cell["passes"]), patience=None)
    clock.start()
    tune(
        reader,
        rows,
        cut=cell["cut"],
        head=head,
        schedule=schedule,
        loss=Loss.BOTH,
        module=module,
        stored=stored,
        validate=validate,
        only=only,
    )
    clock.stop()
    seconds = [after[0] - before[1] for before, after in itertools.pairwise(spans)][1:]
    return {"steps_a_second": a_pass / median(seconds), "validation_losses": losses, "rows": len(rows)}


def cells(quick: bool) -> list[Cell]:
    if quick:
        groups = [{"data": DATA, "per_class": 4, "cut": 4, "passes": 2, "round": 0}]
    else:
        job = {"data": DATA, "per_class": PER_CLASS}
        groups = [{**job, "cut": cut, "passes": PASSES, "round": turn} for turn in range(ROUNDS) for cut in (2, 4, 5)]
    return alternate(groups, SIDES)


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows = []
    for cut in sorted({r["cell"]["cut"] for r in records}):
        here = {side: [r["result"] for r in records if r["cell"]["cut"] == cut and r["cell"]["side"] == side] for side in SIDES}
        if not all(here.values()):
            continue
        speeds = {side: [result["steps_a_second"] for result in found] for side, found in here.items()}
        ratio = median(speeds["stored"]) / median(speeds["whole pass"])
        pairs = zip(here["stored"][0]["validation_losses"], here["whole pass"][0]["validation_losses"], strict=True)
        apart = max(abs(a - b) for a, b in pairs)
        figures[f"cut {cut}"] = {side: round(median(values), 3) for side, values in speeds.items()}
        figures[f"cut {cut}"] |= {"ratio": round(ratio, 3), "greatest_loss_difference": apart}
        rows.append((f"{cut} of 6", *(spread(speeds[side], 2) for side in SIDES), f"{ratio:.2f}", f"{apart:.1g}"))
    head = ("blocks frozen", "steps a second, stored", "steps a second, whole pass", "x as fast", "greatest difference of validation loss")
    return Report(figures, (Table("LoRA on MiniLM", head, tuple(rows)),), ())


BENCHMARK = Benchmark(
    name="lora",
    title="LoRA above the cut, from stored activations and with the whole forward pass",
    sides={
        "stored": lambda cell, clock: train(cell, clock, stored=True),
        "whole pass": lambda cell, clock: train(cell, clock, stored=False),
    },
    ours=frozenset(SIDES),
    cells=cells,
    report=report,
    notes=(
        f"{DATA}, {PER_CLASS} texts a class of its training file, a quarter of them held out for the validation loss. Adapters, batches, "
        "schedule, seed and float32 are the same on both sides; reading the texts once, before training, is not part of a step.",
        f"A figure is the median of {PASSES - 1} passes (the first, which warms up, left out), then over {ROUNDS} processes.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
