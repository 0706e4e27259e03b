"""The frozen rung of answers: a linear head for starts and ends on each token, at the layer that serves best, whose activations are stored.

Nothing runs through the source while it learns. Over pieces, with features z of mean 0 on principal axes as in `heads.py`, the objective is

    sum_pieces  cross_entropy(z @ w_start, its start)  +  cross_entropy(z @ w_end, its end)  +  strength / 2 * sum(W ** 2)

where each softmax is over the tokens of a piece that can be an answer, and its first token, which stands for none.

Letters in shapes: n rows, p pieces, t tokens of all pieces together, r axes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.backbone.reading import Reader
from headstart.data.answers import NOTHING
from headstart.data.examples import IntArray
from headstart.settings import Settings
from headstart.strategies.base import FloatArray, Folds, Rows, Trained
from headstart.strategies.heads import FINAL, Solution, Space, make_space
from headstart.strategies.ladder import Job, Strategy, Work
from headstart.strategies.losses import END, START
from headstart.strategies.model import NO_LABEL
from headstart.strategies.pieces import TOKENS_A_CHARACTER, drawn
from headstart.strategies.span_training import Told, told_pieces
from headstart.strategies.spans import MOST_COMPARED, SpanModel
from headstart.strategies.word_probe import candidate_layers

STRENGTHS = (1.0, 0.1, 0.01)
USUAL = 0.1
MOST_TOKENS = 200_000  # that a head is fitted on: 300 MB of MiniLM's
MOST_TRIED = 60_000  # on which the layer and the penalty are chosen
MOST_CHARACTERS = 8_000_000  # of contexts that are cut into pieces for it: of long ones fewer fill the tokens
_TRYING = 1e-2


@dataclass(frozen=True)
class Tokens:
    """The tokens of pieces that can begin or end an answer. `states` (t, d); `begins` (p,) is where each piece's tokens begin, and
    `starts` and `ends` (p,) where among all tokens its answer begins and ends."""

    states: NDArray[np.float32]
    begins: IntArray
    starts: IntArray
    ends: IntArray


def tokens_of(reader: Reader, told: Told, layers: Sequence[int], most: int) -> list[Tokens]:
    """The tokens of the first pieces, `most` tokens at most, at each of the layers."""
    assert told.pieces.sizes is not None  # pieces have tokens
    starts = np.cumsum(told.pieces.sizes) - told.pieces.sizes
    able = np.add.reduceat((told.pieces.y != NO_LABEL).astype(np.int64), starts)
    able = able[: max(1, int(np.searchsorted(np.cumsum(able), most)))]
    kept = told.pieces.take(range(len(able)))
    some = kept.y != NO_LABEL
    begins = np.cumsum(able) - able
    starts, ends = (np.flatnonzero(kept.y[some] & what) for what in (START, END))
    reader.read_ahead(kept.texts, layers)
    return [Tokens(np.concatenate(reader.activations(kept.texts, layer))[some], begins, starts, ends) for layer in layers]


def told_rows(reader: Reader, rows: Rows) -> Told:
    """What is learnt of rows, those with `MOST_CHARACTERS` together, in an order that is the same for every share of them."""
    return told_pieces(reader, rows, drawn(rows.texts, MOST_CHARACTERS, 1))


def solve_spans(
    z: NDArray[np.float32], tokens: Tokens, strength: float, tolerance: float, start: FloatArray | None = None
) -> tuple[FloatArray, float]:
    """The weights (2, r) of the least objective for tokens z (t, r), and the mean loss a piece there; `start` saves time only."""
    from scipy.optimize import minimize

    sizes = np.diff(np.append(tokens.begins, len(z)))
    # The Hessian's diagonal where all tokens are as likely, as in `heads.py`: W times its root is what L-BFGS sees.
    curved = np.zeros(z.shape[1])
    for begin, size in zip(tokens.begins.tolist(), sizes.tolist(), strict=True):
        curved += z[begin : begin + size].var(axis=0, dtype=np.float64)
    stretch = np.sqrt(curved + strength)
    weight = np.zeros((2, z.shape[1])) if start is None else start

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        scaled = flat.reshape(2, -1) / stretch
        loss, apart = _loss(scaled.astype(np.float32) @ z.T, tokens, sizes)
        return loss + 0.5 * strength * float(np.vdot(scaled, scaled)), ((apart @ z + strength * scaled) / stretch).ravel()

    options = {"maxiter": 300, "maxcor": 10, "gtol": tolerance, "ftol": 1e-9}
    found = minimize(objective, (weight * stretch).ravel(), jac=True, method="L-BFGS-B", options=options)
    weight = found.x.reshape(2, -1) / stretch
    return weight, mean_loss(z, tokens, weight)


def mean_loss(z: NDArray[np.float32], tokens: Tokens, weight: FloatArray) -> float:
    """Cross-entropy of starts and ends together, the mean over pieces."""
    return _loss(weight.astype(np.float32) @ z.T, tokens, np.diff(np.append(tokens.begins, len(z))))[0] / max(len(tokens.begins), 1)


def _loss(scores: NDArray[np.float32], tokens: Tokens, sizes: IntArray) -> tuple[float, NDArray[np.float32]]:
    """The sum of losses for scores (2, t), and its gradient by them."""
    scores = scores - np.repeat(np.maximum.reduceat(scores, tokens.begins, axis=1), sizes, axis=1)
    right = scores[0, tokens.starts], scores[1, tokens.ends]
    np.exp(scores, out=scores)
    totals = np.add.reduceat(scores, tokens.begins, axis=1)
    loss = float(np.log(totals).sum(dtype=np.float64) - right[0].sum(dtype=np.float64) - right[1].sum(dtype=np.float64))
    scores /= np.repeat(totals, sizes, axis=1)
    scores[0, tokens.starts] -= 1.0
    scores[1, tokens.ends] -= 1.0
    return loss, scores


def tokens_for(most: int, settings: Settings) -> int:
    """Of so many tokens those that fit into the budget: all from the usual one on, below it in proportion."""
    return round(most * min(1.0, settings.budget / Settings.budget))


def choose_span_head(reader: Reader, told: Told, folds: Folds, most: int = MOST_TRIED) -> tuple[int, float]:
    """The layer and the penalty with the least loss on the rows that the first fold holds out; without folds the last, and the usual one.

    `most` tokens of either side are looked at.

    The last layer of an encoder that was made for whole sentences tells least of single tokens (docs/log.md).
    """
    layers = candidate_layers(reader.backbone)
    parts = [told.of(rows) for rows in folds[0]] if folds else []
    if not parts or not all(len(part.row) for part in parts):
        return layers[-1], USUAL
    losses = {}
    for layer, own, other in zip(layers, *(tokens_of(reader, part, layers, most) for part in parts), strict=True):
        space = make_space(own.states)
        there = ((other.states - space.mean) * space.scale).astype(np.float32) @ space.turn.astype(np.float32)
        weight = None
        for strength in STRENGTHS:
            weight, _ = solve_spans(space.z, own, strength, _TRYING, weight)
            losses[layer, strength] = mean_loss(there, other, weight)
    return min(losses, key=lambda each: losses[each])


def fit_span_head(reader: Reader, told: Told, layer: int, strength: float, may_abstain: bool, most: int = MOST_TOKENS) -> SpanModel:
    """A head on at most `most` frozen tokens of a layer; `may_abstain` as in `SpanModel`."""
    [tokens] = tokens_of(reader, told, [layer], most)
    space: Space = make_space(tokens.states)
    weight, _ = solve_spans(space.z, tokens, strength, FINAL)
    head = space.to_head(Solution(weight, np.zeros(2)))
    return SpanModel(reader, None, reader.backbone.n_blocks, layer, head, told.longest, may_abstain)


def _fit(job: Job) -> SpanModel:
    told, most = told_rows(job.source, job.rows), tokens_for(MOST_TOKENS, job.settings)
    chosen = choose_span_head(job.source, told, job.folds, tokens_for(MOST_TRIED, job.settings))
    return fit_span_head(job.source, told, *chosen, _abstains(job.rows, np.arange(len(job.rows))), most)


def _out_of_fold(job: Job) -> tuple[Trained, FloatArray]:
    reader, rows = job.source, job.rows
    told, most = told_rows(reader, rows), tokens_for(MOST_TOKENS, job.settings)
    layer, strength = choose_span_head(reader, told, job.folds, tokens_for(MOST_TRIED, job.settings))
    outputs = np.full((len(rows), 5), np.nan)
    for train, held in job.folds:
        part = told.of(train)
        if len(part.row):  # of very long contexts a fold may hold all that are learnt
            outputs[held] = fit_span_head(reader, part, layer, strength, _abstains(rows, train), most).compared(rows.take(held))
    return fit_span_head(reader, told, layer, strength, _abstains(rows, np.arange(len(rows))), most), outputs


def _abstains(rows: Rows, some: IntArray) -> bool:
    return bool((rows.y[some] == NOTHING).any())


def _work(job: Job, share: float) -> Work:
    """What reading takes: the pieces that heads are fitted on, once for all folds, and those that are answered."""
    backbone, n = job.source.backbone, max(2, round(len(job.rows) * share))
    told = min(tokens_for(MOST_TOKENS, job.settings), 2 * n * backbone.max_length)
    characters = sum(map(len, job.rows.texts)) * n / max(len(job.rows), 1)
    answered = characters if not job.folds else min(characters, len(job.folds) * MOST_COMPARED)
    return Work(told + answered * TOKENS_A_CHARACTER, 0.0, backbone.block_parameters, 1)


STRATEGY = Strategy(
    name="probe",
    transfers=True,
    needs_source=True,
    summary="a linear head for starts and ends on the frozen vector of each token",
    fit=_fit,
    out_of_fold=_out_of_fold,
    reads=lambda job: candidate_layers(job.source.backbone),
    work=_work,
)
