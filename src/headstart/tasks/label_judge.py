"""How several labels of a text are scored: a label counts as given where its output is above zero (`judge/calibration.py` puts it there).

Micro-F1 counts all labels of all rows together, macro-F1 is the mean over labels; a row is right where exactly its labels were given; the
ranking precision looks at the order of the labels alone (label ranking average precision, Tsoumakas et al. 2010; a row that bears
none or all counts 1). All four equal scikit-learn's, of macro-F1 where a label that no row bears and none was given is no part of the mean
(`zero_division=nan`).

Letters in shapes: n rows, c labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import measures
from headstart.judge.measures import Measure
from headstart.judge.metrics import FloatArray
from headstart.records import ClassScore, Scores
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.base import Seen
from headstart.tasks.sums_judge import SumsJudge

RANKING = "ranking_precision"


def label_hits(logits: FloatArray, rows: Rows) -> FloatArray:
    """Of each row and label, (n, 3, c): given and right, given, borne."""
    given, borne = logits > 0, rows.y > 0
    return np.stack([given & borne, given, borne], axis=1).astype(np.float64)


def ranking_precisions(logits: FloatArray, y: IntArray) -> FloatArray:
    """Of each row, (n,): the mean over its labels of the share of borne ones among those that are ranked as high or higher."""
    from scipy.stats import rankdata

    found = np.ones(len(y))
    for i in np.flatnonzero((y.sum(axis=1) > 0) & (y.sum(axis=1) < y.shape[1])):
        borne = y[i] > 0
        among_all = rankdata(-logits[i], "max")[borne]
        found[i] = float((rankdata(-logits[i][borne], "max") / among_all).mean())
    return found


def sums_of(metric: Metric, logits: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """A score and the sums (n, k) that it follows from."""
    if metric is Metric.ACCURACY:
        return measures.MEAN, measures.means_of(((logits > 0) == (rows.y > 0)).all(axis=1).astype(np.float64))
    hits = label_hits(logits, rows)
    if metric is Metric.MACRO_F1:
        return measures.mean_by_class(hits.shape[2]), hits.reshape(len(hits), -1)
    return measures.F1, hits.sum(axis=2)


class LabelJudge(SumsJudge):
    """Micro- and macro-F1, rows that are right in all labels, the order of labels."""

    def __init__(self) -> None:
        super().__init__(sums_of)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score."""
        _, sums = sums_of(Metric.MICRO_F1, logits, rows)
        ranked = measures.means_of(ranking_precisions(logits, rows.y))
        return {
            Metric.MICRO_F1.value: self.estimate_of(measures.F1, sums, groups, settings),
            Metric.MACRO_F1.value: self.estimate(Metric.MACRO_F1, logits, rows, groups, settings),
            "precision": self.estimate_of(measures.PRECISION, sums, groups, settings),
            "recall": self.estimate_of(measures.RECALL, sums, groups, settings),
            Metric.ACCURACY.value: self.estimate(Metric.ACCURACY, logits, rows, groups, settings),
            RANKING: self.estimate_of(measures.MEAN, ranked, groups, settings),
        }

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Precision, recall and F1 of each label."""
        counts = label_hits(said.outputs, rows).sum(axis=0)  # (3, c)
        hits, given, borne = counts
        f1, precision, recall = measures.f1_of(counts), hits / np.maximum(given, 1), hits / np.maximum(borne, 1)
        rows_of = [ClassScore(name, float(precision[k]), float(recall[k]), float(f1[k]), int(borne[k])) for k, name in enumerate(names)]
        return Seen(tuple(rows_of))
