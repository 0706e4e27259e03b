"""The rows of the target that rank sources.

Letters in shapes: n rows.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headstart.candidates import folds_of
from headstart.data.examples import IntArray
from headstart.errors import SettingsError
from headstart.judge.label_curve import nested_order
from headstart.settings import Settings
from headstart.strategies.heads import Folds
from headstart.target import Target, parts_of
from headstart.tasks.registry import DEFAULT

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

    @property
    def y(self) -> IntArray:
        """Class numbers (n,)."""
        return self.target.rows.y[self.picked]


def make_task(target: Target, settings: Settings) -> Task:
    """The rows that rank: those that a fit of the same data would learn from, or a stratified draw of `MOST_ROWS` of them.

    Where outer folds would judge the fit, all rows rank: its own choice among sources is then made anew within every fold.

    Raises:
        SettingsError: the target's rows have no single labels.
    """
    if target.task != DEFAULT:
        told = "`headstart fit DATA --source A --source B` tries them all"
        raise SettingsError(f"The task is {target.task}, and sources are ranked for {DEFAULT} alone so far; {told}.")
    parts = parts_of(target, settings)
    learn = parts[0].learn if len(parts) == 1 else np.arange(len(target.rows))
    most = max(MOST_ROWS, 2 * target.rows.n_classes)
    picked = learn[np.sort(nested_order(target.rows.y[learn], np.arange(len(learn)), np.random.default_rng(settings.seed))[:most])]
    return Task(target, learn, picked, target.groups[picked], folds_of(target, picked, settings), len(parts) > 1, settings)
