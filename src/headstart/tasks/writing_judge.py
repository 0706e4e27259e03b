"""How completions are scored: by how likely the true one is to the model, and by what it writes itself.

Bits per byte of the true completion (the fewer the better) compares models of any vocabulary; perplexity is per token of the model's own
vocabulary. ROUGE-L and exact match stand on the rows whose completion was written.

Letters in shapes: n rows.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from headstart.data.examples import IntArray
from headstart.judge import measures
from headstart.judge.measures import Measure, Range
from headstart.judge.metrics import FloatArray
from headstart.records import Scores, Shown
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.strategies.language import BYTES, EXACT, NATS, ROUGE, TOKENS, WRITTEN
from headstart.strategies.prompts import shown_prompt
from headstart.tasks.base import Seen
from headstart.tasks.sums_judge import SumsJudge

SHOWN = 20  # rows that the report shows

# Of (2, ...): nats of completions, their bytes or tokens.
BITS = Measure(lambda sums: np.asarray(sums[0] / np.maximum(sums[1], 1.0) / math.log(2.0)), lambda sums: np.asarray(sums[1]), Range.LOSS)
PERPLEXITY = Measure(lambda sums: np.asarray(np.exp(sums[0] / np.maximum(sums[1], 1.0))), lambda sums: np.asarray(sums[1]), Range.LOSS)


def sums_of(metric: Metric, outputs: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """A score and the sums (n, 2) that it follows from, of outputs (n, 6)."""
    if metric is Metric.BITS_PER_BYTE:
        return BITS, outputs[:, [NATS, BYTES]]
    return measures.MEAN, outputs[:, [ROUGE if metric is Metric.ROUGE_L else EXACT, WRITTEN]]


class WritingJudge(SumsJudge):
    """Bits per byte, perplexity, ROUGE-L and exact match."""

    def __init__(self) -> None:
        super().__init__(sums_of)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score; those of what was written where anything was."""
        found = {
            Metric.BITS_PER_BYTE.value: self.estimate(Metric.BITS_PER_BYTE, logits, rows, groups, settings),
            "perplexity": self.estimate_of(PERPLEXITY, logits[:, [NATS, TOKENS]], groups, settings),
        }
        written = np.flatnonzero(logits[:, WRITTEN] > 0)
        if len(written):
            part, own = rows.take(written), None if groups is None else groups[written]
            for metric in (Metric.ROUGE_L, Metric.EXACT_MATCH):
                found[metric.value] = self.estimate(metric, logits[written], part, own, settings)
        return found

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Some rows with what was written."""
        written = np.flatnonzero(said.outputs[:, WRITTEN] > 0)
        some = written[:: max(1, len(written) // SHOWN)][:SHOWN]
        return Seen(
            shown=tuple(
                Shown(shown_prompt(rows.texts[i]), str(rows.y[i]).strip(), said.answers[i].strip(), float(said.outputs[i, ROUGE]))
                for i in some
            )
        )
