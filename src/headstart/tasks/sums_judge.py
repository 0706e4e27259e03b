"""A judge of scores that follow from sums over rows (`judge/measures.py`): the task says which sums, all else follows.

Letters in shapes: n rows, u units, c classes, k sums.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from headstart.data.examples import IntArray
from headstart.judge import measures
from headstart.judge.measures import Measure
from headstart.judge.metrics import FloatArray
from headstart.records import Estimate, Gain
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows
from headstart.tasks.base import Contrast

SumsOf = Callable[[Metric, FloatArray, Rows], tuple[Measure, FloatArray]]
"""A score, and the sums (n, k) that it follows from, of outputs (u, c) of some rows."""


@dataclass(frozen=True)
class SumsJudge:
    """Scores, intervals, gains and contrasts by `sums_of`; see `tasks.base.Judge`."""

    sums_of: SumsOf

    def score(self, metric: Metric, logits: FloatArray, rows: Rows) -> float:
        """A score alone."""
        return measures.value_of(*self.sums_of(metric, logits, rows))

    def estimate(self, metric: Metric, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Estimate:
        """A score with its interval."""
        return self.estimate_of(*self.sums_of(metric, logits, rows), groups, settings)

    def estimate_of(self, measure: Measure, sums: FloatArray, groups: IntArray | None, settings: Settings) -> Estimate:
        """Any score of sums (n, k) with its interval."""
        s = settings
        return measures.estimate(measure, sums, groups=groups, confidence=s.confidence, resamples=s.resamples, seed=s.seed)

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
        measure, ours = self.sums_of(metric, logits[0], rows)
        return measures.paired_gain(
            measure,
            ours,
            self.sums_of(metric, logits[1], rows)[1],
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
        measure, first = self.sums_of(metric, ours, rows)
        _, second = self.sums_of(metric, theirs, rows)
        sign = 1.0 if metric.higher_is_better else -1.0
        apart = measures.influences(measure, first) - measures.influences(measure, second)
        difference = measures.value_of(measure, first) - measures.value_of(measure, second)
        return Contrast(sign * difference, sign * apart)
