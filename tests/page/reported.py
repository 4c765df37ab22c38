"""A report of a run that is made up, written by the real code."""

from __future__ import annotations

import random
from collections.abc import Iterator
from uuid import UUID

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.views.page.details import Details
from ecsbatch.views.page.html_report import report_html
from ecsbatch.views.page.reported_run import ReportedRun
from ecsbatch.views.page.timeline import RunTimeline

BATCH = 100


def report(servers: int, every: int, name: str = "web") -> bytes:
    """Return the report of a run that has ended; each so-manieth server has failed."""
    plan = _plan(servers, name)
    state = RolloutState("tonight", plan)
    told = ReportedRun(state, Details(state), RunTimeline(state), at=1_800_003_000.0, version="0")
    for seq, event in enumerate(_events(plan, every), 1):
        recorded = Recorded(seq, 1_800_000_000.0 + 2_000 * seq / servers, state.run_id, event)
        state.apply(recorded)
        told.details.apply(recorded)
        told.timeline.apply(recorded)
    return b"".join(report_html(told))


def _plan(servers: int, name: str) -> Plan:
    chance = random.Random(4711)
    ids = [str(UUID(int=chance.getrandbits(128))) for _ in range(servers)]
    zones = [f"az{1 + i % 3}" for i in range(servers)]
    fleet = Fleet(ids, zones, [f"{name}-{i:05}" for i in range(servers)])
    first = max(1, servers // 10)
    waves = (Wave(1, 0, first, "10%"), Wave(2, first, servers, "100%"))
    return Plan(fleet=fleet, waves=waves, max_unavailable=servers, max_failures=servers)


def _events(plan: Plan, every: int) -> Iterator[ev.Event]:
    ids = plan.fleet.ids
    yield ev.RunStarted(total=len(ids))
    number = 0
    for wave in plan.waves:
        yield ev.WaveStarted(wave=wave.number, servers=wave.end - wave.start)
        for start in range(wave.start, wave.end, BATCH):
            number += 1
            servers = ids[start : min(start + BATCH, wave.end)]
            yield ev.BatchSubmitting(batch=number, servers=servers, updated=[""] * len(servers), wave=wave.number)
            yield ev.BatchAccepted(batch=number, job_id=f"job-{number}")
            for i, server in enumerate(servers, start):
                yield (
                    _end(plan, i, server, number)
                    if i % every == 0
                    else ev.ServerRestarted(server=server, batch=number, evidence="job")
                )
        yield ev.WaveFinished(wave=wave.number)
    yield ev.RunFinished(status="failed")


def _end(plan: Plan, i: int, server: str, batch: int) -> ev.Event:
    message = f"Failed to reboot the ECS {i // 2000}."
    return ev.ServerFailed(
        server=server, batch=batch, domain=plan.fleet.domain(i), code="Ecs.0227", message=message, host=f"h{i % 40}"
    )
