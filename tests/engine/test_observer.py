"""What cannot be seen is told apart: the whole site, or one thing of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from random import Random

import pytest

from ecsbatch.engine import observer
from ecsbatch.engine.observer import PROBE_APART, JobHidden, Observer
from ecsbatch.engine.pacing import RequestPacer
from ecsbatch.engine.retry import Backoff
from ecsbatch.engine.visibility import Visibility
from ecsbatch.errors import AuthError, CloudError, JobNotFound, Refused, Throttled, UnknownAnswer
from ecsbatch.model.servers import Job, Look, ServerView
from ecsbatch.simulator.virtual_time import run

IDS = [f"s{number}" for number in range(100)]


class Cloud:
    """Answers in 0.1 s, but for what it is told to fail with.

    Attributes:
        down: what everything fails with.
        listing: what a look at any server fails with.
        poison: what looks that name a server, or a job, fail with.
        asked: the servers of each look, the id of each job.
    """

    def __init__(self) -> None:
        self.down: CloudError | None = None
        self.listing: CloudError | None = None
        self.poison: dict[str, CloudError] = {}
        self.asked: list[tuple[str, ...]] = []

    async def turn(self) -> None:
        """Let everything through."""

    async def look(self, ids: Sequence[str]) -> Look:
        """Show servers."""
        await self._answer(ids)
        return Look({id_: ServerView(id_, status="ACTIVE") for id_ in ids})

    async def look_at_any(self) -> Look:
        """Show the server that comes first."""
        await self._answer(["any"])
        if self.listing is not None:
            raise self.listing
        return Look({"first": ServerView("first", status="ACTIVE")})

    async def show_job(self, job_id: str, pending: Collection[str], *, running: bool = False) -> Job:  # noqa: ARG002
        """Show a job."""
        await self._answer([job_id])
        return Job(job_id, "RUNNING")

    async def _answer(self, names: Sequence[str]) -> None:
        self.asked.append(tuple(names))
        await asyncio.sleep(0.1)
        for error in (self.down, *(self.poison.get(name) for name in names)):
            if error is not None:
                raise error


class Eyes:
    """A cloud, and what is seen of it."""

    def __init__(self) -> None:
        self.cloud = Cloud()
        self.visibility = Visibility(300.0, lambda _: None)
        self.observer = Observer(self.cloud, self.visibility, RequestPacer(1000.0), Backoff(Random(1)))


def with_eyes(main: Callable[[Eyes], Awaitable[None]]) -> None:
    async def life() -> None:
        await main(Eyes())

    run(life())


def broken(code: str = "") -> UnknownAnswer:
    return UnknownAnswer("The cloud failed to answer.", status=500, code=code, answered=True)


def refused() -> Refused:
    return Refused("A parameter is not valid.", status=400, code="Ecs.0005", answered=True)


def test_a_look_says_when_it_was_asked() -> None:
    async def main(eyes: Eyes) -> None:
        await asyncio.sleep(5)
        look = await eyes.observer.look(IDS)
        assert (look.asked_at, look.observed_at) == pytest.approx((5.0, 5.0), abs=0.01)
        assert asyncio.get_running_loop().time() == pytest.approx(5.1, abs=0.01)

    with_eyes(main)


@pytest.mark.parametrize("error", [broken(), refused()], ids=["fails", "refused"])
def test_one_server_that_cannot_be_shown_costs_the_others_a_few_looks_once(error: CloudError) -> None:
    async def main(eyes: Eyes) -> None:
        await eyes.observer.look(["witness"])
        eyes.cloud.poison["s37"] = error
        first = await eyes.observer.look(IDS)
        looks = len(eyes.cloud.asked)
        second = await eyes.observer.look(IDS)

        assert sorted(first.servers) == sorted(second.servers) == sorted(set(IDS) - {"s37"})
        assert looks <= 20
        # It is known by now: it is asked about alone, and so are those who tell whether the site can be seen.
        assert len(eyes.cloud.asked) - looks <= 3
        if isinstance(error, Refused):
            assert first.refused == second.refused == {"s37": error}
        else:
            assert (first.unseen, second.unseen) == ({"s37": 1}, {"s37": 2})
        assert eyes.visibility.blind_for() == 0.0
        assert eyes.visibility.observed_time() == asyncio.get_running_loop().time()

        eyes.cloud.poison.clear()
        assert len((await eyes.observer.look(IDS)).servers) == 100
        looks = len(eyes.cloud.asked)
        assert len((await eyes.observer.look(IDS)).servers) == 100
        assert len(eyes.cloud.asked) == looks + 1

    with_eyes(main)


def test_an_outage_blinds_and_does_not_multiply_the_requests() -> None:
    async def main(eyes: Eyes) -> None:
        await eyes.observer.look(["witness"])
        eyes.cloud.asked.clear()
        eyes.cloud.down = broken()

        async def ask() -> None:
            for _ in range(10):
                with pytest.raises(UnknownAnswer):
                    await eyes.observer.look(IDS)
                with pytest.raises(UnknownAnswer):
                    await eyes.observer.show_job("job", IDS)
                await asyncio.sleep(1)

        async with asyncio.TaskGroup() as group:
            for _ in range(8):
                group.create_task(ask())

        probes = [names for names in eyes.cloud.asked if names == ("witness",)]
        seconds = asyncio.get_running_loop().time()
        assert len(eyes.cloud.asked) - len(probes) == 160
        assert len(probes) <= 1 + seconds / PROBE_APART
        assert eyes.visibility.blind_for() > 0
        eyes.cloud.down = None
        await eyes.observer.look(IDS)
        assert eyes.visibility.blind_for() == 0.0

    with_eyes(main)


def test_an_outage_that_begins_while_a_look_is_halved_blames_no_server() -> None:
    async def main(eyes: Eyes) -> None:
        await eyes.observer.look(["witness"])
        eyes.cloud.poison["s37"] = broken()
        asyncio.get_running_loop().call_later(0.35, setattr, eyes.cloud, "down", broken())
        with pytest.raises(UnknownAnswer):
            await eyes.observer.look(IDS)
        assert len(eyes.cloud.asked) < 15
        await asyncio.sleep(1)
        assert eyes.visibility.blind_for() > 0
        eyes.cloud.down = None
        eyes.cloud.poison.clear()
        assert len((await eyes.observer.look(IDS)).servers) == 100

    with_eyes(main)


@pytest.mark.parametrize("error", [broken("Common.0025"), refused()], ids=["fails", "refused"])
def test_a_job_that_cannot_be_shown_is_no_blindness_where_its_servers_can(error: CloudError) -> None:
    """Nothing was seen before: the job's own servers are asked about."""

    async def main(eyes: Eyes) -> None:
        eyes.cloud.poison["job"] = error
        for _ in range(3):
            with pytest.raises(JobHidden):
                await eyes.observer.show_job("job", IDS)
        assert eyes.visibility.blind_for() == 0.0
        assert eyes.visibility.observed_time() == asyncio.get_running_loop().time()

    with_eyes(main)


def test_a_job_that_the_cloud_does_not_know_and_a_key_that_it_does_not_are_no_blindness() -> None:
    async def main(eyes: Eyes) -> None:
        eyes.cloud.poison["gone"] = JobNotFound("Invalid job id.", status=400, code="Common.0011", answered=True)
        eyes.cloud.poison["s1"] = AuthError("No.", status=401, answered=True)
        with pytest.raises(JobNotFound):
            await eyes.observer.show_job("gone", IDS)
        with pytest.raises(AuthError):
            await eyes.observer.look(IDS)
        assert len(eyes.cloud.asked) == 2
        assert eyes.visibility.blind_for() == 0.0

    with_eyes(main)


def test_who_never_was_shown_and_stands_alone_is_told_from_a_blind_site_by_whomever_the_site_lists() -> None:
    async def main(eyes: Eyes) -> None:
        eyes.cloud.poison["s1"] = broken()
        looks = [await eyes.observer.look(["s1"]) for _ in range(3)]

        assert [look.unseen for look in looks] == [{"s1": 1}, {"s1": 2}, {"s1": 3}]
        assert eyes.cloud.asked == [("s1",), ("any",), ("s1",), ("first",), ("s1",), ("first",)]
        assert eyes.visibility.blind_for() == 0.0

        eyes.cloud.down = broken()
        with pytest.raises(UnknownAnswer):
            await eyes.observer.look(["s1"])

    with_eyes(main)


@pytest.mark.parametrize("denied", [AuthError("No.", status=403), broken()], ids=["not ours to list", "fails"])
def test_who_stands_alone_where_the_site_lists_nobody_cannot_be_told_from_a_blind_site_until_others_are_known(
    denied: CloudError,
) -> None:
    async def main(eyes: Eyes) -> None:
        eyes.cloud.poison["s1"] = broken()
        eyes.cloud.listing = denied
        with pytest.raises(UnknownAnswer):
            await eyes.observer.look(["s1"])
        await asyncio.sleep(PROBE_APART)
        assert eyes.visibility.blind_for() > 0
        eyes.observer.meet(["s2"])
        assert (await eyes.observer.look(["s1"])).unseen == {"s1": 1}
        assert eyes.visibility.blind_for() == 0.0

    with_eyes(main)


def test_a_witness_that_is_gone_makes_nobody_blind_for_long() -> None:
    async def main(eyes: Eyes) -> None:
        await eyes.observer.look(["old", "older"])
        eyes.cloud.poison |= {"old": broken(), "older": broken(), "s1": broken()}
        eyes.observer.meet(["s2"])
        await eyes.observer.look(["s3"])
        assert (await eyes.observer.look(["s1"])).unseen == {"s1": 1}
        for _ in range(4):
            eyes.cloud.poison["s3"] = broken()
            try:
                await eyes.observer.look(["s1"])
                break
            except UnknownAnswer:
                await asyncio.sleep(PROBE_APART)
        assert eyes.visibility.blind_for() == 0.0

    with_eyes(main)


def test_a_429_is_heeded_by_all_that_is_asked() -> None:
    async def main(eyes: Eyes) -> None:
        error = Throttled("Too many.", status=429, code="APIGW.0308", answered=True)
        error.limit, error.window = 60, 60.0
        eyes.cloud.poison["s1"] = error
        now = asyncio.get_running_loop().time
        with pytest.raises(Throttled):
            await eyes.observer.look(["s1"])
        since = now()
        for _ in range(5):
            await eyes.observer.look(["s2"])
        for _ in range(5):
            await eyes.observer.turn()
        assert 9.0 <= now() - since <= 11.0
        assert eyes.observer.rate == 1.0

    with_eyes(main)


def test_of_very_many_servers_that_cannot_be_shown_the_first_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """A service is asked for wrong ids for years."""
    monkeypatch.setattr(observer, "_REMEMBERED", 3)

    async def main(eyes: Eyes) -> None:
        eyes.cloud.poison = {server: Refused("no such server", status=400) for server in IDS[:9]}
        for server in IDS[:9]:
            assert (await eyes.observer.look([server])).refused.keys() == {server}
        assert len(eyes.observer._alone) == 3
        assert (await eyes.observer.look(IDS[:9])).refused.keys() == set(IDS[:9])
        assert len(eyes.observer._alone) == 3

    with_eyes(main)
