"""A run over time as lines of SVG in the page itself: they need no script, and print."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any, Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.views.page.html_text import safe
from ecsbatch.views.text import format_span, utc_text

_WIDTH: Final = 900
_HEIGHT: Final = 160
_LEFT: Final = 64
_RIGHT: Final = 8
_TOP: Final = 10
_BOTTOM: Final = 22


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of a drawing.

    Attributes:
        name: what it shows, as the legend says.
        look: its class in the stylesheet.
        color: of it, where there is no stylesheet.
        values: one for each bucket.
    """

    name: str
    look: str
    color: str
    values: Sequence[int]


def drawings(timeline: Mapping[str, Any]) -> str:
    """Return the drawings of a timeline, see `RunTimeline.as_dict`; nothing where nothing has happened."""
    if not timeline["down"]:
        return ""
    buckets = len(timeline["down"])
    quota = timeline["quota"]
    return "".join(
        _drawing(title, timeline, lines)
        for title, lines in (
            (
                "Servers restarted and failed, in all",
                [
                    Curve("restarted", "good", "#12866f", list(accumulate(timeline["restarted"]))),
                    Curve("failed", "bad", "#c4314b", list(accumulate(timeline["failed"]))),
                ],
            ),
            (
                "Servers down at once",
                [
                    Curve("down", "down", "#b36b00", timeline["down"]),
                    Curve("allowed", "limit", "#777", timeline["allowed"]),
                ],
            ),
            (
                f"Tokens of the quota in use, of {quota['limit']:,} in {format_span(quota['window'])}",
                [
                    Curve("in use", "tokens", "#3a6ea5", timeline["tokens"]),
                    Curve("limit", "limit", "#777", [quota["limit"]] * buckets),
                ],
            ),
        )
    )


def _drawing(title: str, timeline: Mapping[str, Any], lines: Iterable[Curve]) -> str:
    shown = list(lines)
    most = max(1, *(max(line.values) for line in shown))
    seconds = len(shown[0].values) * timeline["step"]
    begin, end = (utc_text(timeline["origin"] + passed) for passed in (0, seconds))
    legend = ", ".join(f"{line.name} at most {max(line.values):,}" for line in shown)
    names = "".join(
        f'<tspan class="{line.look}" fill="{line.color}" dx="{0 if i == 0 else 14}">{safe(line.name)}</tspan>'
        for i, line in enumerate(shown)
    )
    paths = "".join(_path(line, most) for line in shown)
    floor, wide = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT
    return (
        f'<figure class="drawing"><figcaption>{safe(title)}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{safe(f"{title}: {legend}.")}" '
        f'fill="currentColor" font-size="12" font-family="sans-serif">'
        f'<path d="M{_LEFT} {_TOP}V{floor}H{wide}" fill="none" stroke="currentColor" stroke-opacity=".4"/>'
        f'<text x="{_LEFT - 6}" y="{_TOP + 8}" text-anchor="end">{most:,}</text>'
        f'<text x="{_LEFT - 6}" y="{floor}" text-anchor="end">0</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 5}">{begin}Z</text>'
        f'<text x="{wide}" y="{_HEIGHT - 5}" text-anchor="end">{end}Z</text>'
        f'<text x="{(_LEFT + wide) // 2}" y="{_HEIGHT - 5}" text-anchor="middle">{names}</text>'
        f"{paths}</svg></figure>\n"
    )


def _path(line: Curve, most: int) -> str:
    """Draw a line with a step at each bucket's end: a number of servers does not slide to the next."""
    across, up = (_WIDTH - _LEFT - _RIGHT) / len(line.values), (_HEIGHT - _TOP - _BOTTOM) / most
    floor = _HEIGHT - _BOTTOM
    way, before = [f"M{_LEFT} {floor - line.values[0] * up:.1f}"], line.values[0]
    for i, value in enumerate(line.values[1:], 1):
        if value != before:
            way.append(f"H{_LEFT + i * across:.1f}V{floor - value * up:.1f}")
            before = value
    way.append(f"H{_WIDTH - _RIGHT}")
    dashes = ' stroke-dasharray="5 4"' if line.look == "limit" else ""
    look = f'fill="none" stroke="{line.color}" stroke-width="1.5"{dashes}'
    return f'<path class="{line.look}" d="{"".join(way)}" {look}/>'
