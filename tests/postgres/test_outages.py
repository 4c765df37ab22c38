"""A database that goes away in the middle of a rollout, for a moment, for one of two processes, or for good."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecsbatch.model import events as ev
from ecsbatch.model.run import Holder, Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import Grant, Shortage, TokenRequest
from ecsbatch.store import DatabaseStore, open_store
from ecsbatch.store.failover import LOST_LEDGER

from .bridge import Bridge
from .databases import Databases, place
from .promotion import Pair
from .server import Server
from .taking_over import ENGINE, QUOTA, Scene, books, ended, scene

pytestmark = pytest.mark.real

ANN, BOB = Holder("ann@desk", "desk", 1, 0.0), Holder("bob@lab", "lab", 2, 0.0)


@pytest.fixture
def stage(tmp_path: Path, own_server: Server) -> Iterator[Scene]:
    with scene(tmp_path, Databases(own_server.url()).create()) as made:
        yield made


def test_a_database_that_restarts_costs_a_moment_and_a_standby_leaves_the_run_to_its_holder(
    stage: Scene, own_server: Server
) -> None:
    stage.begin("work", *ENGINE)
    holder = stage.restart("r", stage.cloud.ids[:60])
    stage.until("r", ev.ServerRestarted, 10)
    own_server.restart("immediate")
    code, _, err = ended(holder)

    assert code == 0, err
    assert len(stage.holders("r")) == 1
    said = books(stage.cloud)
    assert (said["restarted_servers"], said["restarted_more_than_once"]) == (60, 0)
    assert said["fullest_window"] <= QUOTA


def test_who_was_cut_off_while_another_took_its_run_submits_and_writes_nothing_and_ends_with_8(
    stage: Scene, own_server: Server
) -> None:
    """Nothing passes in either direction: no answer, and no word of a connection that was closed."""
    with Bridge(place(own_server.url())) as bridge:
        holder = Scene(stage.cloud, bridge.url(stage.url), stage.terminal).restart("c", stage.cloud.ids[:60])
        stage.until("c", ev.BatchAccepted, 2)
        bridge.black_hole()
        taker = stage.resumed("c")
        taken = stage.holders("c")[1].ts
        bridge.heal()
        code, _, err = ended(holder)

    assert code == 8, err
    assert f"Run c was taken over by {stage.holders('c')[1].event.holder}, pid {taker.pid}" in err
    assert ended(taker)[0] == 0
    late = [each for each in stage.events("c") if each.ts > taken and isinstance(each.event, ev.BatchSubmitting)]
    assert {each.event.grant.split(".")[1] for each in late} <= {"2"}
    said = books(stage.cloud)
    assert (said["restarted_servers"], said["restarted_more_than_once"]) == (60, 0)
    assert said["fullest_window"] <= QUOTA


# -- a standby that lacks the last commits -----------------------------------------------------------------------------


async def test_who_lives_through_a_promotion_writes_again_what_it_forgot_and_all_wait(pair: Pair) -> None:
    async with open_store(pair.url()) as ann, open_store(pair.url()) as bob:
        await bob.take(want(1))
        lease = await ann.create_run(NewRun("k", fleet=Fleet(["a", "b"]), events=[ev.RunStarted(total=2)]), ANN)
        await waves(ann, lease, 1)
        pair.break_stream()
        await waves(ann, lease, 2, 3)
        new = await ann.create_run(NewRun("new", fleet=Fleet(["c"]), events=[ev.RunStarted(total=1)]), ANN)
        assert isinstance(await ann.take(want(900)), Grant)
        before = await ann.lines("k")
        pair.fail_over()

        lacks = await bob.take(want(1))
        await waves(ann, lease, 4)
        await waves(ann, new, 1)

        assert isinstance(lacks, Shortage)
        assert lacks.next_in == pytest.approx(LOST_LEDGER, abs=0.1)
        assert (await bob.lines("k"))[: len(before)] == before
        for run_id, count in (("k", 6), ("new", 3)):
            check = await bob.check_chain(run_id)
            assert (check.breach, check.events) == ("", count)
            assert isinstance((await bob.events(run_id, count - 2))[0].event, ev.StoreFailedOver)
        assert await bob.claimed([("", server) for server in "abc"]) == {
            ("", "a"): "k",
            ("", "b"): "k",
            ("", "c"): "new",
        }
        await until_trusted(ann, lease)


async def until_trusted(store: DatabaseStore, lease: Lease) -> None:
    """Wait until a store has renewed the lease of a run at the new primary."""
    async with asyncio.timeout(10.0):
        while not store.trusted(lease):  # noqa: ASYNC110 - a thread renews it
            await asyncio.sleep(0.05)


async def waves(store: DatabaseStore, lease: Lease, *numbers: int) -> None:
    for number in numbers:
        await store.commit(lease, Transaction([ev.WaveStarted(wave=number, servers=1)]))


def want(tokens: int) -> TokenRequest:
    return TokenRequest("site", tokens, 1, 1000, 155.05)
