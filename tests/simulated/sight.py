"""What could be seen of a cloud, by the cloud's own books: whether "the cloud cannot be seen" was so."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Final

from ecsbatch.simulator.cloud import Exchange

from .books import WatchedCloud
from .evidence import FOLLOWED, Case

APART: Final = 60.0
"""Seconds between two tries, at most, where nothing that was seen in between would have been noticed."""

WHOLE: Final = frozenset({"", "slow"})
"""Misfortunes that leave a good answer as it is."""

UNSEEN: Final = frozenset({"cloud_unreachable", "auth"})
"""Reasons that say so."""

UNACCEPTED: Final = "No request was accepted"
"""How a message begins that blames a cloud that was seen and took no request."""

DENIALS: Final = frozenset({401, 403})


def unseen_for(case: Case, servers: Iterable[str], at: float, reason: str) -> str:
    """Return what contradicts that the cloud of these servers could not be seen, or did not know us; "" for nothing."""
    clouds = list({id(cloud): cloud for cloud in map(case.cloud_of, servers)}.values())
    if reason == "auth":
        return "" if any(_denied(cloud, at) for cloud in clouds) else "the cloud has not refused us"
    if case.record.world.processes > 1 or any(each.begin < at for each in case.record.freezes):
        return ""  # another process sees with eyes of its own
    wrong = [_seen(case, cloud, at) for cloud in clouds]
    return next(iter(wrong), "") if all(wrong) else ""


def _denied(cloud: WatchedCloud, at: float) -> bool:
    return any(when <= at and _status(exchange) in DENIALS for when, exchange in cloud.exchanges)


def _status(exchange: Exchange) -> int:
    return exchange._reply.status if exchange._reply is not None else 0


def _seen(case: Case, cloud: WatchedCloud, at: float) -> str:
    """Return when the cloud was seen in the time that is called blind, or that nobody has tried."""
    engine = case.record.world.engine
    since = at - engine.blind_timeout
    # What is blind enough to end here may yet wait for requests in the air, and see something meanwhile.
    told = at - engine.request_timeout - FOLLOWED
    tries = [since]
    for when, exchange in cloud.exchanges:
        if when < since or when >= at:
            continue
        heard = when + exchange.inbound + exchange.outbound
        good = _status(exchange) // 100 == 2 and exchange.fate == "answer" and exchange.misfortune in WHOLE
        if good and heard < told and heard - when < engine.request_timeout and not exchange.arrival.is_action:
            return f"a look was answered at {heard:.2f} s"
        tries.append(when)
    tries.append(at)
    gap = max(later - earlier for earlier, later in pairwise(tries))
    return f"nobody looked for {gap:.0f} s" if gap > APART + engine.request_timeout else ""
