"""Everything measured in a run, put together as `records.Results`.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import datetime
import platform
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from headstart.cost import light_seconds
from headstart.data.answers import from_label
from headstart.data.check import suspect_finding
from headstart.data.examples import IntArray
from headstart.data.prompts import WHOLE
from headstart.errors import SourceError
from headstart.judge.label_curve import MOST_SIZES, JudgeAt, label_curve
from headstart.progress import say
from headstart.records import (
    DataSummary,
    Estimate,
    Finding,
    Gain,
    LabelCurve,
    LayerScore,
    Results,
    RowNote,
    Spent,
)
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.strategies.base import Answering, FloatArray, Rows, Said, Trained, joined
from headstart.target import Part, Target
from headstart.tasks.registry import deciding_metric, get_task

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader
    from headstart.deciding import Judged
    from headstart.planner import Decision

# Where a point of the label curve takes long: numbers of labels at which rungs are trained, and the share of the budget that it may take.
CURVE_SIZES, CURVE_SHARE = 3, 0.25
_FEWEST_TO_TRAIN = 24
HARDEST = 10
TWINS = 10


def assemble(
    target: Target,
    settings: Settings,
    parts: Sequence[Part],
    judged: Sequence[Judged],
    final: Decision,
    model: Trained,
    readers: Mapping[str, Reader],
    noticed: Sequence[Finding],
    run: RunFolder,
    command: str,
    begin: float,
) -> Results:
    """The results of a run.

    Args:
        target: the data.
        settings: what was asked.
        parts: how it was judged, and `judged` what that gave.
        final: the decision on all rows, and `model` its winner, trained.
        readers: the sources.
        noticed: findings besides those about the data.
        run: for what was spent.
        command: what asked for the run.
        begin: `time.perf_counter()` at the start of the run.
    """
    task = get_task(target.task)
    judging = judged_rows(target, parts, judged)
    winner = np.concatenate([part.winner for part in judged])

    gain = None
    if final.transfer is not None and final.plain is not None:
        names = final.transfer.name, final.plain.name
        gain = gain_of([part.transfer for part in judged], [part.plain for part in judged], names, judging, settings)
    plain = _joined([part.plain for part in judged])
    source = shown_with(final, readers)
    suspects, notes = _worth_a_look(target, final)
    trials = {trial.name: trial for trial in final.trials}
    said = Said(winner, tuple(text for part in judged for text in part.answers))
    seen = task.judge.seen(said, judging.rows, target.labels)
    seconds = seconds_for_curves("label curve", settings, run, begin)
    return Results(
        title=target.name,
        created=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        data=_summary(target, source, len(judging.rows)),
        findings=(*noticed, *target.findings, *suspect_finding(suspects)),
        metric=deciding_metric(settings).value,
        seeds=(settings.seed,),
        judged_on=_judged_on(target, parts),
        trials=final.trials,
        winner=trials[final.winner.name],
        opponent=trials[final.plain.name] if final.plain is not None else None,
        scores=task.judge.scores(winner, judging.rows, judging.groups, settings),
        opponent_scores=None if plain is None or final.plain is None else task.judge.scores(plain, judging.rows, judging.groups, settings),
        gain=gain,
        class_scores=seen.classes,
        confusion=seen.confusion,
        layers=_layers(target, readers, settings),
        label_curve=_curve(target, final, source, settings, seconds) or _trained_curve(target, final, settings, run, seconds),
        worth_a_look=notes,
        spent=_spent(readers, run, begin),
        command=command,
        environment=_environment(),
        task=task.name,
        numbers=seen.numbers,
        shown=seen.shown,
        decided=tuple(part.decision.winner.name for part in judged),
    )


def shown_with(final: Decision, readers: Mapping[str, Reader]) -> Reader:
    """The source by which a run is shown: the winner's, else that of the best rung with transfer, which can be used; else the first."""
    named = final.winner.source or (final.transfer.source if final.transfer is not None else None)
    return readers[named] if named else next(iter(readers.values()))


def _joined(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    """The logits of all parts; None where a part has none."""
    present = [part for part in parts if part is not None]
    return np.concatenate(present) if len(present) == len(parts) else None


@dataclass(frozen=True)
class JudgedRows:
    """The rows of all parts, one part after the other.

    `groups` (n,) as the target's, None: each row stands for itself; `folds` (n,) is the part of each row, None: there is one.
    """

    rows: Rows
    groups: IntArray | None
    folds: IntArray | None


def judged_rows(target: Target, parts: Sequence[Part], judged: Sequence[Judged]) -> JudgedRows:
    """The rows on which a run was judged."""
    of_parts = [target.groups[part.judge] for part in parts if part.judge is not None]
    groups = target.test_groups if target.test is not None else np.concatenate(of_parts)
    folds = np.repeat(np.arange(len(judged)), [len(part.rows) for part in judged]) if len(judged) > 1 else None
    return JudgedRows(joined([part.rows for part in judged]), groups, folds)


def gain_of(
    ours: Sequence[FloatArray | None], theirs: Sequence[FloatArray | None], names: tuple[str, str], judging: JudgedRows, settings: Settings
) -> Gain | None:
    """The gain of one rung over another, from the logits of both part by part; None where a part has none of one of them."""
    first, second = _joined(ours), _joined(theirs)
    if first is None or second is None:
        return None
    judge = get_task(settings.task).judge
    return judge.gain((first, second), names, deciding_metric(settings), judging.rows, judging.groups, judging.folds, settings)


def _judged_on(target: Target, parts: Sequence[Part]) -> str:
    if target.test is not None:
        return target.judged_on
    folds = "one stratified test split" if len(parts) == 1 else f"{len(parts)} outer folds"
    return f"{folds} of neighbouring rows; no label of the target has checked this" if target.unlabelled else folds


def _summary(target: Target, reader: Reader, judged_rows: int) -> DataSummary:
    from headstart.backbone.reading import tokenize

    lengths = np.array([len(ids) for ids in tokenize(reader.backbone, target.rows.texts)])
    return DataSummary(
        name=target.examples.origin,
        rows=len(target.examples),
        used=len(target.rows),
        test_rows=judged_rows,
        labels=get_task(target.task).label_counts(target.rows, target.labels),
        median_tokens=int(np.median(lengths)),
        truncated_share=float((lengths >= reader.backbone.max_length).mean()),
        validation=int((target.origin < 0).sum()),
    )


def _layers(target: Target, readers: Mapping[str, Reader], settings: Settings) -> tuple[LayerScore, ...]:
    """How a light head does on each layer of each source, each row predicted without itself; nothing of a source that gives no finite
    numbers, which the trials tell."""
    layer_scores = get_task(target.task).layer_scores
    if layer_scores is None:
        return ()
    found: list[LayerScore] = []
    for name, reader in readers.items():
        with suppress(SourceError):
            found += [LayerScore(name, layer, score) for layer, score in layer_scores(target.rows, target.groups, reader, settings)]
    return tuple(found)


def seconds_for_curves(what: str, settings: Settings, run: RunFolder, begin: float) -> float:
    """What drawing a curve may take: its share of the budget, but no more than is left of that.

    Args:
        what: names what is drawn, for the journal.
        settings: of the run.
        run: remembers what was spent until now, so that a run that goes on draws what it would have drawn.
        begin: `time.perf_counter()` at the start of the run.
    """
    spent = run.remember(f"spent before the {what}", lambda: {"spent": max(run.clock, time.perf_counter() - begin), "seconds": 0.0})
    return min(CURVE_SHARE * settings.budget, settings.budget - float(spent["spent"]))


def _curve(target: Target, final: Decision, reader: Reader, settings: Settings, seconds: float) -> LabelCurve | None:
    """Score against labels with the source's frozen features and without transfer.

    None where rows are too few to draw one, or where the trials tell that even a coarse one would take more than so many seconds.
    """
    task, rows = get_task(target.task), target.rows
    if task.curve_at is None or len(rows) < 2 * max(8, int(rows.strata.max()) + 1):
        return None
    took = {trial.strategy: trial.seconds / len(final.winner.job.folds) for trial in final.trials if trial.seconds}
    a_fold = sum(took.get(rung, light_seconds(rung, len(rows), rows.n_classes)) for rung in task.curve)
    points, parts = MOST_SIZES, min(2, settings.outer_folds)
    if points * parts * a_fold > seconds:
        points, parts = CURVE_SIZES, 1
    if points * parts * a_fold > seconds:
        return None
    return label_curve(
        task.curve_at(rows, target.groups, reader, settings),
        _judge_at(target, settings),
        rows.strata,
        groups=target.groups,
        rungs=task.curve,
        baseline=task.curve[-1],
        metric=deciding_metric(settings),
        folds=settings.outer_folds,
        repeats=parts,
        seed=settings.seed,
        most=points,
    )


def _judge_at(target: Target, settings: Settings) -> JudgeAt:
    """The deciding score of outputs for some of the target's rows, of those that are measured: of many answers only some are looked for."""
    judge, metric, rows = get_task(target.task).judge, deciding_metric(settings), target.rows

    def judge_at(outputs: FloatArray, held: IntArray) -> Estimate:
        part = rows.take(held)
        seen = part.measured(outputs)
        return judge.estimate(metric, outputs[part.units(seen)], part.take(seen), target.groups[held[seen]], settings)

    return judge_at


def _trained_curve(target: Target, final: Decision, settings: Settings, run: RunFolder, seconds: float) -> LabelCurve | None:
    """Score against labels of tasks without light rungs: the best rungs with transfer and without are trained on parts of the rows.

    None where the trials tell that this would take more than so many seconds, or where rows are too few.
    """
    task, rows = get_task(target.task), target.rows
    rungs = {rung.name: rung for rung in (final.transfer, final.plain) if rung is not None}
    took = sum(max(trial.seconds, trial.predicted_seconds) for trial in final.trials if trial.name in rungs)
    if task.curve_at is not None or len(rungs) < 2 or len(rows) < _FEWEST_TO_TRAIN or CURVE_SIZES * took > seconds:
        return None

    def predict_at(name: str, train: IntArray, held: IntArray) -> FloatArray:
        rung = rungs[name]

        def work() -> dict[str, Any]:
            job = replace(rung.job, rows=rows.take(train), groups=target.groups[train], folds=[], logs=None, kept=None)
            return {"logits": cast(Answering, rung.strategy.fit(job)).compared(rows.take(held))}

        outputs: FloatArray = run.remember(f"label curve/{name}, {len(train)} rows", work)["logits"]
        return outputs

    say("drawing the label curve")
    return label_curve(
        predict_at,
        _judge_at(target, settings),
        rows.strata,
        groups=target.groups,
        rungs=tuple(rungs),
        baseline=final.plain.name if final.plain is not None else None,
        metric=deciding_metric(settings),
        folds=settings.outer_folds,
        repeats=1,
        seed=settings.seed,
        most=CURVE_SIZES,
    )


def _worth_a_look(target: Target, final: Decision) -> tuple[tuple[RowNote, ...], tuple[RowNote, ...]]:
    """Suspected wrong labels; and all rows worth a look: these, the hardest of the others, near duplicates."""
    task, rows = get_task(target.task), target.rows
    whole = [name for name, logits in final.out_of_fold.items() if not np.isnan(logits).all(axis=1).any() or name.startswith("probe")]
    notes: list[RowNote] = []
    suspects: tuple[RowNote, ...] = ()
    if whole:
        logits = final.out_of_fold[final.winner.name if final.winner.name in whole else whole[-1]]
        measured = rows.measured(logits)
        seen = measured[target.origin[measured] >= 0]
        logits, examples = logits[rows.units(seen)], target.examples.take(target.origin[seen])
        suspects = task.suspects(logits, rows.take(seen), examples, target.labels)
        notes = task.hard(logits, rows.take(seen), examples, target.labels, HARDEST, {note.row for note in suspects})
    twins = [
        RowNote(
            "near duplicate",
            target.examples.rows[j],
            target.examples.texts[j],
            _in_words(target, j) if rows.sizes is None else "",
            other_row=target.examples.rows[i],
        )
        for i, j in target.near_duplicates[:TWINS]
    ]
    return suspects, (*suspects, *notes, *twins)


def _in_words(target: Target, position: int) -> str:
    """The label of a row of the data as people read it; lists of labels and of answers are kept as JSON."""
    label = target.examples.labels[position]
    if target.task == "multilabel":
        return ", ".join(get_task(target.task).checks.names(label)) or "none"
    if target.task == "qa":
        return " | ".join(answer.text for answer in from_label(label)) or "no answer"
    return "" if label == WHOLE else label


def _spent(readers: Mapping[str, Reader], run: RunFolder, begin: float) -> Spent:
    whole = time.perf_counter() - begin
    stages = {"reading": sum(reader.seconds for reader in readers.values()), "trials and training": run.clock}
    stages["everything else"] = max(0.0, whole - sum(stages.values()))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    stores = [reader.store for reader in readers.values() if reader.store is not None]
    return Spent(
        seconds=stages,
        texts_read=sum(reader.read for reader in readers.values()),
        texts_from_store=sum(reader.kept for reader in readers.values()),
        store_bytes=stores[0].size_bytes() if stores else 0,
        peak_memory=peak,
    )


def _environment() -> dict[str, str]:
    import torch
    import transformers

    from headstart import __version__
    from headstart.environment import cores, processor

    return {
        "headstart": __version__,
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "transformers": transformers.__version__,
        "processor": f"{processor()}, {cores()} cores",
    }
