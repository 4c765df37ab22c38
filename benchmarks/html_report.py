"""The HTML report of a large run: its bytes, and the seconds until it is read, audited and written.

The run happens in virtual time, with one restart in ten failed. Beside it stand the microseconds that a live page's
messages take of an event, and the milliseconds of the changes and of a snapshot for who watches.

    python -m benchmarks html_report [SERVERS]

of 50,000 servers where no number is given; the run itself takes half a minute.
"""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Callable
from typing import Final

from benchmarks.common import table
from ecsbatch.cli.html_report import read_report
from ecsbatch.config.settings import Strategy
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.progress import progress
from ecsbatch.store import open_store
from ecsbatch.testing import World
from ecsbatch.views.page.html_report import report_html
from ecsbatch.views.page.messages import RunMessages
from ecsbatch.views.page.reported_run import ReportedRun

SERVERS: Final = 50_000
ANYTHING: Final = "100%"


def restarted(world: World) -> None:
    """Restart a fleet in virtual time, whatever fails."""
    strategy = Strategy(max_unavailable="25%", max_failures=ANYTHING, max_failures_per_wave=ANYTHING)

    async def restart() -> None:
        async with world.restarter() as restarter:
            await restarter.rollout(await restarter.plan(world.ids, strategy), run_id="night").run()

    world.run(restart)


async def read(world: World) -> tuple[ReportedRun, list[Recorded]]:
    """Read the report, and the record by itself."""
    async with open_store(world.database, inline=True, clock=world.clock) as store:
        return await read_report(store, "night"), [*await store.events("night", 0, 10_000_000)]


def folded(report: ReportedRun, events: list[Recorded]) -> tuple[RunMessages, float]:
    """Fold a record as a live page does; return its messages, and the seconds that they took themselves."""
    state = RolloutState("night", report.state.plan)
    messages, took = RunMessages(state), 0.0
    for recorded in events:
        state.apply(recorded)
        begun = time.perf_counter()
        messages.apply(recorded)
        took += time.perf_counter() - begun
    return messages, took


def timed(work: Callable[[], object]) -> float:
    """Return the seconds that something takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> int:
    """Print the table."""
    servers = int(sys.argv[1]) if len(sys.argv) > 1 else SERVERS
    with World(servers=servers, seed=7, fail_rate=0.1, servers_per_host=20) as world:
        restarted(world)
        begun = time.perf_counter()
        report, events = asyncio.run(read(world))
        reading = time.perf_counter() - begun
    begun = time.perf_counter()
    size = sum(map(len, report_html(report)))
    writing = time.perf_counter() - begun
    assert report.receipt is not None
    assert report.receipt.ok
    messages, took = folded(report, events)
    told = progress(report.state, report.at).as_dict()
    rows = [
        ("servers", f"{servers:,}"),
        ("failures", f"{report.state.counts[OutcomeKind.FAILED]:,}"),
        ("events", f"{len(events):,}"),
        ("read and audited, s", f"{reading:.1f}"),
        ("written, s", f"{writing:.1f}"),
        ("megabytes", f"{size / 1e6:.2f}"),
        ("messages, us an event", f"{1e6 * took / len(events):.1f}"),
        ("changes of all servers, ms", f"{1000 * timed(lambda: messages.changes(told)):.1f}"),
        ("changes of none, ms", f"{1000 * timed(lambda: messages.changes(told)):.1f}"),
        ("snapshot, ms", f"{1000 * timed(lambda: messages.snapshot(told)):.1f}"),
    ]
    table("The HTML report, and the messages of a live page", ("what", "figure"), rows)
    return 0
