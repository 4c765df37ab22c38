"""A process that may have lost its run: it sends nothing while it doubts, and goes on, or ends, once it knows."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from world import World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.errors import RecordEdited, RunConflict, RunNotFound
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunTaken
from ecsbatch.model.outcome import OutcomeKind
from ecsbatch.model.quota import Quota, Usage
from ecsbatch.model.run import Committed, Lease, Result, RunRecord, Transaction
from ecsbatch.model.servers import Server
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.gates import GateVerdict
from ecsbatch.store import DatabaseStore, MemoryDatabase

ALL = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")
QUOTA = Engine(quota=Quota(100, 60.0))


class Doubtful(Wrapper):
    """A store whose leases may run out: for ``seconds``, from the commit of the first intent that gets its tokens on.

    Attributes:
        certain: the process may still trust its leases.
        asked: when tokens were asked for, in loop time.
        slow: seconds that it takes to hear that the run was taken, once its lease has run out.
    """

    slow = 0.0

    def __init__(self, inner: Any, seconds: float | None = None) -> None:
        super().__init__(inner)
        self.certain = True
        self.seconds = seconds
        self.asked: list[float] = []

    def trusted(self, lease: Lease) -> bool:
        """Tell whether the lease has not run out."""
        return self.certain and self.inner.trusted(lease)

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write; where that is the first intent, the lease runs out before anybody hears of it."""
        loop = asyncio.get_running_loop()
        if transaction.take is not None:
            self.asked.append(loop.time())
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        if transaction.take is not None and self.seconds is not None and written.result().grant is not None:
            self.doubt(self.seconds)
        return written

    def doubt(self, seconds: float) -> None:
        """Have all leases run out, and be renewed later."""
        self.certain, self.seconds = False, None
        asyncio.get_running_loop().call_later(seconds, self._renewed)

    def _renewed(self) -> None:
        self.certain = True

    async def run(self, name: str = "") -> RunRecord:
        """Read a run; while the lease has run out, so slowly as a database is that has just come back."""
        if not self.certain:
            await asyncio.sleep(self.slow)
        return await self.inner.run(name)


def without_holder(world: World, run_id: str) -> None:
    """Let a run's lease run out, so that others may take it while its holder stands still."""
    del world.database._holders[run_id]


async def events_of(world: World, run_id: str) -> list[ev.Event]:
    async with world.store() as store:
        return [recorded.event for recorded in await store.events(run_id)]


# -- in doubt ----------------------------------------------------------------------------------------------------------


def test_what_was_committed_and_is_not_trusted_at_the_first_byte_does_not_leave() -> None:
    world = World(servers=100, zones=("az1",))

    async def main() -> tuple[Usage, int, Result, list[ev.Event]]:
        async with world.client() as client, world.store() as store:
            async with world.engine(client, Doubtful(store, 20.0), QUOTA) as restarter:
                rollout = restarter.rollout(world.ids, ALL, run_id="r")
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(15)
                usage, sent = await restarter.usage(), world.cloud.audit()["counted_servers"]
                result = await running
            return usage, sent, result, [recorded.event for recorded in await store.events("r")]

    usage, sent, result, journal = world.live(main)
    unsent = [event for event in journal if isinstance(event, ev.BatchRejected)]

    assert sent == 0
    assert (usage.free, usage.held) == (100, 0)
    assert [event.kind for event in unsent] == ["not_sent"]
    assert "may have taken its run" in unsent[0].message
    assert (result.counts[OutcomeKind.RESTARTED], world.cloud.audit()["restarts"]) == (100, 100)


def test_while_it_doubts_nothing_is_asked_for_and_what_is_under_way_is_followed() -> None:
    world = World(servers=300, zones=("az1",), restart_median=20.0)

    async def main() -> tuple[list[float], int, int, Result]:
        async with world.client() as client, world.store() as store:
            doubtful = Doubtful(store)
            async with world.engine(client, doubtful, QUOTA) as restarter:
                rollout = restarter.rollout(world.ids, ALL)
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(10)
                before = len(doubtful.asked)
                doubtful.doubt(600.0)
                await asyncio.sleep(599)
                ended, sent = rollout.state.run.ended[OutcomeKind.RESTARTED], world.cloud.audit()["restarts"]
                asked = doubtful.asked[before:]
                assert asked == []
                result = await running
                return doubtful.asked[before:], ended, sent, result

    began = world.now()
    asked, ended, sent, result = world.live(main)

    assert ended == sent == 100
    assert result.counts[OutcomeKind.RESTARTED] == 300
    assert asked[0] - began - 610 == pytest.approx(0.25, abs=0.3)


def test_to_doubt_for_an_hour_costs_some_looks_a_second_and_no_more() -> None:
    world = World(servers=10, zones=("az1",))

    async def main() -> None:
        async with world.client() as client, world.store() as store:
            doubtful = Doubtful(store)
            async with world.engine(client, doubtful, QUOTA) as restarter:
                doubtful.doubt(3600.0)
                await restarter.rollout(world.ids, ALL).run()

    world.live(main)

    assert world.steps < 3600 * 40


def test_single_restarts_wait_for_trust_too_and_go_on_by_themselves() -> None:
    world = World(servers=3, zones=("az1",))

    async def main() -> tuple[int, list[OutcomeKind]]:
        async with world.client() as client, world.store() as store:
            doubtful = Doubtful(store)
            async with world.engine(client, doubtful, QUOTA) as restarter:
                doubtful.doubt(100.0)
                asked = [restarter.submit(server) for server in world.ids]
                await asyncio.sleep(99)
                sent = world.cloud.audit()["counted_servers"]
                return sent, [outcome.kind for outcome in await asyncio.gather(*asked)]

    assert world.live(main) == (0, [OutcomeKind.RESTARTED] * 3)


class Suspended(Wrapper):
    """The machine is suspended for so long between the commit of its first grant and the next line of Python."""

    def __init__(self, world: World, inner: Any, seconds: float) -> None:
        super().__init__(inner)
        self._world = world
        self._seconds = seconds

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write, and sleep."""
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        if self._seconds and transaction.take is not None and written.result().grant is not None:
            self._world.clock.suspended += self._seconds
            self._seconds = 0.0
        return written


@pytest.mark.parametrize(("seconds", "rejected"), [(0.5, 0), (3600.0, 1)])
def test_a_machine_that_was_suspended_between_grant_and_send_sends_nothing_late(seconds: float, rejected: int) -> None:
    """Its monotonic clock stood still meanwhile, and so did the event loop's."""
    world = World(servers=10, zones=("az1",))

    async def main() -> Result:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, Suspended(world, store, seconds), QUOTA) as restarter,
        ):
            return await restarter.rollout(world.ids, ALL, run_id="r").run()

    result = world.live(main)
    journal = world.live(partial(events_of, world, "r"))

    assert len([event for event in journal if isinstance(event, ev.BatchRejected)]) == rejected
    assert (result.counts[OutcomeKind.RESTARTED], world.cloud.audit()["restarts"]) == (10, 10)


# -- taken over --------------------------------------------------------------------------------------------------------

SOAKS = Strategy(waves="1,100%", soak=3600.0, max_unavailable="100%")
CHECKED = Strategy(waves="100%", max_unavailable="100%", check_interval=1.0, server_timeout=300.0)
GATED = Strategy(waves="1,100%", max_unavailable="100%", gate_timeout=7200.0)


def taken_over(
    world: World, strategy: Strategy, at: float, *, slow: float = 0.0, check: Any = None, gate: Any = None
) -> tuple[float, BaseException, list[ev.Event]]:
    """Have another process take a run whose holder's lease has run out, and who hears of it ``slow`` seconds later.

    ``check`` and ``gate`` are given the name of the process that asks.

    Returns:
        How long the holder took to end, what its run has raised, and the run's events.
    """

    def hooks(who: str) -> dict[str, Any]:
        return {"check": check and partial(check, who), "gate": gate and partial(gate, who)}

    async def main() -> tuple[float, BaseException]:
        loop = asyncio.get_running_loop()
        async with world.client() as client, world.store() as store, world.restarter(name="other") as other:
            doubtful = Doubtful(store)
            doubtful.slow = slow
            async with world.engine(client, doubtful, QUOTA) as restarter:
                rollout = restarter.rollout(world.ids, strategy, run_id="r", **hooks("tester"))
                await rollout.start()
                joined = restarter.submit(world.ids[-1])
                await asyncio.sleep(at)
                without_holder(world, "r")
                doubtful.certain = False
                taken = await (await other.resume("r", **hooks("other"))).start()
                began = loop.time()
                with pytest.raises(RunTaken) as told:
                    await rollout
                assert isinstance(joined.exception(), RunTaken)
                taken.stop()
                await taken
                return loop.time() - began, told.value

    return *world.live(main), world.live(partial(events_of, world, "r"))


def test_a_holder_that_only_waits_hears_soon_that_its_run_was_taken_over() -> None:
    world = World(servers=20)
    took, told, journal = taken_over(world, SOAKS, 600.0)
    changed = [event for event in journal if isinstance(event, ev.HolderChanged)]

    assert took < 1.5
    assert "taken over by other" in str(told)
    assert [event.holder for event in changed] == ["tester", "other"]
    assert world.cloud.audit()["restarts"] == 1


def test_who_may_have_lost_its_run_asks_its_gate_no_more() -> None:
    asked: list[tuple[str, float]] = []
    world = World(servers=20)

    async def gate(who: str, _state: RolloutState) -> GateVerdict:
        asked.append((who, world.now()))
        return "wait"

    taken_over(world, GATED, 200.0, slow=60.0, gate=gate)

    assert {who for who, at in asked if at > 200.0} == {"other"}
    assert len([who for who, at in asked if at <= 200.0]) > 5


def test_who_may_have_lost_its_run_checks_no_server_any_more() -> None:
    world = World(servers=3, zones=("az1",), restart_median=10.0)
    asked: list[tuple[str, float]] = []

    async def check(who: str, _server: Server) -> bool:
        asked.append((who, world.now()))
        return False

    taken_over(world, CHECKED, 60.0, slow=20.0, check=check)

    assert {who for who, at in asked if at > 60.0} == {"other"}
    assert len([who for who, at in asked if at <= 60.0]) > 10


def test_single_restarts_go_on_in_a_new_run_where_somebody_has_taken_theirs() -> None:
    world = World(servers=2, zones=("az1",))

    async def main() -> tuple[OutcomeKind, OutcomeKind, BaseException | None, int]:
        async with (
            world.client() as client,
            world.store() as store,
            world.store() as others,
            world.engine(client, doubtful := Doubtful(store), QUOTA) as restarter,
        ):
            first = await restarter.restart(world.ids[0])
            [record] = await store.runs()
            without_holder(world, record.run_id)
            await others.take_run(record.run_id, replace(record.holder, name="bob"))
            doubtful.certain = False
            waiting = restarter.submit(world.ids[1])
            await asyncio.wait([waiting])
            doubtful.certain = True
            await asyncio.sleep(6)
            again = await restarter.restart(world.ids[1])
            return first.kind, again.kind, waiting.exception(), len(await store.runs())

    first, again, told, runs = world.live(main)

    assert (first, again, runs) == (OutcomeKind.RESTARTED, OutcomeKind.RESTARTED, 2)
    assert "taken over by bob" in str(told)
    assert world.cloud.audit()["restarts"] == 2


class Forgetful(Wrapper):
    """A store that has forgotten too much of a run from its first intent on."""

    forgotten = ""

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write, unless it is to the run of which too much is forgotten."""
        if lease.run_id == self.forgotten:
            refused: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
            refused.set_exception(RecordEdited("forgotten"))
            return refused
        if not self.forgotten and transaction.take is not None:
            self.forgotten = lease.run_id
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        return written

    async def renew(self, _: Lease) -> Lease:
        """Refuse it."""
        raise RecordEdited("forgotten")


def test_servers_of_single_restarts_of_which_the_store_has_forgotten_too_much_can_be_asked_for_again() -> None:
    """Their run is nobody's to go on with: while this process kept it, its servers would be its own for ever."""
    world = World(servers=1, zones=("az1",))

    async def main() -> tuple[BaseException | None, OutcomeKind]:
        async with (
            world.client() as client,
            world.store() as store,
            world.engine(client, Forgetful(store), QUOTA) as restarter,
        ):
            lost = restarter.submit(world.ids[0])
            await asyncio.wait([lost])
            await asyncio.sleep(300)
            return lost.exception(), (await restarter.restart(world.ids[0])).kind

    lost, again = world.live(main)

    assert (type(lost), again) == (RecordEdited, OutcomeKind.RESTARTED)


def test_a_request_in_the_air_as_its_run_is_taken_over_is_answered_and_settled_by_the_next_holder() -> None:
    """Nothing of the answer is written by who has sent it; whoever has the run looks, and sends it to nobody twice."""
    world = World(servers=20, zones=("az1",))

    async def main() -> Result:
        async with world.client() as client, world.store() as store, world.restarter(name="other") as other:
            doubtful = Doubtful(store)
            async with world.engine(client, doubtful, QUOTA) as restarter:
                rollout = restarter.rollout(world.ids, ALL, run_id="r")
                running = asyncio.create_task(rollout.run())
                while not rollout.state.flights:  # noqa: ASYNC110 - what is waited for is no event
                    await asyncio.sleep(0.001)
                without_holder(world, "r")
                doubtful.certain = False
                taken = await (await other.resume("r")).start()
                with pytest.raises(RunConflict, match="taken over by other"):
                    await running
                return await taken

    result = world.live(main)
    journal = world.live(partial(events_of, world, "r"))
    names = [event.name for event in journal]
    changed = [n for n, event in enumerate(journal) if isinstance(event, ev.HolderChanged)]

    assert result.counts[OutcomeKind.RESTARTED] == 20
    assert world.cloud.audit()["restarted_more_than_once"] == 0
    assert names[: changed[1]].count("batch.submitting") == 1
    assert "batch.accepted" not in names[: changed[1]]


# -- leases that run out by themselves ---------------------------------------------------------------------------------


def shared(world: World) -> World:
    """Let the world's processes be those of several machines."""
    world.database = MemoryDatabase(leases=True, clock=world.clock.wall)
    return world


class StandsStill(Wrapper):
    """Renews nothing for ``seconds`` from its first grant on, as a process that stands still, and commits nothing."""

    def __init__(self, inner: DatabaseStore, seconds: float) -> None:
        super().__init__(inner)
        self._seconds = seconds
        self._until = 0.0

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write; the first grant is heard of when the process goes on, and so is everything after it."""
        loop = asyncio.get_running_loop()
        granted = transaction.take is not None and not self._until
        if not granted and loop.time() >= self._until:
            written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
            return written
        told: asyncio.Future[Committed] = loop.create_future()
        if granted:
            self._until = loop.time() + self._seconds
            self.inner._handle.heart.stop()
            loop.call_later(self._seconds, told.set_result, self.inner.commit(lease, transaction).result())
            loop.call_later(self._seconds, self.inner._handle.heart.begin)
            return told

        def write() -> None:
            failure = self.inner.commit(lease, transaction, folded=folded).exception()
            told.set_exception(failure or AssertionError("It has written to a run that it has lost."))

        loop.call_at(self._until, write)
        return told

    async def run(self, name: str = "") -> RunRecord:
        """Read a run, a second after the process goes on: what is about to leave does not wait for that."""
        await asyncio.sleep(max(0.0, self._until + 1.0 - asyncio.get_running_loop().time()))
        return await self.inner.run(name)


@pytest.mark.parametrize("seconds", [1.5, 4.5, 30.0])
def test_who_stood_still_while_another_took_its_run_sends_nothing_of_what_it_had_intended(seconds: float) -> None:
    world = shared(World(servers=20, zones=("az1",)))

    async def main() -> tuple[Result, BaseException | Result, int]:
        async with (
            world.client() as client,
            world.store() as store,
            world.restarter(name="other") as other,
            world.engine(client, StandsStill(store, seconds), QUOTA) as restarter,
        ):
            running = asyncio.create_task(restarter.rollout(world.ids, ALL, run_id="r").run())
            while not running.done():
                await asyncio.sleep(0.1)
                with contextlib.suppress(RunConflict, RunNotFound):
                    taken = await (await other.resume("r")).start()
                    [how] = await asyncio.gather(running, return_exceptions=True)
                    sent = world.cloud.audit()["counted_servers"]
                    return await taken, how, sent
            return await running, await running, world.cloud.audit()["counted_servers"]

    result, how, sent = world.live(main)
    journal = world.live(partial(events_of, world, "r"))
    books = world.cloud.audit()

    assert result.counts[OutcomeKind.RESTARTED] == 20
    assert (books["restarts"], books["restarted_more_than_once"]) == (20, 0)
    assert (isinstance(how, RunTaken), sent) == ((True, 0) if seconds > 4 else (False, 20))
    if isinstance(how, RunTaken):
        assert [event.holder for event in journal if isinstance(event, ev.HolderChanged)] == ["tester", "other"]
        # What it had intended is unknown to the next one, who asks the cloud for it, and sends it itself.
        assert [set(event.servers) for event in journal if isinstance(event, ev.BatchUnstarted)] == [set(world.ids)]
