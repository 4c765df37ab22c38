"""``abort``: what it says and the code that it ends with, by what its asking has come to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from ecsbatch.cli.exit_codes import Exit, code_of_error
from ecsbatch.cli.remote import report_abort, see_abort
from ecsbatch.errors import RunConflict
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Holder, Lease, NewRun, RunRecord, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run
from ecsbatch.store import DatabaseStore, open_store

HOLDER = Holder("ann@web", "web", 7, 0.0)


async def follows(store: DatabaseStore, hold: Lease) -> None:
    await store.commit(hold, Transaction([ev.BatchAccepted(batch=1, job_id="j"), ev.RunAborting(by="bob")]))


async def stands_still(store: DatabaseStore, hold: Lease) -> None:
    await store.commit(hold, Transaction([ev.BatchAccepted(batch=1, job_id="j")]))


async def ends(store: DatabaseStore, hold: Lease) -> None:
    await store.commit(hold, Transaction([ev.RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED))
    await store.release(hold)


async def aborts(store: DatabaseStore, hold: Lease) -> None:
    events = [ev.RunAborting(by="bob"), ev.RunFinished(status="aborted")]
    await store.commit(hold, Transaction(events, status=RunStatus.ABORTED))
    await store.release(hold)


async def goes(store: DatabaseStore, hold: Lease) -> None:
    await store.release(hold)


def asked(holder: Callable[[DatabaseStore, Lease], Awaitable[None]]) -> tuple[bool, RunRecord, float]:
    """Ask for an abort that a holder answers so, a second later; also return how long that took."""
    loop = VirtualLoop()
    clock = VirtualClock(loop)

    async def main() -> tuple[bool, RunRecord, float]:
        async with open_store("memory:", inline=True, clock=clock) as store:
            plan = Plan(fleet=Fleet(["a"]), waves=(Wave(1, 0, 1, "1"),))
            new = NewRun("k7f", plan=plan.to_json(), fleet=plan.fleet, events=[ev.RunStarted(total=1)])
            hold = await store.create_run(new, HOLDER)
            before = await store.run("k7f")
            async with asyncio.TaskGroup() as group:
                asking = group.create_task(see_abort(store, before))
                await asyncio.sleep(1.0)
                await holder(store, hold)
            followed, now = asking.result()
            return followed, now, loop.time()

    return run(main(), loop=loop)


@pytest.mark.parametrize(
    ("holder", "code", "says"),
    [
        (follows, Exit.OK, "Run k7f sends nothing more, and ends once its servers under way have their outcome."),
        (aborts, Exit.OK, "Run k7f aborted."),
        (stands_still, Exit.STOPPED, "(ann@web, pid 7) has not confirmed it within 10s. Whoever goes on with"),
        (goes, Exit.STOPPED, "(ann@web, pid 7) is gone. Whoever goes on with the run follows"),
    ],
)
def test_an_abort_is_done_confirmed_or_only_asked(
    holder: Callable[[DatabaseStore, Lease], Awaitable[None]], code: Exit, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """It said that nothing more is sent, with 0, although the process that should follow had been stopped."""
    followed, now, took = asked(holder)

    assert report_abort(now, followed=followed) is code
    assert says in " ".join(capsys.readouterr().out.split())
    assert took <= 10.5


def test_a_run_that_ended_otherwise_is_a_conflict() -> None:
    with pytest.raises(ExceptionGroup) as failed:
        asked(ends)
    (refused,) = failed.value.exceptions

    assert isinstance(refused, RunConflict)
    assert str(refused) == "Run k7f succeeded before it could abort."
    assert code_of_error(refused) is Exit.REFUSED


def test_a_run_that_ended_otherwise_just_after_nobody_followed_is_a_conflict_too() -> None:
    _, now, _ = asked(goes)
    ended = replace(now, status=RunStatus.SUCCEEDED)

    with pytest.raises(RunConflict, match="k7f succeeded before it could abort"):
        report_abort(ended, followed=False)
