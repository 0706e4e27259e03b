"""Axes of the figures: limits, ticks that people would choose, titles that are read without turning the head."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from headstart.records import Estimate, Results
from headstart.report.svg import FONT, INK, SOFT, Sheet
from headstart.report.wording import NARROW_EM, count, fit, seconds, squeeze
from headstart.settings import lower_is_better, shown_metric


def axis_title(metric: str) -> str:
    """The metric with the direction that is better."""
    return f"{shown_metric(metric)}, {'lower' if lower_is_better(metric) else 'higher'} is better"


def fit_name(name: str, pixels: float) -> str:
    """A rung's or a source's name in so many pixels, its end kept."""
    return fit(squeeze(name, int(pixels / (FONT * NARROW_EM))), pixels, FONT)


def title_above(ax: Any, text: str) -> None:
    """Above the axes, level, from the very left: nobody turns the head to read it."""
    figure = ax.figure
    figure.text(0, 1 - 14 / (figure.get_figheight() * 72), text, color=SOFT, va="baseline")


def panel_title(ax: Any, sheet: Sheet, title: str, note: str) -> None:
    """Two lines over a small panel, cut to its width: a bold one and a quiet one."""
    width = ax.get_position().width * sheet.width
    style = {"xycoords": "axes fraction", "textcoords": "offset points", "annotation_clip": False}
    ax.annotate(fit_name(title, (width - 4) / 1.06), (0, 1), (0, 28), color=INK, weight="bold", **style)
    ax.annotate(fit_name(note, width), (0, 1), (0, 10), color=SOFT, **style)


def panels(sheet: Sheet, panels: int, columns: int, height: float) -> list[Any]:
    """A grid of axes with room above each for a title; the sheet grows to hold them."""
    rows = math.ceil(panels / columns)
    top, bottom, left, gap = 54.0, 46.0, 44.0, 18.0
    sheet.resize(rows * (top + height + bottom) - 8)
    across = (sheet.width - gap * (columns - 1)) / columns
    axes = []
    for i in range(panels):
        row, column = divmod(i, columns)
        x, y = column * (across + gap), row * (top + height + bottom)
        axes.append(sheet.axes(x + left, y + top, sheet.width - x - across + 4, sheet.height - y - top - height))
    return axes


def _bounds(scores: Sequence[Estimate | None]) -> tuple[float, float]:
    """The least and the greatest end of all intervals."""
    ends = [end for score in scores if score for end in (score.low, score.high, score.value) if math.isfinite(end)] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    # A lone short interval is not blown up to fill the figure.
    widen = max(0.0, 0.1 - (high - low)) / 2
    return low - widen, high + widen


def padded(scores: Sequence[Estimate | None], above: float = 0.08) -> tuple[float, float]:
    """Limits that hold every interval with a little air; `above` is how much, as a share of the range."""
    low, high = _bounds(scores)
    reach = high - low
    return low - 0.08 * reach, high + above * reach


def worthwhile(scores: Sequence[Estimate | None], results: Results) -> tuple[float, float]:
    """Limits around the chosen rung and its opponent: one hopeless rung must not press the others into a line."""
    low, high = _bounds(scores)
    best, other = results.winner.score, results.opponent.score if results.opponent else None
    if best is not None and other is not None:
        near, far = min(best.low, other.low), max(best.high, other.high)
        low, high = (low, min(high, 2 * far - near)) if lower_is_better(results.metric) else (max(low, 2 * near - far), high)
    reach = high - low
    return low - 0.08 * reach, high + 0.16 * reach


def seconds_ticks(ax: Any, narrow: bool) -> None:
    """Ticks at times that people say, and no others."""
    known = {0.1: "0.1 s", 1: "1 s", 10: "10 s", 60: "1 min", 600: "10 min", 3600: "1 h", 36_000: "10 h", 86_400 * 4: "4 d"}
    low, high = ax.get_xlim()
    if high / low < (100 if narrow else 3000):
        known |= {0.3: "0.3 s", 3: "3 s", 30: "30 s", 180: "3 min", 1800: "30 min", 10_800: "3 h"}
    _set_ticks(ax, {at: name for at, name in known.items() if low <= at <= high} or {math.sqrt(low * high): seconds(math.sqrt(low * high))})


def count_ticks(ax: Any, narrow: bool) -> None:
    """Round numbers on a logarithmic axis, as many as there is room for."""
    low, high = ax.get_xlim()
    steps = (1,) if high / low > 1000 else (1, 3) if narrow else (1, 2, 5)
    known = [step * 10**power for power in range(9) for step in steps]
    _set_ticks(ax, {at: count(at) for at in known if low <= at <= high} or {round(high): count(round(high))})


def _set_ticks(ax: Any, ticks: dict[Any, str]) -> None:
    ax.set_xticks(list(ticks), list(ticks.values()))
    ax.minorticks_off()


def whole_ticks(low: int, high: int, most: int) -> list[int]:
    """At most so many whole numbers, evenly spaced from the lowest."""
    step = max(1, math.ceil((high - low) / (most - 1)))
    return list(range(low, high + 1, step))
