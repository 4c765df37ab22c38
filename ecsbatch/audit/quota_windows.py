"""How full a window of the quota can have been, by a run's record alone.

The cloud counts a request at an instant that nobody sees, between the intent and the answer (or, without an answer,
until the grace after it was given up). So every request is an interval, and an adversary may choose the instant in
each: a window of length W that begins at t can hold every request whose interval meets [t, t+W), all at once. In a
correct run this worst case is within the limit: take the request of the set that was granted last; the others' ends
are less than W before it, so the tokens of all of them still counted then. Hence the judgement is exact: it accuses no
run that keeps its tokens until a window after the answer, and every run that frees them when it sends.

Stamps are wall time. A clock that is set forward only lengthens gaps, which accuses nobody. A clock that is set back
shortens one; where that shows in the stamps, or by the ledger's clock (``granted``), the missing time is put back in.

Which clock that is says whoever takes the run (``boot`` of ``holder.changed``); readings under one name are readings of
one clock. On one machine it is that of its boot; where machines share a database it is the database's, which they all
name alike. It is asked inside a transaction (``granted``), or estimated, rather too late than too early (``sent``,
``answered``), which accuses nobody: a later send only shortens the interval, and an answer is never taken to be behind
the transaction that stored it, from whose instant on, by the same clock, its tokens count for a window.
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
from ecsbatch.model.recorded import Recorded

SEND_WITHIN: Final = 5.0
"""Seconds after its intent within which a request must leave."""

_A_DAY: Final = 86_400.0
_ROUNDING: Final = 0.01


@dataclass(frozen=True, slots=True)
class HolderSettings:
    """The settings that a holder ran with; durations in seconds."""

    quota: Quota = field(default_factory=Quota)
    unknown_grace: float = 60.0
    request_timeout: float = 30.0


class Timeline:
    """Seconds that never go back, from the stamps of one run's record.

    Attributes:
        now: the time of the latest event.
        set_backs: how often the clock was set back.
    """

    def __init__(self) -> None:
        self.now = -math.inf
        self.set_backs = 0
        self._stamp = -math.inf
        self._added = 0.0
        self._anchor: tuple[float, float] | None = None
        self._boot: str = ""

    def follow(self, recorded: Recorded) -> float:
        """Take the next event; return when it was stored, in seconds that never go back."""
        if isinstance(recorded.event, ev.HolderChanged) and recorded.event.boot != self._boot:
            self._boot, self._anchor = recorded.event.boot, None  # the ledger's clock begins anew
        at = recorded.ts + self._added
        if recorded.ts < self._stamp:
            self.set_backs += 1
            if self._anchor is None:
                self._added += self.now - at + _A_DAY  # not known by how much: so much that it proves nothing
                at = self.now + _A_DAY
        self._stamp = recorded.ts
        if isinstance(recorded.event, ev.BatchSubmitting):
            at = self._by_ledger(at, recorded.event.granted)
        elif isinstance(recorded.event, ev.HolderChanged):
            at = self._by_ledger(at, recorded.event.ledger_time)
        self.now = max(self.now, at)
        return self.now

    def _by_ledger(self, at: float, granted: float) -> float:
        """Return a time corrected by the ledger's clock: of the two clocks the one that has moved further is right."""
        if not granted:
            return at
        granted = float(granted)  # where somebody has edited it, whatever it was
        if self._anchor is not None and granted >= self._anchor[0]:
            since = granted - self._anchor[0]
            least = self._anchor[1] + since
            if least < self.now and at < self.now:
                # A clock set ahead and back hides how much time has passed: at most as much as since the anchor.
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
    """One request, and what is known of the instant at which the cloud counted it.

    Attributes:
        site: the site whose quota it used.
        settings: those of the holder that sent it.
        servers: the servers that it named.
        sent: the earliest instant, in the seconds of `Timeline`.
        ts: when the intent was stored, seconds since 1970.
        until: the latest instant, in the seconds of `Timeline`.
        granted: when its tokens were granted, in seconds on the ledger's clock; 0 where the record does not say.
        boot: the boot of that clock, "" where the record does not say.
        ahead: seconds by which `Timeline` was ahead of the ledger's clock at the grant.
        late: seconds by which it left later than it may, 0 where it did not.
        answer: name of the event with the answer, "" while there is none.
        answered: when it had its answer, or had been given up, in the seconds of `Timeline`.
        counted: how many servers the cloud may have counted for it.
        dated: whether the answer too is known by the ledger's clock.
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
    dated: bool = False


class SentRequests:
    """A run's requests by batch number, collected from its events."""

    def __init__(self, settings: HolderSettings) -> None:
        self.terms = settings
        self.by_batch: dict[int, SentRequest] = {}
        self._boot = ""
        self._taken_at = -math.inf
        self._ahead: dict[str, list[tuple[float, float]]] = {}

    def holder(self, event: ev.HolderChanged, at: float) -> None:
        """Note which boot's clock is the ledger's from now on, and when the run was taken."""
        self._taken_at = at
        self._boot = event.boot
        self._note_clock(event.ledger_time, at)

    def _note_clock(self, ledger: float, at: float) -> None:
        if self._boot and ledger:
            self._ahead.setdefault(self._boot, []).append((ledger, at - ledger))

    def submitting(self, event: ev.BatchSubmitting, at: float, ts: float) -> None:
        """Note an intent; where no answer ever came, the cloud counted it within the longest time that it may take."""
        until = at + SEND_WITHIN + self.terms.request_timeout + self.terms.unknown_grace
        # Older versions wrote the endpoint before the project, which is of one region anyway.
        site = event.group.rpartition("/")[2] or event.site
        servers = tuple(event.servers)
        self._note_clock(event.granted, at)
        boot = self._boot if event.granted else ""
        ahead = at - event.granted
        self.by_batch[event.batch] = SentRequest(
            site, self.terms, servers, at, ts, until, event.granted, boot, ahead, counted=len(servers)
        )

    def answer(self, event: ev.BatchAccepted | ev.BatchRejected | ev.BatchUnknown, at: float) -> SentRequest | None:
        """Note an answer that was stored ``at``; return its request, None where no request waited for one."""
        request = self.by_batch.get(event.batch)
        if request is None or request.answer:
            return None
        request.answer = event.name
        if event.answered and request.granted:
            at = min(at, request.ahead + event.answered)
            request.dated = True
        # A slow store may store late what has long been so: one whose process is gone is given up by the next holder.
        given_up = self._taken_at if not event.answered and self._taken_at > request.sent else math.inf
        request.answered = min(at, given_up)
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
        """Return another run's request in this run's times, None where the two cannot be compared.

        The two runs have only the ledger's clock in common: each has wall stamps of its own.
        """
        known = self._ahead.get(request.boot, ())
        if not known:
            return None
        nearest = max(bisect_right(known, (request.granted, math.inf)) - 1, 0)
        shift = known[nearest][1] - request.ahead
        sent, until = request.sent + shift, request.until + shift
        return replace(request, sent=sent, until=max(sent, until), ahead=request.ahead + shift)

    def _left(self, request: SentRequest, age: float) -> None:
        """Note that a request's first byte left ``age`` seconds after its grant.

        The process may have stood still after that and have got the answer late: by then the cloud had counted it.
        """
        request.late = max(0.0, age - SEND_WITHIN)
        request.sent += age
        latest = request.sent + request.settings.request_timeout + request.settings.unknown_grace
        request.until = min(request.until, latest)


def fullest_windows(requests: Iterable[SentRequest]) -> Iterator[FullestWindow]:
    """Yield the fullest window of each site and quota: requests under different quotas are judged apart."""
    groups: defaultdict[tuple[str, int, float], list[SentRequest]] = defaultdict(list)
    for request in requests:
        if request.counted:
            quota = request.settings.quota
            groups[request.site, quota.limit, quota.window].append(request)
    for (site, limit, window), group in sorted(groups.items()):
        most, certain = _worst_case(group, window), _certain(group, window)
        for dated in _by_ledger(group):
            most, certain = max(most, _worst_case(dated, window)), max(certain, _certain(dated, window))
        yield FullestWindow(most[0], certain, Quota(limit, window), site, most[1])


def _by_ledger(group: Iterable[SentRequest]) -> Iterator[list[SentRequest]]:
    """Yield the requests of each boot in the seconds of its ledger's clock: no change of the wall clock parts them."""
    boots: defaultdict[str, list[SentRequest]] = defaultdict(list)
    for r in group:
        if r.boot and r.dated:
            boots[r.boot].append(replace(r, sent=r.sent - r.ahead, until=r.until - r.ahead))
    yield from boots.values()


def _worst_case(requests: Iterable[SentRequest], window: float) -> tuple[int, float]:
    """Return the most servers in one window [t, t+W), which can have every request with sent - W < t <= until."""
    steps: list[tuple[float, int, int, float]] = []
    for request in requests:
        # Of equal times ends come first: at t = `sent - W` a request is not in the window yet.
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
    """Return the most servers of requests whose whole intervals lie in one window."""
    inside: list[tuple[float, int]] = []
    total = most = 0
    for request in sorted(requests, key=lambda request: max(request.until, request.sent)):
        end = max(request.until, request.sent)
        if end - request.sent >= window:
            continue
        heapq.heappush(inside, (request.sent, request.counted))
        total += request.counted
        while inside and inside[0][0] <= end - window:
            total -= heapq.heappop(inside)[1]
        most = max(most, total)
    return most
