"""The verdict in words."""

from __future__ import annotations

from collections import Counter

from headstart.records import DataRanking, Estimate, Gain, Ranking, Results, TrialRecord, Verdict
from headstart.settings import Metric, shown_metric

# Weights that are worth fewer equal rows than this share of all rest on few.
_FEW_WEIGHTS = 0.1


def verdict_sentence(results: Results, saved: bool = False) -> str:
    """What came out, in one sentence with its circumstances: score and gain with intervals, rows, and how they were judged.

    `saved`: the best rung without transfer is saved too, which only the run's folder can tell.
    """
    metric = Metric(results.metric)
    score, gain = results.scores[results.metric], results.gain
    number = f"{_interval(score)} {metric.shown}"
    rung = _rung(results.winner)
    footing = f"{score.n:,} rows, {results.judged_on}, {100 * score.confidence:g} %"
    if gain is None or gain.verdict is Verdict.NOT_COMPARED:
        if not any(trial.transfers for trial in results.trials):
            return f"Transfer was not tried: {rung}, a rung without transfer, reaches {number} ({footing} interval)."
        if not results.winner.transfers:
            return f"Transfer did not win: {rung}, a rung without transfer, reaches {number} ({footing} interval)."
        beside = "and no rung without transfer was judged beside it"
        return f"Transfer was not compared: {rung} reaches {number}, {beside} ({footing} interval)."
    opening, difference = _opening(gain.verdict), _difference(gain, metric)
    if not results.winner.transfers:
        # The gain then tells how the best rung that transfers stands to the winner.
        beside = f"and {gain.winner}, the best rung with transfer, stands {difference} it"
        return f"{opening}: {rung} reaches {number}, {beside} ({footing} intervals)."
    told = f"{opening}: {rung} reaches {number}, {difference} {gain.opponent}, the best rung without transfer"
    if gain.verdict is Verdict.HURTS:
        # Judged rows decide nothing, so the run keeps what the training rows chose; the user may choose otherwise.
        told += "; the training rows did not show it" + (", so that rung is saved too, in without_transfer/" if saved else "")
    return f"{told} ({footing} intervals)."


def decided_sentence(results: Results) -> str:
    """Which rungs the scores stand on, where not all are the winner's: each part that judges decides anew; "" where all are."""
    if all(name == results.winner.name for name in results.decided):
        return ""
    counted = Counter(results.decided).most_common()
    if len(results.decided) == 1:
        return f"As decided anew without the judged rows: {counted[0][0]}."
    return f"As decided anew in each fold: {', '.join(f'{name} {times}' for name, times in counted)}."


def detour_sentence(results: Results) -> str:
    """What the detour by a source task gained, and what is left of the source task; "" where none was asked for."""
    detour, metric = results.detour, Metric(results.metric)
    if detour is None:
        return ""
    gain = detour.gain
    if gain is None:
        return "The detour was not compared: no rung by it and no direct one could be judged side by side."
    effect = {Verdict.HELPS: "helps", Verdict.HURTS: "hurts"}.get(gain.verdict, "makes no clear difference")
    circumstances = f"{gain.n:,} rows, {results.judged_on}, {100 * gain.confidence:g} % interval"
    said = f"The detour by {detour.task} {effect}: {gain.winner} stands {_difference(gain, metric)} {gain.opponent}, the best direct rung"
    if detour.before is None or detour.after is None:
        return f"{said} ({circumstances})."
    own = next((shown_metric(task.metric) for task in detour.tasks if task.name == detour.task), metric.shown)
    scores = f"{_interval(detour.before)} to {_interval(detour.after)} {own}"
    # From the weights as the source task left them to those that are saved: half the way back, learning the target, or both.
    lost = f"On the way to the saved model the source task's own score went from {scores} ({detour.after.n:,} rows set aside)."
    return f"{said} ({circumstances}). {lost}"


def _opening(verdict: Verdict) -> str:
    return {
        Verdict.HELPS: "Transfer helps",
        Verdict.HURTS: "Transfer hurts",
        Verdict.UNCLEAR: "Transfer makes no clear difference",
        Verdict.NOT_COMPARED: "Transfer was not compared",
    }[verdict]


def _rung(trial: TrialRecord) -> str:
    return trial.strategy if trial.source is None else f"{trial.strategy} from {trial.source}"


def _interval(score: Estimate) -> str:
    places = _places(score.value, score.low, score.high)
    return f"{score.value:.{places}f} [{score.low:.{places}f}, {score.high:.{places}f}]"


def _difference(gain: Gain, metric: Metric) -> str:
    """`0.12 [0.08, 0.16] above`: the size of the gain, with the interval turned round when the gain is a loss."""
    worse = gain.value < 0
    value, low, high = (-gain.value, -gain.high, -gain.low) if worse else (gain.value, gain.low, gain.high)
    places = _places(value, low, high)
    side = ("below" if worse else "above") if metric.higher_is_better else ("worse than" if worse else "better than")
    numbers = [f"{number:.{places}f}" for number in (value, low, high)]
    value_text, low_text, high_text = ("0." + "0" * places if float(number) == 0 else number for number in numbers)
    return f"{value_text} [{low_text}, {high_text}] {side}"


def _places(*numbers: float) -> int:
    """Two decimals, or as many up to four as it takes that no number other than 0 reads as 0."""
    return next((places for places in (2, 3) if all(number == 0 or round(abs(number), places) > 0 for number in numbers)), 4)


def rows_sentences(results: Results) -> tuple[str, ...]:
    """What rows of neighbouring data gave, in sentences; () where there were none."""
    rows = results.rows
    if rows is None:
        return ()
    used = sum(one.used for one in rows.sets)
    if rows.learnt and results.winner.strategy == "all_rows":
        first = f"The chosen model learnt from all {used:,} rows of neighbouring data; {rows.way} would choose {rows.chosen:,} of them."
    elif rows.learnt:
        first = f"The chosen model learnt from rows of neighbouring data: {rows.chosen:,} of {used:,} are chosen by {rows.way}."
    else:
        first = (
            f"Rows of neighbouring data were tried and stay out of the chosen model; {rows.way} would choose {rows.chosen:,} of {used:,}."
        )
    metric, said = Metric(results.metric), []
    for gain in rows.gains:
        told = _difference(gain, metric)
        clear = "" if gain.low > 0 or gain.high < 0 else ", no clear difference"
        said.append(f"{gain.winner} stands {told} {gain.opponent}{clear} ({gain.n:,} rows, {100 * gain.confidence:g} % interval).")
    return (first, *said, *filter(None, [rows.labels_worth, collapsed(rows.effective, used)]))


def collapsed(effective: float, rows: int) -> str:
    """That weights rest on few rows, in a sentence; "" where they do not, or where that was not told."""
    if not 0 < effective < _FEW_WEIGHTS * rows:
        return ""
    return f"The scores rest on few rows: together they weigh as much as {effective:,.0f} equal ones of {rows:,}."


# Of tasks whose sources are not ranked by a probe, what their scores are those of.
RANKED_WITHOUT_PROBE = {"generation": "as it is", "translation": "after a short training"}


def nearness_footing(ranking: DataRanking) -> tuple[str, str]:
    """What the order of data sets stands on, and what it does not say."""
    return (
        f"Nearest first by {ranking.ordering}, as {ranking.source} reads {ranking.rows:,} rows of the target; from training rows only.",
        "Nearness is an order in which to try them, not a promise: `headstart fit DATA --via SET` measures what each gains.",
    )


def ranking_footing(ranking: Ranking) -> str:
    """What the figures of a ranking stand on, in one or two sentences."""
    read = (
        f"{ranking.rows:,} training rows" if ranking.rows == ranking.all_rows else f"{ranking.rows:,} of {ranking.all_rows:,} training rows"
    )
    level = f"{100 * ranking.sources[0].predicted.confidence:g} %"
    ties = sum(source.tied for source in ranking.sources[1:])
    metric, how = shown_metric(ranking.metric), RANKED_WITHOUT_PROBE.get(ranking.task)
    said = [f"Predicted {metric} after training with the named strategy on all rows, with {level} intervals; from {read}."]
    if how is not None:
        what = f"The {metric} of each source {how}"
        said = [f"{what}, with {level} intervals; from {read}. What training on all rows adds is not known."]
    if ties:
        said.append(f"{'One (=) cannot' if ties == 1 else f'{ties} (=) cannot'} be told from the first.")
    if ranking.judged_by_folds and len(ranking.sources) > 1:
        said.append("Without a test file a fit is judged on these rows too, by folds; given several sources it chooses within its folds.")
    return " ".join(said)
