"""The HTML report: what stands in it without a script, and what its script gets, is what the run's state says."""

from __future__ import annotations

import asyncio
import gzip
import re
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from hashlib import sha256
from html.parser import HTMLParser
from statistics import median
from typing import Any

import orjson
import pytest
from scenes import HOSTILE, history, plan
from test_page_parts import read_column, rows

from ecsbatch.cli.html_report import read_report
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.store import DatabaseStore, open_store
from ecsbatch.testing import Faults, World
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.files import MARKS, SCRIPTS, STYLES, asset
from ecsbatch.views.page.html_report import report_html
from ecsbatch.views.page.reported_run import ReportedRun
from ecsbatch.views.page.timeline import RunTimeline
from ecsbatch.views.receipt import receipt_lines
from ecsbatch.views.report import report_json

VOID = {"meta", "link", "input", "br", "col", "path"}
ATTACK = "</script><img src=x onerror=alert(1)>\u2028=1+1"


@dataclass
class Read(HTMLParser):
    """What a browser without JavaScript makes of a page.

    Attributes:
        tables: the rows of each, by its caption.
        scripts, styles: what is inline.
        elements: every element with its attributes.
        text: all that is to be read.
    """

    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    scripts: list[tuple[dict[str, str | None], str]] = field(default_factory=list)
    styles: list[str] = field(default_factory=list)
    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    text: str = ""

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))
        match tag:
            case "caption":
                self._caption, self._rows = "", list[list[str]]()
            case "tr":
                self._rows.append([])
            case "td" | "th":
                self._rows[-1].append("")
            case "script":
                self.scripts.append((dict(attrs), ""))
            case "style":
                self.styles.append("")
            case _:
                pass
        if tag not in VOID:
            self._open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        """Close elements up to this one."""
        while self._open and self._open.pop() != tag:
            pass
        if tag == "caption":
            self.tables[self._caption] = self._rows

    def handle_data(self, data: str) -> None:
        """Note a text where it stands."""
        inside = self._open[-1] if self._open else ""
        if inside == "script":
            self.scripts[-1] = (self.scripts[-1][0], self.scripts[-1][1] + data)
            return
        if inside == "style":
            self.styles[-1] += data
            return
        self.text += data
        if inside == "caption":
            self._caption += data
        elif {"td", "th"} & set(self._open[-2:]):
            self._rows[-1][-1] += data


def written(report: ReportedRun) -> tuple[Read, bytes]:
    page, raw = Read(), b"".join(report_html(report))
    page.feed(raw.decode())
    return page, raw


def data_of(page: Read) -> dict[str, Any]:
    [packed] = [text for attributes, text in page.scripts if attributes.get("id") == "data"]
    return orjson.loads(gzip.decompress(b64decode(packed)))


def of_state(state: RolloutState, events: Sequence[Recorded] = ()) -> ReportedRun:
    details, timeline = Details(state), RunTimeline(state)
    for recorded in events:
        state.apply(recorded)
        details.apply(recorded)
        timeline.apply(recorded)
    return ReportedRun(state, details, timeline, at=5_000.0, version="0.1.0")


def number(cell: str) -> int:
    return int(cell.replace(",", ""))


@dataclass
class Night:
    """A run of the simulated cloud, its report, and what ``-o json`` says of it."""

    report: ReportedRun
    page: Read
    raw: bytes
    run: dict[str, Any]
    servers: list[dict[str, Any]]


@pytest.fixture(scope="module")
def night() -> Night:
    faults = Faults(reject_503=0.05, lost_reply=0.05)
    with World(servers=300, seed=11, faults=faults, fail_rate=0.1, stuck_rate=0.02, shutoff=5) as world:

        async def restart() -> None:
            limits = {"max_failures": "100%", "max_failures_per_wave": "100%", "max_unavailable": "30%"}
            async with world.restarter(name="ann@desk") as restarter:
                await restarter.rollout(await restarter.plan(world.ids, Strategy(**limits)), run_id="night").run()

        world.run(restart)
        report = asyncio.run(read(world))
    told = orjson.loads(b"".join(report_json(report.state)))
    return Night(report, *written(report), told["run"], told["servers"])


async def read(world: World) -> ReportedRun:
    async with open_store(world.database, inline=True, clock=world.clock) as store:
        return await read_report(store, "night")


def test_the_run_has_what_a_report_is_about(night: Night) -> None:
    kinds = Counter(server["outcome"] for server in night.servers)

    assert {"restarted", "failed", "timed_out", "skipped"} <= kinds.keys()


def test_its_counts_are_those_of_the_json_report(night: Night) -> None:
    zones = night.page.tables["Servers by zone and outcome"]
    columns = [title.lower().replace(" ", "_") for title in zones[0]]
    told = {row[0]: dict(zip(columns[1:], map(number, row[1:]), strict=True)) for row in zones[1:]}

    assert told.keys() == {"az1", "az2", "az3", "All"}
    for name, counts in told.items():
        group = night.run["servers"] if name == "All" else night.run["domains"][name]
        assert counts == {column: group[column] for column in columns[1:]}
    for kind, n in Counter(server["outcome"] for server in night.servers).items():
        assert told["All"][kind] == n


def test_its_failures_are_those_of_the_json_report_by_reason_zone_and_host(night: Night) -> None:
    failed = [server for server in night.servers if server["outcome"] in {"failed", "timed_out", "unknown"}]

    def table(caption: str) -> dict[str, int]:
        return {row[0]: number(row[1]) for row in night.page.tables[caption][1:]}

    reasons = Counter(server["error_code"] or server["reason"] or server["outcome"] for server in failed)
    hosts = Counter(server["host"] for server in failed)
    assert table("Failures by reason") == reasons
    assert table("Failures by zone") == Counter(server["domain"] for server in failed)
    assert table("Failures by host").items() <= hosts.items()
    assert sorted(table("Failures by host").values()) == sorted(hosts.values())[-10:]
    assert [row[0] for row in night.page.tables[f"{len(failed)} failures"][1:]] == [
        f"{server['name']} ({server['id']})" for server in failed
    ]


def test_waves_and_durations_are_those_of_the_servers(night: Night) -> None:
    took: dict[int, list[float]] = {}
    of_wave = Counter(server["wave"] for server in night.servers)
    for server in night.servers:
        if server["outcome"] == "restarted":
            took.setdefault(server["wave"], []).append(seconds(server["ended_at"]) - seconds(server["submitted_at"]))
    table = night.page.tables["Waves, with how long a restart took"][1:]

    assert [number(row[1]) for row in table] == [of_wave[wave] for wave in sorted(filter(None, of_wave))]
    assert [number(row[2]) for row in table] == [len(took[wave]) for wave in sorted(took)]
    shown = [row[6] for row in table]
    assert shown == [span(median(took[wave])) for wave in sorted(took)]
    slowest = sorted((each for wave in took.values() for each in wave), reverse=True)[:10]
    assert [row[-1] for row in night.page.tables["The slowest restarts"][1:]] == [span(each) for each in slowest]
    assert f"{span(slowest[0])} at the longest" in night.page.text


def seconds(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()


def span(took: float) -> str:
    return f"{took:.1f}s" if took < 60 else f"{round(took) // 60}m{round(took) % 60:02}s"


def test_the_audits_own_words_stand_in_it(night: Night) -> None:
    assert night.report.receipt is not None
    text = " ".join(night.page.text.split())
    for line in receipt_lines(night.report.receipt, 100):
        assert " ".join(line.split()) in text
    assert "no promise is broken" in text


def test_who_began_the_run_when_and_with_which_settings_stands_in_it(night: Night) -> None:
    text = night.page.text

    assert "begun by ann@desk" in text
    assert night.report.head in text
    assert f"at most {night.report.state.plan.max_unavailable} down (--max-unavailable)" in text
    assert night.report.state.plan.hash in text


def test_its_script_gets_every_server_as_the_json_report_has_it(night: Night) -> None:
    data, servers = data_of(night.page), night.servers
    ids = b64decode(data["fleet"]["ids"]["uuids"])
    stages = ["waiting", "", "", "", "restarted", "failed", "timed_out", "unknown", "skipped", "not_started"]
    told = rows(data["details"])

    assert [ids[i : i + 16].hex() for i in range(0, len(ids), 16)] == [each["id"].replace("-", "") for each in servers]
    assert [stages[cell & 15] for cell in b64decode(data["cells"])] == [each["outcome"] for each in servers]
    assert data["fleet"]["names"] == [each["name"] for each in servers]
    assert read_column(data["fleet"]["groups"]["zone"]) == [each["domain"] for each in servers]
    assert read_column(data["fleet"]["groups"]["host"]) == [each["host"] for each in servers]
    assert {i for i, each in enumerate(servers) if each["outcome"] != "restarted"} == set(told)
    for i, detail in told.items():
        assert (detail["reason"], detail["code"]) == (servers[i]["reason"], servers[i]["error_code"])
        assert detail["host"] == servers[i]["host"]
    assert data["progress"]["servers"] == night.run["servers"]
    assert sum(data["timeline"]["restarted"]) == night.run["restarted"]
    assert data["audit"]["ok"] is True


# -- what it may do ----------------------------------------------------------------------------------------------------


def test_it_runs_its_own_scripts_and_styles_and_loads_nothing(night: Night) -> None:
    page = night.page
    [policy] = [a["content"] for tag, a in page.elements if a.get("http-equiv") == "Content-Security-Policy"]
    code = [text for attributes, text in page.scripts if "type" not in attributes]

    assert policy is not None
    assert policy.startswith("default-src 'none'; ")
    for directive, texts in (("script-src", code), ("style-src", page.styles)):
        hashes = [f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in texts]
        assert f"{directive} {' '.join(hashes)};" in policy
    assert len(code) == 2
    assert not re.search(r"unsafe|https?:|\*", policy)
    places = [a.get(name) or "" for _, a in page.elements for name in ("src", "href")]
    assert all(place.startswith(("#", "data:")) for place in filter(None, places))
    assert not [
        name for _, attributes in page.elements for name in attributes if name.startswith("on") or name == "style"
    ]


def test_it_is_the_page_as_a_report_filled_in_at_every_mark(night: Night) -> None:
    assert ("body", {"data-mode": "report"}) in night.page.elements
    assert b"<!--" not in night.raw.split(b"<script")[0]
    assert night.raw.count(b"<title>Run night ") == 1


def hostile() -> ReportedRun:
    """A run all of whose texts are an attack."""
    fleet = Fleet(
        [f"{i}{ATTACK}" for i in range(3)],
        [ATTACK] * 3,
        [ATTACK + HOSTILE] * 3,
        None,
        [ATTACK] * 3,
        {ATTACK: [ATTACK] * 3},
    )
    of = Plan(fleet=fleet, waves=(Wave(1, 0, 3, ATTACK),), check=f"cmd:{ATTACK}", gate=ATTACK, max_failures=9)
    state = RolloutState("night", of)
    said = {"reason": ATTACK, "code": ATTACK, "message": ATTACK + "x" * 10_000, "host": ATTACK, "domain": ATTACK}
    told = [
        ev.RunStarted(total=3),
        ev.HolderChanged(holder=ATTACK, fence=1),
        ev.WaveStarted(wave=1, label=ATTACK),
        ev.BatchSubmitting(1, fleet.ids, 1, updated=[""] * 3),
        ev.ServerFailed(fleet.ids[0], batch=1, **said),
        ev.ServerRestarted(fleet.ids[1], batch=1),
        ev.LimitChanged(ATTACK, {ATTACK: 1}, {ATTACK: 3}, ATTACK),
        ev.RunStopped("stopped", ATTACK, ATTACK),
    ]
    events = [Recorded(seq, 1_000.0 + seq, "night", event) for seq, event in enumerate(told, 1)]
    report = of_state(state, events)
    return replace(report, steering=events[-2:], begun_by=ATTACK, begun_at=1_000.0, head=ATTACK, not_audited=ATTACK)


def test_texts_of_others_are_no_markup_whatever_they_are() -> None:
    page, raw = written(hostile())
    harmless, _ = written(of_state(history(plan())))

    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len(page.scripts) == len(harmless.scripts) == 3
    assert b"onerror=alert(1)>" not in raw
    assert "<img src=x onerror=alert(1)>" in page.text, "it is read as the text that it is"
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u2028\u202e]", raw.split(b"<script")[0].decode())
    turned = [text for text in texts(data_of(page)) if not text.isprintable()]
    assert turned == [], "the script shows them"


def texts(value: Any) -> Iterator[str]:
    """Yield the texts of JSON values, names of fields left out."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from texts(each)


def test_a_long_message_is_cut_and_many_failures_are_counted() -> None:
    n = 20_000
    fleet = Fleet([f"{i:08x}-0000-4000-8000-000000000000" for i in range(n)])
    state = RolloutState("night", Plan(fleet=fleet, waves=(Wave(1, 0, n),), max_failures=n))
    failures = (ev.ServerFailed(id_, code=f"E.{i}", message=f"{id_} " * 300) for i, id_ in enumerate(fleet.ids))
    page, raw = written(of_state(state, [Recorded(i, 1_000.0, "night", each) for i, each in enumerate(failures, 1)]))

    assert len(raw) < 3_000_000
    assert len(page.tables["20,000 failures, the first 200 of them"]) == 201
    assert "And 19,990 more." in page.text


def test_a_run_that_goes_on_and_one_without_an_event_have_a_report() -> None:
    page, _ = written(of_state(history(plan())))
    empty, _ = written(of_state(RolloutState("k7f3q2", plan())))

    assert "not ended" in page.text
    assert "4 of 40 restarted" in page.text
    assert "The record was not audited." in empty.text
    assert "Not begun" in empty.text


def test_a_record_that_cannot_be_audited_is_reported_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(*_: object) -> None:
        raise StoreError("The chain cannot be read.")

    monkeypatch.setattr(DatabaseStore, "check_chain", refuse)
    with World(servers=3, seed=1) as world:

        async def restart() -> None:
            async with world.restarter() as restarter:
                await restarter.rollout(world.ids, run_id="night").run()

        world.run(restart)
        page, _ = written(asyncio.run(read(world)))

    assert "The record was not audited: The chain cannot be read." in page.text


def test_another_template_is_filled_in_at_its_marks() -> None:
    files: Mapping[str, bytes] = {
        "page.html": f'<title>ecsbatch</title>{MARKS[0]}<body data-mode="live">{"".join(MARKS[1:])}'.encode(),
        **dict.fromkeys(STYLES, b"p {}"),
        **dict.fromkeys(SCRIPTS, b"go()"),
    }
    raw = b"".join(report_html(of_state(history(plan())), files.__getitem__))

    assert raw.count(b"<script>go()</script>") == 2
    assert b"<!--" not in raw
    assert asset("page.css") not in raw
