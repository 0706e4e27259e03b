"""Linear heads: multinomial logistic regression on fixed features, and the choice of its penalty on folds.

Labels and numbers in place of classes (`Rows.y`) have losses of their own (`free_heads.py`); all else is the same for them.

The objective, with features standardised to columns z of mean 0 and variance 1/d (so that rows have a squared length of 1 on average):

    sum_i  w[y_i] * cross_entropy(z_i @ W.T + b, y_i)  +  strength / 2 * sum(W ** 2)

It is convex and the bias is free. Two things make it cheap enough for every layer, fold and strength:

- The penalty does not feel rotations, so the rows are turned once onto their principal axes. Fewer rows than columns then leave at most
  n axes, and nothing is lost.
- On principal axes the Hessian is nearly diagonal within a class. Weights multiplied by the root of that diagonal make a problem that
  L-BFGS ends in a quarter of the steps; the solution of the next stronger penalty is the start.

Letters in shapes: n rows, d width, r axes (at most min(n, d)), c classes.
"""

from __future__ import annotations

import functools
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.examples import IntArray
from headstart.errors import SourceError
from headstart.judge.calibration import softmax
from headstart.settings import Metric
from headstart.strategies.base import FloatArray, Folds, LinearHead, Targets
from headstart.strategies.free_heads import solve_free
from headstart.strategies.outputs import Output, output_of, row_losses

STRENGTHS = (3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 0.003, 0.001, 0.0003, 0.0001)
MANY_CLASSES = 20  # from here on weak penalties are usual
ENOUGH = 600  # held-out rows that tell strengths apart; further folds are fitted at the chosen strength only
UNEVEN_FROM = 1.5
BLOCK = 4096
THREADS_FROM = 2_000_000_000  # multiplications in one matrix product from which all cores share it
RANK = 1e-6  # axes with less than this share of the widest one's variance are rounding errors
FLOOR = 0.02  # least p(1 - p) that the preconditioner believes in, times c
FINAL = 5e-4  # tolerance of a head that is kept


@dataclass(frozen=True)
class HeadChoice:
    """A head and how it was chosen.

    `out_of_fold_logits` (n, c) come from heads that did not train on the row; rows that no fold holds out are NaN.
    `losses` holds (strength, held-out log-loss) for every strength that was tried. `head` is fitted on all rows.
    """

    strength: float
    out_of_fold_logits: FloatArray
    head: LinearHead
    losses: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Solution:
    """Weights (c, r) and bias (c,) on the axes of a `Space`."""

    weight: FloatArray
    bias: FloatArray

    def logits(self, z: Any) -> FloatArray:
        """Logits (n, c) of rows (n, r) that are given on the same axes."""
        product: FloatArray = (z @ self.weight.T.astype(np.float32)).astype(np.float64)
        return product + self.bias


@dataclass(frozen=True)
class Space:
    """Standardised features on their principal axes: z = ((features - mean) * scale) @ turn.

    `z` is (n, r), `mean` and `scale` are (d,), `turn` is (d, r) with orthonormal columns. The scale of a column that never varies is 0.
    """

    z: NDArray[np.float32]
    mean: FloatArray
    scale: FloatArray
    turn: FloatArray

    def to_head(self, solution: Solution) -> LinearHead:
        """The same classifier on raw features."""
        weight = (solution.weight @ self.turn.T) * self.scale
        return LinearHead(weight=weight, bias=solution.bias - weight @ self.mean)


def usual_strength(n_classes: int) -> float:
    """A penalty that suits most data: where the search begins, and what is taken without folds. More classes want less of it."""
    return 0.1 if n_classes < MANY_CLASSES else 0.01


def trying(rows: int) -> float:
    """The tolerance of heads on folds: looser where rows are many and steps dear, the pooled log-loss staying good to about 0.3 %."""
    return FINAL if rows < 200 else min(3e-5 * rows, 3e-2)


@functools.cache
def _pools() -> Any:
    """The thread pools of the linear algebra libraries, found once."""
    import scipy.linalg  # noqa: F401 - brings a pool of its own, which must be there to be found
    from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

    return ThreadpoolController()


def threads(work: int) -> AbstractContextManager[Any]:
    """One thread of the linear algebra for small matrix products, all for large ones; `work` counts the multiplications of one product.

    On two cores 10,000 rows of width 384 under 77 classes take a head 0.74 s with one thread and 1.0 s with two, 20,000 of width 768 3.4
    and 3.7 s; and a second thread costs ten times that where another process holds its core (docs/log.md).
    """
    return nullcontext() if work > THREADS_FROM else _pools().limit(limits=1, user_api="blas")


def class_counts(y: IntArray, n_classes: int) -> IntArray:
    """How many rows each class has, shape (c,)."""
    return np.bincount(y, minlength=n_classes).astype(np.int64)


def class_weights(y: IntArray, n_classes: int) -> FloatArray:
    """Balanced weights (c,): every class that has rows weighs the same in sum, and the mean over rows is 1. A class without rows has 1."""
    counts = class_counts(y, n_classes)
    present = counts > 0
    weights = np.ones(n_classes)
    weights[present] = len(y) / (present.sum() * counts[present])
    return weights


def uneven(y: IntArray) -> bool:
    """Whether classes differ enough for weights: the largest has at least 1.5 times the rows of the smallest that has any."""
    counts = np.bincount(y)
    counts = counts[counts > 0]
    return bool(len(counts) > 1 and counts.max() >= UNEVEN_FROM * counts.min())


def weights_for(y: Targets, n_classes: int, metric: Metric) -> FloatArray | None:
    """Class weights (c,) where macro-F1 judges and classes are uneven; None: all rows count alike."""
    weigh = metric is Metric.MACRO_F1 and output_of(y) is Output.CLASS and uneven(y)
    return class_weights(y, n_classes) if weigh else None


def log_loss(logits: FloatArray, y: Targets, class_weight: FloatArray | None = None) -> float:
    """Mean of `outputs.row_losses` of logits (n, c), weighted by class where weights are given. Rows of NaN do not count; NaN when none
    is left."""
    seen = ~np.isnan(logits[:, 0])
    if not seen.any():
        return float("nan")
    weights = None if class_weight is None else class_weight[y[seen]]
    return float(np.average(row_losses(logits[seen], y[seen]), weights=weights))


def make_space(features: NDArray[np.float32]) -> Space:
    """Standardise features (n, d) and turn them onto their principal axes. Columns that do not vary are left out.

    Memory beyond the result: one block of rows and a (d, d) matrix, or an (n, n) one where that is smaller.

    Raises:
        SourceError: some features are not finite numbers.
    """
    n, d = features.shape
    parts = [slice(at, at + BLOCK) for at in range(0, n, BLOCK)]
    unfit = sum(int((~np.isfinite(features[part]).all(axis=1)).sum()) for part in parts)
    if unfit:
        raise SourceError(f"The source gives numbers that are not finite for {unfit} of {n} texts; choose another source.")
    mean = features.mean(axis=0, dtype=np.float64)
    spread = np.sqrt(sum(((features[part] - mean) ** 2).sum(axis=0) for part in parts) / n)
    # A float32 column that never varies still has a spread of rounding errors; one that a model's last norm has shut (MiniLM has three,
    # of size 1e-33) would get weights of 1e30, which ruin whatever is tuned from such a head.
    varies = spread > np.maximum(1e-6 * np.abs(mean), 1e-8 * spread.max(initial=0.0))
    scale = np.zeros(d)
    scale[varies] = 1.0 / (spread[varies] * np.sqrt(varies.sum()))

    def standard(part: slice) -> NDArray[np.float32]:
        block: NDArray[np.float32] = ((features[part] - mean) * scale).astype(np.float32)
        return block

    with threads(n * d):
        if n < d:
            turn = row_axes(np.concatenate([standard(part) for part in parts]).astype(np.float64))
        else:
            gram = np.zeros((d, d))
            for part in parts:
                block = standard(part)
                gram += block.T @ block
            turn = gram_axes(gram)
        z = np.empty((n, turn.shape[1]), dtype=np.float32)
        for part in parts:
            z[part] = standard(part) @ turn
    return Space(z=z, mean=mean, scale=scale, turn=turn.astype(np.float64))


def gram_axes(gram: FloatArray) -> NDArray[np.float32]:
    """Orthonormal columns (d, r), widest first, that span the rows x whose x.T @ x is `gram` (d, d)."""
    from scipy.linalg import eigh

    values, vectors = eigh(gram, driver="evd")
    return np.asarray(vectors[:, values > RANK * values[-1]][:, ::-1], dtype=np.float32)


def row_axes(x: FloatArray) -> NDArray[np.float32]:
    """Orthonormal columns (d, r), widest first, that span the rows x (n, d): `gram_axes` for few rows and many columns."""
    from scipy.linalg import eigh

    values, vectors = eigh(x @ x.T, driver="evd")
    keep = values > RANK * values[-1]
    return np.asarray((x.T @ (vectors[:, keep] / np.sqrt(values[keep])))[:, ::-1], dtype=np.float32)


def solve(
    z: Any,
    y: Targets,
    n_classes: int,
    strength: float,
    class_weight: FloatArray | None,
    start: Solution | None,
    tolerance: float,
    *,
    row_weight: FloatArray | None = None,
    prior: Solution | None = None,
) -> Solution:
    """The minimum of the objective for rows z (n, r), a float32 array or scipy sparse matrix; fastest on principal axes with mean 0.

    `row_weight` (n,) weighs the rows of classes beside their classes (None: all 1); a class that weighs nothing counts as without rows.
    `prior` is the weight from which the penalty measures (None: 0); it is for classes that all have rows, else it counts for nothing.

    A class without rows has weight 0 and the bias at which its probability is about 1 in 2n. `tolerance` bounds every entry of the gradient
    in the stretched coordinates; probabilities are then good to about a tenth of it.
    """
    if y.ndim == 2:
        with threads(z.shape[0] * z.shape[1] * n_classes):
            return Solution(*solve_free(z, y, strength, None if start is None else (start.weight, start.bias), tolerance))
    if row_weight is not None and not row_weight.all():
        kept = np.flatnonzero(row_weight > 0)
        return solve(z[kept], y[kept], n_classes, strength, class_weight, start, tolerance, row_weight=row_weight[kept], prior=prior)
    counts = class_counts(y, n_classes)
    present = np.flatnonzero(counts)
    place = np.zeros(n_classes, dtype=np.int64)
    place[present] = np.arange(len(present))
    weights = np.ones(len(y)) if class_weight is None else class_weight[y]
    rows = (weights if row_weight is None else weights * row_weight).astype(np.float32)
    if len(present) > 1:
        first = None if start is None else Solution(start.weight[present], start.bias[present])
        with threads(z.shape[0] * z.shape[1] * n_classes):
            towards = prior if len(present) == n_classes else None
            found = _minimise(z, place[y], len(present), strength, rows, first, tolerance, towards)
            if tolerance <= FINAL:
                # A head that is kept is taken up once more with the curvature at its own place, which weak penalties need.
                found = _minimise(z, place[y], len(present), strength, rows, found, tolerance, towards)
    else:
        found = Solution(np.zeros((1, z.shape[1])), np.zeros(1))
    weight, bias = np.zeros((n_classes, z.shape[1])), np.zeros(n_classes)
    weight[present], bias[present] = found.weight, found.bias
    if len(present) < n_classes:
        logits = found.logits(z)
        top = logits.max(axis=1)
        level = float(np.mean(top + np.log(np.exp(logits - top[:, None]).sum(axis=1))))
        bias[counts == 0] = level - np.log(2.0 * len(y))
    return Solution(weight, bias)


def _minimise(
    z: Any,
    y: IntArray,
    c: int,
    strength: float,
    row_weight: NDArray[np.float32],
    start: Solution | None,
    tolerance: float,
    prior: Solution | None,
) -> Solution:
    """`solve` where every class has rows."""
    from scipy.optimize import minimize

    n, r = z.shape
    if start is None:
        shares = np.bincount(y, weights=row_weight, minlength=c) / row_weight.sum()
        start = Solution(np.zeros((c, r)), np.log(shares))
    # The Hessian's diagonal at the start, (c, r): W times its root is what L-BFGS sees. A floor keeps sure fits from looking flat.
    ahead = softmax(start.logits(z))
    spread = np.maximum(ahead * (1.0 - ahead), FLOOR / c) * row_weight[:, None]
    squares = z.multiply(z) if hasattr(z, "multiply") else z * z
    stretch = np.sqrt((squares.T @ spread.astype(np.float32)).T + strength).astype(np.float64)
    bias_stretch = np.sqrt(spread.sum(axis=0))
    rows = np.arange(n)
    middle = np.zeros((c, r)) if prior is None else prior.weight

    def objective(flat: FloatArray) -> tuple[float, FloatArray]:
        v = flat.reshape(c, r + 1)
        weight, bias = v[:, :r] / stretch, v[:, r] / bias_stretch
        # A class a row, (c, n): sums over few classes are slow where a row's classes lie side by side.
        logits = np.ascontiguousarray(weight.astype(np.float32) @ z.T)
        logits += bias.astype(np.float32)[:, None]
        logits -= logits.max(axis=0)
        right = logits[y, rows]
        np.exp(logits, out=logits)
        total = logits.sum(axis=0)
        loss = float(np.dot((np.log(total) - right).astype(np.float64), row_weight))
        logits *= row_weight / total
        logits[y, rows] -= row_weight
        gradient = np.empty_like(v)
        gradient[:, :r] = (logits @ z + strength * (weight - middle)) / stretch
        gradient[:, r] = logits.sum(axis=1, dtype=np.float64)
        gradient[:, r] /= bias_stretch
        return loss + 0.5 * strength * float(np.vdot(weight - middle, weight - middle)), gradient.ravel()

    begin = np.concatenate([start.weight * stretch, (start.bias * bias_stretch)[:, None]], axis=1)
    # Many terms times many classes: fewer remembered steps keep memory within a few hundred megabytes.
    options = {"maxiter": 300, "maxcor": 10 if begin.size < 1_000_000 else 4, "gtol": tolerance, "ftol": 1e-9}
    result = minimize(objective, begin.ravel(), jac=True, method="L-BFGS-B", options=options)
    end = result.x.reshape(c, r + 1)
    return Solution(end[:, :r] / stretch, end[:, r] / bias_stretch)


def solve_path(
    z: Any,
    y: Targets,
    n_classes: int,
    strength: float,
    class_weight: FloatArray | None,
    tolerance: float,
    *,
    row_weight: FloatArray | None = None,
) -> Solution:
    """`solve` without a start: weak penalties are reached over stronger ones, which takes fewer steps in all."""
    start = None
    for stronger in STRENGTHS[STRENGTHS.index(usual_strength(n_classes)) :: 2]:
        if stronger > strength * 1.5:
            start = solve(z, y, n_classes, stronger, class_weight, start, 0.1, row_weight=row_weight)
    return solve(z, y, n_classes, strength, class_weight, start, tolerance, row_weight=row_weight)


@dataclass(frozen=True)
class StrengthSearch:
    """The strength with the least held-out log-loss, and what the search for it fitted.

    `logits` (n, c) of rows (n, r) are out of fold for the first `used` folds, NaN for all other rows. `losses` is that of `HeadChoice`.
    """

    strength: float
    logits: FloatArray
    losses: tuple[tuple[float, float], ...]
    used: int


def search_strength(z: Any, y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None) -> StrengthSearch:
    """Search the strength with the least log-loss, pooled over as many folds as tell strengths apart, for rows z (n, r) on principal axes.

    The search begins at the usual strength and goes towards weaker penalties, or else stronger ones, until the loss rises.
    """
    used = 0
    while used < len(folds) and sum(len(held) for _, held in folds[:used]) < ENOUGH:
        used += 1
    tried: dict[int, tuple[float, FloatArray]] = {}
    starts: dict[int, Solution] = {}

    def loss_at(place: int) -> float:
        if place not in tried:
            logits = np.full((len(y), n_classes), np.nan)
            for at, (train, held) in enumerate(folds[:used]):
                starts[at] = _on_fold(z[train], y[train], n_classes, STRENGTHS[place], class_weight, starts.get(at), len(y))
                logits[held] = starts[at].logits(z[held])
            tried[place] = log_loss(logits, y, class_weight), logits
        return tried[place][0]

    usual = best = STRENGTHS.index(usual_strength(n_classes))
    for step in (1, -1):
        while folds and 0 <= best + step < len(STRENGTHS) and loss_at(best + step) < loss_at(best):
            best += step
        if best != usual:
            break
    logits = tried[best][1] if folds else np.full((len(y), n_classes), np.nan)
    losses = tuple((STRENGTHS[place], tried[place][0]) for place in sorted(tried))
    return StrengthSearch(STRENGTHS[best], logits, losses, used)


def out_of_fold(z: Any, y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None, search: StrengthSearch) -> FloatArray:
    """Logits (n, c) at the strength that a search found: the folds that it left out are fitted too."""
    logits = search.logits.copy()
    for train, held in folds[search.used :]:
        logits[held] = _on_fold(z[train], y[train], n_classes, search.strength, class_weight, None, len(y)).logits(z[held])
    return logits


def _on_fold(
    z: Any, y: Targets, n_classes: int, strength: float, class_weight: FloatArray | None, start: Solution | None, rows: int
) -> Solution:
    """A head for the training rows of a fold of so many rows in all, as exact as is worth while on folds."""
    if start is None:
        return solve_path(z, y, n_classes, strength, class_weight, trying(rows))
    return solve(z, y, n_classes, strength, class_weight, start, trying(rows))


def choose_strength(
    z: Any, y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None
) -> tuple[float, FloatArray, tuple[tuple[float, float], ...]]:
    """The strength with the least held-out log-loss (`search_strength`), with what `HeadChoice` holds beside the head."""
    search = search_strength(z, y, n_classes, folds, class_weight)
    return search.strength, out_of_fold(z, y, n_classes, folds, class_weight, search), search.losses


def choose_head(features: NDArray[np.float32], y: Targets, n_classes: int, folds: Folds, class_weight: FloatArray | None) -> HeadChoice:
    """Choose the penalty of a head for features (n, d) on folds, then fit it on all rows.

    Features are standardised once over all rows given, held-out ones included: no label takes part in that.

    Raises:
        SourceError: some features are not finite numbers.
    """
    space = make_space(features)
    strength, logits, losses = choose_strength(space.z, y, n_classes, folds, class_weight)
    solution = solve_path(space.z, y, n_classes, strength, class_weight, FINAL)
    return HeadChoice(strength, logits, space.to_head(solution), losses)


def fit_head(
    features: NDArray[np.float32],
    y: Targets,
    n_classes: int,
    *,
    strength: float | None = None,
    class_weight: FloatArray | None = None,
) -> LinearHead:
    """Multinomial logistic regression with an L2 penalty on features (n, d), labels y (n,) in [0, n_classes).

    `strength` is the penalty (above 0; None: one that suits most data), `class_weight` (c,) weighs the rows of each class (None: all 1).

    Raises:
        SourceError: some features are not finite numbers.
    """
    space = make_space(features)
    chosen = usual_strength(n_classes) if strength is None else strength
    return space.to_head(solve_path(space.z, y, n_classes, chosen, class_weight, FINAL))
