"""How much of each frame the page's script takes, and whether its memory grows: measured in a real Chromium.

    python -m tests.page.smooth --servers 50000 --rate 1000 --minutes 10

A frame is all that runs in one callback of requestAnimationFrame; a message is one handler of the event stream.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Sequence
from typing import Any

from playwright.async_api import CDPSession

from .browser import Viewer, chromium, looking
from .made_up import scene
from .pretend import Pretender

MEASURE = """
(() => {
  const seen = window.seen = {frames: [], messages: [], intervals: []};
  const frame = window.requestAnimationFrame.bind(window), add = EventSource.prototype.addEventListener;
  const timed = (into, does) => (...given) => {
    const begun = performance.now();
    does(...given);
    into.push(performance.now() - begun);
  };
  window.requestAnimationFrame = (does) => frame(timed(seen.frames, does));
  EventSource.prototype.addEventListener = function (name, does) { add.call(this, name, timed(seen.messages, does)); };
  let last = 0;
  const watch = (now) => {
    if (last) seen.intervals.push(now - last);
    last = now;
    frame(watch);
  };
  frame(watch);
})();
"""


def shares(values: Sequence[float]) -> str:
    """Return the median, the 95th and 99th percentile and the most of some milliseconds."""
    if not values:
        return "none"
    ordered = sorted(values)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in SHARES.items()}
    return f"{len(values):6,}  " + "  ".join(f"{name} {value:6.2f}" for name, value in at.items())


SHARES = {"p50": 0.5, "p95": 0.95, "p99": 0.99, "max": 1.0}


async def heap(session: CDPSession) -> float:
    """Return the script's memory in megabytes, once what nobody needs is gone."""
    await session.send("HeapProfiler.collectGarbage")
    told: dict[str, Any] = await session.send("Runtime.getHeapUsage")
    return float(told["usedSize"]) / 1e6


async def measure(viewer: Viewer, minutes: float) -> None:
    """Print what a page takes while it is looked at."""
    session = await viewer.page.context.new_cdp_session(viewer.page)
    await asyncio.sleep(5)
    whole: dict[str, list[float]] = {"frames": [], "messages": [], "intervals": []}
    steps = max(1, round(minutes * 2))
    print(f"memory at first {await heap(session):.1f} MB", flush=True)  # noqa: T201 - a tool's output
    for step in range(1, steps + 1):
        await viewer.page.evaluate("() => { for (const each of Object.values(seen)) each.length = 0; }")
        await asyncio.sleep(60 * minutes / steps)
        seen: dict[str, list[float]] = await viewer.page.evaluate("() => seen")
        for name, values in seen.items():
            whole[name] += values
        print(f"{60 * minutes * step / steps:5.0f} s  memory {await heap(session):.1f} MB", flush=True)  # noqa: T201 - a tool's output
    for name, values in whole.items():
        print(f"{name:10} {shares(values)} ms")  # noqa: T201 - a tool's output


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--servers", type=int, default=50_000)
    parser.add_argument("--rate", type=int, default=1000, help="servers that change in a second")
    parser.add_argument("--minutes", type=float, default=0.5)
    parser.add_argument("--scale", type=float, default=1, help="device pixels for each pixel of the page")
    asked = parser.parse_args()
    pretender = Pretender([scene("middle", asked.servers, run_id="tonight")], rate=asked.rate)
    async with chromium() as browser:
        context = {"device_scale_factor": asked.scale}
        async with looking(browser, pretender, "#/tonight", script=MEASURE, **context) as viewer:
            playing = asyncio.create_task(pretender.play())
            await measure(viewer, asked.minutes)
            playing.cancel()


if __name__ == "__main__":
    asyncio.run(main())
