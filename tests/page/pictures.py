"""The README's pictures: a real rollout on the simulated cloud, its page at two thirds, and its report.

python -m tests.page.pictures
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.async_api import Browser

from .browser import chromium

PICTURES = Path(__file__).parent.parent.parent / ".github" / "pictures"
ECSBATCH = [sys.executable, "-P", "-m", "ecsbatch"]
WORLD = "--servers 6000 --speed 12 --latency 50ms --seed 7 --shutoff 1% --faults lost_reply=4%,reset=3%,fail=0.4%"
ROLLOUT = (
    "--yes --quiet --run-id kernel-7 --waves 1,5%,25% --max-unavailable 20% --max-failures 2% --quota 1000/5s "
    "--typical-restart 3.4s --request-timeout 3s --unknown-grace 4s --server-timeout 50s --api-rate 100/s"
)
PAGE = {"width": 1400, "height": 1040}
REPORT = {"width": 1400, "height": 900}
TWO_THIRDS = "() => Number.parseInt(document.querySelector('#percent').textContent) >= 66"


@contextmanager
def simulated(folder: Path) -> Iterator[dict[str, str]]:
    """Serve a cloud; yield the environment that points at it."""
    words = [*ECSBATCH, "simulate", "-o", "json", "--ids", "fleet.csv", *WORLD.split()]
    with subprocess.Popen(words, cwd=folder, stdout=subprocess.PIPE, text=True) as cloud:  # noqa: S603 - our own
        try:
            assert cloud.stdout is not None
            told = json.loads(cloud.stdout.readline())["environment"]
            yield {**os.environ, **told, "XDG_STATE_HOME": str(folder / "state")}
        finally:
            cloud.terminate()


def free_port() -> int:
    """Return a port at which nothing listens."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def address_in(log: Path) -> str:
    """Wait until the page's address is printed."""
    for _ in range(300):
        if found := re.search(r"http://\S+token=\S+", log.read_text(encoding="utf-8")):
            return found[0]
        time.sleep(0.1)
    raise TimeoutError(log.read_text(encoding="utf-8"))


async def picture_page(browser: Browser, address: str) -> None:
    """Look at the page while the run goes on."""
    page = await browser.new_page(viewport=PAGE)  # type: ignore[arg-type]
    await page.goto(address)
    await page.wait_for_function(TWO_THIRDS, timeout=120_000)
    await page.screenshot(path=PICTURES / "page.png")
    await page.close()


async def picture_report(browser: Browser, report: Path) -> None:
    """Look at the report in its file."""
    page = await browser.new_page(viewport=REPORT)  # type: ignore[arg-type]
    await page.goto(report.as_uri())
    await page.wait_for_selector("#list-rows tr:not(.space)")
    await page.screenshot(path=PICTURES / "report.png")
    await page.close()


async def main() -> None:
    """Make both pictures."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as name, simulated(folder := Path(name)) as environment:
        log = folder / "log"
        words = [*ECSBATCH, "restart", "fleet.csv", *ROLLOUT.split(), "--dashboard", str(free_port())]
        async with chromium() as browser:
            with log.open("w") as stderr, (folder / "out").open("w") as out:
                run = await asyncio.create_subprocess_exec(
                    *words, cwd=folder, env=environment, stdin=subprocess.DEVNULL, stdout=out, stderr=stderr
                )
            await picture_page(browser, await asyncio.to_thread(address_in, log))
            await run.wait()
            report = [*ECSBATCH, "report", "kernel-7", "-o", "html", "--out", "report.html"]
            await (await asyncio.create_subprocess_exec(*report, cwd=folder, env=environment)).wait()
            await picture_report(browser, folder / "report.html")
    for each in sorted(PICTURES.iterdir()):
        sys.stdout.write(f"{each.name}: {each.stat().st_size:,} bytes\n")


if __name__ == "__main__":
    asyncio.run(main())
