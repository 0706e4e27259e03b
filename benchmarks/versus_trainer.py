"""Some hundred to two thousand labels: headstart against full fine-tuning by `transformers.Trainer`, on the same rows.

    python benchmarks/versus_trainer.py [--quick] [--retime] [--only side=trainer --only data=trec ...]

Goal: the score that Trainer reaches at its best in a tenth of the seconds that Trainer takes to it (geometric mean; on none less than
4 x as fast); final score no worse by more than half a point on any data set and better on average.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from common import Benchmark, Cell, Clock, Record, Report, Table, alternate, geometric_mean, main, median, spread, times_of
from data import Task, few, minilm, sample, scores
from ours import fit_and_score

SETS: dict[str, dict[str, int]] = {
    "banking77": {"per_class": 26},
    "trec": {"rows": 1000},
    "tweeteval_emotion": {"rows": 1000},
    # Ten scorings of all its 4,043 long test texts would take Trainer's side longer than its training.
    "ohsumed": {"rows": 1000, "judged": 1000},
}
MAX_LENGTH = 256
EPOCHS = 10
SEEDS = (0, 1, 2)
WANTED_SPEED, LEAST_SPEED, TOLERATED = 10.0, 4.0, 0.5
SIDES = ("trainer", "headstart")


def task_of(cell: Cell) -> Task:
    if "per_class" in cell:
        return few(cell["data"], cell["per_class"], cell["seed"])
    task = sample(cell["data"], cell["rows"], cell["seed"])
    if "judged" not in cell:
        return task
    some = np.random.default_rng(0).permutation(len(task.test))[: cell["judged"]]
    return Task(task.train, task.test.take(some))  # the same test rows for every seed


def trainer(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Full fine-tuning: batch 16, 1e-4 with 10 % warm-up, dynamic padding; the test score after each pass, outside the clock."""
    import torch
    from transformers import (
        AutoModelForSequenceClassification,
        AutoTokenizer,
        DataCollatorWithPadding,
        TrainerCallback,
        TrainingArguments,
    )
    from transformers import Trainer as HuggingFaceTrainer

    task = task_of(cell)
    numbers = {label: k for k, label in enumerate(task.labels)}
    curve: list[dict[str, float]] = []

    class ScoreEachPass(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            seconds = clock.elapsed()
            with clock.outside():
                curve.append({"seconds": round(seconds, 3), "epoch": round(state.epoch, 2), **score(model)})

    def score(model: Any) -> dict[str, float]:
        model.eval()
        predicted = [""] * len(task.test)
        order = sorted(range(len(task.test)), key=lambda i: len(task.test.texts[i]))
        with torch.inference_mode():
            for begin in range(0, len(order), 64):
                part = order[begin : begin + 64]
                batch = tokenizer(
                    [task.test.texts[i] for i in part], truncation=True, max_length=MAX_LENGTH, padding=True, return_tensors="pt"
                )
                for i, k in zip(part, model(**batch).logits.argmax(dim=1).tolist(), strict=True):
                    predicted[i] = task.labels[k]
        model.train()
        return scores(task.test.labels, predicted)

    clock.start()
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    torch.manual_seed(cell["seed"])  # the head begins at random
    model = AutoModelForSequenceClassification.from_pretrained(minilm(), num_labels=len(numbers))
    encoded = tokenizer(list(task.train.texts), truncation=True, max_length=MAX_LENGTH)
    rows = [
        {"input_ids": ids, "attention_mask": mask, "labels": numbers[label]}
        for ids, mask, label in zip(encoded["input_ids"], encoded["attention_mask"], task.train.labels, strict=True)
    ]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=16,
            learning_rate=1e-4,
            warmup_steps=0.1,
            num_train_epochs=cell["epochs"],
            seed=cell["seed"],
            save_strategy="no",
            eval_strategy="no",
            report_to="none",
            disable_tqdm=True,
            dataloader_pin_memory=False,
        )
        HuggingFaceTrainer(
            model=model,
            args=arguments,
            train_dataset=rows,
            data_collator=DataCollatorWithPadding(tokenizer),
            callbacks=[ScoreEachPass()],
        ).train()
    clock.stop()
    best = max(curve, key=lambda point: point["accuracy"])  # the first of equals
    final = {name: curve[-1][name] for name in ("accuracy", "macro_f1", "test_rows")}
    return {**final, "train_rows": len(task.train), "best_accuracy": best["accuracy"], "best_seconds": best["seconds"], "curve": curve}


def headstart(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    return fit_and_score(task_of(cell), clock, seed=cell["seed"], max_length=MAX_LENGTH)


def seconds_to(theirs: Record, ours: Record) -> float:
    """Seconds until headstart has a model with the accuracy of Trainer's best pass: its first one, else its winner (reached or not)."""
    early = ours["result"].get("probe_accuracy", 0.0) >= theirs["result"]["best_accuracy"]
    return median(times_of([ours], "probe_seconds" if early else "trained_seconds"))


def cells(quick: bool) -> list[Cell]:
    if quick:
        return alternate([{"data": "trec", "rows": 64, "epochs": 1, "seed": 0}], SIDES)
    groups = [{"data": name, **size, "epochs": EPOCHS, "seed": seed} for seed in SEEDS for name, size in SETS.items()]
    return alternate(groups, SIDES)


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows, every_speed, every_end, every_gain = [], [], [], []
    for name in SETS:
        here = {side: {r["cell"]["seed"]: r for r in records if r["cell"]["data"] == name and r["cell"]["side"] == side} for side in SIDES}
        theirs, ours = here["trainer"], here["headstart"]
        if not theirs and not ours:
            continue
        seeds = sorted(set(theirs) & set(ours))
        speeds = [median(times_of([theirs[k]], "best_seconds")) / seconds_to(theirs[k], ours[k]) for k in seeds]
        ends = [median(times_of([theirs[k]], "best_seconds")) / median(times_of([ours[k]], "trained_seconds")) for k in seeds]
        gains = [100 * (ours[seed]["result"]["accuracy"] - theirs[seed]["result"]["best_accuracy"]) for seed in seeds]
        reached = sum(gain >= 0 for gain in gains)
        probes = [100 * r["result"]["probe_accuracy"] for r in ours.values() if "probe_accuracy" in r["result"]]
        figures[name] = {
            "seeds": len(seeds),
            "speed_to_the_end": [round(x, 2) for x in ends],
            "speed": [round(x, 2) for x in speeds],
            "gain_points": [round(x, 2) for x in gains],
        }
        rows.append(
            (
                name,
                spread([100 * r["result"]["best_accuracy"] for r in theirs.values()]),
                spread([100 * r["result"]["accuracy"] for r in theirs.values()]),
                spread([100 * r["result"]["accuracy"] for r in ours.values()]),
                spread(times_of(theirs.values(), "best_seconds")),
                spread(times_of(theirs.values())),
                f"{spread(probes)} % after {spread(times_of(ours.values(), 'probe_seconds'))} s",
                spread(times_of(ours.values(), "trained_seconds")),
                spread(times_of(ours.values())),
                spread(times_of(ours.values(), imports=True)),
                f"{geometric_mean(speeds):.1f}" if speeds else "–",
                f"{reached} of {len(seeds)}",
            )
        )
        if seeds:
            every_speed.append(geometric_mean(speeds))
            every_end.append(geometric_mean(ends))
            every_gain.append(sum(gains) / len(gains))
    lines = []
    if every_speed:
        speed, gain = geometric_mean(every_speed), sum(every_gain) / len(every_gain)
        figures["all"] = {"speed": round(speed, 2), "least_speed": round(min(every_speed), 2), "gain_points": round(gain, 2)}
        fast = speed >= WANTED_SPEED and min(every_speed) >= LEAST_SPEED
        good = min(every_gain) >= -TOLERATED and gain > 0
        lines = [
            f"headstart has the score of Trainer's best pass (its first model, where that has it, else the winner) {speed:.1f} x as fast "
            f"(geometric mean), on the slowest data set {min(every_speed):.1f} x; goal: {WANTED_SPEED:.0f} x and {LEAST_SPEED:.0f} x: "
            f"{'met' if fast else 'not met'}. Its winner is trained {geometric_mean(every_end):.1f} x as fast, on the slowest "
            f"{min(every_end):.1f} x.",
            f"headstart's accuracy minus Trainer's at its best pass: {gain:+.2f} points on average, on the worst data set "
            f"{min(every_gain):+.2f}; goal: above 0 and no worse than -{TOLERATED}: {'met' if good else 'not met'}.",
        ]
    lines += with_all_cores(records)
    head = (
        "data",
        "Trainer, best pass, %",
        "Trainer, last pass, %",
        "headstart, %",
        "s to Trainer's best",
        f"s of Trainer, all {EPOCHS} passes",
        "headstart's first model",
        "s to headstart's trained winner",
        "s of the whole run",
        "with imports",
        "x as fast as Trainer to its best",
        "seeds that reach it",
    )
    return Report(figures, (Table("Test accuracy and seconds: median (least to greatest) over seeds", head, tuple(rows)),), tuple(lines))


def with_all_cores(records: list[Record]) -> list[str]:
    """The same of the pairs that had all cores to themselves, where others had fewer: one line, or none."""
    most = max((record.get("threads", 0) for record in records), default=0)
    if all(record.get("threads", 0) == most for record in records):
        return []
    found = {(r["cell"]["data"], r["cell"]["seed"], r["cell"]["side"]): r for r in records if r.get("threads", 0) == most}
    pairs = [
        (theirs, found[data, seed, "headstart"])
        for (data, seed, side), theirs in found.items()
        if side == "trainer" and (data, seed, "headstart") in found
    ]
    if not pairs:
        return []
    speeds = [median(times_of([theirs], "best_seconds")) / seconds_to(theirs, ours) for theirs, ours in pairs]
    gains = [100 * (ours["result"]["accuracy"] - theirs["result"]["best_accuracy"]) for theirs, ours in pairs]
    each = ", ".join(
        f"{theirs['cell']['data']} {speed:.1f} x and {gain:+.1f}" for (theirs, _), speed, gain in zip(pairs, speeds, gains, strict=True)
    )
    return [
        f"Of these the pairs with {most} threads a side and next to nothing beside: {geometric_mean(speeds):.1f} x as fast, "
        f"{sum(gains) / len(gains):+.2f} points ({each})."
    ]


BENCHMARK = Benchmark(
    name="versus_trainer",
    title="Against full fine-tuning by transformers.Trainer",
    sides={"trainer": trainer, "headstart": headstart},
    ours=frozenset({"headstart"}),
    cells=cells,
    report=report,
    notes=(
        f"Trainer: AutoModelForSequenceClassification, batch 16, 1e-4, 10 % warm-up, dynamic padding, {EPOCHS} passes; the test score "
        "after each pass is taken outside its clock. Its best pass is chosen on the test rows, which favours it.",
        "headstart: `headstart.fit` with its defaults, in an empty store. Speed is to the moment when it has a model, trained on all rows, "
        "that scores what Trainer's best pass scores: the probe or the winner, all rungs that were tried before it included. The whole run "
        "goes on to judge, save, verify and report, which Trainer's clock does not hold either.",
        f"All texts are cut at {MAX_LENGTH} tokens on both sides; rows: banking77 26 a class, the others 1,000 in the labels' own shares. "
        "Test rows are all, of ohsumed 1,000.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
