"""What is tried: the sources opened, and every strategy on every source for some rows, each with the same folds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headstart.cost import CostModel
from headstart.data.examples import IntArray
from headstart.data.split import folds
from headstart.environment import memory_bytes
from headstart.errors import SettingsError
from headstart.progress import say
from headstart.records import Finding, Severity
from headstart.rungs import Rung
from headstart.runs import digest
from headstart.settings import Settings, Vocabulary
from headstart.strategies.heads import weights_for
from headstart.strategies.ladder import (
    Folds,
    Job,
    Strategy,
    get_strategy,
    known_strategies,
    rungs_on_texts,
    rungs_unlabelled,
    rungs_with_rows,
    trainings_of,
)
from headstart.strategies.outputs import Output, output_of
from headstart.target import Target
from headstart.tasks.registry import DEFAULT, TRANSLATION, TWO_TEXTS, deciding_metric, get_task

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader
    from headstart.instances.pool import Pool


@dataclass
class Means:
    """What a run works with: the readers of its sources by name, the cost model, and what was noticed, as sources that cannot be opened.

    `detour_of` names the detour by which a source's weights came, and how far they then went back to the source's own (see `Rung`); direct
    ones are not in it. `pool` holds rows of neighbouring data.
    """

    readers: dict[str, Reader]
    cost: CostModel
    findings: list[Finding]
    detour_of: dict[str, tuple[str, float]] = field(default_factory=dict)
    pool: Pool | None = None


# Of the budget, what reading all rows once may take; of the memory, what their features may.
_READING_SHARE, _MEMORY_SHARE = 0.6, 0.25
# How often so few rows are dealt out into folds. On 24 draws of eight sets, 16 to 56 rows, four times left the probe's score 9.8 points off
# its score on other rows, once 12.6 (docs/log.md); a choice between rungs without training gains next to nothing.
REPEATS, REPEATED_UP_TO = 3, 100
# The detour of rungs that learn from rows of neighbouring data.
WITH_ROWS = "rows of neighbouring data"


def asked_strategies(settings: Settings, *, unlabelled: bool = False) -> list[str]:
    """The strategies to try, checked; where rows of neighbouring data are given, those that learn from them too. `unlabelled`: the target
    has no labels of its own.

    Raises:
        SettingsError: one of them does not exist, learns from such rows and there are none, or is for a target without labels.
    """
    if unlabelled:
        return _of_unlabelled(settings)
    names = list(dict.fromkeys(settings.strategy)) or known_strategies(settings.task)
    found = [get_strategy(name, settings.task) for name in names]
    names = [name for name, strategy in zip(names, found, strict=True) if strategy.usual or settings.strategy]
    for name in names:
        if name in rungs_with_rows() and not settings.rows_from:
            raise SettingsError(f"--strategy {name} learns from rows of neighbouring data; name them with --rows-from.")
        if name in rungs_unlabelled():
            raise SettingsError(f"--strategy {name} is for a target without labels, and this one has some; leave it out.")
    # Another task has no such rungs: that --rows-from is not for it is said by `require_settings_of`.
    single_labels = settings.task in (None, DEFAULT)
    if settings.rows_from and single_labels and not set(names) & set(rungs_with_rows()):
        usual = [name for name in rungs_with_rows() if get_strategy(name, settings.task).usual]
        names += [name for name in usual if name != "partial_rows" or "partial" in names]
    return names


def _of_unlabelled(settings: Settings) -> list[str]:
    """The rungs of a target without labels: tfidf on the source's rows, and the ways of fitting to the target's texts."""
    known = ["tfidf", *rungs_unlabelled()]
    for name in settings.strategy:
        if name not in known:
            raise SettingsError(f"--strategy is {name!r}; for a target without labels it must be one of {', '.join(known)}.")
    return list(dict.fromkeys(settings.strategy)) or known


@contextmanager
def open_means(settings: Settings) -> Iterator[Means]:
    """Open the store and every source; one bad source of several is a finding, the only one an error."""
    from headstart.backbone.backbone import load_backbone
    from headstart.backbone.reading import Reader
    from headstart.backbone.store import Store
    from headstart.cache import store_folder
    from headstart.environment import fast_precision, gemm_speeds, reading_speed
    from headstart.errors import SourceError
    from headstart.settings import Precision
    from headstart.sources.resolve import resolve_another

    precision = fast_precision() if settings.precision is Precision.AUTO else settings.precision
    means = Means({}, CostModel(gemm_speeds()[precision], reading_speed()), [])
    known: dict[Path, str] = {}
    with Store(store_folder(settings.store), int(settings.store_limit * 1e9)) as store:
        for name in settings.source or (None,):
            try:
                source = resolve_another(name, known)
                pairs, decoder = settings.task in TWO_TEXTS, settings.task == TRANSLATION
                backbone = load_backbone(source, settings.max_length, pairs=pairs, decoder=decoder)
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


def rows_that_fit(target: Target, settings: Settings, means: Means, strategies: list[str]) -> tuple[int, str]:
    """How many of the target's rows every source can read in the budget and hold in memory; if not all, in words what all would take."""
    if get_task(target.task).in_pieces or not any(get_strategy(name, settings.task).needs_source for name in strategies):
        return len(target.rows), ""
    beside = target.unlabelled if set(strategies) & set(rungs_on_texts()) else ()
    return _that_fit(target.rows.texts, settings, means, settings.few_rows, beside)


def pool_that_fits(target: Target, settings: Settings, means: Means) -> tuple[int, str]:
    """As `rows_that_fit` of the pool, beside all of the target's rows; 0 where these leave nothing."""
    assert means.pool is not None  # it is asked where there is one
    return _that_fit(means.pool.texts, settings, means, 0, beside=target.rows.texts)


def _that_fit(texts: Sequence[str], settings: Settings, means: Means, least: int, beside: Sequence[str] = ()) -> tuple[int, str]:
    """How many of some texts every source can read and hold in memory after those `beside`; if not all, in words what all would take."""
    n, readers = len(texts), list(means.readers.values())

    def seconds(some: Sequence[str]) -> float:
        return sum(means.cost.reading(mean_tokens(reader, some), reader.backbone.block_parameters) for reader in readers)

    each = seconds(texts)
    taken = len(beside) * seconds(beside) if beside else 0.0
    in_time = int((_READING_SHARE * settings.budget - taken) / max(each, 1e-12))
    some_of_each = [some[:: max(1, len(some) // 200)] for some in (texts, beside)]
    if in_time < n and not any(reader.lacking(some) for reader in readers for some in some_of_each):  # what was read costs nothing
        lacking = sum(seconds_lacking(some, reader, means.cost) for reader in readers for some in (texts, beside) if some)
        in_time = n if lacking < _READING_SHARE * settings.budget else in_time
    row = max((reader.backbone.n_blocks + 1) * reader.backbone.width * 4 for reader in readers)
    in_memory = n if (whole := memory_bytes()) is None else int(_MEMORY_SHARE * whole / row) - len(beside)
    fit = max(min(in_time, in_memory), least)
    if fit >= n:
        return n, ""
    return fit, f"about {n * each:,.0f} s" if in_time <= in_memory else f"about {n * row / 1e9:,.0f} GB of memory"


def way_of_texts(settings: Settings) -> str | None:
    """Of the ways of learning for a target without labels that are asked for, the one whose model is kept: the usual, else the first."""
    ways = [name for name in settings.strategy if name in rungs_unlabelled()]
    usual = [name for name in ways if not get_strategy(name, settings.task).compared_only]
    return next(iter(usual or ways), None)


def seconds_lacking(texts: Sequence[str], reader: Reader, cost: CostModel) -> float:
    """Seconds to read what the store lacks of some texts."""
    return cost.reading(len(reader.lacking(texts)) * mean_tokens(reader, texts), reader.backbone.block_parameters)


def rungs_on(
    target: Target,
    learn: IntArray,
    settings: Settings,
    means: Means,
    strategies: list[str],
    logs: Path | None = None,
    kept: Path | None = None,
) -> list[Rung]:
    """Every rung on every source for these rows, each with the same folds. `logs` and `kept`: folders in which each job has one of its own
    (see `Job`)."""
    rows = target.rows.take(learn)
    pairs = folds_of(target, learn, settings)
    weight = weights_for(rows.y, rows.n_classes, deciding_metric(settings))
    job = Job(
        rows=rows,
        groups=target.groups[learn],
        folds=pairs,
        settings=settings,
        seed=settings.seed,
        class_weight=weight,
        pool=means.pool,
        unlabelled=target.unlabelled,
        # With rows of neighbouring data every rung goes by the same folds: the pool makes those that learn from it too dear for more.
        again=dealt_again(target, learn, settings) if means.pool is None and not target.unlabelled else (),
    )
    found = []
    tokens = {source: mean_tokens(reader, rows.texts) for source, reader in means.readers.items()}
    for name in strategies:
        strategy = get_strategy(name, settings.task)
        if target.unlabelled and name == way_of_texts(settings):
            strategy = replace(strategy, compared_only=False)  # no label says which way is best: who names one wants its model
        if not strategy.needs_source:
            found.append(Rung(strategy, None, job, next(iter(tokens.values()))))
            continue
        for source, reader in means.readers.items():
            detour, back = means.detour_of.get(source, (None, None))
            if detour is not None and not goes_by_detours(strategy):
                continue
            here = replace(job, reader=reader, cut=cut_of(settings, reader))
            unfit = max((lowest for _, lowest in trainings_of(strategy, here)), default=0) >= reader.backbone.n_blocks
            if not unfit and (strategy.suits is None or strategy.suits(here)):
                way = WITH_ROWS if name in rungs_with_rows() else detour
                found.append(Rung(strategy, source if len(means.readers) > 1 else None, here, tokens[source], way, back))
    if not found and all(get_strategy(name, settings.task).tunes_from is None for name in strategies):
        named, sources = ", ".join(strategies), ", ".join(means.readers)
        if settings.vocabulary is Vocabulary.KEEP:
            raise SettingsError(f"{named} (--strategy) cannot learn from {sources}; name another source or rung.")
        raise SettingsError(
            f"{named} (--strategy) cannot learn from {sources} with --vocabulary {settings.vocabulary.value}; keep its pieces, or name "
            "another source or rung."
        )
    if not found:
        raise SettingsError(f"--cut is {settings.cut}, which freezes every block, and {', '.join(strategies)} must train some; lower it.")

    def own(rung: Rung) -> Job:
        named = None if logs is None else logs / folder_name(rung.name)
        apart = None if kept is None else kept / digest(rung.name)  # no two names make one folder
        return replace(rung.job, logs=named, kept=apart)

    return [replace(rung, job=own(rung)) for rung in found]


def goes_by_detours(strategy: Strategy) -> bool:
    """Whether a rung is another by a detour: random weights are the same by whatever way, and tokens' embeddings as good as the same."""
    return strategy.needs_source and strategy.transfers and strategy.name != "static"


def cut_of(settings: Settings, reader: Reader) -> int:
    """Blocks kept frozen in a source: as many as were asked for, else a third of them.

    Raises:
        SettingsError: the source has fewer.
    """
    blocks, name = reader.backbone.n_blocks, reader.backbone.source.name
    if settings.cut is None:
        return min(blocks - 1, max(1, blocks // 3))
    if settings.cut > blocks:
        raise SettingsError(f"--cut is {settings.cut}; the source {name!r} has {blocks} blocks, so it must lie between 0 and {blocks}.")
    return settings.cut


def folder_name(text: str) -> str:
    """The text with every character that a folder's name had better not hold turned into a dash."""
    return "".join(c if c.isalnum() or c in "-_." else "-" for c in text)


def mean_tokens(reader: Reader, texts: Sequence[str]) -> float:
    """Tokens of a text on average, over some 200 of them; there must be one."""
    from headstart.backbone.reading import tokenize

    some = texts[:: max(1, len(texts) // 200)]
    return float(np.mean([len(ids) for ids in tokenize(reader.backbone, some)]))


def texts_beside(target: Target, means: Means, strategies: Sequence[str]) -> tuple[str, ...]:
    """The texts besides the labelled rows that some of these rungs read: of neighbouring rows, or of a target without labels."""
    if means.pool is not None and set(strategies) & set(rungs_with_rows()):
        return means.pool.texts
    return target.unlabelled if set(strategies) & set(rungs_on_texts()) else ()


def folds_of(target: Target, learn: IntArray, settings: Settings) -> Folds:
    """The validation file's rows as the one fold, else folds of the rows."""
    if target.validation is not None:
        held = np.isin(learn, target.validation)
        if held.any() and not held.all():
            return [(np.flatnonzero(~held), np.flatnonzero(held))]
    return folds(target.rows.strata[learn], target.groups[learn], settings.inner_folds, settings.seed)


def dealt_again(target: Target, learn: IntArray, settings: Settings) -> tuple[Folds, ...]:
    """Rows that are few dealt out into folds anew, for rungs that cost next to nothing: their scores are then a fifth less uncertain."""
    in_one = output_of(target.rows.y) is not Output.TEXT and target.rows.sizes is None  # else reading and judging is no trifle
    if target.validation is not None or len(learn) > REPEATED_UP_TO or not in_one:
        return ()
    strata, groups = target.rows.strata[learn], target.groups[learn]
    return tuple(folds(strata, groups, settings.inner_folds, settings.seed, repeat) for repeat in range(1, REPEATS))
