"""Trials: what is known of a rung so far, all folds of those that cost next to nothing, and one fold of those that train."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from headstart.cost import CostModel
from headstart.data.examples import IntArray
from headstart.errors import HeadstartError, SourceError
from headstart.leading import FEW, LEAST, SHARE, can_be_ranked, order_of_sources
from headstart.prior import Belief
from headstart.progress import say
from headstart.rungs import Rung, learn_seconds, trial_seconds
from headstart.runs import RunFolder
from headstart.strategies.base import FloatArray
from headstart.strategies.ladder import Job
from headstart.strategies.outputs import Output, output_of, outputs_of


@dataclass(frozen=True)
class Measured:
    """The difference of a rung to the anchor on the folds that were tried, its standard error, and what each row of the job has in that
    error: (n,) numbers of which the squares add up to no more than the error's, 0 for rows not held out."""

    difference: float
    error: float
    shares: FloatArray


@dataclass(eq=False)  # each is itself
class State:
    """What is known of one rung so far.

    `prior` is what was believed before any fold; `measured` the difference to the anchor on its own folds; `belief` what is believed with
    it and with those of all other rungs. `again` are logits by rows dealt out anew (`Job.again`). `no_source`: it failed since its source
    cannot be used.
    """

    rung: Rung
    prior: Belief
    belief: Belief
    measured: Measured | None = None
    logits: FloatArray | None = None
    again: tuple[FloatArray, ...] = ()
    folds: int = 0
    seconds: float = 0.0
    failed: str = ""
    stopped: str = ""
    no_source: bool = False


def run_lights(states: list[State], run: RunFolder, label: str, seconds: float, cost: CostModel) -> set[str | None]:
    """Run all light rungs, the probes first: so the first model that transfers is there soonest.

    Of many sources the most promising are probed until their share of the `seconds` is spent. Returns the others, which are left out. A
    source that cannot be used fails with all its rungs.
    """
    begin, probed = run.clock, 0
    order = order_of_sources([state.rung for state in states], run, label)
    place = {source: at for at, source in enumerate(order)}
    dropped: set[str | None] = set()
    unusable: dict[str | None, str] = {}
    lights = [state for state in states if state.rung.strategy.out_of_fold is not None and not state.failed]
    for state in sorted(lights, key=lambda state: (state.rung.strategy.name != "probe", place.get(state.rung.source, 0))):
        source = state.rung.source
        may_drop = state.rung.strategy.name == "probe" and len(order) > FEW and source in place and probed >= LEAST
        if may_drop and run.clock - begin > SHARE * seconds:
            dropped.add(source)
        if source not in dropped and source not in unusable:
            run_light(state, run, label, cost)
            probed += state.rung.strategy.name == "probe" and state.logits is not None
            if state.no_source:
                unusable[source] = state.failed
    for state in states:
        state.failed = state.failed or unusable.get(state.rung.source, "")
        if state.rung.source in dropped:
            state.stopped = "other sources lead" if can_be_ranked(state.rung.job.rows) else "no time left"
    return dropped


def run_light(state: State, run: RunFolder, label: str, cost: CostModel) -> None:
    """All folds at once, from features that are computed anyway; rows that are few are dealt out several times."""
    rung = state.rung
    out_of_fold = rung.strategy.out_of_fold
    assert out_of_fold is not None
    again = {f"again {k}": dealt for k, dealt in enumerate(rung.job.again, start=1)}

    def work() -> dict[str, FloatArray]:
        further = {name: out_of_fold(replace(rung.job, folds=dealt))[1] for name, dealt in again.items()}
        return {"logits": out_of_fold(rung.job)[1], **further}

    expected = trial_seconds(rung, cost)
    result = _attempt(state, run, f"{label}/{rung.name}/folds", work)
    if result is None:
        return
    learn_seconds(rung, cost, expected, result["seconds"])
    state.logits, state.folds, state.seconds = result["logits"], len(rung.job.folds), result["seconds"]
    state.again = tuple(result[name] for name in again if name in result)


def calibrating_fold(rung: Rung, run: RunFolder, label: str, cost: CostModel) -> FloatArray | None:
    """Logits (u, c) of a rung that was never tried, for the rows of its first fold, NaN for others; None: it could not be trained."""
    state = State(rung, Belief(0.0, 1.0), Belief(0.0, 1.0))
    run_fold(state, run, label, cost, "calibrating")
    return state.logits


def run_fold(state: State, run: RunFolder, label: str, cost: CostModel, what: str = "trying") -> None:
    """Train on all folds but one and predict that one. `what`: what it is for."""
    rung = state.rung
    train, held = rung.job.folds[state.folds]
    fold = f"fold-{state.folds + 1}"
    kept = None if rung.job.kept is None else rung.job.kept / fold

    def work() -> dict[str, Any]:
        part = replace(rung.job.take(train, inner_folds(rung.job, train)), kept=kept)
        if part.logs is not None:
            part = replace(part, logs=part.logs / fold)
        found = outputs_of(rung.strategy.fit(part), rung.job.rows.take(held))
        if output_of(rung.job.rows.y) is not Output.TEXT and np.isnan(found).any():  # of texts only some are compared
            raise FloatingPointError("what it learnt gives no numbers")
        return {"logits": found}

    expected = trial_seconds(rung, cost, len(train) / len(rung.job.rows))
    say(f"  {what} {rung.name}, fold {state.folds + 1} of {len(rung.job.folds)} (about {expected:.0f} s)")
    result = _attempt(state, run, f"{label}/{rung.name}/fold {state.folds}", work, kept)
    if kept is not None:
        shutil.rmtree(kept, ignore_errors=True)
    if result is None:
        return
    learn_seconds(rung, cost, expected, result["seconds"])
    if state.logits is None:
        state.logits = np.full((len(rung.job.rows.y), result["logits"].shape[1]), np.nan)
    state.logits[rung.job.rows.units(held)] = result["logits"]
    state.folds += 1
    state.seconds += result["seconds"]


def _attempt(state: State, run: RunFolder, key: str, work: Callable[[], dict[str, Any]], kept: Path | None = None) -> dict[str, Any] | None:
    """The result of a trial; None where training failed, which is noted and ends no run. Want of memory does end it."""
    from headstart.strategies.resuming import seconds_kept

    try:
        return run.remember(key, work, spent=seconds_kept(kept))
    except Exception as error:
        reason = failure_of(error)
        if isinstance(error, SourceError) and state.rung.source is not None:  # one of several
            reason, state.no_source = str(error), True
        if reason is None:
            raise
        state.failed = reason
        say(f"  {state.rung.name} could not be tried ({reason})")
        return None


def failure_of(error: Exception) -> str | None:
    """In a line why a training failed; None for what is no failure of the training: want of memory, a user's mistake, a full disk."""
    of_training = isinstance(error, RuntimeError | ValueError | FloatingPointError | IndexError) and not isinstance(error, HeadstartError)
    if not of_training or "memory" in str(error):
        return None
    return (str(error).splitlines() or [type(error).__name__])[0]


def inner_folds(job: Job, train: IntArray) -> list[tuple[IntArray, IntArray]]:
    """Folds within some of a job's rows, for what a strategy chooses by itself; none where no class has two separate rows."""
    from headstart.data.split import few_folds

    return few_folds(job.rows.strata[train], job.groups[train], job.seed, job.settings.inner_folds)
