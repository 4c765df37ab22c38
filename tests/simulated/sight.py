"""What could be seen by the cloud's own books: whether "it cannot be seen" was so, and what looks have shown."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import orjson

from ecsbatch.simulator.cloud import Exchange

from .evidence import FOLLOWED, Case, Restart
from .run_log import Fact
from .witnesses import WatchedCloud

APART: Final = 60.0
"""Seconds between two tries, at most, where nothing that was seen in between would have been noticed."""

WHOLE: Final = frozenset({"", "slow"})
"""Misfortunes that leave a good answer as it is."""

UNSEEN: Final = frozenset({"cloud_unreachable", "auth"})
"""Reasons that say so."""

UNACCEPTED: Final = "No request was accepted"
"""How a message begins that blames a cloud that was seen and took no request."""

DENIALS: Final = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Glance:
    """One look at a server: when it was asked, and whether it was seen to show the server up."""

    asked: float
    up: bool


def glances(case: Case, server: str, since: float, until: float) -> list[Glance]:
    """Return the looks at a server in a span, those without a good answer as well."""
    found: list[Glance] = []
    for when, exchange in case.cloud_of(server).exchanges:
        if since < when < until and not exchange.received.is_action and server in exchange.received.query:
            heard = when + exchange.inbound + exchange.outbound
            good = _good(exchange) and heard < until and heard - when < case.record.world.request_timeout
            found.append(Glance(when, good and _shows_up(exchange, server)))
    return found


def job_garbled(cloud: WatchedCloud, job_id: str, until: float) -> bool:
    """Tell whether an answer about a job was garbled, which may have lost what the job says."""
    return any(
        when <= until and exchange.fault == "garbage" and exchange.received.path.endswith(f"/jobs/{job_id}")
        for when, exchange in cloud.exchanges
    )


def taken_for_ours(case: Case, fact: Fact, restart: Restart) -> bool:
    """Tell whether somebody else's restart came behind the look before our request, and before what that began.

    Nothing tells the two apart where the request has no answer, and ours may begin late.
    """
    if restart.intent.answered or restart.begun.at < case.seen_since(fact.at, case.record.world.request_timeout):
        return False
    server = fact.body["server"]
    looks = glances(case, server, 0.0, restart.intent.at)
    since = looks[-1].asked - case.record.world.cloud.task_state_lag if looks else restart.sent.at
    return any(since <= begin and end <= fact.at for begin, end in case.foreign(server))


def awaited(case: Case, server: str, since: float, until: float) -> float:
    """Return for how many seconds in a span looks at a server's cloud were awaited, each counted for itself."""
    timeout, seconds = case.record.world.request_timeout, 0.0
    for when, exchange in case.cloud_of(server).exchanges:
        if when < until and when + timeout > since and not exchange.received.is_action:
            silent = exchange.fate == "silence"
            took = timeout if silent else min(timeout, exchange.inbound + exchange.outbound)
            seconds += max(0.0, min(when + took, until) - max(when, since))
    return seconds


def _good(exchange: Exchange) -> bool:
    """Tell whether an exchange came to a good answer that nothing has spoilt."""
    return _status(exchange) // 100 == 2 and exchange.fate == "answer" and exchange.fault in WHOLE


def _shows_up(exchange: Exchange, server: str) -> bool:
    rows: list[dict[str, Any]] = orjson.loads(exchange._reply.body).get("servers", []) if exchange._reply else []
    return any(
        row["id"] == server and row["status"] == "ACTIVE" and not row.get("OS-EXT-STS:task_state") for row in rows
    )


def unseen_for(case: Case, servers: Iterable[str], at: float, reason: str) -> str:
    """Return what contradicts that the cloud of these servers could not be seen, or did not know us; "" for nothing."""
    clouds = list({id(cloud): cloud for cloud in map(case.cloud_of, servers)}.values())
    if reason == "auth":
        return "" if any(_denied(cloud, at) for cloud in clouds) else "the cloud has not refused us"
    if case.record.world.processes > 1 or any(each.begin < at for each in case.record.freezes):
        return ""  # another process sees with eyes of its own
    if case.record.world.named:
        return ""  # so does who looks for names
    wrong = [_seen(case, cloud, at) for cloud in clouds]
    return next(iter(wrong), "") if all(wrong) else ""


def _denied(cloud: WatchedCloud, at: float) -> bool:
    return any(when <= at and _status(exchange) in DENIALS for when, exchange in cloud.exchanges)


def _status(exchange: Exchange) -> int:
    return exchange._reply.status if exchange._reply is not None else 0


def _seen(case: Case, cloud: WatchedCloud, at: float) -> str:
    """Return when the cloud was seen in the time that is called blind, or that nobody has tried."""
    timeout = case.record.world.request_timeout
    since = at - case.record.world.engine.blind_timeout
    # What is blind enough to end here may yet wait for requests in the air, and see something meanwhile.
    told = at - timeout - FOLLOWED
    tries = [since]
    for when, exchange in cloud.exchanges:
        if when < since or when >= at:
            continue
        heard = when + exchange.inbound + exchange.outbound
        in_time = heard < told and heard - when < timeout
        if _good(exchange) and in_time and not exchange.received.is_action:
            return f"a look was answered at {heard:.2f} s"
        tries.append(when)
    tries.append(at)
    gap = max(later - earlier for earlier, later in pairwise(tries))
    return f"nobody looked for {gap:.0f} s" if gap > APART + timeout else ""
