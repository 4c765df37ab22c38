"""How late a host's own event loop is while servers are restarted in it: ``python -m benchmarks lag [SCENARIO ...]``.

A ticker is due every 5 ms, on a schedule that does not move with it; it is late by when it runs minus when it was due,
so that a loop which is held for 100 ms makes twenty ticks late. The simulated cloud is another process and goes twelve
times faster than a real one, with the quota lifted: all that a run of twenty minutes does happens here in some seconds.
Each measurement has a process of its own. Beside the library stands the official SDK in 32 threads with the same work;
ten thousand single restarts are beyond it, so it gets their servers in batches of 100.

Other programs on the machine make ticks late, too. The loop alone is measured as well (idle), everything is repeated,
and the quietest of the repeats is shown, that with the lowest 99th percentile; the last column has that of the others.
Four columns leave out what others did: how late ticks would be if only what has been computed since the tick before
counted, by the loop's own thread (own) or by all threads of the process (ours: they may have held the interpreter, and
at worst have). That is what a busy machine changes least.

``whole-1000000`` and its like do without HTTP: a cloud that answers at once, in the same process, shows what planning,
beginning, stopping, reading back and resuming a whole fleet do to a host's loop.
"""

from __future__ import annotations

# Each scenario imports what it needs itself: the SDK is large, and a collector's work grows with what is imported.
# ruff: noqa: PLC0415
import asyncio
import gc
import json
import subprocess
import sys
import tempfile
import time
from array import array
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial
from typing import Any, Final

from benchmarks.common import Options, Result, Table, command, say
from benchmarks.contestants import KEY, PROJECT, SECRET, THREADS, fetch_ids, sdk_restart
from benchmarks.contestants import simulated_client as client
from benchmarks.instant import InstantCloud, instant_ids
from benchmarks.judge import court
from benchmarks.speed import SPEED

PERIOD: Final = 0.005
LOOK_EVERY: Final = 0.25
"""Seconds between two looks of the SDK's user: an ending stays unseen for as long as one of ours."""

SCENARIOS: Final = {
    "idle": 0,
    "rollout-100": 20_000,
    "rollout-1000": 20_000,
    "restarts": 10_000,
    "sdk-100": 20_000,
    "sdk-1000": 20_000,
    "sdk-restarts": 10_000,
    **{f"whole-{servers}": servers for servers in (20_000, 100_000, 1_000_000)},
}
"""How many servers each restarts."""

MILLION: Final = 1_000_000
MILLION_REPEATS: Final = 2
"""How often the largest is played: it takes minutes."""

RUNNING: Final = 5.0
"""Seconds after which a whole life's run is stopped, and after which it is aborted once it goes on."""

HELD: Final = ("rollout-100", "rollout-1000")
"""Those whose 99th percentile is held to the goal; the longest step is, of all of ours."""

QUIET: Final = 0.003
"""Seconds by which the loop alone is late at most, by the 99th percentile, where the machine does nothing else."""

QUICK: Final = ("idle", "rollout-100", "sdk-100")
QUICK_SERVERS: Final = 3_200

NAMES: Final = {
    "idle": "the loop alone",
    "rollout-100": "rollout, batches of 100",
    "rollout-1000": "rollout, batches of 1,000",
    "restarts": "10,000 single restarts",
    "sdk-100": "SDK in 32 threads, batches of 100",
    "sdk-1000": "SDK in 32 threads, of 1,000",
    "whole-20000": "all of a fleet of 20,000",
    "whole-100000": "all of a fleet of 100,000",
    "whole-1000000": "all of a fleet of 1,000,000",
}
"""What pictures call those that they show."""


class Ticker:
    """A host's own work: a callback that is due every 5 ms."""

    def __init__(self) -> None:
        self._late = array("d")
        self._own = array("d")
        self._ours = array("d")
        self._begun = 0.0
        self._phases: list[tuple[str, float]] = []
        self._collecting = 0.0
        self.longest_collection = 0.0

    async def tick(self) -> None:
        """Note how late each tick is, until cancelled; those that are due together run together."""
        now, spent, all_spent = asyncio.get_running_loop().time, time.thread_time, time.process_time
        ran, all_ran = spent(), all_spent()
        gc.callbacks.append(self._collected)
        self._begun = now()
        while True:
            at, own, ran, ours, all_ran = now(), spent() - ran, spent(), all_spent() - all_ran, all_spent()
            while (due := self._begun + len(self._late) * PERIOD) <= at:
                own, ours = max(0.0, own - PERIOD), max(0.0, ours - PERIOD)
                self._late.append(at - due)
                self._own.append(own)
                self._ours.append(min(ours, at - due))
            await asyncio.sleep(due - at)

    def phase(self, name: str) -> None:
        """Say what the program does from now on."""
        self._phases.append((name, asyncio.get_running_loop().time()))

    def figures(self) -> dict[str, list[float]]:
        """Return the figures of each phase and, where there are several, of all together."""
        ends = [at for _, at in self._phases[1:]] + [self._begun + len(self._late) * PERIOD]
        found = {name: self._between(begin, end) for (name, begin), end in zip(self._phases, ends, strict=True)}
        return found if len(found) == 1 else {"all": self._between(self._phases[0][1], ends[-1]), **found}

    def _between(self, begin: float, end: float) -> list[float]:
        part = slice(self._tick_at(begin), self._tick_at(end))
        late, own, ours = figures(self._late[part]), figures(self._own[part]), figures(self._ours[part])
        return [*late, own[1], own[3], ours[1], ours[3], len(self._late[part]) * PERIOD]

    def _tick_at(self, at: float) -> int:
        return max(0, int((at - self._begun) / PERIOD))

    def _collected(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._collecting = time.thread_time()
        else:
            self.longest_collection = max(self.longest_collection, time.thread_time() - self._collecting)


def figures(late: Sequence[float]) -> list[float]:
    """Return the 50th, 99th and 99.9th percentile and the maximum of lateness, in seconds."""
    if not late:
        return [0.0] * 4
    ordered = sorted(late)
    shares = (ordered[min(len(ordered) - 1, int(len(ordered) * share))] for share in (0.5, 0.99, 0.999))
    return [*shares, ordered[-1]]


async def idle(ticker: Ticker) -> None:
    """Do nothing else."""
    ticker.phase("nothing else")
    await asyncio.sleep(5)


async def rollout(ticker: Ticker, url: str, ids: list[str], batch_size: int) -> None:
    """Restart the servers in one rollout, then read it back from the store."""
    from ecsbatch import Engine, Quota, Restarter, Strategy, open_store
    from ecsbatch.rollout.history import History

    strategy = Strategy(max_unavailable="100%", waves="100%", batch_size=batch_size)
    engine = Engine(quota=Quota(1_000_000, 1.0), typical_restart=40 / SPEED, look_workers=16)
    with tempfile.TemporaryDirectory() as folder:
        async with client(url) as ecs, open_store(f"sqlite:///{folder}/restarts.db") as store:
            async with Restarter(ecs, store, engine=engine) as restarter:
                await asyncio.sleep(0.5)
                ticker.phase("making")
                run = restarter.rollout(ids, strategy, run_id="measured")
                ticker.phase("beginning")
                await run.start()
                ticker.phase("running")
                await run.result()
            del run
            ticker.phase("folding")
            assert (await History(store).state("measured")).status.over
            ticker.phase("closing")


async def whole(ticker: Ticker, servers: int) -> None:
    """Live through all that is done with a whole fleet: plan, begin, restart a part, stop, read back, go on, abort."""
    from ecsbatch import EcsClient, Engine, Quota, Restarter, Strategy, open_store
    from ecsbatch.ecs.auth.schemes import KeyAuth
    from ecsbatch.rollout.history import History

    strategy = Strategy(max_unavailable="100%", waves=["1", "1%", "100%"])
    # As many as the million's CPU time is measured with, each second instead of each minute.
    engine = Engine(quota=Quota(1_000, 1.0), typical_restart=1.0)
    ecs = EcsClient(
        auth=KeyAuth(KEY, SECRET),
        project_id=PROJECT,
        endpoint="https://ecs.example.com",
        sender=InstantCloud(servers),
        api_rate=1_000_000,
    )
    ids = tuple(instant_ids(servers))  # a collection goes through lists, and this one is the host's
    with tempfile.TemporaryDirectory() as folder:
        async with ecs, open_store(f"sqlite:///{folder}/restarts.db") as store:
            async with Restarter(ecs, store, engine=engine) as restarter:
                ticker.phase("planning")
                plan = await restarter.plan(ids, strategy)
                ticker.phase("beginning the plan")
                run = await restarter.rollout(plan).start()
                ticker.phase("aborting")
                run.abort()
                await run
                del plan, run
                ticker.phase("making")
                run = restarter.rollout(ids, strategy, run_id="measured")
                ticker.phase("beginning")
                await run.start()
                ticker.phase("running")
                await asyncio.sleep(RUNNING)
                ticker.phase("stopping")
                run.stop()
                await run
                ticker.phase("reading back")
                del run
                assert (await History(store).state("measured")).run.total == servers
                ticker.phase("resuming")
                run = await (await restarter.resume("measured")).start()
                ticker.phase("running on")
                await asyncio.sleep(RUNNING)
                ticker.phase("aborting it")
                run.abort()
                await run
            ticker.phase("closing")


async def restarts(ticker: Ticker, url: str, ids: list[str]) -> None:
    """Ask for every server's restart by itself, for all at once."""
    from ecsbatch import Engine, Quota, Restarter, open_store

    engine = Engine(quota=Quota(1_000_000, 1.0), typical_restart=40 / SPEED, look_workers=16)
    with tempfile.TemporaryDirectory() as folder:
        async with (
            client(url) as ecs,
            open_store(f"sqlite:///{folder}/restarts.db") as store,
            Restarter(ecs, store, engine=engine) as restarter,
        ):
            await asyncio.sleep(0.5)
            ticker.phase("asking")
            waiting = asyncio.gather(*map(restarter.restart, ids))
            await asyncio.sleep(0.1)
            ticker.phase("running")
            await waiting


async def sdk(ticker: Ticker, url: str, ids: list[str], batch_size: int) -> None:
    """Restart the servers with the official SDK in threads."""
    restart = sdk_restart(url, LOOK_EVERY)
    loop = asyncio.get_running_loop()
    batches = [ids[start : start + batch_size] for start in range(0, len(ids), batch_size)]
    with ThreadPoolExecutor(THREADS) as pool:
        ticker.phase("running")
        await asyncio.gather(*(loop.run_in_executor(pool, restart, batch) for batch in batches))


def main_of(name: str, ticker: Ticker, url: str) -> Callable[[], Awaitable[None]]:
    """Return what a scenario does."""
    ids = fetch_ids(url) if url else []
    match name.partition("-"):
        case ("idle", _, _):
            return partial(idle, ticker)
        case ("rollout", _, size):
            return partial(rollout, ticker, url, ids, int(size))
        case ("whole", _, servers):
            return partial(whole, ticker, int(servers))
        case ("restarts", _, _):
            return partial(restarts, ticker, url, ids)
        case (_, _, size):
            return partial(sdk, ticker, url, ids, 100 if size == "restarts" else int(size))


def play(name: str, url: str) -> dict[str, Any]:
    """Play one scenario in this process."""
    ticker = Ticker()

    async def life() -> None:
        ticking = asyncio.create_task(ticker.tick())
        await asyncio.sleep(0)
        await main_of(name, ticker, url)()
        await asyncio.sleep(PERIOD)
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking

    asyncio.run(life())
    return {"figures": ticker.figures(), "collection": ticker.longest_collection}


def measure(name: str, servers: int) -> dict[str, Any]:
    """Play one scenario in a process of its own."""

    def played(url: str) -> dict[str, Any]:
        line = [sys.executable, "-m", "benchmarks.lag", "play", name, url]
        done = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True)  # noqa: S603 - ours
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    if not servers or name.startswith("whole-"):
        return played("")
    with court(servers) as cloud:
        found = played(cloud.url)
    seen = cloud.verdict
    assert (seen["restarted"], seen["twice"]) == (servers, 0), seen
    return found


def measured(names: Sequence[str], options: Options) -> dict[str, list[dict[str, Any]]]:
    """Play scenarios in turn; return the repeats of each, the quietest first."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for turn in range(options.repeats):
        for name, repeats in found.items():
            if turn and SCENARIOS[name] >= MILLION and turn >= MILLION_REPEATS:
                continue
            say(f"lag: {name}, turn {turn + 1} of {options.repeats}")
            repeats.append(measure(name, min(SCENARIOS[name], QUICK_SERVERS) if options.quick else SCENARIOS[name]))
    return {name: sorted(repeats, key=_high) for name, repeats in found.items()}


def table_of(found: Mapping[str, Sequence[dict[str, Any]]]) -> Table:
    """Return the table: each phase of the quietest repeat, in milliseconds."""
    rows: list[list[str]] = []
    for name, repeats in found.items():
        quietest = repeats[0]
        for number, (phase, seen) in enumerate(quietest["figures"].items()):
            *late, seconds = seen
            cells = [f"{each * 1000:.1f}" for each in late]
            others = ", ".join(f"{_high(each) * 1000:.0f}" for each in repeats[1:])
            whole = [f"{quietest['collection'] * 1000:.0f}", others] if number == 0 else ["", ""]
            rows.append([f"{'  ' if number else name + ', '}{phase}", f"{seconds:.2f} s", *cells, *whole])
    late = ["50%", "99%", "99.9%", "most", "own 99%", "own most", "ours 99%", "ours most"]
    title = f"Milliseconds by which a tick each {PERIOD * 1000:.0f} ms is late beside the restarts, the quietest repeat"
    alone = _high(found["idle"][0]) if "idle" in found else 0.0
    noisy = [f"The loop alone was {1000 * alone:.0f} ms late: other programs made all of it later than it is."]
    return Table(
        title, ["scenario, phase", "lasts", *late, "collector", "other 99%"], rows, noisy if alone > QUIET else ()
    )


def run(options: Options) -> Result:
    """Play what was chosen, or all."""
    found = measured(options.words or (QUICK if options.quick else list(SCENARIOS)), options)
    seen: dict[str, float] = {}
    if held := [_high(found[name][0]) for name in HELD if name in found]:
        seen["lag_p99"] = 1000 * max(held)
    if steps := [min(map(_step, each)) for name, each in found.items() if not name.startswith(("idle", "sdk"))]:
        seen["lag_step"] = 1000 * max(steps)
    rows = [_drawn(NAMES[name], name, repeats) for name, repeats in found.items() if name in NAMES]
    return Result([table_of(found)], seen, {"rows": rows})


def _drawn(title: str, name: str, repeats: Sequence[dict[str, Any]]) -> dict[str, Any]:
    p50, p99, p999, _ = (1000 * each for each in _whole(repeats[0])[:4])
    told = {"name": title, "ours": not name.startswith(("idle", "sdk"))}
    return told | {"p50": p50, "p99": p99, "p999": p999, "most": 1000 * min(map(_step, repeats))}


def main() -> int:
    """Print the table."""
    if sys.argv[1:2] == ["play"]:
        print(json.dumps(play(*sys.argv[2:])))
        return 0
    return command(run)


def _whole(found: dict[str, Any]) -> list[float]:
    """Return the figures of a whole scenario."""
    first: list[float] = next(iter(found["figures"].values()))
    return first


def _high(found: dict[str, Any]) -> float:
    """Return the 99th percentile of a whole scenario."""
    return _whole(found)[1]


def _step(found: dict[str, Any]) -> float:
    """Return the longest time for which a whole scenario held the loop."""
    return _whole(found)[3]


if __name__ == "__main__":
    raise SystemExit(main())
