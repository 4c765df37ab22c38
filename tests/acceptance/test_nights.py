"""Five nights, told as they are typed: each is played on the real command line, and judged by the simulator's books."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from stage import Stage, reached
from transcript import Changed, Ended, Killed, Pictured, Typed, Unreadable, agrees, compare, read_night, written

NIGHTS = Path(__file__).parent / "nights"
AT_ONCE = 2
"""Nights wait as long as they work."""


@dataclass(frozen=True)
class Expected:
    """What must have happened by a night's end.

    Attributes:
        targeted: servers that any run was about.
        restarted: of them, those that the cloud has restarted.
        down: the most that may have been down at once, by the cloud's own count; None where failures were forgiven,
            which stay down.
        again: the zone whose servers may have been restarted twice, since the story asks for it.
    """

    targeted: int
    restarted: int
    down: int | None
    again: str = ""


BOOKS = {
    "1-first-restart": Expected(132, 131, 32),
    "2-three-zones": Expected(20_000, 19_988, 1_998),
    "3-zone-fails": Expected(600, 600, None, again="az2"),
    "4-laptop-dies": Expected(1_200, 1_200, 360),
    "5-a-colleague": Expected(2_700, 2_700, 900 + 225),
}


def test_every_night_is_played() -> None:
    assert sorted(path.stem for path in NIGHTS.iterdir()) == sorted(BOOKS)


@pytest.fixture(scope="module")
def nights(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """Begin every night that was asked for."""
    here = [item for item in request.session.items if isinstance(item, pytest.Function)]
    asked = [item for item in here if item.module is request.module and "nights" in item.fixturenames]
    names = [str(item.callspec.params["name"]) for item in asked]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        yield {name: pool.submit(play, name, tmp_path_factory.mktemp(name)) for name in names}
        pool.shutdown(cancel_futures=True)


@pytest.mark.parametrize("name", BOOKS)
def test_a_night_goes_as_it_is_told(name: str, nights: Mapping[str, Future[None]]) -> None:
    nights[name].result()


def play(name: str, folder: Path) -> None:
    """Play a night, and judge it."""
    stage = Stage(read_night((NIGHTS / f"{name}.md").read_text(encoding="utf-8")), folder)
    try:
        stage.play()
        judge(stage, BOOKS[name])
    finally:
        stage.close()


def judge(stage: Stage, books: Expected) -> None:
    """Hold the cloud's own counts, and the runs' reports, against what must be."""
    audit = stage.audit()
    servers = [server for report in stage.reports() for server in report["servers"]]
    ended: dict[str, set[str]] = {}
    for server in servers:
        ended.setdefault(server["id"], set()).add(server["outcome"])
    told = Counter(server["id"] for server in servers if server["outcome"] == "restarted")
    zones = {server["id"]: server["domain"] for server in servers}

    assert audit["restarted_servers"] == books.restarted
    assert {zones[one] for one in audit["restarted_more_than_once_ids"]} <= {books.again}
    assert audit["fullest_window"] <= audit["quota_limit"]
    assert audit["throttled_requests"] == 0
    assert books.down is None or audit["most_down"] <= books.down
    assert len(ended) == books.targeted
    assert [one for one, outcomes in ended.items() if not outcomes & {"restarted", "skipped"}] == []
    assert set(told.values()) == {1}


# The language


STAGE = "<!--\nsimulator: --servers 9 --speed 60\nmachine: ann bob\nmachine: laptop\nexport: A=1 B=x=y\n-->\n"


STORY = """
Prose.

```console
ann$ ecsbatch check
ok
ann$ cat \\
    file
laptop$ true
```
<!-- ann types 9 -->
```console
ann$ ecsbatch restart fleet.csv
Number: 9
```
<!-- display of ann when az2 >= 20% -->
```display
run
```
<!-- cloud {"zone_mend": "az2"} -->
<!-- ann's command ends -->
```console
Over.
bob$ true
ann$ echo $?
0
```
<!-- display of ann when Held -->
```display
x
```
<!-- kill ann -->
"""


def test_a_story_is_read() -> None:
    night = read_night(STAGE + STORY)

    assert list(night.simulator) == ["--servers", "9", "--speed", "60"]
    assert [list(each) for each in night.machines] == [["ann", "bob"], ["laptop"]]
    assert night.environment == {"A": "1", "B": "x=y"}
    assert night.steps == [
        Typed(11, "ann", "ecsbatch check", ["ok"]),
        Typed(13, "ann", "cat \\\n    file", []),
        Typed(15, "laptop", "true", []),
        Typed(19, "ann", "ecsbatch restart fleet.csv", ["Number: 9"], ("9",), ends=False),
        Pictured(23, "ann", "az2 >= 20%", ["run"]),
        Changed(26, {"zone_mend": "az2"}),
        Ended(28, "ann", ["Over."]),
        Typed(30, "bob", "true", []),
        Typed(31, "ann", "echo $?", ["0"], ends=False),
        Pictured(35, "ann", "Held", ["x"]),
        Killed(38, "ann"),
    ]


DISPLAY = "<!-- display of ann when Held -->\n```display\nx\n```\n"
TRUE = "```console\nann$ true\n```\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("<!-- stage: x -->", "no stage"),
        ("```console\nann$ true\n```\n", "the first comment"),
        (STAGE + "<!-- ann sleeps -->", "line 7: ann sleeps"),
        (STAGE + "<!-- kill carol -->", "no machine has a terminal carol"),
        (STAGE + "```console\ncarol$ true\n```\n", "a console block"),
        (STAGE + "```python\nx\n```\n", "a python block"),
        (STAGE + "<!-- ann types 9 -->\n```console\nann$ true\n0\n```\n", "shows nothing of"),
        (STAGE + "<!-- ann types 9 -->\n", "nothing follows"),
        (STAGE + "<!-- display of ann when Held -->\n```display\n```\n", "a display block"),
        (STAGE + "```display\nx\n```\n", "a display block"),
        (STAGE + TRUE + DISPLAY, "it is not told how the command in line 8 ends"),
        (STAGE + TRUE + DISPLAY + TRUE, "line 15: ann is busy with what was typed in line 8"),
    ],
)
def test_a_story_that_means_nothing_is_refused(text: str, says: str) -> None:
    with pytest.raises(Unreadable, match=says):
        read_night(text)


# What was seen


@pytest.mark.parametrize(
    ("expected", "seen", "same"),
    [
        ("", "", True),
        ("", "a line", False),
        ("a line", "", False),
        ("a line", "a line   ", True),
        ("a line", "a  line", False),
        ("a line", "A line", False),
        ("a line", "a line more", False),
        ("a line\nanother", "another\na line", False),
        ("a line\n\nanother", "a line\nanother", False),
        ("after ...: 12 of 12", "after 3s: 12 of 12", True),
        ("after ...: 12 of 12", "after 3s: 11 of 12", False),
        ("after ...", "before 3s", False),
        ("... of ...", "1 of 2", True),
        ("3 (of 4)", "3 (of 4)", True),
        ("3 (of 4)", "3 of 4", False),
        ("...", "", True),
        ("...", "a\nb\nc", True),
        ("a\n...\nc", "a\nb1\nb2\nc", True),
        ("a\n...\nc", "a\nc", True),
        ("a\n...\nc", "a\nb\nc\nd", False),
        ("a\n...\nc", "b\nc", False),
        ("...\nc\n...\nd", "c\nx\nc\nd", True),
        ("...\nc\n...\nd", "d\nc", False),
        ("  failed ...\n...", "  restarted 3\n  failed 1", False),
    ],
)
def test_what_was_seen_is_held_against_what_was_expected(expected: str, seen: str, *, same: bool) -> None:
    assert agrees(compare(expected.splitlines(), seen.splitlines())) is same


@pytest.mark.parametrize(
    ("expected", "seen", "same"),
    [
        ("az2   ██▌░░░  30%   300 of 1,000", "az2   ███████▌▒  100%   1,000 of 1,000", True),
        ("az2   ██▌░░░  30%   300 of 1,000", "az3   ███████▌▒  100%   1,000 of 1,000", True),
        ("az2   ██▌░░░  30%   300 of 1,000", "az2   30%   300 of 1,000", False),
        ("az2   ██▌░░░  30%   300 of 1,000", "az2   ██▌░░░  30%   300", False),
        ("run friday   held   wave 1 of 4   5s", "run friday   held   wave 2 of 4   1m05s", True),
        ("run friday   held   wave 1 of 4   5s", "run friday   running   wave 1 of 4   5s", False),
        ("Quota     0 free of 1,000 in 1.5s...", "Quota     999 free of 1,000 in 1s, next in 0.2s", True),
        ("Failures  0 of 12 allowed", "Failures  none", False),
    ],
)
def test_a_picture_is_compared_by_its_shape(expected: str, seen: str, *, same: bool) -> None:
    assert agrees(compare([expected], [seen], shape=True)) is same
    assert agrees(compare([expected], [seen])) is False


def test_a_comparison_shows_where_they_part() -> None:
    seen = ["Run x ended", "", "  restarted  11", "  failed      1", "", "Next:", "  resume"]
    marked = compare(["Run x ended", "...", "  restarted  12", "...", "Next:", "  report", "  resume"], seen)

    assert written(marked).splitlines() == [
        "  Run x ended",
        "-   restarted  12",
        "",
        "    restarted  11",
        "    failed      1",
        "",
        "  Next:",
        "-   report",
        "    resume",
    ]


@pytest.mark.parametrize(
    ("when", "so"),
    [
        ("All >= 40%", True),
        ("All >= 41%", False),
        ("az2 >= 7%", True),
        ("az3 >= 1%", False),
        ("Wave 2 >= 5%", True),
        ("Held", True),
        ("Paused", False),
    ],
)
def test_a_moment_is_told_by_a_bar_or_by_words(when: str, *, so: bool) -> None:
    picture = ["All     ███░░░  40%  4 of 10", "Wave 2  ▌░░   5%", "az2   ▒░░   7%   7 of 100", "Held after wave 1."]

    assert reached(when, picture) is so
