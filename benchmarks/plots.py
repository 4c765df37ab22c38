"""Draws bars and curves as SVG: small files with text as text, for a light page and a dark one.

A page shows them by ``<img>``: nothing from elsewhere is loaded then, so the fonts are the reader's own, and whether
the page is dark is asked of the browser. Where the two disagree, the plot's own ground keeps it readable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from math import floor, log10
from typing import Final, Literal

Tone = Literal["ours", "peer", "peer2"]
"""Whose something is: ours is coloured, what stands beside it is not."""

WIDTH: Final = 760
ROW, GAP, RIGHT, TOP, EDGE = 20, 14, 16, 76, 20
LETTER, BOLD_LETTER, SMALL_LETTER = 7.3, 8.0, 6.4
"""What a letter takes at most on average, of labels, ours, and what stands behind bars; fonts are the reader's own."""

_STYLE: Final = """
text{font:13px system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;fill:#1f2328}
.title{font-size:16px;font-weight:600}.dim{fill:#59636e}.small{font-size:11.5px}.strong{font-weight:600}
.ground{fill:#fff;stroke:#d1d9e0}.grid{stroke:#d8dee4}.axis{stroke:#59636e}.limit{stroke:#bf3e00;stroke-dasharray:4 3}
.ours{fill:#0969da}.peer{fill:#8c959f}.peer2{fill:#6e7781}.over{fill:#d1570f}.start{opacity:.45}
polyline{fill:none!important;stroke-width:2.2}polyline.ours{stroke:#0969da}polyline.peer{stroke:#8c959f}
polyline.peer2{stroke:#6e7781;stroke-dasharray:6 4}.dot{stroke:#fff;stroke-width:1.5}
.halo{paint-order:stroke;stroke:#fff;stroke-width:4px}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.dim{fill:#9198a1}.ground{fill:#0d1117;stroke:#30363d}
.grid{stroke:#2b3138}.axis{stroke:#9198a1}.limit{stroke:#f0883e}.ours{fill:#4493f8}.peer{fill:#6e7681}.peer2{fill:#8b949e}
.over{fill:#db6d28}.halo,.dot{stroke:#0d1117}polyline.ours{stroke:#4493f8}polyline.peer{stroke:#6e7681}
polyline.peer2{stroke:#8b949e}}
"""


@dataclass
class Svg:
    """A drawing: elements in the order in which they are painted."""

    height: float = 0.0
    elements: list[str] = field(default_factory=list)

    def add(self, element: str, content: str | None = None, **attributes: float | str) -> None:
        """Paint one element; ``class_`` is its class, and _ in a name stands for -."""
        told = "".join(
            f' {name.rstrip("_").replace("_", "-")}="{_number(value)}"' for name, value in attributes.items()
        )
        end = "/>" if content is None else f">{escape(content)}</{element}>"
        self.elements.append(f"<{element}{told}{end}")

    def text(self, x: float, y: float, content: str, class_: str = "", anchor: str = "start") -> None:
        """Write a line of text."""
        self.add("text", content, x=x, y=y, class_=class_, text_anchor=anchor)

    def line(self, x1: float, y1: float, x2: float, y2: float, class_: str) -> None:
        """Draw a straight line."""
        self.add("line", x1=x1, y1=y1, x2=x2, y2=y2, class_=class_)

    def document(self, title: str) -> str:
        """Return it as a file; the title is what a screen reader says."""
        size = f'width="{WIDTH}" height="{_number(self.height)}" viewBox="0 0 {WIDTH} {_number(self.height)}"'
        head = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">'
        ground = f'<rect class="ground" x=".5" y=".5" width="{WIDTH - 1}" height="{_number(self.height - 1)}" rx="6"/>'
        return "\n".join(
            [head, f"<title>{escape(title)}</title>", f"<style>{_STYLE}</style>", ground, *self.elements]
        ) + ("\n</svg>\n")


def _number(value: float | str) -> str:
    return escape(value) if isinstance(value, str) else f"{value:.1f}".removesuffix(".0")


@dataclass(frozen=True)
class Cell:
    """A bar: its parts from left to right, of which those after the first are paler, and what is written behind it."""

    parts: Sequence[float]
    text: str


@dataclass(frozen=True)
class Row:
    """A line of bars, one in each panel."""

    label: str
    tone: Tone
    cells: Sequence[Cell]


@dataclass(frozen=True)
class Panel:
    """What bars below each other are measured by.

    Attributes:
        title: stands above.
        most: the value at the right end.
        ticks: values with a line, and what is written at it.
        limit: where a bar begins to be too long.
    """

    title: str
    most: float
    ticks: Sequence[tuple[float, str]] = ()
    limit: float | None = None


Groups = Sequence[tuple[str, Sequence[Row]]]
"""Rows by the heading that they stand below."""


def bar_chart(title: str, below: str, panels: Sequence[Panel], groups: Groups) -> str:
    """Return bars in groups, each with its heading."""
    svg = Svg()
    svg.text(EDGE, 30, title, "title")
    svg.text(EDGE, 50, below, "dim small")
    top = TOP if any(panel.title for panel in panels) else TOP - 14
    bottom = top + 4.0 + sum((ROW if heading else 0) + ROW * len(rows) + GAP for heading, rows in groups)
    places = _places(panels, [row for _, rows in groups for row in rows])
    for place in places:
        _frame(svg, place, top, bottom)
    y = top + 6.0
    for heading, rows in groups:
        if heading:
            svg.text(EDGE, y + 14, heading, "strong halo")
            y += ROW
        for row in rows:
            svg.text(places[0].x - 10, y + 14, row.label, "strong" if row.tone == "ours" else "", "end")
            for place, cell in zip(places, row.cells, strict=True):
                _bar(svg, place, cell, row.tone, y)
            y += ROW
        y += GAP
    svg.height = bottom + (30 if any(panel.ticks for panel in panels) else 4)
    return svg.document(title)


@dataclass(frozen=True)
class _Place:
    """A panel where it stands: its left end, and what one of its values is long."""

    panel: Panel
    x: float
    scale: float

    def at(self, value: float) -> float:
        """Return where a value ends."""
        return self.x + value * self.scale


def _places(panels: Sequence[Panel], rows: Sequence[Row]) -> list[_Place]:
    """Place panels beside each other behind the longest label, each as large as its bars' texts leave room for."""
    left = EDGE + 10 + max((BOLD_LETTER if row.tone == "ours" else LETTER) * len(row.label) for row in rows)
    wide = (WIDTH - left - RIGHT) / len(panels)
    found: list[_Place] = []
    for n, panel in enumerate(panels):
        bars = [(sum(row.cells[n].parts), SMALL_LETTER * len(row.cells[n].text)) for row in rows]
        scales = [(wide - 20 - text) / long for long, text in bars if long > 0]
        found.append(_Place(panel, left + n * wide, min([(wide - 20) / panel.most, *scales])))
    return found


def _frame(svg: Svg, place: _Place, top: float, bottom: float) -> None:
    svg.text(place.x, top - 6, place.panel.title, "small dim")
    for value, label in place.panel.ticks:
        svg.line(place.at(value), top, place.at(value), bottom, "grid")
        svg.text(place.at(value), bottom + 16, label, "small dim", "middle")
    svg.line(place.x, top, place.x, bottom, "axis")
    if (limit := place.panel.limit) is not None:
        svg.line(place.at(limit), top, place.at(limit), bottom, "limit")


def _bar(svg: Svg, place: _Place, cell: Cell, tone: Tone, y: float) -> None:
    at, limit = place.x, place.panel.limit
    for number, part in enumerate(cell.parts):
        long = max(part * place.scale, 0.5)
        svg.add("rect", x=at, y=y + 3, width=long, height=ROW - 6, class_=f"{tone} start" if number else tone)
        at += long
    if limit is not None and sum(cell.parts) > limit:
        svg.add("rect", x=place.at(limit), y=y + 3, width=at - place.at(limit), height=ROW - 6, class_="over")
    svg.text(at + 6, y + 14, cell.text, "small halo")


@dataclass(frozen=True)
class Series:
    """A curve, named above; or a single dot, named beside it."""

    name: str
    tone: Tone
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True)
class Axis:
    """A scale: from its first tick to its last, and logarithmic where that is said."""

    title: str
    ticks: Sequence[tuple[float, str]]
    log: bool = False

    def share(self, value: float) -> float:
        """Return where a value stands, from 0 to 1."""
        low, high, value = (log10(v) if self.log else v for v in (self.ticks[0][0], self.ticks[-1][0], value))
        return (value - low) / (high - low)


def curve_chart(title: str, below: str, series: Sequence[Series], x: Axis, y: Axis) -> str:
    """Return curves."""
    svg = Svg(height=420)
    left, right, top, bottom = 62, WIDTH - 40, TOP + 34, 370
    svg.text(EDGE, 30, title, "title")
    svg.text(EDGE, 50, below, "dim small")
    svg.text(EDGE, top - 8, y.title, "small dim")
    svg.text(right, bottom + 36, x.title, "small dim", "end")
    for value, label in y.ticks:
        at = bottom - y.share(value) * (bottom - top)
        svg.line(left, at, right, at, "grid")
        svg.text(left - 8, at + 4, label, "small dim", "end")
    for value, label in x.ticks:
        svg.text(left + x.share(value) * (right - left), bottom + 18, label, "small dim", "middle")
    svg.line(left, bottom, right, bottom, "axis")
    drawn = [
        [(left + x.share(a) * (right - left), bottom - y.share(b) * (bottom - top)) for a, b in each.points]
        for each in series
    ]
    at = EDGE + 0.0
    for each, points in zip(series, drawn, strict=True):
        if len(points) == 1:
            [(a, b)] = points
            svg.add("circle", cx=a, cy=b, r=5, class_=f"{each.tone} dot")
            svg.text(a + 10, b - 4, each.name, "small halo")
        else:
            svg.add("polyline", points=" ".join(f"{a:.1f},{b:.1f}" for a, b in points), class_=each.tone)
            svg.add("polyline", points=f"{at:.1f},{TOP - 9} {at + 24:.1f},{TOP - 9}", class_=each.tone)
            svg.text(at + 30, TOP - 5, each.name, "strong" if each.tone == "ours" else "")
            at += 52 + LETTER * len(each.name)
    return svg.document(title)


def nice_ticks(most: float, count: int = 4) -> Iterator[float]:
    """Yield about so many round values from 0 on, of which the last is the first that is not below the most."""
    rough = most / count
    power = 10.0 ** floor(log10(rough))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= rough)
    value = 0.0
    while True:
        yield value
        if value >= most:
            return
        value += step
