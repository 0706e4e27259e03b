"""A rung: a strategy on a source, with the rows to learn from. What is believed of it before it runs, what it takes, how it is calibrated.

Letters in shapes: n rows, u units (words, where each word has a class; else n), c classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from headstart.cost import CostModel
from headstart.judge.calibration import Calibration, best_threshold, fit_temperature
from headstart.prior import Belief, expect, expect_nothing, expect_temperature, read_cases
from headstart.settings import Metric, Settings, by_scale
from headstart.strategies.base import FloatArray
from headstart.strategies.ladder import Job, Strategy, rungs_with_rows, trainings_of
from headstart.strategies.outputs import Output, as_classes, output_of
from headstart.strategies.schedule import planned_steps, rows_a_step
from headstart.tasks.registry import DEFAULT, deciding_metric, get_task

# What the whole budget is worth in that unit: what takes a hundredth of it, a trial or a training, must promise a hundredth of this. A
# budget below the usual one buys at the usual one's price: who has a minute would rather spend it than keep most of it.
_PRICE = by_scale(share=0.1, loss=0.4, bits=0.02)
# What the probe gains where the best-ranked source task is learnt first, on average and from set to set, by how far back the weights went
# to the source's own: eight targets with 8 and 16 rows a class (docs/log.md). Half of the way loses less where the detour does harm.
_BY_DETOUR = {0.0: (-0.01, 0.08), 0.5: (0.007, 0.045)}
# A detour must promise more than this share of what is not known of it: its harm is met by those who have too few rows to see it.
_CAUTION = 0.25


@dataclass(frozen=True)
class Rung:
    """A strategy on a source: what is tried.

    `source` None: there is one source or none is needed. `tokens` a text on average. `detour` names the detour by which the weights
    came, the same for its variants; None: the direct way. `back` tells how far these then went back to the source's own, in [0, 1]; None:
    no source task was learnt. `probe_error` is the share of rows that the source's probe tells wrong on the
    folds; None: not known (yet), or the table says nothing of such a task.
    """

    strategy: Strategy
    source: str | None
    job: Job
    tokens: float
    detour: str | None = None
    back: float | None = None
    probe_error: float | None = None

    @property
    def name(self) -> str:
        """`partial` or, where there are several sources, `partial from all-mpnet`."""
        return self.strategy.name if self.source is None or not self.strategy.needs_source else f"{self.strategy.name} from {self.source}"


def expectation(rung: Rung, metric: Metric) -> Belief:
    """What is believed of a rung before it ran."""
    if rung.strategy.name == "probe" and rung.strategy.out_of_fold is not None:  # it is always run, and all others are compared with it
        return Belief(0.0, 1e-6)
    rows, task = rung.job.rows, rung.job.settings.task
    cases = read_cases(task)
    if output_of(rows.y) is Output.TEXT and all(case.task != task for case in cases):
        return expect_nothing(metric)
    return expect(
        rung.strategy.name,
        metric,
        per_class=len(rows) / rows.n_classes,
        classes=rows.n_classes,
        tokens=rung.tokens,
        cases=cases,
        probe_error=rung.probe_error,
        kin=any(case.task != (task or DEFAULT) for case in cases),
    )


def expectation_elsewhere(rung: Rung, metric: Metric) -> Belief:
    """What is believed of the probe of a further source against the first one's, before it ran."""
    if rung.back in _BY_DETOUR:
        mean, spread = _BY_DETOUR[rung.back]
        unit = by_scale(share=1.0, loss=4.0)[metric]
        return Belief(unit * mean, unit * spread)
    return expect("probe", metric, per_class=1.0, classes=2, tokens=1.0, cases=())


def probe_error_of(rung: Rung, out_of_fold: Sequence[FloatArray]) -> float | None:
    """The share of rows that a probe tells wrong by its out-of-fold logits (u, c), a mean over all times that rows were dealt out, as the
    table counts it (see `prior.Case`), never quite none; None: the table says nothing of such a task.
    """
    settings, rows = rung.job.settings, rung.job.rows
    task = settings.task or DEFAULT
    if all(case.task != task for case in read_cases(task)):
        return None
    metric = Metric.ACCURACY if task == DEFAULT else deciding_metric(settings)
    wrong = []
    for logits in out_of_fold:
        seen = rows.measured(logits)
        right = get_task(task).judge.score(metric, logits[rows.units(seen)], rows.take(seen))
        wrong.append((len(seen) * (1.0 - right) + 0.5) / (len(seen) + 1))
    return float(np.mean(wrong))


def calibration_of(rung: Rung, out_of_fold: FloatArray | None, warmer: float = 1.0) -> Calibration:
    """What calibrates a rung: by its out-of-fold logits (u, c), NaN where not measured; None: as the table expects, `warmer` times as warm
    where rungs like it turned out so.
    """
    rows, kind = rung.job.rows, output_of(rung.job.rows.y)
    if kind is Output.NUMBER:
        return Calibration()
    if kind is Output.TEXT:
        calibrate = get_task(rung.job.settings.task).calibrate
        seen = rows.measured(out_of_fold) if out_of_fold is not None else np.zeros(0, dtype=np.int64)
        if calibrate is None or out_of_fold is None or not len(seen):
            return Calibration()
        return calibrate(out_of_fold[seen], rows.take(seen))
    usual = expect_temperature(
        rung.strategy.name,
        per_class=len(rows) / rows.n_classes,
        classes=rows.n_classes,
        tokens=rung.tokens,
        cases=read_cases(rung.job.settings.task),
        probe_error=rung.probe_error,
    )
    if out_of_fold is None:
        return Calibration(1.0 / (usual * warmer))
    seen = np.flatnonzero(~np.isnan(out_of_fold[:, 0]))  # units, so that rows of many words need no care
    logits, y = out_of_fold[seen], rows.y[seen]
    if kind is Output.CLASS:
        return Calibration(1.0 / fit_temperature(logits, y, usual))
    factor = 1.0 / fit_temperature(*as_classes(logits, y), usual)
    return Calibration(factor, -best_threshold(logits * factor, y))


def sharpened(rung: Rung, out_of_fold: FloatArray, outputs: FloatArray) -> FloatArray:
    """Outputs of a rung moved as its out-of-fold ones say; of answers in words only how far they stand above none."""
    calibration = calibration_of(rung, out_of_fold)
    if output_of(rung.job.rows.y) is not Output.TEXT:
        return calibration.of(outputs)
    return np.column_stack([calibration.of(outputs[:, :1]), outputs[:, 1:]])


def trial_seconds(rung: Rung, cost: CostModel, share: float = 1.0) -> float:
    """Predicted seconds to train a rung on this share of its rows."""
    rows = max(2, round(len(rung.job.rows) * share))
    if rung.strategy.work is not None:
        work = rung.strategy.work(rung.job, share)
        return cost.training(rung.strategy.name, tokens=work.tokens, learning=work.learning, frozen=work.frozen, steps=work.steps)
    if not _trains_blocks(rung):
        times = 1 + len(rung.job.again) if rung.strategy.out_of_fold is not None else 1
        units = rows if rung.job.rows.sizes is None else round(len(rung.job.rows.y) * share)  # words, where each has a class
        if rung.job.pool is not None and rung.strategy.name in rungs_with_rows():
            units += len(rung.job.pool)  # all of them are put on common axes and weighed, however few are learnt
        return times * cost.light(rung.strategy.name, units, rung.job.rows.n_classes)
    backbone = rung.job.source.backbone
    rows += rung.strategy.adds(rung.job) if rung.strategy.adds is not None else 0
    seconds = 0.0
    for name, lowest in trainings_of(rung.strategy, rung.job):
        learning = backbone.block_parameters * (1 - lowest / backbone.n_blocks)
        steps = planned_steps(name, rows, rung.job.settings)
        tokens = steps * min(rows_a_step(rung.job.settings), rows) * rung.tokens
        seconds += cost.reading(rows * rung.tokens, learning)
        seconds += cost.training(rung.strategy.name, tokens=tokens, learning=learning, frozen=0.0, steps=steps)
    return seconds


def _trains_blocks(rung: Rung) -> bool:
    return rung.strategy.work is not None or (rung.strategy.tunes_from is not None and rung.job.reader is not None)


def learn_seconds(rung: Rung, cost: CostModel, predicted: float, measured: float) -> None:
    """Correct what `trial_seconds` predicts by what one trial took."""
    learn = cost.learn if _trains_blocks(rung) else cost.learn_light
    learn(rung.strategy.name, predicted, measured)


def net_of(belief: Belief, rung: Rung, cost: CostModel) -> float:
    """A belief's mean less the price of the time that the rung's training on all rows takes (light rungs cost nothing), and less what
    caution takes of a detour."""
    mean = belief.mean - (_CAUTION * belief.spread if rung.back is not None else 0.0)
    if rung.strategy.out_of_fold is not None:
        return mean
    return mean - price_of(trial_seconds(rung, cost), rung.job.settings)


def price_of(seconds: float, settings: Settings) -> float:
    """What so much time must promise at least, in points of the metric."""
    return _PRICE[deciding_metric(settings)] * seconds / max(settings.budget, Settings.budget)
