"""What to expect of a rung before it ran: a small table of measured differences to the probe, and how to read it.

`prior.json` holds, for each measured case (data set, rows, classes, rows a class, tokens), by how much each rung differed from the probe on
rows that neither had seen. `benchmarks/prior.py` measures it anew. A case counts the more the nearer it lies to the task at hand.
"""

from __future__ import annotations

import functools
import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from headstart.settings import Metric, by_scale

# How far apart, in natural logarithms, two tasks may lie and still speak for each other: in rows a class, classes and tokens a text.
_REACH = {"per_class": 0.7, "classes": 1.2, "tokens": 1.0}
# What is assumed of a rung of which nothing was measured nearby: no better than the probe, give or take.
_BLANK_SPREAD = by_scale(share=0.05, loss=0.2)
# Spread that stays however many cases agree: no table covers every task.
_LEAST_SPREAD = by_scale(share=0.02, loss=0.08)
_BLANK_WEIGHT = 0.5
# Where a task is judged by answers in words, cases of labelled texts say nothing: rungs differ by what they find, not by how they sort.
_UNLIKE_SPREAD = by_scale(share=0.2, loss=0.8)


@dataclass(frozen=True)
class Belief:
    """What is expected of a rung's score minus the probe's (greater is better): mean and standard deviation."""

    mean: float
    spread: float


@dataclass(frozen=True)
class Case:
    """One measured rung on one data set at one size.

    `accuracy` (entity F1, where the `task` is to mark entities) and `log_loss` are differences to the probe, greater is better;
    `temperature` is the one that calibrated it on held-out rows.
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


@functools.cache
def read_cases(task: str | None = None, path: str | None = None) -> tuple[Case, ...]:
    """The measured cases of a task (None: classification): of the file, of $HEADSTART_PRIOR, or of the package."""
    place = path or os.environ.get("HEADSTART_PRIOR")
    text = Path(place).read_text(encoding="utf-8") if place else files("headstart").joinpath("prior.json").read_text(encoding="utf-8")
    cases = (Case(**case) for case in json.loads(text)["cases"])
    every = tuple(cases)
    # Of tasks that were not measured the cases of classification say most: the same blocks under another loss.
    return tuple(case for case in every if case.task == (task or Case.task)) or tuple(case for case in every if case.task == Case.task)


def expect(rung: str, metric: Metric, *, per_class: float, classes: int, tokens: float, cases: Sequence[Case], kin: bool = False) -> Belief:
    """The belief about a rung on a task of so many rows a class, classes and tokens a text. `kin`: the cases are of another kind of task,
    so that the belief is as much less sure as one without any.
    """
    weights, values = [_BLANK_WEIGHT * math.exp(-_count(rung, cases))], [0.0]
    squares = [_BLANK_SPREAD[metric] ** 2]
    for case, weight in _near(rung, per_class, classes, tokens, cases):
        weights.append(weight)
        values.append(case.log_loss if metric is Metric.LOG_LOSS else case.accuracy)
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


def expect_temperature(rung: str, *, per_class: float, classes: int, tokens: float, cases: Sequence[Case]) -> float:
    """The calibration temperature to expect of a rung of which no fold was measured: a geometric mean, 1 where nothing like it is known."""
    near = list(_near(rung, per_class, classes, tokens, cases))
    total = _BLANK_WEIGHT + sum(weight for _, weight in near)
    return math.exp(sum(weight * math.log(case.temperature) for case, weight in near) / total)


def _near(rung: str, per_class: float, classes: int, tokens: float, cases: Sequence[Case]) -> Iterator[tuple[Case, float]]:
    """The cases of a rung, each with how much it speaks for a task of so many rows a class, classes and tokens a text, in (0, 1]."""
    here = {"per_class": per_class, "classes": classes, "tokens": tokens}
    for case in cases:
        if case.rung == rung:
            apart = sum((math.log(getattr(case, name) / max(value, 1e-9)) / _REACH[name]) ** 2 for name, value in here.items())
            yield case, math.exp(-apart / 2)


def _count(rung: str, cases: Sequence[Case]) -> int:
    return sum(case.rung == rung for case in cases)


def update(belief: Belief, difference: float, error: float) -> Belief:
    """The belief after a difference was measured with this standard error (normal distributions, Bayes' rule)."""
    if error <= 0:
        return Belief(difference, 0.0)
    trust = belief.spread**2 / (belief.spread**2 + error**2)
    return Belief(belief.mean + trust * (difference - belief.mean), math.sqrt(trust) * error)


def worth_measuring(belief: Belief, rival: float, error: float) -> float:
    """How much one more measurement of this standard error is expected to better the choice between this rung and its best rival.

    The knowledge gradient (Frazier et al. 2008): the expected rise of the greatest posterior mean, never negative, in the metric's unit.
    """
    moved = belief.spread**2 / math.sqrt(belief.spread**2 + error**2) if belief.spread > 0 else 0.0
    if moved <= 0:
        return 0.0
    gap = abs(belief.mean - rival) / moved
    density = math.exp(-gap * gap / 2) / math.sqrt(2 * math.pi)
    beyond = 0.5 * math.erfc(gap / math.sqrt(2))
    return moved * (density - gap * beyond)
