"""Predicted numbers against the true ones."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from headstart.report.axes import title_above
from headstart.report.svg import ACCENT, SOFT, Sheet, picture


def predicted_against_true(numbers: Sequence[tuple[float, float]]) -> Markup | None:
    """One dot a judged row, and the line on which all would lie. None where no numbers are predicted."""
    if not numbers:
        return None
    true, predicted = zip(*numbers, strict=True)
    low, high = min(*true, *predicted), max(*true, *predicted)
    air = 0.04 * (high - low) or 1.0

    def plot(sheet: Sheet) -> None:
        sheet.resize(350 if sheet.narrow else 440)
        ax = sheet.axes(left=52, top=34, right=14 if sheet.narrow else 354, bottom=46)
        ax.set(xlim=(low - air, high + air), ylim=(low - air, high + air))
        ax.locator_params(axis="both", nbins=7)
        ax.plot([low, high], [low, high], color=SOFT, linewidth=1.2, linestyle=(0, (1, 2.5)))
        ax.plot(true, predicted, "o", color=ACCENT, ms=3.5, alpha=0.45, markeredgewidth=0)
        ax.set_xlabel("true", loc="left", labelpad=6)
        title_above(ax, "predicted")

    return picture("numbers", f"Predicted against true numbers of {len(numbers)} judged rows.", plot, height=440)
