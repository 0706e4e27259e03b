"""How good rankers of sources are: regret, rank correlation and seconds, from the truth and from what each ranker said.

    python benchmarks/ranking/measure.py [--strategy partial|probe] [--sources NAME ...] [--scores] [--peer] [--seeds N ...]

Reads benchmarks/results/ranking_truth.json and benchmarks/work/ranking/scores.jsonl, writes benchmarks/results/ranking.json and ranking.md.
`--scores` first lets every estimator score what it has not scored yet (see scores.py); `--peer` lets transformer-ranker.

The truth of a source on a target is its mean accuracy over the seeds in which all sources were measured: one seed's best source is partly
its luck. A ranker is asked anew for every seed's training rows, and its figures are averaged over seeds, then over targets. Where a ranker
holds sources for equally good, regret is what a random order among them would be expected to give.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from common import RESULTS, Table, describe_machine, machine_lines, markdown, read_lines
from ranking import sources
from ranking.truth import TABLE, read_table

RESAMPLES = 10_000
Scores = Mapping[str, float]


@dataclass(frozen=True)
class Prediction:
    """What a ranker says of a source on the training rows of one target and seed; greater is better. `seconds` None: not known."""

    ranker: str
    target: str
    seed: int
    source: str
    score: float
    seconds: float | None = 0.0


@dataclass(frozen=True)
class Quality:
    """How one ranker does: `regret` at 1 and 3 in points of accuracy, weighted Kendall's tau in [-1, 1], each with its 95 % interval over
    targets; `seconds` for all sources of a target (None: not known of every source); over how many targets."""

    ranker: str
    regret1: tuple[float, float, float]
    regret3: tuple[float, float, float]
    tau: tuple[float, float, float]
    seconds: float | None
    targets: int


# --- figures of one ranking ---


def regret(truth: Scores, predicted: Scores, k: int) -> float:
    """Points that the best of the ranker's first k sources lies below the best of all, in [0, 100].

    Args:
        truth: accuracy in [0, 1] of each source.
        predicted: the ranker's score of each of the same sources. Among equal ones the expectation over a random order is taken.
        k: how many are tried, 1 or more; all where there are fewer.
    """
    if set(truth) != set(predicted):
        raise ValueError(f"scores of {sorted(predicted)} do not rank {sorted(truth)}")
    sure, room = -math.inf, k
    for score in sorted(set(predicted.values()), reverse=True):
        tied = sorted((truth[name] for name in truth if predicted[name] == score), reverse=True)
        if len(tied) > room:
            return 100.0 * (max(truth.values()) - _expected_best(tied, room, sure))
        sure, room = max(sure, tied[0]), room - len(tied)
        if room == 0:
            break
    return 100.0 * (max(truth.values()) - sure)


def _expected_best(falling: Sequence[float], k: int, sure: float) -> float:
    """Expected maximum of `sure` and of k of these values drawn at random: value i is the best drawn if the other k - 1 come after it."""
    ways = math.comb(len(falling), k)
    return sum(max(sure, value) * math.comb(len(falling) - 1 - i, k - 1) / ways for i, value in enumerate(falling))


def weighted_tau(truth: Scores, predicted: Scores) -> float:
    """Kendall's tau in which exchanges among the best weigh more (Vigna 2015), in [-1, 1]; 0 where either side tells no source apart."""
    from scipy.stats import weightedtau

    names = sorted(truth)
    right, said = [truth[name] for name in names], [predicted[name] for name in names]
    if len(set(right)) < 2 or len(set(said)) < 2:
        return 0.0
    return float(weightedtau(right, said).statistic)


def interval(by_target: Sequence[float]) -> tuple[float, float, float]:
    """The mean over targets and the 95 % interval of a bootstrap over them."""
    values = np.array(by_target, dtype=np.float64)
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(values.mean()), float(low), float(high)


# --- the truth ---


def truth_by_target(cells: Iterable[Mapping[str, Any]], strategy: str, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """For each target the accuracy of every source of `names`, the mean over the seeds in which all of them were measured.

    Targets for which there is no such seed are left out.
    """
    tables: dict[tuple[str, int], dict[str, float]] = {}
    for cell in cells:
        if cell["source"] in names:
            tables.setdefault((cell["target"], cell["seed"]), {})[cell["source"]] = cell[strategy]
    whole: dict[str, list[dict[str, float]]] = {}
    for (target, _), table in sorted(tables.items()):
        if len(table) == len(names):
            whole.setdefault(target, []).append(table)
    return {target: {name: statistics.fmean(table[name] for table in found) for name in names} for target, found in whole.items()}


# --- baselines ---


def baselines(truth: Mapping[str, Scores], parameters: Mapping[str, int]) -> list[Prediction]:
    """What a ranker must beat. None of them looks at the target's rows.

    random: any order. largest: most weights first. most downloaded: MiniLM, MPNet, then what somebody made of them, and weights at random
    last. best elsewhere: the mean truth over the other targets, which nobody has who has not tuned every source before; not said where
    there is no other target.
    """
    found = []
    for target, table in truth.items():
        others = [other for name, other in truth.items() if name != target]
        for source in table:
            said = {"random": 0.0, "largest": float(parameters[source]), "most downloaded": _fame(source)}
            if others:
                said["best elsewhere"] = statistics.fmean(other[source] for other in others)
            found += [Prediction(ranker, target, 0, source, score) for ranker, score in said.items()]
    return found


def _fame(source: str) -> float:
    if source in sources.BASES:
        return 3.0 - sources.BASES.index(source)
    return 0.0 if source.endswith(f"-{sources.RANDOM}") else 1.0


# --- rankers ---


def qualities(truth: Mapping[str, Scores], predictions: Iterable[Prediction]) -> list[Quality]:
    """Every ranker that scored all sources of a target for some seed, the least regret@1 first, then regret@3.

    A target and seed that a ranker scored in part is left out for it.
    """
    given: dict[str, dict[tuple[str, int], dict[str, Prediction]]] = {}
    for one in predictions:
        if one.source in truth.get(one.target, ()):
            given.setdefault(one.ranker, {}).setdefault((one.target, one.seed), {})[one.source] = one
    found = []
    for ranker, places in given.items():
        figures: dict[str, list[tuple[float, float, float]]] = {}
        seconds = []
        for (target, _), said in places.items():
            if set(said) != set(truth[target]):
                continue
            scores = {name: one.score for name, one in said.items()}
            row = (regret(truth[target], scores, 1), regret(truth[target], scores, 3), weighted_tau(truth[target], scores))
            figures.setdefault(target, []).append(row)
            spent = [one.seconds for one in said.values() if one.seconds is not None]
            if len(spent) == len(said):
                seconds.append(sum(spent))
        if figures:
            regret1, regret3, tau = (interval([statistics.fmean(row[i] for row in rows) for rows in figures.values()]) for i in range(3))
            found.append(Quality(ranker, regret1, regret3, tau, statistics.fmean(seconds) if seconds else None, len(figures)))
    return sorted(found, key=lambda quality: (quality.regret1[0], quality.regret3[0], -quality.tau[0]))


def predictions_of(lines: Iterable[Mapping[str, Any]]) -> list[Prediction]:
    """The lines of scores.jsonl. Seconds are those of reading and of scoring, not known where reading was helped by an earlier run."""
    found = []
    for line in lines:
        seconds = None if line["read_seconds"] is None else line["read_seconds"] + line["seconds"]
        found.append(Prediction(line["ranker"], line["target"], line["seed"], line["source"], line["score"], seconds))
    return found


def coverage(truth: Mapping[str, Scores], lines: Iterable[Mapping[str, Any]]) -> tuple[int, int]:
    """In how many cases the truth lies within a prediction's interval, and of how many."""
    inside = [
        line["low"] <= truth[line["target"]][line["source"]] <= line["high"]
        for line in lines
        if line["source"] in truth.get(line["target"], ())
    ]
    return sum(inside), len(inside)


# --- the command ---


def table_of(title: str, found: Sequence[Quality]) -> Table:
    """The figures of all rankers to read."""

    def told(figure: tuple[float, float, float], digits: int) -> str:
        mean, low, high = figure
        return f"{mean:.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"

    rows = [
        (q.ranker, told(q.regret1, 1), told(q.regret3, 1), told(q.tau, 2), "–" if q.seconds is None else f"{q.seconds:.2f}", str(q.targets))
        for q in found
    ]
    return Table(title, ("ranker", "regret@1", "regret@3", "weighted tau", "seconds a target", "targets"), tuple(rows))


def write_results(cells: Sequence[Mapping[str, Any]], about: Mapping[str, Any], strategy: str, names: Sequence[str]) -> Path:
    """Measure everything that has predictions; writes the JSON and the readable page, whose path is returned."""
    from headstart.runs import whole_file
    from ranking.scores import CELLS, DATA_SETS, OURS, among

    truth = truth_by_target(cells, strategy, names)
    if not truth:
        raise SystemExit(f"The truth of no target is complete for {', '.join(names)}; let truth.py go on, or name fewer with --sources.")
    own = among(names)
    lines = [{**line, "ranker": OURS if line["ranker"] == own else line["ranker"]} for line in read_lines(CELLS)]
    lines = [line for line in lines if not line["ranker"].startswith(f"{OURS} of ")]
    predictions = predictions_of(lines)
    models = qualities(truth, [*baselines(truth, about["parameters"]), *predictions])
    models = [quality for quality in models if quality.targets == len(truth)]  # figures over other targets are no comparison
    sets = [name for name in names if "+" in name and sources.base_of(name) == "minilm"]
    truth_of_sets = {target: {name: table[name] for name in sets} for target, table in truth.items()}
    about_sets = [one for one in predictions if one.ranker.endswith(DATA_SETS)]
    usual = [one for one in baselines(truth_of_sets, about["parameters"]) if one.ranker in ("random", "best elsewhere")]
    by_sets = qualities(truth_of_sets, [*usual, *about_sets, *(one for one in predictions if one not in about_sets)]) if sets else []
    held = coverage(truth, [line for line in lines if line["ranker"] == OURS])
    machine = describe_machine()
    counts = f"{len(names)} sources, {len(truth)} targets; truth: {strategy}, mean over seeds, as measured on {about['machine']['date']}"
    plain = {
        "measured_by": "benchmarks/ranking/measure.py",
        "machine": machine,
        "strategy": strategy,
        "truth": truth,
        "models": [vars(quality) for quality in models],
        "coverage": held,
        "data_sets": [vars(quality) for quality in by_sets],
    }
    page = [
        "# Rankers of sources",
        f"{counts}. Regret in points of accuracy; 95 % intervals over targets.",
        markdown(table_of("Which source is best?", models)),
        f"The interval of {OURS} holds the truth in {held[0]} of {held[1]} cases; goal: 90 to 98 %.",
        markdown(table_of(f"Which of {len(sets)} source data sets is best to train on first?", by_sets)),
        "## Circumstances\n\n" + "\n".join(f"- {line}" for line in machine_lines(machine)),
    ]
    # Some of the sources make a table of their own beside that of all.
    name = "_".join(
        ["ranking", *([] if len(names) == len(about["parameters"]) else ["some"]), *([] if strategy == "partial" else [strategy])]
    )
    texts = {f"{name}.json": json.dumps(plain, indent=1, sort_keys=True), f"{name}.md": "\n\n".join(page)}
    for file, text in texts.items():
        with whole_file(RESULTS / file) as temporary:
            temporary.write_text(text + "\n", encoding="utf-8")
    return RESULTS / f"{name}.md"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--strategy", choices=("partial", "probe"), default="partial", help="whose scores are the truth")
    parser.add_argument("--sources", nargs="*", metavar="NAME", help="only these; without it all in the truth's table")
    parser.add_argument("--scores", action="store_true", help="first let every estimator score what it has not scored yet")
    parser.add_argument("--peer", action="store_true", help="first let transformer-ranker score what it has not scored yet")
    parser.add_argument("--seeds", nargs="*", type=int, metavar="N", help="score for these seeds alone; without it for all")
    given = parser.parse_args()
    cells, about = read_table(TABLE)
    names = given.sources or list(about["parameters"])
    if given.scores or given.peer:
        from ranking.scores import run

        run(
            [
                (cell["source"], cell["target"], cell["seed"])
                for cell in cells
                if cell["source"] in names and (given.seeds is None or cell["seed"] in given.seeds)
            ],
            ours=given.scores,
            peer=given.peer,
        )
    print(write_results(cells, about, given.strategy, names))
    return 0


if __name__ == "__main__":
    sys.exit(main())
