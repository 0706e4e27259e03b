"""How answers are scored: the F1 of their words and exact match, as SQuAD's script does (`judge/answer_match.py`).

A row counts as the model answers it: with its span where that stands above "no answer", else with none.

Letters in shapes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headstart.data.answers import NOTHING, Answer, find_in, from_label
from headstart.data.examples import IntArray
from headstart.data.pairs import split_pair
from headstart.judge import measures
from headstart.judge.calibration import Calibration
from headstart.judge.measures import Measure
from headstart.judge.metrics import FloatArray
from headstart.records import Mark, Scores, Shown
from headstart.settings import Metric, Settings
from headstart.strategies.base import Rows, Said
from headstart.strategies.spans import EXACT, EXACT_NONE, F1, F1_NONE, MARGIN
from headstart.tasks.base import Seen
from headstart.tasks.sums_judge import SumsJudge

SHOWN = 20  # rows that the report shows
_AROUND = 160  # characters of the context before and behind an answer that are shown


def matched(metric: Metric, outputs: FloatArray) -> FloatArray:
    """The score of each row, (n,), of outputs (n, 5)."""
    span, none = (EXACT, EXACT_NONE) if metric is Metric.EXACT_MATCH else (F1, F1_NONE)
    return np.asarray(np.where(outputs[:, MARGIN] > 0, outputs[:, span], outputs[:, none]))


def sums_of(metric: Metric, outputs: FloatArray, rows: Rows) -> tuple[Measure, FloatArray]:
    """A score and the sums (n, 2) that it follows from."""
    return measures.MEAN, measures.means_of(matched(metric, outputs))


class AnswerJudge(SumsJudge):
    """F1 and exact match of all rows, and of those with and without an answer where there are both."""

    def __init__(self) -> None:
        super().__init__(sums_of)

    def scores(self, logits: FloatArray, rows: Rows, groups: IntArray | None, settings: Settings) -> Scores:
        """Every score."""
        found = {metric.value: self.estimate(metric, logits, rows, groups, settings) for metric in (Metric.ANSWER_F1, Metric.EXACT_MATCH)}
        answered = rows.y != NOTHING
        if answered.all() or not answered.any():
            return found
        for name, part in (("f1_where_there_is_an_answer", answered), ("right_where_there_is_none", ~answered)):
            sums = measures.means_of(matched(Metric.ANSWER_F1, logits))[part]
            found[name] = self.estimate_of(measures.MEAN, sums, None if groups is None else groups[part], settings)
        return found

    def seen(self, said: Said, rows: Rows, names: Sequence[str]) -> Seen:
        """Some rows with what was answered, the answers marked in what stands around them."""
        step = max(1, len(rows) // SHOWN)
        scores = matched(Metric.ANSWER_F1, said.outputs)
        some = range(0, len(rows), step)[:SHOWN]
        return Seen(shown=tuple(_shown(rows.texts[i], from_label(rows.y[i]), said.answers[i], float(scores[i])) for i in some))


def _shown(text: str, truths: tuple[Answer, ...], answer: str, score: float) -> Shown:
    """A row in words: its question, then the context around the true answer, else around the given one, with marks on both."""
    question, context = split_pair(text)
    true = truths[0] if truths else None
    given = find_in(context, answer, true.start if true else None)
    middle = true or given or Answer("", 0)
    first, last = max(0, middle.start - _AROUND), middle.end + _AROUND
    opening = f"{question} — {'…' if first else ''}"
    move = len(opening) - first
    if true == given:
        marks = [(true, "both")] if true else []
    else:
        marks = [(one, by) for one, by in ((true, "label"), (given, "model")) if one is not None and first <= one.start and one.end <= last]
    placed = tuple(Mark(one.start + move, one.end + move, "", by) for one, by in marks)
    return Shown(opening + context[first:last], true.text if true else "", answer, score, placed)


def best_margin(outputs: FloatArray, rows: Rows) -> Calibration:
    """The margin at which answers are given such that the F1 of these rows, which the model had not seen, is greatest.

    Halfway between the two rows that it parts. Nothing is moved where every row has an answer, where none may be withheld, and where
    the line gains no more than its standard error over the one that the model has: margins of another training lie elsewhere, and a line
    drawn on a few dozen rows loses more there than it gained here.
    """
    if not np.isfinite(outputs[:, MARGIN]).all() or (rows.y != NOTHING).all():
        return Calibration()
    order = np.argsort(-outputs[:, MARGIN], kind="stable")
    margins = outputs[order, MARGIN]
    gains = np.concatenate([[0.0], np.cumsum(outputs[order, F1] - outputs[order, F1_NONE])])
    # Rows of one margin cannot be parted.
    able = np.concatenate([[True], margins[1:] < margins[:-1], [True]])
    places = np.flatnonzero(able)

    def gained_at(k: int) -> FloatArray:
        moved = np.where(np.arange(len(margins)) < k, 1.0, 0.0) - (margins > 0)
        return np.asarray(moved * (outputs[order, F1] - outputs[order, F1_NONE]))

    best = places[gains[places] > gains[places].max() - 1e-9]
    k = min(best.tolist(), key=lambda k: float(gained_at(k).std()))  # of lines that gain as much the surest
    gained = gained_at(k)
    if len(gained) < 2 or gained.mean() <= gained.std(ddof=1) / np.sqrt(len(gained)):
        return Calibration()
    if k == 0:
        line = float(margins[0]) + 1.0
    elif k == len(margins):
        line = float(margins[-1]) - 1.0
    else:
        line = float(margins[k - 1] + margins[k]) / 2.0
    return Calibration(1.0, -line)
