"""A watched cloud with troubles: answers that come late, rows with holes, what can never be looked at, other people."""

from __future__ import annotations

import dataclasses
import heapq
import itertools
import random
from collections.abc import Callable, Mapping
from typing import Any, Final

import orjson

from ecsbatch.simulator.cloud import CloudConfig, Exchange, Reply
from ecsbatch.simulator.fleet import ENDINGS
from ecsbatch.simulator.gateway import ReceivedRequest
from ecsbatch.simulator.replies import http_date

from .troubles import CloudTroubles, Outsider
from .witnesses import Foreign, Sent, WatchedCloud

BROKEN: Final = frozenset({"error", "stuck", "unhealthy"})
HEALED: Final = 0.7
"""The share of what our restarts broke that somebody repairs."""


class Visit:
    """What an outsider does at its instant; the cloud carries it out in the order of time, like a request."""

    def __init__(self, outsider: Outsider, do: Callable[[Outsider, float], None]) -> None:
        self.performed = False
        self._outsider = outsider
        self._do = do

    def perform(self, at: float) -> None:
        """Do it."""
        self.performed = True
        self._do(self._outsider, at)


class TroubledCloud(WatchedCloud):
    """A `WatchedCloud` with troubles.

    Args:
        config, ticks, longest: see there.
        troubles: what goes wrong.
        foreign: takes restarts by others.

    Attributes:
        hidden: jobs and servers that can never be looked at.
        played: how often each trouble was met.
    """

    def __init__(
        self,
        config: CloudConfig,
        ticks: itertools.count[int],
        longest: float,
        troubles: CloudTroubles,
        foreign: list[Foreign],
    ) -> None:
        super().__init__(config, ticks, longest)
        self.hidden = set(troubles.hidden)
        self.foreign = foreign
        self.played: dict[str, int] = {}
        self._troubles = troubles
        self._luck = random.Random(f"troubles-{config.seed}")
        self._jobs_seen = 0
        for outsider in troubles.outsiders:
            self._expect(outsider)

    def receive(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> Exchange:
        """Let a request in; the answer to a look may take its time."""
        exchange = super().receive(method, target, headers, body)
        rate = 0.0 if self.calm or exchange.received.is_action else self._troubles.slow_looks
        if rate and self._luck.random() < rate:
            exchange.outbound += self._luck.uniform(0.2, 1.0) * self._troubles.slowest
            self._count("slow answers to looks")
        return exchange

    def perform(self, received: ReceivedRequest, fault: str, at: float) -> Reply | None:
        """Carry a request out, or refuse it as this cloud does."""
        if not self.calm and any(begin <= at < end for begin, end in self._troubles.denials):
            self._count("requests that were not let in")
            return self._refusal(401, "APIGW.0301", "Incorrect IAM authentication information: decrypt token fail", at)
        reply = super().perform(received, fault, at)
        if reply is None:
            return None
        if received.is_action:
            self._note_job(reply)
            return reply
        return self._troubled(received, reply, at)

    def carried_out(self, sent: Sent) -> None:
        """Send for somebody where a restart of ours will break its server."""
        if not self._troubles.heals:
            return
        for begun in sent.begun:
            if begun.ending in BROKEN and self._luck.random() < HEALED:
                broken_at = begun.at if begun.ending == "stuck" else begun.ends
                self._expect(
                    Outsider(broken_at + self._luck.uniform(5.0, self._troubles.heals), begun.server, repairs=True)
                )

    # -- looks -----------------------------------------------------------------------------------------------------

    def _troubled(self, received: ReceivedRequest, reply: Reply, at: float) -> Reply:
        if self.hidden and any(name in received.path or name in received.query for name in self.hidden):
            self._count("looks at what cannot be seen")
            code = "Common.0001" if self._troubles.hidden_status >= 500 else "Common.0025"
            return self._refusal(self._troubles.hidden_status, code, "The query failed.", at)
        if self._troubles.touches_rows and reply.status == 200 and received.path.endswith("/cloudservers/detail"):
            return dataclasses.replace(reply, body=self._with_holes(reply.body))
        return reply

    def _with_holes(self, body: bytes) -> bytes:
        try:
            document: Any = orjson.loads(body)
            rows: list[dict[str, Any]] = [dict(row) for row in document["servers"]]
            names = [str(row["id"]) for row in rows]
        except (orjson.JSONDecodeError, KeyError, TypeError, ValueError):
            return body  # spoilt already
        kept: list[dict[str, Any]] = []
        for name, row in zip(names, rows, strict=True):
            if name in self._troubles.left_out or (not self.calm and self._luck.random() < self._troubles.holes):
                self._count("rows left out")
                continue
            if name in self._troubles.no_updated:
                row.pop("updated", None)
                self._count("rows without updated")
            kept.append(row)
        return orjson.dumps({**document, "count": len(kept), "servers": kept})

    def _note_job(self, reply: Reply) -> None:
        """Hide the one job that cannot be looked at, once its id was told."""
        if not self._troubles.hidden_job:
            return
        try:
            job_id = orjson.loads(reply.body)["job_id"]
        except (orjson.JSONDecodeError, KeyError, TypeError):
            return
        self._jobs_seen += isinstance(job_id, str)
        if self._jobs_seen == self._troubles.hidden_job and isinstance(job_id, str):
            self.hidden.add(job_id)

    def _refusal(self, status: int, code: str, message: str, at: float) -> Reply:
        body = {"error": {"code": code, "message": message}}
        headers = {"Date": http_date(self.stamp(at)), "Content-Type": "application/json"}
        return Reply(status, orjson.dumps(body), headers)

    # -- other people ----------------------------------------------------------------------------------------------

    def _expect(self, outsider: Outsider) -> None:
        due: Any = self._due
        heapq.heappush(due, (outsider.at, next(self._numbering), Visit(outsider, self._visit)))

    def _visit(self, outsider: Outsider, at: float) -> None:
        number = self.fleet.numbers[outsider.server]
        if outsider.repairs:
            self._repair(number, at)
        elif not self.fleet.busy(number, at) and self.fleet.status(number, at) == "ACTIVE":
            end = at + outsider.seconds
            self.fleet.begin(number, "HARD" if outsider.hard else "SOFT", "ok", at, end)
            self.foreign.append(Foreign(outsider.server, at, end))
            self._count("restarts by others")

    def _repair(self, number: int, at: float) -> None:
        """Heal what is down for good; what is under way or well is left alone."""
        fleet, ending = self.fleet, ENDINGS[self.fleet._ending[number]]
        unhealthy = ending == "unhealthy" and fleet._ends[number] <= at
        if fleet.status(number, at) == "ERROR" or (ending == "stuck" and fleet.busy(number, at)) or unhealthy:
            fleet.heal(number, at)
            self.auditor.recovered(number, at)
            self.heals.append((fleet.ids[number], at))
            self._count("repairs by others")

    def _count(self, what: str) -> None:
        self.played[what] = self.played.get(what, 0) + 1
