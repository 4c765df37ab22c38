"""Who watches a Restarter hears every event of this process once, and stops nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

import pytest

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.ports import Watcher
from ecsbatch.model.outcome import Outcome
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.state import RolloutState
from ecsbatch.restarter import Restarter
from ecsbatch.testing import Killed, World

ASKER: ContextVar[str] = ContextVar("asker", default="nobody")


class Notes:
    """Writes down what it hears, and whose context variables it sees."""

    def __init__(self, *, broken: bool = False) -> None:
        self.broken = broken
        self.heard_of: list[Recorded] = []
        self.askers: set[str] = set()
        self.asked_for: list[tuple[str, str]] = []
        self.left_runs: list[str] = []

    def heard(self, recorded: Recorded, state: RolloutState | None) -> None:
        """Note an event."""
        if self.broken:
            raise RuntimeError("watcher")
        assert state is None or state.seq >= recorded.seq
        self.heard_of.append(recorded)
        self.askers.add(ASKER.get())

    def asked(self, server: str, answer: asyncio.Future[Outcome]) -> None:
        """Note who asks."""
        if self.broken:
            raise RuntimeError("watcher")
        assert not answer.done()
        self.asked_for.append((server, ASKER.get()))

    def left(self, run_id: str) -> None:
        """Note a run's end here."""
        if self.broken:
            raise RuntimeError("watcher")
        self.left_runs.append(run_id)


@asynccontextmanager
async def watched(world: World, *watchers: Watcher) -> AsyncGenerator[Restarter]:
    async with (
        world.client() as ecs,
        world.store() as store,
        Restarter(ecs, store, clock=world.clock, seed=7, watchers=watchers) as restarter,
    ):
        yield restarter


def test_every_event_of_a_rollout_is_heard_once_in_the_context_of_who_began_it() -> None:
    notes = Notes()

    async def main() -> list[Recorded]:
        async with watched(world, notes) as restarter:
            ASKER.set("alice")
            rollout = await restarter.rollout(world.ids, Strategy(waves=["1", "100%"]), run_id="r").start()
            ASKER.set("bob")
            await rollout
            return [recorded async for recorded in rollout.events()]

    with World(servers=20, seed=3) as world:
        recorded = world.run(main)

    assert notes.heard_of == recorded
    assert notes.askers == {"alice"}
    assert notes.left_runs == ["r"]


def test_who_takes_a_run_over_hears_only_of_what_it_does_itself() -> None:
    first, second = Notes(), Notes()

    async def begin() -> None:
        async with watched(world, first) as restarter:
            await restarter.rollout(world.ids, Strategy(max_unavailable="20%"), run_id="r").run()

    async def go_on() -> int:
        async with watched(world, second) as restarter:
            rollout = await restarter.resume("r")
            await rollout.run()
            return rollout.state.seq

    with World(servers=40, seed=3) as world:
        with pytest.raises(Killed):
            world.run(begin, kill_after=400)
        last = world.run(go_on)

    numbers = [recorded.seq for recorded in second.heard_of]
    assert 1 < numbers[0] <= first.heard_of[-1].seq + 5
    assert numbers == list(range(numbers[0], last + 1))


def test_single_restarts_are_heard_of_with_who_asked() -> None:
    notes = Notes()

    async def ask(restarter: Restarter, server: str, asker: str) -> None:
        ASKER.set(asker)
        await restarter.restart(server)

    async def main() -> None:
        async with watched(world, notes) as restarter:
            name = next(iter((await world.client().look_at_all(world.ids[2:3])).values())).name
            asks = [(world.ids[0], "alice"), (world.ids[1], "bob"), (name, "carol")]
            await asyncio.gather(*(ask(restarter, server, asker) for server, asker in asks))

    with World(servers=5, seed=3) as world:
        world.run(main)

    assert sorted(notes.asked_for) == sorted(zip(world.ids[:3], ("alice", "bob", "carol"), strict=True))
    assert {"batch.submitting", "server.restarted"} <= {recorded.event.name for recorded in notes.heard_of}


def test_a_watcher_that_fails_is_told_of_and_stops_nothing() -> None:
    notes, faults = Notes(), list[dict[str, Any]]()

    async def main() -> str:
        asyncio.get_running_loop().set_exception_handler(lambda _, told: faults.append(told))
        async with watched(world, Notes(broken=True), notes) as restarter:
            assert (await restarter.restart(world.ids[9])).kind == "restarted"
            return (await restarter.rollout(world.ids[:9]).run()).status

    with World(servers=10, seed=3) as world:
        assert world.run(main) == "succeeded"

    assert notes.heard_of
    assert notes.asked_for
    assert {str(fault["exception"]) for fault in faults} == {"watcher"}
