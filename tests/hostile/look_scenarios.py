"""What cannot be looked at, or is shown wrongly: every run ends, every outcome and every message is true."""

from __future__ import annotations

import json
import os
import re

from .stage import FLEET_FLAGS, Stage, stand_still, until
from .verdict import Verdict


def ownskip(stage: Stage, verdict: Verdict) -> None:
    """A canary's request was taken for not begun and shows itself in the next look; its kernel is bad."""
    # Given up at 2.0 s, the grace over at 5.0 s; nothing is shown until 5.6 s, so that the first look behind that
    # settles it, and the second one is the precheck of those that are sent again: in it they restart.
    cloud = stage.cloud(servers=40, posts=["belated"], belated_after=5.6, blank_looks=[4.2, 5.6], restart=1.0)
    machine = stage.machine(cloud)
    limits = ("--yes", "--waves", "10,100%", "--max-unavailable", "100%", "--server-timeout", "10s")
    checked = ("--check", "cmd:false", "--check-interval", "0.5s", "--min-ready", "0s")
    verdict.code("restart", machine.restart("r", cloud.ids, *checked, limits=limits).end(), 4)
    verdict.books(cloud, 200, 5.0, count=10)
    verdict.run(machine, "r", cloud, "stopped")


def poisonjob(stage: Stage, verdict: Verdict) -> None:
    """One job of ten can never be looked at."""
    cloud = stage.cloud(servers=100)
    cloud.set(dead_jobs_of=[cloud.ids[42]])
    machine = stage.machine(cloud)
    begun = machine.restart("r", cloud.ids, "--batch-size", "10", "--server-timeout", "10s").end()
    verdict.code("restart", begun, 0)
    verdict.expect("Nothing could be seen" not in begun.text, "it says that nothing could be seen; all else was")
    if begun.code not in {0, 3, 6}:
        verdict.code("resume", machine.type("resume", "r", "--yes"), 0)
    verdict.books(cloud, 200, 5.0, count=100)
    verdict.run(machine, "r", cloud, "succeeded")


def poisonlook(stage: Stage, verdict: Verdict) -> None:
    """Looks that name one server fail, all others succeed."""
    # More than a look can name: the plan is made from the listing.
    cloud = stage.cloud(servers=120)
    poison = cloud.ids[110]
    cloud.set(dead_looks_of=[poison])
    machine = stage.machine(cloud)
    begun = machine.restart("r", cloud.ids, "--server-timeout", "10s").end()
    verdict.code("restart", begun, 0, 6)
    verdict.expect("Nothing could be seen" not in begun.text, "it says that nothing could be seen; all else was")
    if begun.code not in {0, 3, 6}:
        verdict.code("resume", machine.type("resume", "r", "--yes"), 0, 6)
    books = verdict.books(cloud, 200, 5.0)
    good = sum(id_ in books.begun for id_ in cloud.ids if id_ != poison)
    verdict.expect(good == 119, f"{good} of 119 good servers were restarted")
    verdict.run(machine, "r", cloud)


def holes(stage: Stage, verdict: Verdict) -> None:
    """Looks leave servers out; one that names such a server alone shows it."""
    cloud = stage.cloud(servers=80)
    cloud.set(holes=cloud.ids[10:18])
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", cloud.ids).end(), 0)
    verdict.books(cloud, 200, 5.0, count=80)
    verdict.run(machine, "r", cloud, "succeeded")


def gone(stage: Stage, verdict: Verdict) -> None:
    """Looks leave servers out, even one that names such a server alone; only its own address shows it."""
    _left_out(stage, verdict, no_show=False)


def hidden(stage: Stage, verdict: Verdict) -> None:
    """Looks leave servers out, and nothing else shows them: that tells nothing of them either."""
    _left_out(stage, verdict, no_show=True)


def _left_out(stage: Stage, verdict: Verdict, *, no_show: bool) -> None:
    cloud = stage.cloud(servers=80, no_show=no_show)
    cloud.set(holes=cloud.ids[10:18], holes_alone=True)
    machine = stage.machine(cloud)
    begun = machine.restart("r", cloud.ids).end()
    verdict.code("restart", begun, 1, 7)
    verdict.note(f"it says {begun.last_words[:160]!r}")
    verdict.expect(cloud.ids[10] in begun.text, "it names none of the servers that were left out")
    verdict.expect("not_found" not in begun.text, "it says not_found of servers that exist")
    verdict.books(cloud, 200, 5.0, count=0)


def nofilter(stage: Stage, verdict: Verdict) -> None:
    """The listing does not heed its filter by id: other servers are shown than were asked for."""
    cloud = stage.cloud(servers=300, no_filter=True)
    machine = stage.machine(cloud)
    begun = machine.restart("r", cloud.ids[-80:]).end()
    verdict.code("restart", begun, 1, 7)
    verdict.note(f"it says {begun.last_words[:160]!r}")
    verdict.expect("not_found" not in begun.text, "it says not_found of servers that exist")
    verdict.books(cloud, 200, 5.0, count=0)


def stuck(stage: Stage, verdict: Verdict) -> None:
    """Three sub-jobs stay RUNNING; their servers have long been back."""
    cloud = stage.cloud(servers=20)
    cloud.set(endless_jobs_of=cloud.ids[:3])
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", cloud.ids, "--server-timeout", "10s").end(), 0)
    verdict.books(cloud, 200, 5.0, count=20)
    verdict.run(machine, "r", cloud, "succeeded")


def denied(stage: Stage, verdict: Verdict) -> None:
    """Two servers are forbidden by their own policy (403 Ecs.0003); they alone fail, and are named."""
    cloud = stage.cloud(servers=40)
    cloud.set(forbidden=[cloud.ids[7], cloud.ids[29]])
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", cloud.ids, "--batch-size", "20", limits=FLEET_FLAGS).end(), 3)
    verdict.books(cloud, 200, 5.0, count=38)
    report = verdict.run(machine, "r", cloud, "failed")
    failed = {s["id"]: s["reason"] for s in report["servers"] if s["outcome"] == "failed"}
    wanted = {cloud.ids[7]: "denied", cloud.ids[29]: "denied"}
    verdict.expect(failed == wanted, f"failed are {failed}")


def capitals(stage: Stage, verdict: Verdict) -> None:
    """A fleet file has its UUIDs in capital letters; the cloud knows small ones only."""
    cloud = stage.cloud(servers=40)
    machine = stage.machine(cloud)
    verdict.code("restart", machine.restart("r", [id_.upper() for id_ in cloud.ids]).end(), 0)
    verdict.books(cloud, 200, 5.0, count=40)
    verdict.run(machine, "r", cloud, "succeeded")


def orphan(stage: Stage, verdict: Verdict) -> None:
    """A run whose process was killed a while ago: its status does not say that it has lasted for a moment."""
    cloud = stage.cloud(servers=20, frozen=True)
    machine = stage.machine(cloud)
    process = machine.restart("r", cloud.ids)
    cloud.until("all are under way", lambda books: len(books.begun) == 20)
    process.kill()
    stand_still(4.0)
    status = machine.type("status", "r")
    verdict.note(f"it says {status.out.strip().splitlines()[0]!r}")
    moment = re.search(r"\b[0-3](\.\d+)?s so far", status.out)
    verdict.expect(moment is None, f"status says {moment and moment[0]!r} after more than 4 s")


def clockjump(stage: Stage, verdict: Verdict) -> None:
    """The wall clock is set forward by ten minutes while the run goes on: it has not lasted ten minutes."""
    cloud = stage.cloud(servers=20)
    machine = stage.machine(cloud)
    process = machine.restart("r", cloud.ids, "-o", "json", freeze="wall")
    ended = process.end()
    verdict.code("restart", ended, 0)
    elapsed = json.loads(ended.out)["elapsed_s"]
    verdict.note(f"elapsed_s {elapsed}")
    verdict.expect(0.3 <= elapsed <= 60.0, f"elapsed_s is {elapsed}, the restarts alone took 0.5 s")
    verdict.books(cloud, 200, 5.0, count=20)
    verdict.run(machine, "r", cloud, "succeeded")


def fifo(stage: Stage, verdict: Verdict) -> None:
    """The events go to a pipe that nobody reads: no wait without a word."""
    cloud = stage.cloud(servers=10)
    machine = stage.machine(cloud)
    os.mkfifo(machine.folder / "events.fifo")
    process = machine.restart("r", cloud.ids, "--events", "events.fifo")
    until("it ends, or says what it waits for", lambda: not process.running or "events.fifo" in process.err)
    ended = process.end()
    verdict.note(f"it says {ended.last_words[:140]!r}")
    verdict.code("restart", ended, 0, 1, 2)


SCENARIOS = (
    ownskip,
    poisonjob,
    poisonlook,
    holes,
    gone,
    hidden,
    nofilter,
    stuck,
    denied,
    capitals,
    orphan,
    clockjump,
    fifo,
)
