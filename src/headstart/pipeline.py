"""`fit()` on one page: read, check, split, decide, judge, refit, save, report.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.budget import (
    as_at_first,
    notice_speed,
    parts_in_time,
    pool_within_budget,
    seconds_a_row,
    seconds_to_judge,
    seconds_to_read,
    warn_of_budget,
    within_budget,
)
from headstart.candidates import Means, asked_strategies, open_means, rungs_on, texts_beside
from headstart.data.examples import Examples
from headstart.deciding import Failed, calibrating, decide_on, judge_part, read_rows, train_winner, until_trained
from headstart.detours import (
    Task,
    contents,
    describe_tasks,
    possible_ways,
    read_tasks,
    require_detours,
    seconds_of_tasks,
    take_detours,
    tell,
    with_source_tasks,
)
from headstart.environment import expand_home
from headstart.errors import RunError, SettingsError, SourceError
from headstart.instances.pool import Pool, read_pool
from headstart.instances.target_texts import has_no_labels, read_unlabelled
from headstart.instances.telling import tell_rows
from headstart.judge.verdict import verdict_sentence
from headstart.planner import Decision
from headstart.progress import say
from headstart.records import Finding, Severity
from headstart.runs import MODEL, UNFINISHED, Run, RunFolder, open_run, write_results
from headstart.settings import Export, Settings, as_plain
from headstart.sources.names import expand_names, refuse_own_source
from headstart.sources.shelf import shelf_folder
from headstart.strategies.ladder import get_strategy
from headstart.strategies.outputs import Output, output_of
from headstart.target import Part, Target, data_name, read_target
from headstart.tasks.registry import TRANSLATION, deciding_metric, require_settings_of
from headstart.taught import COLUMN, SPLITS, refusal, remark, text_digest

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

# Settings that say where and how to talk, not what to compute: a run may go on under others.
_NOT_ASKED = {"via", "rows_from", "label_map", "out", "quiet", "dry_run", "store", "store_limit", "export", "budget", "shelf"}


def fit(data: str | Path | Examples, settings: Settings, *, command: str = "", begin: float | None = None) -> Run:
    """Find out where to transfer from, how, and whether it helps; train, judge and save the winner.

    Args:
        data: a file or folder of labelled texts, or examples.
        settings: what was asked.
        command: what asked, for the report: a command line, or a call in Python.
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
    if settings.shelf:
        shelf_folder()  # likewise: the run is to stand there at its end
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
    from headstart.outcome import assemble, seconds_for_curves, shown_with
    from headstart.saving import export_model, save_winner, save_without_transfer, stands
    from headstart.sources.adding import note_origin

    strategies = asked_strategies(settings, unlabelled=bool(target.unlabelled))
    run = RunFolder.open(run_folder(target.name, settings), asked(target, settings, tasks, pool))
    finished = None
    with suppress(RunError):  # not finished yet, or its results were damaged: then it goes on
        finished = open_run(run.path)
    if finished is not None and not stands(run.path / MODEL):
        say(f"the model of {run.path} is gone or damaged; it is made anew")
        finished = None
    if finished is not None:
        say(f"{run.path} is finished already; its results:")
        shutil.rmtree(run.path / UNFINISHED, ignore_errors=True)  # a kill may have left it
        put_on_shelf(run.path, settings, renew=False)
        export_model(run.path / MODEL, settings)
        return finished
    for finding in target.findings:
        if finding.severity is not Severity.NOTE:
            say(f"  {finding.message}")
    with open_means(settings) as means:
        means.pool = pool
        leave_out_useless(target, means, strategies)
        require_same_sources(run, means)
        target = within_budget(target, settings, means, strategies, run)
        pool = means.pool = pool_within_budget(target, settings, means, run)
        if pool is not None:
            means.findings += pool.findings
        ways = possible_ways(tasks, means, unfit_for)
        before = seconds_of_tasks(ways, settings, means)
        parts = parts_in_time(target, settings, means, strategies, before, run)
        write_splits(run.path, target, parts, pool)
        warn_of_budget(target, parts, settings, means, strategies, before)
        opened = time.perf_counter() - begin
        detours = take_detours(ways, settings, run, means, partial(learn_first, command))
        if detours:
            require_same_sources(run, means)
        begun = time.perf_counter()
        foretold = read_rows(target, settings, means, strategies)
        reading = time.perf_counter() - begun
        notice_speed(means, foretold, reading)
        spent = opened + sum(detour.seconds for detour in detours) + reading
        a_row = seconds_a_row(target, parts, settings, as_at_first(run, means, spent + seconds_to_judge(target, parts, means)))
        judged = [judge_part(part, target, settings, run, means, strategies, a_row * len(part.learn)) for part in parts]
        if target.test is not None and judged[0].fitted is not None:
            final, model = judged[0].decision, judged[0].fitted
        else:
            every, label = np.arange(len(target.rows)), parts[0].name if target.test is not None else "all rows"

            def decide_anew(failed: Failed) -> Decision:
                if target.test is not None and not failed:
                    return judged[0].decision  # what was judged is what is saved, also in a run that goes on
                return decide_on(target, every, label, settings, run, means, strategies, a_row * len(every), failed=failed)

            calibrate = calibrating(run, label, a_row * len(every), means.cost)
            final, model = until_trained(decide_anew, lambda decision: (decision, train_winner(decision, calibrate)))
        results = assemble(target, settings, parts, judged, final, model, means.readers, means.findings, run, command, begin)
        if detours:
            told = tell(detours, target, settings, parts, judged, final, model)
            results = replace(results, detour=told, spent=with_source_tasks(results.spent, detours))
        if pool is not None:
            seconds = seconds_for_curves("curves of neighbouring rows", settings, run, begin)
            rows = tell_rows(pool, target, settings, parts, judged, final, shown_with(final, means.readers), seconds)
            results = replace(results, rows=rows)
        save_winner(run.path / MODEL, model, target, results, adapter=settings.adapter)
        save_without_transfer(run.path, final, target, results)
        if results.winner.transfers and results.winner.source is not None:
            note_origin(run, means.readers[results.winner.source].backbone.source)
    write_results(run.path, results)
    shutil.rmtree(run.path / UNFINISHED, ignore_errors=True)
    put_on_shelf(run.path, settings, renew=True)
    export_model(run.path / MODEL, settings)
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
        leave_out_useless(target, means, strategies)
        target = within_budget(target, settings, means, strategies)
        means.pool = pool_within_budget(target, settings, means)
        before = seconds_of_tasks(possible_ways(tasks, means, unfit_for), settings, means)
        parts = parts_in_time(target, settings, means, strategies, before)
        rungs = rungs_on(target, parts[0].learn, settings, means, strategies)
        warn_of_budget(target, parts, settings, means, strategies, before)
        spent = before + seconds_to_read(target, means, strategies) + seconds_to_judge(target, parts, means)
        share = seconds_a_row(target, parts, settings, spent) * len(parts[0].learn)
        beside = len(texts_beside(target, means, strategies))
        described = describe_plan(target, parts, rungs, means.cost, settings, share, beside)
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
    require_detours(settings)
    return settings


def run_folder(name: str, settings: Settings) -> Path:
    """Where the run on the data of this name lives."""
    return expand_home(settings.out, "The output folder", SettingsError) if settings.out else Path("runs") / name


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


def leave_out_useless(target: Target, means: Means, strategies: list[str]) -> None:
    """Leave out the sources that the target's own rows have taught, and those of which none of the strategies can make a model.

    Raises:
        SourceError: there is no other source.
    """
    leave_out_taught(target, means)
    if any(get_strategy(name, target.task).needs_source for name in strategies):
        leave_out_unfit(target, means)


def leave_out_taught(target: Target, means: Means) -> None:
    """Leave out the sources that earlier learnt from the target's own rows, test rows among them.

    Raises:
        SourceError: there is no other source.
    """
    parts = target.parts_taught()
    for name, reader in list(means.readers.items()):
        why = refusal(reader.backbone.source, *parts)
        if not why:
            if told := remark(reader.backbone.source, *parts):
                means.findings.append(Finding("source taught some rows", Severity.WARNING, told, count=1))
                say(f"  {told}")
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


def unfit_for(target: Target, reader: Reader) -> str:
    """Why a source cannot learn a target, in a sentence: it was taught its rows before, or no model can be made of it; "" where it can."""
    why = refusal(reader.backbone.source, *target.parts_taught())
    if why:
        return why
    try:
        _require_fit(target, reader)
    except SourceError as error:
        return str(error)
    return ""


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
        from headstart.strategies.output_layer import output_layer
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
        RunError: a source's files have changed since, or none of those that it began with can be used any more.
    """
    weights = {name: reader.backbone.prefix[-1].hex() for name, reader in means.readers.items()}
    # What the store keeps the last layer under: tokenizer and pooling count in it too.
    spaces = {name: reader.space("pooled", reader.backbone.n_blocks).hex() for name, reader in means.readers.items()}
    key = "sources by detours" if means.detour_of else "sources"
    began = run.remember(key, lambda: {"weights": weights, "spaces": spaces, "seconds": 0.0})
    if began["weights"] and means.readers and not began["weights"].keys() & means.readers.keys():
        names = ", ".join(map(repr, began["weights"]))
        raise RunError(
            f"The run in {str(run.path)!r} began with {names}, which cannot be used now; put it right, or name another folder with --out."
        )
    known = began.get("spaces", {})  # a journal of before there were such names holds the weights alone
    for name in means.readers:
        if began["weights"].get(name, weights[name]) != weights[name] or known.get(name, spaces[name]) != spaces[name]:
            raise RunError(
                f"The source {name!r} has changed since the run in {str(run.path)!r} began; put it back, or name another folder with --out."
            )


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
