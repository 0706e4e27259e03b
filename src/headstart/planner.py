"""Which rungs to try on which source, in which order, within the time; and which one wins.

The planner holds a belief about every rung's score minus the probe's. It begins with the prior, is moved by every fold that is measured,
and the next trial is always the one from which the choice is expected to gain most for its seconds. It stops when nothing is worth its
time. With few rows a fold says little, so the prior decides; with many the folds do. All rows that it sees are training rows.

Letters in shapes: n rows, u units (words, where each word has a class; else n), c classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

import numpy as np

from headstart.cost import CostModel
from headstart.data.examples import IntArray
from headstart.errors import SettingsError
from headstart.guard import rows_help
from headstart.judge.calibration import softmax
from headstart.judge.intervals import count_units
from headstart.prior import Belief, believe, worth_measuring
from headstart.records import TrialRecord, TrialStatus
from headstart.rungs import (
    Rung,
    calibration_of,
    expectation,
    expectation_elsewhere,
    net_of,
    price_of,
    probe_error_of,
    sharpened,
    trial_seconds,
)
from headstart.runs import RunFolder
from headstart.settings import Metric, by_scale
from headstart.strategies.base import FloatArray
from headstart.strategies.events import note_trial
from headstart.strategies.ladder import Job, rungs_unlabelled, rungs_with_rows
from headstart.strategies.outputs import Output, output_of
from headstart.tasks.registry import deciding_metric, get_task
from headstart.trials import Measured, State, run_fold, run_lights

# An expected gain below this is not worth a trial: in points of the metric.
_WORTH = by_scale(share=0.0007, loss=0.003, bits=0.0002)
# A second seed of the same rung differs by about this much: no fold is trusted beyond it.
_SEED_NOISE = by_scale(share=0.006, loss=0.02, bits=0.003)
# How the gains over the probe of two rungs that tune the same source correlate: over 19 draws of twelve sets 0.5 to 0.9 (docs/log.md).
_ALIKE = 0.75
# Variance of the difference of two rungs on a row, before any fold says: of being right that is the share of rows on which they differ.
_ROW_VARIANCE = {metric: 0.15 * metric.full**2 if metric.higher_is_better else 0.5 for metric in Metric} | {Metric.BITS_PER_BYTE: 0.02}
# What a rung that never wins counts as worth: far below all others, yet a number to reckon with.
_NEVER = -1e6
# However few rows differ, so much is thought possible, spread over all of them.
_LEAST_VARIANCE = {metric: 0.5 * metric.full**2 if metric.higher_is_better else 0.5 for metric in Metric} | {Metric.BITS_PER_BYTE: 0.02}


@dataclass(frozen=True)
class Decision:
    """What the planner chose on some rows.

    `transfer` and `plain` are the best rungs with and without transfer (None: none was on the list, or none could be tried); the winner is
    one of the two. `via` and `direct` are the best with transfer by a detour and without one, each as it would have been chosen without the
    other; `via` None: there is none. `out_of_fold` holds logits (u, c) by the rung's name, NaN where not measured. `beside` are the light
    rungs with rows of neighbouring data, which are judged to be compared. `warmer` tells by source how many times the temperature that the
    table expects was needed by rungs that tune it, where one was measured.
    """

    winner: Rung
    transfer: Rung | None
    plain: Rung | None
    via: Rung | None
    direct: Rung | None
    out_of_fold: dict[str, FloatArray]
    trials: tuple[TrialRecord, ...]
    beside: tuple[Rung, ...] = ()
    warmer: Mapping[str | None, float] = field(default_factory=dict)


def decide(
    rungs: list[Rung], *, run: RunFolder, label: str, seconds: float, cost: CostModel, failed: Mapping[str, str] = MappingProxyType({})
) -> Decision:
    """Choose among rungs with the rows and folds of their jobs.

    Args:
        rungs: the candidates; light ones (with `out_of_fold`) are always run.
        run: remembers every trial.
        label: names the rows, for the journal.
        seconds: time for the trials and the training of the winner.
        cost: predicts seconds; corrected on the way.
        failed: names of rungs that cannot be trained, and why.
    """
    first = rungs[0].job
    metric = deciding_metric(first.settings)
    begin = run.clock
    expected = [expectation(rung, metric) for rung in rungs]
    states = [State(rung, belief, belief, failed=failed.get(rung.name, "")) for rung, belief in zip(rungs, expected, strict=True)]
    everything = states
    dropped = run_lights(states, run, label, seconds, cost)
    states = [state for state in states if state.rung.source not in dropped]
    rivals = [state for state in states if not state.rung.strategy.compared_only]  # those that can win
    lights = [state for state in states if state.logits is not None]
    probes = [state for state in lights if state.rung.strategy.name == "probe"]
    alone = [state for state in rivals if state.logits is not None and state.rung.strategy.name not in rungs_with_rows()]
    anchor = next(iter(probes or alone[-1:] or lights[-1:]), None)
    _tell_errors(states, probes, metric)
    for probe in probes[1:]:  # which source is the better one nobody knows beforehand
        probe.prior = expectation_elsewhere(probe.rung, metric)
    for state in lights:
        _measure(state, anchor, first, metric)
        _widen(state, anchor)
    _learn(states, anchor)
    for probe in probes[1:]:
        _lean_on(probe, states)
    states = _without_lesser(states, probes)
    while True:
        left = seconds - (run.clock - begin)
        chosen = _next(states, rivals, left, cost, first, metric, anchor)
        if chosen is None:
            break
        if anchor is None:
            # Without a light rung the first that is trained is what the others are compared with, on its own folds.
            run_fold(chosen, run, label, cost)
            anchor = chosen if chosen.logits is not None else None
            continue
        if _lacks_fold(anchor, chosen):
            run_fold(anchor, run, label, cost)
        if not _lacks_fold(anchor, chosen):
            run_fold(chosen, run, label, cost)
        _measure(chosen, anchor, first, metric)
    left = seconds - (run.clock - begin)
    sound = [state for state in states if not state.failed]
    if not sound:
        reasons = "; ".join(f"{state.rung.name}: {state.failed}" for state in everything if state.failed)
        raise SettingsError(f"No rung could be trained ({reasons}). Choose others with --strategy, or a lower --learning-rate.")
    # A rung that was never tried may win on what is known of it, if there is time to train it.
    fair = _may_win(sound, rivals, anchor, first, metric)
    ready = [state for state in fair if state.logits is not None or _trainings_after(state, states, cost) <= left] or fair
    worth = {id(state): _net(state, cost) for state in ready}
    winner = max(ready, key=lambda state: worth[id(state)])
    if winner.logits is None and output_of(first.rows.y) is Output.LABELS and winner.rung.job.folds:
        train = winner.rung.job.folds[0][0]
        if trial_seconds(winner.rung, cost, len(train) / len(first.rows)) + _trainings_after(winner, states, cost) <= left:
            run_fold(winner, run, label, cost)  # where labels have their line no table tells

    def best(transfers: bool) -> Rung | None:
        kind = [state for state in ready if state.rung.strategy.transfers is transfers]
        if transfers is not winner.rung.strategy.transfers:
            # The other side is only ever compared with: what was measured goes before what is merely expected.
            kind = [state for state in kind if state.logits is not None] or kind
        return max(kind, key=lambda state: worth[id(state)]).rung if kind else None

    def best_way(by_detour: bool) -> Rung | None:
        way = [state for state in ready if state.rung.strategy.transfers and (state.rung.detour is not None) is by_detour]
        return max(way, key=lambda state: worth[id(state)]).rung if way else None

    logits = {state.rung.name: state.logits for state in states if state.logits is not None}
    records = tuple(_record(state, winner, metric, cost) for state in everything)
    for state, record in zip(everything, records, strict=True):
        if state.rung.job.logs is not None:
            note_trial(state.rung.job.logs, record, metric.value)
    compared = {*rungs_with_rows(), *rungs_unlabelled()}
    beside = tuple(state.rung for state in lights if state.rung.strategy.name in compared and not state.failed)
    warmer = _warmer(states)
    return Decision(winner.rung, best(True), best(False), best_way(True), best_way(False), logits, records, beside, warmer)


def _warmer(states: list[State]) -> dict[str | None, float]:
    """See `Decision.warmer`; a geometric mean. Rungs that tune one source are about as sure of themselves as each other."""
    found: dict[str | None, list[float]] = {}
    for state in states:
        if state.rung.strategy.tunes_a_source and state.logits is not None and output_of(state.rung.job.rows.y) is Output.CLASS:
            expected, needed = (1.0 / calibration_of(state.rung, logits).factor for logits in (None, state.logits))
            found.setdefault(state.rung.source, []).append(math.log(needed / expected))
    return {source: math.exp(sum(ratios) / len(ratios)) for source, ratios in found.items()}


def _tell_errors(states: list[State], probes: list[State], metric: Metric) -> None:
    """What is expected of rungs that train depends on what the probe of their source leaves to be gained, which is known now."""
    errors = {probe.rung.source: probe_error_of(probe.rung, (probe.logits, *probe.again)) for probe in probes if probe.logits is not None}
    for state in states:
        error = errors.get(state.rung.source, next(iter(errors.values()), None))
        if state.rung.strategy.out_of_fold is None and error is not None:
            state.rung = replace(state.rung, probe_error=error)
            state.prior = state.belief = expectation(state.rung, metric)


def _widen(state: State, anchor: State | None) -> None:
    """What was expected of a light rung on another source than the anchor's, as unsure as it fell below that. How much worse a source can
    be no table tells; left narrow, its fall would be taken for luck of the anchor, which raises every rung that was held against it."""
    if state.measured is not None and anchor is not None and state.rung.source not in (None, anchor.rung.source):
        fall = state.prior.mean - state.measured.difference
        state.prior = Belief(state.prior.mean, max(state.prior.spread, fall))


def _lean_on(probe: State, states: list[State]) -> None:
    """What is expected of a source's other rungs is measured from that source's own probe."""
    for state in states:
        if state.rung.source == probe.rung.source and state.rung.strategy.out_of_fold is None:
            state.prior = Belief(state.prior.mean + probe.belief.mean, math.hypot(state.prior.spread, probe.belief.spread))
            state.belief = state.prior


def _without_lesser(states: list[State], probes: list[State]) -> list[State]:
    """Without the tuned rungs on those variants of a detour of which a sister's probe does better; the direct way always goes on."""
    best: dict[str, State] = {}
    for probe in probes:
        detour = probe.rung.detour
        if detour is not None and (detour not in best or probe.belief.mean > best[detour].belief.mean):
            best[detour] = probe
    kept = []
    for state in states:
        chosen = best.get(state.rung.detour) if state.rung.detour is not None else None
        if chosen is None or chosen.rung.source == state.rung.source or state.rung.strategy.out_of_fold is not None:
            kept.append(state)
        else:
            state.stopped = f"the probe does better on {chosen.rung.source}"
    return kept


def _learn(states: list[State], anchor: State | None) -> FloatArray:
    """Move what is believed by all that was measured (from the priors each time: folds add up); the covariance (k, k) of the k beliefs."""
    kinds = [_kind(state.rung) for state in states]
    alike = np.array([[1.0 if i == j else _ALIKE * (one == two) for j, two in enumerate(kinds)] for i, one in enumerate(kinds)])
    measured = {i: state.measured for i, state in enumerate(states) if state.measured is not None}
    differences = {i: found.difference for i, found in measured.items()}
    means, covariance = believe(
        [state.prior for state in states], alike, differences, _errors(list(measured.values())), _place(anchor, states)
    )
    for state, mean, variance in zip(states, means.tolist(), np.diag(covariance).tolist(), strict=True):
        state.belief = Belief(mean, math.sqrt(max(variance, 0.0)))
    return covariance


def _errors(measured: list[Measured]) -> FloatArray:
    """The covariance (m, m) of what was measured wrongly. Where two rungs were held against the anchor on the same rows, the rows on which
    it alone was right, or wrong, speak in both."""
    if not measured:
        return np.zeros((0, 0))
    shares = np.array([found.shares for found in measured])
    together: FloatArray = shares @ shares.T
    np.fill_diagonal(together, [found.error**2 for found in measured])
    return together


def _place(wanted: State | None, states: list[State]) -> int | None:
    """Where a rung stands among others; None: it does not, or there is none."""
    return next((place for place, state in enumerate(states) if state is wanted), None)


def _kind(rung: Rung) -> object:
    """The same for rungs that tune the same source; every other rung is of its own kind."""
    return ("tunes", rung.source) if rung.strategy.tunes_a_source else rung.name


def _measure(state: State, anchor: State | None, job: Job, metric: Metric) -> None:
    """The paired difference to the anchor on the rows of all folds that were tried, a mean over all times that both were dealt out."""
    if state.logits is None or anchor is None or anchor.logits is None or state is anchor:
        return
    judge = get_task(job.settings.task).judge
    # What two probes get right of a few rows is mostly luck; how sure they are of the true classes is less so.
    two_probes = state.rung.back is not None and state.rung.strategy == anchor.rung.strategy
    by_chances = two_probes and metric.higher_is_better and output_of(job.rows.y) is Output.CLASS
    contrasts, differences, n, shares = [], [], 0, np.zeros(len(job.rows))
    for mine, its in zip((state.logits, *state.again), (anchor.logits, *anchor.again), strict=False):
        seen = np.intersect1d(job.rows.measured(mine), job.rows.measured(its))  # other rows each time they are dealt out
        if not len(seen):
            continue
        units = job.rows.units(seen)
        ours, theirs = mine[units], its[units]
        if output_of(job.rows.y) in (Output.LABELS, Output.TEXT):  # each where it draws its line best
            ours, theirs = sharpened(state.rung, mine, ours), sharpened(anchor.rung, its, theirs)
        contrast = judge.contrast(metric, ours, theirs, job.rows.take(seen))
        contrasts.append(contrast)
        differences.append(contrast.difference)
        if by_chances:
            differences[-1] = (contrast.difference + metric.full * _surer(ours, theirs, job.rows.y[units])) / 2
        n = max(n, count_units(len(seen), job.groups[seen]))
        shares[seen] += (contrast.shares - contrast.shares.mean()) / math.sqrt(len(seen))
    if not contrasts:
        return
    spread = max(float(np.mean([each.shares.var() for each in contrasts])), _LEAST_VARIANCE[metric] / n)
    error = math.sqrt(spread / n + _SEED_NOISE[metric] ** 2 / max(state.folds, 1))
    state.measured = Measured(float(np.mean(differences)), error, shares / (len(contrasts) * math.sqrt(n)))


def _surer(ours: FloatArray, theirs: FloatArray, y: IntArray) -> float:
    """How much more probability logits (u, c) give to the true classes (u,) than others do, on average."""
    mine, its = (np.take_along_axis(softmax(logits), y[:, None], axis=1) for logits in (ours, theirs))
    return float(np.mean(mine - its))


def _may_win(states: list[State], rivals: list[State], anchor: State | None, job: Job, metric: Metric) -> list[State]:
    """Without rungs that are only compared, and without those that learn from rows of neighbouring data where these do not help."""
    base = None if anchor is None or anchor.rung.strategy.name in rungs_with_rows() else anchor.logits
    with_rows = [state for state in states if state.rung.strategy.name in rungs_with_rows()]
    helping = [state for state in with_rows if rows_help(state.logits, base, job, metric)]
    kept = []
    for state in states:
        # A rung that was not measured goes by the others that learn from the same rows.
        helps = state in helping or (state.logits is None and bool(helping))
        if state not in rivals:
            state.stopped = "only compared"
        elif state in with_rows and base is not None and not helps:
            state.stopped = "its rows do not help on the folds"
        else:
            kept.append(state)
    return kept or states


def _net(state: State, cost: CostModel) -> float:
    """What is expected of a rung less the price of the time that its training on all rows takes; light ones are trained already."""
    return net_of(state.belief, state.rung, cost)


def _trainings_after(state: State, states: list[State], cost: CostModel) -> float:
    """Seconds to train on all rows what is judged if this rung wins: itself, where there is a detour the best direct one as well, and the
    opponent where none without transfer is light."""
    times = 2 if any(other.rung.detour is not None for other in states) else 1
    plain = [other.rung for other in states if not other.rung.strategy.transfers and not other.failed]
    opponent = 0.0
    if state.rung.strategy.transfers and plain and all(rung.strategy.out_of_fold is None for rung in plain):
        opponent = min(trial_seconds(rung, cost) for rung in plain)
    return times * trial_seconds(state.rung, cost) + opponent


def _lacks_fold(anchor: State, state: State) -> bool:
    """Whether the next fold of a rung is one that the rung it is compared with, which is no light one, was not trained on yet."""
    return anchor.rung.strategy.out_of_fold is None and anchor is not state and state.folds >= anchor.folds


def _next(
    states: list[State], rivals: list[State], left: float, cost: CostModel, job: Job, metric: Metric, anchor: State | None
) -> State | None:
    """The trial that is worth most for its seconds, or None when none is worth its time; `left` seconds remain. `rivals`: those that can
    win; `anchor`: what others are compared with."""
    best: tuple[float, State] | None = None
    leading = _leading(states, cost)
    covariance = _learn(states, anchor)
    # Rungs that are only compared win nothing, but others may be measured against one.
    open_to_win = [i for i, state in enumerate(states) if not state.failed and (state in rivals or state is anchor)]
    sound = [states[i] for i in open_to_win]
    nets = np.array([_net(state, cost) if state in rivals else _NEVER for state in sound])
    among, against = covariance[np.ix_(open_to_win, open_to_win)], _place(anchor, sound)
    for i, state in enumerate(states):
        rung = state.rung
        if rung.strategy.out_of_fold is not None or i not in open_to_win or state.folds >= len(rung.job.folds):
            continue
        if rung.source not in leading:
            state.stopped = "other sources lead"
            continue
        if state is anchor:
            state.stopped = "the others are compared with it"
            continue
        if anchor is not None and anchor.failed:
            state.stopped = "nothing to compare it with"
            continue
        train, held = rung.job.folds[state.folds]
        needed = trial_seconds(rung, cost, len(train) / len(job.rows))
        if anchor is not None and _lacks_fold(anchor, state):
            needed += trial_seconds(anchor.rung, cost, len(train) / len(job.rows))
        if needed + _trainings_after(state, states, cost) > left:  # its training on all rows must fit in too
            state.stopped = "no time left"
            continue
        rival = max((_net(other, cost) for other in sound if other in rivals and other is not state), default=None)
        if rival is None:
            state.stopped = "the only rung"
            continue
        error = math.sqrt(_ROW_VARIANCE[metric] / max(len(held), 1) + _SEED_NOISE[metric] ** 2)
        value = worth_measuring(nets, among, open_to_win.index(i), error, against)
        if value < max(_WORTH[metric], price_of(needed, job.settings)):
            state.stopped = "could hardly win any more" if _net(state, cost) < rival else "leads clearly"
            continue
        if best is None or value / max(needed, 0.1) > best[0]:
            best = value / max(needed, 0.1), state
    return None if best is None else best[1]


def _leading(states: list[State], cost: CostModel) -> set[str | None]:
    """The sources on which trials may be spent: by successive halving (Jamieson and Talwalkar 2016, arXiv 1502.07943).

    What is believed of a source's best rung, which leans on its own probe, ranks it. The better half is tried; once each of them had a
    trial the better half of those, and so on down to two. Of two sources, of sources without a probe, and between a source and what a
    detour made of it, only what a trial is worth decides.
    """
    worth: dict[str | None, float] = {}
    trials: dict[str | None, int] = {}
    everyone, probed = set(), set()
    for state in states:
        source = state.rung.source
        if state.rung.strategy.name == "probe" and state.logits is not None:
            probed.add(source)
        if state.rung.strategy.out_of_fold is None and not state.failed:
            everyone.add(source)
            if state.rung.detour is None:
                worth[source] = max(worth.get(source, -math.inf), _net(state, cost))
                trials[source] = trials.get(source, 0) + state.folds
    ranked = sorted(worth, key=lambda source: -worth[source])
    if not probed.issuperset(ranked):
        return everyone
    left, rounds = len(ranked), 0
    while left > 2 and all(trials[source] >= rounds for source in ranked[:left]):
        left = math.ceil(left / 2)
        rounds += 1
    return everyone - set(ranked[left:])


def _record(state: State, winner: State, metric: Metric, cost: CostModel) -> TrialRecord:
    """What became of a rung, for the journal and the report."""
    rung = state.rung
    settings = rung.job.settings
    measured = None
    if state.logits is not None:
        rows, seen = rung.job.rows, rung.job.rows.measured(state.logits)
        sharp = sharpened(rung, state.logits, state.logits[rows.units(seen)])
        measured = get_task(settings.task).judge.estimate(metric, sharp, rows.take(seen), rung.job.groups[seen], settings)
    if state.failed:
        status = TrialStatus.FAILED
    elif state.logits is None:
        status = TrialStatus.SKIPPED
    else:
        status = TrialStatus.DONE if state.folds == len(rung.job.folds) or state is winner else TrialStatus.STOPPED
    cut = rung.strategy.tunes_from(rung.job) if rung.strategy.tunes_from is not None else None
    return TrialRecord(
        name=rung.name,
        strategy=rung.strategy.name,
        source=rung.job.reader.backbone.source.name if rung.strategy.needs_source and rung.job.reader is not None else None,
        cut=cut,
        transfers=rung.strategy.transfers,
        status=status,
        split=f"{state.folds} of {len(rung.job.folds)} training folds" if state.folds else "not run",
        score=measured,
        expected=state.belief.mean,
        seconds=state.seconds,
        predicted_seconds=trial_seconds(rung, cost),
        reason=state.failed or ("chosen" if state is winner else state.stopped),
    )
