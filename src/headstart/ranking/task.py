"""The rows of the target that rank sources.

Letters in shapes: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from headstart.candidates import folds_of
from headstart.data.examples import IntArray
from headstart.judge.label_curve import nested_order
from headstart.settings import Settings
from headstart.strategies.base import Folds, Rows
from headstart.strategies.outputs import Output, output_of
from headstart.target import Target, parts_of

MOST_ROWS = 2000  # rows that are read where there are more, or two a class: they tell sources apart to about a point


@dataclass(frozen=True)
class Task:
    """The rows that rank: n that were `picked` of those to `learn` from, their `groups` (n,), and the folds that hold them out.

    `judged_by_folds`: a fit of the same data would be judged on these rows too, by outer folds.
    """

    target: Target
    learn: IntArray
    picked: IntArray
    groups: IntArray
    folds: Folds
    judged_by_folds: bool
    settings: Settings

    @property
    def texts(self) -> tuple[str, ...]:
        """The n texts."""
        return tuple(self.target.rows.texts[i] for i in self.picked)

    @cached_property
    def rows(self) -> Rows:
        """The n rows."""
        return self.target.rows.take(self.picked)

    @property
    def single_labels(self) -> bool:
        """Whether each row has one class, for which there are closed forms."""
        return self.rows.sizes is None and output_of(self.rows.y) is Output.CLASS


def make_task(target: Target, settings: Settings) -> Task:
    """The rows that rank: those that a fit of the same data would learn from, or a stratified draw of `MOST_ROWS` of them.

    Where outer folds would judge the fit, all rows rank: its own choice among sources is then made anew within every fold.
    """
    parts = parts_of(target, settings)
    learn = parts[0].learn if len(parts) == 1 else np.arange(len(target.rows))
    most = max(MOST_ROWS, 2 * int(target.rows.strata.max() + 1))
    picked = learn[np.sort(nested_order(target.rows.strata[learn], np.arange(len(learn)), np.random.default_rng(settings.seed))[:most])]
    return Task(target, learn, picked, target.groups[picked], folds_of(target, picked, settings), len(parts) > 1, settings)
