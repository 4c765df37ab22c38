"""`JournalWriter`: every writer hears an end, whatever fails between the disk and the state."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from store_world import ALICE, HandClock, want

from ecsbatch.engine.journal import JournalWriter
from ecsbatch.errors import EcsbatchError, EngineStopped, StoreError
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.events import BatchAccepted, Event
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Committed, Lease, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import Grant, Settlement
from ecsbatch.store import NewRun, open_store
from ecsbatch.store.worker import ThreadWorker, Write


def folding_badly(at: int) -> Callable[[Sequence[Recorded]], None]:
    """Return a fold that has a bug in one event."""

    def fold(recorded: Sequence[Recorded]) -> None:
        if any(one.seq == at for one in recorded):
            raise KeyError("a bug in a fold")

    return fold


@pytest.mark.parametrize("inline", [False, True])
async def test_a_fault_in_a_fold_is_told_to_its_writer_and_to_who_waits_for_news(*, inline: bool) -> None:
    news = asyncio.Event()
    async with open_store("memory:", clock=HandClock(), inline=inline) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        journal = JournalWriter(store, lease, folding_badly(at=2), on_failure=news.set)
        await journal.record(Transaction([BatchAccepted(batch=1)]))
        with pytest.raises(EngineStopped, match=r"run k could not be followed \(KeyError: 'a bug in a fold'"):
            await journal.record(Transaction([BatchAccepted(batch=2)]))

        assert isinstance(journal.failed, EngineStopped)
        assert news.is_set()


@pytest.mark.parametrize("inline", [False, True])
async def test_behind_an_event_that_was_not_folded_nothing_is_folded_or_written(*, inline: bool) -> None:
    folded: list[int] = []

    def fold(recorded: Sequence[Recorded]) -> None:
        folding_badly(at=2)(recorded)
        folded.extend(one.seq for one in recorded)

    async with open_store("memory:", clock=HandClock(), inline=inline) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        journal = JournalWriter(store, lease, fold)
        granted = (await journal.record(Transaction([BatchAccepted(batch=1)], take=want(10)))).grant
        assert granted is not None
        futures = [journal.record(Transaction([BatchAccepted(batch=n)])) for n in (2, 3)]
        results = await asyncio.gather(*futures, return_exceptions=True)
        late = journal.record(Transaction([BatchAccepted(batch=4)], settle=[Settlement(granted.id, 60.0)]))
        with pytest.raises(EngineStopped):
            await late

        assert [type(result) for result in results] == [EngineStopped] * 2
        assert folded == [1]
        usage = await store.usage("site", 1000)
        assert (usage.held, usage.cooling) == (10, 0)  # it frees itself, as a killed process's does


class SilentStore:
    """A store of somebody else's that drops a write."""

    def commit(self, _lease: Lease, _transaction: Transaction, **_: Any) -> asyncio.Future[Committed]:
        """Promise an answer and cancel it."""
        answer: asyncio.Future[Committed] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(answer.cancel)
        return answer

    def settle(self, _settle: Settlement) -> asyncio.Future[None]:
        """Never asked."""
        raise NotImplementedError


async def test_a_write_that_its_store_drops_is_told_to_its_writer() -> None:
    journal = JournalWriter(SilentStore(), Lease("k", ALICE, 1), lambda _: None)
    with pytest.raises(EngineStopped, match="resume the run"):
        await journal.record(Transaction([BatchAccepted()]))

    assert isinstance(journal.failed, EngineStopped)


async def test_a_server_that_another_run_has_is_no_end_of_the_journal() -> None:
    async with open_store("memory:", clock=HandClock(), inline=True) as store:
        await store.create_run(NewRun("k", fleet=Fleet(["a"])), ALICE)
        journal = JournalWriter(store, await store.create_run(NewRun("d", "direct"), ALICE), lambda _: None)
        with pytest.raises(ServersClaimed):
            await journal.record(Transaction([], claim=[("", "a")]))

        assert journal.failed is None
        assert (await journal.record(Transaction([BatchAccepted()]))).recorded[0].seq == 1


@pytest.mark.parametrize("fault", [StopIteration, asyncio.CancelledError, GeneratorExit])
@pytest.mark.parametrize("inline", [False, True])
async def test_what_an_intent_raises_is_its_writers_alone(fault: type[BaseException], *, inline: bool) -> None:
    def broken(_: Grant) -> list[Event]:
        raise fault

    async with asyncio.timeout(60), open_store("memory:", clock=HandClock(), inline=inline) as store:
        lease = await store.create_run(NewRun("k"), ALICE)
        refused = store.commit(lease, Transaction(take=want(1), intent=broken))
        beside = store.commit(lease, Transaction([BatchAccepted(batch=1)]))
        with pytest.raises((RuntimeError, EcsbatchError)):
            await refused

        assert (await beside).recorded[0].seq == 1
        assert (await store.usage("site", 1000)).held == 0


async def test_the_stores_thread_outlives_whatever_is_raised_on_it() -> None:
    """A thread that ended would leave everybody who waits without a word, for ever."""

    def wild(_: object) -> list[object]:
        raise SystemExit

    async with asyncio.timeout(60):
        worker = ThreadWorker(wild, "memory:")
        for _ in range(2):
            with pytest.raises(StoreError, match="SystemExit"):
                await worker.write(Write(lambda: None))
        await worker.shutdown(lambda: None)
