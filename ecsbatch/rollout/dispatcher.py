"""A rollout's servers in the engine's hands: opens the queues, puts in who is next, and takes back."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice

from ecsbatch.engine.journal import JournalWriter
from ecsbatch.engine.pipeline import Pipeline
from ecsbatch.engine.server_queue import Batch, Check, RestartOptions, ServerQueue, adopted
from ecsbatch.errors import ConfigError
from ecsbatch.model import events as ev
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Halt
from ecsbatch.model.state import RolloutState
from ecsbatch.model.tally import Attempt, InFlightBatch, Stage
from ecsbatch.policy import decide as policy
from ecsbatch.policy.decide import Limits
from ecsbatch.policy.picker import Picker

_INTRODUCED = 8
"""Servers that the engine hears of beforehand, so that it has somebody to ask about where one cannot be shown."""

_RESENDS = 2
"""How often a server is sent again whose request was shown not to have begun (``on_unknown = "verify"``)."""


class Dispatcher:
    """One queue at each site of a fleet, and which servers are in them; their `QueueOwner` for the engine.

    ``queued`` servers are the engine's and have no intent yet: each takes a place of the budget as if it were down.

    Attributes:
        stray: the engine has servers in hand whose wave's turn it is not: an earlier wave was opened again meanwhile.
    """

    def __init__(
        self, plan: Plan, state: RolloutState, pipelines: Mapping[str, Pipeline], notice: Callable[[], None]
    ) -> None:
        """``notice`` is called when something has changed that the rollout may want to act on."""
        self._plan = plan
        self._state = state
        self._pipelines = pipelines
        self._notice = notice
        self._queues: dict[str, ServerQueue] = {}
        self._picker: Picker | None = None
        self._queued: set[str] = set()
        self._by_domain: Counter[str] = Counter()
        self.out_of_turn = False

    @property
    def queued(self) -> int:
        """Servers that the engine has and has not submitted."""
        return len(self._queued)

    @property
    def in_air(self) -> int:
        """Requests that are sent and not answered."""
        return sum(queue.in_air for queue in self._queues.values())

    @property
    def halt(self) -> Halt | None:
        """Why the engine cannot go on with one of the lines, if so."""
        return next((queue.halt for queue in self._queues.values() if queue.halt is not None), None)

    # -- opening and closing ---------------------------------------------------------------------------------------

    def open(self, journal: JournalWriter, check: Check | None, linger: float) -> None:
        """Open a line at each site of the fleet.

        Raises:
            ConfigError: the fleet names a site that the engine does not have.
        """
        for site in dict.fromkeys(self._plan.fleet.sites or ("",)):
            if site not in self._pipelines:
                known = ", ".join(sorted(self._pipelines)) or "none"
                raise ConfigError(f"The fleet names the site {site!r}, which the Restarter does not have: {known}.")
            queue = ServerQueue(
                site=site,
                options=self._options(check, linger),
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
            check_interval=plan.check_interval,
            min_ready=plan.min_ready,
            linger=linger,
        )

    def adopt_in_flight(self) -> list[ev.Event]:
        """Have the engine follow what an earlier process left under way.

        Returns:
            What is to be recorded of it: an intent without an answer is unknown.
        """
        found: list[ev.Event] = []
        for flight in list(self._state.flights.values()):
            pipeline = self._pipelines[flight.site]
            batch = self._batch(flight)
            if flight.job_id:
                # Its job speaks of the restart before for some that were found to be under way again.
                again = replace(batch, open=batch.open & flight.by_state, job_id="")
                batch.open -= flight.by_state
                for each, watch in ((again, pipeline.poller.watch_unknown), (batch, pipeline.poller.watch_job)):
                    if each.open:
                        watch(each)
                continue
            if flight.unknown_at is None:
                found.append(ev.BatchUnknown(batch=flight.batch, message="The process ended before the answer."))
            pipeline.poller.watch_unknown(batch)
        for place in self._state.held:
            self._watch_held(place)
        return found

    def _batch(self, in_flight: InFlightBatch) -> Batch:
        """Rebuild a batch that an earlier process sent, or that is to be given up."""
        visibility = self._pipelines[in_flight.site].visibility
        return adopted(in_flight, self._queues[in_flight.site], visibility.observed_time())

    def _watch_held(self, place: int) -> None:
        """Have an ended server watched that may still be down."""
        site = self._plan.fleet.site(place)
        self._pipelines[site].poller.watch_held(self._queues[site], self._plan.fleet.ids[place])

    def hurry_held(self) -> None:
        """Have every server that keeps its place after its outcome looked at now."""
        for site, queue in self._queues.items():
            self._pipelines[site].poller.hurry_held([queue])

    def held_seen(self, since: float) -> bool:
        """Tell whether each of them was looked at, and its health asked, since a loop time."""
        return all(self._pipelines[site].poller.held_seen([queue], since) for site, queue in self._queues.items())

    @property
    def unreachable(self) -> bool:
        """True while servers are under way at a site where nothing can be found out any more."""
        return any(self._queues[flight.site].halt is not None for flight in self._state.flights.values())

    def lost(self) -> list[ev.Event]:
        """Let go of the sites where nothing can be found out any more: servers under way there end, and no others."""
        halted = {site: queue.halt for site, queue in self._queues.items() if queue.halt is not None}
        for site in halted:
            self._pipelines[site].drop(self._queues[site])
        batches = [self._batch(flight) for flight in self._state.flights.values() if flight.site in halted]
        return [
            batch.queue.server_event(
                ev.ServerUnknown, server, batch, reason=halted[batch.queue.site].reason, holds=True
            )
            for batch in batches
            for server in sorted(batch.open)
        ]

    def drop(self) -> None:
        """Let everything go: the run ends in this process."""
        for site, queue in self._queues.items():
            self._pipelines[site].drop(queue)

    # -- feeding ---------------------------------------------------------------------------------------------------

    def dispatch(self, wave: Wave, room: int, limits: Limits) -> int:
        """Offer up to ``room`` servers of a wave; return how many there were."""
        if self._picker is None or self._picker.wave is not wave:
            self._picker = Picker(self._plan.fleet, wave, self._may_go)
        per_domain = None if limits.max_unavailable_per_domain is None else partial(self._domain_room, limits)
        places = self._picker.pick(room, per_domain)
        fleet = self._plan.fleet
        by_site: dict[str, list[str]] = {}
        for place in places:
            self._offer(fleet.ids[place])
            by_site.setdefault(fleet.site(place), []).append(fleet.ids[place])
        for site, queue in self._queues.items():
            queue.wave = wave.number
            queue.open = queue.halt is None
            queue.more = not self._picker.exhausted
            if servers := by_site.get(site):
                queue.put(servers)
        return len(places)

    @property
    def closed(self) -> bool:
        """True where nothing may be sent now."""
        return not all(queue.open for queue in self._queues.values())

    def over_budget(self, limits: Limits) -> bool:
        """Tell whether the engine has more in hand than the budget has places: a limit was tightened meanwhile."""
        if not self._queued:
            return False
        if self._state.down + len(self._queued) > limits.max_unavailable:
            return True
        if limits.max_unavailable_per_domain is None:
            return False
        return any(n and policy.domain_room(self._state, limits, d, n) < 0 for d, n in self._by_domain.items())

    def _may_go(self, place: int) -> bool:
        return self._state.stage[place] == Stage.WAITING and self._plan.fleet.ids[place] not in self._queued

    def _domain_room(self, limits: Limits, domain: str) -> int:
        return policy.domain_room(self._state, limits, domain, self._by_domain[domain])

    def recall(self) -> None:
        """Close the lines and take back every server that has no intent."""
        self.out_of_turn = False
        for queue in self._queues.values():
            queue.open = False
            self._put_back(queue.recall())

    def _put_back(self, servers: Iterable[str]) -> None:
        back = list(servers)
        if not back:
            return
        for server in back:
            self._gone(server)
        if self._picker is not None:
            wave = self._picker.wave
            self._picker.put_back(s for s in back if wave.start <= self._plan.fleet.find(s) < wave.end)
        self._notice()

    # -- following what happens ------------------------------------------------------------------------------------

    def on_event(self, event: ev.Event) -> Sequence[str]:
        """Follow an event that is about to be folded: who has an intent or an end is no longer merely offered.

        Returns:
            The servers that it puts back in line, for `after`.
        """
        match event:
            case ev.ServerEvent():
                self._gone(event.server)
            case ev.BatchSubmitting() | ev.BatchStarted():
                for server in event.servers:
                    self._gone(server)
            case ev.BatchRejected() if event.batch in self._state.flights:
                return tuple(self._state.flights[event.batch].open)
            case ev.BatchUnstarted():
                return event.servers
            case ev.RunResumed():
                self._picker = None  # servers that are to be tried again stand where it has been already
            case _:
                pass
        return ()

    def after(self, event: ev.Event, back: Sequence[str]) -> None:
        """Follow an event that was folded: offer who waits again, and have watched who keeps a place."""
        if not self._queues:
            return
        if back:
            self._offer_again(back)
        if isinstance(event, ev.RunResumed) and event.skip_domains:
            for server in [s for s in self._queued if not self._waits(s)]:
                self._gone(server)
        for server in (*back, event.server) if isinstance(event, ev.ServerEvent) else back:
            if (place := self._plan.fleet.find(server)) in self._state.held:
                self._watch_held(place)

    def _offer_again(self, servers: Iterable[str]) -> None:
        wave = self._plan.waves[self._state.wave_over]
        begun = self._state.wave >= wave.number
        for queue in self._queues.values():
            queue.wave = wave.number
        for server in servers:
            if self._waits(server):
                self._offer(server)
                self.out_of_turn |= not (begun and wave.start <= self._plan.fleet.find(server) < wave.end)

    def _waits(self, server: str) -> bool:
        return self._state.stage[self._plan.fleet.find(server)] == Stage.WAITING

    def _offer(self, server: str) -> None:
        if server not in self._queued:
            self._queued.add(server)
            self._by_domain[self._domain(server)] += 1

    def _gone(self, server: str) -> None:
        if server in self._queued:
            self._queued.discard(server)
            self._by_domain[self._domain(server)] -= 1

    def _domain(self, server: str) -> str:
        return self._plan.fleet.domain(self._plan.fleet.find(server))

    # -- what the engine asks about its servers --------------------------------------------------------------------

    def locate(self, server: str) -> tuple[int, str]:
        """Return a server's wave, 0 where it is in none, and its domain."""
        place = self._plan.fleet.find(server)
        wave = self._plan.wave_of(place)
        return wave.number if wave else 0, self._plan.fleet.domain(place)

    def woken(self, queue: ServerQueue) -> None:
        """Tell the engine and the rollout that a line has changed."""
        self._pipelines[queue.site].wake()
        self._notice()

    async def admit(self, _queue: ServerQueue, servers: Sequence[str]) -> Sequence[str]:
        """Let all in: the run has claimed them at its start."""
        return servers

    def wanted(self, _queue: ServerQueue, server: str) -> bool:
        """Tell whether a server is the engine's to send: offered, and neither left out nor taken back since."""
        return server in self._queued

    def returned(self, servers: Iterable[str]) -> None:
        """Take recalled servers back, to be offered anew."""
        self._put_back(servers)

    def earlier(self, server: str) -> Attempt | None:
        """Return the last request that named a waiting server and of which a look may yet show a restart."""
        return self._state.earlier.get(server)

    def unstarted(self, server: str) -> int:
        """Return how often a server's request was shown not to have begun, since its last outcome."""
        return self._state.unstarted.get(server, 0)

    def still_down(self, server: str) -> bool:
        """Tell whether a server keeps its place in the budget after its outcome."""
        return self._plan.fleet.find(server) in self._state.held
