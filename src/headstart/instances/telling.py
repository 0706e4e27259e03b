"""What rows of neighbouring data gave, put together for the report.

Letters in shapes: n target rows, m source rows, d width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headstart.cost import light_seconds
from headstart.data.examples import BoolArray, IntArray
from headstart.data.split import few_folds
from headstart.errors import DataError
from headstart.instances.base import effective_rows
from headstart.instances.pool import Pool
from headstart.records import Estimate, Gain, MapPoint, NeighbourRows, RowNote, SharePoint, SourceRows
from headstart.settings import Settings
from headstart.strategies.base import FloatArray
from headstart.target import Part, Target
from headstart.tasks.registry import deciding_metric, get_task

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader
    from headstart.deciding import Judged
    from headstart.instances.with_rows import Together
    from headstart.planner import Decision
    from headstart.strategies.ladder import Job

Float32 = NDArray[np.float32]
SHARES = (0.0, 0.05, 0.1, 0.25, 0.5, 1.0)
SHOWN = 5  # source rows put first, and last
ON_THE_MAP = 300  # rows of each kind
BINS = 24
WITH = "chosen_rows"


def tell_rows(
    pool: Pool,
    target: Target,
    settings: Settings,
    parts: Sequence[Part],
    judged: Sequence[Judged],
    final: Decision,
    reader: Reader,
    seconds: float,
) -> NeighbourRows:
    """What the rows of a pool gave.

    Args:
        pool: the rows.
        target: the data.
        settings: what was asked.
        parts: how it was judged, and `judged` what that gave.
        final: the decision on all rows.
        reader: the source by which rows are shown to have been chosen.
        seconds: what weighing the rows anew for the two curves may take; what would take longer is not drawn.
    """
    from headstart.instances.registry import get_way
    from headstart.instances.with_rows import first_rows, neighbours, read_together
    from headstart.strategies.ladder import Job, rungs_with_rows

    rows = target.rows
    folds = few_folds(rows.strata, target.groups, settings.seed)
    job = Job(rows=rows, groups=target.groups, folds=folds, settings=settings, seed=settings.seed, reader=reader, pool=pool)
    both = read_together(job)
    weights = get_way(settings.rows_by).weigh(neighbours(job, both, np.arange(len(rows))))
    order, chosen = np.argsort(-weights, kind="stable"), first_rows(weights, pool.y, settings) > 0
    alone = _alone(job, both, settings)
    sets = tuple(
        SourceRows(one.name, one.path, one.rows, one.strange, one.shared, one.undrawn, one.used, int(chosen[pool.of == k].sum()), alone[k])
        for k, one in enumerate(pool.sets)
    )

    a_fold = _seconds_a_fold(job, final)
    takes = len(SHARES) * len(folds) * a_fold
    curve = _curve(job, both, settings) if takes <= seconds else ()
    worth = _labels_worth(job, both, settings, a_fold, seconds - takes if curve else seconds)

    def note(i: int, kind: str) -> RowNote:
        return RowNote(kind, int(pool.numbers[i]), pool.texts[i], target.labels[pool.y[i]], pool.sets[pool.of[i]].name, float(weights[i]))

    low, high = float(weights.min()), float(weights.max())
    reach = low, high if high > low else low + 1.0
    counts, counts_chosen = (np.histogram(of, bins=BINS, range=reach)[0] for of in (weights, weights[chosen]))
    return NeighbourRows(
        way=settings.rows_by,
        sets=sets,
        chosen=int(chosen.sum()),
        learnt=final.winner.strategy.name in rungs_with_rows(),
        gains=_gains(target, settings, parts, judged, final),
        curve=curve,
        histogram=tuple(int(value) for value in counts),
        first=tuple(note(i, "source row put first") for i in order[:SHOWN].tolist()),
        last=tuple(note(i, "source row put last") for i in order[::-1][:SHOWN].tolist()),
        map=_map(both.target, both.source, chosen, settings.seed),
        labels_worth=worth,
        effective=effective_rows(weights),
        histogram_chosen=tuple(int(value) for value in counts_chosen),
    )


def _gains(target: Target, settings: Settings, parts: Sequence[Part], judged: Sequence[Judged], final: Decision) -> tuple[Gain, ...]:
    """Best with rows against best without; chosen rows against all, and against random ones."""
    from headstart.outcome import gain_of, judged_rows

    rows = judged_rows(target, parts, judged)
    found = []
    if final.via is not None and final.direct is not None:
        names = final.via.name, final.direct.name
        found.append(gain_of([part.via for part in judged], [part.direct for part in judged], names, rows, settings))
    beside = [rung.name for rung in final.beside]
    ours = next((name for name in beside if name.startswith("chosen_rows")), None)
    for kind in ("all_rows", "random_rows"):
        theirs = next((name for name in beside if name.startswith(kind)), None)
        if ours is not None and theirs is not None:
            first, second = ([part.beside.get(name) for part in judged] for name in (ours, theirs))
            found.append(gain_of(first, second, (ours, theirs), rows, settings))
    return tuple(gain for gain in found if gain is not None)


def _seconds_a_fold(job: Job, final: Decision) -> float:
    """Seconds of a fold of a probe with chosen rows, which are weighed for it: as its trial took, else as foretold."""
    took = [trial.seconds for trial in final.trials if trial.strategy == WITH and trial.seconds]
    if took:
        return max(took) / max(1, len(final.winner.job.folds))
    assert job.pool is not None  # there is something to tell of
    return light_seconds(WITH, len(job.rows) + len(job.pool), job.rows.n_classes)


def _curve(job: Job, both: Together, settings: Settings) -> tuple[SharePoint, ...]:
    """The score on the target's folds with more and more source rows, in the order in which the way puts them."""
    from headstart.instances.registry import get_way
    from headstart.instances.with_rows import fit_on, in_turn, neighbours
    from headstart.strategies.heads import trying, usual_strength

    if not job.folds:
        return ()
    judge, rows, m = get_task(settings.task).judge, job.rows, len(both.source)
    given = [neighbours(job, both, train) for train, _ in job.folds]
    orders = [in_turn(get_way(settings.rows_by).weigh(each), each.source_y) for each in given]
    points = []
    for share in SHARES:
        logits = np.full((len(rows), rows.n_classes), np.nan)
        for (train, held), order in zip(job.folds, orders, strict=True):
            kept = np.zeros(m)
            kept[order[: round(share * m)]] = 1.0
            found = fit_on(job, both, train, kept, usual_strength(rows.n_classes), trying(m))
            logits[held] = found.logits(both.space.z[held])
        seen = rows.measured(logits)
        score = judge.estimate(deciding_metric(settings), logits[seen], rows.take(seen), job.groups[seen], settings)
        points.append(SharePoint(round(share * m), score))
    return tuple(points)


def _alone(job: Job, both: Together, settings: Settings) -> list[Gain | None]:
    """Of each set the gain of a probe with its rows over one without any, on the target's folds."""
    from headstart.instances.with_rows import fit_on
    from headstart.strategies.heads import trying, usual_strength

    assert job.pool is not None  # there is something to tell of
    rows, of, sets = job.rows, job.pool.of, len(job.pool.sets)
    if not job.folds:
        return [None] * sets
    weights = [np.zeros(len(of)), *((of == k).astype(np.float64) for k in range(sets))]
    logits = [np.full((len(rows), rows.n_classes), np.nan) for _ in weights]
    for train, held in job.folds:
        for kept, said in zip(weights, logits, strict=True):
            found = fit_on(job, both, train, kept, usual_strength(rows.n_classes), trying(int(kept.sum()) + len(train)))
            said[held] = found.logits(both.space.z[held])
    seen = rows.measured(logits[0])
    part, groups = rows.take(seen), job.groups[seen]
    judge, metric = get_task(settings.task).judge, deciding_metric(settings)
    return [
        judge.gain((said[seen], logits[0][seen]), (job.pool.sets[k].name, "no source rows"), metric, part, groups, None, settings)
        for k, said in enumerate(logits[1:])
    ]


def _labels_worth(job: Job, both: Together, settings: Settings, a_fold: float, seconds: float) -> str:
    """How many labels a probe without source rows needs for the score of one with the chosen rows, in a sentence; "": rows are too few, or
    folds of `a_fold` seconds would take longer than so many seconds, coarse as the curve may be.
    """
    from headstart.instances.with_rows import best_rows, fit_on, neighbours
    from headstart.judge.label_curve import MOST_SIZES, label_curve
    from headstart.outcome import CURVE_SIZES
    from headstart.strategies.heads import trying, usual_strength

    rows, m = job.rows, len(both.source)
    if len(rows) < 2 * max(8, rows.n_classes):
        return ""
    points, parts = MOST_SIZES, settings.outer_folds
    if points * parts * a_fold > seconds:
        points, parts = CURVE_SIZES, 1
    if points * parts * a_fold > seconds:
        return ""
    metric = deciding_metric(settings)

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        kept = best_rows(neighbours(job, both, train), settings) if rung == WITH else np.zeros(m)
        return fit_on(job, both, train, kept, usual_strength(rows.n_classes), trying(m)).logits(both.space.z[held])

    def judge_at(logits: FloatArray, held: IntArray) -> Estimate:
        return get_task(settings.task).judge.estimate(metric, logits, rows.take(held), job.groups[held], settings)

    try:
        curve = label_curve(
            predict_at,
            judge_at,
            rows.strata,
            groups=job.groups,
            rungs=(WITH, "probe"),
            baseline="probe",
            metric=metric,
            folds=settings.outer_folds,
            repeats=parts,
            seed=settings.seed,
            lacking="rows of neighbouring data",
            most=points,
        )
    except DataError:  # no class has two rows that are apart
        return ""
    return curve.note


def _map(target: Float32, source: Float32, chosen: BoolArray, seed: int) -> tuple[MapPoint, ...]:
    """Some rows of each kind on the two widest axes of both sides together."""
    rng = np.random.default_rng(seed)
    kinds = {
        "left": rng.permutation(np.flatnonzero(~chosen))[:ON_THE_MAP],
        "chosen": rng.permutation(np.flatnonzero(chosen))[:ON_THE_MAP],
        "target": rng.permutation(len(target))[:ON_THE_MAP],
    }
    rows = np.concatenate([(target if kind == "target" else source)[picked] for kind, picked in kinds.items()]).astype(np.float64)
    centred = rows - rows.mean(axis=0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    places = centred @ axes[:, [-1, -2]]
    # The sign of an axis is chance: the row that lies furthest out stands on the positive side.
    places *= np.where(places[np.abs(places).argmax(axis=0), [0, 1]] < 0, -1.0, 1.0)
    names = [kind for kind, picked in kinds.items() for _ in picked]
    return tuple(MapPoint(round(float(x), 4), round(float(y), 4), kind) for (x, y), kind in zip(places, names, strict=True))
