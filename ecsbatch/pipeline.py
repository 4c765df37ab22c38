"""`Pipeline`: the engine's parts for one site, put together.

producer queue -> precheck -> token bucket -> grant and intent -> submit workers -> jobs -> poller pool -> outcomes
"""

from __future__ import annotations

from random import Random
from typing import Protocol

from ecsbatch.config import Engine
from ecsbatch.health import Health
from ecsbatch.limiter import Ledger, TokenBucket
from ecsbatch.line import Line
from ecsbatch.models import Site
from ecsbatch.poll_schedule import PollSchedule
from ecsbatch.poller import Looks, Poller
from ecsbatch.producer import Lookout, Producer
from ecsbatch.retry import Backoff
from ecsbatch.sight import Sight
from ecsbatch.submitter import Requests, Submitter
from ecsbatch.workers import work_together

LOOK_SHARE = 0.7
"""Of the rate of API requests, what looks may plan with; the rest is for submits and prechecks."""

CHECK_WORKERS = 32
"""Health checks at once; each waits for somebody else's server."""


class Cloud(Requests, Looks, Lookout, Protocol):
    """One site's API."""

    @property
    def site(self) -> Site:
        """Where requests go."""
        ...

    @property
    def api_rate(self) -> float:
        """Requests per second that all requests together may make."""
        ...


class Pipeline:
    """Everything that works on one site's servers."""

    def __init__(self, cloud: Cloud, ledger: Ledger, engine: Engine, chance: Random) -> None:
        """Put the parts together; nothing runs yet."""
        self.cloud = cloud
        self.sight = Sight(engine.blind_timeout, self._blinded)
        backoff = Backoff(chance)
        self.bucket = TokenBucket(
            ledger,
            cloud.site.quota_group,
            engine.quota,
            burst=engine.burst,
            request_timeout=engine.request_timeout,
            unknown_grace=engine.unknown_grace,
        )
        self.health = Health(cloud, self.sight, CHECK_WORKERS)
        schedule = PollSchedule(
            typical_restart=engine.typical_restart,
            looks_per_second=cloud.api_rate * LOOK_SHARE,
            jitter=chance,
        )
        self.poller = Poller(
            cloud,
            schedule,
            self.sight,
            self.health,
            chance,
            workers=engine.look_workers,
            unknown_grace=engine.unknown_grace,
            typical_restart=engine.typical_restart,
        )
        self.submitter = Submitter(
            cloud, self.bucket, self.sight, backoff, self.poller, self.wake, engine.submit_workers
        )
        self.producer = Producer(cloud, self.bucket, self.sight, backoff, self.submitter.send, self.submitter.slots)

    @property
    def lines(self) -> list[Line]:
        """Whose servers are worked on."""
        return self.producer.lines

    def wake(self) -> None:
        """Look at the lines again."""
        self.producer.wake()

    def add(self, line: Line) -> None:
        """Work on a line from now on."""
        line.hold = lambda server: self.poller.watch_held(line, server)
        self.lines.append(line)
        self.wake()

    def drop(self, line: Line) -> None:
        """Let a line go, with what is still under way for it."""
        line.open = False
        line.dropped = True
        if line in self.lines:
            self.lines.remove(line)
        self.wake()

    async def run(self) -> None:
        """Work until cancelled."""
        parts = (self.producer, self.submitter, self.poller, self.health)
        await work_together({type(part).__name__.lower(): part.run() for part in parts})

    def _blinded(self, message: str) -> None:
        for line in list(self.lines):
            line.stop("cloud_unreachable", message)
