"""Our own sender is awaited in its caller's task: the limits of a foreign one hold all the same, see `ours`."""

from __future__ import annotations

import asyncio

import pytest

from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import UnknownAnswer
from ecsbatch.foreign import Broke, ours


async def test_an_answer_is_returned_as_it_is() -> None:
    async def call() -> int:
        await asyncio.sleep(0)
        return 7

    assert await ours(call, 1.0) == 7


async def test_what_it_raises_is_told_in_one_line() -> None:
    async def call() -> int:
        raise ConnectionError("no\nway.")

    with pytest.raises(Broke, match=r"^no way$") as caught:
        await ours(call, 1.0)

    assert isinstance(caught.value.error, ConnectionError)
    assert not caught.value.late


async def test_no_answer_in_time_is_late_whatever_its_end_says() -> None:
    async def hangs() -> None:
        await asyncio.sleep(60)

    async def ends_with_an_error() -> None:
        try:
            await asyncio.sleep(60)
        finally:
            raise ConnectionError("closed")

    for call in (hangs, ends_with_an_error):
        with pytest.raises(Broke, match=r"^no answer within 0 s$") as caught:
            await ours(call, 0.0)

        assert caught.value.late


async def test_a_time_out_of_its_own_is_no_lateness() -> None:
    async def call() -> None:
        raise TimeoutError("the proxy took too long")

    with pytest.raises(Broke, match="the proxy") as caught:
        await ours(call, 1.0)

    assert not caught.value.late


async def test_what_it_waits_for_may_be_cancelled_and_nobody_else_is() -> None:
    """As the search for a name is when the connections are closed: the engine's task goes on."""

    async def call() -> None:
        search = asyncio.get_running_loop().create_future()
        search.cancel()
        await search

    with pytest.raises(Broke, match=r"^it was cancelled$"):
        await ours(call, 1.0)

    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0


async def test_a_cancellation_of_ours_goes_through() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def call() -> None:
        begun.set()
        try:
            await asyncio.sleep(60)
        finally:
            ended.set()

    task = asyncio.create_task(ours(call, 60.0))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert ended.is_set()


@pytest.mark.parametrize("watched", [False, True])
async def test_only_a_sender_that_nobody_has_touched_is_our_own(*, watched: bool) -> None:
    """One that raises what ends a task is a foreign one's doing, and harms nobody."""

    class Watcher:
        def sending(self, request: object) -> object:
            raise NotImplementedError(request)

        def saw_ends(self, delays: object) -> None:
            raise NotImplementedError(delays)

    async def sender(_request: Request, on_sent: object) -> Answer:
        assert callable(on_sent)
        on_sent()
        raise SystemExit(3)

    ecs = EcsClient(
        auth=KeyAuth("AKIAEXAMPLE", "SECRETEXAMPLE"),
        project_id="p",
        endpoint="http://127.0.0.1:1",
        sender=sender,
        watchers=[Watcher()] if watched else [],  # type: ignore[list-item]  # a bad one on purpose
    )
    with pytest.raises(UnknownAnswer, match="SystemExit"):
        await ecs.look_at_any()
