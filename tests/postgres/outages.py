"""Takes the database away from rollouts in their middle, in five ways, and says what the simulator's books tell then.

    python tests/postgres/outages.py [stopped] [restarted] [slow] [cut-off] [promoted] [promoted-orphan]

Each is a rollout of real processes at a simulated cloud that runs twenty times as fast; the database is as slow as any.
It exits with 1 where a rollout did not end complete, a server was restarted twice or not at all, or the simulator
counted more than its quota. A promotion takes three minutes: for 155 s nobody gets tokens, whatever the cloud's speed.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / part) for part in (".", "tests", "tests/cli")]

import fork_server  # noqa: E402 - the path first

from ecsbatch.model import events as ev  # noqa: E402
from postgres.bridge import Bridge  # noqa: E402
from postgres.databases import Databases, place  # noqa: E402
from postgres.promotion import Pair  # noqa: E402
from postgres.server import Server  # noqa: E402
from postgres.taking_over import ENGINE, QUOTA, Scene, books, ended, kill, scene  # noqa: E402

SERVERS: Final = 300
AWAY: Final = 20.0
"""Seconds for which a database is stopped."""

CUT_OFF: Final = 30.0
"""Seconds for which nothing passes between a holder and its database."""


@contextmanager
def on_a_server() -> Iterator[tuple[Scene, Server]]:
    """Play on a database server of our own."""
    server = Server()
    server.start()
    try:
        with tempfile.TemporaryDirectory() as folder, scene(Path(folder), Databases(server.url()).create()) as stage:
            yield stage, server
    finally:
        server.remove()


@contextmanager
def on_a_pair() -> Iterator[tuple[Scene, Pair]]:
    """Play on a primary that has a standby."""
    pair = Pair()
    try:
        with tempfile.TemporaryDirectory() as folder, scene(Path(folder), pair.url()) as stage:
            yield stage, pair
    finally:
        pair.remove()


def stopped() -> dict[str, Any]:
    """Stop the database for twenty seconds; a standby beside the holder leaves the run to it."""
    with on_a_server() as (stage, server):
        holder = stage.restart("stopped", stage.cloud.ids[:SERVERS])
        stage.begin("work", *ENGINE)
        stage.until("stopped", ev.ServerRestarted, 60)
        server.stop("immediate")
        time.sleep(AWAY)
        server.start()
        return {"code": ended(holder)[0], **told(stage, "stopped")}


def restarted() -> dict[str, Any]:
    """Restart the database five times, as by a crash and as by its administrator; a standby is beside the holder."""
    with on_a_server() as (stage, server):
        holder = stage.restart("restarted", stage.cloud.ids[:SERVERS])
        stage.begin("work", *ENGINE)
        for n in range(5):
            stage.until("restarted", ev.ServerRestarted, 50 * (n + 1))
            server.restart("immediate" if n % 2 else "fast")
        return {"code": ended(holder)[0], **told(stage, "restarted")}


def slow() -> dict[str, Any]:
    """Let a round trip take as long as to another continent, then let others keep the tables locked."""
    import psycopg  # noqa: PLC0415

    with on_a_server() as (stage, server), Bridge(place(server.url())) as bridge:
        holder = restart_over(bridge, stage, "slow")
        stage.until("slow", ev.BatchAccepted)
        bridge.delay(0.02)
        stage.until("slow", ev.ServerRestarted, 60)
        bridge.delay(0.0)
        for table in ("leases", "journal", "grants", "quota_groups"):
            with psycopg.connect(stage.url) as other:
                other.execute(f"LOCK TABLE ecsbatch.{table} IN ACCESS EXCLUSIVE MODE")
                time.sleep(7.0)
        return {"code": ended(holder)[0], **told(stage, "slow")}


def cut_off() -> dict[str, Any]:
    """Let nothing pass between a holder and its database for thirty seconds, while another process takes over."""
    with on_a_server() as (stage, server), Bridge(place(server.url())) as bridge:
        holder = restart_over(bridge, stage, "cut-off")
        stage.until("cut-off", ev.ServerRestarted, 60)
        began = time.monotonic()
        bridge.black_hole()
        taker = stage.resumed("cut-off")
        taken = stage.holders("cut-off")[1].ts
        time.sleep(max(0.0, began + CUT_OFF - time.monotonic()))
        bridge.heal()
        code, _, err = ended(holder)
        said = {"code": ended(taker)[0], "takers": 1, "holder": code, **told(stage, "cut-off")}
        said["said"] = err.strip().splitlines()[-1]
        said["late"] = sum(
            each.ts > taken and each.event.grant.split(".")[1] == "1"
            for each in stage.events("cut-off")
            if isinstance(each.event, ev.BatchSubmitting)
        )
        assert (code, said["late"]) == (8, 0), said
        return said


def restart_over(bridge: Bridge, stage: Scene, run_id: str) -> fork_server.Command:
    """Begin a rollout whose process reaches the database by way of a bridge."""
    there = Scene(stage.cloud, bridge.url(stage.url), stage.terminal)
    return there.restart(run_id, stage.cloud.ids[:SERVERS])


def promoted() -> dict[str, Any]:
    """Promote a standby that lacks the last commits, beside the process that has made them, and one that waits."""
    with on_a_pair() as (stage, pair):
        holder = stage.restart("promoted", stage.cloud.ids[:SERVERS])
        stage.begin("work", *ENGINE)
        lost = forget(stage, pair, "promoted")
        return {"code": ended(holder, 400.0)[0], "lost": lost, **told(stage, "promoted")}


def promoted_orphan() -> dict[str, Any]:
    """Promote one, and kill the process that has made the commits in the same instant; another goes on."""
    with on_a_pair() as (stage, pair):
        holder = stage.restart("orphan", stage.cloud.ids[:SERVERS])
        lost = forget(stage, pair, "orphan", holder)
        taker = stage.resumed("orphan")
        return {"code": ended(taker, 400.0)[0], "takers": 1, "lost": lost, **told(stage, "orphan")}


def forget(stage: Scene, pair: Pair, run_id: str, victim: fork_server.Command | None = None) -> int:
    """Promote the standby when it lacks a third of a run; return how many events the run has lost, of its record."""
    stage.until(run_id, ev.ServerRestarted, 60)
    pair.break_stream()
    stage.until(run_id, ev.ServerRestarted, 150)
    had = stage.events(run_id)[-1].seq
    if victim is not None:
        kill(victim)
    pair.stream.cut()
    pair.primary.stop("immediate")
    pair.address.cut()
    pair.promote()
    import psycopg  # noqa: PLC0415

    with psycopg.connect(pair.standby.url()) as standby:
        has = standby.execute("SELECT seq FROM ecsbatch.runs WHERE run_id = %s", (run_id,)).fetchone() or (0,)
    pair.address.leads_to = pair.standby.socket
    pair.address.heal()
    return had - int(has[0])


def told(stage: Scene, run_id: str) -> dict[str, Any]:
    """Return what the simulator's books, the record and our own audit tell of a run that has ended."""
    events = stage.events(run_id)
    audit = stage.terminal.type("audit", run_id, ECSBATCH_STORE=stage.url)
    counts = next((each.event.counts for each in reversed(events) if isinstance(each.event, ev.RunFinished)), {})
    return {
        **books(stage.cloud),
        "counts": {kind: n for kind, n in counts.items() if n},
        "seconds": round(events[-1].ts - events[0].ts, 1),
        "holders": len(stage.holders(run_id)),
        "audit": audit.returncode,
    }


WAYS: Final[dict[str, Callable[[], dict[str, Any]]]] = {
    "stopped": stopped,
    "restarted": restarted,
    "slow": slow,
    "cut-off": cut_off,
    "promoted": promoted,
    "promoted-orphan": promoted_orphan,
}


def is_right(said: dict[str, Any]) -> bool:
    """Tell whether a rollout ended complete, with each server restarted once and the quota held."""
    once = (said["restarted_servers"], said["restarted_more_than_once"]) == (SERVERS, 0)
    complete = sum(said["counts"].values()) == SERVERS and not {"failed", "unknown", "timed_out"} & set(said["counts"])
    once &= said["holders"] == said.get("takers", 0) + 1
    once &= said["throttled_requests"] == 0
    return once and complete and said["fullest_window"] <= QUOTA and (said["code"], said["audit"]) == (0, 0)


def main() -> int:
    """Play what the command line names, or all."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("ways", nargs="*", metavar="way", help=f"of {', '.join(WAYS)} [all]")
    right = True
    for name in parser.parse_args().ways or WAYS:
        said = WAYS[name]()
        right &= is_right(said)
        sys.stdout.write(f"{name:16} {'right' if is_right(said) else 'WRONG'}  {said}\n")
        sys.stdout.flush()
    return int(not right)


if __name__ == "__main__":
    sys.exit(main())
