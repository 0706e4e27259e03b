"""What to expect of a rung before it ran: a small table of measured differences to the probe, and how to read it.

`prior.json` holds, for each measured case (data set, rows, classes, rows a class, tokens), what share the probe told wrong on rows that it
had not seen, and by how much each rung differed from it. `benchmarks/prior.py` measures it anew. A case counts the more the nearer it lies
to the task at hand, also in what the probe leaves to be gained.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headstart.settings import Metric, by_scale

FloatArray = NDArray[np.float64]

# How far apart, in natural logarithms, two tasks may lie and still speak for each other: in rows a class, classes, tokens a text, and the
# share that the probe tells wrong. Cases were measured at sizes that lie 1.4 to 2.1 apart, and what one rung gains over another changes
# between them: a task speaks mostly with those of the size that is nearest.
_REACH = {"per_class": 0.45, "classes": 1.2, "tokens": 1.0, "probe_error": 0.7}
# How warm a rung is hangs on the number of classes more than what it gains does (one data set left out at a time: docs/log.md).
_REACH_OF_WARMTH = _REACH | {"classes": 0.5}
# Gains grow with this power of the probe's errors: of 0, 0.25, 0.5, 0.7 and 1 the one that foretells sets left out best (docs/log.md).
_GROWS = 0.5
# What is assumed of a rung of which nothing was measured nearby: no better than the probe, give or take.
_BLANK_SPREAD = by_scale(share=0.05, loss=0.2)
# Spread that stays however many cases agree: no table covers every task.
_LEAST_SPREAD = by_scale(share=0.02, loss=0.08)
_BLANK_WEIGHT = 0.5
# A rung that lies this far below the probe is as good as out; how much farther it fell on other sets must not widen what is hoped of it.
_FAR_BELOW = by_scale(share=-0.15, loss=-0.6)
# Where a task is judged by answers in words, cases of labelled texts say nothing: rungs differ by what they find, not by how they sort.
_UNLIKE_SPREAD = by_scale(share=0.2, loss=0.8, bits=0.1)


@dataclass(frozen=True)
class Belief:
    """What is expected of a rung's score minus the probe's (greater is better): mean and standard deviation."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Case:
    """One measured rung on one data set at one size.

    `accuracy` (entity F1, where the `task` is to mark entities) and `log_loss` are differences to the probe, greater is better;
    `temperature` is the one that calibrated it on held-out rows. `probe_error` is the share that the probe told wrong on them (of entities
    1 - F1); None: not known.
    """

    data: str
    rung: str
    per_class: float
    classes: int
    tokens: float
    accuracy: float
    log_loss: float
    temperature: float = 1.0
    task: str = "classification"
    probe_error: float | None = None


@functools.cache
def read_cases(task: str | None = None, path: str | None = None) -> tuple[Case, ...]:
    """The measured cases of a task (None: classification): of the file, of $HEADSTART_PRIOR, or of the package."""
    place = path or os.environ.get("HEADSTART_PRIOR")
    text = Path(place).read_text(encoding="utf-8") if place else files("headstart").joinpath("prior.json").read_text(encoding="utf-8")
    cases = (Case(**case) for case in json.loads(text)["cases"])
    every = tuple(cases)
    # Of tasks that were not measured the cases of classification say most: the same blocks under another loss.
    return tuple(case for case in every if case.task == (task or Case.task)) or tuple(case for case in every if case.task == Case.task)


def expect(
    rung: str,
    metric: Metric,
    *,
    per_class: float,
    classes: int,
    tokens: float,
    cases: Sequence[Case],
    probe_error: float | None = None,
    kin: bool = False,
) -> Belief:
    """The belief about a rung on a task of so many rows a class, classes and tokens a text.

    `probe_error`: the share that the probe tells wrong here, in (0, 1]; None: not known. `kin`: the cases are of another kind of task, so
    that the belief is as much less sure as one without any.
    """
    weights, values = [_BLANK_WEIGHT * math.exp(-_count(rung, cases))], [0.0]
    squares = [_BLANK_SPREAD[metric] ** 2]
    for case, weight in _near(rung, per_class, classes, tokens, probe_error, cases):
        weights.append(weight)
        value = case.log_loss if metric is Metric.LOG_LOSS else case.accuracy
        if probe_error is not None and case.probe_error and metric is not Metric.LOG_LOSS:
            value *= (probe_error / case.probe_error) ** _GROWS
        values.append(max(value, _FAR_BELOW[metric]))
        squares.append(0.0)
    total = sum(weights)
    if total < 1e-6:
        return Belief(0.0, _BLANK_SPREAD[metric])
    mean = sum(w * v for w, v in zip(weights, values, strict=True)) / total
    variance = sum(w * ((v - mean) ** 2 + s) for w, v, s in zip(weights, values, squares, strict=True)) / total
    return Belief(mean, math.sqrt(variance + _LEAST_SPREAD[metric] ** 2 + (_BLANK_SPREAD[metric] ** 2 if kin else 0.0)))


def expect_nothing(metric: Metric) -> Belief:
    """The belief about a rung of a task that is unlike all that was measured: no better and no worse, so widely that it is tried."""
    return Belief(0.0, _UNLIKE_SPREAD[metric])


def expect_temperature(
    rung: str, *, per_class: float, classes: int, tokens: float, cases: Sequence[Case], probe_error: float | None = None
) -> float:
    """The calibration temperature to expect of a rung of which no fold was measured: a geometric mean, 1 where nothing like it is known."""
    near = list(_near(rung, per_class, classes, tokens, probe_error, cases, _REACH_OF_WARMTH))
    total = _BLANK_WEIGHT + sum(weight for _, weight in near)
    return math.exp(sum(weight * math.log(case.temperature) for case, weight in near) / total)


def _near(
    rung: str,
    per_class: float,
    classes: int,
    tokens: float,
    probe_error: float | None,
    cases: Sequence[Case],
    reach: Mapping[str, float] = _REACH,
) -> Iterator[tuple[Case, float]]:
    """The cases of a rung, each with how much it speaks for such a task, in (0, 1]; what is not known of one of both sets none apart. For
    more rows a class than were ever measured, or fewer, those of the greatest or least number speak."""
    sizes = [case.per_class for case in cases if case.rung == rung]
    per_class = min(max(per_class, min(sizes, default=per_class)), max(sizes, default=per_class))
    here = {"per_class": per_class, "classes": classes, "tokens": tokens, "probe_error": probe_error}
    for case in cases:
        if case.rung == rung:
            there = {name: getattr(case, name) for name in here}
            known = [name for name in here if here[name] is not None and there[name] is not None]
            apart = sum((math.log(max(there[name], 1e-9) / max(here[name] or 0.0, 1e-9)) / reach[name]) ** 2 for name in known)
            yield case, math.exp(-apart / 2)


def _count(rung: str, cases: Sequence[Case]) -> int:
    return sum(case.rung == rung for case in cases)


def believe(
    priors: Sequence[Belief], alike: FloatArray, measured: Mapping[int, float], errors: FloatArray, against: int | None
) -> tuple[FloatArray, FloatArray]:
    """What is believed of k rungs once some were measured: means (k,) and covariance (k, k), all normal, by Bayes' rule.

    Args:
        priors: what was believed of each before.
        alike: (k, k) how what is believed of them correlates, with ones on its diagonal: what one gains tells of another's gain.
        measured: by the places of m rungs, the difference to the rung at `against` that was measured.
        errors: (m, m) the covariance of what was measured wrongly: two that stand on the same rows share the luck of the rung at `against`.
        against: the place of the rung that the others were compared with, of which no more is known than its prior says; None: the probe,
            from which all beliefs count.
    """
    means = np.array([prior.mean for prior in priors])
    spreads = np.array([prior.spread for prior in priors])
    covariance: FloatArray = alike * np.outer(spreads, spreads)
    if not measured:
        return means, covariance
    found = np.array(list(measured.values()))
    sides = np.array([_difference(place, against, len(means)) for place in measured])  # (m, k)
    told = sides @ covariance
    gain = np.linalg.solve(told @ sides.T + errors, told).T
    return means + gain @ (found - sides @ means), covariance - gain @ told


def _difference(place: int, against: int | None, k: int) -> FloatArray:
    """What is compared, as weights (k,) of the rungs: the one at `place` less the one at `against`."""
    weights = np.zeros(k)
    weights[place] = 1.0
    if against is not None:
        weights[against] -= 1.0
    return weights


def worth_measuring(means: FloatArray, covariance: FloatArray, place: int, error: float, against: int | None) -> float:
    """How much one more measurement of this standard error, of the rung at `place`, is expected to better the choice among all k.

    The knowledge gradient for correlated beliefs (Frazier et al. 2009): the expected rise of the greatest posterior mean, never negative,
    in the metric's unit. What is measured moves all means (k,) along a line; the greatest of them is the upper envelope of k lines.

    Args:
        means: (k,) what each rung is worth as far as is known.
        covariance: (k, k) of what is believed.
        against: as in `believe`.
    """
    compared = _difference(place, against, len(means))
    moved = covariance @ compared
    variance = float(compared @ moved) + error**2
    if variance <= 0:
        return 0.0
    slopes = moved / math.sqrt(variance)
    envelope: list[tuple[float, float, float]] = []  # slope, mean, and from where on this line is the greatest
    for at in np.lexsort((means, slopes)):
        slope, mean, begin = float(slopes[at]), float(means[at]), -math.inf
        while envelope:
            below, level, since = envelope[-1]
            begin = -math.inf if slope == below else (level - mean) / (slope - below)
            if begin > since:
                break
            envelope.pop()
        envelope.append((slope, mean, begin if envelope else -math.inf))
    return sum((line[0] - before[0]) * _beyond(abs(line[2])) for before, line in pairwise(envelope))


def _beyond(z: float) -> float:
    """By how much a standard normal number exceeds z on average, where what lies below z counts as nothing."""
    return math.exp(-z * z / 2) / math.sqrt(2 * math.pi) - z * 0.5 * math.erfc(z / math.sqrt(2))
