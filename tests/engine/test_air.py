"""A request is in the air from the store's door on: nothing leaves too late, and nothing that nobody wants."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from world import LateStore, World, Wrapper

from ecsbatch.config.settings import Engine, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.model import events as ev
from ecsbatch.model.quota import Quota
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.simulator.cloud import Exchange, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import Killed

ALL = Strategy(waves="100%", max_unavailable="100%", max_failures="100%", max_failures_per_wave="100%")
QUOTA = Engine(quota=Quota(100, 60.0))


class Frozen(Wrapper):
    """The process stands still for so long between its first grant and the next line of Python."""

    seconds = 0.0

    def commit(self, lease: Lease, transaction: Transaction, *, folded: int | None = None) -> asyncio.Future[Committed]:
        """Write, and hear of the first grant late."""
        written: asyncio.Future[Committed] = self.inner.commit(lease, transaction, folded=folded)
        if not self.seconds or transaction.take is None or written.result().grant is None:
            return written
        told: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(self.seconds, told.set_result, written.result())
        self.seconds = 0.0
        return told


def fullest_window(world: World) -> int:
    counted = world.cloud.auditor.counted
    return max(sum(n for at, n in counted if until - 60 <= at <= until) for until, _ in counted)


@pytest.mark.parametrize(("seconds", "rejected"), [(4.9, 0), (5.1, 1), (158.0, 1)])
def test_a_process_that_stands_still_between_grant_and_send_sends_nothing_late(seconds: float, rejected: int) -> None:
    """Another process has had the tokens since: a grant's age counts by the ledger's clock, at the last instant."""
    world = World(servers=200, zones=("az1",), quota_limit=None)

    async def main() -> list[ev.Event]:
        async with world.client() as client, world.store() as one, world.client() as other, world.store() as two:
            frozen = Frozen(one)
            frozen.seconds = seconds
            async with world.engine(client, frozen, QUOTA) as late, world.engine(other, two, QUOTA) as quick:
                first = late.rollout(world.ids[:100], ALL, run_id="frozen")
                running = asyncio.create_task(first.run())
                await asyncio.sleep(155.6)
                await quick.rollout(world.ids[100:], ALL, run_id="quick").run()
                await running
                return [recorded.event async for recorded in first.events()]

    journal = world.live(main)

    assert len([event for event in journal if isinstance(event, ev.BatchRejected)]) == rejected
    assert fullest_window(world) == 100
    assert world.cloud.audit()["restarted_servers"] == 200
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("end", ["stop", "abort", "cancel"])
def test_nothing_leaves_once_run_has_returned(end: str) -> None:
    """At some of these instants the intent is on its way to a slow disk, and the end of the run right behind it."""

    async def main(world: World, at: float) -> tuple[int, int]:
        async with world.client() as client, world.store() as store:
            slow = LateStore(store)
            slow.late = 0.3
            async with world.engine(client, slow) as restarter:
                rollout = restarter.rollout(world.ids, replace(ALL, batch_size=10), run_id="r")
                running = asyncio.create_task(rollout.run())
                await asyncio.sleep(at)
                ends: dict[str, Callable[[], object]] = {
                    "stop": rollout.stop,
                    "abort": rollout.abort,
                    "cancel": running.cancel,
                }
                ends[end]()
                await asyncio.wait([running])
                before = world.cloud.audit()["restarts"]
                await asyncio.sleep(120)
                return before, world.cloud.audit()["restarts"]

    for hundredths in range(60, 180, 5):
        world = World(servers=40, zones=("az1",))
        before, after = world.live(partial(main, world, hundredths / 100))
        assert before == after, hundredths


def client(world: World, **timeouts: float) -> EcsClient:
    auth = KeyAuth(world.config.access_key, world.config.secret_key)
    sender = SimulatedSender(world.cloud)
    world._mortal.append(sender)
    return EcsClient(
        auth=auth,
        project_id=world.config.project_id,
        endpoint="https://ecs.example.com",
        sender=sender,
        clock=world.clock,
        **timeouts,  # type: ignore[arg-type]
    )


def test_the_record_names_the_longest_timeout_of_all_clients() -> None:
    """Whoever reads the ledger after this process has to wait until the last of its requests was given up."""
    world = World(servers=1)

    async def main() -> ev.Event:
        slow, plain = client(world, request_timeout=300.0), client(world)
        async with slow, plain, world.store() as store, world.engine({"": plain, "b": slow}, store) as restarter:
            rollout = restarter.rollout(world.ids, ALL, run_id="r")
            await rollout.run()
            return [recorded.event async for recorded in rollout.events()][1]

    changed = world.live(main)

    assert isinstance(changed, ev.HolderChanged)
    assert changed.request_timeout == 300.0


class SlowAtFirst(SimulatedCloud):
    """A cloud that takes 160 s to count its first request."""

    first = True

    def receive(self, *request: Any) -> Exchange:
        """Receive a request."""
        exchange = super().receive(*request)
        if exchange.received.is_action and self.first:
            self.first, exchange.inbound = False, 160.0
        return exchange


def test_a_killed_request_counts_for_as_long_as_its_client_may_have_waited() -> None:
    """It takes 160 s to be counted, within its client's 300; the next process may not spend its tokens meanwhile."""
    world = World(servers=200, zones=("az1",), quota_limit=None)
    world.cloud = SlowAtFirst(world.config, world.now)

    async def life(ids: Sequence[str], *, kill: bool) -> None:
        async with (
            client(world, request_timeout=300.0) as ecs,
            world.store() as store,
            world.engine(ecs, store, QUOTA) as restarter,
        ):
            rollout = restarter.rollout(ids, ALL, run_id="killed" if kill else "next")
            running = asyncio.create_task(rollout.run())
            if kill:
                await asyncio.sleep(2)
                asyncio.get_running_loop().kill_after(0)  # type: ignore[attr-defined]  # the virtual loop's
            await running

    with pytest.raises(Killed):
        world.live(lambda: life(world.ids[:100], kill=True))
    world.live(lambda: life(world.ids[100:], kill=False))

    assert fullest_window(world) == 100
