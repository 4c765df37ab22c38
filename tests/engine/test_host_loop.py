"""Nothing of ours holds the host's loop for long: work in slices, and large pure functions beside the loop."""

from __future__ import annotations

import asyncio
import threading
from uuid import UUID

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.errors import SelectionError
from ecsbatch.host_loop import AT_ONCE, MANY, SLICE, TimeSlice, Turnstile, aside
from ecsbatch.model.servers import Server
from ecsbatch.planning.selection import as_fleet
from ecsbatch.planning.strategy import make_plan
from ecsbatch.rollout.draft import Draft, listed
from ecsbatch.simulator.virtual_time import run

IDS = [str(UUID(int=number)) for number in range(MANY)]


class SteppedLoop(asyncio.SelectorEventLoop):
    """A loop in which a millisecond goes by whenever somebody asks for the time."""

    asked = 0

    def time(self) -> float:
        """Return the time."""
        self.asked += 1
        return self.asked / 1000


def test_work_in_slices_lets_others_run_every_few_milliseconds_and_not_more_often() -> None:
    async def main() -> list[int]:
        worked, gaps = [0], list[int]()

        async def other() -> None:
            while True:
                gaps.append(worked.pop())
                worked.append(0)
                await asyncio.sleep(0)

        beside = asyncio.create_task(other())
        work = TimeSlice()
        for _ in range(100):
            worked[0] += 1
            await work.give_way()
        beside.cancel()
        return gaps

    loop = SteppedLoop()
    gaps = loop.run_until_complete(main())
    loop.close()

    assert 10 < len(gaps) < 50
    assert 2 <= min(gaps) <= max(gaps) <= round(SLICE * 1000) + 1


def test_in_virtual_time_work_takes_no_time_and_nobody_else_runs_before_its_end() -> None:
    async def main() -> list[str]:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "other")
        work = TimeSlice()
        for _ in range(1000):
            await work.give_way()
        order.append("work")
        return order.copy()

    assert run(main()) == ["work"]


@pytest.mark.parametrize(("servers", "beside"), [(MANY - 1, False), (MANY, True)])
def test_only_what_is_of_many_servers_is_worth_a_thread(servers: int, *, beside: bool) -> None:
    async def main() -> bool:
        return await aside(threading.get_ident, servers) != threading.get_ident()

    assert asyncio.run(main()) is beside


@pytest.mark.parametrize("targets", [IDS, [Server(id_, "az1") for id_ in IDS], as_fleet(IDS), iter(IDS[:3])])
def test_a_plan_made_beside_the_loop_is_the_plan(targets: list[str]) -> None:
    strategy = Strategy(max_unavailable="10%", waves="1,10%,100%")
    given = IDS[:3] if not hasattr(targets, "__len__") else targets

    made, _ = asyncio.run(Draft(listed(targets), strategy).settled({}))

    alone = make_plan(as_fleet(given), strategy)
    assert (made.to_json(), list(made.fleet)) == (alone.to_json(), list(alone.fleet))


def test_what_cannot_be_planned_is_refused_beside_the_loop_too() -> None:
    with pytest.raises(SelectionError, match="named 2 times"):
        asyncio.run(Draft([*IDS, IDS[0]]).settled({}))
    with pytest.raises(SelectionError, match="is one text"):
        asyncio.run(Draft("0" * MANY).settled({}))


def test_a_large_fleet_is_handed_to_the_engine_piece_by_piece() -> None:
    """Nothing is lost between two pieces, and all of them go at the instant at which the wave begins."""
    world = World(servers=2500)

    async def main() -> tuple[int, float]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="100%", waves="100%"))
            result = await rollout.run()
            return result.counts["restarted"], world.now()

    restarted, _ = world.live(main)

    assert restarted == 2500


def test_callers_by_the_thousand_pass_a_hundred_in_each_round_and_in_their_order() -> None:
    async def main() -> tuple[list[int], list[int], list[bool]]:
        turnstile, rounds, passed = Turnstile(), [0], list[int]()

        async def call(number: int) -> None:
            await turnstile.turn()
            rounds[-1] += 1
            passed.append(number)

        calls = [asyncio.ensure_future(call(number)) for number in range(1050)]
        calls[500].cancel()
        while not all(each.done() for each in calls):
            await asyncio.sleep(0)
            rounds.append(0)
        return rounds, passed, [each.cancelled() for each in calls]

    rounds, passed, cancelled = run(main())

    assert max(rounds) == AT_ONCE
    assert passed == sorted(passed)
    assert (len(passed), cancelled.count(True)) == (1049, 1)


def test_one_caller_alone_has_its_turn_at_once() -> None:
    async def main() -> list[str]:
        order: list[str] = []
        asyncio.get_running_loop().call_soon(order.append, "other")
        await Turnstile().turn()
        order.append("caller")
        return order.copy()

    assert run(main()) == ["caller"]
