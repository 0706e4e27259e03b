"""Rows near to the middle of the target whose label a head on both sides does not doubt.

A head is fitted on the target's rows and half of the source's, and tells how likely the labels of the other half are, and the other way
round: a row whose own label it finds unlikely is mislabelled, or of a domain where the same words mean something else. Of the others those
come first that lie nearest to the middle of the target's rows. It did best of some twenty ways that were tried (docs/log.md).

Letters in shapes: n target rows, m source rows, c classes.
"""

from __future__ import annotations

import numpy as np

from headstart.instances.base import Neighbours, Way, both_as_units, unit_rows
from headstart.judge.calibration import softmax
from headstart.strategies.base import FloatArray
from headstart.strategies.heads import solve_path, usual_strength

# A label less likely than this share of an even chance is doubted.
DOUBTED = 0.6
_TARGET_SHARE = 0.2  # of all weight, where the target has fewer rows than that
_TOLERANCE = 3e-3
# How much faster than nearness weights fall where all rows join by them; the order is the same (docs/log.md).
SHARPER = 4


def likelihoods(given: Neighbours) -> FloatArray:
    """How likely each source row's label is to a head that has not learnt it, (m,)."""
    n, m = len(given.target), len(given.source)
    z = given.axes
    y = np.concatenate([given.y, given.source_y])
    found = np.empty(m)
    halves = np.array_split(np.random.default_rng(given.seed).permutation(m), 2)
    for learnt, asked in (halves, halves[::-1]):
        rows = np.concatenate([np.arange(n), n + learnt])
        own = max(1.0, _TARGET_SHARE / (1.0 - _TARGET_SHARE) * len(learnt) / n)
        weight = np.concatenate([np.full(n, own), np.ones(len(learnt))])
        fit = solve_path(z[rows], y[rows], given.n_classes, usual_strength(given.n_classes), None, _TOLERANCE, row_weight=weight)
        found[asked] = softmax(fit.logits(z[n + asked]))[np.arange(len(asked)), given.source_y[asked]]
    return found


def weigh(given: Neighbours) -> FloatArray:
    """The fourth power of half of one plus the cosine to the middle of the target's rows, in [0, 1]; next to nothing for rows whose label
    is doubted."""
    target, source = both_as_units(given)
    middle = unit_rows(target.mean(axis=0, keepdims=True), np.zeros(target.shape[1], dtype=np.float32))[0]
    near = ((1.0 + np.clip(source @ middle, -1.0, 1.0)) / 2.0) ** SHARPER
    likely = likelihoods(given)
    return np.asarray(np.where(likely > DOUBTED / given.n_classes, np.maximum(near, 1e-6), 1e-6 * likely), dtype=np.float64)


WAY = Way(
    name="sure",
    summary="near to the middle of the target's rows, with a label that a head on both sides does not doubt",
    paper="Northcutt et al. 2021, arXiv 1911.00068 (confident learning), across two sets of rows",
    assumes="most source rows bear the right label",
    weigh=weigh,
)
