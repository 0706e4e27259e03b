"""The ladder: every way of transferring, and of not transferring, by its name.

A strategy is one file with a `STRATEGY`, and one line in `_MODULES`; other packages add theirs as an entry point in the group
`headstart.strategies` that names a `Strategy`; they are of classification unless their name says otherwise, as in `ner:mine`.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING

from headstart.data.examples import IntArray
from headstart.errors import SettingsError
from headstart.settings import Settings, did_you_mean
from headstart.strategies.base import FloatArray, Rows, Trained

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader
    from headstart.instances.pool import Pool

_OF_TEXTS = {
    "tfidf": "headstart.strategies.tfidf",
    "static": "headstart.strategies.static",
    "probe": "headstart.strategies.probe",
    "contrastive": "headstart.strategies.contrastive",
    "partial": "headstart.strategies.partial",
    "lora": "headstart.strategies.lora",
    "gradual": "headstart.strategies.gradual",
    "full": "headstart.strategies.full",
    "soup": "headstart.strategies.soup",
    "scratch": "headstart.strategies.scratch",
}
# Comparing rows in pairs takes classes: two rows are of one, or they are not.
_WITHOUT_CLASSES = {name: module for name, module in _OF_TEXTS.items() if name not in ("contrastive", "soup")}
_MODULES = {
    "classification": _OF_TEXTS,
    "pairs": _OF_TEXTS | {"tfidf": "headstart.strategies.pair_tfidf"},
    "multilabel": _WITHOUT_CLASSES,
    "regression": _WITHOUT_CLASSES,
    "ner": {
        "crf": "headstart.strategies.crf",
        "probe": "headstart.strategies.word_probe",
        "partial": "headstart.strategies.word_partial",
        "lora": "headstart.strategies.word_lora",
        "gradual": "headstart.strategies.word_gradual",
        "full": "headstart.strategies.word_full",
        "scratch": "headstart.strategies.word_scratch",
    },
    "generation": {
        "untouched": "headstart.strategies.language_untouched",
        "lora": "headstart.strategies.language_lora",
        "partial": "headstart.strategies.language_partial",
        "gradual": "headstart.strategies.language_gradual",
        "full": "headstart.strategies.language_full",
        "scratch": "headstart.strategies.language_scratch",
    },
    "translation": {
        "scratch": "headstart.strategies.translation_scratch",
        "brief": "headstart.strategies.translation_brief",
        "partial": "headstart.strategies.translation_partial",
        "blocks": "headstart.strategies.translation_blocks",
        "lora": "headstart.strategies.translation_lora",
        "gradual": "headstart.strategies.translation_gradual",
        "full": "headstart.strategies.translation_full",
    },
    "qa": {
        "sentence": "headstart.strategies.sentence",
        "probe": "headstart.strategies.span_probe",
        "partial": "headstart.strategies.span_partial",
        "lora": "headstart.strategies.span_lora",
        "gradual": "headstart.strategies.span_gradual",
        "full": "headstart.strategies.span_full",
        "scratch": "headstart.strategies.span_scratch",
    },
}

_USUAL = "classification"
# Rungs that learn from rows of neighbouring data too; they are there where such rows are given (`--rows-from`).
_WITH_ROWS = {
    "all_rows": "headstart.instances.all_rows",
    "random_rows": "headstart.instances.random_rows",
    "chosen_rows": "headstart.instances.chosen_rows",
    "graded_rows": "headstart.instances.graded_rows",
    "prior_rows": "headstart.instances.prior_rows",
    "partial_rows": "headstart.instances.partial_rows",
}

# Rungs of a target without labels: its labelled rows are of neighbouring data, and they are fitted to its texts.
_UNLABELLED = {name: f"headstart.instances.{name}" for name in ("source_rows", "weighted_rows", "aligned", "self_labels")}

Folds = list[tuple[IntArray, IntArray]]


@dataclass(frozen=True)
class Work:
    """What a training takes: `steps` that show so many `tokens` in all to `learning` weights, `frozen` ones running forwards alone."""

    tokens: float
    learning: float
    frozen: float
    steps: int


@dataclass(frozen=True)
class Job:
    """Rows to learn from and what to learn with.

    `groups` (n,) bears one number for rows that must not be parted. `reader` None: only for strategies without a source. `class_weight`
    (c,) None: all rows count alike. `cut`: blocks kept frozen, for strategies that tune. `logs` None: no
    TensorBoard events. `kept`: where its trainings keep how far they are, to go on there when they are stopped; None: nowhere. `pool` None:
    there are no rows of neighbouring data. `unlabelled` are the texts of a target without labels. `again` are the rows dealt out into folds
    anew, where they are few.
    """

    rows: Rows
    groups: IntArray
    folds: Folds
    settings: Settings
    seed: int
    reader: Reader | None = None
    class_weight: FloatArray | None = None
    cut: int = 0
    logs: Path | None = None
    kept: Path | None = None
    pool: Pool | None = None
    unlabelled: tuple[str, ...] = ()
    again: tuple[Folds, ...] = ()

    @property
    def source(self) -> Reader:
        """The reader, where the strategy cannot do without one."""
        if self.reader is None:
            raise ValueError("this strategy needs a source")
        return self.reader

    def take(self, indices: IntArray, folds: Folds) -> Job:
        """The same job on some of the rows; `folds` are of those rows."""
        return replace(self, rows=self.rows.take(indices), groups=self.groups[indices], folds=folds, again=())


@dataclass(frozen=True)
class Strategy:
    """One way of transferring, or of not transferring.

    `fit` trains on all rows of a job. `out_of_fold` gives logits (n, c) for rows that the job's folds hold out (others NaN) together with
    the model of all rows, where that is cheap; None: the planner trains fold by fold. `tunes_from` gives the lowest block that learns, for
    the cost model; None: no block learns. `reads` gives the layers whose token vectors it needs beside what enters the cut. `adds` tells
    how many rows it learns beside the job's; None: none. `trains_as` names the strategies whose trainings it takes, one after the
    other; empty: its own. `work` gives what training on a share of the job's rows takes; None: it follows from `tunes_from`. `suits` tells
    whether a job's source is of a kind that it can learn from; None: any is. `compared_only`: it is there to be compared with and never
    wins. `usual` False: it is tried only where it is asked for by name.
    """

    name: str
    transfers: bool
    needs_source: bool
    summary: str
    fit: Callable[[Job], Trained]
    out_of_fold: Callable[[Job], tuple[Trained, FloatArray]] | None = None
    tunes_from: Callable[[Job], int] | None = None
    reads: Callable[[Job], tuple[int, ...]] | None = None
    adds: Callable[[Job], int] | None = None
    trains_as: tuple[str, ...] = ()
    work: Callable[[Job, float], Work] | None = None
    suits: Callable[[Job], bool] | None = None
    compared_only: bool = False
    usual: bool = True

    @property
    def tunes_a_source(self) -> bool:
        """Whether it goes on from a source's weights and changes some of them."""
        return self.transfers and self.tunes_from is not None


def _added(task: str) -> dict[str, EntryPoint]:
    """The strategies that other packages add to a task's ladder."""
    found = {}
    for entry in entry_points(group="headstart.strategies"):
        of, colon, name = entry.name.rpartition(":")
        if (of if colon else _USUAL) == task and name not in _MODULES[task]:
            found[name] = entry
    return found


def known_strategies(task: str | None = None) -> list[str]:
    """The names on a task's ladder, from cheap to dear, and those that other packages add. `task` None: classification."""
    return [*_MODULES[task or _USUAL], *sorted(_added(task or _USUAL))]


def trainings_of(strategy: Strategy, job: Job) -> list[tuple[str, int]]:
    """The trainings that a strategy takes, mostly one: the name of the strategy by whose steps each goes, and the lowest block that learns,
    which is no higher than the strategy's own. None where no block learns."""
    if strategy.tunes_from is None:
        return []
    own = strategy.tunes_from(job)
    parts = [get_strategy(name, job.settings.task) for name in strategy.trains_as] or [strategy]
    return [(one.name, own if one.tunes_from is None else min(own, one.tunes_from(job))) for one in parts]


def rungs_with_rows() -> list[str]:
    """The names of the rungs that learn from rows of neighbouring data too."""
    return list(_WITH_ROWS)


def rungs_unlabelled() -> list[str]:
    """The names of the rungs of a target without labels."""
    return list(_UNLABELLED)


def rungs_on_texts() -> list[str]:
    """Those of them that read the target's texts; `source_rows` takes the labelled rows as they are."""
    return [name for name in _UNLABELLED if name != "source_rows"]


def get_strategy(name: str, task: str | None = None) -> Strategy:
    """The strategy of this name on the ladder of a task; None: classification.

    Raises:
        SettingsError: there is none.
    """
    place = _MODULES[task or _USUAL].get(name) or ((_WITH_ROWS | _UNLABELLED).get(name) if (task or _USUAL) == _USUAL else None)
    if place is not None:
        found: Strategy = importlib.import_module(place).STRATEGY
        return found
    added = _added(task or _USUAL)  # looking through all installed packages takes milliseconds: only where it has to be
    if name in added:
        found = added[name].load()
        return found
    known = known_strategies(task)
    raise SettingsError(f"--strategy is {name!r}; it must be one of {', '.join(known)}.{did_you_mean(name, known)}")
