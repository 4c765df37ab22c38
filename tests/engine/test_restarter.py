"""`Restarter` as a service: any coroutine asks for any server, and hears that server's own outcome."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from random import Random
from typing import cast

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import ConfigError, EngineStopped, Invalid, RunConflict, SelectionError
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Result
from ecsbatch.model.servers import Server
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.virtual_time import Killed

OTHER = "00000000-0000-4000-8000-000000000000"


def kind_of(world: World, server: str) -> OutcomeKind:
    """What the cloud knows to have become of a server that was restarted."""
    return OutcomeKind.RESTARTED if world.cloud.truth(server).last_restart_ok else OutcomeKind.FAILED


# -- packing -----------------------------------------------------------------------------------------------------


def test_two_thousand_callers_make_twenty_requests_and_each_hears_of_its_own_server() -> None:
    world = World(servers=2_000, fail_rate=0.03)

    async def main() -> list[Outcome]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            asked = [group.create_task(restarter.restart(server)) for server in world.ids]
        return [task.result() for task in asked]

    outcomes = world.live(main)
    audit = world.cloud.audit()

    assert [outcome.server for outcome in outcomes] == world.ids
    assert [outcome.kind for outcome in outcomes] == [kind_of(world, server) for server in world.ids]
    assert len({outcome.kind for outcome in outcomes}) == 2
    assert 20 <= audit["accepted_requests"] <= 22
    assert (audit["fullest_window"], audit["restarted_more_than_once"]) == (1000, 0)


def test_callers_who_come_one_by_one_share_requests_within_the_linger() -> None:
    world = World(servers=100)

    async def main() -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            for server in world.ids:
                group.create_task(restarter.restart(server))
                await asyncio.sleep(0.001)

    world.live(main)

    assert world.cloud.audit()["accepted_requests"] <= 2


def test_every_caller_hears_its_outcome_whatever_goes_wrong_on_the_way() -> None:
    faults = Faults(reject_503=0.1, reset_after=0.1, lost_reply=0.1, retryable_400=0.1, garbage=0.1)
    world = World(servers=500, submit_faults=faults, look_faults=Faults(reject_503=0.1, garbage=0.1))
    missing = world.cloud.missing_ids(3)

    async def main() -> list[Outcome]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            asked = [group.create_task(restarter.restart(server)) for server in [*world.ids, *missing]]
        return [task.result() for task in asked]

    outcomes = world.live(main)
    kinds = Counter(outcome.kind for outcome in outcomes)

    assert [outcome.server for outcome in outcomes] == [*world.ids, *missing]
    assert kinds == {OutcomeKind.RESTARTED: 500, OutcomeKind.SKIPPED: 3}
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_an_outcome_tells_when_and_by_which_job() -> None:
    world = World(servers=1)

    async def main() -> Outcome:
        async with world.restarter() as restarter:
            return await restarter.restart(world.ids[0])

    outcome = world.live(main)

    assert (outcome.kind, outcome.attempts, outcome.reason, outcome.code) == (OutcomeKind.RESTARTED, 1, "", "")
    assert outcome.job_id
    assert outcome.submitted_at is not None
    assert outcome.ended_at is not None
    assert 10 < outcome.ended_at - outcome.submitted_at < 150


def test_without_a_store_two_restarters_on_one_client_share_its_quota() -> None:
    world = World(servers=200)

    async def main() -> None:
        async with (
            world.client() as client,
            Restarter(client, quota=Quota(100, 60.0), clock=world.clock) as one,
            Restarter(client, quota=Quota(100, 60.0), clock=world.clock) as other,
            asyncio.TaskGroup() as group,
        ):
            for i, server in enumerate(world.ids):
                group.create_task((one if i % 2 else other).restart(server))

    world.live(main)
    audit = world.cloud.audit()

    assert (audit["fullest_window"], audit["restarted_servers"]) == (100, 200)


# -- joining -----------------------------------------------------------------------------------------------------


def test_who_asks_for_a_server_that_is_being_restarted_joins_that_restart() -> None:
    world = World(servers=1)

    async def main() -> list[Outcome]:
        async with world.restarter() as restarter:
            queued = [restarter.submit(world.ids[0]) for _ in range(3)]
            await asyncio.sleep(10)
            in_flight = restarter.submit(world.ids[0])
            return [await asyncio.shield(future) for future in [*queued, in_flight]]

    outcomes = world.live(main)

    assert len(set(outcomes)) == 1
    assert world.cloud.restarts(world.ids[0]) == 1


def test_who_asks_again_after_the_outcome_gets_another_restart() -> None:
    world = World(servers=1)

    async def main() -> None:
        async with world.restarter() as restarter:
            await restarter.restart(world.ids[0])
            await restarter.restart(world.ids[0])

    world.live(main)

    assert world.cloud.restarts(world.ids[0]) == 2


@pytest.mark.parametrize("later", [0.0, 10.0])
def test_asking_for_another_type_of_a_server_under_way_is_an_error_that_harms_nobody(later: float) -> None:
    world = World(servers=1)

    async def main() -> Outcome:
        async with world.restarter() as restarter:
            soft = restarter.submit(world.ids[0])
            await asyncio.sleep(later)
            with pytest.raises(ConfigError, match="SOFT already"):
                restarter.submit(world.ids[0], type="HARD")
            return await soft

    assert world.live(main).kind is OutcomeKind.RESTARTED


def test_soft_and_hard_restarts_never_share_a_request() -> None:
    world = World(servers=20)

    async def main() -> None:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            for i, server in enumerate(world.ids):
                group.create_task(restarter.restart(server, type="HARD" if i % 2 else "SOFT"))

    world.live(main)

    assert world.cloud.audit()["accepted_requests"] == 2


def test_who_asks_for_a_server_of_a_rollout_gets_the_rollouts_outcome() -> None:
    world = World(servers=10)

    async def main() -> tuple[list[Outcome], int]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(waves="1,100%", max_unavailable="100%"))
            running = group.create_task(rollout.run())
            await asyncio.sleep(5)
            with pytest.raises(ConfigError, match="which is SOFT"):
                restarter.submit(world.ids[0], type="HARD")
            outcomes = await asyncio.gather(*(restarter.restart(server) for server in world.ids[3:6]))
            return outcomes, (await running).counts[OutcomeKind.RESTARTED]

    outcomes, restarted = world.live(main)

    assert [(outcome.server, outcome.kind) for outcome in outcomes] == [
        (server, OutcomeKind.RESTARTED) for server in world.ids[3:6]
    ]
    assert restarted == 10
    assert world.cloud.audit()["restarts"] == 10


def test_a_server_that_another_process_has_in_a_run_is_refused_with_that_run() -> None:
    world = World(servers=10)

    async def main() -> str:
        async with world.restarter() as mine, world.restarter() as yours, asyncio.TaskGroup() as group:
            rollout = mine.rollout(world.ids, Strategy(max_unavailable=1, waves="100%"), run_id="theirs")
            running = group.create_task(rollout.run())
            await asyncio.sleep(5)
            with pytest.raises(RunConflict) as refused:
                await yours.restart(world.ids[7])
            rollout.stop()
            await running
            return str(refused.value)

    assert "run theirs" in world.live(main)


# -- cancelling --------------------------------------------------------------------------------------------------


def test_cancelled_callers_harm_no_other() -> None:
    world = World(servers=400)
    chance = Random(3)
    gone = {server for server in world.ids if chance.random() < 0.5}

    async def main() -> dict[str, Outcome]:
        async with world.restarter() as restarter:
            asked = {server: asyncio.ensure_future(restarter.restart(server)) for server in world.ids}
            for server in sorted(gone):
                if chance.random() < 0.1:
                    await asyncio.sleep(chance.random())
                asked[server].cancel()
            return {server: await task for server, task in asked.items() if server not in gone}

    outcomes = world.live(main)

    assert set(outcomes) == set(world.ids) - gone
    assert {outcome.kind for outcome in outcomes.values()} == {OutcomeKind.RESTARTED}
    assert all(world.cloud.restarts(server) == 1 for server in outcomes)


def test_a_server_that_nobody_waits_for_any_more_is_left_alone_and_one_still_wanted_is_not() -> None:
    world = World(servers=2)

    async def main() -> None:
        async with world.restarter() as restarter:
            lonely = asyncio.ensure_future(restarter.restart(world.ids[0]))
            joined = asyncio.ensure_future(restarter.restart(world.ids[1]))
            other = asyncio.ensure_future(restarter.restart(world.ids[1]))
            await asyncio.sleep(0)
            lonely.cancel()
            joined.cancel()
            await other

    world.live(main)

    assert [world.cloud.restarts(server) for server in world.ids] == [0, 1]


def test_a_server_whose_caller_left_can_be_asked_for_again() -> None:
    world = World(servers=1)

    async def main() -> Outcome:
        async with world.restarter() as restarter:
            asked = asyncio.ensure_future(restarter.restart(world.ids[0]))
            await asyncio.sleep(5)
            asked.cancel()
            return await restarter.restart(world.ids[0])

    assert world.live(main).kind is OutcomeKind.RESTARTED
    assert world.cloud.restarts(world.ids[0]) == 1


# -- its end -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", [0.0, 0.55, 5.0, 61.0])
def test_who_still_waits_at_the_close_hears_it(seconds: float) -> None:
    world = World(servers=1500)

    async def main() -> list[object]:
        async with world.restarter() as restarter:
            waiting = [restarter.submit(server) for server in world.ids]
            await asyncio.sleep(seconds)
        return list(await asyncio.gather(*waiting, return_exceptions=True))

    heard = world.live(main)

    assert {type(one) for one in heard} <= {Outcome, EngineStopped}
    assert EngineStopped in {type(one) for one in heard}
    assert all(one.kind is OutcomeKind.RESTARTED for one in heard if isinstance(one, Outcome))


def test_a_fault_of_the_engine_fails_the_waiters_and_cancels_nobody() -> None:
    world = World(servers=300)

    async def main() -> tuple[list[BaseException], BaseException, str]:
        async with (
            world.client() as client,
            world.store() as store,
            Restarter(client, store, clock=world.clock) as engine,
        ):
            rollout = engine.rollout(world.ids[:100], Strategy(max_unavailable=10, waves="100%"), run_id="broken")
            running = asyncio.ensure_future(rollout.run())
            waiting = [engine.submit(server) for server in world.ids[100:]]
            await asyncio.sleep(5)
            client.broken = True
            waiting.append(engine.submit(world.ids[0]))
            heard = await asyncio.gather(*waiting, return_exceptions=True)
            ended = (await asyncio.gather(running, return_exceptions=True))[0]
            with pytest.raises(EngineStopped, match="a bug in a look"):
                engine.submit(OTHER)
            status = (await store.run("broken")).status
        task = asyncio.current_task()
        assert task is not None
        assert not task.cancelling()
        return [e for e in heard if isinstance(e, BaseException)], cast("BaseException", ended), status

    heard, ended, status = world.live(main)

    assert heard
    assert {type(error) for error in heard} == {EngineStopped} == {type(ended)}
    assert "a bug in a look" in str(ended)
    assert isinstance(heard[0].__cause__, RuntimeError)
    assert status in {RunStatus.ORPHANED, RunStatus.INTERRUPTED}


def test_outside_its_block_it_refuses_to_work() -> None:
    world = World(servers=1)

    async def main() -> None:
        async with world.client() as client, world.store() as store:
            engine = Restarter(client, store, clock=world.clock)
            with pytest.raises(EngineStopped, match="not running"):
                engine.submit(world.ids[0])
            async with engine:
                pass
            with pytest.raises(EngineStopped, match="has ended"):
                await engine.restart(world.ids[0])
            with pytest.raises(EngineStopped, match="has ended"):
                await engine.rollout(world.ids).run()
            await engine.aclose()

    world.live(main)


def test_what_cannot_be_a_server_or_a_site_is_refused_at_once() -> None:
    world = World(servers=1)

    async def main() -> None:
        async with world.restarter() as restarter:
            with pytest.raises(SelectionError):
                restarter.submit("")
            with pytest.raises(ConfigError, match="'mars'"):
                restarter.submit(Server(world.ids[0], site="mars"))
        with pytest.raises(ConfigError, match="at least one"):
            Restarter({})

    world.live(main)


def test_usage_of_a_site_and_a_resume_of_single_restarts_are_refused_by_name() -> None:
    world = World(servers=1)

    async def main() -> tuple[str, Invalid]:
        async with world.restarter() as restarter:
            await restarter.restart(world.ids[0])
            [record] = await restarter.runs()
            with pytest.raises(ConfigError) as no_site:
                await restarter.usage("elsewhere")
            with pytest.raises(Invalid) as no_rollout:
                await restarter.resume(record.run_id)
            assert no_rollout.value.value == record.run_id
            return str(no_site.value), no_rollout.value

    no_site, no_rollout = world.live(main)

    assert no_site == "The site 'elsewhere' is none of this Restarter's."
    assert no_rollout.as_dict()["field"] == "run_id"
    assert "give the id of a rollout" in str(no_rollout)


# -- what it says of itself --------------------------------------------------------------------------------------


def test_its_repr_tells_the_truth_in_one_line() -> None:
    world = World(servers=1500)
    said: list[str] = []

    async def main() -> None:
        async with world.client() as client, world.store() as store:
            engine = Restarter(client, store, clock=world.clock)
            said.append(repr(engine))
            async with engine:
                said.append(repr(engine))
                waiting = [engine.submit(server) for server in world.ids]
                said.append(repr(engine))
                await asyncio.sleep(15)
                said.append(repr(engine))
                await asyncio.gather(*waiting)
                said.append(repr(engine))
            said.append(repr(engine))

    world.live(main)

    assert said == [
        "<Restarter not started>",
        "<Restarter running [0 direct, 0 rollouts, 0 queued, 0 requests in the air]>",
        "<Restarter running [1500 direct, 0 rollouts, 1500 queued, 0 requests in the air]>",
        "<Restarter running [1500 direct, 0 rollouts, 500 queued, 0 requests in the air, 0 tokens free, more in 46 s]>",
        "<Restarter running [0 direct, 0 rollouts, 0 queued, 0 requests in the air]>",
        "<Restarter closed [0 direct, 0 rollouts, 0 queued, 0 requests in the air]>",
    ]


def test_its_usage_tells_what_is_free_and_when_more_is() -> None:
    world = World(servers=300)

    async def main() -> tuple[int, int, int, float]:
        async with world.restarter() as restarter:
            waiting = [restarter.submit(server) for server in world.ids]
            await asyncio.sleep(10)
            usage = await restarter.usage()
            await asyncio.gather(*waiting)
            return usage.free, usage.held, usage.cooling, usage.next_free_in or 0.0

    free, held, cooling, next_free_in = world.live(main)

    assert (free, held, cooling) == (700, 0, 300)
    assert 45 < next_free_in < 55


def test_a_run_of_an_older_version_goes_on_by_another_name_of_its_project_and_in_no_other() -> None:
    world = World(servers=4)

    async def begin() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, Strategy(waves="1,100%", soak=60.0), run_id="old")
            running = asyncio.create_task(rollout.run())
            while not rollout.state.wave_over:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(1)
            rollout.stop()
            await running

    async def go_on() -> RunStatus:
        async with world.restarter() as restarter:
            return (await (await restarter.resume("old")).run()).status

    world.live(begin)
    plan = "UPDATE runs SET plan = json_set(plan, '$.sites', json_object('', ?)) WHERE run_id = 'old'"
    world.database.connection.execute(plan, ("https://ecs.example.org/ffffffffffffffffffffffffffffffff",))
    with pytest.raises(ConfigError, match=r"belongs to https://ecs\.example\.org/ffff"):
        world.live(go_on)
    world.database.connection.execute(plan, (f"https://ecs.example.org/{world.config.project_id}",))

    assert world.live(go_on) is RunStatus.SUCCEEDED


@pytest.mark.parametrize("jump", [-600.0, 600.0])
@pytest.mark.parametrize("stopped", [False, True])
def test_how_long_a_run_took_does_not_hang_on_the_wall_clock(jump: float, *, stopped: bool) -> None:
    world = World(servers=4)

    async def main() -> tuple[float, float]:
        async with world.restarter() as restarter:
            began = asyncio.get_running_loop().time()
            rollout = restarter.rollout(world.ids, Strategy(waves="1,100%", soak=60.0))
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(30)
            world.clock.wall_offset += jump
            if stopped:
                rollout.stop()
            result = await running
            return result.elapsed_s, asyncio.get_running_loop().time() - began

    told, took = world.live(main)
    assert told == pytest.approx(took, abs=1)


@pytest.mark.parametrize("kill_after", [None, 100])
def test_how_long_a_run_took_leaves_out_the_time_in_which_nobody_held_it(kill_after: int | None) -> None:
    world, week = World(servers=4), 7 * 86_400.0

    async def first() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, Strategy(waves="1,100%", soak=600.0), run_id="r")
            running = asyncio.create_task(rollout.run())
            await asyncio.sleep(300)
            rollout.stop()
            assert (await running).elapsed_s == pytest.approx(300, abs=1)

    async def again() -> Result:
        await asyncio.sleep(week)
        async with world.restarter() as restarter:
            return await (await restarter.resume("r")).run()

    began = world.clock.wall()
    with suppress(Killed):
        world.live(first, kill_after=kill_after)
    result = world.live(again)

    assert result.elapsed_s < 1500
    assert result.began_at == pytest.approx(began, abs=5)
