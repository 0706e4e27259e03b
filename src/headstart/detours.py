"""Detours: a source task is learnt first, and the target goes on from the weights that it leaves.

Training on an intermediate task may help or harm (Phang et al. 2018, arXiv 1811.01088; Vu et al. 2020, arXiv 2005.00770), so the direct way
always stays beside it, and each detour comes in two strengths: the weights as the source task left them, and half way back to where they
began (weights averaged as in Wortsman et al. 2022, arXiv 2109.01903).

Letters in shapes: n rows, m rows of the source task.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.candidates import Means, folder_name, goes_by_detours, rungs_on
from headstart.checking import check_data
from headstart.data.examples import IntArray
from headstart.data.read import read_examples
from headstart.data.split import test_split
from headstart.data.table import STANDARD_INPUT
from headstart.errors import DataError, SettingsError, SourceError
from headstart.neighbouring import NO_SOURCE_TASK, apart_from, columns_like, said_of, same_file
from headstart.progress import say
from headstart.records import Detour, Estimate, Finding, Severity, SourceTask, Spent, names_by
from headstart.rungs import Rung, trial_seconds
from headstart.runs import MODEL, Run, RunFolder
from headstart.settings import Export, Metric, Settings
from headstart.strategies.base import FloatArray, Rows, Trained
from headstart.strategies.ladder import get_strategy
from headstart.target import Part, Target, counting_source, data_name, make_target
from headstart.tasks.registry import get_task, recognise_task

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone
    from headstart.backbone.reading import Reader
    from headstart.deciding import Judged
    from headstart.planner import Decision
    from headstart.strategies.model import TransferModel
    from headstart.strategies.spans import SpanModel
    from headstart.strategies.word_model import WordModel

FOLDER = "via"
SET_ASIDE = "rows set aside"
_STRATEGY = "partial"  # how a source task is learnt: as good as `contrastive` and `full` in less time (docs/log.md)
_BACK = 0.5  # of the way back to the source's own weights goes the weaker variant
_SHARE = 0.4  # of the budget goes to all source tasks together at most
_AROUND = 20.0  # seconds of a source task that are not training: judging, saving, opening again
_CAUTION = 2.0  # what is predicted before anything was measured may be so much too little
_MOST_HELD = 1000  # rows of a source task that are set aside at most
_FEWEST_A_CLASS = 16  # rows a class that are learnt from whatever the budget says
# Tasks whose models are another half than a backbone's: what they learnt goes on whole (`--source RUN`), or not at all.
LEARNT_ALONE = ("generation", "translation")


@dataclass(frozen=True)
class Task:
    """A source task, ready to be learnt.

    `target` holds its rows, with those set aside as its test rows. `left_out` rows of the file say nearly the same as rows of the target.
    """

    name: str
    target: Target
    left_out: int


Way = tuple[Task, str]
"""A source task, and the source that it is learnt from, by its name."""


@dataclass(frozen=True)
class Taken:
    """A source task that was learnt from one source.

    `source` is the reader it began with; `variants` are the readers of the weights that came of it. `run` is its own run, in the folder
    `place` within the target's. `seconds` it took over all processes that worked on it.
    """

    task: Task
    source: str
    variants: tuple[str, ...]
    run: Run
    place: str
    seconds: float


# --- reading ---


def read_tasks(target: Target, settings: Settings) -> list[Task]:
    """The source tasks that were asked for, read and checked, without any row that the target has too.

    Raises:
        DataError: a file cannot be read or learnt from, or is one of the target's own; the message names it.
        SettingsError: no rung was asked for that could make use of a source task.
    """
    if settings.via and not any(goes_by_detours(get_strategy(name, target.task)) for name in settings.strategy or (_STRATEGY,)):
        asked = ", ".join(settings.strategy)
        raise SettingsError(
            f"--via is given, and none of the rungs asked for ({asked}) goes on from what a source task leaves; add one with --strategy."
        )
    names = task_names(settings.via)
    return [read_task(path, name, target, settings) for path, name in names.items()]


def require_detours(settings: Settings) -> None:
    """Refuse source tasks for a task whose models cannot go on from what they leave.

    Raises:
        SettingsError: there are some.
    """
    if settings.via and settings.task in LEARNT_ALONE:
        raise SettingsError(
            f"--via is not there for the task {settings.task}; learn the source task by itself, and name its run with --source."
        )


def task_names(paths: Iterable[str]) -> dict[str, str]:
    """A source task's name by its path, each file once, by the first of its names."""
    distinct: list[str] = []
    for path in paths:
        if not any(same_file(path, other) for other in distinct):
            distinct.append(path)
    return dict(zip(distinct, _folder_names(map(data_name, distinct)), strict=True))


def _folder_names(names: Iterable[str]) -> list[str]:
    """A folder's name for each of these, no two of which a disk could take for one: some do not tell case apart."""
    given: list[str] = []
    for name in map(folder_name, names):
        taken = {other.casefold() for other in given}
        free = (name, *(f"{name}-{k}" for k in range(2, len(taken) + 3)))
        given.append(next(each for each in free if each.casefold() not in taken))
    return given


def read_task(path: str, name: str, target: Target, settings: Settings) -> Task:
    """One source task; the same errors as `read_tasks`."""
    for what, file in (("data", target.examples.origin), ("test file", settings.test), ("validation file", settings.validation)):
        if file is not None and same_file(path, file):
            raise DataError(f"--via names {path!r}, which is the {what} of the target itself; name the data of another task.")
    if path == STANDARD_INPUT:
        raise DataError(f"--via is {path!r}; the data of a source task must be a file, a folder or hub:NAME.")
    try:
        text, label = columns_like(path, target.examples, settings)
        examples = read_examples(path, text=text, label=label).examples
        kind, _ = recognise_task(examples)
        if kind.name in LEARNT_ALONE:
            raise DataError(NO_SOURCE_TASK.format(kind.name))
        kept = apart_from(examples, target, kind.prepare(examples, None).examples.texts)
        if not len(kept):
            raise DataError(f"all of its {len(examples):,} rows say nearly the same as rows of {target.examples.origin!r}.")
        checked = check_data(
            kept,
            text=None,
            label=None,
            test=None,
            validation=None,
            source=counting_source(settings.source),
            max_length=settings.max_length,
            task=kind.name,
        )
        checked.result.require_usable()
        whole = make_target(checked, name=name, test=None, validation=None)
        learn, held = test_split(whole.rows.strata, whole.groups, min(settings.test_share, _MOST_HELD / len(whole.rows)), settings.seed)
    except DataError as error:
        raise DataError(f"The source task {path!r} (--via) cannot be learnt: {said_of(error, target.examples, settings)}") from None
    left_out = len(examples) - len(kept)
    own = replace(
        _some(whole, learn),
        test=whole.rows.take(held),
        test_groups=whole.groups[held],
        test_numbers=tuple(kept.rows[i] for i in whole.origin[held]),
        judged_on=SET_ASIDE,
        findings=(*whole.findings, *_left_out_finding(path, left_out)),
    )
    return Task(name, own, left_out)


def _left_out_finding(path: str, count: int) -> list[Finding]:
    if not count:
        return []
    have, they = ("1 row", "it is") if count == 1 else (f"{count:,} rows", "they are")
    says = "says" if count == 1 else "say"
    message = f"{have} of the source task {path!r} {says} nearly the same as rows of the target; {they} not learnt from."
    return [Finding("source task rows left out", Severity.NOTE, message, count=count)]


def _some(target: Target, positions: IntArray) -> Target:
    """The same task with some of its training rows, every class among them."""
    return replace(target, rows=target.rows.take(positions), groups=target.groups[positions], origin=target.origin[positions])


def describe_tasks(tasks: Sequence[Task]) -> str:
    """For the plan: what is learnt first; "" where nothing is."""
    if not tasks:
        return ""
    told = "; ".join(
        f"{task.name}, {len(task.target.rows):,} rows at most, {len(task.target.test or ()):,} set aside, {task.left_out:,} left out"
        for task in tasks
    )
    return (
        f"first the source task{'s' if len(tasks) > 1 else ''} ({told}), within {100 * _SHARE:.0f} % of the budget; then every rung that "
        "transfers is also tried from the weights as they were left, and from half way back"
    )


def contents(tasks: Sequence[Task]) -> dict[str, str]:
    """A digest of every source task's rows by its name, for run.yaml."""
    return {task.name: hashlib.blake2b(f"{task.target.content()} {task.left_out}".encode(), digest_size=16).hexdigest() for task in tasks}


# --- learning ---


def possible_ways(tasks: Sequence[Task], means: Means, unfit: Callable[[Target, Reader], str]) -> list[Way]:
    """Every source task from every source that can learn it, told before any is learnt; what cannot is said, and noted in `means`.

    Args:
        tasks: the source tasks.
        means: the sources.
        unfit: why a source cannot learn a task, in a sentence; "" where it can.

    Raises:
        SourceError: there are source tasks, and no source can learn any.
    """
    found = [((task, source), unfit(task.target, reader)) for task in tasks for source, reader in means.readers.items()]
    ways = [way for way, why in found if not why]
    if found and not ways:
        raise SourceError(_not_learnt(*found[-1]))
    for way, why in found:
        if why:
            _leave_out(way, why, means)
    return ways


def _not_learnt(way: Way, why: str) -> str:
    task, source = way
    return f"The source task {task.name!r} (--via) is not learnt from {source!r}. {why}"


def _leave_out(way: Way, why: str, means: Means) -> None:
    message = _not_learnt(way, why)
    means.findings.append(Finding("source task left out", Severity.WARNING, message, count=1))
    say(f"  {message}")


def take_detours(
    ways: Sequence[Way], settings: Settings, run: RunFolder, means: Means, learn: Callable[[Target, Settings], Run]
) -> list[Taken]:
    """Learn source tasks from sources, and open the weights that come of it as further sources among `means`.

    Args:
        ways: each source task with a source (`possible_ways`).
        settings: of the target's run.
        run: the target's; each source task is a run of its own in a folder of it, which goes on where it was.
        means: gets the readers and what was left out.
        learn: makes a whole run of a task.

    Raises:
        SourceError: not one source task could be learnt; of several ways one that turns out not to go is left out.
    """
    direct = list(means.readers)
    taken: list[Taken] = []
    folders = dict(zip(direct, _folder_names(direct), strict=True))
    for task in {task.name: task for task, _ in ways}.values():
        means.findings += _left_out_finding(task.target.examples.origin, task.left_out)
    for at, (task, source) in enumerate(ways, start=1):
        place = f"{FOLDER}/{task.name}" if len(direct) == 1 else f"{FOLDER}/{task.name} from {folders[source]}"
        own = _stage_settings(settings, task, source, run.path / place)
        try:
            taken.append(_take(task, source, place, own, run, means, learn, _seconds_at_most(settings, ways)))
        except SourceError as error:
            if at == len(ways) and not taken:
                raise
            _leave_out((task, source), str(error), means)
    return taken


def _take(
    task: Task,
    source: str,
    place: str,
    settings: Settings,
    run: RunFolder,
    means: Means,
    learn: Callable[[Target, Settings], Run],
    seconds: float,
) -> Taken:
    """Learn one source task from one source in the folder `place` of the run, and add the readers of what comes of it to `means`.

    `seconds`: what it should take at most.
    """
    from headstart.backbone.reading import Reader

    reader = means.readers[source]
    # Kept in the journal, for it follows from the machine's speed, which is never measured twice the same.
    rows = run.remember(f"{place}/rows", lambda: {"rows": _affordable(task, settings, means, source, seconds), "seconds": 0.0})["rows"]
    target = _first_rows(task.target, rows, settings.seed)
    left = f", {task.left_out:,} left out" if task.left_out else ""
    say(f"the source task {task.name} first: {len(target.rows):,} rows{left}")
    stage = learn(target, settings)
    took = run.remember(f"{place}/learnt", lambda: {"seconds": sum(stage.results.spent.seconds.values())})["seconds"]
    variants = open_variants(reader.backbone, stage.folder, task.name, settings.max_length)
    for back, backbone in variants.items():
        means.readers[backbone.source.name] = Reader(backbone, reader.store, reader.batch_tokens)
        means.detour_of[backbone.source.name] = place, back
    return Taken(replace(task, target=target), source, tuple(backbone.source.name for backbone in variants.values()), stage, place, took)


def _stage_settings(settings: Settings, task: Task, source: str, out: Path) -> Settings:
    """Settings of the run of a source task: one source, one way of learning, no question beside; its own kind of task and metric."""
    kind = get_task(task.target.task)
    return replace(
        settings,
        task=kind.name,
        metric=settings.metric if settings.metric in kind.metrics else None,
        via=(),
        source=(source,) if settings.source else (),
        strategy=(_STRATEGY,),
        text=None,
        label=None,
        test=None,
        validation=None,
        out=str(out),
        export=Export.NONE,
        outer_folds=2,  # its rows set aside judge it; these folds only draw its label curve
    )


def _seconds_at_most(settings: Settings, ways: Sequence[Way]) -> float:
    """What one source task should take from one source at most."""
    return settings.budget * _SHARE / len(ways)


def _rung(task: Task, settings: Settings, means: Means, source: str) -> Rung:
    """How a source task is learnt from a source, on all its rows."""
    alone = Means({source: means.readers[source]}, means.cost, [])
    [rung] = rungs_on(task.target, np.arange(len(task.target.rows)), settings, alone, [_STRATEGY])
    return rung


def _affordable(task: Task, settings: Settings, means: Means, source: str, seconds: float) -> int:
    """How many rows of a source task can be learnt from within so many seconds."""
    rows = len(task.target.rows)
    takes = _CAUTION * trial_seconds(_rung(task, settings, means, source), means.cost)
    within = rows * max(0.0, seconds - _AROUND) / max(takes, 1e-9)
    return min(rows, max(_FEWEST_A_CLASS * task.target.rows.n_classes, int(within)))


def seconds_of_tasks(ways: Sequence[Way], settings: Settings, means: Means) -> float:
    """Predicted seconds until the source tasks are learnt, each way with as many rows as its share of the budget allows."""
    total = 0.0
    for task, source in ways:
        own = _stage_settings(settings, task, source, Path())
        rows = _affordable(task, own, means, source, _seconds_at_most(settings, ways))
        total += _AROUND + trial_seconds(_rung(task, own, means, source), means.cost, rows / len(task.target.rows))
    return total


def _first_rows(target: Target, count: int, seed: int) -> Target:
    """About `count` rows of a task, its classes as frequent as before."""
    if count >= len(target.rows):
        return target
    kept, _ = test_split(target.rows.strata, target.groups, 1 - count / len(target.rows), seed)
    return _some(target, kept)


def open_variants(direct: Backbone, stage: Path, task: str, max_length: int) -> dict[float, Backbone]:
    """The backbone that the run in the folder `stage` left, and the one half way back to `direct`, by how far back they are and under names
    that say so."""
    from headstart.backbone.backbone import load_backbone
    from headstart.sources.resolve import resolve_source

    through, half = names_by(direct.source.name, task)
    whole = load_backbone(resolve_source(str(stage)), max_length, pairs=direct.pairs)
    whole = replace(whole, source=replace(whole.source, name=through))
    return {0.0: whole, _BACK: between(direct, whole, _BACK, half)}


def between(direct: Backbone, whole: Backbone, back: float, name: str) -> Backbone:
    """The backbone of the weights w1 + back (w0 - w1), w0 those of `direct` and w1 those of `whole`, back in [0, 1]."""
    import torch

    from headstart.backbone.backbone import names_above, prefix_digests

    module = copy.deepcopy(whole.module)
    before = dict(direct.module.named_parameters())
    with torch.no_grad():
        for path, weight in module.named_parameters():
            if path in before:  # else a pooler, which is never used
                weight.lerp_(before[path], back)
    return replace(whole, source=replace(whole.source, name=name), module=module, prefix=prefix_digests(module), above=names_above(module))


# --- telling ---


def tell(
    taken: Sequence[Taken],
    target: Target,
    settings: Settings,
    parts: Sequence[Part],
    judged: Sequence[Judged],
    final: Decision,
    model: Trained,
) -> Detour:
    """What the detours gained, and what is left of the source task.

    Args:
        taken: the source tasks that were learnt, one at least.
        target: the data.
        settings: of the target's run.
        parts: how the run was judged, and `judged` what that gave.
        final: the decision on all rows, and `model` its winner, trained.
    """
    from headstart.outcome import gain_of, judged_rows  # here, for it and the next bring torch along
    from headstart.strategies.model import TransferModel
    from headstart.strategies.spans import SpanModel
    from headstart.strategies.word_model import WordModel

    gain, best = None, None
    if final.via is not None:
        best = next(one for one in taken if final.via.source in one.variants)
        if final.direct is not None:
            rows = judged_rows(target, parts, judged)
            via, direct = [part.via for part in judged], [part.direct for part in judged]
            gain = gain_of(via, direct, (final.via.name, final.direct.name), rows, settings)
    before = after = None
    went = next((one for one in taken if final.winner.source in one.variants), None)
    if went is not None and isinstance(model, TransferModel | WordModel | SpanModel):
        before, after = _score_of(went), _score_after(went, model, settings)
    tasks = tuple(
        SourceTask(
            name=one.task.name,
            data=one.task.target.examples.origin,
            source=one.source,
            run=one.place,
            rows=len(one.task.target.rows),
            left_out=one.task.left_out,
            score=_score_of(one),
            metric=one.run.results.metric,
        )
        for one in taken
    )
    return Detour(tasks=tasks, task=best.task.name if best else "", gain=gain, before=before, after=after)


def with_source_tasks(spent: Spent, taken: Sequence[Taken]) -> Spent:
    """What the run cost, the seconds of the source tasks apart from those of its own trials."""
    seconds = sum(one.seconds for one in taken)
    stages = {**spent.seconds, "trials and training": spent.seconds["trials and training"] - seconds}
    return replace(spent, seconds={"source tasks": seconds, **stages})


def _score_of(taken: Taken) -> Estimate:
    """What the source task's run has on its rows that were set aside, in its own deciding metric."""
    results = taken.run.results
    return results.scores[results.metric]


def _score_after(went: Taken, model: TransferModel | WordModel | SpanModel, settings: Settings) -> Estimate:
    """The score on the rows of the source task that were set aside: its own head on the backbone that the target's training left."""
    backbone = model.module if model.module is not None else model.reader.backbone.module
    target = went.task.target
    held = target.test
    assert held is not None  # every source task has rows set aside
    judge, metric = get_task(target.task).judge, Metric(went.run.results.metric)
    outputs = _said_after(went.run.folder / MODEL, target.task, held, backbone)
    return judge.estimate(metric, outputs, held, None, settings)


def _said_after(place: Path, task: str, held: Rows, backbone: Any) -> FloatArray:
    """What the saved model of a task says of rows with another backbone's weights in place of its own, as its judge takes it."""
    if task == "qa":
        from headstart.loaded_answers import Finder
        from headstart.strategies.spans import said_by

        finder = Finder(place)
        finder.model.base_model.load_state_dict(backbone.state_dict(), strict=False)
        return said_by(finder.spans(held.texts), held, finder.may_abstain).outputs
    from headstart.loaded import Classifier, Tagger

    opened = Classifier(place) if held.sizes is None else Tagger(place)
    own = opened.model.backbone if isinstance(opened, Classifier) else opened.model.base_model
    own.load_state_dict(backbone.state_dict(), strict=False)  # a pooler may be on one side alone
    return opened.predict_logits(held.texts)
