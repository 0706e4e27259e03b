"""Answers: headstart's rungs on spans against full fine-tuning by `transformers.Trainer` and the best sentence, on the same rows.

    python benchmarks/answers.py [--quick] [--retime] [--only side=trainer --only data=covid_qa ...]

Goal: `partial` at the usual cut within half a point of the F1 of Trainer's best pass, or better, in a third of the seconds that Trainer
takes to it; and every rung that transfers against the best sentence, which needs no pretrained model.
"""

from __future__ import annotations

import gzip
import json
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from common import Benchmark, Cell, Clock, Record, Report, Table, alternate, geometric_mean, main, median, spread, times_of
from data import data_folder, minilm
from ours import import_all

# Training questions, passes of Trainer, test questions. A context of covid_qa is some forty windows, so that a pass over 300 of its
# questions takes Trainer most of an hour of one core.
SETS: dict[str, dict[str, Any]] = {
    "subjqa_restaurants": {"rows": 300, "epochs": 6, "test": 260},
    "covid_qa": {"rows": 60, "epochs": 2, "test": 60},
}
MAX_LENGTH, STRIDE, LONGEST = 256, 64, 30
SEEDS = (0, 1, 2)
WANTED_SPEED, TOLERATED = 3.0, 0.5
SIDES = ("trainer", "partial", "sequence", "full", "probe", "sentence")


@dataclass(frozen=True)
class Question:
    """A question, its context, and the true answers, each with where it begins; none where the context holds no answer."""

    question: str
    context: str
    answers: tuple[tuple[str, int], ...]


def read_questions(name: str, split: str) -> list[Question]:
    """The questions of a SQuAD file, each with its context once; answers that do not stand where they are said to stand are left out.

    Raises:
        SystemExit: there is no such file.
    """
    folder = data_folder() / name
    place = next((path for path in (folder / f"{split}.json", folder / f"{split}.json.gz") if path.exists()), None)
    if place is None:
        raise SystemExit(f"There is no {split}.json or {split}.json.gz in {folder}.")
    with (gzip.open if place.suffix == ".gz" else open)(place, "rt", encoding="utf-8") as stream:
        articles = json.load(stream)["data"]
    found: dict[tuple[str, str], Question] = {}
    for paragraph in (paragraph for article in articles for paragraph in article["paragraphs"]):
        context = paragraph["context"]
        for asked in paragraph["qas"]:
            answers = tuple((answer["text"], answer["answer_start"]) for answer in asked["answers"])
            standing = tuple((text, start) for text, start in answers if text.strip() and context[start : start + len(text)] == text)
            if standing or not answers:
                found.setdefault((asked["question"], context), Question(asked["question"], context, standing))
    return list(found.values())


def rows_of(cell: Cell) -> tuple[list[Question], list[Question]]:
    """Training and test questions; none is in both files."""
    test = read_questions(cell["data"], "test")
    seen = {(row.question, row.context) for row in test}
    train = [row for row in read_questions(cell["data"], "train") if (row.question, row.context) not in seen]
    order = np.random.default_rng(cell["seed"]).permutation(len(train))[: cell["rows"]]
    return [train[i] for i in order], [test[i] for i in np.random.default_rng(0).permutation(len(test))[: cell["test"]]]


def scores(test: Sequence[Question], said: Sequence[str]) -> dict[str, float]:
    """F1 and exact match of answers in words: the same judge for every side."""
    from headstart.judge.answer_match import exact, f1

    truths = [[text for text, _ in row.answers] for row in test]
    found = {
        name: np.mean([how(one, true) for one, true in zip(said, truths, strict=True)]) for name, how in (("f1", f1), ("exact", exact))
    }
    return {name: round(float(value), 4) for name, value in found.items()}


def trainer(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """Full fine-tuning as the examples of transformers do it: all windows, those without the answer told to point at the first token."""
    import torch
    from transformers import AutoModelForQuestionAnswering, AutoTokenizer, DataCollatorWithPadding, TrainerCallback, TrainingArguments
    from transformers import Trainer as HuggingFaceTrainer

    train, test = rows_of(cell)
    curve: list[dict[str, float]] = []

    class ScoreEachPass(TrainerCallback):
        def on_epoch_end(self, args: Any, state: Any, control: Any, model: Any = None, **_: Any) -> None:
            seconds = clock.elapsed()
            with clock.outside():
                curve.append({"seconds": round(seconds, 3), **scores(test, answers(model))})

    def windows(rows: Sequence[Question]) -> Any:
        cut = {"truncation": "only_second", "max_length": MAX_LENGTH, "stride": STRIDE, "return_overflowing_tokens": True}
        return tokenizer([r.question.strip() for r in rows], [r.context for r in rows], return_offsets_mapping=True, **cut)

    def answers(model: Any) -> list[str]:
        """The best span of all windows where it stands above the first token of the window."""
        model.eval()
        read = windows(test)
        best = [(0.0, "")] * len(test)
        order = sorted(range(len(read.encodings)), key=lambda i: sum(read["attention_mask"][i]))
        with torch.inference_mode():
            for begin in range(0, len(order), 32):
                part = order[begin : begin + 32]
                batch = tokenizer.pad({name: [read[name][i] for i in part] for name in tokenizer.model_input_names}, return_tensors="pt")
                said = model(**batch)
                for i, starts, ends in zip(part, said.start_logits.numpy(), said.end_logits.numpy(), strict=True):
                    row, places = read["overflow_to_sample_mapping"][i], read["offset_mapping"][i]
                    tokens = [t for t, side in enumerate(read.encodings[i].sequence_ids) if side == 1]
                    for k, first in enumerate(tokens):
                        for last in tokens[k : k + LONGEST]:
                            margin = float(starts[first] + ends[last] - starts[0] - ends[0])
                            if margin > best[row][0] or (not abstains and not best[row][1]):
                                best[row] = (margin, test[row].context[places[first][0] : places[last][1]])
        model.train()
        return [text for _, text in best]

    clock.start()
    abstains = any(not row.answers for row in train)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    torch.manual_seed(cell["seed"])  # the head begins at random
    model = AutoModelForQuestionAnswering.from_pretrained(minilm())
    read, rows = windows(train), []
    for i, encoding in enumerate(read.encodings):
        answer = next(iter(train[read["overflow_to_sample_mapping"][i]].answers), None)
        start = end = 0
        tokens = [t for t, side in enumerate(encoding.sequence_ids) if side == 1]
        places = read["offset_mapping"][i]
        if answer is not None and tokens:
            first, last = answer[1], answer[1] + len(answer[0])
            if places[tokens[0]][0] <= first and last <= places[tokens[-1]][1]:
                start = max(t for t in tokens if places[t][0] <= first)
                end = min(t for t in tokens if places[t][1] >= last)
        rows.append({**{name: read[name][i] for name in tokenizer.model_input_names}, "start_positions": start, "end_positions": end})
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            per_device_train_batch_size=8,
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
    best = max(curve, key=lambda point: point["f1"])  # the first of equals
    return {
        **curve[-1],
        "best_f1": best["f1"],
        "best_seconds": best["seconds"],
        "windows": len(rows),
        "train_rows": len(train),
        "curve": curve,
    }


def rung(cell: Cell, clock: Clock) -> Mapping[str, Any]:
    """A rung of headstart alone, with its defaults, from questions to a trained model, in an empty store; as a sequence `partial` on the
    other set's training questions, saved, and from there on the cell's own.
    """
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.candidates import cut_of
    from headstart.data.answers import Answer, as_label, find_in
    from headstart.data.pairs import join_pair, split_pair
    from headstart.data.split import folds
    from headstart.export.span_folder import save_span_model
    from headstart.settings import make_settings
    from headstart.sources.resolve import resolve_source
    from headstart.strategies.ladder import Job, get_strategy
    from headstart.tasks.qa import TASK

    import_all()
    train, test = rows_of(cell)
    settings = make_settings({"task": "qa", "max_length": MAX_LENGTH, "seed": cell["seed"]})

    def as_rows(rows: Sequence[Question]) -> Any:
        texts = [join_pair(row.question, row.context) for row in rows]
        placed = [[find_in(split_pair(text)[1], *answer) for answer in row.answers] for text, row in zip(texts, rows, strict=True)]
        labels = [as_label([one for one in some if isinstance(one, Answer)]) for some in placed]
        return TASK.rows(texts, labels, TASK.labels(labels, []))

    with tempfile.TemporaryDirectory() as name, Store(Path(name), int(4e9)) as store:

        def job_of(learnt: Sequence[Question], source: str | None) -> Job:
            rows = as_rows(learnt)
            reader = Reader(load_backbone(resolve_source(source), MAX_LENGTH, pairs=True), store, settings.batch_tokens)
            groups = np.unique([row.context for row in learnt], return_inverse=True)[1]
            pairs = folds(rows.strata, groups, settings.inner_folds, settings.seed)
            return Job(rows, groups, pairs, settings, cell["seed"], reader, None, cut_of(settings, reader))

        clock.start()
        source = None
        if cell["side"] == "sequence":
            [other] = SETS.keys() - {cell["data"]}
            first = get_strategy("partial", "qa").fit(job_of(rows_of({**cell, **SETS[other], "data": other})[0], None))
            source = str(Path(name) / "first")
            save_span_model(Path(source), first, "")
        job = job_of(train, source)
        rows = job.rows
        strategy = get_strategy("partial" if cell["side"] == "sequence" else cell["side"], "qa")
        if strategy.out_of_fold is None:
            model = strategy.fit(job)  # what training makes of "no answer" is where its line lies, on both sides
        else:
            # The line of a rung that does not learn one is drawn on its folds.
            model, outputs = strategy.out_of_fold(job)
            assert TASK.calibrate is not None
            line = TASK.calibrate(outputs, rows)
            model = model.scaled(line.factor, line.shift)
        clock.stop()
        judged = as_rows(test)
        said = model.answer(judged).answers
    return {**scores(test, said), "train_rows": len(train), "cut": job.cut}


def cells(quick: bool) -> list[Cell]:
    if quick:
        # Without the sequence, whose first set has long contexts.
        sides = tuple(side for side in SIDES if side != "sequence")
        return alternate([{"data": "subjqa_restaurants", "rows": 24, "test": 20, "epochs": 1, "seed": 0}], sides)
    return alternate([{"data": name, **size, "seed": seed} for seed in SEEDS for name, size in SETS.items()], SIDES)


def report(records: list[Record]) -> Report:
    figures: dict[str, Any] = {}
    rows, speeds, gaps = [], [], []
    for name in SETS:
        here = {side: {r["cell"]["seed"]: r for r in records if r["cell"]["data"] == name and r["cell"]["side"] == side} for side in SIDES}
        if not any(here.values()):
            continue
        best = [100 * r["result"]["best_f1"] for r in here["trainer"].values()]
        seeds = sorted(set(here["trainer"]) & set(here["partial"]))
        pairs = [(here["trainer"][seed], here["partial"][seed]) for seed in seeds]
        speed = [median(times_of([theirs], "best_seconds")) / median(times_of([ours])) for theirs, ours in pairs]
        gap = [100 * (ours["result"]["f1"] - theirs["result"]["best_f1"]) for theirs, ours in pairs]
        figures[name] = {"seeds": len(seeds), "speed": [round(x, 2) for x in speed], "gap_points": [round(x, 2) for x in gap]}
        if seeds:
            speeds.append(geometric_mean(speed))
            gaps.append(sum(gap) / len(gap))
        cells_of = [
            f"{spread([100 * r['result']['f1'] for r in here[side].values()])}, {spread(times_of(here[side].values()))} s"
            if here[side]
            else "–"
            for side in SIDES[1:]
        ]
        first = f"{spread(best)}, {spread(times_of(here['trainer'].values(), 'best_seconds'))} s" if best else "–"
        rows.append((name, first, *cells_of))
    lines = []
    if speeds:
        met = [min(speeds) >= WANTED_SPEED, min(gaps) >= -TOLERATED]
        figures["all"] = {"speed": round(geometric_mean(speeds), 2), "least_speed": round(min(speeds), 2), "worst_gap": round(min(gaps), 2)}
        lines = [
            f"`partial` is trained {geometric_mean(speeds):.1f} x as fast as Trainer gets to its best pass (geometric mean); on the "
            f"slowest set {min(speeds):.1f} x; goal: {WANTED_SPEED:.0f} x: {'met' if met[0] else 'not met'}.",
            f"Its answer F1 minus that of Trainer's best pass: {sum(gaps) / len(gaps):+.2f} points on average, {min(gaps):+.2f} on the "
            f"worst set; goal: not below -{TOLERATED}: {'met' if met[1] else 'not met'}.",
        ]
    head = ("data", "Trainer, best pass", *SIDES[1:])
    return Report(figures, (Table("Answer F1 in % and seconds: median (least to greatest) over seeds", head, tuple(rows)),), tuple(lines))


BENCHMARK = Benchmark(
    name="answers",
    title="Answers: against full fine-tuning by transformers.Trainer, and against the best sentence",
    sides={"trainer": trainer, **dict.fromkeys(SIDES[1:], rung)},
    ours=frozenset(SIDES[1:]),
    cells=cells,
    report=report,
    notes=(
        "Trainer: AutoModelForQuestionAnswering from all-MiniLM-L6-v2, batch 8, 1e-4, 10 % warm-up, 6 passes over the windows of 300 "
        "training questions of subjqa_restaurants, 2 over those of 60 of covid_qa, drawn anew for each seed (256 tokens, 64 shared); spans "
        "of at most 30 tokens, none where the first token "
        "scores higher. The test score after each pass is taken outside its clock; its best pass is chosen on the test rows, which "
        "favours it.",
        "The other columns are rungs of headstart alone with their defaults, in an empty store: reading, training, nothing judged; "
        "`sequence` is `partial` on the training questions of the other set, and then on the set's own. "
        "Rungs that are trained answer where the best span scores above the first token, as Trainer's do; the line of `sentence` is "
        "drawn on folds.",
        "Answer F1 by SQuAD's rules on up to 260 and 60 test questions, the same for every side. Half of those of "
        "subjqa_restaurants have no answer.",
    ),
)

if __name__ == "__main__":
    sys.exit(main(BENCHMARK, __file__, __doc__))
