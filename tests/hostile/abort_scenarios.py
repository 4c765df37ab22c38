"""A person's last word: an abort outlives its holder, and says what is so."""

from __future__ import annotations

import signal
from collections.abc import Callable

from .stage import Ended, Hostile, Machine, Process, Stage, until
from .verdict import Verdict

FLEET = 60
AT_ONCE = 20


def _under_way(stage: Stage) -> tuple[Hostile, Machine, Process]:
    """Begin a run of 60 servers and let 20 be under way, which do not come back for now."""
    cloud = stage.cloud(servers=FLEET, frozen=True)
    machine = stage.machine(cloud)
    process = _begin(machine, cloud)
    cloud.until("twenty are under way", lambda books: len(books.begun) == AT_ONCE)
    # Their answer is heard and stored: what is tried is not the request in the air.
    cloud.until("a job is looked at", lambda books: any("/jobs/" in entry["path"] for entry in books.requests))
    return cloud, machine, process


def _begin(machine: Machine, cloud: Hostile) -> Process:
    limits = ("--yes", "--waves", "100%", "--max-unavailable", str(AT_ONCE), "--server-timeout", "60s")
    return machine.restart("r", cloud.ids, limits=limits)


def _aborted_for_good(
    verdict: Verdict, cloud: Hostile, machine: Machine, *, first: str = "resume", told: Ended
) -> None:
    """Go on in both ways that there are: neither may restart anything."""
    claims = told.code == 0 or "aborted" in told.out
    verdict.note(f"it said {' '.join(told.out.split())[:120]!r}")
    ways: dict[str, Callable[[], Ended]] = {
        "resume": lambda: machine.type("resume", "r", "--yes"),
        "the same run id": lambda: _begin(machine, cloud).end(),
    }
    for name in sorted(ways, key=lambda name: name != first):
        ended = ways[name]()
        # The first drains and ends it; the second may refuse a run that is over, or print its result.
        verdict.code(name, ended, *((4,) if name == first else (4, 7)))
    verdict.books(cloud, 200, 5.0, count=AT_ONCE)
    report = verdict.run(machine, "r", cloud, "aborted")
    aborted = report["run"]["status"] == "aborted"
    verdict.expect(aborted or not claims, "the abort was acknowledged, and the run is not aborted")


def _told(verdict: Verdict, machine: Machine, told: Ended, *codes: int) -> None:
    """Judge what abort has said at the instant when it ended: 0 that it is recorded, 4 that it is only asked."""
    verdict.code("abort", told, *codes)
    recorded = machine.recorded('"run.aborting"') or machine.recorded('"status":"aborted"')
    verdict.expect(told.code != 0 or recorded, "abort ended with 0, and nothing of it was recorded then")


def abortkill(stage: Stage, verdict: Verdict) -> None:
    """An abort is acknowledged, then the holder is killed; resume, and the same run id again."""
    cloud, machine, process = _under_way(stage)
    told = machine.type("abort", "r", "--yes")
    _told(verdict, machine, told, 0, 4)
    process.kill()
    cloud.set(frozen=False)
    _aborted_for_good(verdict, cloud, machine, told=told)


def abortterm(stage: Stage, verdict: Verdict) -> None:
    """An abort is acknowledged, then the holder is told to end; the same run id, and resume."""
    cloud, machine, process = _under_way(stage)
    told = machine.type("abort", "r", "--yes")
    _told(verdict, machine, told, 0, 4)
    process.send(signal.SIGTERM)
    verdict.code("the holder", process.end(), 4, 143)
    cloud.set(frozen=False)
    _aborted_for_good(verdict, cloud, machine, first="the same run id", told=told)


def abortstop(stage: Stage, verdict: Verdict) -> None:
    """The holder stands still when it is asked to abort, and is killed; resume, and the same run id again."""
    cloud, machine, process = _under_way(stage)
    process.send(signal.SIGSTOP)
    told = machine.type("abort", "r", "--yes")
    _told(verdict, machine, told, 4)
    verdict.expect("not confirmed" in told.text, "abort did not say that it is not confirmed: nobody had heard it")
    process.kill()
    cloud.set(frozen=False)
    _aborted_for_good(verdict, cloud, machine, told=told)


def abortlast(stage: Stage, verdict: Verdict) -> None:
    """An abort is asked in the half second before the holder dies (x27); the same run id, and resume."""
    cloud, machine, process = _under_way(stage)
    # It stands still from just before the word to its death: the half second in which it does not look.
    process.send(signal.SIGSTOP)
    abort = machine.begin("abort", "r", "--yes")
    until("the word is in the store", lambda: machine.commands() == 1)
    process.kill()
    cloud.set(frozen=False)
    told = abort.end()
    # It may see that the holder is gone and end the run itself; else it must not say that it is done.
    _told(verdict, machine, told, 0, 4)
    _aborted_for_good(verdict, cloud, machine, first="the same run id", told=told)


def abortblind(stage: Stage, verdict: Verdict) -> None:
    """The holder was killed and the cloud says 503 to all: abort ends, and says what is so."""
    cloud, machine, process = _under_way(stage)
    process.kill()
    cloud.set(down=True)
    told = machine.type("abort", "r", "--yes")
    verdict.code("abort", told, 0, 4)
    report = verdict.run(machine, "r", cloud, "aborted")
    aborted = report["run"]["status"] == "aborted"
    verdict.expect(told.code != 0 or aborted, "abort ended with 0, and the run is not aborted")
    cloud.set(down=False, frozen=False)
    verdict.code("resume", machine.type("resume", "r", "--yes"), 4, 7)
    verdict.books(cloud, 200, 5.0, count=AT_ONCE)


SCENARIOS = (abortkill, abortterm, abortstop, abortlast, abortblind)
