"""Where to put names beside the points of a scatter plot so that nothing covers anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from headstart.report.wording import text_width

_GAP = 10.0
# Level with the point first, then a little above and below.
_NEAR = (0.0, 12.0, -12.0, 20.0, -20.0)
_FAR = (30.0, -30.0, 40.0, -40.0, 54.0, -54.0)


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels, upwards: left <= right and bottom <= top."""

    left: float
    bottom: float
    right: float
    top: float

    def meets(self, other: Box) -> bool:
        """Whether the two share more than an edge."""
        return self.left < other.right and other.left < self.right and self.bottom < other.top and other.bottom < self.top

    def holds(self, other: Box) -> bool:
        """Whether the other lies wholly inside."""
        return self.left <= other.left and other.right <= self.right and self.bottom <= other.bottom and other.top <= self.top


@dataclass(frozen=True)
class Place:
    """Where a name stands: its anchor in pixels, and which side of the text the anchor is."""

    at: tuple[float, float]
    side: Literal["left", "right", "center"]
    box: Box


def place_labels(
    spots: Sequence[tuple[float, float]], names: Sequence[str], font: float, taken: Sequence[Box], area: Box, far: int = 0
) -> list[Place | None]:
    """A place for each name near its spot, first come, first served; None where every place covers something or leaves the area.

    Args:
        spots: pixels of the points, the most important first.
        names: one for each spot.
        font: size of the text in pixels.
        taken: what must not be covered: marks, error bars.
        area: where names may stand.
        far: so many of the first names may stand farther from their spots than would be clear for all, and rather cover something
            than be left out.
    """
    placed: list[Place | None] = []
    filled = list(taken)
    for i, ((x, y), name) in enumerate(zip(spots, names, strict=True)):
        candidates = _candidates(x, y, text_width(name, font), font, _NEAR + _FAR if i < far else _NEAR, area)
        found = next((place for place in candidates if _is_free(place.box, filled, area)), None)
        if found is None and i < far:
            # These must be named; a name that covers a mark is better than none.
            found = next((place for place in candidates if area.holds(place.box)), None)
        if found is not None:
            filled.append(found.box)
        placed.append(found)
    return placed


def _is_free(box: Box, filled: Sequence[Box], area: Box) -> bool:
    return area.holds(box) and not any(box.meets(other) for other in filled)


def _candidates(x: float, y: float, width: float, font: float, rises: Sequence[float], area: Box) -> list[Place]:
    half = 0.62 * font
    places = []
    for rise in rises:
        level = y + rise
        if abs(rise) >= 20:
            middle = max(area.left + width / 2, min(x, area.right - width / 2))
            places.append(Place((middle, level), "center", Box(middle - width / 2, level - half, middle + width / 2, level + half)))
        places.append(Place((x + _GAP, level), "left", Box(x + _GAP, level - half, x + _GAP + width, level + half)))
        places.append(Place((x - _GAP, level), "right", Box(x - _GAP - width, level - half, x - _GAP, level + half)))
    return places
