"""What a kind of task says of itself: how its labels are read, counted, judged and shown.

Letters in shapes: n rows, u units of all rows together (words, where each word has a class; else n), c classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from headstart.data.check import LabelChecks
from headstart.data.examples import Examples, IntArray
from headstart.errors import DataError
from headstart.judge.calibration import Calibration
from headstart.judge.label_curve import PredictAt
from headstart.judge.metrics import FloatArray
from headstart.records import ClassScore, Estimate, Finding, Gain, RowNote, Scores, Shown
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said

if TYPE_CHECKING:
    from headstart.backbone.backbone import Backbone
    from headstart.backbone.reading import Reader


@dataclass(frozen=True)
class Prepared:
    """Examples with texts and labels in the task's own form, and what was noticed on the way.

    A row that cannot be used has the label "".
    """

    examples: Examples
    findings: tuple[Finding, ...]


def require_one_text(examples: Examples, instead: str = "") -> None:
    """Raise where each row has two texts; `instead` is what else may be done about it, in words.

    Raises:
        DataError: that is so.
    """
    if examples.paired:
        where = repr(examples.origin) if examples.origin != "-" else "standard input"
        raise DataError(f"{where} has two texts a row, {examples.text_column!r}; name the one column of the texts with --text{instead}.")


@dataclass(frozen=True)
class Labels:
    """The names of the c classes, and how a label becomes what `Task.rows` takes: `spell` gives its usual form, `known` whether all its
    classes have a name.
    """

    names: tuple[str, ...]
    spell: Callable[[str], str]
    known: Callable[[str], bool]


@dataclass(frozen=True)
class Contrast:
    """How two rungs differ on the same rows: `difference` of the scores, greater is better for the first; `shares` (n,) what each row has
    in it, so that the difference's own variance is theirs over n."""

    difference: float
    shares: FloatArray


@dataclass(frozen=True)
class Seen:
    """What outputs look like by class: a score for each, and how often one was taken for another; of numbers the truth and what was
    predicted, at most 1,000 pairs; of texts some rows with the answer beside the truth. ((): there is no such thing for this task.)"""

    classes: tuple[ClassScore, ...] = ()
    confusion: tuple[tuple[int, ...], ...] = ()
    numbers: tuple[tuple[float, float], ...] = ()
    shown: tuple[Shown, ...] = ()


class Judge(Protocol):
    """How outputs, logits (u, c), of some rows are scored. `groups` (n,) is equal for near-duplicates, None: all rows are independent."""

    def score(self, metric: Metric, logits: FloatArray, rows: Rows) -> float:
        """A score alone."""
        ...

    def estimate(self, metric: Metric, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Estimate:
        """A score with its interval."""
        ...

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score that is reported of the task."""
        ...

    def gain(
        self,
        logits: tuple[FloatArray, FloatArray],
        names: tuple[str, str],
        metric: Metric,
        rows: Rows,
        groups: IntArray | None,
        folds: IntArray | None,
        settings: Settings,
    ) -> Gain:
        """The paired gain of the first of two rungs; `folds` (n,) is the outer fold that predicted each row, None: one model."""
        ...

    def contrast(self, metric: Metric, ours: FloatArray, theirs: FloatArray, rows: Rows) -> Contrast:
        """How two rungs differ, for the planner."""
        ...

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """The outputs by class, or some answers."""
        ...


@dataclass(frozen=True)
class Task:
    """A kind of task.

    `metrics` may decide between rungs, the first where nothing is asked. `recognise` says why examples are of this task, "" where they are
    not. `probabilities` are what outputs (u, c) become for people: probabilities, or the numbers as they are. `prepare` brings what was
    read into the task's form, a test or validation file like the training rows as they were read, which it gets too. `checks` find what is
    wrong with labels. `labels` learns the names from the labels of training rows and of further ones; `rows` numbers labels that are all
    known; `label_counts` counts classes as people count them. `suspects` are rows whose label is probably wrong by out-of-fold logits, most
    suspect first, `hard` the others that a model does worst on; both take rows, examples and names. `layer_scores` tells how a light head
    does on layers of a source, each row predicted without itself. `curve` are the names of the rungs of the label curve, with transfer and
    without; `curve_at` trains them on some of the rows. Both take rows and groups (n,); None: the task has no light rungs on frozen
    features. `calibrate` tells from out-of-fold outputs of some rows how those of a task of texts are moved; None: not at all. `ranked_by`
    is the rung by which sources are compared before any is trained. `in_pieces`: texts are not read as they stand, but in pieces, or with
    what follows them. `answering` tells how many multiplications it takes one rung to answer such rows, to foretell the judge's time; None:
    so few that they need not be foretold.
    """

    name: str
    summary: str
    metrics: tuple[Metric, ...]
    probabilities: Callable[[FloatArray], FloatArray]
    recognise: Callable[[Examples], str]
    prepare: Callable[[Examples, Examples | None], Prepared]
    checks: LabelChecks
    labels: Callable[[Sequence[str], Sequence[str]], Labels]
    rows: Callable[[Sequence[str], Sequence[str], Labels], Rows]
    label_counts: Callable[[Rows, Sequence[str]], tuple[tuple[str, int], ...]]
    judge: Judge
    suspects: Callable[[FloatArray, Rows, Examples, Sequence[str]], tuple[RowNote, ...]]
    hard: Callable[[FloatArray, Rows, Examples, Sequence[str], int, set[int]], list[RowNote]]
    layer_scores: Callable[[Rows, IntArray, Reader, Settings], list[tuple[int, Estimate]]] | None
    curve: tuple[str, str]
    curve_at: Callable[[Rows, IntArray, Reader, Settings], PredictAt] | None
    calibrate: Callable[[FloatArray, Rows], Calibration] | None = None
    ranked_by: str = "probe"
    in_pieces: bool = False
    answering: Callable[[Rows, Backbone], float] | None = None
