from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from page_client import RUN, begun, served
from playwright.async_api import Browser

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Lease, Transaction
from ecsbatch.model.tally import Stage
from ecsbatch.policy.standing import CALM
from ecsbatch.store import DatabaseStore
from ecsbatch.views.page.cells import NOT_BACK, NOT_HEALTHY
from ecsbatch.views.text import format_span

from .browser import Viewer, axe_script, chromium, looking, reading, visiting
from .made_up import (
    FAILED,
    HOSTILE,
    RESTARTED,
    SKIPPED,
    TIMED_OUT,
    UNKNOWN,
    WAITING,
    PretendedRun,
    scene,
)
from .pretend import Pretender
from .reported import report

pytestmark = [pytest.mark.asyncio(loop_scope="module")]

LABELS = {
    WAITING: "waiting",
    RESTARTED: "restarted",
    FAILED: "failed",
    TIMED_OUT: "timed out",
    UNKNOWN: "unknown",
    SKIPPED: "skipped",
}

CUT_NAMES = """() => [...document.querySelectorAll('#list-rows button')]
    .filter(name => name.scrollWidth > name.clientWidth).map(name => name.textContent)"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as started:
        yield started


def counted(run: PretendedRun) -> dict[str, int]:
    stages = Counter(cell & 15 for cell in run.cells)
    told = {label: stages[stage] for stage, label in LABELS.items()}
    return told | {"not back up": sum(1 for cell in run.cells if cell & NOT_BACK)}


async def agrees(viewer: Viewer, run: PretendedRun) -> None:
    """Wait until the page counts what the run has, and every view of it has been drawn since."""
    wanted = counted(run)
    await viewer.until(
        """wanted => Object.entries(wanted).every(([label, n]) => [...document.querySelectorAll('#legend .chip')].some(
        chip => chip.childNodes[1].textContent.trim() === label
        && chip.querySelector('b').textContent === n.toLocaleString('en-US')))""",
        wanted,
    )
    # The legend is drawn four times a second, others twice or once.
    await viewer.until("() => shown.page.page.painter.views.every(view => !view.stale)")


async def test_the_page_counts_what_the_run_has_while_it_goes_on(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        for _ in range(5):
            run.step(400)
            pretender.push("tonight")
        await agrees(viewer, run)
        await viewer.until("() => document.querySelector('#matrix-foot td').textContent === '3,000'")
        table, heads = await viewer.table(), await viewer.heads()
        zones = Counter((run.zones[i], cell & 15) for i, cell in enumerate(run.cells))
        for stage, label in LABELS.items():
            if label in heads:
                column = heads.index(label) - 1
                assert {zone: table[zone][column] for zone in ("az1", "az2", "az3")} == {
                    zone: zones[zone, stage] for zone in ("az1", "az2", "az3")
                }
        ended = sum(n for label, n in counted(run).items() if label not in {"waiting", "not back up"})
        await viewer.until("text => document.querySelector('#ended').textContent === text", f"{ended:,} of 3,000")
        assert await viewer.page.title() == f"{100 * ended // 3000}% running · tonight"
        failures = f"{run.counts()['failures']:,}"
        await viewer.until("n => document.querySelector('#figures').textContent.includes(n)", failures)


async def test_the_page_has_the_words_of_the_package(browser: Browser) -> None:
    spans = [0, 59, 65, 600, 3599, 3600, 3905, 90_000]
    bytes_ = [*Stage, Stage.FAILED | NOT_BACK, Stage.ACCEPTED | NOT_HEALTHY]
    async with looking(browser, Pretender([scene("middle", 30, run_id="tonight")]), "#/tonight") as viewer:
        told = await viewer.page.evaluate(
            """([bytes, spans]) => ({kinds: bytes.map(byte => KINDS[KIND_OF[byte]].key), calm: [...CALM],
                over: [...OVER], goesOn: [...GOES_ON], notBack: NOT_BACK, spans: spans.map(span)})""",
            [bytes_, spans],
        )

    under_way = {Stage.SUBMITTING, Stage.ACCEPTED}
    words = ["restarting" if stage in under_way else stage.name.lower() for stage in Stage]
    assert told["kinds"] == [*words, "failed", "not_healthy"]
    assert told["notBack"] == NOT_BACK
    assert set(told["calm"]) == {phase.value for phase in CALM}
    assert set(told["over"]) == {status.value for status in RunStatus if status.over}
    assert set(told["goesOn"]) == {status.value for status in RunStatus if status.goes_on}
    assert told["spans"] == [format_span(seconds) for seconds in spans]


async def test_a_reload_shows_the_same_servers_filters_and_groups(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        await viewer.page.select_option("#group", "zone")
        await viewer.page.click("#legend .chip:has-text('failed')")
        await viewer.page.click("#facets .facet-row:has-text('az2')")
        listed = "n => document.querySelector('#list-count').textContent === `${n} of 3,000 servers`"
        failed = sum(1 for i in run.details if run.cells[i] & 15 == FAILED and run.zones[i] == "az2")
        await viewer.until(listed, failed)
        before = await viewer.rows()
        assert {(row[0].split(",")[0], row[3]) for row in before} == {("failed", "az2")}
        await viewer.until("() => location.hash.includes('az2')")
        await viewer.page.reload()
        await agrees(viewer, run)
        await viewer.until(listed, failed)
        assert await viewer.rows() == before
        assert await viewer.page.input_value("#group") == "zone"
        assert await viewer.page.get_attribute("#legend .chip:has-text('failed')", "aria-pressed") == "true"


async def test_who_may_still_be_down_is_filtered_beside_the_kinds(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    listed = "n => document.querySelector('#list-count').textContent === `${n} of 3,000 servers`"
    down = sum(1 for cell in run.cells if cell & NOT_BACK)
    failed = sum(1 for cell in run.cells if cell & 15 == FAILED and not cell & NOT_BACK)
    async with looking(browser, Pretender([run]), "#/tonight?show=not_back") as viewer:
        await viewer.until(listed, down)
        assert (await viewer.text("#filters")).startswith("not back up")
        await viewer.page.click("#legend .chip:has-text('failed')")
        await viewer.until(listed, down + failed)
        await viewer.page.click("#legend .chip:has-text('not back up')")
        await viewer.page.click("#legend .chip:has-text('failed')")
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('3,000 servers')")


async def test_filters_and_their_rows_survive_updates(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        reason = "#facets .facet-row:has-text('unhealthy')"
        await viewer.page.click(reason)
        for _ in range(6):
            run.step(300)
            pretender.push("tonight")
        pretender.hang_up()
        await agrees(viewer, run)
        failed = [i for i, detail in run.details.items() if detail["reason"] == "unhealthy"]
        await viewer.until("n => document.querySelector('#list-count').textContent.startsWith(`${n} of`)", len(failed))
        assert await viewer.page.get_attribute(reason, "aria-pressed") == "true"
        assert {row[5] for row in await viewer.rows()} == {"unhealthy"}
        await viewer.page.click("#filters .chip")
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('3,000 servers')")


async def test_a_hostile_name_is_text_wherever_it_stands(browser: Browser) -> None:
    run = scene("held", 60, run_id="tonight")
    for i, name in enumerate(HOSTILE):
        run.names[i] = run.zones[i] = run.hosts[i] = name
        run.cells[i] = FAILED
        run.details[i] = {"reason": name, "code": name, "message": name, "host": name}
        run.tell("error", name)
    told = "\n".join(HOSTILE)
    run.standing["waits_for"] = {"cause": "hold", "text": told, "until": None, "commands": list(HOSTILE)}
    run.standing["standing_text"] = HOSTILE[0]
    async with looking(browser, Pretender([run]), "#/tonight?by=host") as viewer:
        await agrees(viewer, run)
        for i, name in enumerate(HOSTILE):
            await viewer.page.evaluate("i => shown.page.page.pick(i)", i)
            await viewer.until(
                "i => document.querySelector('#panel .explain')?.textContent.includes(`server ${i} `)", i
            )
            assert await viewer.page.text_content("#panel-name") == name
        assert await viewer.page.text_content("#why-text") == told
        shown = await viewer.page.evaluate(
            """() => ({images: [...document.images].filter(each => !each.classList.contains('swatch')).length,
                scripts: document.scripts.length, title: document.title})"""
        )
        assert shown == {"images": 0, "scripts": 2, "title": f"11% {HOSTILE[0]} · tonight"}


async def test_the_keyboard_walks_opens_and_returns(browser: Browser) -> None:
    run = scene("middle", 300, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        await viewer.page.focus("#cells")
        for key in ("End", "Home", "ArrowRight", "ArrowRight", "ArrowLeft"):
            await viewer.page.keyboard.press(key)
        await viewer.until("() => document.querySelector('#speaks-cell').textContent.includes('web-00001')")
        await viewer.page.keyboard.press("f")
        await viewer.until("() => /failed|timed out|unknown/.test(document.querySelector('#speaks-cell').textContent)")
        await viewer.page.keyboard.press("Enter")
        await viewer.until("() => document.querySelector('#panel .story')")
        assert await viewer.page.evaluate("document.activeElement.id") == "panel-name"
        await viewer.page.keyboard.press("Escape")
        assert await viewer.page.evaluate("document.activeElement.id") == "cells"
        assert await viewer.page.is_hidden("#panel")


async def test_a_search_finds_by_name_and_by_id_and_goes_there(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        await viewer.page.fill("#search", "web-0271")
        found = await viewer.page.locator("#found li b").all_inner_texts()
        assert found == [*(f"web-0271{i}" for i in range(8)), "10 servers found"]
        await viewer.page.keyboard.press("Enter")
        assert await viewer.page.evaluate("document.activeElement.id") == "cells"
        await viewer.until("() => document.querySelector('#speaks-cell').textContent.includes('web-02710')")
        one = (await viewer.rows())[0][2]
        await viewer.page.fill("#search", one[:13])
        await viewer.until("() => document.querySelector('#found li:last-child b').textContent === '1 server found'")


async def test_a_server_that_was_gone_is_told_of_and_seen_again_with_all_that_happened(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        pretender.online = False
        pretender.hang_up()
        await viewer.until("() => !document.querySelector('#banner-lost').hidden")
        await viewer.until("() => document.querySelector('#banner-lost').textContent.endsWith('Not now.')")
        assert re.match(r"Not connected since \d\d:\d\d:\d\d\. What you see is of", await viewer.text("#banner-lost"))
        run.step(700)
        run.changed.clear()
        pretender.online = True
        await agrees(viewer, run)
        assert await viewer.page.is_hidden("#banner-lost")


async def test_another_run_that_has_its_id_by_now_is_shown_with_its_own_servers(browser: Browser) -> None:
    run, other = scene("middle", 3000, run_id="tonight"), scene("middle", 30, run_id="tonight")
    other.began += 3600
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        pretender.have(other)
        pretender.hang_up()
        await agrees(viewer, other)
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('30 servers')")


LEAPS = "const now = Date.now; window.leap = 0; Date.now = () => now() + window.leap;"
"""A script by which a page's clock can leap, as a laptop's that has slept."""


async def test_a_run_that_is_about_to_begin_is_shown_once_it_has(browser: Browser) -> None:
    pretender = Pretender([])
    async with looking(browser, pretender, "#/night") as viewer:
        await viewer.until("() => document.querySelector('#banner-notice').textContent.includes('no run night')")
        assert await viewer.text("#link") == "live"
        pretender.have(run := scene("middle", 300, run_id="night"))
        await agrees(viewer, run)
        assert not await viewer.page.is_visible("#banner-notice")


async def test_a_connection_that_is_open_and_dead_is_told_of_and_left(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight", script=LEAPS) as viewer:
        await agrees(viewer, run)
        pretender.online = False
        run.step(700)
        run.changed.clear()  # it was sent, and has not arrived
        await viewer.page.evaluate("window.leap += 13_000")
        await viewer.until("() => !document.querySelector('#banner-lost').hidden")
        pretender.online = True
        await agrees(viewer, run)
        assert await viewer.page.is_hidden("#banner-lost")


async def test_a_nap_of_some_seconds_opens_the_connection_anew(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight", script=LEAPS) as viewer:
        await agrees(viewer, run)
        run.step(700)
        run.changed.clear()
        await viewer.page.evaluate("window.leap += 7_000")
        await agrees(viewer, run)
        assert await viewer.page.is_hidden("#banner-lost")


async def test_a_run_in_which_nothing_happens_stays_connected_by_its_beats(browser: Browser) -> None:
    run = scene("held", 300, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        await viewer.page.evaluate(
            "() => { const {stream} = shown.page; window.held = stream.source; stream.last -= 5_000; }"
        )
        pretender.beat()
        await viewer.until("() => Date.now() - shown.page.stream.last < 4_000")
        assert await viewer.page.evaluate("held === shown.page.stream.source")


async def test_a_server_that_says_farewell_is_no_alarm(browser: Browser) -> None:
    run = scene("finished", 30, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        assert "This run has ended: failed." in await viewer.text("#banner-end")
        pretender.farewell, pretender.online = "The process has ended.", False
        pretender.hang_up()
        await viewer.until("() => document.querySelector('#banner-lost').textContent === 'The process has ended.'")
        assert await viewer.text("#link") == "ended"
        assert await viewer.page.get_attribute("#banner-lost", "class") == "banner"


async def test_a_page_that_only_watches_has_no_controls(browser: Browser) -> None:
    run = scene("middle", 30, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        assert await viewer.page.is_hidden("#steer")


async def followed(store: DatabaseStore, lease: Lease, turn: int, answer: ev.Event) -> dict[str, Any]:
    """Wait until something is asked of a run for the so-manieth time, and answer as its process would."""
    while len(asked := await store.commands(RUN)) < turn:  # noqa: ASYNC110 - a row in a store tells nobody
        await asyncio.sleep(0.05)
    await store.commit(lease, Transaction([answer]))
    return dict(asked[turn - 1].body)


async def test_a_page_steers_a_run_as_its_server_reads_it_and_ends_it_only_by_its_id(
    browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    async with served(None, dashboard_steer=True) as page, visiting(browser) as viewer:
        lease = await begun(page.store)
        said = "text => document.querySelector('#steer-said').textContent === text"
        await viewer.page.goto(f"{page.origin}/?token={page.token}#/{RUN}")

        await viewer.page.click("#steer-pause")
        assert await followed(page.store, lease, 1, ev.RunPaused(by="ann")) == {"command": "pause"}
        await viewer.until(said, "Pause: paused by ann.")

        await viewer.page.click("#steer-adjust")
        await viewer.page.fill("#adjust-down", "4")
        await viewer.page.keyboard.press("Enter")
        lower = ev.LimitChanged(limit="max_unavailable", old=6, new=4)
        adjusted = {"command": "adjust", "limits": {"max_unavailable": 4}}
        assert await followed(page.store, lease, 2, lower) == adjusted
        await viewer.until(said, "Adjust: max_unavailable 6 -> 4.")

        await viewer.page.click("#steer-abort")
        await viewer.page.fill("#abort-typed", RUN[:-1])
        assert await viewer.page.is_disabled("#abort-go")
        await viewer.page.fill("#abort-typed", RUN)
        await viewer.page.click("#abort-go")
        assert await followed(page.store, lease, 3, ev.RunAborting(by="ann")) == {"command": "abort"}
        await viewer.until("() => document.querySelector('#steer-said').textContent.startsWith('Abort: Nothing more')")


async def test_the_list_names_all_runs_and_leads_to_each(browser: Browser) -> None:
    runs = [scene(name, 30, run_id=name) for name in ("middle", "held", "finished")]
    pretender = Pretender(runs)
    pretender.frozen = {"by": "bob", "reason": "storage", "since": "2026-11-26T10:00:00Z", "until": None}
    async with looking(browser, pretender) as viewer:
        await viewer.until("() => document.querySelectorAll('#runs-rows tr').length === 3")
        assert "Frozen by bob" in await viewer.text("#banner-frozen")
        await viewer.page.click("text=held >> nth=0")
        await viewer.until("() => document.querySelector('#standing').textContent === 'held for promote'")
        assert "ecsbatch promote held" in await viewer.text("#why")
        await viewer.until("() => document.querySelector('#waves').textContent.includes('held for promote, for 12m')")
        await viewer.page.go_back()
        await viewer.until("() => !document.querySelector('#runs').hidden && document.querySelector('#run').hidden")


async def test_a_second_run_is_shown_alone_where_a_first_one_was(browser: Browser) -> None:
    first, second = scene("middle", 3000, run_id="first"), scene("held", 3000, run_id="second")
    second.names = [f"db-{i:05}" for i in range(second.n)]
    async with looking(browser, Pretender([first, second]), "#/first") as viewer:
        await agrees(viewer, first)
        await viewer.page.click("#legend .chip:has-text('waiting')")
        await viewer.until("() => location.hash.includes('show=waiting')")
        await viewer.page.evaluate("location.hash = '#/second?show=waiting'")
        await agrees(viewer, second)
        await viewer.until("() => document.querySelector('#list-count').textContent.includes(' of 3,000 servers')")
        assert {row[1][:2] for row in await viewer.rows()} == {"db"}
        await viewer.page.click("#filters .chip")
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('3,000 servers')")
        await viewer.until("() => location.hash === '#/second'")


async def test_a_pointer_finds_the_server_that_is_drawn_there(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        for key, server in (("wave", 1234), ("zone", 2500), ("host", 17), ("tag:app", 1500)):
            await viewer.page.select_option("#group", key)
            for size in (0, 30):
                place: Any = await viewer.page.evaluate(
                    """([i, size]) => {
                        const {map} = shown.page.page;
                        map.zoomTo(size);
                        map.goTo(i);
                        const ring = document.querySelector("#ring-focus").getBoundingClientRect();
                        return [ring.x + ring.width / 2, ring.y + ring.height / 2];
                    }""",
                    [server, size],
                )
                await viewer.page.mouse.move(*place)
                await viewer.until("i => document.querySelector('#tip b')?.textContent.endsWith(i)", f"{server:05}")


async def test_a_phone_shows_all_without_scrolling_sideways(browser: Browser) -> None:
    run = scene("stopped", 3000, run_id="tonight", hostile=True)
    narrow = {"viewport": {"width": 390, "height": 844}}
    async with looking(browser, Pretender([run], steer=True), "#/tonight", **narrow) as viewer:
        await agrees(viewer, run)
        assert await viewer.page.evaluate("document.documentElement.scrollWidth") == 390


async def test_a_phone_names_servers_that_differ_at_the_end(browser: Browser) -> None:
    run = scene("stopped", 3000, run_id="tonight")
    run.names = [f"server-{i:06}" for i in range(3000)]
    narrow = {"viewport": {"width": 390, "height": 844}}
    async with looking(browser, Pretender([run]), "#/tonight", **narrow) as viewer:
        await agrees(viewer, run)
        assert await viewer.page.evaluate(CUT_NAMES) == []


async def test_a_printed_page_has_the_first_servers_whole_names_and_no_empty_sheets(browser: Browser) -> None:
    run = scene("stopped", 3000, run_id="tonight")
    async with looking(browser, Pretender([run]), "#/tonight") as viewer:
        await agrees(viewer, run)
        sheets = re.findall(rb"/Type /Page\b", await viewer.page.pdf(format="Letter"))
        assert 2 < len(sheets) < 12
        await viewer.page.set_viewport_size({"width": 740, "height": 980})
        await viewer.page.emulate_media(media="print")
        assert await viewer.page.evaluate(CUT_NAMES) == []


async def test_nothing_is_drawn_while_nobody_looks_and_all_at_once_afterwards(browser: Browser) -> None:
    run = scene("middle", 3000, run_id="tonight")
    pretender = Pretender([run])
    async with looking(browser, pretender, "#/tonight") as viewer:
        await agrees(viewer, run)
        hide = """hidden => {
            Object.defineProperty(document, "hidden", {configurable: true, get: () => hidden});
            document.dispatchEvent(new Event("visibilitychange"));
        }"""
        await viewer.page.evaluate(hide, arg=True)
        before = await viewer.counts()
        run.step(700)
        pretender.push("tonight")
        await viewer.until("n => shown.page.page.model.ended !== n", sum(before.values()))
        await viewer.page.wait_for_function("() => new Promise(done => setTimeout(() => done(true), 300))")
        assert await viewer.counts() == before
        await viewer.page.evaluate(hide, arg=False)
        await agrees(viewer, run)


@pytest.mark.parametrize(("scheme", "rules"), [("light", ()), ("dark", ("color-contrast",))])
async def test_axe_finds_nothing_serious(browser: Browser, scheme: str, rules: tuple[str, ...]) -> None:
    script = axe_script()
    runs = [scene("middle", 3000, run_id="middle"), scene("stopped", 3000, run_id="stopped")]
    pretender = Pretender(runs, steer=True)
    async with looking(browser, pretender, "#/middle", color_scheme=scheme, bypass_csp=True) as viewer:
        await viewer.page.add_script_tag(path=script)
        await agrees(viewer, runs[0])
        await viewer.page.click("#list-rows tr:nth-child(2) button")
        await viewer.until("() => document.querySelector('#panel .story')")
        await viewer.page.fill("#search", "0271")
        assert await faults(viewer, *rules) == []
        await viewer.page.click("#steer-abort")
        assert await faults(viewer, *rules) == []
        await viewer.page.keyboard.press("Escape")
        await viewer.page.evaluate("location.hash = '#/stopped'")
        await agrees(viewer, runs[1])
        assert await faults(viewer, *rules) == []
        await viewer.page.evaluate("location.hash = '#/'")
        await viewer.until("() => document.querySelectorAll('#runs-rows tr').length === 2")
        assert await faults(viewer, *rules) == []


async def test_a_report_is_drawn_from_its_file_alone(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(report(600, 20, HOSTILE[0]))
    async with reading(browser, file) as viewer:
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('600 servers')")
        counts = await viewer.counts()
        assert {label: n for label, n in counts.items() if n} == {"restarted": 570, "failed": 30}
        assert (await viewer.table())["az1"][0] == 200
        first = (await viewer.rows())[0]
        assert first[:2] == ["failed", f"{HOSTILE[0]}-00000"]
        assert first[5:] == ["Ecs.0227", "Failed to reboot the ECS 0.", "6.7 s"]
        await viewer.page.click("#facets .facet-row:has-text('h20')")
        await viewer.until("() => document.querySelector('#list-count').textContent === '15 of 600 servers'")
        await viewer.page.click("#list-rows tr:nth-child(2) button")
        told = " ".join((await viewer.text("#panel-body")).split())
        assert re.search(r"Sent 2027-01-15 .* Took \d+\.\d s Attempts 1", told)
        assert await viewer.page.title() == "Run tonight ended with failures after 0s: 570 of 600 restarted."
        assert await viewer.page.evaluate("document.querySelectorAll('#charts canvas').length") == 4


async def test_a_dark_report_prints_on_white_paper_and_is_dark_again(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(report(600, 20))
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    async with reading(browser, file, color_scheme="dark") as viewer:
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('600 servers')")
        dark = await viewer.page.evaluate(paper)
        await viewer.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        printed = await viewer.page.evaluate(paper), len(await viewer.rows())
        await viewer.page.evaluate("window.dispatchEvent(new Event('afterprint'))")

        assert printed == ("rgb(245, 246, 248)", 200)
        assert await viewer.page.evaluate(paper) == dark != printed[0]


async def test_a_report_reads_without_its_script(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    file.write_bytes(report(600, 20))
    async with reading(browser, file, java_script_enabled=False) as viewer:
        assert "570 of 600 restarted" in await viewer.text("h1")
        assert "Failed to reboot the ECS 0." in await viewer.text("#failures")


async def test_axe_finds_nothing_serious_in_a_report(browser: Browser, tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    script = axe_script()
    file.write_bytes(report(600, 20))
    async with reading(browser, file, bypass_csp=True) as viewer:
        await viewer.page.add_script_tag(path=script)
        await viewer.until("() => document.querySelector('#list-count').textContent.startsWith('600 servers')")
        assert await faults(viewer) == []


async def faults(viewer: Viewer, *rules: str) -> list[str]:
    """Return what axe finds that is serious or worse, by some of its rules or by all."""
    only = {"runOnly": list(rules)} if rules else {}
    found: list[dict[str, Any]] = await viewer.page.evaluate("async only => (await axe.run(only)).violations", only)
    return [
        f"{each['id']}: {node['html'][:160]} {node['failureSummary'][:300]}"
        for each in found
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"][:3]
    ]
