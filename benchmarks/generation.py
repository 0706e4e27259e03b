"""LoRA on a language model from stored activations against the same LoRA with the whole forward pass: steps a second and validation loss.

    HEADSTART_CAUSAL=FOLDER python benchmarks/generation.py [--quick] [--retime] [--only cut=6 ...]

FOLDER holds a causal model in the Hugging Face layout; figures here are of Gemma 3 270M (18 blocks, 262,144 pieces), whose head is two
thirds of its work. All sides train the same adapters on the same batches of instructions. `stored` takes what enters the cut, read once
before the clock starts, and makes logits where the loss is; `whole pass` runs the frozen blocks at every step and makes logits where the
loss is, so that what the cut alone saves shows; `stock` is the model of transformers given ids and labels, as LoRA is trained elsewhere.

Goal: twice the steps a second of `stock` at the cut that the planner picks (a third of the blocks), and the same validation loss.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from common import Benchmark, Cell, Clock, Record, Report, Table, alternate, main, median, spread
from data import data_folder

DATA = ("self_instruct_seeds", "gpteacher_roleplay")
CUTS = (6, 12)
ROWS, HELD, STEPS, ROUNDS = 32, 8, 5, 3
SIDES = ("stored", "whole pass", "stock")
PLANNED_CUT, WANTED_SPEED, SAME_LOSS = 6, 2.0, 1e-3


def train(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Steps a second, the first one left out, and the loss a token on held-out rows."""
    import copy
    from dataclasses import replace

    import numpy as np

    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.cut import Trunk
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.data.read import read_examples
    from headstart.settings import Precision, Settings
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.adapter import add_adapters
    from headstart.strategies.base import Rows
    from headstart.strategies.batches import entering_of
    from headstart.strategies.ladder import Job
    from headstart.strategies.language import NATS, TOKENS, WritingModel, causal_model
    from headstart.strategies.language_training import LORA_RATE, NextToken, told_rows
    from headstart.strategies.lora import ALPHA, RANK, lora_schedule
    from headstart.strategies.output_layer import output_layer
    from headstart.strategies.training import run_training

    stored, stock = cell["side"] == "stored", cell["side"] == "stock"
    begun: list[float] = []

    class Timed(NextToken):
        def forward(self, entering: Any, mask: Any, labels: Any) -> Any:
            begun.append(time.perf_counter())
            if stock:
                return {"loss": whole(input_ids=entering, attention_mask=mask, labels=labels, use_cache=False).loss}
            return super().forward(entering, mask, labels)

    folder = data_folder() / cell["data"]
    path = next(path for path in (folder / "train.jsonl", folder / "train.jsonl.gz") if path.exists())
    examples = read_examples(path).examples
    picked = [i for i in np.random.default_rng(0).permutation(len(examples)) if examples.labels[i].strip()][: ROWS + HELD]
    y = np.empty(len(picked), dtype=object)
    y[:] = [examples.labels[i] for i in picked]
    every = Rows(tuple(examples.texts[i] for i in picked), y, 1, kinds=np.zeros(len(picked), dtype=np.int64))
    rows, held = every.take(range(ROWS)), every.take(range(ROWS, ROWS + HELD))
    settings = Settings(task="generation", precision=Precision.FLOAT32)
    backbone = load_backbone(resolve_source(os.environ["HEADSTART_CAUSAL"]), settings.max_length)
    with tempfile.TemporaryDirectory() as room, Store(Path(room) / "store", 2 * 10**9) as store:
        reader = Reader(backbone, store, settings.batch_tokens)
        job = Job(rows, np.arange(len(rows)), [], settings, 0, reader, None, cell["cut"])
        told, longest = told_rows(reader, rows)
        head = output_layer(backbone)
        module = copy.deepcopy(backbone.module)
        head.weight = module.get_input_embeddings().weight if module.config.tie_word_embeddings else head.weight
        only = add_adapters(module, cell["cut"], RANK, ALPHA, 0)
        if stored:
            reader.read_ahead(told.texts, [cell["cut"]])
        trunk = Trunk(module, cell["cut"], backbone.above, stored=stored, only=only)
        model = Timed(trunk, head, backbone.above)
        whole = causal_model(trunk.module, head) if stock else None
        clock.start()
        plan = replace(lora_schedule(job, cell["steps"], LORA_RATE), patience=None)
        run_training(model, entering_of(reader, told, cell["cut"] if stored else 0), told.strata, plan)
        clock.stop()
        begun.append(time.perf_counter())
        outputs = WritingModel(reader, trunk.restore(), cell["cut"], head, longest).compared(held)
    seconds = [after - before for before, after in itertools.pairwise(begun)][1:]
    tokens = int(told.sizes.sum())
    return {
        "steps_a_second": 1.0 / median(seconds),
        "validation_loss": float(outputs[:, NATS].sum() / outputs[:, TOKENS].sum()),
        "tokens_a_row": tokens / len(told),
    }


def cells(quick: bool) -> list[Cell]:
    if quick:
        return alternate([{"data": DATA[0], "cut": CUTS[0], "steps": 2, "round": 0}], SIDES)
    groups = [{"data": name, "cut": cut, "steps": STEPS, "round": turn} for turn in range(ROUNDS) for name in DATA for cut in CUTS]
    return alternate(groups, SIDES)


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows, planned = [], []
    for name, cut in sorted({(r["cell"]["data"], r["cell"]["cut"]) for r in records}):
        own = [r for r in records if (r["cell"]["data"], r["cell"]["cut"]) == (name, cut)]
        here = {side: [r["result"] for r in own if r["cell"]["side"] == side] for side in SIDES}
        if not all(here.values()):
            continue
        speeds = {side: [result["steps_a_second"] for result in found] for side, found in here.items()}
        ratios = [median(speeds["stored"]) / median(speeds[side]) for side in SIDES[1:]]
        losses = [here[side][0]["validation_loss"] for side in SIDES]
        apart = max(losses) - min(losses)
        figures[f"{name}, cut {cut}"] = dict(zip(SIDES[1:], (round(r, 3) for r in ratios), strict=True)) | {"loss_difference": apart}
        if cut == PLANNED_CUT:
            planned.append((ratios[1], apart))
        shown = (f"{r:.2f}" for r in ratios)
        rows.append((name, str(cut), *(spread(speeds[side], 3) for side in SIDES), *shown, f"{losses[0]:.4f}", f"{apart:.1g}"))
    steps = (f"steps a second, {side}" for side in SIDES)
    head = ("data", "blocks frozen", *steps, "x as fast as the whole pass", "x as fast as stock", "validation loss", "widest difference")
    lines = []
    if planned:
        least, widest = min(ratio for ratio, _ in planned), max(apart for _, apart in planned)
        met = least >= WANTED_SPEED and widest <= SAME_LOSS
        lines = [
            f"At the cut that the planner picks, {PLANNED_CUT}, from stored activations at least {least:.2f} x as many steps a second as "
            f"transformers' own model; the validation losses differ by at most {widest:.1g}; goal: {WANTED_SPEED:.0f} x and the same loss: "
            f"{'met' if met else 'not met'}."
        ]
    return Report(figures, (Table("LoRA on a language model", head, tuple(rows)),), tuple(lines))


BENCHMARK = Benchmark(
    name="generation",
    title="LoRA on a language model, from stored activations, with the whole forward pass, and as transformers runs it",
    sides=dict.fromkeys(SIDES, train),
    ours=frozenset(SIDES),
    cells=cells,
    report=report,
    notes=(
        f"{ROWS} instructions of the training file, steps of 8 rows, {HELD} others for the validation loss (nats a token). Adapters, "
        "batches, schedule, seed and float32 are the same on all sides; reading the texts once, before training, is not part of a step.",
        f"A figure is the median of {STEPS - 1} steps (the first, which warms up, left out), then over rounds in processes of their own.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
