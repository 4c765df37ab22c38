"""What is drawn of the benchmarks' figures: a function for each picture, from figures to SVG."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from benchmarks.plots import Axis, Cell, Panel, Row, Series, Tone, bar_chart, curve_chart, nice_ticks

Rows = Sequence[Mapping[str, Any]]
LIMIT: Final = 1000
"""Servers that the quota lets through in any minute."""


def cpu(rows: Rows) -> str:
    """CPU a server beside the SDK's, for each size of batches."""
    quarters = [(0.25, "1/4"), (0.5, "1/2"), (0.75, "3/4"), (1.0, "as the SDK")]
    groups: list[tuple[str, list[Row]]] = []
    for batch, each in groupby(rows, lambda row: row["batch"]):
        members = list(each)
        sdk = members[-1]["whole"]
        shown = [_cpu_row(row, sdk) for row in members if not row["name"].endswith("64 threads") or row is members[-1]]
        groups.append((f"Batches of {batch:,}", shown))
    most = max(sum(cell.parts) for _, each in groups for row in each for cell in row.cells)
    below = "Whole processes over real HTTP, at intervals for an equal delay. Pale: the program's start."
    return bar_chart("CPU to restart a server", below, [Panel("", max(1.0, most), quarters)], groups)


def _cpu_row(row: Mapping[str, Any], sdk: float) -> Row:
    whole, start = row["whole"], row["whole"] - row["engine"]
    text = f"{_micro(whole)}, {whole / sdk:.2f} of the SDK" if whole != sdk else _micro(whole)
    return Row(row["name"], _tone(row), [Cell([row["engine"] / sdk, start / sdk], text)])


def _micro(value: float) -> str:
    return f"{value:,.0f} µs"


def _tone(row: Mapping[str, Any]) -> Tone:
    return "ours" if row["ours"] else "peer"


def quota(rows: Rows) -> str:
    """How much of the quota limiters use, how far they overshoot it, and how soon they have sent twice of it."""
    first = rows[0]["latency"]
    soon = all(row.get("second") for row in rows if row["latency"] == first)
    shown: list[Row] = []
    for name in dict.fromkeys(row["name"] for row in rows):
        mine = [row for row in rows if row["name"] == name]
        share, fullest = mine[0]["share"], max(row["fullest"] for row in mine)
        cells = [Cell([share], f"{share:.1%}"), Cell([fullest], f"{fullest:,}")]
        if soon:
            cells.append(Cell([mine[0]["second"]], f"{mine[0]['second']:.0f} s"))
        shown.append(Row(name, _tone(mine[0]), cells))
    shown.sort(key=lambda row: (row.tone != "ours", row.cells[1].parts[0] > LIMIT))
    most = max(row.cells[1].parts[0] for row in shown)
    panels = [
        Panel(f"quota used, {first}", 1.0, [(0.5, "50%"), (1.0, "100%")]),
        Panel("fullest minute, worst", most, [(LIMIT, f"allowed: {LIMIT:,}")], limit=LIMIT),
    ]
    if soon:
        panels.append(Panel(f"2,000 sent after, {first}", max(row.cells[2].parts[0] for row in shown), [(60, "60 s")]))
    below = "As a cloud counts that lets all through, at round trips of 0.1 s and worse. Orange: above the quota."
    return bar_chart("A quota of 1,000 servers a minute", below, panels, [("", shown)])


def looks(rows: Rows) -> str:
    """How soon an end is seen for how many looks."""
    tones: dict[str, Tone] = {"ecsbatch, learned": "ours", "back-off x1.5": "peer2"}
    names = dict.fromkeys(row["name"] for row in rows)
    curves = [_curve(name, [row for row in rows if row["name"] == name], tones.get(name, "peer")) for name in names]
    x = Axis("looks for a batch of 100", [(n, str(n)) for n in (5, 10, 20, 50, 100)], log=True)
    y = Axis("mean seconds until an end is seen", [(n, f"{n:g} s") for n in (0.5, 1, 2, 5, 10)], log=True)
    inside = [Series(each.name, each.tone, [p for p in each.points if _inside(p, x, y)]) for each in curves]
    below = "Restart times are log-normal around 40 s. Dots alone: what clients do where nothing else is said."
    return curve_chart(
        "How soon an end is seen for how many looks", below, [each for each in inside if each.points], x, y
    )


def _curve(name: str, rows: Rows, tone: Tone) -> Series:
    return Series(name, tone, sorted(((row["looks"], row["delay"]) for row in rows), reverse=True))


def _inside(point: tuple[float, float], x: Axis, y: Axis) -> bool:
    return all(axis.ticks[0][0] <= value <= axis.ticks[-1][0] for axis, value in zip((x, y), point, strict=True))


def delays(rows: Rows) -> str:
    """Mean, 99th percentile and last of a batch, at an equal number of looks."""
    names = {"now": "ecsbatch", "before": "version before", "fixed": "fixed interval", "back-off": "back-off"}
    layout = "standard" if any(row["layout"] == "standard" for row in rows) else rows[0]["layout"]
    chosen = [row for row in rows if row["size"] == 1000 and row["layout"] == layout]
    most = {name: max(row[name] for row in chosen) for name in ("mean", "p99", "last")}
    titles = {"mean": "mean", "p99": "99th percentile", "last": "last of its batch, median"}
    panels = [Panel(titles[name], value) for name, value in most.items()]
    groups = [
        (
            case.replace("log-normal", "Restart times log-normal,") if "log" in case else f"With {case}",
            [
                Row(names[row["name"]], _tone(row), [Cell([row[name]], f"{row[name]:.1f} s") for name in most])
                for row in each
            ],
        )
        for case, each in ((case, list(each)) for case, each in groupby(chosen, lambda row: row["case"]))
    ]
    below = f"Seconds; batches of 1,000, waves: {layout}. Ours now and what is fixed or backs off look equally often."
    return bar_chart("From a server's end until it is seen", below, panels, groups)


def start(rows: Rows) -> str:
    """CPU of commands as a multiple of the interpreter's."""
    shown = [
        Row(row["name"], _tone(row), [Cell([row["of_python"]], f"{row['of_python']:.1f} ({row['cpu']:.0f} ms)")])
        for row in rows
    ]
    panel = _panel("", [row["of_python"] for row in rows], "x{:g}")
    return bar_chart("CPU to start, in starts of Python alone", "Whole processes, medians.", [panel], [("", shown)])


def _panel(title: str, values: Sequence[float], form: str, limit: float | None = None) -> Panel:
    most = max([*values, limit or 0.0])
    return Panel(title, most, [(tick, form.format(tick)) for tick in nice_ticks(most) if tick <= most], limit)


def lag(rows: Rows) -> str:
    """How late a host's ticks are."""
    columns = {"p50": "median", "p99": "99th percentile", "most": "longest"}
    panels = [Panel(title, max(row[name] for row in rows) or 1.0) for name, title in columns.items()]
    shown = [
        Row(row["name"], _tone(row), [Cell([row[name]], f"{row[name]:.1f} ms") for name in columns]) for row in rows
    ]
    below = "A tick each 5 ms in the loop in which servers are restarted. Each column has its own scale."
    return bar_chart("How late a host's own work is", below, panels, [("", shown)])


def size(rows: Rows) -> str:
    """Memory and CPU by the number of servers."""
    panels = [
        _panel("memory of the process", [row["peak"] for row in rows], "{:g}"),
        _panel("CPU a server", [row["cpu"] for row in rows], "{:g}"),
    ]
    shown = [
        Row(
            f"{row['name']} servers",
            "ours",
            [Cell([row["peak"]], f"{row['peak']:.0f} MB"), Cell([row["cpu"]], _micro(row["cpu"]))],
        )
        for row in rows
    ]
    return bar_chart("One rollout", "In virtual time; the simulated cloud is another process.", panels, [("", shown)])


def shares(title: str, below: str) -> Callable[[Rows], str]:
    """Return what draws shares of a whole."""

    def draw(rows: Rows) -> str:
        panel = _panel("", [100 * row["share"] for row in rows], "{:g}%")
        shown = [Row(row["name"], _tone(row), [Cell([100 * row["share"]], f"{row['share']:.2%}")]) for row in rows]
        return bar_chart(title, below, [panel], [("", shown)])

    return draw


def store(rows: Rows) -> str:
    """Bytes a server."""
    sizes = [row for row in rows if "bytes" in row]
    panel = _panel("", [row["bytes"] for row in sizes], "{:g}")
    shown = [Row(row["name"], _tone(row), [Cell([row["bytes"]], f"{row['bytes']:.0f} bytes")]) for row in sizes]
    return bar_chart("What a store keeps of a server", "Bytes on disk after a whole rollout.", [panel], [("", shown)])


def grants(rows: Rows) -> str:
    """Grants a second, by database and by how many processes share them: a panel each, all to one scale."""
    rates = {tuple(row["name"].rpartition(", ")[::2]): row for row in rows if "per_second" in row}
    processes = sorted({int(count) for _, count in rates})
    # Bars that are as long as this leave room for their text.
    most = 1.45 * max(row["per_second"] for row in rates.values())
    groups: dict[str, list[Row]] = {"sqlite": [], "postgres": []}
    for name, called in dict.fromkeys((name, name.partition(": ")) for name, _ in rates):
        found = [rates.get((name, str(count)), {}).get("per_second") for count in processes]
        cells = [Cell([], "") if rate is None else Cell([rate], f"{rate:,.0f}") for rate in found]
        groups[called[0]].append(Row(called[2], "ours" if called[2].startswith("ecsbatch") else "peer", cells))
    panels = [Panel("1 process" if count == 1 else f"{count} processes", most) for count in processes]
    headed = [({"sqlite": "SQLite", "postgres": "PostgreSQL"}[key], each) for key, each in groups.items() if each]
    return bar_chart("Grants of quota a second", "Of all processes together.", panels, headed)


PICTURES: Final[Mapping[str, Mapping[str, tuple[str, Callable[[Rows], str]]]]] = {
    "quota": {"quota": ("rows", quota)},
    "looks": {"looks": ("rows", looks), "delays": ("delays", delays)},
    "cpu": {"cpu": ("rows", cpu)},
    "lag": {"lag": ("rows", lag)},
    "start": {"start": ("rows", start)},
    "size": {"size": ("rows", size)},
    "pace": {
        "pace": (
            "rows",
            shares("From the first submit to the last", "Servers a second, of what quota and budget allow."),
        )
    },
    "store": {"store": ("rows", store), "grants": ("rows", grants)},
    "display": {
        "display": ("rows", shares("The display's part of a core", "100,000 servers, four pictures a second."))
    },
}
"""The pictures of each benchmark by the name of their file: which of its figures, and what draws them."""


def drawn(name: str, figures: Mapping[str, Any]) -> dict[str, str]:
    """Return the pictures of a benchmark's figures by their names."""
    chosen = PICTURES.get(name, {})
    return {file: draw(figures[key]) for file, (key, draw) in chosen.items() if figures.get(key)}
