"""How translations are scored: by BLEU, as sacreBLEU counts it, and by chrF++.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge.bleu import BLEU_SUMS, CHRF_SUMS, bleu_of, chrf_of
from headstart.judge.measures import Measure, Range
from headstart.judge.metrics import FloatArray
from headstart.records import Scores, Shown
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.tasks.base import Seen
from headstart.tasks.sums_judge import SumsJudge

SHOWN = 20  # rows that the report shows

BLEU = Measure(bleu_of, lambda sums: np.asarray(sums[-1]), Range.POINTS)
CHRF = Measure(chrf_of, lambda sums: np.asarray(sums[1]), Range.POINTS)


def sums_of(metric: Metric, outputs: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """A score and the sums (n, 10 or 24) that it follows from, of outputs (n, 34)."""
    return (BLEU, outputs[:, :BLEU_SUMS]) if metric is Metric.BLEU else (CHRF, outputs[:, BLEU_SUMS : BLEU_SUMS + CHRF_SUMS])


def row_chrf(outputs: FloatArray) -> FloatArray:
    """chrF++ of each row by itself, (n,)."""
    return chrf_of(outputs[:, BLEU_SUMS : BLEU_SUMS + CHRF_SUMS].T)


class TranslationJudge(SumsJudge):
    """BLEU and chrF++."""

    def __init__(self) -> None:
        super().__init__(sums_of)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Both scores."""
        return {metric.value: self.estimate(metric, logits, rows, groups, settings) for metric in (Metric.BLEU, Metric.CHRF)}

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Some rows with their translation, from the worst to the best by chrF++."""
        scores = row_chrf(said.outputs)
        order = np.argsort(scores, kind="stable")
        some = order[np.unique(np.linspace(0, len(order) - 1, min(SHOWN, len(order))).round().astype(int))] if len(order) else order
        return Seen(
            shown=tuple(Shown(rows.texts[i], str(rows.y[i]).strip(), said.answers[i].strip(), float(scores[i]) / 100.0) for i in some)
        )
