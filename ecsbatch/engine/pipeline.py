"""`Pipeline`: the engine's parts for one site, put together.

server queue -> precheck -> token bucket -> grant and intent -> submit workers -> jobs -> look workers -> outcomes
"""

from __future__ import annotations

from random import Random

from ecsbatch.config.settings import Engine
from ecsbatch.engine.freeze_watch import FreezeWatch
from ecsbatch.engine.health import HealthChecker
from ecsbatch.engine.limiter import TokenBucket
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.pacing import RequestPacer
from ecsbatch.engine.poll_schedule import PollSchedule
from ecsbatch.engine.poller import LOOK_SHARE, Poller
from ecsbatch.engine.ports import Cloud, Ledger
from ecsbatch.engine.producer import Producer
from ecsbatch.engine.retry import Backoff
from ecsbatch.engine.server_queue import ServerQueue
from ecsbatch.engine.submitter import Submitter
from ecsbatch.engine.visibility import LONGEST_PAUSE, Visibility
from ecsbatch.engine.workers import work_together


class Pipeline:
    """Everything that works on one site's servers.

    Attributes:
        cloud: the site's API.
        visibility: whether the site can be reached.
        bucket: the tokens of its quota.
        observer: makes the looks.
        health: checks restarted servers.
        poller, submitter, producer: the loops.
    """

    def __init__(
        self, cloud: Cloud, ledger: Ledger, engine: Engine, chance: Random, freeze: FreezeWatch, sites: int = 1
    ) -> None:
        """Put the parts together by the settings; `run` has them work.

        All jitter comes from ``chance``, and ``sites`` is how many pipelines this process has. Nothing is sent while
        ``freeze`` knows that the store is frozen.
        """
        self.cloud = cloud
        self.visibility = Visibility(engine.blind_timeout, self._blinded)
        self.bucket = TokenBucket(
            ledger,
            cloud.site.quota_group,
            engine.quota,
            burst=engine.burst,
            request_timeout=cloud.request_timeout,
            unknown_grace=engine.unknown_grace,
            freeze=freeze,
        )
        # Two back-offs: that looks succeed says nothing of submits.
        looks, submits = (Backoff(chance, most=LONGEST_PAUSE) for _ in range(2))
        self.observer = Observer(cloud, self.visibility, RequestPacer(cloud.api_rate), looks)
        self.health = HealthChecker(
            self.observer, self.visibility, workers=engine.check_workers, timeout=engine.check_timeout, sites=sites
        )
        schedule = PollSchedule(
            typical_restart=engine.typical_restart,
            looks_per_second=cloud.api_rate * LOOK_SHARE,
            jitter=chance,
        )
        self.poller = Poller(
            self.observer,
            schedule,
            self.visibility,
            self.health,
            chance,
            workers=engine.look_workers,
            unknown_grace=engine.unknown_grace,
            typical_restart=engine.typical_restart,
        )
        self.submitter = Submitter(
            cloud,
            self.observer,
            self.bucket,
            self.visibility,
            submits,
            self.poller,
            self.wake,
            engine.submit_workers,
        )
        self.producer = Producer(
            self.observer, self.bucket, self.visibility, self.poller, self.submitter.send, self.submitter.slots
        )

    @property
    def queues(self) -> list[ServerQueue]:
        """The queues that are worked on."""
        return self.producer.queues

    def wake(self) -> None:
        """Look at the queues again."""
        self.producer.wake()

    def freeze_changed(self) -> None:
        """Follow a freeze, or its end: what was not accepted before it says nothing of what is asked after it."""
        for queue in self.queues:
            queue.unaccepted = None
        self.wake()

    def add(self, queue: ServerQueue) -> None:
        """Work on a queue from now on."""
        self.queues.append(queue)
        self.wake()

    def drop(self, queue: ServerQueue) -> None:
        """Work on a queue no more, nor on what is still under way for it."""
        queue.open = False
        queue.dropped = True
        if queue in self.queues:
            self.queues.remove(queue)
        self.wake()

    async def run(self) -> None:
        """Work until cancelled; raises what one of the parts raises, or EngineStopped where one ends."""
        parts = (self.producer, self.submitter, self.poller, self.health)
        await work_together({type(part).__name__.lower(): part.run() for part in parts})

    def _blinded(self, message: str) -> None:
        for queue in list(self.queues):
            queue.stop("cloud_unreachable", message)
