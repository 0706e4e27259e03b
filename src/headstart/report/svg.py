"""From a matplotlib figure to inline SVG that takes its colours and its font from the page.

Every figure is drawn twice, wide and narrow, with the same size of text: scaling one drawing down to a phone would make its text too
small to read. Colours are drawn as stand-ins and replaced by CSS variables, so that one drawing serves light, dark and paper.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import matplotlib
from cycler import cycler
from markupsafe import Markup
from matplotlib.figure import Figure

FONT = 12.5

INK, SOFT, LINE, ACCENT, PAPER, HEAT, ON_HEAT = (f"#00000{i}" for i in range(1, 8))
HALO = "halo"  # the `gid` of text that stands on lines: the page keeps them off it
_VARIABLES = {
    INK: "var(--ink)",
    SOFT: "var(--soft)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    PAPER: "var(--paper)",
    HEAT: "var(--heat)",
    ON_HEAT: "var(--on-heat)",
}

_RC = {
    "svg.fonttype": "none",  # real text: selectable, in the page's font
    "svg.hashsalt": "headstart",  # the same figure is the same bytes
    "text.parse_math": False,  # a label with two dollar signs is a label
    "font.family": "DejaVu Sans",  # comes with matplotlib and is wider than most fonts, so what fits here fits in the browser
    "font.size": FONT,
    "text.color": INK,
    "axes.prop_cycle": cycler(color=[INK]),  # no colour that the page does not know
    "axes.edgecolor": LINE,
    "axes.labelcolor": SOFT,
    "axes.linewidth": 1.0,
    "axes.unicode_minus": True,
    "xtick.color": LINE,
    "ytick.color": LINE,
    "xtick.labelcolor": SOFT,
    "ytick.labelcolor": SOFT,
    "xtick.labelsize": FONT,
    "ytick.labelsize": FONT,
    "grid.color": LINE,
    "grid.linewidth": 1.0,
}


@dataclass
class Sheet:
    """A blank figure of a given size in CSS pixels, and what to say when the pointer rests on its marks."""

    width: float
    height: float
    narrow: bool
    figure: Any = None
    tips: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resize(self.height)

    def resize(self, height: float) -> None:
        """Start again, empty, with another height in pixels."""
        self.height = height
        # 72 dots per inch: a point is a pixel, and sizes mean the same in matplotlib and on the page.
        self.figure = Figure(figsize=(self.width / 72, height / 72), dpi=72)
        self.figure.patch.set_visible(False)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Any:
        """Axes that leave these margins, in pixels: no box, a base line, quiet horizontal lines."""
        across, up = self.width - left - right, self.height - top - bottom
        ax = self.figure.add_axes((left / self.width, bottom / self.height, across / self.width, up / self.height))
        ax.patch.set_visible(False)
        for side in ("left", "right", "top"):
            ax.spines[side].set_visible(False)
        ax.tick_params(axis="y", length=0, pad=6)
        ax.tick_params(axis="x", length=4, pad=4)
        ax.grid(axis="y", zorder=0)
        ax.set_axisbelow(True)
        return ax

    def tip(self, text: str) -> str:
        """A name for a mark (its `gid`) that shows `text` when the pointer rests on it."""
        name = f"tip-{len(self.tips)}"
        self.tips[name] = text
        return name


def picture(name: str, label: str, plot: Callable[[Sheet], None], height: float = 360) -> Markup:
    """The two SVG drawings of one figure; the page's style sheet shows the one that fits.

    Args:
        name: short and unique on the page; part of the ids inside.
        label: what the figure shows, in one sentence, for those who cannot see it.
        plot: draws on a sheet, which may be resized first.
        height: of the sheet at the start, in pixels.
    """
    drawings = []
    with matplotlib.rc_context(_RC), warnings.catch_warnings():
        # Labels may hold characters that matplotlib's own font lacks; the browser draws them, so the warning is of no use.
        warnings.filterwarnings("ignore", message="Glyph .* missing from", category=UserWarning)
        warnings.filterwarnings("ignore", message="Matplotlib currently does not support", category=UserWarning)
        for narrow, width in ((False, 800.0), (True, 350.0)):
            sheet = Sheet(width=width, height=height, narrow=narrow)
            plot(sheet)
            drawings.append(_inline(sheet, f"{name}-{'n' if narrow else 'w'}", label))
    return Markup("\n").join(drawings)


def _inline(sheet: Sheet, prefix: str, label: str) -> Markup:
    """The sheet as one `<svg>` element without ids, styles or names that could meet others on the page."""
    file = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
    sheet.figure.savefig(file, format="svg", metadata=nothing)
    root = ElementTree.fromstring(file.getvalue())
    _drop_foreign(root)
    targets = {value[1:] for element in root.iter() for key, value in element.attrib.items() if key.endswith("href")}
    targets |= set(re.findall(r"url\(#([^)]+)\)", " ".join(element.get("clip-path", "") for element in root.iter())))
    for element in list(root.iter()):
        _rename(element, prefix, targets)
        tip = sheet.tips.get(element.attrib.pop("data-tip", ""))
        if tip is not None:
            title = ElementTree.Element("title")
            title.text = tip
            element.insert(0, title)
    kind = "narrow" if sheet.narrow else "wide"
    box = f"0 0 {sheet.width:g} {sheet.height:g}"
    inner = "".join(ElementTree.tostring(child, encoding="unicode") for child in root)
    opening = Markup('<svg class="{}" role="img" aria-label="{}" viewBox="{}">').format(kind, label, box)
    # What ElementTree wrote is escaped already.
    return opening + Markup(re.sub(r">\s+<", "><", inner.strip())) + Markup("</svg>")


def _drop_foreign(root: ElementTree.Element) -> None:
    """Leave out metadata and style sheets: the latter would style the whole page."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.rpartition("}")[2] in ("metadata", "style"):
                parent.remove(child)


def _rename(element: ElementTree.Element, prefix: str, targets: set[str]) -> None:
    """Plain tag and attribute names, the page's colours and font, and only those ids that something refers to."""
    element.tag = element.tag.rpartition("}")[2]
    for key, value in list(element.attrib.items()):
        plain = key.rpartition("}")[2]
        if plain == "id":
            del element.attrib[key]
            if value in targets:
                element.set("id", f"{prefix}-{value}")
            elif value.startswith("tip-"):
                element.set("data-tip", value)
            elif value == HALO:
                element.set("class", HALO)
        elif plain == "href":
            del element.attrib[key]
            element.set("href", f"#{prefix}-{value[1:]}")
        elif plain == "clip-path":
            element.set(key, value.replace("url(#", f"url(#{prefix}-"))
        elif plain in ("style", "fill", "stroke"):
            element.set(key, _page_style(value))


def _page_style(style: str) -> str:
    style = re.sub(r"#00000[1-7]", lambda found: _VARIABLES[found.group()], style)
    # Weight and size stay; the family is the page's. Some versions of matplotlib write the short form: `font: 700 12.5px "DejaVu Sans"`.
    style = re.sub(r"font-family: [^;]*;? ?", "", style)
    style = re.sub(r"font: (\w+) ([\d.]+px) [^;]*", r"font-weight: \1; font-size: \2", style)
    return re.sub(r"font: ([\d.]+px) [^;]*", r"font-size: \1", style)
