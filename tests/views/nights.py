"""Records of made-up runs, for whoever folds them: with requests of all ends, retries, and long and short pauses."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.servers import Fleet
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Stage

SERVERS = 40
PAUSES = (0.0, 0.01, 0.4, 1.0, 7.3, 61.0, 900.0)
REJECTIONS = ("not_sent", "throttled", "not_accepted", "refused")


def night_plan(servers: int = SERVERS) -> Plan:
    ids = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(servers)]
    fleet = Fleet(ids, [f"az{i % 3}" for i in range(servers)], [f"web-{i}" for i in range(servers)])
    waves = (Wave(1, 0, servers // 4, "25%"), Wave(2, servers // 4, servers, "100%"))
    return Plan(fleet=fleet, waves=waves, max_unavailable=12, max_failures=servers, check="tcp:22")


class MadeUpNight:
    """A run, event by event.

    Attributes:
        state: folded from what was made so far.
        chance: decides what happens next.
    """

    def __init__(self, seed: int, servers: int = SERVERS) -> None:
        self.chance = Random(seed)
        self.state = RolloutState("night", night_plan(servers))
        self._ts = 1_000_000.4
        self._batch = 0

    def events(self, count: int) -> Iterator[Recorded]:
        """Yield events; the state has each already."""
        yield self._told(ev.RunStarted(total=SERVERS))
        yield self._told(ev.HolderChanged(holder="ann@desk", fence=1, limit=20, window=60.0, unknown_grace=30.0))
        yield self._told(ev.WaveStarted(wave=1, servers=SERVERS // 4, label="25%"))
        for _ in range(count):
            self._ts += self.chance.choices(PAUSES, (40, 30, 20, 10, 5, 2, 1))[0]
            event = self.chance.choice((self._submit, self._submit, self._answer, self._end, self._end, self._rest))()
            if event is not None:
                yield self._told(event)

    def _told(self, event: ev.Event) -> Recorded:
        recorded = Recorded(self.state.seq + 1, self._ts, "night", event)
        self.state.apply(recorded)
        return recorded

    def _submit(self) -> ev.Event | None:
        ids = self.state.plan.fleet.ids
        waiting = [ids[i] for i, stage in enumerate(self.state.stage) if stage == Stage.WAITING]
        if not waiting:
            return None
        self._batch += 1
        servers = self.chance.sample(waiting, min(len(waiting), self.chance.randint(1, 4)))
        group = self.chance.choice(("east", "west"))
        return ev.BatchSubmitting(self._batch, servers, 1, "SOFT", updated=[""] * len(servers), group=group)

    def _answer(self) -> ev.Event | None:
        open_ = [each for each in self.state.flights.values() if not each.job_id and each.unknown_at is None]
        if not open_:
            return None
        batch = self.chance.choice(open_).batch
        return self.chance.choice(
            (
                ev.BatchAccepted(batch, f"job-{batch}"),
                ev.BatchAccepted(batch, f"job-{batch}"),
                ev.BatchRejected(batch, self.chance.choice(REJECTIONS), "no", 503),
                ev.BatchUnknown(batch, "no answer", self.chance.choice((0, 500))),
            )
        )

    def _end(self) -> ev.Event | None:
        flights = [each for each in self.state.flights.values() if each.job_id or each.unknown_at is not None]
        if not flights:
            return None
        flight = self.chance.choice(flights)
        if self.chance.random() < 0.2:
            return ev.JobFinished(flight.batch, flight.job_id, "SUCCESS")
        server, kinds = self.chance.choice(sorted(flight.open)), [ev.ServerFailed, ev.ServerTimedOut, ev.ServerUnknown]
        domain = self.state.plan.fleet.domain(self.state.plan.fleet.find(server))
        if self.chance.random() < 0.7:
            return ev.ServerRestarted(server, 1, domain, flight.batch)
        said = {"code": "Ecs.0227", "message": f"host {self.chance.randint(1, 3)} is down", "host": "h1"}
        holds = self.chance.random() < 0.5
        return self.chance.choice(kinds)(server, 1, domain, flight.batch, "unhealthy", holds=holds, **said)

    def _rest(self) -> ev.Event | None:
        held = sorted(self.state.held)
        choices: list[ev.Event] = [
            ev.LimitChanged("max_unavailable", 12, self.chance.randint(5, 15)),
            ev.RunResumed(by="ann", retry=["failed", "timed_out"], keeps_outcomes=self.chance.random() < 0.5),
            ev.WaveFinished(wave=1),
            ev.WaveStarted(wave=2, servers=SERVERS),
        ]
        if held:
            choices.append(ev.ServerReleased(self.state.plan.fleet.ids[self.chance.choice(held)], "up"))
        return self.chance.choice(choices)
