"""The simulated cloud: what becomes of a request, what an operator can do, and how servers really are.

The cloud does no I/O and starts no task. It is given the time, and at each call does first what was due since the last
one. A request is an `Exchange`, which both transports (`sender`, `server`) carry in the same way:

    exchange = cloud.receive(method, target, headers, body)
    if exchange.refused: the connection is refused, nothing was sent
    exchange.sent()                     # the bytes have left, from now on nothing stops them
    sleep(exchange.inbound)
    reply = exchange.execute()          # the counting instant lies here, between arrival and answer
    sleep(exchange.outbound)
    exchange.fate says whether the reply comes, breaks off, is cut by a reset, or never comes
    exchange.abandoned()                # whenever the client hangs up without an answer

A client that dies between `sent` and `execute` stops nothing: the cloud carries the request out at its instant.
"""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from ecsbatch.simulator.auditor import Auditor
from ecsbatch.simulator.config import CloudConfig, Faults
from ecsbatch.simulator.faults import NOT_CARRIED_OUT, Fate, FaultInjector
from ecsbatch.simulator.fleet import Ending, ServerTruth, SimulatedFleet, server_ids
from ecsbatch.simulator.gateway import ReceivedRequest
from ecsbatch.simulator.replies import Rejected, Reply, ecs_error, gateway_error, http_date, throttled
from ecsbatch.simulator.service import Service

__all__ = ["CloudConfig", "Exchange", "Fate", "Faults", "Reply", "ServerTruth", "SimulatedCloud"]

LATE: Final = "late_execution"


class Exchange:
    """One request and what becomes of it.

    Attributes:
        refused: the connection is refused; nothing else may be called.
        inbound: seconds of the cloud's time until the request is carried out.
        outbound: seconds from then until the reply arrives.
        fate: what becomes of the reply.
        fault: the fault that was drawn, "" for none.
        performed: True once it was carried out, or met the fault that prevents it.
    """

    __slots__ = (
        "_cloud",
        "_lateness",
        "_reply",
        "_sent",
        "fate",
        "fault",
        "inbound",
        "outbound",
        "performed",
        "received",
        "refused",
    )

    def __init__(self, cloud: SimulatedCloud, received: ReceivedRequest, fault: str, injector: FaultInjector) -> None:
        self.received = received
        self.fault = fault
        self.fate: Fate = injector.fate(fault)
        self.refused = fault == "outage"
        self.inbound, self.outbound = cloud.latency()
        self.inbound += injector.extra_latency(fault)
        self._lateness = injector.lateness() if fault == LATE else 0.0
        self._cloud = cloud
        self._sent = False
        self.performed = False
        self._reply: Reply | None = None

    def sent(self) -> None:
        """Note that the bytes have left: the cloud carries the request out at its instant even if the client dies."""
        if not self._sent and not self.refused:
            self._sent = True
            self._cloud.schedule(self, self.inbound + self._lateness_of_a_silent_client())

    def execute(self) -> Reply | None:
        """Return the reply, None if none will come; carry the request out now if its instant has not passed."""
        self.sent()
        self._cloud.advance()
        if self.fault != LATE:
            self.perform(self._cloud.now())
        return self._reply if self.fate in {"answer", "truncated"} else None

    def abandoned(self) -> None:
        """Note that the client has hung up or given up; a late execution comes some time after this instant."""
        if self._sent and not self.performed and self.fault == LATE:
            self._cloud.schedule(self, self._lateness)

    def _lateness_of_a_silent_client(self) -> float:
        """Return the seconds until a late execution whose client vanishes without hanging up."""
        if self.fault != LATE:
            return 0.0
        return self._lateness + (self._cloud.config.client_patience if self.fate == "silence" else 0.0)

    def perform(self, at: float) -> None:
        """Carry the request out at the instant `at`, once; called by the cloud."""
        if not self.performed:
            self.performed = True
            self._reply = self._cloud.perform(self.received, self.fault, at)


class SimulatedCloud:
    """The simulated cloud, as an operator and a judge have it: `World.cloud` is one.

        world.cloud.doom(world.ids[3], "error")  # its next restart leaves it in ERROR
        world.cloud.lock(world.ids[4])
        assert world.cloud.restarts(world.ids[0]) == 0

    Args:
        config: what it is like.
        now: returns the seconds of the cloud's time, which never go back. A test in which the cloud outlives an event
            loop sets the attribute ``now`` to the next loop's time.
        wall: the wall clock, seconds since 1970, that signatures are checked against; the cloud's own wall time
            starts at it and then runs with ``now``. None: the configuration's ``epoch`` plus ``now``.

    Attributes:
        config, now: as given.
        clock_skew: seconds by which its wall clock is ahead; may be changed while it runs.
        auditor, fleet: its own books and servers; `audit` and `truth` say what is in them.
    """

    def __init__(self, config: CloudConfig, now: Callable[[], float], wall: Callable[[], float] | None = None) -> None:
        self.config = config
        self.now = now
        self.clock_skew = config.clock_skew
        self._base = config.epoch if wall is None else wall() - now()
        self._outages = list(config.outages)
        self._chance = random.Random(f"network-{config.seed}")
        self._submit_faults = FaultInjector(config.submit_faults, self._chance)
        self._look_faults = FaultInjector(config.look_faults, self._chance)
        self._due: list[tuple[float, int, Exchange]] = []
        self._numbering = itertools.count()
        self.auditor = Auditor(config)
        self.fleet = SimulatedFleet(config)
        self._service = Service(
            config,
            self.fleet,
            self.auditor,
            start=now(),
            stamp=self.stamp,
            signing_wall=self.wall if wall is None else lambda: wall() + self.clock_skew,
            part=self._submit_faults.part,
        )

    def __repr__(self) -> str:
        jobs, restarts = len(self._service.jobs), self.auditor.restarts
        return f"<Cloud [Servers: {len(self.fleet)} | Jobs: {jobs} | Restarts: {restarts}]>"

    # -- time --------------------------------------------------------------------------------------------------

    def stamp(self, at: float) -> float:
        """Return the cloud's wall time (seconds since 1970) at an instant of `now`."""
        return self._base + at + self.clock_skew

    def wall(self) -> float:
        """Return the cloud's wall time: in ``Date`` headers, jobs and servers."""
        return self.stamp(self.now())

    def schedule(self, exchange: Exchange, delay: float) -> None:
        """Let an exchange be carried out `delay` seconds from now; called by `Exchange`."""
        heapq.heappush(self._due, (self.now() + delay, next(self._numbering), exchange))

    def advance(self) -> None:
        """Carry out what is due, in order and at the instants at which it was due."""
        now = self.now()
        while self._due and self._due[0][0] <= now:
            due, _, exchange = heapq.heappop(self._due)
            exchange.perform(due)

    # -- one request -------------------------------------------------------------------------------------------

    def receive(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
        """Take a request that a client is about to send and draw what becomes of it; `target` is path and query."""
        self.advance()
        self.auditor.requests += 1
        path, _, query = target.partition("?")
        lowered = {name.lower(): value for name, value in headers.items()}
        received = ReceivedRequest(method, path, query, lowered, body)
        injector = self._injector(received)
        fault = self._fault(received, injector)
        if fault:
            self.auditor.faults[fault] += 1
        return Exchange(self, received, fault, injector)

    def perform(self, received: ReceivedRequest, fault: str, at: float) -> Reply | None:
        """Carry a request out at the instant `at`, as its fault says; called by `Exchange`."""
        if fault in NOT_CARRIED_OUT:
            return None
        request_id = f"{self._chance.getrandbits(128):032x}"
        reply = self._perform(received, fault, at, request_id)
        self.auditor.statuses[str(reply.status)] += 1
        headers = {"Date": http_date(self.stamp(at)), "X-Request-Id": request_id, "Server": "api-gateway"}
        return dataclasses.replace(reply, headers={**reply.headers, **headers})

    def _perform(self, received: ReceivedRequest, fault: str, at: float, request_id: str) -> Reply:
        injector = self._injector(received)
        before = self._stopped_at_the_gate(received, fault, request_id)
        if before is not None:
            return before
        if fault == "html_502" and injector.half():
            return injector.spoil(fault, Reply(502))
        try:
            reply = self._service.answer(received, fault, at, request_id)
        except Rejected as rejected:
            return rejected.reply
        return injector.spoil(fault, reply)

    def _stopped_at_the_gate(self, received: ReceivedRequest, fault: str, request_id: str) -> Reply | None:
        match fault:
            case "reject_503":
                return gateway_error(503, "APIGW.0201", "Backend unavailable.", request_id)
            case "throttle" if received.is_action:
                return self._service.over_quota(request_id)
            case "throttle":
                return throttled(self.config.api_rate or 200, "1 second", "api", request_id)
            case "ecs_0603_501":
                return ecs_error(501, "Ecs.0603", "Commands are being executed. Try again 1 minute later.")
            case _:
                return None

    def _injector(self, received: ReceivedRequest) -> FaultInjector:
        return self._submit_faults if received.is_action else self._look_faults

    def _fault(self, received: ReceivedRequest, injector: FaultInjector) -> str:
        now = self.now()
        if any(start <= now < end for start, end in self._outages):
            return "outage"
        if any(start <= now < end for start, end in self.config.blackholes):
            return "blackhole"
        return injector.draw() if received.path.startswith("/v1/") else ""

    def latency(self) -> tuple[float, float]:
        """Draw the seconds from sending to the counting instant, and from there to the reply."""
        sigma = self.config.latency_sigma
        whole = self.config.latency * math.exp(self._chance.gauss(0.0, sigma) - sigma * sigma / 2)
        there = whole * self._chance.uniform(0.05, 0.95)
        return there, whole - there

    # -- the operator's side: for tests and demonstrations -----------------------------------------------------

    def set_status(self, server_id: str, status: str) -> None:
        """Give a server a status such as ``SHUTOFF``, which ends an action under way."""
        self.advance()
        self.fleet.set_status(self._number(server_id), status, self.now())

    def lock(self, server_id: str, *, locked: bool = True) -> None:
        """Lock or unlock a server."""
        self.advance()
        number = self._number(server_id)
        self.fleet.locked[number] = locked
        self.fleet.touch(number, self.now())

    def delete(self, server_id: str) -> None:
        """Delete a server."""
        self.advance()
        self.fleet.delete(self._number(server_id), self.now())

    def rename(self, server_id: str, name: str) -> None:
        """Rename a server."""
        self.fleet.names[self._number(server_id)] = name
        self.fleet.touch(self._number(server_id), self.now())

    def set_tags(self, server_id: str, tags: Iterable[str]) -> None:
        """Replace a server's tags, each ``key=value``."""
        self.fleet.tags[self._number(server_id)] = tuple(tags)
        self.fleet.touch(self._number(server_id), self.now())

    def place(self, server_id: str, host: str) -> None:
        """Say which ``hostId`` a server has, by any name."""
        self.fleet.placed[self._number(server_id)] = host

    def doom(self, server_id: str, ending: Ending) -> None:
        """Decide how the next action on a server ends, whatever the rates say.

        ``error``: the restart fails and leaves it in ERROR; ``fail``: it fails and leaves it ACTIVE; ``stuck``: it
        never ends; ``unhealthy``: it succeeds and the guest never comes up; ``ok``: all goes well.
        """
        self._service.actions.rates.doomed[self._number(server_id)] = ending

    def heal(self, server_id: str) -> None:
        """Make a server ACTIVE and healthy, as an operator would."""
        self.advance()
        number = self._number(server_id)
        self.fleet.heal(number, self.now())
        self.auditor.recovered(number, self.now())

    def hurt(self, server_id: str) -> None:
        """Let a server's guest stop answering its health check."""
        self.advance()
        self.fleet.hurt(self._number(server_id), self.now())

    def zone_down(self, zone: str) -> None:
        """Let a zone fail: its guests stop answering, and every restart in it fails from now on."""
        self.advance()
        self._service.actions.rates.fail_zones[zone] = 1.0
        for number in self.fleet.select(zone, None, self.now()):
            self.fleet.hurt(number, self.now())

    def zone_mended(self, zone: str) -> None:
        """Mend a zone: its guests answer, and restarts in it end as anywhere else."""
        rates = self._service.actions.rates
        for by_zone in (rates.fail_zones, rates.stuck_zones, rates.unhealthy_zones):
            by_zone.pop(zone, None)
        for server_id in self.ids(zone):
            if not self.healthy(server_id):
                self.heal(server_id)

    def set_rates(self, **rates: float | Mapping[str, float]) -> None:
        """Change ``fail_rate``, ``stuck_rate``, ``fail_zones`` and the like of `CloudConfig` while the cloud runs.

        Raises:
            ValueError: there is no rate of that name.
        """
        current = self._service.actions.rates
        for name, rate in rates.items():
            if name == "doomed" or name not in current.__slots__:
                raise ValueError(f"There is no rate named {name}.")
            setattr(current, name, dict(rate) if isinstance(rate, Mapping) else float(rate))

    def begin_outage(self, seconds: float) -> None:
        """Refuse all connections for some seconds of the cloud's time."""
        self.advance()
        self._outages.append((self.now(), self.now() + seconds))

    # -- the truth ---------------------------------------------------------------------------------------------

    def ids(self, zone: str | None = None, status: str | None = None) -> list[str]:
        """Return the ids of the existing servers, of one zone or status or all."""
        self.advance()
        return [self.fleet.ids[number] for number in self.fleet.select(zone, status, self.now())]

    def missing_ids(self, count: int) -> list[str]:
        """Return so many ids that no server has, always the same."""
        return [one for one in server_ids(-1 - self.config.seed, count) if one not in self.fleet.numbers]

    def truth(self, server_id: str) -> ServerTruth:
        """Return how a server really is, also a deleted one."""
        self.advance()
        return self.fleet.truth(self._number(server_id), self.now())

    def healthy(self, server_id: str) -> bool:
        """Return True where a server's guest answers its health check."""
        return self.truth(server_id).healthy

    def restarts(self, server_id: str) -> int:
        """Return how many restarts of a server have begun."""
        return self.truth(server_id).restarts

    def audit(self) -> dict[str, Any]:
        """Return the auditor's summary of all that has happened until now, as JSON values."""
        self.advance()
        if self._service.quota is not None:
            self.auditor.foreign = self._service.quota.foreign
        summary = self.auditor.summary(self.fleet.ids, self.fleet.restart_count, self.fleet.zone)
        return {
            **summary,
            "pending_requests": sum(not exchange.performed for _, _, exchange in self._due),
            "now": self.now(),
        }

    def _number(self, server_id: str) -> int:
        number = self.fleet.numbers.get(server_id)
        if number is None:
            raise KeyError(f"There is no server {server_id} in this cloud.")
        return number
