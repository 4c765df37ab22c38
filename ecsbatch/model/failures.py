"""The failures of a run: the most recent ones, and how many each domain, host and code has."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Container
from typing import Final

from ecsbatch.lazy_dataclass import dataclass
from ecsbatch.model.outcome import OutcomeKind

RECENT: Final = 1000
"""Failures that are remembered one by one."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What is remembered of a failed, timed-out or unknown server."""

    server: str
    kind: OutcomeKind
    domain: str
    host: str
    reason: str
    code: str
    message: str


class FailureLog:
    """Remembers and counts failures.

    Attributes:
        recent: the most recent ones, oldest first.
        counts: how many failures there are by ``domain``, ``host`` and ``code``; where there is no code, its reason or
            kind counts instead.
    """

    def __init__(self) -> None:
        self.recent: deque[Failure] = deque(maxlen=RECENT)
        self.counts: dict[str, Counter[str]] = {"domain": Counter(), "host": Counter(), "code": Counter()}
        self._set_aside: dict[str, Failure] = {}

    def add(self, failure: Failure) -> None:
        """Remember and count a failure."""
        self._set_aside.pop(failure.server, None)
        self.recent.append(failure)
        self._count(failure, 1)

    def set_aside(self, servers: Container[str]) -> None:
        """Do not count the failures of servers for now; one that is too old to be remembered still counts."""
        for failure in self.recent:
            if failure.server in servers:
                self._count(failure, -1)
                self._set_aside[failure.server] = failure
        self.recent = deque((each for each in self.recent if each.server not in servers), maxlen=RECENT)

    def put_back(self, server: str) -> None:
        """Count the failure of a server again that was set aside."""
        if server in self._set_aside:
            self.add(self._set_aside[server])

    def clear_counts(self) -> None:
        """Count no failure any more."""
        for counts in self.counts.values():
            counts.clear()

    def _count(self, failure: Failure, by: int) -> None:
        what = failure.code or failure.reason or failure.kind.value
        for key, value in (("domain", failure.domain), ("host", failure.host), ("code", what)):
            if value:
                counts = self.counts[key]
                counts[value] += by
                if counts[value] <= 0:
                    del counts[value]
