"""The frozen rung: which layers of a source to read, and a logistic head on them.

Candidates are every single layer and means over the last layers. A ridge fit with exact leave-one-out residuals, closed-form on the
principal axes that the head needs anyway, sorts them; those that are clearly better than the usual one get the real head too, and held-out
log-loss decides.
The usual one is the mean over the upper half of the blocks, which beat the last layer by about four points of accuracy on average over
eight sets with 8 or 64 rows a class (`benchmarks/heads.py` measures it). Few rows make noisy folds, so another candidate must beat it by
more than the standard error of the paired difference.

Letters in shapes: n rows, L blocks, d width, c classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headstart.strategies.base import Fitted, FloatArray, Folds, LinearHead, Targets, with_names
from headstart.strategies.heads import FINAL, Space, make_space, out_of_fold, search_strength, solve_path, threads
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.outputs import one_hot, row_losses

FINALISTS = 2  # candidates that get the real head, beside the usual one, if at all
PROMISING = 0.98  # ... those whose leave-one-out error is below this share of the usual one's
PENALTIES = (0.1, 1.0, 10.0, 100.0)  # of the ridge fit that sorts candidates


@dataclass(frozen=True)
class LayerFit:
    """How a light head does on one layer, over n rows: leave-one-out accuracy in [0, 1] (NaN where no classes are predicted) and mean
    squared error against the targets, of classes one-hot."""

    layer: int
    accuracy: float
    squared_error: float


@dataclass(frozen=True)
class ProbeChoice:
    """The head and the layers that it reads: features are the mean over `layers` of pooled vectors.

    Layer 0 is the embedding output, layer k the output of block k. `out_of_fold_logits` (n, c) are NaN for rows that no fold holds out.
    """

    layers: tuple[int, ...]
    strength: float
    head: LinearHead
    out_of_fold_logits: FloatArray
    layer_scores: tuple[LayerFit, ...]

    def logits(self, features: NDArray[np.float32]) -> FloatArray:
        """Logits (n, c) for pooled features of every layer (n, L+1, d)."""
        return self.head.logits(mean_of_layers(features, self.layers))


def mean_of_layers(features: NDArray[np.float32], layers: tuple[int, ...]) -> NDArray[np.float32]:
    """What a head reads, (n, d), of pooled features of every layer (n, L+1, d)."""
    if len(layers) == 1:
        return features[:, layers[0]]
    total = features[:, layers[0]].astype(np.float32)
    for layer in layers[1:]:
        total += features[:, layer]
    return total / np.float32(len(layers))


def usual_layers(blocks: int) -> tuple[int, ...]:
    """The upper half of the blocks: of 6 blocks, layers 4, 5 and 6."""
    return tuple(range(blocks + 1 - max(blocks // 2, 1), blocks + 1))


def candidate_layers(blocks: int) -> list[tuple[int, ...]]:
    """Every set of layers that may be read: each single one above the embeddings; means over the last 2, third, half and all blocks."""
    singles = [(layer,) for layer in range(1, blocks + 1)]
    means = {tuple(range(blocks + 1 - m, blocks + 1)) for m in (2, -(-blocks // 3), max(blocks // 2, 1), blocks) if 1 < m <= blocks}
    return singles + sorted(means, key=len)


def leave_one_out(space: Space, y: Targets, n_classes: int) -> FloatArray:
    """Predictions (n, c) of the targets, of classes one-hot, by a ridge fit with free intercept, each row predicted by the fit without it.

    Exact and closed-form: the columns of `space.z` are orthogonal and have mean 0. The penalty is the one of `PENALTIES` with the
    least squared error.
    """
    n = len(y)
    targets = one_hot(y, n_classes).astype(np.float32)
    squares = space.z**2
    energy = squares.sum(axis=0, dtype=np.float64)
    with threads(space.z.size * n_classes):
        seen = space.z.T @ targets
        best, least = targets.astype(np.float64), np.inf
        for penalty in PENALTIES:
            shrink = (1.0 / (energy + penalty)).astype(np.float32)
            leverage = 1.0 / n + (squares @ shrink).astype(np.float64)
            fitted = targets.mean(axis=0, dtype=np.float64) + space.z @ (seen * shrink[:, None])
            residual = (targets - fitted) / np.maximum(1.0 - leverage, 1e-6)[:, None]
            error = float((residual**2).mean())
            if error < least:
                best, least = targets - residual, error
    return best


def sort_layers(
    features: NDArray[np.float32], y: Targets, n_classes: int, finalists: int
) -> tuple[dict[tuple[int, ...], Space], dict[tuple[int, ...], float], list[LayerFit]]:
    """Every candidate by its leave-one-out squared error, from pooled features of every layer (n, L+1, d).

    Returns the spaces of the usual layers and of so many of the best, the error of each candidate, and how every single layer does.
    """
    blocks = features.shape[1] - 1
    usual = usual_layers(blocks)
    spaces: dict[tuple[int, ...], Space] = {}
    errors: dict[tuple[int, ...], float] = {}
    scores = []
    for layers in [(0,), *candidate_layers(blocks)]:
        space = make_space(mean_of_layers(features, layers))
        predicted = leave_one_out(space, y, n_classes)
        error = float(((predicted - one_hot(y, n_classes)) ** 2).sum(axis=1).mean())
        if len(layers) == 1:
            right = float((predicted.argmax(axis=1) == y).mean()) if y.ndim == 1 else float("nan")
            scores.append(LayerFit(layers[0], right, error))
        if layers != (0,):
            errors[layers] = error
            ranked = sorted(errors, key=lambda each: errors[each])[:finalists]
            spaces = {kept: (space if kept == layers else spaces[kept]) for kept in errors if kept in ranked or (kept == usual)}
    return spaces, errors, scores


def choose_probe(features: NDArray[np.float32], y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None) -> ProbeChoice:
    """Choose the layers to read and fit the head on pooled features of every layer (n, L+1, d).

    Without folds the usual layers are taken. `class_weight` (c,) weighs the rows of each class in the head (None: all 1); the sorting of
    candidates ignores it.

    Raises:
        SourceError: some features are not finite numbers.
    """
    usual = usual_layers(features.shape[1] - 1)
    spaces, errors, scores = sort_layers(features, y, n_classes, FINALISTS)
    tried = [usual, *(each for each in spaces if each != usual and errors[each] < PROMISING * errors[usual])] if folds else [usual]
    # Layers are told apart by the folds that tell strengths apart; all folds are fitted for the layers that are taken.
    searches = {each: search_strength(spaces[each].z, y, n_classes, folds, class_weight) for each in tried}
    best = _better_than_usual({each: found.logits for each, found in searches.items()}, usual, y, class_weight) if folds else usual
    z, strength = spaces[best].z, searches[best].strength
    logits = out_of_fold(z, y, n_classes, folds, class_weight, searches[best])
    solution = solve_path(z, y, n_classes, strength, class_weight, FINAL)
    return ProbeChoice(best, strength, spaces[best].to_head(solution), logits, tuple(scores))


def _better_than_usual(
    out_of_fold: dict[tuple[int, ...], FloatArray], usual: tuple[int, ...], y: Targets, class_weight: FloatArray | None
) -> tuple[int, ...]:
    """The layers with the least held-out log-loss if the usual ones have more by over a standard error; else the usual ones."""
    held = ~np.isnan(out_of_fold[usual][:, 0])
    weight = np.ones(int(held.sum())) if class_weight is None else class_weight[y[held]]
    losses = {layers: weight * row_losses(logits[held], y[held]) for layers, logits in out_of_fold.items()}
    best = min(losses, key=lambda layers: float(losses[layers].mean()))
    gain = losses[usual] - losses[best]
    return best if float(gain.mean()) > float(gain.std()) / np.sqrt(len(gain)) else usual


def _job_out_of_fold(job: Job) -> tuple[Fitted, FloatArray]:
    reader = job.source
    rows, folds = with_names(job.rows, job.folds)
    choice = choose_probe(reader.pooled(rows.texts), rows.y, rows.n_classes, folds, job.class_weight)
    model = TransferModel(reader, None, reader.backbone.n_blocks, choice.layers, choice.head)
    return model, choice.out_of_fold_logits[: len(job.rows.y)]


STRATEGY = Strategy(
    name="probe",
    transfers=True,
    needs_source=True,
    summary="a linear head on the frozen features of the best layers",
    fit=lambda job: _job_out_of_fold(job)[0],
    out_of_fold=_job_out_of_fold,
)
