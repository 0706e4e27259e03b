"""The figures of the report. Each function draws one from plain records, or returns None when there is nothing to draw.

Marks mean the same in all of them: filled is transfer, hollow is no transfer, the accent colour is what was chosen. No figure needs its
colours to be read.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from markupsafe import Markup
from matplotlib.collections import PolyCollection
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from headstart.records import ClassScore, CurvePoint, LabelCurve, LabelPoint, LayerScore, Results, TrialRecord
from headstart.report.axes import (
    axis_title,
    count_ticks,
    fit_name,
    padded,
    panel_title,
    panels,
    seconds_ticks,
    title_above,
    whole_ticks,
    worthwhile,
)
from headstart.report.labels import Box, place_labels
from headstart.report.svg import ACCENT, FONT, HALO, HEAT, INK, LINE, ON_HEAT, PAPER, SOFT, Sheet, picture
from headstart.report.wording import count, fit, interval, number, percent, seconds, shorten, text_width

MAX_HEATMAP_CLASSES = 20
MAX_PANELS = 12


def score_against_seconds(results: Results) -> Markup | None:
    """Every rung that has a score, against the seconds that it took."""
    drawn = [trial for trial in results.trials if trial.score is not None and math.isfinite(trial.score.value)]
    if not drawn:
        return None

    def plot(sheet: Sheet) -> None:
        ax = sheet.axes(left=44, top=30, right=14, bottom=46)
        title_above(ax, axis_title(results.metric))
        times = [max(trial.seconds, 0.05) for trial in drawn]
        ax.set_xscale("log")
        ax.set_xlim(min(times) / 1.8, max(times) * (1.8 if not sheet.narrow else 2.2))
        low, high = worthwhile([trial.score for trial in drawn], results)
        ax.set_ylim(low, high)
        heights = [min(max(trial.score.value, low), high) for trial in drawn if trial.score]
        seconds_ticks(ax, narrow=sheet.narrow)
        ax.set_xlabel("time taken, log scale", loc="left", labelpad=6)
        # The chosen rung and its opponent come last, on top of the others.
        order = sorted(range(len(drawn)), key=lambda i: _is_key(drawn[i], results))
        for i in order:
            _rung_mark(ax, sheet, (times[i], heights[i]), drawn[i], results)
        _name_rungs(ax, sheet, list(zip(times, heights, strict=True)), drawn, results)

    label = f"{axis_title(results.metric)}, of {len(drawn)} rungs, against the seconds that each took."
    return picture("ladder", label, plot, height=400)


def off_scale(results: Results) -> bool:
    """Whether `score_against_seconds` has a rung at its edge because it lies beyond."""
    scores = [trial.score for trial in results.trials if trial.score is not None and math.isfinite(trial.score.value)]
    low, high = worthwhile(scores, results)
    return any(not low <= score.value <= high for score in scores)


def without_transfer(curve: LabelCurve, without: Iterable[str]) -> set[str]:
    """The rungs of a curve that do not transfer; where it does not name its own, those that `without` names, and tfidf."""
    return {curve.baseline} if curve.baseline else {"tfidf", *without}


def label_curve(curve: LabelCurve | None, metric: str, without: Iterable[str]) -> Markup | None:
    """Score against number of labels. `without` names the rungs of the ladder that do not transfer."""
    if curve is None or not curve.points:
        return None
    hollow = without_transfer(curve, without)
    rungs = sorted({point.rung for point in curve.points}, key=lambda rung: (rung in hollow, rung))
    largest = max(point.labels for point in curve.points)

    def plot(sheet: Sheet) -> None:
        top = 34 + (20 * (len(rungs) - 1) if sheet.narrow else 0) + 22
        sheet.resize(sheet.height + top - 56)
        ax = sheet.axes(left=44, top=top, right=14, bottom=46)
        ax.set_xscale("log")
        ax.set_xlim(min(point.labels for point in curve.points) / 1.12, max(largest, curve.needed or 0) * 1.12)
        ax.set_ylim(*padded([point.score for point in curve.points], above=0.14))
        count_ticks(ax, narrow=sheet.narrow)
        ax.set_xlabel("training labels, log scale", loc="left", labelpad=6)
        sheet.figure.text(0, 1 - 14 / sheet.height, axis_title(metric), color=SOFT, va="baseline")
        x = 44.0
        for i, rung in enumerate(rungs):
            points = sorted((point for point in curve.points if point.rung == rung), key=lambda point: point.labels)
            _curve_line(ax, sheet, points, rung in hollow)
            y = 38 + (20 * i if sheet.narrow else 0)
            name = fit_name(rung, 270 if sheet.narrow else 330)
            _legend(sheet, 44 if sheet.narrow else x, y, name, rung in hollow)
            x += text_width(name, FONT) + 40
        if curve.needed is not None and curve.needed > largest:
            _needed_line(ax, sheet, curve, rungs, hollow)

    return picture("labels", f"{axis_title(metric)}, against the number of training labels.", plot, height=350)


def layer_metric(task: str, metric: str) -> str:
    """The score by which a task compares layers, whatever decides between rungs; of all of them greater is better."""
    return {"classification": "accuracy", "pairs": "accuracy", "ner": "entity_f1"}.get(task, metric)


def score_by_layer(layers: Sequence[LayerScore], metric: str) -> Markup | None:
    """One small panel per source: the score of a light head on each layer's frozen features, by a metric as `layer_metric` names it."""
    sources = list(dict.fromkeys(layer.source for layer in layers))[:MAX_PANELS]
    if not sources:
        return None

    def plot(sheet: Sheet) -> None:
        limits = padded([layer.score for layer in layers])
        columns = 1 if sheet.narrow or len(sources) == 1 else 2
        for ax, source in zip(panels(sheet, len(sources), columns, 190), sources, strict=True):
            own = sorted((layer for layer in layers if layer.source == source), key=lambda layer: layer.layer)
            best = max(own, key=lambda layer: layer.score.value)
            numbers = [layer.layer for layer in own]
            ax.fill_between(numbers, [x.score.low for x in own], [x.score.high for x in own], color=INK, alpha=0.08, linewidth=0)
            ax.plot(numbers, [x.score.value for x in own], color=SOFT, linewidth=1.5)
            for layer in own:
                chosen = layer is best
                tip = sheet.tip(f"{source}, layer {layer.layer}: {interval(layer.score)}")
                colour = ACCENT if chosen else SOFT
                ax.plot(layer.layer, layer.score.value, "o", color=colour, ms=8 if chosen else 4.5, gid=tip, clip_on=False)
            ax.set_ylim(*limits)
            ax.set_xlim(min(numbers) - 0.3, max(numbers) + 0.3)
            ax.set_xticks(whole_ticks(min(numbers), max(numbers), 13 if not sheet.narrow else 9))
            ax.set_xlabel("layer", loc="left", labelpad=4)
            panel_title(ax, sheet, source, f"best: layer {best.layer}, {number(best.score.value)}")

    return picture("layers", f"{axis_title(metric)}, of a light head on each layer of {len(sources)} sources.", plot)


def confusion_map(scores: Sequence[ClassScore], confusion: Sequence[Sequence[int]]) -> Markup | None:
    """Rows are the true classes, columns the given ones; depth of colour is the share of the row. None for more than 20 classes."""
    size = len(confusion)
    if not 2 <= size <= MAX_HEATMAP_CLASSES:
        return None
    labels = [score.label for score in scores]

    def plot(sheet: Sheet) -> None:
        names = [fit(label or "(empty)", 104 if sheet.narrow else 170, FONT) for label in labels]
        longest = max(text_width(name, FONT) for name in names)
        gutter = longest + 12
        cell = min((sheet.width - gutter - 2) / size, 44.0 if size > 5 else 72.0)
        upright = longest > cell - 6
        foot = gutter if upright else 26
        sheet.resize(30 + cell * size + foot)
        ax = sheet.axes(left=gutter, top=30, right=sheet.width - gutter - cell * size, bottom=foot)
        ax.set(xlim=(0, size), ylim=(size, 0))
        ax.grid(False)
        ax.spines["bottom"].set_visible(False)
        centres = [i + 0.5 for i in range(size)]
        ax.set_xticks(centres, names, rotation=90 if upright else 0)
        ax.set_yticks(centres, names)
        ax.tick_params(length=0, labelcolor=INK)
        sheet.figure.text(0, 1 - 14 / sheet.height, "down: true class · across: predicted class", color=SOFT)
        _empty_cells(ax, confusion)
        for i, row in enumerate(confusion):
            for j, cases in enumerate(row):
                if cases:
                    _cell(ax, sheet, (i, j), cases, sum(row), labels, show_number=cell >= 19)

    return picture("confusion", f"How often each of {size} true classes was given each class.", plot)


def training_curves(trials: Sequence[TrialRecord]) -> Markup | None:
    """Small panels, one for each rung that was trained in steps: its loss on training and on validation rows."""
    with_curve = [trial for trial in trials if len(trial.curve) >= 2][:MAX_PANELS]
    if not with_curve:
        return None

    def plot(sheet: Sheet) -> None:
        columns = min(len(with_curve), 2 if sheet.narrow or len(with_curve) == 4 else 3)
        for ax, trial in zip(panels(sheet, len(with_curve), columns, 150), with_curve, strict=True):
            drawn = 0
            for key, colour, style in (("train_loss", SOFT, ":"), ("validation_loss", ACCENT, "-")):
                points = [(point.step, getattr(point, key)) for point in trial.curve if _is_number(getattr(point, key))]
                if points:
                    drawn += 1
                    ax.plot(*zip(*points, strict=True), color=colour, linestyle=style, linewidth=1.8)
            if drawn:
                ax.set_ylim(bottom=0)
            ax.set_xlim(left=0)
            ax.locator_params(axis="both", nbins=3)
            title = trial.strategy if trial.cut is None else f"{trial.strategy}, cut {trial.cut}"
            panel_title(ax, sheet, title, trial.source or "" if sheet.narrow else f"{_lowest(trial.curve)} · {trial.source or ''}")

    return picture("training", f"Loss against training steps of {len(with_curve)} rungs.", plot)


def seconds_by_stage(stages: dict[str, float]) -> Markup | None:
    """Horizontal bars, in the order in which the stages ran."""
    shown = [(name, value) for name, value in stages.items() if _is_number(value) and value >= 0]
    if not shown or not sum(value for _, value in shown):
        return None

    def plot(sheet: Sheet) -> None:
        names = [fit(name, 120 if sheet.narrow else 220, FONT) for name, _ in shown]
        gutter = max(text_width(name, FONT) for name in names) + 14
        sheet.resize(26 * len(shown) + 4)
        ax = sheet.axes(left=gutter, top=2, right=74, bottom=2)
        ax.grid(False)
        ax.spines["bottom"].set_visible(False)
        ax.set(xlim=(0, max(value for _, value in shown)), ylim=(len(shown) - 0.5, -0.5), xticks=[])
        ax.set_yticks(range(len(shown)), names)
        ax.tick_params(labelcolor=INK)
        for i, (name, value) in enumerate(shown):
            ax.barh(i, value, height=0.55, color=ACCENT, gid=sheet.tip(f"{name}: {seconds(value)}"))
            ax.annotate(
                seconds(value), (value, i), (6, 0), textcoords="offset points", va="center_baseline", color=SOFT, annotation_clip=False
            )

    return picture("spent", "Seconds by stage of the run.", plot)


# --- marks ---


def _is_key(trial: TrialRecord, results: Results) -> int:
    return 2 if trial == results.winner else 1 if trial == results.opponent else 0


def _rung_mark(ax: Any, sheet: Sheet, at: tuple[float, float], trial: TrialRecord, results: Results) -> None:
    assert trial.score is not None
    chosen = trial == results.winner
    colour = ACCENT if chosen else INK if _is_key(trial, results) else SOFT
    low, high = trial.score.low, trial.score.high
    ax.plot([at[0], at[0]], [low, high], color=colour, linewidth=1.8 if chosen else 1.1, solid_capstyle="round")
    tip = sheet.tip(f"{trial.name}: {interval(trial.score)}, {seconds(trial.seconds)}, {trial.status.value}")
    ax.plot(
        *at,
        linestyle="none",
        marker="D" if at[1] != trial.score.value else "o" if trial.transfers else "s",
        markersize=11 if chosen else 8,
        markerfacecolor=colour if trial.transfers else PAPER,
        markeredgecolor=colour,
        markeredgewidth=1.6,
        gid=tip,
        zorder=3,
        clip_on=False,
    )


def _name_rungs(ax: Any, sheet: Sheet, at: Sequence[tuple[float, float]], trials: Sequence[TrialRecord], results: Results) -> None:
    """Names beside the marks where there is room: the most telling first, the others only on pointing."""
    to_pixels = ax.transData.transform
    left, bottom = to_pixels((ax.get_xlim()[0], ax.get_ylim()[0]))
    right, top = to_pixels((ax.get_xlim()[1], ax.get_ylim()[1]))
    spots, names, taken = [], [], []
    for (x, y), trial in zip(at, trials, strict=True):
        assert trial.score is not None
        across, up = to_pixels((x, y))
        taken.append(Box(across - 6, up - 6, across + 6, up + 6))
        taken.append(Box(across - 1, to_pixels((x, trial.score.low))[1], across + 1, to_pixels((x, trial.score.high))[1]))
        spots.append((across, up))
        if y == trial.score.value:
            names.append(fit_name(trial.name, 200 if sheet.narrow else 240))
        else:
            names.append(f"{fit(trial.strategy, 100, FONT)} {number(trial.score.value)}")
    order = sorted(range(len(trials)), key=lambda i: (-_is_key(trials[i], results), trials[i].seconds))
    area = Box(left, bottom, right + 12, top + 8)
    # The chosen rung's name is bold, so wider; a little more room than is needed does the others no harm.
    placed = place_labels([spots[i] for i in order], [names[i] for i in order], FONT * 1.06, taken, area, far=2)
    for i, place in zip(order, placed, strict=True):
        if place is None:
            continue
        key = _is_key(trials[i], results)
        style = {"color": (SOFT, INK, ACCENT)[key], "weight": "bold" if key == 2 else "normal"}
        ax.annotate(names[i], place.at, xycoords="figure pixels", ha=place.side, va="center", annotation_clip=False, gid=HALO, **style)


def _curve_line(ax: Any, sheet: Sheet, points: Sequence[LabelPoint], hollow: bool) -> None:
    labels = [point.labels for point in points]
    colour = SOFT if hollow else ACCENT
    low, high = [point.score.low for point in points], [point.score.high for point in points]
    ax.fill_between(labels, low, high, color=INK if hollow else ACCENT, alpha=0.08 if hollow else 0.15, linewidth=0)
    ax.plot(labels, [point.score.value for point in points], color=colour, linewidth=2, linestyle="--" if hollow else "-")
    for point in points:
        tip = sheet.tip(f"{point.rung}, {count(point.labels)} labels: {interval(point.score)}")
        face = PAPER if hollow else colour
        marker = "s" if hollow else "o"
        ax.plot(point.labels, point.score.value, marker, mfc=face, mec=colour, mew=1.6, ms=6.5, gid=tip, zorder=3)


def _legend(sheet: Sheet, x: float, y: float, name: str, hollow: bool) -> None:
    """A mark and a name at pixels from the left and the top."""
    colour = SOFT if hollow else ACCENT
    across, up = x / sheet.width, 1 - y / sheet.height
    line = Line2D(
        [across], [up], marker="s" if hollow else "o", mfc=PAPER if hollow else colour, mec=colour, mew=1.6, ms=7, linestyle="none"
    )
    sheet.figure.add_artist(line)
    sheet.figure.text(across + 10 / sheet.width, up, name, color=INK, va="center_baseline")


def _needed_line(ax: Any, sheet: Sheet, curve: LabelCurve, rungs: Sequence[str], hollow: set[str]) -> None:
    """From the last point of transfer across to where the rung without it would get as far."""
    transfer = [point for point in curve.points if point.rung not in hollow]
    without = next((rung for rung in rungs if rung in hollow), "tfidf")
    if not transfer or curve.needed is None:
        return
    last = max(transfer, key=lambda point: point.labels)
    ax.plot([last.labels, curve.needed], [last.score.value] * 2, color=INK, linewidth=1.2, linestyle=(0, (1, 2.5)))
    tip = sheet.tip(f"{without} would need about {count(curve.needed)} labels for {number(last.score.value)}")
    ax.plot(curve.needed, last.score.value, "s", mfc=PAPER, mec=INK, mew=1.6, ms=8, gid=tip, zorder=3)
    text = f"{fit(without, 100, FONT)}: about {count(curve.needed)}{'' if sheet.narrow else ' labels'}"
    ax.annotate(text, (curve.needed, last.score.value), (4, 9), textcoords="offset points", ha="right", color=INK, gid=HALO)


def _empty_cells(ax: Any, confusion: Sequence[Sequence[int]]) -> None:
    """All cells without a case, as one artist: there may be hundreds."""
    cells = [(i, j) for i, row in enumerate(confusion) for j, cases in enumerate(row) if not cases]
    near, far = 0.04, 0.96
    corners = [[(j + x, i + y) for x, y in ((near, near), (far, near), (far, far), (near, far))] for i, j in cells]
    ax.add_collection(PolyCollection(corners, facecolor=LINE, alpha=0.35, linewidth=0), autolim=False)


def _cell(ax: Any, sheet: Sheet, at: tuple[int, int], cases: int, total: int, labels: Sequence[str], show_number: bool) -> None:
    i, j = at
    share = cases / total
    true, given = shorten(labels[i], 60), shorten(labels[j], 60)
    tip = sheet.tip(f"{count(cases)} of {count(total)} rows of {true} ({percent(share)}) were given {given}")
    ax.add_artist(Rectangle((j + 0.04, i + 0.04), 0.92, 0.92, color=HEAT, alpha=0.12 + 0.88 * share, linewidth=0, gid=tip))
    if show_number:
        colour = ON_HEAT if share > 0.8 else INK
        ax.text(j + 0.5, i + 0.5, str(cases), ha="center", va="center_baseline", color=colour)


def _lowest(curve: Sequence[CurvePoint]) -> str:
    best = [point for point in curve if _is_number(point.validation_loss)]
    if not best:
        return f"{count(curve[-1].step)} steps"
    return f"lowest {number(min(point.validation_loss or 0.0 for point in best))}"


def _is_number(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
