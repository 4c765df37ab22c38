"""What a reader makes of a store while another process holds the run."""

from __future__ import annotations

import time

from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import decode
from ecsbatch.model.run import Holder, Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.policy.standing import aborting_notice, standing
from ecsbatch.rollout.follower import RunFollower, load_history
from ecsbatch.store import DatabaseStore, open_store

IDS = [f"{i:08x}-0000-4000-8000-000000000000" for i in range(4)]
HOLDER = Holder("ann@web", "web", 7, time.time())


async def begun(store: DatabaseStore) -> Lease:
    plan = Plan(fleet=Fleet(IDS), waves=(Wave(1, 0, 4, "100%"),), max_unavailable=4, max_failures=0)
    events = [ev.RunStarted(total=4), ev.HolderChanged(holder="ann@web", fence=1, limit=50, window=10.0)]
    return await store.create_run(NewRun("k7f", plan=plan.to_json(), fleet=plan.fleet, events=events), HOLDER)


async def test_who_asked_to_abort_is_known_before_the_run_has_ended() -> None:
    """Servers under way may take minutes, and the holder may be gone: whoever goes on with the run follows."""
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        before = (await load_history(store, await store.run("k7f"))).asked_to_abort
        await store.command("k7f", {"command": "abort"}, "bob@desk")
        asked = (await load_history(store, await store.run("k7f"))).asked_to_abort
        await store.release(lease)
        gone = await load_history(store, await store.run("k7f"))

    assert before is None
    assert asked is not None
    assert asked.who == "bob@desk"
    assert (gone.state.aborting, gone.aborted_by, gone.state.status) == (True, "bob@desk", RunStatus.ORPHANED)


async def test_an_abort_that_is_recorded_stays_and_an_older_command_is_over() -> None:
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        await store.command("k7f", {"command": "pause"}, "bob@desk")
        asked = await store.command("k7f", {"command": "abort"}, "bob@desk")
        await store.commit(lease, Transaction([ev.HolderChanged(holder="eve@web", fence=2, command=asked)]))
        old = await load_history(store, await store.run("k7f"))
        await store.commit(lease, Transaction([ev.RunAborting(by="eve@web")]))
        recorded = await load_history(store, await store.run("k7f"))
        await store.commit(lease, Transaction([ev.RunFinished(status="aborted")], status=RunStatus.ABORTED))
        over = await load_history(store, await store.run("k7f"))

    assert (old.aborting, recorded.aborting, recorded.aborted_by, over.aborting) == (False, True, "eve@web", False)


async def test_a_follower_sees_what_is_new_and_ends_with_the_run() -> None:
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        followed = RunFollower(store, await load_history(store, await store.run("k7f")))
        quota = followed.quota
        await store.commit(lease, Transaction([ev.RunPaused(by="bob@desk", reason="paused")], status=RunStatus.PAUSED))
        await followed.refresh()
        paused = (followed.state.status, followed.over)
        await store.commit(lease, Transaction([ev.RunFinished(status="aborted")], status=RunStatus.ABORTED))
        await followed.refresh()
        lines = [line async for line in followed.lines(2)]

    assert (quota.limit, quota.window) == (50, 10.0)
    assert paused == (RunStatus.PAUSED, False)
    assert (followed.state.status, followed.over) == (RunStatus.ABORTED, True)
    assert [decode(line).event.name for line in lines if decode(line)] == ["run.paused", "run.finished"]  # type: ignore[union-attr]


async def test_a_follower_sees_at_once_that_somebody_asks_to_abort() -> None:
    """Its process may be stopped, or slow: who watches reads that it was asked, and that it has not followed."""
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        followed = RunFollower(store, await load_history(store, await store.run("k7f")))
        await store.command("k7f", {"command": "abort"}, "bob@desk")
        await followed.refresh()
        asked = standing(followed.state, 0.0).text, aborting_notice(followed.state)
        await store.commit(lease, Transaction([ev.RunAborting(by="bob@desk")]))
        await followed.refresh()
        followed_it = standing(followed.state, 0.0).text

    assert asked[0] == "aborting (not confirmed yet)"
    assert asked[1].startswith("bob@desk asked to abort, which its process has not confirmed yet")
    assert followed_it == "aborting"


async def test_a_run_whose_process_was_gone_goes_on_for_its_follower_once_another_has_it() -> None:
    """What no event says is taken back by the next event."""
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        followed = RunFollower(store, await load_history(store, await store.run("k7f")))
        await store.release(lease)
        await followed.refresh()
        gone = followed.state.status, followed.over
        again = await store.take_run("k7f", HOLDER)
        await followed.refresh()
        taken = followed.state.status, followed.state.reason, followed.over
        await store.commit(again, Transaction([ev.HolderChanged(holder="bob@web", fence=2)]))
        await followed.refresh()
        told = followed.state.status, followed.state.reason, followed.over

    assert gone == (RunStatus.ORPHANED, True)
    assert taken == told == (RunStatus.RUNNING, "", False)


async def test_an_abort_that_was_asked_of_nobody_is_no_record_of_the_run() -> None:
    async with open_store("memory:", inline=True) as store:
        lease = await begun(store)
        followed = RunFollower(store, await load_history(store, await store.run("k7f")))
        await store.release(lease)
        number = await store.command("k7f", {"command": "abort"}, "bob@desk")
        await followed.refresh()
        asked = followed.state.aborting, followed.state.aborted_by
        again = await store.take_run("k7f", HOLDER)
        await store.commit(again, Transaction([ev.HolderChanged(holder="eve@web", fence=2, command=number)]))
        await followed.refresh()

    assert asked == (True, "bob@desk")
    assert (followed.state.aborting, followed.state.aborted_by) == (False, "")
