"""A real rollout whose page is looked at by a real browser, over a line that is cut, while its process is killed.

    python -m tests.page.real --servers 20000 --cut 10

One tab sees the run from its first wave to its end: it is reloaded; the line to the server loses everything for so many
seconds, once as a laptop's that sleeps and once with its connections; the process is killed with ``-9`` and the run
resumed at the same address; and when that has ended, another process shows the store. What the tab shows is compared
with ``ecsbatch status`` after each wave, and at the end with the HTML report, too.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from playwright.async_api import Browser
from playwright.async_api import TimeoutError as Late

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "tests", "tests/cli")]
os.environ.setdefault("PYTHONPATH", str(ROOT))

import fork_server  # noqa: E402 - the path first
from page_client import free_port  # noqa: E402
from postgres.bridge import Bridge  # noqa: E402
from typed_commands import Simulator, Terminal, simulate  # noqa: E402

from .browser import Viewer, chromium, reading  # noqa: E402

RUN: Final = "night"
FAULTS: Final = "lost_reply=3%,reset=3%,fail=2%,fail@az2=2%"
ENGINE: Final = (
    *("--quota", "1000/1s", "--typical-restart", "1s", "--api-rate", "200/s", "--request-timeout", "2s"),
    *("--unknown-grace", "2s", "--linger", "0.05s", "--yes", "--quiet"),
)
ROLLOUT: Final = (
    *("restart", "fleet.csv", "--run-id", RUN, "--hold-after", "each", "--max-unavailable", "20%"),
    *("--max-failures", "100%", "--max-failures-per-wave", "100%", "--server-timeout", "10s", *ENGINE),
)
WAVES: Final = "10%,20%,20%,25%,100%"
WORDS: Final = {
    "waiting": "waiting",
    "restarted": "restarted",
    "failed": "failed",
    "timed_out": "timed out",
    "unknown": "unknown",
    "skipped": "skipped",
    "not_back": "not back up",
}
"""What the legend calls the counts of ``status``."""

COUNTS: Final = """wanted => {
    const chips = [...document.querySelectorAll("#legend .chip")].map(chip =>
        [chip.childNodes[1].textContent.trim(), Number(chip.querySelector("b").textContent.replaceAll(",", ""))]);
    const told = Object.fromEntries(chips);
    return Object.entries(wanted).every(([label, n]) => (told[label] || 0) === n);
}"""
DRAWN: Final = """([restarted, failures]) => {
    const number = each => Number(each?.textContent.replaceAll(",", ""));
    const heads = [...document.querySelectorAll("#matrix-head th")].map(each => each.textContent);
    const foot = document.querySelectorAll("#matrix-foot td");
    const zones = [...document.querySelectorAll("#facets .facet:last-child .facet-row b")];
    return number(foot[heads.indexOf("restarted") - 1]) === restarted
        && zones.reduce((sum, each) => sum + number(each), 0) === failures;
}"""
"""Table and failures are drawn less often than the legend."""

FACETS: Final = """boxes => Object.fromEntries(boxes.map(box => [box.getAttribute("aria-label"), Object.fromEntries(
    [...box.querySelectorAll(".facet-row")].map(row =>
        [row.children[0].textContent, Number(row.children[1].textContent.replaceAll(",", ""))]))]))"""


@dataclass(frozen=True)
class Counted:
    """What a page says of a run at its end; what is none is left out.

    Attributes:
        legend: the counts by their words.
        table: the same of each zone, and of all.
        failures: their numbers by reason, host and zone.
    """

    legend: dict[str, int]
    table: dict[str, dict[str, int]]
    failures: dict[str, dict[str, int]]


async def counted(viewer: Viewer) -> Counted:
    """Return what is seen."""
    heads = (await viewer.heads())[1:]
    return Counted(
        _some(await viewer.counts()),
        {zone: _some(dict(zip(heads, row, strict=True))) for zone, row in (await viewer.table()).items()},
        await viewer.page.eval_on_selector_all("#facets .facet", FACETS),
    )


def _some(counts: dict[str, int]) -> dict[str, int]:
    return {name: n for name, n in counts.items() if n}


def worded(counts: dict[str, int]) -> dict[str, int]:
    """Return counts of ``status`` by the legend's words."""
    return {word: counts[name] for name, word in WORDS.items()}


class Stage:
    """A cloud, a terminal, a browser's tab, and the line between that and the page.

    Attributes:
        terminal: where commands are typed.
        bridge: the line; the tab knows its port only, as that of a tunnel.
        viewer: the tab.
        steps: what has been done and how long it took, as sentences.
    """

    def __init__(self, terminal: Terminal, bridge: Bridge, viewer: Viewer, port: int) -> None:
        self.terminal = terminal
        self.bridge = bridge
        self.viewer = viewer
        self.steps: list[str] = []
        self._port = port
        self._began = time.monotonic()

    def note(self, step: str) -> None:
        """Note what has been done."""
        self.steps.append(f"{time.monotonic() - self._began:6.1f} s  {step}")

    async def begin(self, *words: str) -> tuple[fork_server.Command, str]:
        """Type a command that has a page; also return the token."""
        command = self.terminal.begin(*words, "--dashboard", str(self._port))
        line = await asyncio.to_thread(command.stderr.readline)
        found = re.fullmatch(r"Page: http://127\.0\.0\.1:[0-9]+/\?token=([^\s#]+)(?:#/\S+)?\n", line)
        assert found is not None, line
        return command, found[1]

    async def type(self, *words: str) -> str:
        """Type a command and return what it prints."""
        done = await asyncio.to_thread(self.terminal.type, *words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    async def status(self) -> dict[str, Any]:
        """Return how the run stands."""
        told: dict[str, Any] = json.loads(await self.type("status", RUN, "-o", "json"))
        return told

    async def enter(self, token: str) -> None:
        """Open the page by its address, and the run by its name in the list."""
        page = self.viewer.page
        await page.goto(f"http://127.0.0.1:{self.bridge.port}/?token={token}")
        assert page.url == f"http://127.0.0.1:{self.bridge.port}/"
        await page.click(f"#runs-rows a >> text={RUN}")
        await self.moves(0)

    async def ended(self) -> int:
        """Return how many servers have ended, as the page knows it."""
        return int(await self.viewer.page.evaluate("shown.page.page.model.ended"))

    async def moves(self, known: int) -> None:
        """Wait until the page shows that more servers have ended."""
        await self.viewer.until("n => shown.page.page?.model.progress && shown.page.page.model.ended > n", known)

    async def promote(self) -> None:
        """Let the next wave begin, and see it move."""
        known = await self.ended()
        await self.type("promote", RUN)
        await self.moves(known)

    async def is_held(self, wave: int) -> None:
        """Wait until the page shows that a wave is over, and compare what it counts."""
        await self.viewer.until("n => shown.page.page?.model.progress?.held_after === n", wave)
        await self.agrees()
        self.note(f"wave {wave} is over, and the page counts what status does")

    async def agrees(self) -> None:
        """Wait until the page counts what ``status`` does."""
        told = await self.status()
        try:
            await self.viewer.until(COUNTS, worded(told["servers"]))
        except Late as e:
            raise AssertionError(f"{await self.viewer.counts()} is not {told['servers']}") from e

    async def link(self, *states: str) -> str:
        """Wait until the page says that it is connected in one of these ways; return what it says."""
        await self.viewer.until("states => states.includes(document.querySelector('#link').dataset.link)", states)
        return await self.viewer.text("#link")


@asynccontextmanager
async def tab(browser: Browser) -> AsyncIterator[Viewer]:
    """Open a tab, and find no fault in what it has shown."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    try:
        viewer = Viewer(await context.new_page())
        yield viewer
        assert viewer.faults == []
    finally:
        await context.close()


@contextmanager
def typing(folder: Path, cloud: Simulator, **environment: str) -> Iterator[Terminal]:
    """Have a terminal in a folder with the list of a cloud's servers."""
    rows = [f"{server},az{1 + i % 3},web-{i:05}" for i, server in enumerate(cloud.ids)]
    (folder / "fleet.csv").write_text("\n".join(["id,az,name", *rows, ""]), encoding="utf-8")
    terminal = Terminal(folder, cloud.environment | environment)
    try:
        yield terminal
    finally:
        terminal.end()


@contextmanager
def simulated(folder: Path, servers: int, speed: int, faults: str) -> Iterator[Simulator]:
    """Serve a cloud in which much goes wrong."""
    words = ["--servers", str(servers), "--speed", str(speed), "--faults", faults, "--shutoff", "1%"]
    yield from simulate(folder, words)


async def play(
    browser: Browser, folder: Path, *, servers: int, asleep: float, cut: float, speed: int = 60, faults: str = FAULTS
) -> list[str]:
    """Look at a run from its begin to its end; return what was done.

    Args:
        browser: has the tab.
        folder: an empty one.
        servers: how many there are.
        asleep: seconds for which nothing passes, and then all of it.
        cut: seconds for which nothing passes, until the connections are lost.
        speed: how much faster the cloud's time runs.
        faults: what goes wrong there.

    Raises:
        AssertionError: the page was not right.
    """
    port = free_port()
    with (
        simulated(folder, servers, speed, faults) as cloud,
        typing(folder, cloud) as terminal,
        Bridge(("127.0.0.1", port)) as bridge,
    ):
        async with tab(browser) as viewer:
            stage = Stage(terminal, bridge, viewer, port)
            try:
                await _waves(stage, asleep, cut)
                await _killed(stage)
                await _compared(browser, stage)
            except Exception as e:
                e.add_note("\n".join(stage.steps))
                raise
            return stage.steps


async def _waves(stage: Stage, asleep: float, cut: float) -> None:
    _, token = await stage.begin(*ROLLOUT, "--waves", WAVES)
    await stage.enter(token)
    await stage.viewer.page.reload()
    await stage.is_held(1)
    await stage.promote()
    stage.bridge.black_hole()
    await asyncio.sleep(asleep)
    said = await stage.viewer.text("#link")
    stage.bridge.heal()
    stage.note(f"nothing has passed for {asleep:g} s, behind which the page said {said!r}; then all of it")
    await stage.is_held(2)
    await stage.promote()
    stage.bridge.black_hole()
    await asyncio.sleep(cut)
    stage.bridge.cut()
    await stage.link("lost")
    stage.note(f"nothing has passed for {cut:g} s, then the connections were lost: the page says so")
    stage.bridge.heal()
    await stage.link("on")
    stage.note("the page is connected again")
    await stage.is_held(3)


async def _killed(stage: Stage) -> None:
    """Kill the process in a wave, see it resumed, and see its end."""
    await stage.viewer.page.evaluate("window.same = true")
    cookies = await stage.viewer.page.context.cookies()
    await stage.promote()
    killed = next(each for each in stage.terminal.processes if each.args[0] == "restart")
    killed.kill()
    await asyncio.to_thread(killed.wait)
    await stage.link("lost")
    stage.note("the process was killed, and the page says that it is not connected")
    resumed, _ = await stage.begin("resume", RUN, *ENGINE)
    await stage.link("on")
    stage.note("the run is resumed, and the tab is connected again")
    await stage.is_held(4)
    await stage.promote()
    code = await asyncio.to_thread(resumed.wait)
    assert code == 3, code
    # On a busy machine its last words come too late for the one second that it has for them.
    said = await stage.link("over", "lost")
    stage.note(f"the run has ended with failures, and the page says {said!r}")
    await stage.begin("dashboard")
    await stage.link("on")
    await stage.agrees()
    assert await stage.viewer.page.evaluate("window.same")
    assert await stage.viewer.page.context.cookies() == cookies


async def _compared(browser: Browser, stage: Stage) -> None:
    """Compare the page with ``status`` and with the report."""
    told = await stage.status()
    await stage.viewer.until("() => !document.querySelector('#banner-end').hidden")
    await stage.viewer.until(DRAWN, [told["restarted"], told["failures"]])
    seen = await counted(stage.viewer)
    zones = {zone: _some(worded(counts | {"not_back": 0})) for zone, counts in told["domains"].items()}
    assert seen.legend == _some(worded(told["servers"]))
    assert {
        zone: {word: n for word, n in seen.table[zone].items() if word in WORDS.values()} for zone in zones
    } == zones
    assert seen.failures["Failures by zone"] == {zone: each["failures"] for zone, each in told["domains"].items()}
    stage.note(f"the page counts {seen.legend}, as status does, by zone, too")
    await stage.type("report", RUN, "-o", "html", "--out", "report.html")
    async with reading(browser, stage.terminal.folder / "report.html") as report:
        await report.until("n => document.querySelector('#list-count').textContent.startsWith(n)", f"{told['total']:,}")
        assert await counted(report) == seen
    stage.note("and so does the report")


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=20_000)
    parser.add_argument("--cut", type=float, default=10.0, help="seconds without network")
    parser.add_argument("--speed", type=int, default=30, help="of the cloud")
    parser.add_argument("--faults", default=f"{FAULTS},stuck=0.3%")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        async with chromium() as browser:
            steps = await play(browser, Path(folder), asleep=asked.cut, **vars(asked))
    print(*steps, sep="\n")  # noqa: T201 - a tool's output


if __name__ == "__main__":
    asyncio.run(_main())
