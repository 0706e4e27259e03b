"""Figures about rows of neighbouring data: the map, score against number of rows, the spread of their scores."""

from __future__ import annotations

from markupsafe import Markup

from headstart.records import NeighbourRows
from headstart.report.axes import axis_title, padded
from headstart.report.svg import ACCENT, INK, LINE, SOFT, Sheet, picture
from headstart.report.wording import count, interval

_LOOKS = {"left": (LINE, "o", 3.0), "chosen": (ACCENT, "o", 3.6), "target": (INK, "D", 4.2)}


def rows_map(rows: NeighbourRows | None) -> Markup | None:
    """Target rows and source rows on the two widest axes of their features, the chosen ones marked. None: there are none."""
    if rows is None or not rows.map:
        return None

    def plot(sheet: Sheet) -> None:
        sheet.resize(330 if sheet.narrow else 420)
        ax = sheet.axes(left=4, top=6, right=4 if sheet.narrow else 300, bottom=6)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.grid(False)
        for kind, (colour, marker, size) in _LOOKS.items():
            own = [point for point in rows.map if point.kind == kind]
            if own:
                across, up = [point.x for point in own], [point.y for point in own]
                ax.plot(across, up, marker, color=colour, ms=size, alpha=0.75, markeredgewidth=0, linestyle="none")

    return picture("rowsmap", "Target rows, chosen source rows and others on the two widest axes of their features.", plot, height=420)


def rows_curve(rows: NeighbourRows | None, metric: str) -> Markup | None:
    """Score on folds of the target's rows against the number of source rows learnt beside them. None: not measured."""
    if rows is None or len(rows.curve) < 2:
        return None

    def plot(sheet: Sheet) -> None:
        ax = sheet.axes(left=48, top=34, right=14 if sheet.narrow else 200, bottom=46)
        places = list(range(len(rows.curve)))
        low, high, middle = ([getattr(point.score, end) for point in rows.curve] for end in ("low", "high", "value"))
        ax.fill_between(places, low, high, color=INK, alpha=0.08, linewidth=0)
        ax.plot(places, middle, color=SOFT, linewidth=1.5)
        # A share of each class need not make the number that is chosen.
        nearest = min(rows.curve, key=lambda point: abs(point.rows - rows.chosen))
        for at, point in enumerate(rows.curve):
            tip = sheet.tip(f"{count(point.rows)} source rows: {interval(point.score)}")
            colour = ACCENT if point is nearest else SOFT
            ax.plot(at, point.score.value, "o", color=colour, ms=7 if point is nearest else 4.5, gid=tip, zorder=3)
        ax.set_xticks(places, [count(point.rows) for point in rows.curve])
        ax.set_ylim(*padded([point.score for point in rows.curve]))
        ax.set_xlabel("source rows, those put first", loc="left", labelpad=6)
        sheet.figure.text(0, 1 - 14 / sheet.height, axis_title(metric), color=SOFT, va="baseline")

    return picture("rowscurve", f"{axis_title(metric)}, against the number of source rows.", plot, height=300)


def rows_spread(rows: NeighbourRows | None) -> Markup | None:
    """How many source rows have which score, the chosen ones marked where they are known. None: there are none."""
    if rows is None or not sum(rows.histogram):
        return None

    def plot(sheet: Sheet) -> None:
        ax = sheet.axes(left=48, top=10, right=14 if sheet.narrow else 200, bottom=40)
        chosen = rows.histogram_chosen or (0,) * len(rows.histogram)
        for at, (value, own) in enumerate(zip(rows.histogram, chosen, strict=True)):
            ax.bar(at, own, width=0.9, color=ACCENT)
            ax.bar(at, value - own, bottom=own, width=0.9, color=LINE)
        ax.set_xticks([])
        ax.set_xlabel("score of the row, from least to greatest", loc="left", labelpad=6)

    return picture("rowsspread", "How many source rows have which score.", plot, height=200)
