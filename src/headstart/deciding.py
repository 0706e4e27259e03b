"""Deciding on some rows, judging the decision on others, and training what was decided.

Letters in shapes: u units (words, where each word has a class; else rows), c classes.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from headstart.candidates import Means, folder_name, mean_tokens, rungs_on, texts_beside
from headstart.cost import CostModel
from headstart.data.examples import IntArray
from headstart.judge.calibration import Calibration
from headstart.planner import Decision, decide
from headstart.progress import say
from headstart.rungs import Rung, calibration_of, trial_seconds
from headstart.runs import UNFINISHED, RunFolder
from headstart.settings import Settings
from headstart.strategies.base import FloatArray, Rows, Trained
from headstart.strategies.ladder import trainings_of
from headstart.strategies.outputs import Output, output_of, said_of
from headstart.target import Part, Target
from headstart.tasks.registry import get_task
from headstart.trials import calibrating_fold, failure_of

# A fold for the probabilities of a winner of which none was tried may take this much of the time for a decision.
_CALIBRATING = 0.1


@dataclass(frozen=True)
class Judged:
    """What the decision of one part gave on the rows that judge it.

    `rows` are those that judged; logits (u, c) of the winner, of the best rung with transfer and of the best without (None: there is
    none), and where there are detours of the best by one and of the best direct one; `beside` of those that are only compared, by name.
    `fitted` is the winner where a test file judges and it was trained in this process, else None; `answers` are its texts, where it answers
    with some.
    """

    part: Part
    decision: Decision
    rows: Rows
    winner: FloatArray
    transfer: FloatArray | None
    plain: FloatArray | None
    via: FloatArray | None
    direct: FloatArray | None
    fitted: Trained | None
    beside: dict[str, FloatArray]
    answers: tuple[str, ...] = ()


def read_rows(target: Target, settings: Settings, means: Means, strategies: list[str]) -> float:
    """Read all labelled rows once with every source, for all decisions: pooled features, and what enters the cuts of the rungs. Of the
    texts that rungs read beside them (`texts_beside`) the features are read.

    Returns the seconds that what the store lacked should have taken.
    """
    if get_task(settings.task).in_pieces:  # pieces are read where they are cut
        return 0.0
    foretold = 0.0
    rungs = rungs_on(target, np.arange(len(target.rows)), settings, means, strategies)
    beside = texts_beside(target, means, strategies)
    for reader in means.readers.values():
        own = [rung for rung in rungs if rung.job.reader is reader]
        cuts = {lowest for rung in own for _, lowest in trainings_of(rung.strategy, rung.job)} - {0}
        cuts.update(layer for rung in own if rung.strategy.reads is not None for layer in rung.strategy.reads(rung.job))
        texts = reader.read_ahead(target.rows.named().texts, sorted(cuts))
        tokens = texts * mean_tokens(reader, target.rows.texts)
        if beside:
            tokens += reader.read_ahead(beside) * mean_tokens(reader, beside)
        foretold += means.cost.reading(tokens, reader.backbone.block_parameters)
    return foretold


def decide_on(
    target: Target,
    learn: IntArray,
    label: str,
    settings: Settings,
    run: RunFolder,
    means: Means,
    strategies: list[str],
    seconds: float,
    *,
    failed: Failed,
    lasting: bool = True,
) -> Decision:
    """Let the planner decide on these rows, which were read before (`read_rows`).

    `failed`: rungs whose training on all these rows failed, and why. `lasting`: the run folder stays, so every training writes its
    TensorBoard events there, and how far it is.
    """
    logs, kept = (run.path / name / folder_name(label) if lasting else None for name in ("tensorboard", UNFINISHED))
    rungs = rungs_on(target, learn, settings, means, strategies, logs, kept)
    return decide(rungs, run=run, label=label, seconds=seconds, cost=means.cost, failed=failed)


def judge_part(
    part: Part, target: Target, settings: Settings, run: RunFolder, means: Means, strategies: list[str], seconds: float
) -> Judged:
    """Decide on the part's rows, train winner and opponent on all of them, and let them predict the rows that judge."""
    from headstart.strategies.resuming import seconds_kept

    say(f"{part.name}: deciding on {len(part.learn):,} rows")
    judging = target.test if part.judge is None else target.rows.take(part.judge)
    assert judging is not None  # a part without rows of its own is judged by the test file

    calibrate = calibrating(run, part.name, seconds, means.cost)

    def judge(decision: Decision) -> Judged:
        trained: dict[str, Trained] = {}
        known: dict[str, FloatArray] = {}
        answers: dict[str, tuple[str, ...]] = {}

        def predict(rung: Rung | None) -> FloatArray | None:
            if rung is None or rung.name in known:
                return None if rung is None else known[rung.name]

            # Which texts are answered with hangs on the calibration; with a longer budget a run that goes on may know more folds.
            texts = output_of(judging.y) is Output.TEXT
            before = calibrate(rung, decision) if texts else Calibration()

            def work() -> dict[str, Any]:
                if rung.strategy.out_of_fold is None:
                    say(f"  training {rung.name} (about {trial_seconds(rung, means.cost):.0f} s)")
                trained[rung.name] = _trained(rung).scaled(before.factor, before.shift)
                said = said_of(trained[rung.name], judging)
                return {"logits": said.outputs, **({"answers": list(said.answers)} if said.answers else {})}

            said_by = f"{part.name}/said by {rung.name} x {before.factor:.9g} {before.shift:+.9g}"
            found = run.remember(said_by, work, spent=seconds_kept(rung.job.kept))
            if part.judge is not None and rung.job.kept is not None:  # else it is what will be saved
                shutil.rmtree(rung.job.kept, ignore_errors=True)
            after = Calibration() if texts else calibrate(rung, decision)
            if rung.name in trained:
                trained[rung.name] = trained[rung.name].scaled(after.factor, after.shift)
            key = f"{part.name}/judged {rung.name} x {after.factor:.9g} {after.shift:+.9g}"
            known[rung.name] = run.remember(key, lambda: {"logits": after.of(found["logits"]), "seconds": 0.0})["logits"]
            answers[rung.name] = tuple(found.get("answers", ()))
            return known[rung.name]

        transfer, plain = predict(decision.transfer), predict(decision.plain)
        via = predict(decision.via)
        direct = None if via is None else predict(decision.direct)
        winner = transfer if decision.winner is decision.transfer else plain
        assert winner is not None  # the winner is one of the two
        beside = {rung.name: logits for rung in decision.beside if (logits := predict(rung)) is not None}
        name = decision.winner.name
        fitted = trained.get(name) if part.judge is None else None  # of outer folds none is saved
        return Judged(part, decision, judging, winner, transfer, plain, via, direct, fitted, beside, answers[name])

    def decide_anew(failed: Failed) -> Decision:
        return decide_on(target, part.learn, part.name, settings, run, means, strategies, seconds, failed=failed)

    return until_trained(decide_anew, judge)


Failed = Mapping[str, str]
"""Rungs, by name, whose training on all rows failed, and why."""
T = TypeVar("T")


class _TrainingFailedError(Exception):
    """A rung that was chosen cannot be trained on all its rows: `args` are its name and the reason."""


def until_trained(decide_anew: Callable[[Failed], Decision], use: Callable[[Decision], T]) -> T:
    """Decide, and train what was decided; a rung whose training fails is left out and the decision made anew."""
    failed: dict[str, str] = {}
    while True:
        decision = decide_anew(failed)
        try:
            return use(decision)
        except _TrainingFailedError as error:
            name, reason = error.args
            failed[name] = reason
            say(f"  {name} could not be trained ({reason}); it is left out")


Calibrate = Callable[[Rung, Decision], Calibration]
"""How a rung's outputs are moved after a decision."""


def calibrating(run: RunFolder, label: str, seconds: float, cost: CostModel) -> Calibrate:
    """Calibration by out-of-fold logits: those that were measured; of a winner of which none was, those of one fold that is trained for it
    where that takes little of the `seconds` that there are, from now on, for the decision on the rows called `label`, and they are not
    spent; else as the prior expects."""
    begin = run.clock

    def calibrate(rung: Rung, decision: Decision) -> Calibration:
        logits = decision.out_of_fold.get(rung.name)
        if logits is None and rung is decision.winner and output_of(rung.job.rows.y) is Output.CLASS and rung.job.folds:
            needed = trial_seconds(rung, cost, len(rung.job.folds[0][0]) / len(rung.job.rows))
            if needed <= min(_CALIBRATING * seconds, seconds - (run.clock - begin)):
                logits = calibrating_fold(rung, run, label, cost)
        return _calibration(rung, decision, logits)

    return calibrate


def _calibration(rung: Rung, decision: Decision, logits: FloatArray | None) -> Calibration:
    warmer = decision.warmer.get(rung.source, 1.0) if rung.strategy.tunes_a_source else 1.0
    return calibration_of(rung, logits, warmer)


def _trained(rung: Rung) -> Trained:
    try:
        return rung.strategy.fit(rung.job)
    except Exception as error:
        reason = failure_of(error)
        if reason is None:
            raise
        raise _TrainingFailedError(rung.name, reason) from error


def train_plain(final: Decision) -> Trained | None:
    """The best rung without transfer trained on all labelled rows; None: there is none, or it cannot be trained on all of them."""
    if final.plain is None:
        return None
    try:
        trained = _trained(final.plain)
    except _TrainingFailedError as error:
        say(f"  {final.plain.name} could not be trained on all rows ({error.args[1]})")
        return None
    calibration = _calibration(final.plain, final, final.out_of_fold.get(final.plain.name))
    return trained.scaled(calibration.factor, calibration.shift)


def train_winner(final: Decision, calibrate: Calibrate) -> Trained:
    """The winner trained on all labelled rows, its probabilities calibrated."""
    say(f"training {final.winner.name} on all {len(final.winner.job.rows):,} labelled rows")
    trained = _trained(final.winner)  # first: it takes longest, and may fail
    calibration = calibrate(final.winner, final)
    return trained.scaled(calibration.factor, calibration.shift)
