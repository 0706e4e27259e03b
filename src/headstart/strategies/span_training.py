"""Training of answers above the cut: pieces of contexts, each token told whether the answer begins or ends at it.

Letters in shapes: p pieces, t tokens, d width.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from torch import nn

from headstart.backbone.reading import Reader
from headstart.data.answers import NOTHING, Answer, from_label
from headstart.data.examples import IntArray
from headstart.strategies.base import LinearHead, Rows
from headstart.strategies.ladder import Job
from headstart.strategies.losses import END, START, Loss
from headstart.strategies.model import NO_LABEL
from headstart.strategies.pieces import Piece, draw_of, make_pieces
from headstart.strategies.schedule import Schedule, planned_steps, schedule_of
from headstart.strategies.scratch import random_module, random_schedule
from headstart.strategies.spans import SpanModel
from headstart.strategies.training import tune

# Of each row so many pieces without its answer are learnt too, so that the model says where none is.
_WITHOUT = 1
# Spans are at most this much longer than the longest of training, and never longer than so many tokens.
_LONGER, _LONGEST = 1.2, 128


def fit_spans(job: Job, strategy: str, cut: int) -> SpanModel:
    """Tune the blocks from `cut` on, with a head that begins at zero (why: `word_training.fit_words`)."""
    return tune_spans(job.source, job.rows, cut=cut, schedule=schedule_of(job, planned_steps(strategy, len(job.rows), job.settings)))


def fit_random_spans(job: Job, rate: float) -> SpanModel:
    """Everything from random weights."""
    return tune_spans(job.source, job.rows, cut=0, schedule=random_schedule(job, len(job.rows), rate), module=random_module(job))


def tune_spans(
    reader: Reader,
    rows: Rows,
    *,
    cut: int,
    schedule: Schedule,
    module: nn.Module | None = None,
    stored: bool = True,
    only: frozenset[str] | None = None,
    head: LinearHead | None = None,
) -> SpanModel:
    """Train on pieces of these rows; arguments as in `training.tune`. `head` None: it begins at zero."""
    told = told_pieces(reader, rows)
    if stored and cut:
        reader.read_ahead(told.pieces.texts, [cut])
    head = head or LinearHead(np.zeros((2, reader.backbone.width)), np.zeros(2))
    tuned = tune(reader, told.pieces, cut=cut, head=head, schedule=schedule, loss=Loss.SPANS, module=module, stored=stored, only=only)
    abstains = bool((rows.y == NOTHING).any())
    return SpanModel(reader, tuned.module, cut, reader.backbone.n_blocks, tuned.head, told.longest, abstains, tuned.curve)


@dataclass(frozen=True)
class Told:
    """Pieces as rows whose units are tokens, each told `START` and `END`; those that can be neither have no label.

    `row` (p,) is the position of each piece's row, `span` (p,) how many tokens its answer has, 0 where it holds none.
    """

    pieces: Rows
    row: IntArray
    span: IntArray

    @property
    def longest(self) -> int:
        """Tokens that an answer may have: a little more than those of training."""
        return min(_LONGEST, int(np.ceil(_LONGER * max(1, self.span.max(initial=1)))))

    def of(self, rows: IntArray) -> Told:
        """The pieces of some rows alone, in the order in which they stand."""
        some = np.flatnonzero(np.isin(self.row, rows))
        return Told(self.pieces.take(some), self.row[some], self.span[some])


def told_pieces(reader: Reader, rows: Rows, order: IntArray | None = None) -> Told:
    """What of the pieces of rows is learnt; `order` are the rows that are taken, None: all as they stand.

    Of each row all pieces that hold an answer are taken, and `_WITHOUT` by chance of those that none reaches into; of one without any twice
    that. A piece is told the first of the answers that stand in it whole.
    Chance hangs on the row's text alone: every fold is told the same pieces of it, which are then read once.
    """
    order = np.arange(len(rows)) if order is None else order
    by_row: dict[int, list[Piece]] = {}
    for piece in make_pieces(reader.backbone.tokenizer, reader.backbone.max_length, [rows.texts[i] for i in order]):
        by_row.setdefault(int(order[piece.row]), []).append(piece)
    kept: list[tuple[int, Piece, tuple[int, int] | None]] = []
    for row, pieces in by_row.items():
        answers = from_label(rows.y[row])
        spans = [next((span for answer in answers if (span := tokens_of(piece, answer))), None) for piece in pieces]
        kept += [(row, piece, span) for piece, span in zip(pieces, spans, strict=True) if span is not None]
        others = [piece for piece in pieces if not any(len(touched_by(piece, answer)) for answer in answers)]
        if not others and not any(spans):  # of an answer that fits into no piece: a row has one at least
            others = pieces
        chosen = np.random.default_rng(draw_of(rows.texts[row])).permutation(len(others))[: _WITHOUT if answers else 2 * _WITHOUT]
        kept += [(row, others[i], None) for i in chosen]
    sizes = np.array([piece.length for _, piece, _ in kept], dtype=np.int64)
    units = np.concatenate([_told(piece, span) for _, piece, span in kept])
    texts = tuple(piece.text for _, piece, _ in kept)
    lengths = [0 if span is None else span[1] - span[0] + 1 for _, _, span in kept]
    told = Rows(texts, units, 2, sizes, np.zeros(len(kept), dtype=np.int64))
    return Told(told, np.array([row for row, _, _ in kept], dtype=np.int64), np.array(lengths, dtype=np.int64))


def touched_by(piece: Piece, answer: Answer) -> IntArray:
    """The tokens of a piece in which some of an answer stands."""
    return np.flatnonzero(piece.inside & (piece.places[:, 1] > answer.start) & (piece.places[:, 0] < answer.end))


def tokens_of(piece: Piece, answer: Answer) -> tuple[int, int] | None:
    """The first and the last token of an answer in a piece; None: it does not stand there whole."""
    touched = touched_by(piece, answer)
    inside = np.flatnonzero(piece.inside)
    if not len(touched):
        return None
    # A sign of which no token is read may stand at either end; only what the piece cuts off is missing.
    cut_before = piece.places[touched[0], 0] > answer.start and touched[0] == inside[0]
    cut_behind = piece.places[touched[-1], 1] < answer.end and touched[-1] == inside[-1]
    return None if cut_before or cut_behind else (int(touched[0]), int(touched[-1]))


def _told(piece: Piece, span: tuple[int, int] | None) -> IntArray:
    told = np.where(piece.inside, 0, NO_LABEL).astype(np.int64)
    told[0] = START | END if span is None else 0
    if span is not None:
        told[span[0]] |= START
        told[span[1]] |= END
    return told
