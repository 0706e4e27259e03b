"""Rows of neighbouring domains: headstart's default against the `adapt` package on the same features.

    HEADSTART_ADAPT_PYTHON=PYTHON python benchmarks/instances/versus_adapt.py [--rows 50] [--seeds 0 1 2]

PYTHON is an interpreter with `pip install adapt`, which brings TensorFlow and so has no place in this project's environment. The twelve
`reviews_*` domains as in `measure.py`. Every side is a logistic head on the same standardised features: adapt's TrAdaBoost, and its
importance weights (kernel mean matching, KLIEP, nearest neighbours, a domain classifier) for the source rows, with the target's labelled
rows added at three times the mean weight, which headstart gives them too; ours are a quarter of the rows by `sure`, `boosting`
(TrAdaBoost), `density` and `mean_matching`, as the rung `chosen_rows` uses them, and all rows weighed by `sure`, as `graded_rows` does.
All sides do the same work: on the same folds each weighs the rows anew and tries the same three penalties, then fits once more on all
rows; adapt's also once with weights and penalty as they come ("one fit"), beside `sure` in the same way (kernel mean matching only so,
for it takes twenty seconds). Seconds are of weighing and fitting alone, one thread on all sides.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np
from measure import SOURCE_ROWS, domains, drawn, features_of

from common import RESULTS, WORK, Table, append_line, describe_machine, machine_lines, markdown, read_lines

CELLS = WORK / "instances_versus_adapt.jsonl"
OURS = ("sure", "boosting", "density", "mean_matching")
# What runs where adapt is installed: features in, accuracies and seconds out.
WORKER = """
import json, os, sys, time, warnings
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
warnings.filterwarnings("ignore")
import numpy as np
from sklearn.linear_model import LogisticRegression
from adapt.instance_based import IWC, KLIEP, KMM, NearestNeighborsWeighting, TrAdaBoost
given = np.load(sys.argv[1])
x, y, t, ty, judged, truth = (given[name].astype(float) for name in ("x", "y", "t", "ty", "judged", "truth"))
folds = [(np.flatnonzero(row == 0), np.flatnonzero(row == 1)) for row in given["held"]]
head = lambda c: LogisticRegression(C=c, max_iter=1000)
ways = {
    "adapt KMM": lambda t: KMM(head(20.0), Xt=t, kernel="rbf", gamma=1.0, verbose=0, random_state=0),
    "adapt KLIEP": lambda t: KLIEP(head(20.0), Xt=t, kernel="rbf", gamma=1.0, verbose=0, random_state=0),
    "adapt nearest": lambda t: NearestNeighborsWeighting(head(20.0), Xt=t, n_neighbors=6, verbose=0, random_state=0),
    "adapt IWC": lambda t: IWC(head(20.0), Xt=t, classifier=head(20.0), verbose=0, random_state=0),
}
def weights_of(make, rows):
    weights = np.asarray(make(t[rows]).fit_weights(x, t[rows])).ravel()
    return weights / max(weights.mean(), 1e-12)
def fit(weights, rows, c):
    given = np.concatenate([weights, np.full(len(rows), 3.0)])
    return head(c).fit(np.concatenate([x, t[rows]]), np.concatenate([y, ty[rows]]), sample_weight=given)
def boost(rows, c):
    return TrAdaBoost(head(c), n_estimators=10, Xt=t[rows], yt=ty[rows], verbose=0, random_state=0).fit(x, y)
def loss(model, held):
    if not hasattr(model, "predict_proba"):  # TrAdaBoost gives classes alone
        return float((np.asarray(model.predict(t[held])).ravel() != ty[held]).sum())
    p = np.clip(np.asarray(model.predict_proba(t[held])), 1e-6, 1)
    return -np.log(p[np.arange(len(held)), ty[held].astype(int)]).sum()
found, penalties, every = {}, (20.0, 20.0 / 3, 2.0), np.arange(len(t))
def same_work(name, weigh, learn):
    begin = time.perf_counter()
    first = learn(weigh(every), every, 20.0)
    once = time.perf_counter() - begin
    right = lambda model: float((np.asarray(model.predict(judged)).ravel() == truth).mean())
    found[name + ", one fit"] = [right(first), once]
    if once > 5.0:
        return  # kernel mean matching: twenty seconds for one choice of weights
    begin = time.perf_counter()
    losses = np.zeros(len(penalties))
    for train, held in folds:
        kept = weigh(train)
        losses += [loss(learn(kept, train, c), held) for c in penalties]
    model = learn(weigh(every), every, penalties[int(losses.argmin())])
    took = time.perf_counter() - begin
    found[name] = [right(model), took]
for name, make in ways.items():
    same_work(name, lambda rows: weights_of(make, rows), fit)
same_work("adapt TrAdaBoost", lambda rows: None, lambda kept, rows, c: boost(rows, c))
json.dump(found, open(sys.argv[2], "w"))
"""


def run(domain: str, n: int, seed: int) -> dict[str, Any]:
    from headstart.data.split import few_folds
    from headstart.instances.graded_rows import graded
    from headstart.instances.pool import Pool
    from headstart.instances.with_rows import best_rows, fit_head_on, together
    from headstart.settings import make_settings
    from headstart.strategies.base import Rows
    from headstart.strategies.ladder import Job

    own, others = features_of(domain), [features_of(name) for name in domains() if name != domain]
    picked = drawn(own["y"], n, seed)
    judged, truth = own["features"][SOURCE_ROWS:], own["y"][SOURCE_ROWS:]
    source, source_y, texts = (np.concatenate([other[key][:SOURCE_ROWS] for other in others]) for key in ("features", "y", "texts"))
    of = np.repeat(np.arange(len(others)), SOURCE_ROWS)
    pool = Pool(tuple(map(str, texts)), source_y, of, np.arange(len(source)), (), ())
    rows = Rows(tuple(str(own["texts"][i]) for i in picked), own["y"][picked], 2)
    folds = few_folds(rows.y, np.arange(n), seed)
    job = Job(rows=rows, groups=np.arange(n), folds=folds, settings=make_settings({"metric": "accuracy"}), seed=seed, pool=pool)
    found = {}

    def measured(name: str, work: Any) -> None:
        begin = time.perf_counter()
        head = work()
        found[name] = [float((head.logits(judged).argmax(axis=1) == truth).mean()), time.perf_counter() - begin]

    measured("sure, all rows", lambda: fit_head_on(job, together(own["features"][picked], source), graded)[0])
    for name in OURS:
        asked = replace(job, settings=replace(job.settings, rows_by=name))
        measured(name, lambda asked=asked: fit_head_on(asked, together(own["features"][picked], source), best_rows)[0])
    once = replace(job, folds=[])
    measured("sure, one fit", lambda: fit_head_on(once, together(own["features"][picked], source), best_rows)[0])
    both = np.concatenate([own["features"][picked], source])
    scale = both.std(axis=0) * np.sqrt(both.shape[1])
    scale[both.std(axis=0) < 1e-6 * np.abs(both.mean(axis=0)) + 1e-12] = np.inf
    x, t, asked_of = ((part - both.mean(axis=0)) / scale for part in (source, own["features"][picked], judged))
    with tempfile.TemporaryDirectory() as room:
        place, answer = Path(room) / "given.npz", Path(room) / "answer.json"
        held = np.array([np.isin(np.arange(n), held).astype(int) for _, held in folds])
        np.savez(place, x=x, y=source_y, t=t, ty=rows.y, judged=asked_of, truth=truth, held=held)
        command = [os.environ["HEADSTART_ADAPT_PYTHON"], "-c", WORKER, str(place), str(answer)]
        threads = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
        subprocess.run(command, check=True, capture_output=True, env={**os.environ, **threads})
        found |= json.loads(answer.read_text())
    return {"domain": domain, "n": n, "seed": seed, "found": found}


def write_results(cells: list[dict[str, Any]]) -> Path:
    rng = np.random.default_rng(0)
    tables, figures = [], {}
    for n in sorted({cell["n"] for cell in cells}):
        own = [cell for cell in cells if cell["n"] == n]
        names = sorted({cell["domain"] for cell in own})
        rows = []
        for side in sorted(own[0]["found"], key=lambda side: -np.mean([c["found"][side][0] for c in own])):
            gaps = np.array([np.mean([c["found"]["sure"][0] - c["found"][side][0] for c in own if c["domain"] == d]) for d in names])
            means = 100 * gaps[rng.integers(0, len(gaps), (10_000, len(gaps)))].mean(axis=1)
            low, high = np.quantile(means, [0.025, 0.975])
            ours = "sure, one fit" if side.endswith("one fit") else "sure"
            ratio = np.median([c["found"][side][1] / c["found"][ours][1] for c in own])
            gap = "–" if side == "sure" else f"{100 * gaps.mean():+.1f} [{low:.1f}, {high:.1f}]"
            mean, seconds = 100 * np.mean([c["found"][side][0] for c in own]), np.median([c["found"][side][1] for c in own])
            rows.append((side, f"{mean:.1f}", gap, f"{seconds:.2f}", "–" if side == ours else f"{ratio:.1f}"))
            figures[f"{side}, {n}"] = {"accuracy": mean, "sure_above": 100 * gaps.mean(), "times_the_seconds": ratio}
        columns = ("side", "accuracy", "`sure` above it", "s", "times the seconds of `sure` for the same work")
        tables.append(markdown(Table(f"{n} target rows ({len(names)} domains, {len(own)} cells)", columns, tuple(rows))))
    machine = describe_machine()
    page = [
        "# Neighbouring rows: against the adapt package",
        "Accuracy in %, differences in points with 95 % intervals over domains.",
        *tables,
    ]
    page.append("## Circumstances\n\n" + "\n".join(f"- {line}" for line in machine_lines(machine)))
    record = {"measured_by": "benchmarks/instances/versus_adapt.py", "machine": machine, "figures": figures, "cells": cells}
    RESULTS.joinpath("instances_versus_adapt.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    RESULTS.joinpath("instances_versus_adapt.md").write_text("\n\n".join(page) + "\n", encoding="utf-8")
    return RESULTS / "instances_versus_adapt.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", nargs="*", type=int, default=[50])
    parser.add_argument("--seeds", nargs="*", type=int, default=[0, 1, 2])
    parser.add_argument("--domains", nargs="*", default=None)
    asked = parser.parse_args()
    if "HEADSTART_ADAPT_PYTHON" not in os.environ:
        raise SystemExit("Set HEADSTART_ADAPT_PYTHON to an interpreter with the package adapt.")
    cells = read_lines(CELLS)
    have = {(cell["domain"], cell["n"], cell["seed"]) for cell in cells}
    for seed in asked.seeds:
        for n in asked.rows:
            for domain in asked.domains or domains():
                if (domain, n, seed) not in have:
                    cells.append(run(domain, n, seed))
                    append_line(CELLS, cells[-1])
                    print(domain, n, seed, {side: round(found[0], 3) for side, found in cells[-1]["found"].items()}, flush=True)
            print(write_results(cells), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
