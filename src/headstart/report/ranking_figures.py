"""The figures of a ranking's page: predicted scores with their intervals or how far data sets lie, and the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from headstart.records import RankedData, RankedSource
from headstart.report.axes import axis_title, fit_name, padded, title_above
from headstart.report.svg import ACCENT, FONT, HALO, INK, LINE, SOFT, Sheet, picture
from headstart.report.wording import interval, text_width

MAX_SOURCES = 30
_ROW = 34.0


def predicted_scores(sources: Sequence[RankedSource], metric: str) -> Markup:
    """One line a source, best on top: the predicted score with its interval, and the probe's score as a hollow mark."""
    drawn = list(sources[:MAX_SOURCES])

    def plot(sheet: Sheet) -> None:
        ax = _lines(sheet, [source.name for source in drawn], axis_title(metric))
        for at, source in enumerate(drawn):
            colour = ACCENT if source.tied else SOFT
            score = source.predicted
            ax.plot([score.low, score.high], [at, at], color=colour, linewidth=2)
            tip = sheet.tip(f"{source.name}: predicted {interval(score)} with {source.strategy}; probe {interval(source.probe)}")
            ax.plot(score.value, at, "o", color=colour, ms=9, gid=tip, clip_on=False)
            ax.plot(source.probe.value, at, "o", color=colour, ms=6, fillstyle="none", zorder=4, clip_on=False)
        ax.set_xlim(*padded([score for source in drawn for score in (source.predicted, source.probe)]))

    return picture("predicted", f"{axis_title(metric)}, as predicted for {len(drawn)} sources, with intervals.", plot)


def source_map(sources: Sequence[RankedSource]) -> Markup | None:
    """Sources in the plane, near ones seeing the rows alike; None for fewer than three, which make no map."""
    spots = [Spot(each.name, each.place, each.tied, f"predicted {interval(each.predicted)}") for each in sources[:MAX_SOURCES]]
    return _map(spots, f"{len(spots)} sources in the plane: near ones see the rows alike.")


def data_map(target: str, sets: Sequence[RankedData]) -> Markup | None:
    """Data sets in the plane, the target among them; None for fewer than two."""
    spots = [Spot(each.name, each.place, False, f"{each.rows:,} rows") for each in sets[:MAX_SOURCES]]
    return _map([Spot(target, (0.0, 0.0), True, "the target"), *spots], f"{len(spots)} data sets in the plane, and the target.")


def nearness(sets: Sequence[RankedData], measure: str) -> Markup:
    """One line a data set, nearest on top: how far its texts lie from the target's."""
    drawn = list(sets[:MAX_SOURCES])

    def plot(sheet: Sheet) -> None:
        ax = _lines(sheet, [each.name for each in drawn], f"{measure} (the less, the nearer)")
        for at, each in enumerate(drawn):
            score = each.scores[measure]
            tip = sheet.tip(f"{each.name}: {measure} {score:.3f}, {each.rows:,} rows")
            ax.plot([0.0, score], [at, at], color=LINE, linewidth=2)
            ax.plot(score, at, "o", color=SOFT if at else ACCENT, ms=9, gid=tip, clip_on=False)
        ax.set_xlim(0.0, 1.08 * max(max(each.scores[measure] for each in drawn), 1e-6))

    return picture("nearness", f"How far {len(drawn)} data sets lie from the target.", plot)


@dataclass(frozen=True)
class Spot:
    """A point of a map: `marked` in the accent colour; `says` is told beside its name."""

    name: str
    place: tuple[float, float]
    marked: bool
    says: str


def _map(spots: Sequence[Spot], title: str) -> Markup | None:
    """Points in the plane with their names; None for fewer than three, which make no map."""
    if len(spots) < 3:
        return None
    x, y = [spot.place[0] for spot in spots], [spot.place[1] for spot in spots]
    reach = max(max(x) - min(x), max(y) - min(y), 1e-6)

    def plot(sheet: Sheet) -> None:
        sheet.resize(380 if not sheet.narrow else 340)
        ax = sheet.axes(left=16, top=16, right=16, bottom=16)
        ax.grid(False)
        ax.spines["bottom"].set_visible(False)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.axhline(0, color=LINE, linewidth=1, zorder=0)
        ax.axvline(0, color=LINE, linewidth=1, zorder=0)
        middle_x, middle_y = (max(x) + min(x)) / 2, (max(y) + min(y)) / 2
        ax.set_xlim(middle_x - 0.62 * reach, middle_x + 0.62 * reach)
        ax.set_ylim(middle_y - 0.62 * reach, middle_y + 0.62 * reach)
        taken: list[tuple[float, float]] = []
        for spot, across, up in zip(spots, x, y, strict=True):
            tip = sheet.tip(f"{spot.name}: {spot.says}")
            ax.plot(across, up, "o", color=ACCENT if spot.marked else SOFT, ms=9, gid=tip, clip_on=False)
            on_right = across <= middle_x + 0.1 * reach
            pixels = sheet.height * up / (1.24 * reach)
            while any(abs(pixels - other) < FONT + 3 and side == on_right for other, side in taken):
                pixels -= FONT + 3
            taken.append((pixels, on_right))
            shift = pixels - sheet.height * up / (1.24 * reach)
            ax.annotate(
                fit_name(spot.name, sheet.width * 0.45),
                (across, up),
                (9 if on_right else -9, shift),
                textcoords="offset points",
                ha="left" if on_right else "right",
                va="center",
                color=INK if spot.marked else SOFT,
                gid=HALO,
                annotation_clip=False,
            )

    return picture("map", title, plot, height=380)


def _lines(sheet: Sheet, names: Sequence[str], title: str) -> Any:
    """Axes with a line for each name, the first on top."""
    left = min(max(text_width(name, FONT) for name in names), sheet.width * (0.42 if sheet.narrow else 0.45)) + 14
    sheet.resize(30 + _ROW * len(names) + 34)
    ax = sheet.axes(left=left, top=30, right=12, bottom=34)
    title_above(ax, title)
    ax.grid(False)
    ax.grid(axis="x")
    ax.set_ylim(len(names) - 0.5, -0.5)
    ax.set_yticks(range(len(names)), [fit_name(name, left - 14) for name in names])
    ax.tick_params(axis="y", labelcolor=INK)
    return ax
