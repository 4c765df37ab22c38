"""What was looked at, and when: nobody is sent by an old look, or late for time in which nothing could be seen."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from .evidence import FOLLOWED, Case
from .run_log import Fact, Intent, RunLog
from .witnesses import FOREVER, WatchedCloud

A_MINUTE: Final = 60.0
"""Seconds between the look by which somebody is sent and the intent to do so, at most."""

A_LOOK: Final = 1.0
"""Seconds of a short blindness that no failed look may have told of."""

_ID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


# -- before a request --------------------------------------------------------------------------------------------------


def judge_baselines(case: Case) -> Iterator[str]:
    """Every intent names servers that were asked about within a minute before; what was refused goes as it is."""
    asked = _asked(case)
    for tale in case.tales.values():
        refused = _refused(tale)
        for intent in tale.intents.values():
            since = case.seen_since(intent.at, A_MINUTE)
            for server in intent.servers:
                looks = asked.get(server, ())
                last = bisect_right(looks, intent.at) - 1
                if (last < 0 or looks[last] < since) and intent.tick < refused.get(server, FOREVER):
                    when = f"at {looks[last]:.2f} s" if last >= 0 else "never"
                    sent = f"{server[:8]} is sent by {tale.run_id} at {intent.at:.2f} s"
                    yield f"looked: {sent}, and was looked at {when} the last time"
                    return


def _asked(case: Case) -> Mapping[str, Sequence[float]]:
    """Return when each server was asked about, in order."""
    asked: dict[str, list[float]] = defaultdict(list)
    for cloud in case.clouds:
        for when, exchange in cloud.exchanges:
            if not exchange.received.is_action:
                for server in _ID.findall(exchange.received.query):
                    asked[server].append(when)
    return asked


def _refused(tale: RunLog) -> Mapping[str, int]:
    """Return since which tick each server has been refused once."""
    refused: dict[str, int] = {}
    for fact in tale.facts:
        if fact.name == "batch.rejected" and fact.body.get("kind") == "refused":
            for server in tale.intents[fact.body["batch"]].servers if fact.body["batch"] in tale.intents else ():
                refused.setdefault(server, fact.tick)
    return refused


# -- behind a deadline -------------------------------------------------------------------------------------------------


def judge_deadlines(case: Case) -> Iterator[str]:
    """Nobody is called late before ``server_timeout``, the time apart in which the cloud could not be seen."""
    for tale in case.tales.values():
        for one in tale.rounds:
            if one.fact is None or not one.batches or not _is_late(one.fact):
                continue
            intent = tale.intents.get(one.batches[-1])
            if intent is not None and (early := _too_early(case, tale, intent, one.fact)):
                yield f"late: {one.name} is {one.outcome} at {one.fact.at:.2f} s, {early}"


def _is_late(fact: Fact) -> bool:
    return fact.name == "server.timed_out" or fact.body.get("reason") == "unhealthy"


def _too_early(case: Case, tale: RunLog, intent: Intent, fact: Fact) -> str:
    """Return how early an end comes, "" where it does not."""
    timeout = tale.plan.get("server_timeout")
    if timeout is None or case.record.world.processes > 1 or case.record.freezes:
        return ""  # another process sees with eyes of its own
    cloud = case.cloud_of(fact.body["server"])
    unseen = covered([_blind(case, cloud, *hole) for hole in cloud.config.blackholes], intent.at, fact.at)
    took = fact.at - intent.at
    return (
        f"{took:.1f} s after its intent, {unseen:.1f} s of them unseen"
        if took < timeout + unseen - FOLLOWED - A_LOOK
        else ""
    )


def covered(spans: Iterable[tuple[float, float]], since: float, until: float) -> float:
    """Return how many seconds from one instant to another lie in a span; some spans may overlap."""
    seconds = 0.0
    for begin, end in sorted(spans):
        seconds += max(0.0, min(end, until) - max(begin, since))
        since = max(since, min(end, until))
    return seconds


def _blind(case: Case, cloud: WatchedCloud, begin: float, end: float) -> tuple[float, float]:
    """Return from when to when nothing could be seen: from the first failure on, which takes its time."""
    end = min(end, case.record.calm_at)
    tries = (when for when, _ in cloud.exchanges if begin <= when <= end)
    return next(tries, end) + case.record.world.request_timeout, end
