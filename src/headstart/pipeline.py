"""`fit()` on one page: read, check, split, decide, judge, refit, save, report.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.cost import CostModel
from headstart.data.examples import Examples, IntArray
from headstart.data.split import folds
from headstart.errors import RunError
from headstart.judge.calibration import fit_temperature
from headstart.planner import Decision, Rung, decide, trial_seconds
from headstart.progress import say
from headstart.records import Finding, Severity
from headstart.runs import MODEL, Run, RunFolder, open_run, write_results
from headstart.settings import Export, Metric, Settings, as_plain
from headstart.strategies.base import Fitted, FloatArray, Rows
from headstart.strategies.heads import class_weights, uneven
from headstart.strategies.ladder import Folds, Job, get_strategy, known_strategies
from headstart.target import Part, Target, make_target, parts_of, read_target

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader

# Settings that say where and how to talk, not what to compute: a run may go on under others.
_NOT_ASKED = {"out", "quiet", "dry_run", "store", "store_limit", "export", "budget"}
# Seconds of a run that are neither trials nor training: starting, judging, saving, opening again, the report.
_AROUND = 20.0


@dataclass(frozen=True)
class Judged:
    """What the decision of one part gave on the rows that judge it.

    `y` (n,); logits (n, c) of the winner, of the best rung with transfer and of the best without (None: there is none). `fitted` is the
    winner where it was trained in this process, else None.
    """

    part: Part
    decision: Decision
    y: IntArray
    winner: FloatArray
    transfer: FloatArray | None
    plain: FloatArray | None
    fitted: Fitted | None


@dataclass
class Means:
    """What a run works with: the readers of its sources by name, the cost model, and sources that could not be opened."""

    readers: dict[str, Reader]
    cost: CostModel
    findings: list[Finding]


def fit(data: str | Path | Examples, settings: Settings, *, command: str = "") -> Run:
    """Find out where to transfer from, how, and whether it helps; train, judge and save the winner.

    Args:
        data: a file or folder of labelled texts, or examples.
        settings: what was asked.
        command: the command line that asked, for the report; "" in Python.

    Raises:
        DataError, SourceError, SettingsError, RunError, ResourceError: see `headstart.errors`.
    """
    from headstart.export.onnx import check_onnx_installed
    from headstart.outcome import assemble
    from headstart.saving import save_winner

    begin = time.perf_counter()
    strategies = asked_strategies(settings)
    if settings.export is Export.ONNX:
        check_onnx_installed()  # before hours are spent, not after
    target = read_target(data, settings)
    run = RunFolder.open(run_folder(target, settings), asked(target, settings))
    with suppress(RunError):  # not finished yet, or its results were damaged: then it goes on
        finished = open_run(run.path)
        say(f"{run.path} is finished already; its results:")
        return finished
    for finding in target.findings:
        if finding.severity is not Severity.NOTE:
            say(f"  {finding.message}")
    parts = parts_of(target, settings)
    write_splits(run.path, target, parts)
    with open_means(settings) as means:
        share = allowance(settings, parts, time.perf_counter() - begin)
        warn_of_budget(target, parts, settings, means, strategies)
        judged = [judge_part(part, target, settings, run, means, strategies, share) for part in parts]
        if target.test is None:
            final = decide_on(target, np.arange(len(target.rows)), "all rows", settings, run, means, strategies, share)
        else:
            final = judged[0].decision
        model = judged[0].fitted if target.test is not None else None
        if model is None:
            say(f"training {final.winner.name} on all {len(target.rows):,} labelled rows")
            model = train_winner(final)
        results = assemble(target, settings, parts, judged, final, model, means.readers, means.findings, run, command, begin)
        save_winner(run.path / MODEL, model, target, settings, results)
    write_results(run.path, results)
    return Run(run.path, results)


def plan(data: str | Path | Examples, settings: Settings) -> str:
    """What `fit` would do: trials, predicted seconds, memory and disk."""
    from headstart.plan import describe_plan

    target = read_target(data, settings)
    parts = parts_of(target, settings)
    with open_means(settings) as means:
        rungs = rungs_on(target, parts[0].learn, settings, means, asked_strategies(settings))
        return describe_plan(target, parts, rungs, means.cost, settings, allowance(settings, parts, 0.0))


def train_classifier(texts: Sequence[str], labels: Sequence[str], settings: Settings) -> TrainedClassifier:
    """Decide and train in memory: no judge, no report, no run folder."""
    import tempfile

    from headstart.checking import Checked, check_data

    examples = Examples(tuple(texts), tuple(labels), tuple(range(1, len(texts) + 1)), "(texts, labels)", "text", "label")
    checked: Checked = check_data(
        examples,
        text=None,
        label=None,
        test=None,
        validation=None,
        source=settings.source[0] if settings.source else None,
        max_length=settings.max_length,
    )
    checked.result.require_usable()
    target = make_target(checked, name="texts", test=None, validation=None)
    with tempfile.TemporaryDirectory() as folder, open_means(settings) as means:
        run = RunFolder.open(Path(folder) / "run", {})
        every = np.arange(len(target.rows))
        final = decide_on(
            target, every, "all rows", settings, run, means, asked_strategies(settings), settings.budget - _AROUND, events=False
        )
        return TrainedClassifier(target.labels, without_store(train_winner(final)))


@dataclass(frozen=True)
class TrainedClassifier:
    """A trained winner in memory."""

    labels: tuple[str, ...]
    fitted: Fitted

    def predict_proba(self, texts: Sequence[str]) -> FloatArray:
        """Probabilities (n, c), classes in the order of `labels`."""
        from headstart.judge.calibration import softmax

        return softmax(self.fitted.predict_logits(list(texts)))


# --- what was asked ---


def asked_strategies(settings: Settings) -> list[str]:
    """The strategies to try, checked.

    Raises:
        SettingsError: one of them does not exist.
    """
    names = list(settings.strategy) or known_strategies()
    for name in names:
        get_strategy(name)
    return names


def run_folder(target: Target, settings: Settings) -> Path:
    """Where the run lives."""
    return Path(settings.out) if settings.out else Path("runs") / target.name


def asked(target: Target, settings: Settings) -> dict[str, object]:
    """Everything that decides what the run computes, for run.yaml."""
    import torch
    import transformers

    from headstart import __version__

    plain = {name: value for name, value in as_plain(settings).items() if name not in _NOT_ASKED}
    versions = {"headstart": __version__, "torch": str(torch.__version__), "transformers": str(transformers.__version__)}
    columns = {"text": target.examples.text_column, "label": target.examples.label_column}
    return {"data": target.examples.origin, "columns": columns, "content": target.content(), "settings": plain, "versions": versions}


def allowance(settings: Settings, parts: list[Part], spent: float) -> float:
    """Seconds for each decision with the trainings that follow it: the budget, less what runs around it, in equal shares."""
    decisions = len(parts) + (0 if parts[0].judge is None else 1)
    return max(0.0, settings.budget - spent - _AROUND) / decisions


def warn_of_budget(target: Target, parts: list[Part], settings: Settings, means: Means, strategies: list[str]) -> None:
    """Say at the start when even the cheapest rung needs more than the budget."""
    cheapest = min(rungs_on(target, parts[0].learn, settings, means, strategies), key=lambda rung: trial_seconds(rung, means.cost))
    decisions = len(parts) + (0 if parts[0].judge is None else 1)
    needed = _AROUND + decisions * 2 * trial_seconds(cheapest, means.cost)
    if needed > settings.budget:
        asked = f"The budget of {settings.budget:,.0f} s is too short"
        say(f"{asked}: even the cheapest rung, {cheapest.name}, needs about {needed:,.0f} s in all.")


def write_splits(folder: Path, target: Target, parts: list[Part]) -> None:
    """splits.parquet: for every training row its number in the file, its group, and which part judges it ("" for none)."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from headstart.runs import whole_file

    judge = np.full(len(target.rows), "", dtype=object)
    for part in parts:
        if part.judge is not None:
            judge[part.judge] = part.name
    numbers = [target.examples.rows[i] if i >= 0 else -1 for i in target.origin]
    table = pa.table({"row": numbers, "label": [target.labels[k] for k in target.rows.y], "group": target.groups, "judged_by": list(judge)})
    with whole_file(folder / "splits.parquet") as temporary:
        pq.write_table(table, temporary)


@contextmanager
def open_means(settings: Settings) -> Iterator[Means]:
    """Open the store and every source; one bad source of several is a finding, the only one an error."""
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.cache import store_folder
    from headstart.environment import fast_precision, gemm_speeds
    from headstart.errors import SourceError
    from headstart.settings import Precision
    from headstart.sources.resolve import resolve_source

    speeds = gemm_speeds()
    precision = fast_precision() if settings.precision is Precision.AUTO else settings.precision
    means = Means({}, CostModel(speeds[precision], speeds[Precision.FLOAT32]), [])
    with Store(store_folder(settings.store), int(settings.store_limit * 1e9)) as store:
        for name in settings.source or (None,):
            try:
                backbone = load_backbone(resolve_source(name), settings.max_length)
            except SourceError as error:
                if len(settings.source) < 2:
                    raise
                means.findings.append(Finding("source left out", Severity.WARNING, str(error), count=1))
                say(f"  {error}")
                continue
            means.readers[backbone.source.name] = Reader(backbone, store, settings.batch_tokens)
        if not means.readers:
            raise SourceError(f"None of the {len(settings.source)} sources can be used; the last one: {means.findings[-1].message}")
        yield means


# --- deciding, judging, training ---


def rungs_on(
    target: Target, learn: IntArray, settings: Settings, means: Means, strategies: list[str], logs: Path | None = None
) -> list[Rung]:
    """Every rung on every source for these rows, each with the same folds. `logs`: folder of TensorBoard events; None: none are written."""
    rows = target.rows.take(learn)
    pairs = _folds(target, learn, settings)
    weigh = settings.metric is Metric.MACRO_F1 and uneven(rows.y)
    weight = class_weights(rows.y, rows.n_classes) if weigh else None
    job = Job(rows=rows, groups=target.groups[learn], folds=pairs, settings=settings, seed=settings.seed, class_weight=weight)
    found = []
    for name in strategies:
        strategy = get_strategy(name)
        if not strategy.needs_source:
            found.append(Rung(strategy, None, job, mean_tokens(next(iter(means.readers.values())), rows)))
            continue
        for source, reader in means.readers.items():
            blocks = reader.backbone.n_blocks
            cut = min(blocks - 1, max(1, blocks // 3) if settings.cut is None else settings.cut)
            found.append(
                Rung(strategy, source if len(means.readers) > 1 else None, replace(job, reader=reader, cut=cut), mean_tokens(reader, rows))
            )
    if logs is not None:
        found = [replace(rung, job=replace(rung.job, logs=logs / _folder_name(rung.name))) for rung in found]
    return found


def _folder_name(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def mean_tokens(reader: Reader, rows: Rows) -> float:
    """Tokens of a text on average, over at most 500 of them."""
    from headstart.backbone.reading import tokenize

    some = rows.texts[:: max(1, len(rows) // 500)]
    return float(np.mean([len(ids) for ids in tokenize(reader.backbone, some)]))


def _folds(target: Target, learn: IntArray, settings: Settings) -> Folds:
    """The validation file's rows as the one fold, else folds of the rows."""
    if target.validation is not None:
        held = np.isin(learn, target.validation)
        if held.any() and not held.all():
            return [(np.flatnonzero(~held), np.flatnonzero(held))]
    return folds(target.rows.y[learn], target.groups[learn], settings.inner_folds, settings.seed)


def decide_on(
    target: Target,
    learn: IntArray,
    label: str,
    settings: Settings,
    run: RunFolder,
    means: Means,
    strategies: list[str],
    seconds: float,
    events: bool = True,
) -> Decision:
    """Read these rows once, then let the planner decide. `events`: every training writes its TensorBoard events into the run folder."""
    rungs = rungs_on(target, learn, settings, means, strategies, run.path / "tensorboard" / _folder_name(label) if events else None)
    for reader in means.readers.values():
        cuts = {r.strategy.tunes_from(r.job) for r in rungs if r.strategy.tunes_from is not None and r.job.reader is reader} - {0}
        reader.read_texts(rungs[0].job.rows.texts, cut=min(cuts) if cuts else None)
    return decide(rungs, run=run, label=label, seconds=seconds, cost=means.cost)


def judge_part(
    part: Part, target: Target, settings: Settings, run: RunFolder, means: Means, strategies: list[str], seconds: float
) -> Judged:
    """Decide on the part's rows, train winner and opponent on all of them, and let them predict the rows that judge."""
    say(f"{part.name}: deciding on {len(part.learn):,} rows")
    decision = decide_on(target, part.learn, part.name, settings, run, means, strategies, seconds)
    judging = target.test if part.judge is None else target.rows.take(part.judge)
    assert judging is not None  # a part without rows of its own is judged by the test file
    trained: dict[str, Fitted] = {}

    def predict(rung: Rung | None) -> FloatArray | None:
        if rung is None:
            return None

        def work() -> dict[str, FloatArray]:
            trained[rung.name] = calibrated(rung, decision.out_of_fold.get(rung.name))
            return {"logits": trained[rung.name].predict_logits(judging.texts)}

        logits: FloatArray = run.remember(f"{part.name}/judged {rung.name}", work)["logits"]
        return logits

    transfer, plain = predict(decision.transfer), predict(decision.plain)
    winner = transfer if decision.winner is decision.transfer else plain
    assert winner is not None  # the winner is one of the two
    return Judged(part, decision, judging.y, winner, transfer, plain, trained.get(decision.winner.name))


def calibrated(rung: Rung, out_of_fold: FloatArray | None) -> Fitted:
    """The rung trained on all rows of its job, its probabilities calibrated on the out-of-fold logits, where there are any."""
    fitted = rung.strategy.fit(rung.job)
    if out_of_fold is None:
        return fitted
    seen = np.flatnonzero(~np.isnan(out_of_fold[:, 0]))
    return fitted.scaled(1.0 / fit_temperature(out_of_fold[seen], rung.job.rows.y[seen]))


def train_winner(final: Decision) -> Fitted:
    """The winner trained on all labelled rows."""
    return calibrated(final.winner, final.out_of_fold.get(final.winner.name))


def without_store(model: Fitted) -> Fitted:
    """The same model, good for use after the store is closed."""
    from headstart.strategies.model import TransferModel

    return replace(model, reader=replace(model.reader, store=None)) if isinstance(model, TransferModel) else model
