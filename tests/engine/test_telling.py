"""What looks find goes to the store in as few transactions as the store is quick; a failure never waits."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Collection, Iterable, Sequence
from contextlib import asynccontextmanager
from random import Random
from typing import Any

from ecsbatch.engine.health import HealthChecker
from ecsbatch.engine.journal import JournalWriter
from ecsbatch.engine.observer import Observer
from ecsbatch.engine.pacing import RequestPacer
from ecsbatch.engine.poll_schedule import PollSchedule
from ecsbatch.engine.poller import Poller
from ecsbatch.engine.retry import Backoff
from ecsbatch.engine.server_queue import Batch, RestartOptions, ServerQueue
from ecsbatch.engine.visibility import Visibility
from ecsbatch.model.events import Event, Recorded, ServerEvent
from ecsbatch.model.run import Committed, Holder, Lease
from ecsbatch.model.servers import Job, Look, ServerView, SubJob
from ecsbatch.model.tally import Attempt
from ecsbatch.model.tokens import Grant, Settlement

TYPICAL = 0.04
PATIENCE = 10.0


class HandStore:
    """Keeps every commit waiting until the test lets it through."""

    def __init__(self) -> None:
        self.given: list[tuple[Sequence[Event], asyncio.Future[Committed]]] = []

    def commit(self, hold: Lease, events: Sequence[Event], **what: Any) -> asyncio.Future[Committed]:  # noqa: ARG002
        """Take it."""
        future: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        self.given.append((events, future))
        return future

    def settle(self, settle: Settlement) -> asyncio.Future[None]:
        """Never called by looks."""
        raise NotImplementedError

    def servers(self) -> list[list[str]]:
        """Name the servers of each commit so far."""
        return [[event.server for event in events if isinstance(event, ServerEvent)] for events, _ in self.given]

    def let_through(self, number: int) -> None:
        """Say that a commit is on disk."""
        events, future = self.given[number]
        future.set_result(Committed(tuple(Recorded(seq, 0.0, "k", event) for seq, event in enumerate(events, 1))))


class OneLook:
    """A cloud whose jobs are over at the first look."""

    def __init__(self) -> None:
        self.shown: set[str] = set()

    async def show_job(self, job_id: str, pending: Collection[str], **_: bool) -> Job:
        """Show the job's only server at its end."""
        self.shown.add(job_id)
        assert job_id in pending
        return Job(job_id, "SUCCESS", [SubJob(job_id, succeeded=not job_id.startswith("bad"))])

    async def turn(self) -> None:
        """Let everything through."""

    async def look(self, ids: Sequence[str]) -> Look:
        """Show nothing."""
        return Look({id_: ServerView(id_, status="REBOOT") for id_ in ids})


class Nobody:
    """An owner who wants nothing."""

    def locate(self, _server: str) -> tuple[int, str]:
        """Name a wave and a domain."""
        return 1, "az1"

    def woken(self, _line: ServerQueue) -> None:
        """Let it be."""

    async def admit(self, _line: ServerQueue, servers: Sequence[str]) -> Sequence[str]:
        """Let all in."""
        return servers

    def wanted(self, _server: str) -> bool:
        """Want none."""
        return False

    def returned(self, _servers: Iterable[str]) -> None:
        """Forget them."""

    def earlier(self, _server: str) -> Attempt | None:
        """Know of none."""
        return None

    def tried(self, _server: str) -> bool:
        """Know of none."""
        return False

    def unstarted(self, _server: str) -> int:
        """Know of none."""
        return 0

    def still_down(self, _server: str) -> bool:
        """Hold nothing."""
        return False

    def freed_by(self, _event: Event) -> Sequence[str]:
        """Free none."""
        return ()


@asynccontextmanager
async def looking() -> AsyncGenerator[tuple[OneLook, HandStore, Callable[[str], None]]]:
    """Run a poller; give its cloud, its store, and how to have a job of one server watched."""
    cloud, store, sight = OneLook(), HandStore(), Visibility(60.0, lambda _: None)
    schedule = PollSchedule(typical_restart=TYPICAL, looks_per_second=1000.0)
    observer = Observer(cloud, sight, RequestPacer(1000.0), Backoff(Random(1)))
    poller = Poller(
        observer,
        schedule,
        sight,
        HealthChecker(observer, sight, 1),
        Random(1),
        workers=4,
        unknown_grace=1.0,
        typical_restart=TYPICAL,
    )
    journal = JournalWriter(store, Lease("k", Holder("me", "here", 1, 0.0), 1), lambda _: None)
    line = ServerQueue("", RestartOptions(), journal, Nobody())

    def watch(job: str) -> None:
        views = {job: ServerView(job)}
        poller.watch_job(Batch(1, line, views, Grant("g", 1, 0.0), 0.0, 1e9, set(views), job_id=job))

    work = asyncio.create_task(poller.run())
    try:
        yield cloud, store, watch
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not true():  # noqa: ASYNC110 - what is waited for is no event
            await asyncio.sleep(0.001)


async def test_what_is_found_while_the_store_writes_goes_together_into_the_next_commit() -> None:
    async with looking() as (cloud, store, watch):
        watch("a")
        await until(lambda: store.servers() == [["a"]])
        for job in ("b", "c", "d"):
            watch(job)
        await until(lambda: cloud.shown == {"a", "b", "c", "d"})
        assert store.servers() == [["a"]]
        store.let_through(0)
        await until(lambda: len(store.given) > 1)

        assert {"b", "c", "d"} == set(store.servers()[1])


async def test_a_failure_is_written_at_once_with_all_that_was_found_before() -> None:
    async with looking() as (cloud, store, watch):
        watch("a")
        await until(lambda: store.servers() == [["a"]])
        watch("b")
        await until(lambda: "b" in cloud.shown)
        watch("bad")
        await until(lambda: len(store.given) > 1)

        assert store.servers() == [["a"], ["b", "bad"]]
        assert not store.given[0][1].done()
