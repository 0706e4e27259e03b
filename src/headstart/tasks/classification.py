"""One label for each text.

Letters in shapes: n rows, c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from headstart.data.check import LabelChecks, suspect_labels
from headstart.data.check_classes import check_classes
from headstart.data.examples import Examples, IntArray
from headstart.data.spelling import common_spelling, names_in_words
from headstart.judge import gains, intervals, metrics
from headstart.judge.calibration import softmax
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Gain, RowNote, Scores
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.strategies.probe import sort_layers
from headstart.tasks.base import Contrast, Labels, Prepared, Seen, Task, require_one_text
from headstart.tasks.light_rungs import probe_and_tfidf

if TYPE_CHECKING:
    from headstart.backbone.reading import Reader


class ClassJudge:
    """Accuracy, macro-F1, log-loss and calibration of the likeliest class."""

    def score(self, metric: Metric, logits: FloatArray, rows: Rows) -> float:
        """A score alone."""
        return metrics.score(metric, softmax(logits), rows.y)

    def estimate(self, metric: Metric, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Estimate:
        """A score with its interval."""
        return intervals.estimate(
            metric,
            softmax(logits),
            rows.y,
            groups=groups,
            confidence=settings.confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score."""
        return intervals.scores(
            softmax(logits), rows.y, groups=groups, confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed
        )

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
        """The paired gain of the first of two rungs."""
        return gains.paired_gain(
            softmax(logits[0]),
            softmax(logits[1]),
            rows.y,
            metric,
            winner=names[0],
            opponent=names[1],
            groups=groups,
            folds=folds,
            confidence=settings.confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )

    def contrast(self, metric: Metric, ours: FloatArray, theirs: FloatArray, rows: Rows) -> Contrast:
        """How two rungs differ; of macro-F1, whose rows have no shares of their own, they are accuracy's."""
        difference = metrics.score(metric, softmax(ours), rows.y) - metrics.score(metric, softmax(theirs), rows.y)
        sign = 1.0 if metric.higher_is_better else -1.0
        return Contrast(sign * difference, won_by(metric, ours, theirs, rows.y))

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Precision, recall and F1 of each class, and which was taken for which."""
        matrix = metrics.confusion_matrix(softmax(said.outputs), rows.y)
        return Seen(metrics.class_scores(matrix, names), tuple(tuple(int(v) for v in row) for row in matrix))


def won_by(metric: Metric, ours: FloatArray, theirs: FloatArray, y: IntArray) -> FloatArray:
    """By how much the first is better on each unit, (u,): in log-loss; else 1 where it alone is right, -1 where the other one is."""
    first, second = softmax(ours), softmax(theirs)
    if metric is Metric.LOG_LOSS:
        return metrics.row_losses(second, y) - metrics.row_losses(first, y)
    return np.asarray((metrics.predicted(first) == y).astype(np.float64) - (metrics.predicted(second) == y))


def prepare(examples: Examples, like: Examples | None = None) -> Prepared:
    """The examples as they are.

    Raises:
        DataError: the rows are pairs of texts.
    """
    require_one_text(examples, ", or learn one label for both with --task pairs")
    return Prepared(examples, ())


def make_labels(training: Sequence[str], further: Sequence[str]) -> Labels:
    """The names in sorted order; a rare spelling of a training label counts as the common one."""
    spell = common_spelling(training)
    names = tuple(sorted({spell(label) for label in [*training, *further]}))
    have = set(names)
    return Labels(names, spell, lambda label: spell(label) in have)


def make_rows(texts: Sequence[str], labels: Sequence[str], known: Labels) -> Rows:
    """Rows with one class each."""
    number = {name: k for k, name in enumerate(known.names)}
    y = np.array([number[known.spell(label)] for label in labels], dtype=np.int64)
    return Rows(tuple(texts), y, len(known.names), names=names_in_words(known.names))


def label_counts(rows: Rows, names: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """How many rows bear each label."""
    counts = np.bincount(rows.y, minlength=rows.n_classes)
    return tuple((name, int(count)) for name, count in zip(names, counts, strict=True))


def suspects(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str]) -> tuple[RowNote, ...]:
    """Rows whose label is probably wrong (cleanlab)."""
    return suspect_labels(softmax(logits), rows.y, examples, names)


def hard(logits: FloatArray, rows: Rows, examples: Examples, names: Sequence[str], most: int, known: set[int]) -> list[RowNote]:
    """Rows on which the right label got the lowest probability, below one half, but for those of `known` row numbers."""
    probabilities = softmax(logits)
    given = probabilities[np.arange(len(rows)), rows.y]
    notes: list[RowNote] = []
    for i in np.argsort(given, kind="stable"):
        if len(notes) >= most or given[i] >= 0.5:
            break
        if examples.rows[i] not in known:
            k = int(probabilities[i].argmax())
            notes.append(RowNote("hard", examples.rows[i], examples.texts[i], names[rows.y[i]], names[k], float(probabilities[i, k])))
    return notes


def layer_scores(rows: Rows, groups: IntArray, reader: Reader, settings: Settings) -> list[tuple[int, Estimate]]:
    """Leave-one-out accuracy of a ridge head on each layer."""
    found = []
    for fit in sort_layers(reader.pooled(rows.texts), rows.y, rows.n_classes, 0)[2]:
        low, high = intervals.wilson(fit.accuracy, len(rows), settings.confidence)
        found.append((fit.layer, Estimate(fit.accuracy, low, high, len(rows), settings.confidence)))
    return found


TASK = Task(
    name="classification",
    summary="one label for each text",
    metrics=(Metric.MACRO_F1, Metric.ACCURACY, Metric.LOG_LOSS),
    probabilities=softmax,
    recognise=lambda _: "",
    prepare=prepare,
    checks=LabelChecks(check_classes, lambda label: (label,)),
    labels=make_labels,
    rows=make_rows,
    label_counts=label_counts,
    judge=ClassJudge(),
    suspects=suspects,
    hard=hard,
    layer_scores=layer_scores,
    curve=("probe", "tfidf"),
    curve_at=probe_and_tfidf,
)
