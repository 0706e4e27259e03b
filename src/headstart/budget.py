"""The budget before anything is trained: how many rows fit in it, how the run is judged within it, what each decision may take of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from headstart.candidates import Means, pool_that_fits, rows_that_fit, rungs_on, seconds_lacking, texts_beside
from headstart.cost import CostModel
from headstart.environment import device
from headstart.progress import say, warn
from headstart.records import Finding, Severity
from headstart.rungs import trial_seconds
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.target import Part, Target, parts_of, rows_to_judge
from headstart.tasks.registry import get_task

if TYPE_CHECKING:
    from headstart.instances.pool import Pool

# Seconds of a run that are neither trials nor training: starting, judging where that is quick, saving, opening again, the report.
AROUND = 20.0
# From so many seconds on, reading tells of the machine's speed, where it took so many times longer than foretold, or shorter. On a quiet
# machine it takes 0.9 to 1.0 times as long, whether texts have 13 tokens or 220.
_TELLING, _OFF = 2.0, 1.25
# Winner and opponent answer the rows that judge.
_ANSWER = 2


def as_at_first(run: RunFolder, means: Means, spent: float) -> float:
    """The seconds that were spent before the first decision when the run began, those of the judge counted in, and this machine's speed
    then, in `means`: what is read again from the store takes no time, and a run that goes on must decide as it would have."""
    speeds = {"training_speed": means.cost.training_speed, "reading_speed": means.cost.reading_speed}
    known = run.remember("time and speed", lambda: {"spent": spent, **speeds, "seconds": 0.0})
    means.cost = CostModel(known["training_speed"], known["reading_speed"])
    return float(known["spent"])


def within_budget(target: Target, settings: Settings, means: Means, strategies: list[str], run: RunFolder | None = None) -> Target:
    """The target with as many of its rows as can be read in the budget, said and noted where those are not all.

    `run` remembers how many, since the machine may be faster or slower when it goes on; None: nothing does.
    """
    fit, takes = rows_that_fit(target, settings, means, strategies)
    if run is not None:
        known = run.remember("rows that fit", lambda: {"rows": fit, "takes": takes, "seconds": 0.0})
        fit, takes = known["rows"], known["takes"]
    if fit >= len(target.rows):
        return target
    why = _say_drawn(f"Of {len(target.rows):,} rows some {fit:,} are learnt from, drawn by label", takes, settings)
    return target.some(fit, why, settings)


def pool_within_budget(target: Target, settings: Settings, means: Means, run: RunFolder | None = None) -> Pool | None:
    """The rows of neighbouring data that can be read in the budget beside the target's, said and noted where those are not all; None: there
    are none. `run` as of `within_budget`.
    """
    pool = means.pool
    if pool is None:
        return None
    fit, takes = pool_that_fits(target, settings, means)
    if run is not None:
        known = run.remember("neighbouring rows that fit", lambda: {"rows": fit, "takes": takes, "seconds": 0.0})
        fit, takes = known["rows"], known["takes"]
    drawn = pool.some(fit, settings.seed) if fit < len(pool) else pool
    if len(drawn) == len(pool):
        return pool
    what = f"Of {len(pool):,} neighbouring rows {len(drawn):,} are looked at, drawn by set and label"
    told = Finding("source rows not drawn", Severity.WARNING, _say_drawn(what, takes, settings), count=len(pool) - len(drawn))
    return replace(drawn, findings=(*drawn.findings, told))


def _say_drawn(what: str, takes: str, settings: Settings) -> str:
    """Say that some rows were drawn, and what reading all would take; returns the sentence."""
    memory = takes.endswith("memory")
    why = f"{what}: reading all would take {takes}" + ("." if memory else f" of the {settings.budget:,.0f} s there are.")
    say(f"  {why}" + ("" if memory else " Give a longer --budget, and another --out, for more."))
    return why


def seconds_a_row(target: Target, parts: list[Part], settings: Settings, spent: float) -> float:
    """Seconds for each decision with the trainings that follow it, a row: the budget, less what was `spent` and what runs around it.

    By rows, so that a rung which fits into the share of an outer fold fits into that of the last decision, on all rows, too.
    """
    rows = sum(len(part.learn) for part in parts) + (0 if parts[0].judge is None else len(target.rows))
    return max(0.0, settings.budget - spent - AROUND) / max(rows, 1)


def seconds_to_read(target: Target, means: Means, strategies: Sequence[str]) -> float:
    """Seconds to read the labelled rows with every source, and what these strategies read beside them, as far as the store lacks it."""
    if get_task(target.task).in_pieces:  # pieces are read where they are learnt
        return 0.0
    read = [target.rows.texts, texts_beside(target, means, strategies)]
    return sum(seconds_lacking(texts, reader, means.cost) for reader in means.readers.values() for texts in read if texts)


def notice_speed(means: Means, foretold: float, took: float) -> None:
    """What reading took tells more of the machine's speed than the short products at the start; what was short tells nothing. Of the speed
    of trainings it tells where they run on the same device."""
    if foretold >= _TELLING and not 1 / _OFF < took / foretold < _OFF:
        means.cost.slow_down(took / foretold, training=device().type == "cpu")


def seconds_to_judge(target: Target, parts: list[Part], means: Means) -> float:
    """Seconds to read a test file, and to answer the rows that judge where an answer is more than a row read."""
    task, readers = get_task(target.task), means.readers.values()
    if not readers:
        return 0.0
    if task.answering is None:
        return 0.0 if not target.test else max(seconds_lacking(target.test.texts, reader, means.cost) for reader in readers)
    judging = [target.test if part.judge is None else target.rows.take(part.judge) for part in parts]
    work = max(sum(task.answering(rows, reader.backbone) for rows in judging if rows is not None) for reader in readers)
    return _ANSWER * means.cost.reading(work, 1.0)


def parts_in_time(
    target: Target, settings: Settings, means: Means, strategies: list[str], first: float, run: RunFolder | None = None
) -> list[Part]:
    """How the run is judged; on one split in place of outer folds where not even the cheapest rung could be trained for each of these, and
    the split takes less. `first`: seconds of the source tasks before.

    `run` remembers which it was, and of answers how many rows judge, since it may go on with another budget; None: nothing does.
    """
    most = rows_to_judge(target, settings)
    if run is not None and target.task == "qa" and target.test is None:
        most = run.remember("rows that judge", lambda: {"rows": most, "seconds": 0.0})["rows"]
    parts = parts_of(target, settings, most)
    if len(parts) == 1:
        return parts
    cheapest, needed = _least_needed(target, parts, settings, means, strategies)
    split = parts_of(target, replace(settings, few_rows=0), most)
    in_time = first + needed - AROUND <= settings.budget or _least_needed(target, split, settings, means, strategies)[1] >= needed
    if run is not None:
        in_time = run.remember("outer folds", lambda: {"in_time": in_time, "seconds": 0.0})["in_time"]
    if in_time:
        return parts
    say(f"  Outer folds would take about {needed:,.0f} s with the cheapest rung, {cheapest}, so one split of the rows judges.")
    return split


def _least_needed(target: Target, parts: list[Part], settings: Settings, means: Means, strategies: list[str]) -> tuple[str, float]:
    """The cheapest rung, and the seconds of a run that trains nothing else."""
    cheapest = min(rungs_on(target, parts[0].learn, settings, means, strategies), key=lambda rung: trial_seconds(rung, means.cost))
    learnt = [len(part.learn) for part in parts] + ([] if parts[0].judge is None else [len(target.rows)])
    trainings = [trial_seconds(cheapest, means.cost, rows / len(cheapest.job.rows)) for rows in learnt]
    around = AROUND + seconds_to_read(target, means, strategies) + seconds_to_judge(target, parts, means)
    return cheapest.name, around + 2 * sum(trainings)  # each with a trial as long


def warn_of_budget(target: Target, parts: list[Part], settings: Settings, means: Means, strategies: list[str], first: float) -> None:
    """Say at the start when even the cheapest rung needs more than the budget; `first`: seconds of the source tasks before."""
    cheapest, alone = _least_needed(target, parts, settings, means, strategies)
    needed = first + alone
    if needed > settings.budget:
        asked = f"The budget of {settings.budget:,.0f} s is too short"
        before = f", {first:,.0f} s of them for what is learnt before (--via)" if first else ""
        warn(f"{asked}: even the cheapest rung, {cheapest}, needs about {needed:,.0f} s in all{before}.")
    judging = seconds_to_judge(target, parts, means)
    if judging > settings.budget / 2:
        warn(f"Answering the rows that judge takes about {judging:,.0f} s of the {settings.budget:,.0f} s there are.")
