"""Packing and grouping by length: tokens trained a second, against padded batches of the same rows.

    python benchmarks/packing.py [--quick] [--retime] [--only data=gpteacher_roleplay ...]

One causal model (Llama's kind, 384 wide, 6 blocks, random weights; what is learnt has no part in the speed) trained whole on completions,
eight rows a step. `padded`: rows in random order, filled up to the longest of a step. `grouped`: rows of like length together, as headstart
does. `packed`: the same steps as `grouped`, their texts one after the other in one row, none seeing another.
"""

from __future__ import annotations

import itertools
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from common import Benchmark, Cell, Clock, Record, Report, Table, alternate, geometric_mean, main, median
from data import data_folder
from ours import import_all

DATA = ("self_instruct_seeds", "gpteacher_roleplay")
SIDES = ("padded", "grouped", "packed")
ROWS, STEPS, ROUNDS, AT_ONCE = 128, 32, 3, 8
WIDTH, BLOCKS = 384, 6


def make_source(folder: Path, texts: list[str]) -> Path:
    """A causal model with random weights and pieces learnt from the texts."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from headstart.strategies.vocabulary import learn_vocabulary

    tokenizer = learn_vocabulary(texts)
    torch.manual_seed(0)
    sizes = {"hidden_size": WIDTH, "num_hidden_layers": BLOCKS, "num_attention_heads": 6, "intermediate_size": 4 * WIDTH}
    ends = {"pad_token_id": tokenizer.pad_token_id, "eos_token_id": tokenizer.eos_token_id, "bos_token_id": None}
    LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=512, **sizes, **ends)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def side(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    import copy

    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.cut import Trunk
    from headstart.backbone.reading import Reader
    from headstart.data.read import read_examples
    from headstart.settings import Precision, Settings
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.base import Rows
    from headstart.strategies.batches import GroupedBatches, entering_of, packed
    from headstart.strategies.language_training import NextToken, told_rows
    from headstart.strategies.model import collate
    from headstart.strategies.output_layer import output_layer
    from headstart.strategies.schedule import Schedule
    from headstart.strategies.training import run_training

    import_all()
    folder = data_folder() / cell["data"]
    examples = read_examples(next(path for path in (folder / "train.jsonl", folder / "train.jsonl.gz") if path.exists())).examples
    picked = [i for i in np.random.default_rng(0).permutation(len(examples)) if examples.labels[i].strip()][: cell["rows"]]
    y = np.empty(len(picked), dtype=object)
    y[:] = [examples.labels[i] for i in picked]
    rows = Rows(tuple(examples.texts[i] for i in picked), y, 1, kinds=np.zeros(len(picked), dtype=np.int64))
    begun: list[float] = []

    class Timed(NextToken):
        def forward(self, entering: Any, mask: Any, labels: Any, positions: Any = None) -> Any:
            begun.append(time.perf_counter())
            return super().forward(entering, mask, labels, positions)

    if cell["side"] == "padded":
        GroupedBatches.__iter__ = lambda self: iter(  # type: ignore[method-assign]
            part.tolist() for part in np.array_split(self.rng.permutation(len(self.y)), len(self))
        )
    with tempfile.TemporaryDirectory() as room:
        make_source(Path(room), [*rows.texts, *rows.y])
        backbone = load_backbone(resolve_source(room), 256)
        reader = Reader(backbone, None, Settings().batch_tokens)
        told, _ = told_rows(reader, rows)
        head = output_layer(backbone)
        module = copy.deepcopy(backbone.module)
        model = Timed(Trunk(module, 0, backbone.above, stored=False), head, backbone.above)
        entering = entering_of(reader, told, 0)
        plan = Schedule(cell["steps"], AT_ONCE, 1e-4, 1e-4, 1.0, 0.1, 0.01, Precision.FLOAT32, 0)
        clock.start()
        run_training(model, entering, told.strata, plan, batch=packed if cell["side"] == "packed" else collate)
        clock.stop()
        begun.append(time.perf_counter())
    seconds = [after - before for before, after in itertools.pairwise(begun)]
    # The mean step sees the mean row, whatever the order; the first steps warm up.
    tokens = AT_ONCE * float(entering.lengths.mean())
    passes = max(1, len(told) // AT_ONCE)
    return {"tokens_a_second": tokens * passes / sum(seconds[-passes:]), "tokens_a_row": float(entering.lengths.mean())}


def cells(quick: bool) -> list[Cell]:
    if quick:
        return alternate([{"data": DATA[0], "rows": 16, "steps": 2, "round": 0}], SIDES)
    return alternate([{"data": name, "rows": ROWS, "steps": STEPS, "round": turn} for turn in range(ROUNDS) for name in DATA], SIDES)


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows, gains = [], {way: [] for way in SIDES[1:]}
    for name in DATA:
        here = {way: [r["result"] for r in records if r["cell"]["data"] == name and r["cell"]["side"] == way] for way in SIDES}
        if not all(here.values()):
            continue
        speeds = {way: median([found["tokens_a_second"] for found in results]) for way, results in here.items()}
        figures[name] = {way: round(speeds[way] / speeds["padded"], 2) for way in SIDES[1:]}
        for way in SIDES[1:]:
            gains[way].append(speeds[way] / speeds["padded"])
        rows.append((name, f"{here['padded'][0]['tokens_a_row']:.0f}", *(f"{speed:,.0f}" for speed in speeds.values())))
    lines = [
        f"`{way}` trains {geometric_mean(found):.2f} x as many tokens a second as padded batches." for way, found in gains.items() if found
    ]
    head = ("data", "tokens a row", *SIDES)
    return Report(figures, (Table("Tokens trained a second: median over rounds", head, tuple(rows)),), tuple(lines))


BENCHMARK = Benchmark(
    name="packing",
    title="Packing and grouping by length",
    sides=dict.fromkeys(SIDES, side),
    ours=frozenset(SIDES),
    cells=cells,
    report=report,
    notes=("Tokens are those of the rows, fillers not counted. The whole model learns; the last pass over the rows is timed.",),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
