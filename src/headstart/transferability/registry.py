"""Every estimator of transfer by its name.

An estimator is one file with an `ESTIMATOR`, and one line in `_MODULES`; other packages add theirs as an entry point in the group
`headstart.estimators` that names an `Estimator`. What an estimator is given are training rows: test rows decide nothing.

Letters in shapes: n rows (of the source data set in pairs), m rows of the target data set, d width, s classes of the source, c classes.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

from headstart.errors import SettingsError
from headstart.settings import did_you_mean

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from headstart.data.examples import IntArray
    from headstart.strategies.base import Folds
    from headstart.transferability.curve import Continued
    from headstart.transferability.decomposed import Decomposed
    from headstart.transferability.ridge import RidgeScore

_MODULES = {
    "logme": "headstart.transferability.logme",
    "hscore": "headstart.transferability.hscore",
    "transrate": "headstart.transferability.transrate",
    "knn": "headstart.transferability.knn",
    "ridge": "headstart.transferability.ridge",
    "ridge_curve": "headstart.transferability.curve",
    "leep": "headstart.transferability.leep",
    "nce": "headstart.transferability.nce",
    "mean_similarity": "headstart.transferability.mean_similarity",
    "mmd": "headstart.transferability.mmd",
    "a_distance": "headstart.transferability.a_distance",
    "vocabulary": "headstart.transferability.vocabulary",
}


class Needs(str, Enum):
    """What an estimator looks at, and so what its `score` is given."""

    FEATURES = "features"  # LabelledFeatures
    PROBABILITIES = "probabilities"  # HeadOutputs
    DATA_SETS = "data_sets"  # FeaturePair
    TEXTS = "texts"  # TextPair


@dataclass(frozen=True)
class LabelledFeatures:
    """One layer's features of the target's training rows, and what may be known of the rows.

    `features` (n, d) and `decomposed` of them; `y` (n,) class numbers in [0, n_classes); `groups` (n,) bears one number for rows that must
    not be parted; `folds` keep groups together (`headstart.data.split.folds`). `all_rows`: how many rows the model will be trained on,
    where only some were read for ranking; None: the n that are here.
    """

    features: NDArray[np.float32]
    decomposed: Decomposed
    y: IntArray
    groups: IntArray
    n_classes: int
    folds: Folds
    seed: int
    all_rows: int | None = None

    @cached_property
    def ridge(self) -> RidgeScore:
        """The closed-form probe on these rows; estimators and predictions share it."""
        from headstart.transferability.ridge import ridge_score

        return ridge_score(self.decomposed, self.y, self.n_classes, self.folds)

    @cached_property
    def curve(self) -> Continued:
        """The learning curve of that probe, continued to all rows."""
        from headstart.transferability.curve import ridge_curve

        whole = self.ridge.score
        return ridge_curve(self.decomposed, self.y, self.n_classes, self.folds, rows=self.all_rows, seed=self.seed, whole=whole)


@dataclass(frozen=True)
class HeadOutputs:
    """What the source's own classification head says of the target's training rows: `probabilities` (n, s); `y` (n,) in [0, n_classes)."""

    probabilities: NDArray[np.float32] | NDArray[np.float64]
    y: IntArray
    n_classes: int


@dataclass(frozen=True)
class FeaturePair:
    """Two data sets read by one source: `source` (n, d), `target` (m, d), training rows both; `seed` of draws."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]
    seed: int


@dataclass(frozen=True)
class TextPair:
    """The texts of two data sets, training rows both."""

    source: tuple[str, ...]
    target: tuple[str, ...]


@dataclass(frozen=True)
class Estimator:
    """One way of telling how well a source will transfer.

    `score` takes what `needs` says. `range` is the least and the greatest score; None: no bound. `paper` is what it follows.
    """

    name: str
    needs: Needs
    summary: str
    paper: str
    range: tuple[float | None, float | None]
    greater_is_better: bool
    score: Callable[[Any], float]


def known_estimators() -> list[str]:
    """The names of the estimators here, and then of those that other packages add."""
    return [*_MODULES, *sorted(entry.name for entry in entry_points(group="headstart.estimators") if entry.name not in _MODULES)]


def get_estimator(name: str) -> Estimator:
    """The estimator of this name.

    Raises:
        SettingsError: there is none.
    """
    if name in _MODULES:
        found: Estimator = importlib.import_module(_MODULES[name]).ESTIMATOR
        return found
    for entry in entry_points(group="headstart.estimators"):
        if entry.name == name:
            added: Estimator = entry.load()
            return added
    known = known_estimators()
    raise SettingsError(f"There is no estimator {name!r}; it must be one of {', '.join(known)}.{did_you_mean(name, known)}")
