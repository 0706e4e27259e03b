"""The figures of the ranking's page: predicted scores with their intervals, and the map of the sources."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headstart.records import RankedSource
from headstart.report.axes import axis_title, fit_name, padded, title_above
from headstart.report.svg import ACCENT, FONT, HALO, INK, LINE, SOFT, Sheet, picture
from headstart.report.wording import interval, text_width

MAX_SOURCES = 30
_ROW = 34.0


def predicted_scores(sources: Sequence[RankedSource], metric: str) -> Markup:
    """One line a source, best on top: the predicted score with its interval, and the probe's score as a hollow mark."""
    drawn = list(sources[:MAX_SOURCES])

    def plot(sheet: Sheet) -> None:
        widest = max(text_width(source.name, FONT) for source in drawn)
        left = min(widest, sheet.width * (0.42 if sheet.narrow else 0.45)) + 14
        sheet.resize(30 + _ROW * len(drawn) + 34)
        ax = sheet.axes(left=left, top=30, right=12, bottom=34)
        title_above(ax, axis_title(metric))
        ax.grid(False)
        ax.grid(axis="x")
        for at, source in enumerate(drawn):
            colour = ACCENT if source.tied else SOFT
            score = source.predicted
            ax.plot([score.low, score.high], [at, at], color=colour, linewidth=2)
            tip = sheet.tip(f"{source.name}: predicted {interval(score)} with {source.strategy}; probe {interval(source.probe)}")
            ax.plot(score.value, at, "o", color=colour, ms=9, gid=tip, clip_on=False)
            ax.plot(source.probe.value, at, "o", color=colour, ms=6, fillstyle="none", zorder=4, clip_on=False)
        ax.set_ylim(len(drawn) - 0.5, -0.5)
        ax.set_xlim(*padded([score for source in drawn for score in (source.predicted, source.probe)]))
        ax.set_yticks(range(len(drawn)), [fit_name(source.name, left - 14) for source in drawn])
        ax.tick_params(axis="y", labelcolor=INK)

    return picture("predicted", f"{axis_title(metric)}, as predicted for {len(drawn)} sources, with intervals.", plot)


def source_map(sources: Sequence[RankedSource]) -> Markup | None:
    """Sources in the plane, near ones seeing the rows alike; None for fewer than three, which make no map."""
    drawn = list(sources[:MAX_SOURCES])
    if len(drawn) < 3:
        return None
    x, y = [source.place[0] for source in drawn], [source.place[1] for source in drawn]
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
        for source, across, up in zip(drawn, x, y, strict=True):
            colour = ACCENT if source.tied else SOFT
            tip = sheet.tip(f"{source.name}: predicted {interval(source.predicted)}")
            ax.plot(across, up, "o", color=colour, ms=9, gid=tip, clip_on=False)
            on_right = across <= middle_x + 0.1 * reach
            pixels = sheet.height * up / (1.24 * reach)
            while any(abs(pixels - other) < FONT + 3 and side == on_right for other, side in taken):
                pixels -= FONT + 3
            taken.append((pixels, on_right))
            shift = pixels - sheet.height * up / (1.24 * reach)
            text = fit_name(source.name, sheet.width * 0.45)
            ax.annotate(
                text,
                (across, up),
                (9 if on_right else -9, shift),
                textcoords="offset points",
                ha="left" if on_right else "right",
                va="center",
                color=INK if source.tied else SOFT,
                gid=HALO,
                annotation_clip=False,
            )

    return picture("map", f"{len(drawn)} sources in the plane: near ones see the rows alike.", plot, height=380)
