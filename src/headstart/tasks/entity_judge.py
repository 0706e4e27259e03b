"""How marked entities are scored: whole entities, strictly by words and type; and words by themselves.

Entity F1 counts an entity as found only where its first word, its last word and its type agree (Tjong Kim Sang and De Meulder 2003), the
same as seqeval's. Words are the classes of `data/tags.py`.

Letters in shapes: n rows (sentences), u words, c classes of a word, t types of entities.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np

from headstart.data.examples import IntArray
from headstart.data.tags import same_spans, spans_of
from headstart.judge import measures, metrics
from headstart.judge.calibration import softmax
from headstart.judge.measures import Measure
from headstart.judge.metrics import FloatArray
from headstart.records import ClassScore, Estimate, Gain, Scores
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.base import Contrast, Seen
from headstart.tasks.classification import ClassJudge, won_by
from headstart.tasks.sums_judge import SumsJudge


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


def sums_of(metric: Metric, logits: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """An entity score and the sums (n, k) that it follows from."""
    counts = entity_counts(logits, rows)
    if metric is Metric.MACRO_F1:
        return measures.mean_by_class(counts.shape[2]), counts.reshape(len(counts), -1)
    return measures.F1, counts.sum(axis=2)


class EntityJudge:
    """Entity F1 in all and as the mean over types; accuracy and log-loss of words."""

    def __init__(self) -> None:
        self._words = ClassJudge()
        self._entities = SumsJudge(sums_of)

    def score(self, metric: Metric, logits: FloatArray, rows: Rows) -> float:
        """A score alone."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            return self._words.score(metric, logits, rows)
        return self._entities.score(metric, logits, rows)

    def estimate(self, metric: Metric, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Estimate:
        """A score with its interval; rows stand or fall together, so words are never independent."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            return self._words.estimate(metric, logits, rows, _of_words(groups, rows), settings)
        return self._entities.estimate(metric, logits, rows, groups, settings)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score."""
        _, sums = sums_of(Metric.ENTITY_F1, logits, rows)
        words = self._words.scores(logits, rows, _of_words(groups, rows), settings)
        of_entities = partial(self._entities.estimate_of, sums=sums, groups=groups, settings=settings)
        return {
            Metric.ENTITY_F1.value: of_entities(measures.F1),
            "precision": of_entities(measures.PRECISION),
            "recall": of_entities(measures.RECALL),
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
        return self._entities.gain(logits, names, metric, rows, groups, folds, settings)

    def contrast(self, metric: Metric, ours: FloatArray, theirs: FloatArray, rows: Rows) -> Contrast:
        """How two rungs differ: each row's share in the difference is its first-order influence."""
        if metric in (Metric.ACCURACY, Metric.LOG_LOSS):
            won = won_by(metric, ours, theirs, rows.y)
            share = np.bincount(rows.of_units(np.arange(len(rows))), weights=won - won.mean(), minlength=len(rows))
            return Contrast(float(won.mean()), share * len(rows) / len(won))
        return self._entities.contrast(metric, ours, theirs, rows)

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Precision, recall and F1 of each type of entity."""
        counts = entity_counts(said.outputs, rows).sum(axis=0)  # (3, t)
        hits, found, there = counts
        kinds = [name.partition("-")[2] for name in names[1::2]]
        f1, precision, recall = measures.f1_of(counts), hits / np.maximum(found, 1), hits / np.maximum(there, 1)
        classes = [ClassScore(kind, float(precision[k]), float(recall[k]), float(f1[k]), int(there[k])) for k, kind in enumerate(kinds)]
        return Seen(tuple(classes))


def word_losses(logits: FloatArray, rows: Rows) -> FloatArray:
    """Minus the log-probability of each word's true class, (u,)."""
    return metrics.row_losses(softmax(logits), rows.y)


def _of_words(groups: IntArray | None, rows: Rows) -> IntArray:
    """The group of each word: that of its row."""
    return np.asarray(rows.of_units(np.arange(len(rows)) if groups is None else groups), dtype=np.int64)
