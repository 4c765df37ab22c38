"""`Dispatcher`: opens a rollout's queues, puts in the servers that are next, and takes servers back.

Read `Dispatcher.dispatch` first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Context
from dataclasses import replace
from functools import partial
from itertools import islice

from ecsbatch.engine.journal import JournalWriter
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.server_queue import Batch, Check, RestartOptions, ServerQueue, adopted
from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Halt
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Attempt, InFlightBatch, Stage
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.picker import Picker
from ecsbatch.rollout.hooks import is_program

_INTRODUCED = 8
"""Servers that a site's observer knows from the begin, so that a probe can ask about another than the one in doubt."""

_DISPATCHED_AT_ONCE = 1000
"""Servers that one call of `Dispatcher.dispatch` puts into the queues, so that the loop is not held by it."""

_RESENDS = 2
"""How often a server is sent again whose request was shown not to have begun, where ``on_unknown`` is ``verify``."""


class Dispatcher:
    """A queue at each site of a fleet, and which servers are in them; it is their `QueueOwner`.

    Queued servers are the engine's and have no intent yet: each takes a slot of the budget as if it were down.

    Attributes:
        out_of_turn: servers are queued whose wave's turn it is not, for an earlier wave was opened again.
    """

    def __init__(
        self, plan: Plan, state: RolloutState, pipelines: Mapping[str, Pipeline], notice: Callable[[], None]
    ) -> None:
        """Begin without queues; ``notice`` is called when something has changed that the rollout may want to act on."""
        self._plan = plan
        self._state = state
        self._pipelines = pipelines
        self._notice = notice
        self._queues: dict[str, ServerQueue] = {}
        self._picker: Picker | None = None
        self._queued: dict[str, str] = {}  # with their domains: a fleet is asked for a server's place once
        self._by_domain: Counter[str] = Counter()
        self.out_of_turn = False

    @property
    def queued(self) -> int:
        """How many servers the engine has that have no intent yet."""
        return len(self._queued)

    @property
    def in_air(self) -> int:
        """How many requests were given to the store or sent, and are not answered."""
        return sum(queue.in_air for queue in self._queues.values())

    @property
    def halt(self) -> Halt | None:
        """Why the engine cannot go on with one of the queues; None: it can with all."""
        return next((queue.halt for queue in self._queues.values() if queue.halt is not None), None)

    # -- opening and closing ---------------------------------------------------------------------------------------

    def open(self, journal: JournalWriter, check: Check | None, linger: float, context: Context | None = None) -> None:
        """Open a queue at each site of the fleet.

        Args:
            journal: writes what happens to the servers.
            check: asks a restarted server whether it is healthy; None: nobody does.
            linger: seconds that a batch which is not full waits for more servers.
            context: the context variables that the check sees; None: the engine's own.

        Raises:
            ConfigError: the fleet names a site that the engine does not have.
        """
        for site in dict.fromkeys(self._plan.fleet.sites or ("",)):
            if site not in self._pipelines:
                known = ", ".join(sorted(self._pipelines)) or "none"
                raise ConfigError(f"The fleet names the site {site!r}, which the Restarter does not have: {known}.")
            queue = ServerQueue(
                site=site,
                options=replace(self._options(check, linger), context=context),
                journal=journal,
                owner=self,
                wave=max(1, self._state.wave),
            )
            self._queues[site] = queue
            self._pipelines[site].add(queue)
            here = (id_ for i, id_ in enumerate(self._plan.fleet.ids) if self._plan.fleet.site(i) == site)
            self._pipelines[site].observer.meet(islice(here, _INTRODUCED))

    def _options(self, check: Check | None, linger: float) -> RestartOptions:
        plan = self._plan
        return RestartOptions(
            type=plan.type,
            batch_size=plan.batch_size,
            precheck=plan.precheck,
            skip_updated_since=plan.skip_updated_since,
            server_timeout=plan.server_timeout,
            resend=_RESENDS if plan.on_unknown == "verify" else 0,
            check=check,
            check_is_program=is_program(plan.check),
            check_interval=plan.check_interval,
            min_ready=plan.min_ready,
            linger=linger,
        )

    def adopt_in_flight(self) -> list[ev.Event]:
        """Have the engine watch what an earlier process left under way, and the servers that may still be down.

        Returns:
            The events to be written of it: an intent without an answer is unknown.
        """
        unknown: list[ev.Event] = []
        for in_flight in list(self._state.flights.values()):
            pipeline = self._pipelines[in_flight.site]
            batch = self._batch(in_flight)
            if in_flight.job_id:
                # Its job speaks of the restart before for some that were found to be under way again.
                again = replace(batch, open=batch.open & in_flight.by_state, job_id="")
                batch.open -= in_flight.by_state
                for each, watch in ((again, pipeline.poller.watch_unknown), (batch, pipeline.poller.watch_job)):
                    if each.open:
                        watch(each)
                continue
            if in_flight.unknown_at is None:
                unknown.append(ev.BatchUnknown(batch=in_flight.batch, message="The process ended before the answer."))
            pipeline.poller.watch_unknown(batch, pipeline.bucket.in_air_for(batch.grant))
        for index in self._state.held:
            self._watch_held(index)
        return unknown

    def _batch(self, in_flight: InFlightBatch) -> Batch:
        """Rebuild a batch that an earlier process sent, or that is to be given up, for the engine."""
        visibility = self._pipelines[in_flight.site].visibility
        return adopted(in_flight, self._queues[in_flight.site], visibility.observed_time())

    def _watch_held(self, index: int) -> None:
        """Have a server watched that has its outcome and may still be down."""
        site = self._plan.fleet.site(index)
        self._pipelines[site].poller.watch_held(self._queues[site], self._plan.fleet.ids[index])

    def hurry_held(self) -> None:
        """Have every server looked at now that keeps its slot in the budget after its outcome."""
        for site, queue in self._queues.items():
            self._pipelines[site].poller.hurry_held([queue])

    def held_seen(self, since: float) -> bool:
        """Tell whether each of them was looked at, and checked where there is a check, since a loop time."""
        return all(self._pipelines[site].poller.held_seen([queue], since) for site, queue in self._queues.items())

    @property
    def unreachable(self) -> bool:
        """True while servers are under way at a site where nothing can be found out any more."""
        return any(self._queues[in_flight.site].halt is not None for in_flight in self._state.flights.values())

    def drop_halted(self) -> None:
        """Drop the queues of sites where nothing can be found out any more: nothing more is reported of them."""
        for site, queue in self._queues.items():
            if queue.halt is not None:
                self._pipelines[site].drop(queue)

    def lost(self) -> list[ev.Event]:
        """Drop the queues of sites where nothing can be found out any more; return the ends of servers there."""
        halted = {site: queue.halt for site, queue in self._queues.items() if queue.halt is not None}
        batches = [self._batch(in_flight) for in_flight in self._state.flights.values() if in_flight.site in halted]
        return [
            batch.queue.server_event(
                ev.ServerUnknown, server, batch, reason=halted[batch.queue.site].reason, holds=True
            )
            for batch in batches
            for server in sorted(batch.open)
        ]

    def drop(self) -> None:
        """Drop all queues: the run ends in this process."""
        for site, queue in self._queues.items():
            self._pipelines[site].drop(queue)

    # -- dispatching -----------------------------------------------------------------------------------------------

    def dispatch(self, wave: Wave, room: int, limits: Limits) -> int:
        """Put up to ``room`` waiting servers of a wave into their queues; return how many there were."""
        if self._picker is None or self._picker.wave is not wave:
            self._picker = Picker(self._plan.fleet, wave, self._is_available)
        per_domain = None if limits.max_unavailable_per_domain is None else partial(self._domain_room, limits)
        indexes = self._picker.pick(min(room, _DISPATCHED_AT_ONCE), per_domain)
        fleet = self._plan.fleet
        by_site: dict[str, list[str]] = {}
        for index in indexes:
            self._add_queued(fleet.ids[index], fleet.domain(index))
            by_site.setdefault(fleet.site(index), []).append(fleet.ids[index])
        for site, queue in self._queues.items():
            queue.wave = wave.number
            queue.open = queue.halt is None
            queue.more = not self._picker.exhausted
            if servers := by_site.get(site):
                queue.put(servers)
        return len(indexes)

    @property
    def closed(self) -> bool:
        """True where nothing may be sent now."""
        return not all(queue.open for queue in self._queues.values())

    def over_budget(self, limits: Limits) -> bool:
        """Tell whether more servers are queued than the budget has slots for, since a limit was lowered."""
        if not self._queued:
            return False
        if self._state.down + len(self._queued) > limits.max_unavailable:
            return True
        if limits.max_unavailable_per_domain is None:
            return False
        return any(n and policy.domain_room(self._state, limits, d, n) < 0 for d, n in self._by_domain.items())

    def _is_available(self, index: int) -> bool:
        return self._state.stage[index] == Stage.WAITING and self._plan.fleet.ids[index] not in self._queued

    def _domain_room(self, limits: Limits, domain: str) -> int:
        return policy.domain_room(self._state, limits, domain, self._by_domain[domain])

    def recall(self) -> None:
        """Close the queues and take back every server without an intent."""
        self.out_of_turn = False
        for queue in self._queues.values():
            queue.open = False
            self._put_back(queue.recall())

    def _put_back(self, servers: Iterable[str]) -> None:
        back = list(servers)
        if not back:
            return
        for server in back:
            self._remove_queued(server)
        if self._picker is not None:
            wave = self._picker.wave
            self._picker.put_back(s for s in back if wave.start <= self._plan.fleet.find(s) < wave.end)
        self._notice()

    # -- following what happens ------------------------------------------------------------------------------------

    def take_out(self, servers: Iterable[str]) -> None:
        """Take servers out that are given an intent or an outcome; called before that is folded."""
        for server in servers:
            self._remove_queued(server)

    def on_event(self, event: ev.Event) -> Sequence[str]:
        """Take servers out that an event gives an intent or an outcome; called before it is folded.

        Returns:
            The servers that wait again by it, for `after`.
        """
        match event:
            case ev.ServerEvent():
                self._remove_queued(event.server)
            case ev.BatchSubmitting() | ev.BatchStarted():
                self.take_out(event.servers)
            case ev.BatchRejected() if event.batch in self._state.flights:
                return tuple(self._state.flights[event.batch].open)
            case ev.BatchUnstarted():
                return event.servers
            case ev.RunResumed():
                self._picker = None  # servers that are to be tried again may stand where it has passed
            case _:
                pass
        return ()

    def after(self, event: ev.Event, back: Sequence[str]) -> None:
        """Count who waits again as queued, and have watched who keeps a slot; called after an event is folded.

        ``back`` are the servers that `on_event` has returned for it.
        """
        if not self._queues:
            return
        if back:
            self._requeued(back)
        if isinstance(event, ev.RunResumed) and event.skip_domains:
            for server in [s for s in self._queued if not self._waits(s)]:
                self._remove_queued(server)
        if not self._state.held:
            return
        for server in (*back, event.server) if isinstance(event, ev.ServerEvent) else back:
            if (index := self._plan.fleet.find(server)) in self._state.held:
                self._watch_held(index)

    def _requeued(self, servers: Iterable[str]) -> None:
        """Count servers as queued that the engine has put back into their queues, of whichever wave they are."""
        wave = self._plan.waves[self._state.wave_over]
        begun = self._state.wave >= wave.number
        for queue in self._queues.values():
            queue.wave = wave.number
        fleet = self._plan.fleet
        for server in servers:
            index = fleet.find(server)
            if self._state.stage[index] == Stage.WAITING:
                self._add_queued(server, fleet.domain(index))
                self.out_of_turn |= not (begun and wave.start <= index < wave.end)

    def _waits(self, server: str) -> bool:
        return self._state.stage[self._plan.fleet.find(server)] == Stage.WAITING

    def _add_queued(self, server: str, domain: str) -> None:
        if server not in self._queued:
            self._queued[server] = domain
            self._by_domain[domain] += 1

    def _remove_queued(self, server: str) -> None:
        domain = self._queued.pop(server, None)
        if domain is not None:
            self._by_domain[domain] -= 1

    # -- what the engine asks about its servers --------------------------------------------------------------------

    def locate(self, server: str) -> tuple[int, str]:
        """Return a server's wave, 0 where it is in none, and its domain."""
        return self._state.locate(server)

    def woken(self, queue: ServerQueue) -> None:
        """Wake the engine and the rollout for a queue that has changed."""
        self._pipelines[queue.site].wake()
        self._notice()

    async def admit(self, _queue: ServerQueue, servers: Sequence[str]) -> Sequence[str]:
        """Return all: the run has claimed its servers at its start."""
        return servers

    def wanted(self, _queue: ServerQueue, server: str) -> bool:
        """Tell whether a server is queued: put in, and neither left out nor taken back since."""
        return server in self._queued

    def returned(self, servers: Iterable[str]) -> None:
        """Take recalled servers back, to be queued anew."""
        self._put_back(servers)

    def earlier(self, server: str) -> Attempt | None:
        """Return the last request that named a waiting server and of which a look may yet show a restart."""
        return self._state.earlier.get(server)

    def unstarted(self, server: str) -> int:
        """Return how many requests that named a server were shown not to have begun, since its last outcome."""
        return self._state.unstarted.get(server, 0)

    def maybe_sent_since(self, server: str) -> float | None:
        """Return from when on a waiting server may have been sent by a request that was forgotten; None: it was not.

        What it had done until it was to be tried again is known, and what is asked after a failover is not forgotten.
        """
        state = self._state
        if state.failed_over_at is None:
            return None
        since = state.retried_at.get(self._plan.fleet.find(server), state.started_at)
        return since if since is not None and since < state.failed_over_at else None

    def kept(self, server: str) -> Outcome | None:
        """Return how a server had failed that is to be tried again, None where it is none of these."""
        return self._state.kept_outcome(self._plan.fleet.find(server))

    def still_down(self, server: str) -> bool:
        """Tell whether a server keeps its slot in the budget after its outcome."""
        return self._plan.fleet.find(server) in self._state.held
