"""A run in its second wave, for whoever draws it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import SkipReason
from ecsbatch.model.plan import Plan, Skip, Wave
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.policy.progress import Progress, progress

HOSTILE = "\x1b[2J[red]az\u202e2[/red]\r"


def plan(servers: int = 40, domains: Sequence[str] = ("az1", "az2")) -> Plan:
    ids = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(servers)]
    fleet = Fleet(ids, [domains[i % len(domains)] for i in range(servers)])
    return Plan(
        fleet=fleet,
        waves=(Wave(1, 0, 4, "10%"), Wave(2, 4, servers - 2, "100%")),
        skips=(Skip(SkipReason.NOT_ACTIVE.value, servers - 2, servers),),
        max_unavailable=10,
        max_failures=3,
    )


def history(of: Plan, *more: ev.Event) -> RolloutState:
    """A run in its second wave: 4 restarted, 1 failed, 5 on their way, 2 skipped."""
    state = RolloutState("k7f3q2", of)
    ids = of.fleet.ids
    told: list[ev.Event] = [
        ev.RunStarted(total=len(ids)),
        *(ev.ServerSkipped(server=each, reason="not_active") for each in ids[-2:]),
        ev.WaveStarted(wave=1, servers=4),
        ev.BatchSubmitting(batch=1, servers=ids[:4], updated=[""] * 4, wave=1),
        ev.BatchAccepted(batch=1, job_id="job-1"),
        *(ev.ServerRestarted(server=each, batch=1, evidence="job", job_id="job-1") for each in ids[:4]),
        ev.WaveFinished(wave=1, restarted=4),
        ev.WaveStarted(wave=2, servers=34),
        ev.BatchSubmitting(batch=2, servers=ids[4:10], updated=[""] * 6, wave=2),
        ev.BatchAccepted(batch=2, job_id="=cmd()"),
        ev.ServerFailed(
            server=ids[4], batch=2, domain=of.fleet.domain(4), code="Ecs.0227", message=HOSTILE, host="h1", holds=True
        ),
        *more,
    ]
    for seq, event in enumerate(told, 1):
        state.apply(Recorded(seq, 1_000.0 + seq, state.run_id, event))
    return state


def shown(state: RolloutState, now: float | None = None) -> Progress:
    """What is drawn of a run that has lasted for 75 seconds, at its last event where no other time is given."""
    usage = Usage(limit=1000, held=6, cooling=4, free=990, next_free_in=12.0)
    told = progress(state, state.updated_at if now is None else now, quota=Quota(), usage=usage)
    return replace(told, elapsed=75.0)
