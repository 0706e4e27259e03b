"""How marked entities are scored: whole entities, strictly by words and type; and words by themselves.

Entity F1 counts an entity as found only where its first word, its last word and its type agree (Tjong Kim Sang and De Meulder 2003), the
same as seqeval's. Words are the classes of `data/tags.py`.

Letters in shapes: n rows (sentences), u words, c classes of a word, t types of entities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.data.tags import same_spans, spans_of
from headstart.judge import measures, metrics
from headstart.judge.measures import Measure
from headstart.judge.metrics import FloatArray
from headstart.records import ClassScore, Estimate, Gain, Scores
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.tasks.base import Contrast, Seen
from headstart.tasks.classification import ClassJudge, won_by


def entity_counts(logits: FloatArray, rows: Rows) -> FloatArray:
    """Of each row and type, (n, 3, t): entities found and right, found, there."""
    assert rows.sizes is not None  # words have sizes
    types = (rows.n_classes - 1) // 2
    row_of = np.repeat(np.arange(len(rows)), rows.sizes)
    found, there = spans_of(logits.argmax(axis=1), rows.sizes), spans_of(rows.y, rows.sizes)
    right = same_spans(found, there)

    def by_row(start: IntArray, kind: IntArray) -> FloatArray:
        cells = np.bincount(row_of[start] * types + kind - 1, minlength=len(rows) * types)
        return cells.reshape(len(rows), types).astype(np.float64)

    counts = by_row(found.start[right], found.kind[right]), by_row(found.start, found.kind), by_row(there.start, there.kind)
    return np.stack(counts, axis=1)


def by_type(types: int) -> Measure:
    """Mean F1 over the types that are there or were found, of totals (3 t, ...)."""

    def value(totals: FloatArray) -> FloatArray:
        counts = totals.reshape(3, types, *totals.shape[1:])
        present = counts[1] + counts[2] > 0
        return np.asarray((measures.f1_of(counts) * present).sum(axis=0) / np.maximum(present.sum(axis=0), 1))

    return Measure(value, lambda totals: np.asarray(totals[types:].sum(axis=0) / 2.0))


def sums_of(metric: Metric, logits: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """An entity score and the sums (n, k) that it follows from."""
    counts = entity_counts(logits, rows)
    if metric is Metric.MACRO_F1:
        return by_type(counts.shape[2]), counts.reshape(len(counts), -1)
    return measures.F1, counts.sum(axis=2)


class EntityJudge:
    """Entity F1 in all and as the mean over types; accuracy and log-loss of words."""

    def __init__(self) -> None:
        self._words = ClassJudge()

    def score(self, metric: Metric, logits: FloatArray, rows: Rows) -> float:
        """A score alone."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            return self._words.score(metric, logits, rows)
        return measures.value_of(*sums_of(metric, logits, rows))

    def estimate(self, metric: Metric, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Estimate:
        """A score with its interval; rows stand or fall together, so words are never independent."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            return self._words.estimate(metric, logits, rows, _of_words(groups, rows), settings)
        return _estimate(*sums_of(metric, logits, rows), groups, settings)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score."""
        _, sums = sums_of(Metric.ENTITY_F1, logits, rows)
        words = self._words.scores(logits, rows, _of_words(groups, rows), settings)
        return {
            Metric.ENTITY_F1.value: _estimate(measures.F1, sums, groups, settings),
            "precision": _estimate(measures.PRECISION, sums, groups, settings),
            "recall": _estimate(measures.RECALL, sums, groups, settings),
            Metric.MACRO_F1.value: self.estimate(Metric.MACRO_F1, logits, rows, groups, settings),
            **{name: words[name] for name in (Metric.ACCURACY.value, Metric.LOG_LOSS.value, "calibration_error")},
        }

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
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            of_words = None if folds is None else rows.of_units(folds)
            return self._words.gain(logits, names, metric, rows, _of_words(groups, rows), of_words, settings)
        measure, ours = sums_of(metric, logits[0], rows)
        return measures.paired_gain(
            measure,
            ours,
            sums_of(metric, logits[1], rows)[1],
            metric=metric,
            winner=names[0],
            opponent=names[1],
            groups=groups,
            folds=folds,
            confidence=settings.confidence,
            resamples=settings.resamples,
            seed=settings.seed,
        )

    def contrast(self, metric: Metric, ours: FloatArray, theirs: FloatArray, rows: Rows) -> Contrast:
        """How two rungs differ: each row's share in the difference is its first-order influence."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            won = won_by(metric, ours, theirs, rows.y)
            share = np.bincount(rows.of_units(np.arange(len(rows))), weights=won - won.mean(), minlength=len(rows))
            return Contrast(float(won.mean()), float((share * len(rows) / len(won)).var()))
        measure, first = sums_of(metric, ours, rows)
        _, second = sums_of(metric, theirs, rows)
        apart = measures.influences(measure, first) - measures.influences(measure, second)
        return Contrast(measures.value_of(measure, first) - measures.value_of(measure, second), float(apart.var()))

    def seen(self, logits: FloatArray, rows: Rows, names: Sequence[str]) -> Seen:
        """Precision, recall and F1 of each type of entity."""
        counts = entity_counts(logits, rows).sum(axis=0)  # (3, t)
        hits, found, there = counts
        kinds = [name.partition("-")[2] for name in names[1::2]]
        f1, precision, recall = measures.f1_of(counts), hits / np.maximum(found, 1), hits / np.maximum(there, 1)
        classes = [ClassScore(kind, float(precision[k]), float(recall[k]), float(f1[k]), int(there[k])) for k, kind in enumerate(kinds)]
        return Seen(tuple(classes), ())


def word_losses(logits: FloatArray, rows: Rows) -> FloatArray:
    """Minus the log-probability of each word's true class, (u,)."""
    from headstart.judge.calibration import softmax

    return metrics.row_losses(softmax(logits), rows.y)


def _estimate(measure: Measure, sums: FloatArray, groups: IntArray | None, settings: Settings) -> Estimate:
    return measures.estimate(measure, sums, groups=groups, confidence=settings.confidence, resamples=settings.resamples, seed=settings.seed)


def _of_words(groups: IntArray | None, rows: Rows) -> IntArray:
    """The group of each word: that of its row."""
    return np.asarray(rows.of_units(np.arange(len(rows)) if groups is None else groups), dtype=np.int64)
