"""Who gets servers and tokens, as tables: claims by whose they are, grants by what their taker has heard."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

import pytest
from backends import Backend
from store_world import ALICE, BOB, want

from ecsbatch.errors import RunConflict
from ecsbatch.model.conflicts import ServersClaimed
from ecsbatch.model.events import Event, RunStarted, ServerFailed, ServerRestarted, ServerTimedOut, ServerUnknown
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.store import DatabaseStore


@pytest.fixture
async def store(backend: Backend) -> AsyncIterator[DatabaseStore]:
    async with backend.open() as opened:
        yield opened


async def test_a_run_is_taken_as_it_was_looked_at_or_not_at_all(store: DatabaseStore) -> None:
    lease = await store.create_run(NewRun("k", fleet=Fleet(["a"]), events=[RunStarted(total=1)]), ALICE)
    seen = (await store.run("k")).seq
    await store.commit(lease, Transaction([ServerFailed(server="a")]))
    await store.release(lease)
    with pytest.raises(RunConflict, match="gone on since it was looked at"):
        await store.take_run("k", BOB, as_of=seen)

    record = await store.run("k")
    assert (record.held, record.fence, record.holder.name) == (False, 1, ALICE.name)
    assert (await store.take_run("k", BOB, as_of=record.seq)).fence == 2


@pytest.mark.parametrize(
    ("kind", "status", "held", "free"),
    [
        ("rollout", RunStatus.RUNNING, True, False),
        ("rollout", RunStatus.RUNNING, False, False),
        ("rollout", RunStatus.STOPPED, False, False),
        ("rollout", RunStatus.SUCCEEDED, True, True),
        ("rollout", RunStatus.ABORTED, False, True),
        ("direct", RunStatus.RUNNING, True, False),
        ("direct", RunStatus.RUNNING, False, True),
        ("direct", RunStatus.SUCCEEDED, True, True),
    ],
)
async def test_a_server_is_whose_run_may_still_send_it(
    store: DatabaseStore,
    kind: str,
    status: RunStatus,
    held: bool,  # noqa: FBT001 - the table's
    free: bool,  # noqa: FBT001 - the table's
) -> None:
    server = ("", "a")
    if kind == "direct":
        first = await store.create_run(NewRun("first", "direct"), ALICE)
        await store.commit(first, Transaction(claim=[server]))
    else:
        first = await store.create_run(NewRun("first", fleet=Fleet(["a"]), events=[RunStarted(total=1)]), ALICE)
    if status is not RunStatus.RUNNING:
        await store.commit(first, Transaction(status=status))
    if not held:
        await store.release(first)
    second = await store.create_run(NewRun("second", "direct"), BOB)

    assert await store.claimed([server]) == ({} if free else {server: "first"})
    if free:
        await store.commit(second, Transaction(claim=[server]))
    else:
        with pytest.raises(ServersClaimed, match="first"):
            await store.commit(second, Transaction(claim=[server]))


FAILED = ServerFailed(server="a")


@pytest.mark.parametrize(
    ("told", "heard", "granted"),
    [
        ([], 1, True),
        ([FAILED], 2, True),
        ([FAILED], 1, False),
        ([ServerTimedOut(server="a")], 1, False),
        ([ServerUnknown(server="a")], 1, False),
        ([ServerRestarted(server="a")], 1, True),
        ([FAILED, ServerRestarted(server="b")], 2, False),
        ([FAILED], None, True),
    ],
)
async def test_who_has_not_heard_of_a_failure_gets_no_tokens(
    store: DatabaseStore,
    told: Sequence[Event],
    heard: int | None,
    granted: bool,  # noqa: FBT001 - the table's
) -> None:
    """It may be one too many: ``heard`` is the number of the last event that the taker has folded."""
    lease = await store.create_run(NewRun("r", fleet=Fleet(["a", "b"]), events=[RunStarted(total=2)]), ALICE)
    if told:
        await store.commit(lease, Transaction(told))
    done = await store.commit(lease, Transaction(take=want(1)), folded=heard)

    assert (done.grant is not None) is granted
    if not granted:
        assert (await store.commit(lease, Transaction(take=want(1)), folded=1 + len(told))).grant is not None


async def test_who_does_not_want_tokens_any_more_by_the_time_that_they_could_be_taken_gets_none(
    store: DatabaseStore,
) -> None:
    direct = await store.create_run(NewRun("direct", "direct"), ALICE)
    for wanted in (False, True):
        take = Transaction(take=want(1), wanted=lambda wanted=wanted: wanted, claim=[("", "a")])
        done = await store.commit(direct, take)

        assert (done.grant is not None) is wanted
        assert bool(await store.claimed([("", "a")])) is wanted


@pytest.mark.parametrize(("wanted", "limit", "claimed"), [(3, 10, "abc"), (3, 2, "ab"), (3, 0, "")])
async def test_a_server_is_claimed_with_the_tokens_for_it_and_not_without(
    store: DatabaseStore, wanted: int, limit: int, claimed: str
) -> None:
    direct = await store.create_run(NewRun("direct", "direct"), ALICE)
    servers = [("", each) for each in "abc"[:wanted]]
    await store.commit(direct, Transaction(take=want(wanted, limit=limit), claim=servers))

    assert set(await store.claimed(servers)) == {("", each) for each in claimed}
