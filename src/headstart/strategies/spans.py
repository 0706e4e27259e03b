"""Answers as spans of their context: a model that tells of each token how likely an answer begins or ends there.

A span's score in a piece is the start of its first token plus the end of its last one, less both of the piece's first token, which stands
for "no answer here" (Devlin et al. 2019, arXiv 1810.04805, for SQuAD 2.0). Of all pieces of a context the span of the greatest score is
the answer.

Letters in shapes: n rows, t tokens, d width, L blocks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import nn

from headstart.backbone.cut import trunk_above
from headstart.backbone.kernels import fast_linears
from headstart.backbone.reading import Float32, Reader
from headstart.data.answers import from_label
from headstart.data.pairs import split_pair
from headstart.judge.answer_match import exact, f1, language_of
from headstart.records import CurvePoint
from headstart.strategies.adapter import Adapter
from headstart.strategies.base import FloatArray, LinearHead, Rows, Said
from headstart.strategies.model import states_through
from headstart.strategies.pieces import Piece, drawn, make_pieces

# What the outputs (n, 5) of a row are: how far its answer stands above "no answer"; how right it is; how right "no answer" is.
MARGIN, EXACT, F1, EXACT_NONE, F1_NONE = range(5)
_NO_SPAN = -1e9
# Of long contexts some rows tell rungs apart, and reading all of every context for every fold would take the budget.
MOST_COMPARED, FEWEST_COMPARED = 100_000, 4


@dataclass(frozen=True)
class Span:
    """An answer found: characters `start` to before `end` of its context, `margin` above "no answer".

    `share` is its probability among all spans of the context, should one of them be the answer: in (0, 1].
    """

    start: int
    end: int
    margin: float
    share: float = 1.0


def best_span(piece: Piece, scores: FloatArray, longest: int) -> tuple[Span, float]:
    """The best span of a piece, by scores (t, 2) of starts and ends, at most `longest` tokens long; and the logarithm of the sum of the
    exponentials of all its spans' margins."""
    tokens = np.flatnonzero(piece.inside)
    if not len(tokens):
        return Span(0, 0, _NO_SPAN), -np.inf
    starts, ends = scores[tokens, 0], scores[tokens, 1]
    reach = min(longest, len(tokens))
    # Row k of `ahead` is the end k tokens after each start.
    ahead = np.full((reach, len(tokens)), -np.inf)
    for k in range(reach):
        ahead[k, : len(tokens) - k] = ends[k:]
    both = starts + ahead
    k, first = (int(place) for place in np.unravel_index(int(both.argmax()), both.shape))
    none, best = float(scores[0].sum()), float(both[k, first])
    every = best + float(np.log(np.exp(both - best).sum())) - none
    return Span(int(piece.places[tokens[first], 0]), int(piece.places[tokens[first + k], 1]), best - none), every


Scored = Callable[[Sequence[Piece]], Iterator[tuple[int, FloatArray]]]
"""The position of each of some pieces, and its tokens' scores (t, 2)."""


def find_spans(tokenizer: object, max_length: int, texts: Sequence[str], longest: int, scored: Scored, at_once: int) -> list[Span]:
    """The best span of each text over all pieces of its context; `at_once` pieces are handed to `scored` at a time.

    What two pieces share counts in both: a span's share is then a little too small.
    """
    found = [Span(0, 0, _NO_SPAN)] * len(texts)
    every = np.full(len(texts), -np.inf)
    pieces = sorted(make_pieces(tokenizer, max_length, texts), key=lambda piece: -piece.length)
    for begin in range(0, len(pieces), at_once):
        part = pieces[begin : begin + at_once]
        for i, scores in scored(part):
            row = part[i].row
            span, together = best_span(part[i], scores, longest)
            every[row] = np.logaddexp(every[row], together)
            if span.margin > found[row].margin:
                found[row] = span
    return [
        _trimmed(replace(span, share=float(np.exp(span.margin - total))), split_pair(text)[1]) if span.margin > _NO_SPAN else span
        for span, total, text in zip(found, every, texts, strict=True)
    ]


def _trimmed(span: Span, context: str) -> Span:
    """A span without the white space at its ends: many tokenizers count the space before a word to its first token."""
    said = context[span.start : span.end]
    start = span.end - len(said.lstrip())
    return replace(span, start=start, end=start + len(said.strip()))


@dataclass(frozen=True)
class SpanModel:
    """A trained rung of answers. Below the cut it reads texts through the source's store.

    `module` is the whole backbone with what it learned; None: the source's own weights. `cut` is how many blocks are still the source's own
    (L: all). The head (2, d) acts on tokens of `layer`. Spans are at most `longest` tokens. `may_abstain`: it has seen contexts without an
    answer, and says none where the margin is below 0. `adapter` as in `model.TransferModel`.
    """

    reader: Reader
    module: nn.Module | None
    cut: int
    layer: int
    head: LinearHead
    longest: int
    may_abstain: bool
    curve: tuple[CurvePoint, ...] = ()
    factor: float = 1.0
    shift: float = 0.0
    adapter: Adapter | None = None

    def spans(self, texts: Sequence[str]) -> list[Span]:
        """The best span of each text with its margin, moved as calibration says."""
        backbone, reader = self.reader.backbone, self.reader
        if self.module is None:

            def scored(pieces: Sequence[Piece]) -> Iterator[tuple[int, FloatArray]]:
                for i, states in enumerate(reader.activations([piece.text for piece in pieces], self.layer)):
                    yield i, self.head.logits(states)

            found = find_spans(backbone.tokenizer, backbone.max_length, texts, self.longest, scored, reader.at_once)
        else:
            with trunk_above(self.module, self.cut, backbone.above) as trunk, fast_linears(trunk):

                def through(pieces: Sequence[Piece]) -> Iterator[tuple[int, FloatArray]]:
                    states: Float32
                    for i, states in states_through(trunk, reader, [piece.text for piece in pieces], self.layer):
                        yield i, self.head.logits(states)

                found = find_spans(backbone.tokenizer, backbone.max_length, texts, self.longest, through, reader.at_once)
        return [replace(span, margin=span.margin * self.factor + self.shift) for span in found]

    def answer(self, rows: Rows) -> Said:
        """The answers, "" for none, and outputs (n, 5)."""
        return said_by(self.spans(rows.texts), rows, self.may_abstain)

    def compared(self, rows: Rows) -> FloatArray:
        """Outputs (n, 5) of some rows, NaN for the others (`of_some`)."""
        return of_some(self.answer, rows)

    def scaled(self, factor: float, shift: float = 0.0) -> SpanModel:
        """The same model with margins multiplied by `factor`, and `shift` added."""
        return replace(self, factor=self.factor * factor, shift=self.shift * factor + shift)


def of_some(answer: Callable[[Rows], Said], rows: Rows) -> FloatArray:
    """Outputs (n, 5) of rows with at most `MOST_COMPARED` characters together, or `FEWEST_COMPARED` rows, NaN for the others: the same rows
    for every rung."""
    some = drawn(rows.texts, MOST_COMPARED, FEWEST_COMPARED)
    outputs = np.full((len(rows), 5), np.nan)
    outputs[some] = answer(rows.take(some)).outputs
    return outputs


def said_by(spans: Sequence[Span], rows: Rows, may_abstain: bool) -> Said:
    """Spans as answers in words, compared with the true ones; who may not abstain has an endless margin."""
    outputs, answers = np.empty((len(rows), 5)), []
    for i, (span, text, label) in enumerate(zip(spans, rows.texts, rows.y, strict=True)):
        context = split_pair(text)[1]
        truths = [answer.text for answer in from_label(label)]
        language = language_of(context)
        said = context[span.start : span.end]
        margin = span.margin if may_abstain else np.inf
        matches = [match(answer, truths, language) for answer in (said, "") for match in (exact, f1)]
        outputs[i] = [margin, *matches]
        answers.append(said if margin > 0 else "")
    return Said(outputs, tuple(answers))
