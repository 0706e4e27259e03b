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
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.check import suspect_finding, suspect_labels
from headstart.data.examples import IntArray
from headstart.data.split import folds
from headstart.errors import DataError
from headstart.judge.calibration import softmax
from headstart.judge.gains import paired_gain
from headstart.judge.intervals import scores, wilson
from headstart.judge.label_curve import label_curve
from headstart.judge.metrics import class_scores, confusion_matrix
from headstart.records import (
    DataSummary,
    Estimate,
    Finding,
    Gain,
    LabelCurve,
    LayerScore,
    Results,
    RowNote,
    Scores,
    Spent,
)
from headstart.runs import RunFolder
from headstart.settings import Settings
from headstart.strategies.base import Fitted, FloatArray
from headstart.strategies.heads import choose_head
from headstart.strategies.probe import choose_probe, mean_of_layers
from headstart.strategies.tfidf import fit_tfidf
from headstart.target import Part, Target

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader
    from headstart.pipeline import Judged
    from headstart.planner import Decision

HARDEST = 10
TWINS = 10


def assemble(
    target: Target,
    settings: Settings,
    parts: Sequence[Part],
    judged: Sequence[Judged],
    final: Decision,
    model: Fitted,
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
        command: the command line, "" in Python.
        begin: `time.perf_counter()` at the start of the run.
    """
    rows = judged_rows(target, parts, judged)
    y = rows.y
    winner = softmax(np.concatenate([part.winner for part in judged]))

    def score(probabilities: FloatArray) -> Scores:
        return scores(
            probabilities, y, groups=rows.groups, confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
        )

    gain = None
    if final.transfer is not None and final.plain is not None:
        names = final.transfer.name, final.plain.name
        gain = gain_of([part.transfer for part in judged], [part.plain for part in judged], names, rows, settings)
    plain = _joined([part.plain for part in judged])
    source = readers[final.winner.source] if final.winner.source else next(iter(readers.values()))
    suspects, notes = _worth_a_look(target, final, source, settings)
    trials = {trial.name: trial for trial in final.trials}
    matrix = confusion_matrix(winner, y)
    return Results(
        title=target.name,
        created=datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        data=_summary(target, source, len(y)),
        findings=(*noticed, *target.findings, *suspect_finding(suspects)),
        metric=settings.metric.value,
        seeds=(settings.seed,),
        judged_on=_judged_on(target, parts),
        trials=final.trials,
        winner=trials[final.winner.name],
        opponent=trials[final.plain.name] if final.plain is not None else None,
        scores=score(winner),
        opponent_scores=None if plain is None or final.plain is None else score(plain),
        gain=gain,
        class_scores=class_scores(matrix, target.labels),
        confusion=tuple(tuple(int(v) for v in row) for row in matrix),
        layers=_layers(target, readers, settings),
        label_curve=_curve(target, source, final, settings),
        worth_a_look=notes,
        spent=_spent(readers, run, begin),
        command=command or _in_python(target),
        environment=_environment(),
    )


def _joined(parts: Sequence[FloatArray | None]) -> FloatArray | None:
    """Probabilities of all parts; None where a part has none."""
    present = [part for part in parts if part is not None]
    return softmax(np.concatenate(present)) if len(present) == len(parts) else None


@dataclass(frozen=True)
class JudgedRows:
    """The rows of all parts, one part after the other.

    `y` (n,); `groups` (n,) as the target's, None: each row stands for itself; `folds` (n,) is the part of each row, None: there is one.
    """

    y: IntArray
    groups: IntArray | None
    folds: IntArray | None


def judged_rows(target: Target, parts: Sequence[Part], judged: Sequence[Judged]) -> JudgedRows:
    """The rows on which a run was judged."""
    groups = None if target.test is not None else np.concatenate([target.groups[p.judge] for p in parts if p.judge is not None])
    folds = np.repeat(np.arange(len(judged)), [len(part.y) for part in judged]) if len(judged) > 1 else None
    return JudgedRows(np.concatenate([part.y for part in judged]), groups, folds)


def gain_of(
    ours: Sequence[FloatArray | None], theirs: Sequence[FloatArray | None], names: tuple[str, str], rows: JudgedRows, settings: Settings
) -> Gain | None:
    """The gain of one rung over another, from the logits of both part by part; None where a part has none of one of them."""
    first, second = _joined(ours), _joined(theirs)
    if first is None or second is None:
        return None
    return paired_gain(
        first,
        second,
        rows.y,
        settings.metric,
        winner=names[0],
        opponent=names[1],
        groups=rows.groups,
        folds=rows.folds,
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _judged_on(target: Target, parts: Sequence[Part]) -> str:
    if target.test is not None:
        return target.judged_on
    return "one stratified test split" if len(parts) == 1 else f"{len(parts)} outer folds"


def _summary(target: Target, reader: Reader, judged_rows: int) -> DataSummary:
    from headstart.backbone.reading import tokenize

    lengths = np.array([len(ids) for ids in tokenize(reader.backbone, target.rows.texts)])
    counts = np.bincount(target.rows.y, minlength=target.rows.n_classes)
    return DataSummary(
        name=target.examples.origin,
        rows=len(target.examples),
        used=len(target.rows),
        test_rows=judged_rows,
        labels=tuple((label, int(count)) for label, count in zip(target.labels, counts, strict=True)),
        median_tokens=int(np.median(lengths)),
        truncated_share=float((lengths >= reader.backbone.max_length).mean()),
    )


def _layers(target: Target, readers: Mapping[str, Reader], settings: Settings) -> tuple[LayerScore, ...]:
    """Leave-one-out accuracy of a light head on each layer of each source."""
    found = []
    for name, reader in readers.items():
        features = reader.pooled(target.rows.texts)
        for fit in choose_probe(features, target.rows.y, target.rows.n_classes, [], None).layer_scores:
            low, high = wilson(fit.accuracy, len(target.rows), settings.confidence)
            found.append(LayerScore(name, fit.layer, Estimate(fit.accuracy, low, high, len(target.rows), settings.confidence)))
    return tuple(found)


def _curve(target: Target, reader: Reader, final: Decision, settings: Settings) -> LabelCurve | None:
    """Score against labels for the source's frozen features and for tfidf; None where rows are too few to draw one."""
    rows = target.rows
    if len(rows) < 2 * max(8, rows.n_classes):
        return None
    layers = choose_probe(reader.pooled(rows.texts), rows.y, rows.n_classes, [], None).layers
    features = mean_of_layers(reader.pooled(rows.texts), layers)

    def predict_at(rung: str, train: IntArray, held: IntArray) -> FloatArray:
        part = rows.take(train)
        pairs = _few_folds(part.y, target.groups[train], settings.seed)
        if rung == "tfidf":
            model, _ = fit_tfidf(part, pairs, None, settings.seed)
            return softmax(model.predict_logits([rows.texts[i] for i in held]))
        head = choose_head(features[train], part.y, part.n_classes, pairs, None).head
        return softmax(head.logits(features[held]))

    return label_curve(
        predict_at,
        rows.y,
        groups=target.groups,
        rungs=["probe", "tfidf"],
        baseline="tfidf",
        metric=settings.metric,
        folds=settings.outer_folds,
        repeats=min(2, settings.outer_folds),
        confidence=settings.confidence,
        resamples=settings.resamples,
        seed=settings.seed,
    )


def _few_folds(y: IntArray, groups: IntArray, seed: int) -> list[tuple[IntArray, IntArray]]:
    """Three folds; none where no class has two separate rows."""
    try:
        return folds(y, groups, 3, seed)
    except DataError:
        return []


def _worth_a_look(target: Target, final: Decision, reader: Reader, settings: Settings) -> tuple[tuple[RowNote, ...], tuple[RowNote, ...]]:
    """Suspected wrong labels; and all rows worth a look: these, the hardest of the others, near duplicates."""
    whole = [name for name, logits in final.out_of_fold.items() if not np.isnan(logits).all(axis=1).any() or name.startswith("probe")]
    notes: list[RowNote] = []
    suspects: tuple[RowNote, ...] = ()
    if whole:
        logits = final.out_of_fold[final.winner.name if final.winner.name in whole else whole[-1]]
        seen = np.flatnonzero(~np.isnan(logits[:, 0]) & (target.origin >= 0))
        probabilities, y = softmax(logits[seen]), target.rows.y[seen]
        examples = target.examples.take(target.origin[seen])
        suspects = suspect_labels(probabilities, y, examples, target.labels)
        known = {note.row for note in suspects}
        given = probabilities[np.arange(len(y)), y]
        for i in np.argsort(given, kind="stable"):
            if len(notes) >= HARDEST or given[i] >= 0.5:
                break
            if examples.rows[i] not in known:
                k = int(probabilities[i].argmax())
                notes.append(
                    RowNote("hard", examples.rows[i], examples.texts[i], target.labels[y[i]], target.labels[k], float(probabilities[i, k]))
                )
    twins = [
        RowNote(
            "near duplicate",
            target.examples.rows[j],
            target.examples.texts[j],
            target.examples.labels[j],
            other_row=target.examples.rows[i],
        )
        for i, j in target.near_duplicates[:TWINS]
    ]
    return suspects, (*suspects, *notes, *twins)


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


def _in_python(target: Target) -> str:
    return f"headstart.fit({target.examples.origin!r})"
