"""What the planner expects of a rung before it ran: measured on public sets, kept in the package.

    python benchmarks/prior.py [--only NAME ...]

Trains every rung on few and on many rows of each set and scores it on other rows of the set's TRAINING file; the test files stay closed.
The sets are others than those of the benchmarks against the peers, so that no figure there is helped by having been seen here. Finished
cells are kept in benchmarks/work/prior.jsonl and not done again. At the end src/headstart/prior.json is written anew: whatever --only
leaves out stays in it as it was.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from common import describe_machine
from data import read, read_rows
from headstart.backbone.backbone import load_backbone
from headstart.backbone.reading import Reader
from headstart.backbone.store import Store
from headstart.candidates import mean_tokens
from headstart.data.spelling import names_in_words
from headstart.data.split import folds
from headstart.judge.calibration import fit_temperature, softmax
from headstart.judge.metrics import log_loss
from headstart.settings import make_settings
from headstart.sources.resolve import resolve_source
from headstart.strategies.base import Rows
from headstart.strategies.ladder import Job, get_strategy
from headstart.tasks.registry import deciding_metric, get_task

HERE = Path(__file__).parent
WORK, TABLE = HERE / "work" / "prior.jsonl", HERE.parent / "src" / "headstart" / "prior.json"
SETS = (
    "snips",
    "csabstruct",
    "mpqa",
    "tweeteval_offensive",
    "chemprot",
    "r8",
    "reviews_kitchen_housewares",
    "clinc150",
    "newsgroups20",
    "tweeteval_hate",
    "acl_arc",
    "unfair_tos_en",
    "tweeteval_stance_abortion",
)
# So many rows of each class, and draws of them: with 8 rows a class draws differ by more than rungs do.
DRAWS = {8: 5, 64: 2, 256: 1}
MOST_ROWS, HELD_ROWS = 1000, 800
# Entities: so many sentences in all.
WORD_SETS = ("wikigold", "sciie_ner", "bc2gm", "sec_filings", "linnaeus", "crossner_ai", "crossner_music", "crossner_literature")
SENTENCES, HELD_SENTENCES = (100, 300, 1000), 400
RUNGS = {
    "classification": ("tfidf", "static", "probe", "contrastive", "partial", "full", "soup", "scratch"),
    "ner": ("crf", "probe", "partial", "full", "scratch"),
}
# Dear rungs are measured on some of the sets only.
DEAR = (
    *("snips", "csabstruct", "mpqa", "chemprot", "clinc150", "newsgroups20", "tweeteval_offensive", "tweeteval_hate", "acl_arc"),
    *("unfair_tos_en", "tweeteval_stance_abortion", "wikigold", "sciie_ner", "crossner_ai", "crossner_music"),
)
ONLY = {
    "full": DEAR,
    "soup": DEAR,
    "scratch": ("snips", "csabstruct", "mpqa", "wikigold", "crossner_ai"),
}


def draw(name: str, per_class: int, seed: int) -> tuple[Rows, Rows]:
    """Training rows, so many of each class, and held-out rows, both of the set's training file; equal texts once."""
    split = read(name, "train")
    texts: dict[str, str] = {}
    for text, label in zip(split.texts, split.labels, strict=True):
        texts.setdefault(text, label)
    rng = np.random.default_rng(seed)
    items = list(texts.items())
    order = rng.permutation(len(items))
    labels = sorted(set(texts.values()))
    number = {label: k for k, label in enumerate(labels)}
    wanted = min(per_class, MOST_ROWS // len(labels)) if per_class > 8 else per_class
    counts = dict.fromkeys(labels, 0)
    train, held = [], []
    for i in order:
        text, label = items[i]
        if counts[label] < wanted:
            counts[label] += 1
            train.append((text, number[label]))
        elif len(held) < HELD_ROWS:
            held.append((text, number[label]))

    def rows(pairs: list[tuple[str, int]]) -> Rows:
        y = np.array([k for _, k in pairs], dtype=np.int64)
        return Rows(tuple(text for text, _ in pairs), y, len(labels), names=names_in_words(labels))

    return rows(train), rows(held)


def draw_words(name: str, n: int, seed: int) -> tuple[Rows, Rows]:
    """Training sentences and held-out ones, of the set's training file and, where that is small, its validation file."""
    from headstart.tasks.ner import TASK

    pool = [(" ".join(row["tokens"]), " ".join(row["tags"])) for row in read_rows(name, "train")]
    if len(pool) < n + HELD_SENTENCES:
        pool += [(" ".join(row["tokens"]), " ".join(row["tags"])) for row in read_rows(name, "validation")]
    pool = list(dict(pool).items())
    pool = [pool[i] for i in np.random.default_rng(seed).permutation(len(pool))]
    train, rest = pool[:n], pool[n:]
    labels = TASK.labels([tags for _, tags in train], [])
    held = [(text, tags) for text, tags in rest if labels.known(tags)][:HELD_SENTENCES]
    made = [TASK.rows([text for text, _ in part], [tags for _, tags in part], labels) for part in (train, held)]
    return made[0], made[1]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=[*SETS, *WORD_SETS])
    wanted = parser.parse_args().only
    WORK.parent.mkdir(exist_ok=True)
    done = [json.loads(line) for line in WORK.read_text().splitlines()] if WORK.exists() else []
    known = {(cell["data"], cell["asked"], cell["rung"], cell["seed"]) for cell in done}
    plain = make_settings({"metric": "accuracy"})
    backbone = load_backbone(resolve_source(None), plain.max_length)
    with Store(WORK.parent / "prior-store", int(20e9)) as store:
        reader = Reader(backbone, store, plain.batch_tokens)
        for task, sets, sizes in (("classification", SETS, DRAWS), ("ner", WORD_SETS, dict.fromkeys(SENTENCES, 1))):
            settings = replace(plain, task=task, metric=None if task == "ner" else plain.metric)
            for asked, seed, name in ((size, seed, name) for size, draws in sizes.items() for seed in range(draws) for name in sets):
                if name not in wanted:
                    continue
                train, held = draw(name, asked, seed) if task == "classification" else draw_words(name, asked, seed)
                if any(c["data"] == name and c["per_class"] == len(train) / train.n_classes and c["asked"] != asked for c in done):
                    continue  # the set has no more rows to give
                groups = np.arange(len(train))
                pairs = folds(train.strata, groups, settings.inner_folds, seed)
                job = Job(train, groups, pairs, settings, seed, reader, None, backbone.n_blocks // 3)
                for rung in RUNGS[task]:
                    if (name, asked, rung, seed) in known or name not in ONLY.get(rung, sets):
                        continue
                    begin = time.perf_counter()
                    fitted = get_strategy(rung, task).fit(job)
                    seconds = time.perf_counter() - begin
                    logits = fitted.predict_logits(held.texts)
                    cell = {
                        "data": name,
                        "asked": asked,
                        "seed": seed,
                        "rung": rung,
                        "per_class": len(train) / train.n_classes,
                        "classes": train.n_classes,
                        "tokens": round(mean_tokens(reader, train.texts), 1),
                        "accuracy": round(get_task(task).judge.score(deciding_metric(settings), logits, held), 4),
                        "log_loss": round(log_loss(softmax(logits), held.y), 4),
                        "temperature": round(fit_temperature(logits, held.y), 3),
                        "seconds": round(seconds, 2),
                        "task": task,
                    }
                    done.append(cell)
                    with WORK.open("a") as file:
                        file.write(json.dumps(cell) + "\n")
                    print(cell, flush=True)
    write_table([cell for cell in done if cell["data"] in wanted])
    return 0


def write_table(cells: list[dict[str, object]]) -> None:
    """The differences to the probe of the same cell, as the package keeps them, in place of what it holds of these sets."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    measured = sorted({str(cell["data"]) for cell in cells})
    probes = {(c["data"], c["asked"], c["seed"]): c for c in cells if c["rung"] == "probe"}
    cases = [case for case in table["cases"] if case["data"] not in measured]
    for cell in sorted(cells, key=lambda c: (str(c["data"]), int(str(c["asked"])), str(c["rung"]), int(str(c["seed"])))):
        probe = probes.get((cell["data"], cell["asked"], cell["seed"]))
        if probe is None or cell is probe:
            continue
        kept = {name: cell[name] for name in ("data", "rung", "per_class", "classes", "tokens", "temperature")}
        kept["probe_error"] = round(1.0 - float(str(probe["accuracy"])), 4)
        if cell.get("task", "classification") != "classification":
            kept["task"] = cell["task"]
        kept["accuracy"] = round(float(str(cell["accuracy"])) - float(str(probe["accuracy"])), 4)
        kept["log_loss"] = round(float(str(probe["log_loss"])) - float(str(cell["log_loss"])), 4)
        cases.append(kept)
    cases.sort(key=lambda case: (case.get("task", ""), case["data"], case["per_class"], case["rung"]))
    table |= {"made": [*table["made"], {"sets": ", ".join(measured), "machine": describe_machine()}], "cases": cases}
    TABLE.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
