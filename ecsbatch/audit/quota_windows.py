"""How full a window of the quota can have been, by a run's record alone.

The cloud counts a request at an instant that nobody sees, between the intent and the answer (or, without an answer,
until the grace after it was given up). So every request is an interval, and an adversary may choose the instant in
each: a window of length W that begins at t can hold every request whose interval meets [t, t+W), all at once. In a
correct run this worst case is within the limit: take the request of the set that was granted last; the others' ends
are less than W before it, so all of them still held their tokens then. Hence the judgement is exact: it accuses no run
that kept its tokens until a window after the answer, and every run that gives them back at the send.

Stamps are wall time. A clock set forward only lengthens the gaps, which accuses nobody. A clock set back shortens one;
where it shows, and where the ledger's clock (``granted``) shows it, the time that it hid is put back in.
"""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Final

from ecsbatch.audit.receipt import FullestWindow
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota

SEND_WITHIN: Final = 5.0
"""Seconds after its intent in which a request must leave."""

_A_DAY: Final = 86_400.0
_ROUNDING: Final = 0.01


@dataclass(frozen=True, slots=True)
class HolderSettings:
    """What a holder ran with; durations in seconds."""

    quota: Quota = field(default_factory=Quota)
    unknown_grace: float = 60.0
    request_timeout: float = 30.0


class Timeline:
    """Seconds that never go back, from the stamps of one run's record.

    Attributes:
        now: of the latest event.
        set_backs: how often the clock was set back.
    """

    def __init__(self) -> None:
        self.now = -math.inf
        self.set_backs = 0
        self._stamp = -math.inf
        self._added = 0.0
        self._anchor: tuple[float, float] | None = None
        self._boot: str = ""

    def follow(self, recorded: ev.Recorded) -> float:
        """Return when an event was stored."""
        if isinstance(recorded.event, ev.HolderChanged) and recorded.event.boot != self._boot:
            self._boot, self._anchor = recorded.event.boot, None  # the ledger's clock begins anew
        at = recorded.ts + self._added
        if recorded.ts < self._stamp:
            self.set_backs += 1
            if self._anchor is None:
                self._added += self.now - at + _A_DAY  # nothing tells how long it was: long enough to prove nothing
                at = self.now + _A_DAY
        self._stamp = recorded.ts
        if isinstance(recorded.event, ev.BatchSubmitting):
            at = self._by_ledger(at, recorded.event.granted)
        elif isinstance(recorded.event, ev.HolderChanged):
            at = self._by_ledger(at, recorded.event.ledger_time)
        self.now = max(self.now, at)
        return self.now

    def _by_ledger(self, at: float, granted: float) -> float:
        """Correct a time by the ledger's clock: as much has gone by as the clock that says more."""
        if not granted:
            return at
        if self._anchor is not None and granted >= self._anchor[0]:
            since = granted - self._anchor[0]
            least = self._anchor[1] + since
            if least < self.now and at < self.now:
                # A clock that was set ahead and back hides how much has gone by: no more than since the anchor.
                least = self.now + since
                self._anchor = (granted, least)
            if at < least - _ROUNDING:
                self._added += least - at
                return least
            if at <= least + _ROUNDING:
                return at
        self._anchor = (granted, max(self.now, at))
        return at


@dataclass(slots=True)
class SentRequest:
    """One request: what is known of the instant at which the cloud counted it.

    Attributes:
        servers: that it named.
        sent: the earliest instant.
        until: the latest.
        ts: of the intent, seconds since 1970.
        granted: when its tokens were, by the ledger's clock; 0 where the record does not say.
        boot: in which the ledger's clock can be compared, "" where the record does not say.
        ahead: seconds by which the times here are ahead of the ledger's clock at its grant.
        late: seconds by which it left later than it may, 0 where it did not.
        answer: the event's name, "" while there is none.
    """

    site: str
    settings: HolderSettings
    servers: tuple[str, ...]
    sent: float
    ts: float
    until: float
    granted: float = 0.0
    boot: str = ""
    ahead: float = 0.0
    late: float = 0.0
    answer: str = ""
    answered: float = math.nan
    counted: int = 0


class SentRequests:
    """A run's requests by batch number, fed with its events."""

    def __init__(self, settings: HolderSettings) -> None:
        self.terms = settings
        self.by_batch: dict[int, SentRequest] = {}
        self._boot = ""
        self._ahead: dict[str, list[tuple[float, float]]] = {}

    def holder(self, event: ev.HolderChanged, at: float) -> None:
        """Note by which boot's clock the ledger goes from now on."""
        self._boot = event.boot
        self._note_clock(event.ledger_time, at)

    def _note_clock(self, ledger: float, at: float) -> None:
        if self._boot and ledger:
            self._ahead.setdefault(self._boot, []).append((ledger, at - ledger))

    def submitting(self, event: ev.BatchSubmitting, at: float, ts: float) -> None:
        """Note an intent; without an answer ever it was given up in the time that a killed process would have had."""
        until = at + SEND_WITHIN + self.terms.request_timeout + self.terms.unknown_grace
        # Older versions wrote the endpoint into it; a project is of one region.
        site = event.group.rpartition("/")[2] or event.site
        servers = tuple(event.servers)
        self._note_clock(event.granted, at)
        boot = self._boot if event.granted else ""
        ahead = at - event.granted
        self.by_batch[event.batch] = SentRequest(
            site, self.terms, servers, at, ts, until, event.granted, boot, ahead, counted=len(servers)
        )

    def answer(self, event: ev.BatchAccepted | ev.BatchRejected | ev.BatchUnknown, at: float) -> SentRequest | None:
        """Note an answer that was recorded ``at``; None where there was nothing to answer."""
        request = self.by_batch.get(event.batch)
        if request is None or request.answer:
            return None
        request.answer, request.answered = event.name, at
        if event.answered and request.granted:
            at = min(at, request.ahead + event.answered)
        if isinstance(event, ev.BatchUnknown) and not event.status:
            request.until = min(request.until, at + request.settings.unknown_grace)
        else:
            request.until = at
        if event.sent and request.granted:
            self._left(request, event.sent - request.granted)
        if isinstance(event, ev.BatchRejected) and event.kind == "not_sent":
            request.counted = 0
        return request

    def placed(self, request: SentRequest) -> SentRequest | None:
        """Return another run's request with its times as they are here, None where nothing tells how to compare them.

        What the two runs have in common is the ledger's clock: each has wall stamps of its own.
        """
        known = self._ahead.get(request.boot, ())
        if not known:
            return None
        nearest = max(bisect_right(known, (request.granted, math.inf)) - 1, 0)
        shift = known[nearest][1] - request.ahead
        sent, until = request.sent + shift, request.until + shift
        return replace(request, sent=sent, until=max(sent, until))

    def _left(self, request: SentRequest, age: float) -> None:
        """Note when a request's first byte left, so many seconds after its grant.

        A process may have stood still behind that, and heard the answer late: the cloud has counted by then.
        """
        request.late = max(0.0, age - SEND_WITHIN)
        request.sent += age
        latest = request.sent + request.settings.request_timeout + request.settings.unknown_grace
        request.until = min(request.until, latest)


def fullest_windows(requests: Iterable[SentRequest]) -> Iterator[FullestWindow]:
    """Compute the fullest window of each site; requests that went out under different quotas are judged apart."""
    groups: defaultdict[tuple[str, int, float], list[SentRequest]] = defaultdict(list)
    for request in requests:
        if request.counted:
            quota = request.settings.quota
            groups[request.site, quota.limit, quota.window].append(request)
    for (site, limit, window), group in sorted(groups.items()):
        servers, at = _worst_case(group, window)
        yield FullestWindow(servers, _certain(group, window), Quota(limit, window), site, at)


def _worst_case(requests: Iterable[SentRequest], window: float) -> tuple[int, float]:
    """Sum the requests that one window [t, t+W) can have held: those with sent - W < t <= until."""
    steps: list[tuple[float, int, int, float]] = []
    for request in requests:
        # Among equals ends go first: a window that begins at one's `until` may begin at another's `sent - W` never.
        steps.append((request.sent - window, 1, request.counted, request.ts))
        steps.append((max(request.until, request.sent), 0, -request.counted, 0.0))
    total = most = 0
    at = 0.0
    for _, _, change, ts in sorted(steps):
        total += change
        if total > most:
            most, at = total, ts
    return most, at


def _certain(requests: Iterable[SentRequest], window: float) -> int:
    """Sum the requests whose whole intervals lie in one window."""
    inside: list[tuple[float, int]] = []
    total = most = 0
    for request in sorted(requests, key=lambda request: max(request.until, request.sent)):
        end = max(request.until, request.sent)
        if end - request.sent >= window:
            continue
        heapq.heappush(inside, (request.sent, request.counted))
        total += request.counted
        while inside[0][0] <= end - window:
            total -= heapq.heappop(inside)[1]
        most = max(most, total)
    return most
