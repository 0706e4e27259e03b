"""`fit()` on one page: read, check, split, decide, judge, refit, save, report.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.candidates import Means, asked_strategies, open_means, rows_that_fit, rungs_on
from headstart.cost import CostModel
from headstart.data.examples import Examples
from headstart.deciding import Failed, decide_on, judge_part, read_rows, train_winner, until_trained
from headstart.detours import (
    LEARNT_ALONE,
    Task,
    contents,
    describe_tasks,
    read_tasks,
    seconds_of_tasks,
    take_detours,
    tell,
    with_source_tasks,
)
from headstart.errors import RunError, SettingsError, SourceError
from headstart.instances.pool import Pool, read_pool
from headstart.instances.target_texts import has_no_labels, read_unlabelled
from headstart.instances.telling import tell_rows
from headstart.judge.verdict import verdict_sentence
from headstart.planner import Decision
from headstart.progress import say
from headstart.records import Finding, Severity
from headstart.rungs import trial_seconds
from headstart.runs import MODEL, Run, RunFolder, open_run, write_results
from headstart.settings import Export, Settings, as_plain
from headstart.sources.names import expand_names, refuse_own_source
from headstart.strategies.ladder import get_strategy
from headstart.strategies.outputs import Output, output_of
from headstart.strategies.pieces import TOKENS_A_CHARACTER
from headstart.target import Part, Target, data_name, parts_of, read_target
from headstart.tasks.registry import TRANSLATION, deciding_metric, require_settings_of
from headstart.taught import COLUMN, SPLITS, refusal, text_digest

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

# Settings that say where and how to talk, not what to compute: a run may go on under others.
_NOT_ASKED = {"via", "rows_from", "label_map", "out", "quiet", "dry_run", "store", "store_limit", "export", "budget", "shelf"}
# Seconds of a run that are neither trials nor training: starting, judging, saving, opening again, the report.
AROUND = 20.0


def fit(data: str | Path | Examples, settings: Settings, *, command: str = "", begin: float | None = None) -> Run:
    """Find out where to transfer from, how, and whether it helps; train, judge and save the winner.

    Args:
        data: a file or folder of labelled texts, or examples.
        settings: what was asked.
        command: the command line that asked, for the report; "" in Python.
        begin: `time.perf_counter()` when it was asked, from which the budget counts; None: now.

    Raises:
        DataError, SourceError, SettingsError, RunError, ResourceError: see `headstart.errors`.
    """
    from headstart.export.onnx import check_onnx_installed

    begin = time.perf_counter() if begin is None else begin
    settings = replace(settings, source=expand_names(settings.source))
    refuse_own_source(run_folder(data_name(data), settings), settings.source)
    if settings.export is Export.ONNX:
        check_onnx_installed()  # before hours are spent, not after
    target = read_whole(data, settings)
    settings = settings_for(target, settings)
    tasks = read_tasks(target, settings)
    require_settings_of(settings, target.task, *(task.target.task for task in tasks))
    pool = read_pool(target, settings)
    return fit_target(target, settings, tasks=tasks, pool=pool, command=command, begin=begin)


def fit_target(target: Target, settings: Settings, *, tasks: Sequence[Task], pool: Pool | None = None, command: str, begin: float) -> Run:
    """The rest of `fit`, once the data are read: source tasks are learnt by it too, each as a run of its own.

    Args:
        target: what is learnt.
        settings: what was asked, its sources one by one.
        tasks: source tasks that are learnt before.
        pool: rows of neighbouring data; None: there are none.
        command: as in `fit`.
        begin: `time.perf_counter()` at the start of the run.
    """
    from headstart.outcome import assemble
    from headstart.saving import export_model, save_winner, save_without_transfer
    from headstart.sources.adding import note_origin

    strategies = asked_strategies(settings, unlabelled=bool(target.unlabelled))
    run = RunFolder.open(run_folder(target.name, settings), asked(target, settings, tasks, pool))
    finished = None
    with suppress(RunError):  # not finished yet, or its results were damaged: then it goes on
        finished = open_run(run.path)
    if finished is not None:
        say(f"{run.path} is finished already; its results:")
        export_model(run.path / MODEL, settings)
        put_on_shelf(run.path, settings, renew=False)
        return finished
    for finding in target.findings:
        if finding.severity is not Severity.NOTE:
            say(f"  {finding.message}")
    with open_means(settings) as means:
        if pool is not None:
            means.pool = pool
            means.findings += pool.findings
        leave_out_taught(target, means)
        if any(get_strategy(name, target.task).needs_source for name in strategies):
            leave_out_unfit(target, means)
        require_same_sources(run, means)
        target = within_budget(target, settings, means, strategies, run)
        parts = parts_in_time(target, settings, means, strategies, run)
        write_splits(run.path, target, parts, pool)
        warn_of_budget(target, parts, settings, means, strategies, seconds_of_tasks(tasks, settings, means))
        opened = time.perf_counter() - begin
        detours = take_detours(tasks, settings, run, means, partial(learn_first, command))
        if detours:
            require_same_sources(run, means)
        before = time.perf_counter()
        read_rows(target, settings, means, strategies)
        spent = opened + sum(detour.seconds for detour in detours) + time.perf_counter() - before
        a_row = seconds_a_row(target, parts, settings, as_at_first(run, means, spent))
        judged = [judge_part(part, target, settings, run, means, strategies, a_row * len(part.learn)) for part in parts]
        if target.test is not None and judged[0].fitted is not None:
            final, model = judged[0].decision, judged[0].fitted
        else:
            every, label = np.arange(len(target.rows)), parts[0].name if target.test is not None else "all rows"

            def decide_anew(failed: Failed) -> Decision:
                if target.test is not None and not failed:
                    return judged[0].decision  # what was judged is what is saved, also in a run that goes on
                return decide_on(target, every, label, settings, run, means, strategies, a_row * len(every), failed=failed)

            final, model = until_trained(decide_anew, lambda decision: (decision, train_winner(decision)))
        results = assemble(target, settings, parts, judged, final, model, means.readers, means.findings, run, command, begin)
        if detours:
            told = tell(detours, target, settings, parts, judged, final, model)
            results = replace(results, detour=told, spent=with_source_tasks(results.spent, detours))
        if pool is not None:
            results = replace(results, rows=tell_rows(pool, target, settings, parts, judged, final, next(iter(means.readers.values()))))
        save_winner(run.path / MODEL, model, target, results, adapter=settings.adapter)
        save_without_transfer(run.path, final, target, results)
        if results.winner.transfers and results.winner.source is not None:
            note_origin(run, means.readers[results.winner.source].backbone.source)
    write_results(run.path, results)
    export_model(run.path / MODEL, settings)
    put_on_shelf(run.path, settings, renew=True)
    return Run(run.path, results)


def learn_first(command: str, target: Target, settings: Settings) -> Run:
    """The whole run of a source task."""
    run = fit_target(target, settings, tasks=(), command=command, begin=time.perf_counter())
    say(verdict_sentence(run.results))
    return run


def plan(data: str | Path | Examples, settings: Settings) -> str:
    """What `fit` would do: trials, predicted seconds, memory and disk; the same errors as `fit`."""
    from headstart.plan import describe_plan

    settings = replace(settings, source=expand_names(settings.source))
    refuse_own_source(run_folder(data_name(data), settings), settings.source)
    target = read_whole(data, settings)
    settings = settings_for(target, settings)
    tasks = read_tasks(target, settings)
    require_settings_of(settings, target.task, *(task.target.task for task in tasks))
    strategies = asked_strategies(settings, unlabelled=bool(target.unlabelled))
    with open_means(settings) as means:
        means.pool = read_pool(target, settings)
        target = within_budget(target, settings, means, strategies)
        parts = parts_in_time(target, settings, means, strategies)
        rungs = rungs_on(target, parts[0].learn, settings, means, strategies)
        first = seconds_of_tasks(tasks, settings, means)
        warn_of_budget(target, parts, settings, means, strategies, first)
        share = seconds_a_row(target, parts, settings, first) * len(parts[0].learn)
        described = describe_plan(target, parts, rungs, means.cost, settings, share)
    return "\n".join(filter(None, [described, describe_tasks(tasks)]))


# --- what was asked ---


def read_whole(data: str | Path | Examples, settings: Settings) -> Target:
    """The target; where it has no labels and rows of neighbouring data are given, these in its place and its texts beside them."""
    if settings.rows_from and has_no_labels(data, settings):
        return read_unlabelled(data, settings)
    return read_target(data, settings)


def settings_for(target: Target, settings: Settings) -> Settings:
    """The settings with the task that the data turned out to be of, checked against it.

    Raises:
        SettingsError: a strategy or a metric that the task does not have, or what is not to be had for it.
    """
    settings = replace(settings, task=target.task)
    asked_strategies(settings, unlabelled=bool(target.unlabelled))
    deciding_metric(settings)
    texts = output_of(target.rows.y) is Output.TEXT
    if settings.export is not Export.NONE and texts:
        raise SettingsError(f"--export is not there for the task {target.task}. Leave it out.")
    if settings.via and target.task in LEARNT_ALONE:
        raise SettingsError(
            f"--via is not there for the task {target.task}; learn the source task by itself, and name its run with --source."
        )
    return settings


def run_folder(name: str, settings: Settings) -> Path:
    """Where the run on the data of this name lives."""
    return Path(settings.out) if settings.out else Path("runs") / name


def asked(target: Target, settings: Settings, tasks: Sequence[Task] = (), pool: Pool | None = None) -> dict[str, object]:
    """Everything that decides what the run computes, for run.yaml."""
    import torch
    import transformers

    from headstart import __version__

    plain = {name: value for name, value in as_plain(settings).items() if name not in _NOT_ASKED}
    versions = {"headstart": __version__, "torch": str(torch.__version__), "transformers": str(transformers.__version__)}
    columns = {"text": target.examples.text_column, "label": target.examples.label_column}
    via: dict[str, object] = {"via": contents(tasks)} if tasks else {}
    via |= {} if pool is None else {"rows_from": pool.content()}
    return {"data": target.examples.origin, "columns": columns, "content": target.content(), **via, "settings": plain, "versions": versions}


def leave_out_taught(target: Target, means: Means) -> None:
    """Leave out the sources that earlier learnt from the target's own rows, test rows among them.

    Raises:
        SourceError: there is no other source.
    """
    parts = target.parts_taught()
    for name, reader in list(means.readers.items()):
        why = refusal(reader.backbone.source, *parts)
        if not why:
            continue
        if len(means.readers) == 1:
            raise SourceError(why)
        del means.readers[name]
        means.findings.append(Finding("source left out", Severity.WARNING, why, count=1))
        say(f"  {why}")


def leave_out_unfit(target: Target, means: Means) -> None:
    """Leave out the sources that no model of the task can be made of, before any is trained.

    Raises:
        SourceError: there is no other source.
    """
    for name, reader in list(means.readers.items()):
        try:
            _require_fit(target, reader)
        except SourceError as error:
            if len(means.readers) == 1:
                raise
            del means.readers[name]
            means.findings.append(Finding("source left out", Severity.WARNING, str(error), count=1))
            say(f"  {error}")


def _require_fit(target: Target, reader: Reader) -> None:
    """Raise where the source's architecture has no stock class that could hold the model, or cannot write, or refuses a chat.

    Raises:
        SourceError: that is so.
    """
    backbone, task = reader.backbone, target.task
    if task in ("ner", "qa"):
        from headstart.export.token_folder import ANSWERS, WORDS, require_token_class

        require_token_class(backbone.module, backbone.source.name, WORDS if task == "ner" else ANSWERS)
    elif task == "generation":
        from headstart.strategies.language import output_layer
        from headstart.strategies.prompts import end_of, require_readable

        output_layer(backbone)
        end_of(backbone.tokenizer, backbone.source.name)
        for rows in filter(None, (target.rows, target.test)):
            require_readable(backbone.tokenizer, rows.texts, rows.y.tolist())
    elif task == TRANSLATION:
        from headstart.strategies.translation_start import require_translator

        require_translator(backbone)


def require_same_sources(run: RunFolder, means: Means) -> None:
    """A run that goes on must go on with the sources that it began with: their weights, and how texts become numbers with them.

    Raises:
        RunError: a source's files have changed since.
    """
    weights = {name: reader.backbone.prefix[-1].hex() for name, reader in means.readers.items()}
    # What the store keeps the last layer under: tokenizer and pooling count in it too.
    spaces = {name: reader.space("pooled", reader.backbone.n_blocks).hex() for name, reader in means.readers.items()}
    key = "sources by detours" if means.detour_of else "sources"
    began = run.remember(key, lambda: {"weights": weights, "spaces": spaces, "seconds": 0.0})
    known = began.get("spaces", {})  # a journal of before there were such names holds the weights alone
    for name in means.readers:
        if began["weights"].get(name, weights[name]) != weights[name] or known.get(name, spaces[name]) != spaces[name]:
            raise RunError(
                f"The source {name!r} has changed since the run in {str(run.path)!r} began; put it back, or name another folder with --out."
            )


def as_at_first(run: RunFolder, means: Means, spent: float) -> float:
    """The seconds that were spent before the first decision when the run began, and this machine's speed then, in `means`: what is read
    again from the store takes no time, and a run that goes on must decide as it would have."""
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
    asked = "" if takes.endswith("memory") else f" of the {settings.budget:,.0f} s there are"
    why = f"Of {len(target.rows):,} rows some {fit:,} are learnt from, drawn by label: reading all would take {takes}{asked}."
    say(f"  {why}" + ("" if takes.endswith("memory") else " Give a longer --budget for more."))
    return target.some(fit, why, settings)


def seconds_a_row(target: Target, parts: list[Part], settings: Settings, spent: float) -> float:
    """Seconds for each decision with the trainings that follow it, a row: the budget, less what runs around it.

    By rows, so that a rung which fits into the share of an outer fold fits into that of the last decision, on all rows, too.
    """
    rows = sum(len(part.learn) for part in parts) + (0 if parts[0].judge is None else len(target.rows))
    return max(0.0, settings.budget - spent - AROUND) / max(rows, 1)


def parts_in_time(target: Target, settings: Settings, means: Means, strategies: list[str], run: RunFolder | None = None) -> list[Part]:
    """How the run is judged; on one split in place of outer folds where not even the cheapest rung could be trained for each of these, and
    the split takes less.

    `run` remembers which it was; None: nothing does.
    """
    parts = parts_of(target, settings)
    if len(parts) == 1:
        return parts
    cheapest, needed = _least_needed(target, parts, settings, means, strategies)
    split = parts_of(target, replace(settings, few_rows=0))
    in_time = needed - AROUND <= settings.budget or _least_needed(target, split, settings, means, strategies)[1] >= needed
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
    return cheapest.name, AROUND + 2 * sum(trainings)  # each with a trial as long


def warn_of_budget(target: Target, parts: list[Part], settings: Settings, means: Means, strategies: list[str], first: float) -> None:
    """Say at the start when even the cheapest rung needs more than the budget; `first`: seconds of the source tasks before."""
    cheapest, alone = _least_needed(target, parts, settings, means, strategies)
    needed = first + alone
    if needed > settings.budget:
        asked = f"The budget of {settings.budget:,.0f} s is too short"
        before = f", {first:,.0f} s of them for what is learnt before (--via)" if first else ""
        say(f"{asked}: even the cheapest rung, {cheapest}, needs about {needed:,.0f} s in all{before}.")
    if target.task == "qa" and target.test is not None:
        characters = sum(map(len, target.test.texts))
        weights = min(reader.backbone.block_parameters for reader in means.readers.values()) if means.readers else 0
        seconds = means.cost.reading(characters * TOKENS_A_CHARACTER, weights)
        if seconds > settings.budget / 2:
            say(f"Answering the {len(target.test):,} questions of the test file reads {characters:,} characters: about {seconds:,.0f} s.")


def write_splits(folder: Path, target: Target, parts: list[Part], pool: Pool | None = None) -> None:
    """splits.parquet: of every training row number in the file, label, group, the part that judges it ("" for none), the text's digest.

    Rows of neighbouring data stand there too, each in the group -1, for what is trained may have been taught them.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headstart.runs import whole_file

    judge = np.full(len(target.rows), "", dtype=object)
    for part in parts:
        if part.judge is not None:
            judge[part.judge] = part.name
    numbers = [target.examples.rows[i] if i >= 0 else -1 for i in target.origin]
    labels, digests = target.labels_of(target.rows), [text_digest(text) for text in target.taught_by(target.rows)]
    groups = target.groups.tolist()
    if pool is not None:
        numbers += pool.numbers.tolist()
        labels += [target.labels[k] for k in pool.y]
        groups += [-1] * len(pool)
        digests += [text_digest(text) for text in pool.texts]
    judged_by = [*judge, *([""] * (len(numbers) - len(judge)))]
    columns = {"row": numbers, "label": labels, "group": groups, "judged_by": judged_by, COLUMN: digests}
    table = pa.table(columns)
    with whole_file(folder / SPLITS) as temporary:
        pq.write_table(table, temporary)


def put_on_shelf(run: Path, settings: Settings, *, renew: bool) -> None:
    """Make the finished run a source for the next, unless `shelf` is off. `renew`: also where it stands there already."""
    from headstart.shelving import shelve_run

    line = shelve_run(run, renew=renew) if settings.shelf else ""
    if line:
        say(line)
