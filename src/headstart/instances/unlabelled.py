"""A target without labels: what is learnt are labelled rows of neighbouring data, fitted to the target's texts.

Four heads on the same frozen features: from all source rows as they are; from source rows weighed by how likely they are among the
target's; from source features whose mean and covariance are turned into the target's (CORAL, Sun et al. 2016, arXiv 1511.05547); and from
source rows and those target rows on whose label two heads agree (self-training, filtered by agreement as in co-training: Blum and Mitchell
1998).

No label of the target chooses between them. `DEFAULT_WAY` is the one that `benchmarks/instances/unlabelled.py` found none of the others to
beat; they are there to be compared, and to be asked for.

Letters in shapes: m source rows, n target rows, d width, c classes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.instances import density
from headstart.instances.base import Neighbours
from headstart.judge.calibration import softmax
from headstart.strategies.base import FloatArray, LinearHead
from headstart.strategies.heads import FINAL, Solution, Space, make_space, solve_path, usual_strength
from headstart.strategies.ladder import Job, Strategy
from headstart.strategies.model import TransferModel
from headstart.strategies.probe import mean_of_layers, usual_layers

Float32 = NDArray[np.float32]

DEFAULT_WAY = "source_rows"
ROUNDS = 3
# Both heads must find the same label this much likelier than an even chance.
SURE = 1.5
# What a target row with a label of its own weighs against a source row, and all of them together against all source rows, at most.
_OWN, _TARGET_SHARE = 3.0, 0.2


@dataclass(frozen=True)
class Sides:
    """Features (m, d) of the source rows with their classes (m,), and (n, d) of the target's texts."""

    source: Float32
    y: IntArray
    target: Float32
    n_classes: int
    seed: int

    def take(self, rows: IntArray) -> Sides:
        """The same target with some of the source rows."""
        return Sides(self.source[rows], self.y[rows], self.target, self.n_classes, self.seed)


Adapt = Callable[[Sides], LinearHead]
"""A way of fitting a head to the target's texts."""


def sides_of(job: Job) -> Sides:
    """Both sides as the job's source reads them."""
    layers = usual_layers(job.source.backbone.n_blocks)
    source = mean_of_layers(job.source.pooled(job.rows.texts), layers)
    target = mean_of_layers(job.source.pooled(job.unlabelled), layers) if job.unlabelled else source[:0]
    return Sides(source, job.rows.y, target, job.rows.n_classes, job.seed)


def plain(sides: Sides) -> LinearHead:
    """From all source rows as they are."""
    return _fit(make_space(sides.source), sides.y, sides.n_classes, np.ones(len(sides.y)))


def weighted(sides: Sides) -> LinearHead:
    """From source rows weighed by likeness to the target's texts; no labels of either side weigh."""
    nobody, texts = np.zeros(len(sides.target), dtype=np.int64), [""] * len(sides.source)
    none = np.zeros(len(sides.source), dtype=np.int64)
    given = Neighbours(sides.target, nobody, sides.source, none, sides.n_classes, [""] * len(sides.target), texts, none, sides.seed)
    weights = density.weigh(given)
    return _fit(make_space(sides.source), sides.y, sides.n_classes, weights / weights.mean())


def aligned(sides: Sides) -> LinearHead:
    """From source features with the target's mean and covariance; the head reads the target's features as they are."""
    return _fit(make_space(align(sides.source, sides.target)), sides.y, sides.n_classes, np.ones(len(sides.y)))


def align(source: Float32, target: Float32) -> Float32:
    """Source features (m, d) whitened, and coloured as the target's; covariances shrunk (Ledoit and Wolf 2004)."""
    from sklearn.covariance import ledoit_wolf

    centred, mean = source - source.mean(axis=0), target.mean(axis=0)
    theirs, ours = (ledoit_wolf(rows.astype(np.float64))[0] for rows in (source, target))
    return np.asarray(centred @ (_power(theirs, -0.5) @ _power(ours, 0.5)) + mean, dtype=np.float32)


def _power(covariance: FloatArray, exponent: float) -> FloatArray:
    values, vectors = np.linalg.eigh(covariance)
    values = np.maximum(values, 1e-9 * max(float(values[-1]), 1e-12))
    return np.asarray((vectors * values**exponent) @ vectors.T)


def self_labelled(sides: Sides) -> LinearHead:
    """From source rows, and target rows with the labels on which heads from two halves of the source agree; in rounds, each with the
    labels of the last."""
    space = make_space(np.concatenate([sides.source, sides.target]))
    z, m = space.z, len(sides.source)
    given = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for turn in range(ROUNDS):
        halves = np.array_split(np.random.default_rng([sides.seed, turn]).permutation(m), 2)
        said = [softmax(_with(sides, z, half, given).logits(z[m:])) for half in halves]
        likeliest = [each.argmax(axis=1) for each in said]
        least = np.minimum(*(each.max(axis=1) for each in said))
        agreed = np.flatnonzero((likeliest[0] == likeliest[1]) & (least > min(0.9, SURE / sides.n_classes)))
        given = m + agreed, likeliest[0][agreed]
    return space.to_head(_with(sides, z, np.arange(m), given))


def _with(sides: Sides, z: Float32, rows: IntArray, given: tuple[IntArray, IntArray]) -> Solution:
    """A head from some source rows and target rows with given labels, the latter counting for a fixed share of all."""
    own, labels = given
    share = min(_OWN, _TARGET_SHARE / (1.0 - _TARGET_SHARE) * len(rows) / max(1, len(own)))
    weight = np.concatenate([np.ones(len(rows)), np.full(len(own), share)])
    y, c = np.concatenate([sides.y[rows], labels]), sides.n_classes
    return solve_path(z[np.concatenate([rows, own])], y, c, usual_strength(c), None, FINAL, row_weight=weight)


def _fit(space: Space, y: IntArray, c: int, weight: FloatArray) -> LinearHead:
    return space.to_head(solve_path(space.z, y, c, usual_strength(c), None, FINAL, row_weight=weight))


def out_of_fold(job: Job, adapt: Adapt) -> tuple[TransferModel, FloatArray]:
    """The rung of a way: its model, and logits (m, c) of source rows that folds hold out."""
    # Rows as they are have no need of the target's texts, so these are not read for them.
    sides = sides_of(replace(job, unlabelled=()) if adapt is plain else job)
    logits = np.full((len(sides.y), sides.n_classes), np.nan)
    for train, held in job.folds:
        logits[held] = adapt(sides.take(train)).logits(sides.source[held])
    blocks = job.source.backbone.n_blocks
    return TransferModel(job.source, None, blocks, usual_layers(blocks), adapt(sides)), logits


WAYS: dict[str, Adapt] = {"source_rows": plain, "weighted_rows": weighted, "aligned": aligned, "self_labels": self_labelled}


def rung(name: str, summary: str) -> Strategy:
    """The rung of a way; all but the default are there to be compared."""
    adapt = WAYS[name]
    return Strategy(
        name=name,
        transfers=True,
        needs_source=True,
        summary=summary,
        fit=lambda job: out_of_fold(job, adapt)[0],
        out_of_fold=lambda job: out_of_fold(job, adapt),
        compared_only=name != DEFAULT_WAY,
    )
