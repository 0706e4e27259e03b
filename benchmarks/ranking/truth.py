"""The truth that rankers are measured against: every source fine-tuned on every target.

    python benchmarks/ranking/truth.py [--sources NAME ...] [--targets NAME ...] [--seeds N ...] [--table]

Every source trains on the same rows with the same strategy, `partial` with default settings, and is scored on the same held-out rows. The
probe on frozen features is scored beside it, as a second, cheaper truth. It takes hours, so each finished cell is a line in
benchmarks/work/ranking/truth.jsonl and not done again. First come whole tables of one seed, target by target, for MiniLM and what was made
of it; then MPNet; then further seeds. At the end, or at once with `--table`, benchmarks/results/ranking_truth.json is written.

Scores do not depend on what else the machine does. Seconds do, so that the processor's seconds stand beside them.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, append_line, code_digest, describe_machine, read_lines
from ranking import sources
from ranking.targets import RANKING, TARGETS, WORDS, draw_target

STRATEGIES = ("probe", "partial")
CELLS, STORE, TABLE = RANKING / "truth.jsonl", RANKING / "store", RESULTS / "ranking_truth.json"
# Room for all that was read: rankers score what the truth has read, and read nothing again.
STORE_BYTES = int(30e9)
COLUMNS = ("source", "target", "seed", "probe", "partial", "probe_f1", "partial_f1", "seconds", "cpu_seconds")


class Place(NamedTuple):
    """Where a cell of the truth stands."""

    source: str
    target: str
    seed: int


def order(names: Sequence[str], targets: Sequence[str], seeds: Sequence[int]) -> list[Place]:
    """All places, in the order in which they are measured."""
    groups = [[name for name in names if sources.base_of(name) == base] for base in sources.BASES]
    return [Place(name, target, seed) for seed in seeds for group in groups for target in targets for name in group]


def missing(place: Place, lines: Iterable[dict[str, Any]]) -> list[str]:
    """The strategies that a place lacks."""
    have = {line["strategy"] for line in lines if (line["source"], line["target"], line["seed"]) == place}
    return [strategy for strategy in STRATEGIES if strategy not in have]


def settings() -> Any:
    """headstart's defaults, the same for every source; training in bfloat16 where the machine does that fast, as users have it."""
    from headstart.settings import make_settings

    return make_settings({"metric": "accuracy"})


def open_reader(folder: Path, store: Any) -> Any:
    """A reader of the source in a folder."""
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.sources.resolve import resolve_source

    return Reader(load_backbone(resolve_source(str(folder)), settings().max_length), store, settings().batch_tokens)


def job_of(rows: Any, reader: Any, seed: int) -> Any:
    """What a strategy is given: the rows, their folds, the source and its usual cut."""
    from headstart.candidates import cut_of
    from headstart.data.split import folds
    from headstart.strategies.ladder import Job

    groups = np.arange(len(rows))
    return Job(
        rows=rows,
        groups=groups,
        folds=folds(rows.y, groups, settings().inner_folds, seed),
        settings=settings(),
        seed=seed,
        reader=reader,
        cut=cut_of(settings(), reader),
    )


def measure(place: Place, strategies: Sequence[str], store: Any) -> Iterable[dict[str, Any]]:
    """A line for each strategy: scores on the held-out rows and seconds of training on the training rows, texts read beforehand."""
    from headstart.judge.calibration import softmax
    from headstart.judge.metrics import accuracy, log_loss, macro_f1
    from headstart.strategies.ladder import get_strategy

    train, held = draw_target(place.target, place.seed)
    reader = open_reader(sources.folder_of(place.source), store)
    job = job_of(train, reader, place.seed)
    begin = time.perf_counter(), time.process_time()
    reader.read_ahead([*train.texts, *held.texts], [job.cut])
    read = time.perf_counter() - begin[0], time.process_time() - begin[1]
    for strategy in strategies:
        begin = time.perf_counter(), time.process_time()
        model = get_strategy(strategy).fit(job)
        taken = time.perf_counter() - begin[0], time.process_time() - begin[1]
        probabilities = softmax(model.predict_logits(held.texts))
        yield {
            **place._asdict(),
            "strategy": strategy,
            "accuracy": round(accuracy(probabilities, held.y), 4),
            "macro_f1": round(macro_f1(probabilities, held.y), 4),
            "log_loss": round(log_loss(probabilities, held.y), 4),
            "n_train": len(train),
            "n_test": len(held),
            "classes": train.n_classes,
            "seconds": round(taken[0], 2),
            "cpu_seconds": round(taken[1], 2),
            "read_texts": reader.read,
            "read_seconds": round(read[0], 2),
            "read_cpu_seconds": round(read[1], 2),
            "parameters": reader.backbone.parameters_total,
            "code": code_digest(),
        }


def write_table(lines: Sequence[dict[str, Any]], path: Path = TABLE) -> None:
    """The whole truth so far, one short line a place, with the machine and the date."""
    from headstart.runs import whole_file

    places: dict[Place, dict[str, dict[str, Any]]] = {}
    for line in lines:
        places.setdefault(Place(line["source"], line["target"], line["seed"]), {})[line["strategy"]] = line
    rows = []
    for place, found in sorted(places.items(), key=lambda item: (item[0].target, item[0].seed, item[0].source)):
        if set(found) != set(STRATEGIES):
            continue
        probe, partial = found["probe"], found["partial"]
        scores = [probe["accuracy"], partial["accuracy"], probe["macro_f1"], partial["macro_f1"]]
        rows.append([*place, *scores, partial["seconds"], partial["cpu_seconds"]])
    made = {line["target"]: [line["n_train"], line["n_test"], line["classes"]] for line in lines}
    head = {
        "measured_by": "benchmarks/ranking/truth.py",
        "machine": describe_machine(),
        "measured_with_code": sorted({line["code"] for line in lines}),
        "words_of_a_text": WORDS,
        "targets": {name: made[name] for name in TARGETS if name in made},
        "target_columns": ["training rows", "held-out rows", "classes"],
        "parameters": {line["source"]: line["parameters"] for line in lines},
        "columns": COLUMNS,
    }
    body = ",\n".join("  " + json.dumps(row) for row in rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(head, indent=1)[:-2] + f',\n "cells": [\n{body}\n ]\n}}\n', encoding="utf-8")


def read_table(path: Path = TABLE) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """The cells of a written table, each a mapping by `COLUMNS`, and all else that it says."""
    table = json.loads(path.read_text(encoding="utf-8"))
    cells = [dict(zip(table["columns"], row, strict=True)) for row in table.pop("cells")]
    return cells, table


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sources", nargs="*", default=sources.known(), metavar="NAME", help="only these")
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=list(TARGETS), metavar="NAME", help="only these")
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2], metavar="N", help="draws of rows and starts of training")
    parser.add_argument("--table", action="store_true", help="write the table of what is measured and stop")
    given = parser.parse_args()
    if not given.table:
        _run(order(given.sources, given.targets, given.seeds))
    write_table(read_lines(CELLS))
    print(TABLE)
    return 0


def _run(places: list[Place]) -> None:
    """Measure what is missing. What another process measured meanwhile is seen, so that two may share the work, if not the same place."""
    from headstart.backbone.store import Store

    with Store(STORE, STORE_BYTES) as store:
        for number, place in enumerate(places, start=1):
            wanted = missing(place, read_lines(CELLS))
            if not wanted:
                continue
            sources.make(place.source)
            for line in measure(place, wanted, store):
                append_line(CELLS, line)
                told = f"{line['strategy']} {line['accuracy']:.4f}, {line['seconds']:.1f} s ({line['read_seconds']:.1f} s reading)"
                print(f"[{number}/{len(places)}] {' '.join(map(str, place))}: {told}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
