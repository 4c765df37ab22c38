"""What the benchmarks make of results that are made up: pictures, what is held to a goal, and the page of it all."""

from __future__ import annotations

import importlib
import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from benchmarks import cpu, size
from benchmarks.__main__ import OTHERS
from benchmarks.common import Options, Result, Table, median_and_spread, show
from benchmarks.goals import GOALS, goal_rows
from benchmarks.page import ABOUT, FOLDER, Measured, load, page, save
from benchmarks.pictures import PICTURES, drawn
from benchmarks.plots import Axis, Cell, Panel, Row, Series, bar_chart, curve_chart, nice_ticks
from benchmarks.store import at_once

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
SVG = "{http://www.w3.org/2000/svg}"
LARGEST = 30_000

CPU = {
    "rows": [
        {"batch": batch, "name": name, "ours": ours, "engine": cost, "whole": cost + 20.0}
        for batch in (1, 100)
        for name, ours, cost in (("ecsbatch, library", True, 60.0), ("official SDK, 32 threads", False, 340.0))
    ]
}
QUOTA = {
    "rows": [
        {"name": name, "ours": ours, "latency": latency, "fullest": fullest, "share": 0.997, "second": 61.0}
        for latency in ("0.1 s", "3 s")
        for name, ours, fullest in (("ecsbatch", True, 1_000), ("a <limiter> & co", False, 1_900))
    ]
}
DELAYS = [
    {"case": "log-normal 0.25", "layout": "alone", "size": 1000, "name": name, "ours": name == "now"}
    | {"looks": 17.9, "mean": 1.6, "p99": 6.0, "last": 3.7}
    for name in ("now", "fixed")
]
LOOKS = [
    {"name": name, "looks": looks, "delay": delay}
    for name, looks, delay in (("ecsbatch, learned", 10, 2), ("ecsbatch, learned", 20, 1), ("each 15 s", 5.5, 7.5))
]
FIGURES: dict[str, dict[str, Any]] = {
    "quota": QUOTA,
    "looks": {"rows": LOOKS, "delays": DELAYS},
    "cpu": CPU,
    "lag": {"rows": [{"name": "a rollout", "ours": True, "p50": 0.1, "p99": 12.0, "p999": 20.0, "most": 31.0}]},
    "start": {"rows": [{"name": "status", "ours": True, "cpu": 210.0, "of_python": 6.8}]},
    "size": {"rows": [{"name": "10,000", "ours": True, "servers": 10_000, "cpu": 310.0, "peak": 52.0}]},
    "pace": {"rows": [{"name": "100 at once", "ours": True, "share": 0.985}]},
    "store": {
        "rows": [
            {"name": "batches of 100", "ours": True, "bytes": 296.0},
            {"name": "sqlite: ecsbatch, 100 servers, 1", "ours": True, "per_second": 1450.0, "of_limit": 0.0001},
        ]
    },
    "display": {"rows": [{"name": "10 changes a second", "ours": True, "share": 0.0075}]},
}


def texts(svg: str) -> list[str]:
    """Return what an SVG says; it must be well-formed."""
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{SVG}text")]  # noqa: S314 - our own


def measured(name: str, seen: dict[str, float] | None = None, broken: tuple[str, ...] = ()) -> Measured:
    table = Table(f"What {name} took", ["who", "a|b"], [["ecsbatch", "1 us"], ["SDK", "4 us"]], ["A note."])
    versions = {"ecsbatch": "1234567", "Python": "3.11.7"}
    return Measured(
        Result([table], seen or {}, FIGURES[name], broken),
        f"python -m benchmarks {name}",
        "2026-03-01 22:00",
        75.0,
        versions,
        "2 cores of X",
    )


# -- each benchmark ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ABOUT)
def test_each_benchmark_of_the_page_returns_what_it_found(name: str) -> None:
    module = importlib.import_module(f"benchmarks.{name}")

    assert callable(module.run)
    assert callable(module.main)
    assert (module.__doc__ or "").strip()


@pytest.mark.parametrize("name", OTHERS)
def test_each_benchmark_besides_can_be_run_by_name(name: str) -> None:
    assert callable(importlib.import_module(f"benchmarks.{name}").main)
    assert name in README


def test_what_is_typed_says_how_to_measure() -> None:
    assert Options.typed(["a", "--quick", "b"]) == Options(quick=True, repeats=1, words=["a", "b"])
    assert Options.typed(["--repeats", "7"]) == Options(repeats=7, words=[])
    assert Options.typed([]).repeats >= 5
    assert [Options.typed(words).text() for words in ([], ["100", "--quick"], ["--repeats", "7"])] == [
        *("", " 100 --quick", " --repeats 7")
    ]


def test_a_spread_is_told_where_there_is_one() -> None:
    assert median_and_spread([3.0, 1.0, 2.0]).text("{:.0f}", " us") == "2 us (1-3)"
    assert median_and_spread([2.0]).text("{:.1f}") == "2.0"


TOGETHER = """
import pathlib, sys, time
print("ready", flush=True)
sys.stdin.readline()
mine, other = map(pathlib.Path, sys.argv[1:])
mine.touch()
until = time.monotonic() + 20
while not other.exists() and time.monotonic() < until:
    time.sleep(0.005)
print("together" if other.exists() else "alone")
"""


@pytest.mark.real
def test_who_takes_tokens_at_once_does(tmp_path: Path) -> None:
    one, other = str(tmp_path / "one"), str(tmp_path / "other")

    told = at_once([[sys.executable, "-c", TOGETHER, *names] for names in ((one, other), (other, one))])

    assert told == ["together\n"] * 2


def test_a_million_is_held_to_its_goals_wherever_it_stands() -> None:
    figures = {servers: {"peak": peak, "cpu": cpu} for servers, peak, cpu in ((10_000, 50, 310), (20_000, 60, 1))}

    assert size.seen_of(figures) == {}
    assert size.seen_of({1_000_000: {"peak": 200, "cpu": 330, "first": 300}, **figures}) == {
        "million_memory": 200,
        "million_cpu": 1.1,
    }


def test_a_rollout_of_minutes_is_compared_with_those_that_were_run_while_it_stood_still() -> None:
    short, long = size.Size(10_000, 3.0, 50, 40), size.Size(1_000_000, 330.0, 200, 40, beside=3.3)
    found = {10_000: [short], 1_000_000: [long]}

    assert (size.first_of([short], found), size.first_of([long], found)) == (3.0, 3.3)
    assert [row[3] for row in size.table_of(found).rows] == ["1.00", "1.00"]


def test_a_delay_that_is_not_the_library_s_is_told() -> None:
    def cost(delay: float) -> list[cpu.Cost]:
        return [cpu.Cost(1.0, 1.0, delay, 1.0, 1.0, 0.1)]

    costs = {cpu.LIBRARY: cost(0.30), cpu.COMMAND: cost(0.33), cpu.BARE: cost(0.66), "official SDK": cost(0.15)}
    (told,) = cpu.unlike(costs)

    assert "bare aiohttp loop later: 2.20; official SDK sooner: 0.50 of it" in told
    assert cpu.COMMAND not in told
    assert cpu.unlike({name: costs[name] for name in (cpu.LIBRARY, cpu.COMMAND)}) == []


# -- goals -------------------------------------------------------------------------------------------------------------


def test_a_goal_is_reached_by_the_figure_itself_and_not_by_what_it_is_rounded_to() -> None:
    assert [GOALS["cpu_library"].reached(value) for value in (0.2, 0.2001)] == [True, False]
    assert [GOALS["quota_used"].reached(value) for value in (0.9971, 0.9969)] == [True, False]


def test_goals_are_told_in_their_order_with_what_was_seen() -> None:
    rows = goal_rows({"store_bytes": 301.4, "cpu_library": 0.19})

    assert [row[1:] for row in rows] == [["≤ 0.20", "0.19", "reached"], ["≤ 300", "301", "missed"]]


def test_what_is_no_goal_is_not_passed_over() -> None:
    with pytest.raises(KeyError, match="cpu_libary"):
        goal_rows({"cpu_libary": 0.1})


def test_a_goal_that_is_missed_is_said_and_a_promise_that_is_broken_is_an_error(
    capsys: pytest.CaptureFixture[str],
) -> None:
    missed = show(Result([], {"cpu_library": 9.0}))
    broken = show(Result([], broken=["1,001 servers in a minute"]))

    assert (missed, broken) == (0, 1)
    assert re.search(r"9\.00\s+missed", capsys.readouterr().out)


# -- pictures ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_are_small_well_formed_and_load_nothing(name: str) -> None:
    pictures = drawn(name, FIGURES[name])

    assert pictures.keys() == PICTURES[name].keys()
    for svg in pictures.values():
        assert texts(svg)
        assert len(svg.encode()) < LARGEST
        assert "prefers-color-scheme:dark" in svg
        assert not re.search(r"href|url\(|@import|<script|font-face", svg)
        assert "nan" not in svg


def test_a_picture_says_its_figures_as_text() -> None:
    [svg] = drawn("quota", QUOTA).values()

    assert {"ecsbatch", "a <limiter> & co", "99.7%", "1,000", "1,900", "allowed: 1,000", "61 s"} <= set(texts(svg))


def test_a_picture_of_cpu_holds_each_to_the_sdk() -> None:
    [svg] = drawn("cpu", CPU).values()

    assert {"Batches of 1", "Batches of 100", "80 µs, 0.22 of the SDK", "360 µs"} <= set(texts(svg))


def test_bars_are_as_long_as_their_values() -> None:
    rows = [Row("a", "ours", [Cell([1.0], "one")]), Row("b", "peer", [Cell([2.0, 2.0], "four")])]
    tree = ET.fromstring(bar_chart("Bars", "of two", [Panel("", 4.0)], [("", rows)]))  # noqa: S314 - our own
    one, two, rest = [float(bar.attrib["width"]) for bar in tree.iter(f"{SVG}rect") if bar.attrib["class"] != "ground"]

    assert two == rest == pytest.approx(2 * one, abs=0.1)


def test_what_exceeds_a_limit_is_painted_over() -> None:
    rows = [Row("a", "peer", [Cell([900.0], "900")]), Row("b", "peer", [Cell([1_900.0], "1,900")])]
    svg = bar_chart("Bars", "of two", [Panel("", 1_900.0, limit=1_000.0)], [("", rows)])

    assert svg.count('class="over"') == 1


def test_curves_have_a_legend_and_dots_a_name() -> None:
    axis = Axis("x", [(1, "1"), (10, "10")], log=True)
    series = [Series("curve", "ours", [(1, 1), (10, 10)]), Series("dot", "peer", [(3, 3)])]
    svg = curve_chart("Curves", "of two", series, axis, axis)

    assert {"curve", "dot"} <= set(texts(svg))
    assert (svg.count("<polyline"), svg.count("<circle")) == (2, 1)
    assert [axis.share(value) for value in (1, 10)] == [0, 1]


@pytest.mark.parametrize(
    ("most", "ticks"), [(1.0, [0, 0.25, 0.5, 0.75, 1]), (16.0, [0, 5, 10, 15, 20]), (0.013, [0, 0.005, 0.01, 0.015])]
)
def test_ticks_are_round(most: float, ticks: list[float]) -> None:
    assert list(nice_ticks(most)) == pytest.approx(ticks)


# -- the page ----------------------------------------------------------------------------------------------------------


def test_the_page_has_tables_pictures_goals_versions_and_what_makes_each() -> None:
    told = page({"cpu": measured("cpu", {"cpu_library": 0.31}), "quota": measured("quota")})

    assert "2026-03-01, 2 cores of X. ecsbatch 1234567, Python 3.11.7." in told
    assert "| ≤ 0.20 | 0.31 | missed |" in told
    assert "`python -m benchmarks cpu`, 75 s." in told
    assert "](cpu.svg)" in told
    assert "| ecsbatch | 1 us |" in told
    assert "| who | a/b |" in told
    assert "No promise was broken" in told


def test_the_page_says_which_part_was_measured_elsewhere() -> None:
    elsewhere = Measured(
        Result([]), "python -m benchmarks lag", "2026-04-01 22:00", 3.0, {"ecsbatch": "7654321"}, "4 cores of Y"
    )
    told = page({"cpu": measured("cpu"), "lag": elsewhere})

    assert "cpu: 2026-03-01, 2 cores of X." in told
    assert "lag: 2026-04-01, 4 cores of Y." in told


def test_the_page_says_that_a_promise_is_broken() -> None:
    told = page({"quota": measured("quota", broken=("1,001 servers in a minute",))})

    assert "**A promise is broken**: 1,001 servers in a minute" in told
    assert "No promise was broken" not in told


def test_the_page_says_what_less_work_has_shown() -> None:
    part = measured("cpu", {"cpu_library": 0.31})
    told = page({"cpu": replace(part, typed="python -m benchmarks cpu --quick")})

    assert "| ≤ 0.20 | 0.31 | missed, --quick |" in told
    assert "Parts that were made with `--quick` did less work" in told
    assert "--quick" not in page({"cpu": part})


def test_what_is_kept_makes_the_same_page_again(tmp_path: Path) -> None:
    save(tmp_path, {name: measured(name) for name in FIGURES})
    first = {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    save(tmp_path, load(tmp_path))

    assert first == {file.name: file.read_text(encoding="utf-8") for file in tmp_path.iterdir()}
    assert first.keys() == {"README.md", "results.json"} | {
        f"{picture}.svg" for pictures in PICTURES.values() for picture in pictures
    }


def test_the_page_that_is_kept_is_what_its_figures_say() -> None:
    kept = load(FOLDER)

    assert (FOLDER / "README.md").read_text(encoding="utf-8") == page(kept)
    for name, part in kept.items():
        for file, svg in drawn(name, part.result.figures).items():
            assert (FOLDER / f"{file}.svg").read_text(encoding="utf-8") == svg


def test_the_page_that_is_kept_names_no_place_of_a_machine() -> None:
    assert not re.search(r"/(home|root|tmp|work|usr)/", (FOLDER / "README.md").read_text(encoding="utf-8"))
