"""Rows of neighbouring domains for few labels: no source rows, all of them, as many random ones, and every way of choosing.

    python benchmarks/instances/measure.py [--rows 20 50 200] [--seeds 0 1 2] [--domains NAME ...]

The twelve `reviews_*` domains, each in turn the target with so many labelled rows, half of each class; the source are 700 rows of each of
the other eleven. One reading by MiniLM pays for everything; all sides are the same logistic head on the same frozen features, those with
source rows by the code of the rungs `all_rows`, `random_rows` and `chosen_rows`, a quarter of the rows chosen. Judged on 400 other rows of
the target's training file, which no decision about the default was made on. Finished cells are lines in benchmarks/work/instances.jsonl;
results go to benchmarks/results/instances.json and .md.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, WORK, Table, append_line, code_digest, describe_machine, machine_lines, markdown, read_lines
from data import data_folder, minilm, read

CELLS, STORE = WORK / "instances.jsonl", WORK / "instances"
SOURCE_ROWS, JUDGED = 700, 400
BASELINES = ("none", "all rows", "random rows")
GRADED = "graded by sure"  # all rows, each by its weight


def domains() -> list[str]:
    return sorted(path.name.removeprefix("reviews_") for path in data_folder().glob("reviews_*"))


@functools.cache
def minilm_reader() -> Any:
    """MiniLM, and a store for what it read."""
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.sources.resolve import resolve_source

    return Reader(load_backbone(resolve_source(str(minilm())), 256), Store(STORE / "read", 10**10).__enter__(), 4096)


def features_of(domain: str) -> dict[str, Any]:
    """Features, classes and texts of 1,100 training rows, read once and kept."""
    place = STORE / f"{domain}.npz"
    if not place.exists():
        from headstart.strategies.probe import mean_of_layers, usual_layers

        rows = read(f"reviews_{domain}", "train")
        picked = np.random.default_rng(0).permutation(len(rows))[: SOURCE_ROWS + JUDGED]
        texts = [rows.texts[i] for i in picked]
        reader = minilm_reader()
        pooled = mean_of_layers(reader.pooled(texts), usual_layers(reader.backbone.n_blocks))
        place.parent.mkdir(parents=True, exist_ok=True)
        names = sorted(set(rows.labels))
        y = np.array([names.index(rows.labels[i]) for i in picked])
        np.savez(place, features=pooled.astype(np.float32), y=y, texts=np.array(texts))
        print(f"read {domain}", flush=True)
    with np.load(place) as file:
        return {name: file[name] for name in file.files}


def kept_gradients(domain: str, own: dict[str, Any], source: np.ndarray, source_y: np.ndarray, texts: np.ndarray) -> dict[str, Any]:
    """What `block_influence` keeps of the other domains' rows and of this one's, worked out once for all draws."""
    from headstart.instances import block_influence
    from headstart.strategies.heads import fit_head

    place = STORE / f"{domain}_gradients.npz"
    if not place.exists():
        begin, head, reader = time.perf_counter(), fit_head(source, source_y, 2), minilm_reader()
        theirs = block_influence.gradients(reader, list(map(str, texts)), source, source_y, head)
        took = time.perf_counter() - begin
        ours = block_influence.gradients(reader, list(map(str, own["texts"])), own["features"], own["y"], head)
        np.savez(place, source=theirs, own=ours, seconds=took)
        print(f"gradients beside {domain}: {took:.0f} s", flush=True)
    with np.load(place) as file:
        known = dict(zip(zip(map(str, own["texts"]), own["y"].tolist(), strict=True), file["own"], strict=True))
        return {"head": None, "source": file["source"], "target": known}


def drawn(y: np.ndarray, n: int, seed: int) -> np.ndarray:
    """n of the first rows, half of each class."""
    rng = np.random.default_rng([seed, n])
    halves = [rng.permutation(np.flatnonzero(y[:SOURCE_ROWS] == k))[: n // 2] for k in (0, 1)]
    return np.sort(np.concatenate(halves))


def run(domain: str, n: int, seed: int, known: dict[str, Any]) -> dict[str, Any]:
    """One cell: the accuracy of every side that is not `known`, and the seconds of every way."""
    from headstart.data.split import few_folds
    from headstart.instances.graded_rows import graded
    from headstart.instances.pool import Pool
    from headstart.instances.registry import get_way, known_ways
    from headstart.instances.with_rows import best_rows, first_rows, fit_head_on, neighbours, together
    from headstart.settings import make_settings
    from headstart.strategies.base import Rows
    from headstart.strategies.heads import choose_head
    from headstart.strategies.ladder import Job

    own = features_of(domain)
    others = [features_of(name) for name in domains() if name != domain]
    picked = drawn(own["y"], n, seed)
    judged, truth = own["features"][SOURCE_ROWS:], own["y"][SOURCE_ROWS:]
    source, source_y, texts = (np.concatenate([other[key][:SOURCE_ROWS] for other in others]) for key in ("features", "y", "texts"))
    of = np.repeat(np.arange(len(others)), SOURCE_ROWS)
    pool = Pool(tuple(map(str, texts)), source_y, of, np.arange(len(source)), (), ())
    rows = Rows(tuple(str(own["texts"][i]) for i in picked), own["y"][picked], 2)
    folds = few_folds(rows.y, np.arange(n), seed)
    job = Job(rows=rows, groups=np.arange(n), folds=folds, settings=make_settings({"metric": "accuracy"}), seed=seed, pool=pool)
    both = together(own["features"][picked], source)

    def right(head: Any) -> float:
        return float((head.logits(judged).argmax(axis=1) == truth).mean())

    def by_chance(given: Any, asked: Any) -> np.ndarray:
        return first_rows(np.random.default_rng(seed).random(len(given.source)), given.source_y, asked)

    baselines = {
        "none": lambda: choose_head(both.target, rows.y, 2, folds, None).head,
        "all rows": lambda: fit_head_on(job, both, lambda given, _: np.ones(len(given.source)))[0],
        "random rows": lambda: fit_head_on(job, both, by_chance)[0],
    }
    found = {side: right(make()) for side, make in baselines.items() if side not in known}
    if GRADED not in known:
        found[GRADED] = right(fit_head_on(job, both, graded)[0])
    seconds: dict[str, float] = {}
    for name in known_ways():
        if name in known:
            continue
        asked = replace(job, settings=replace(job.settings, rows_by=name))
        if get_way(name).reads:
            asked = replace(asked, reader=minilm_reader())
            pool.kept[asked.source.backbone.source.name] = kept_gradients(domain, own, source, source_y, texts)
        begin = time.perf_counter()
        get_way(name).weigh(neighbours(asked, both, np.arange(n)))
        seconds[name] = round(time.perf_counter() - begin, 3)
        found[name] = right(fit_head_on(asked, both, best_rows)[0])
    return {"domain": domain, "n": n, "seed": seed, "accuracy": found, "seconds": seconds, "source_rows": len(pool), "code": code_digest()}


def whole(lines: list[dict[str, Any]]) -> dict[tuple[str, int, int], dict[str, Any]]:
    """The cells, each put together of all lines that measured some of its sides."""
    cells: dict[tuple[str, int, int], dict[str, Any]] = {}
    for line in lines:
        key = (line["domain"], line["n"], line["seed"])
        cell = cells.setdefault(key, {**line, "accuracy": {}, "seconds": {}})
        cell["accuracy"] |= line["accuracy"]
        cell["seconds"] |= line["seconds"]
    return cells


def write_results(cells: list[dict[str, Any]]) -> Path:
    """Means over domains with 95 % intervals over them, and the worst domain against no source rows."""
    rng = np.random.default_rng(0)
    tables = []
    for n in sorted({cell["n"] for cell in cells}):
        # Sides compare where all of them were measured.
        most = max(len(cell["accuracy"]) for cell in cells if cell["n"] == n)
        own = [cell for cell in cells if cell["n"] == n and len(cell["accuracy"]) == most]
        names = sorted({cell["domain"] for cell in own})

        def by_domain(side: str, against: str, own: Any = own, names: Any = names) -> np.ndarray:
            apart = [
                statistics.fmean(cell["accuracy"][side] - cell["accuracy"].get(against, 0.0) for cell in own if cell["domain"] == name)
                for name in names
            ]
            return 100 * np.array(apart)

        def told(values: np.ndarray) -> str:
            means = values[rng.integers(0, len(values), (10_000, len(values)))].mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            return f"{values.mean():+.1f} [{low:.1f}, {high:.1f}]"

        rows = []
        sides = sorted(own[0]["accuracy"], key=lambda side: -by_domain(side, "").mean())
        for side in sides:
            took = [cell["seconds"][side] for cell in own if side in cell["seconds"]]
            rows.append(
                (
                    side,
                    f"{by_domain(side, '').mean():.1f}",
                    *(("–" if side == other else told(by_domain(side, other))) for other in BASELINES),
                    "–" if side == "none" else f"{by_domain(side, 'none').min():+.1f}",
                    f"{statistics.median(took):.2f}" if took else "–",
                )
            )
        columns = ("side", "accuracy", "over none", "over all rows", "over random rows", "worst domain over none", "s to weigh")
        title = f"{n} target rows ({len(names)} domains, {len(own)} cells, {own[0]['source_rows']:,} source rows)"
        tables.append(markdown(Table(title, columns, tuple(rows))))
    machine = describe_machine()
    page = [
        "# Rows of neighbouring domains",
        "Accuracy in %, differences in points with 95 % intervals over domains; a quarter of the source rows chosen.",
        *tables,
        "## Circumstances\n\n" + "\n".join(f"- {line}" for line in machine_lines(machine)),
    ]
    RESULTS.joinpath("instances.json").write_text(
        json.dumps({"measured_by": "benchmarks/instances/measure.py", "machine": machine, "cells": cells}, indent=1) + "\n",
        encoding="utf-8",
    )
    RESULTS.joinpath("instances.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return RESULTS / "instances.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", type=int, default=[50, 20, 200])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--domains", nargs="*", default=None)
    asked = parser.parse_args()
    from headstart.instances.registry import known_ways

    cells = whole(read_lines(CELLS))
    for seed in asked.seeds:
        for n in asked.rows:
            for domain in asked.domains or domains():
                known = cells.get((domain, n, seed), {}).get("accuracy", {})
                if {GRADED, *known_ways()} - set(known):
                    line = run(domain, n, seed, known)
                    append_line(CELLS, line)
                    cells = whole(read_lines(CELLS))
                    print(domain, n, seed, line["accuracy"], flush=True)
            print(write_results(list(cells.values())), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
