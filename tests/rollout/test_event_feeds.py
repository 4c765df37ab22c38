"""`Rollout.events`, `Rollout.lines` and `Restarter.events`: the journal, for any number of readers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from world import World, Wrapper

from ecsbatch.config.settings import Strategy
from ecsbatch.engine.journal import EventFeed, JournalWriter
from ecsbatch.errors import StoreError
from ecsbatch.model.events import WaveStarted
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.recorded import Recorded, encode
from ecsbatch.model.run import Holder, NewRun, Transaction
from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.virtual_time import run
from ecsbatch.store import open_store

T = TypeVar("T")

ALL_AT_ONCE = Strategy(max_unavailable="100%", waves="100%")


def test_every_reader_sees_every_event_in_order_and_ends_with_the_run() -> None:
    world = World(servers=120)

    async def main() -> list[list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="1,10%,100%"))
            early = [group.create_task(_all(rollout.events())) for _ in range(20)]
            running = group.create_task(rollout.run())
            await asyncio.sleep(60)
            late = group.create_task(_all(rollout.events()))
            await running
            return [await reader for reader in [*early, late, asyncio.ensure_future(_all(rollout.events()))]]

    seen = world.live(main)

    assert all(each == seen[0] for each in seen)
    assert [recorded.seq for recorded in seen[0]] == list(range(1, len(seen[0]) + 1))
    assert seen[0][0].event.name == "run.started"
    assert seen[0][-1].event.name == "run.finished"
    assert sum(recorded.event.name == "server.restarted" for recorded in seen[0]) == 120


def test_a_reader_starts_behind_the_number_it_is_given() -> None:
    world = World(servers=5)

    async def main() -> list[int]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            await rollout.run()
            return [recorded.seq async for recorded in rollout.events(after=4)]

    seen = world.live(main)

    assert seen == list(range(5, 5 + len(seen)))
    assert seen


def test_a_slow_reader_delays_nobody_and_still_sees_everything() -> None:
    """The run takes as long with a reader that needs an hour as with none."""

    def run(*, watched: bool) -> tuple[float, int, int]:
        world = World(servers=60)

        async def main() -> tuple[float, int, int]:
            async with world.restarter() as restarter, asyncio.TaskGroup() as group:
                rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
                seen = group.create_task(_all(rollout.events(), 60.0)) if watched else None
                await rollout.run()
                ended = world.now()
                return ended, rollout.state.seq, len(await seen) if seen else 0

        return world.live(main)

    alone, watched = run(watched=False), run(watched=True)

    assert watched[:2] == pytest.approx(alone[:2], abs=0.01)
    assert watched[2] == watched[1]


def test_a_reader_that_is_dropped_or_cancelled_half_way_harms_nobody() -> None:
    world = World(servers=60)

    async def main() -> RunStatus:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            running = group.create_task(rollout.run())
            cancelled = group.create_task(_all(rollout.events(), 1.0))
            async for recorded in rollout.events():
                if recorded.seq == 3:
                    break
            cancelled.cancel()
            return (await running).status

    assert world.live(main) is RunStatus.SUCCEEDED


def test_an_event_is_published_only_once_it_is_stored() -> None:
    world = World(servers=60)

    async def main() -> list[bool]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
            group.create_task(rollout.run())
            stored: list[bool] = []
            async for recorded in rollout.events():
                last = await restarter.store.events(rollout.run_id, recorded.seq - 1, 1)
                stored.append(last == [recorded])
            return stored

    stored = world.live(main)

    assert stored
    assert all(stored)


def test_lines_are_the_same_events_as_json() -> None:
    world = World(servers=60)

    async def main() -> tuple[list[bytes], list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            lines = group.create_task(_all(rollout.lines()))
            await rollout.run()
            return await lines, await _all(rollout.events())

    lines, events = world.live(main)
    parsed = [orjson.loads(line) for line in lines]

    assert [(line["seq"], line["event"]) for line in parsed] == [(each.seq, each.event.name) for each in events]
    assert {line["v"] for line in parsed} == {1}


def test_a_run_that_is_over_can_still_be_read() -> None:
    """The same run id prints the result of a run that is over; its events are part of that."""
    world = World(servers=5)

    async def once() -> list[Recorded]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE, run_id="once")
            await rollout.run()
            return await _all(rollout.events())

    first = world.live(once)
    second = world.live(once)

    assert first == second


def test_what_callers_asked_for_one_by_one_can_be_followed_too() -> None:
    """From before the first server was asked for to the engine's end; as a dictionary it is its line of JSON."""
    world = World(servers=30)

    async def main() -> tuple[list[Recorded], list[Recorded]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            early = group.create_task(_all(restarter.events()))
            await asyncio.sleep(1)
            await asyncio.gather(*map(restarter.restart, world.ids))
            late = group.create_task(_all(restarter.events(after=2)))
            await asyncio.sleep(0)
            await restarter.aclose()
        return await early, await late

    early, late = world.live(main)
    names = [recorded.event.name for recorded in early]

    assert (names[0], names[-1]) == ("holder.changed", "run.finished")
    assert sorted(recorded.as_dict()["server"] for recorded in early if recorded.event.name == "server.restarted") == (
        sorted(world.ids)
    )
    assert late == early[2:]
    assert [orjson.loads(encode(recorded)) for recorded in early] == [recorded.as_dict() for recorded in early]


def test_who_follows_an_engine_that_nobody_asks_ends_with_it() -> None:
    world = World(servers=1)

    async def main() -> list[Recorded]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            following = group.create_task(_all(restarter.events()))
            await asyncio.sleep(1)
            await restarter.aclose()
        return await following

    assert world.live(main) == []


# -- what readers share ------------------------------------------------------------------------------------------------


def test_readers_get_the_very_events_that_were_folded_and_the_store_is_not_asked() -> None:
    """Fifty watchers of a service must not read and decode everything fifty times."""
    world = World(servers=60)

    async def main() -> tuple[list[list[Recorded]], int]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            asked = CountingStore(restarter.store)
            restarter._working.runtime.store = asked
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
            readers = [group.create_task(_all(rollout.events())) for _ in range(10)]
            await rollout.run()
            return [await reader for reader in readers], asked.reads

    seen, reads = world.live(main)

    assert reads == 0
    assert all(mine is theirs for other in seen[1:] for mine, theirs in zip(seen[0], other, strict=True))


def test_lines_are_read_once_for_all_who_wait_for_them() -> None:

    def read_by(readers: int) -> tuple[list[list[bytes]], int]:
        world = World(servers=60)
        return world.live(partial(main, world, readers))

    async def main(world: World, readers: int) -> tuple[list[list[bytes]], int]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            asked = CountingStore(restarter.store)
            restarter._working.runtime.store = asked
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="100%"))
            reading = [group.create_task(_all(rollout.lines())) for _ in range(readers)]
            await rollout.run()
            return [await reader for reader in reading], asked.reads

    (alone, once), (together, reads) = read_by(1), read_by(10)

    assert reads == once
    assert {len(each) for each in together} == {len(alone[0])}
    assert all(mine is theirs for other in together[1:] for mine, theirs in zip(together[0], other, strict=True))


def test_what_readers_get_is_what_the_record_says() -> None:
    """From memory or from the store: an event is the same, to its types, also of limits and retries."""
    world = World(servers=40, faults=Faults(error_500_after=0.2, empty_body=0.1))

    async def main() -> tuple[list[Recorded], list[Recorded], list[bytes], list[bytes]]:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, Strategy(max_unavailable="20%", waves="10%,100%"))
            events = group.create_task(_all(rollout.events()))
            lines = group.create_task(_all(rollout.lines()))
            running = group.create_task(rollout.run())
            await asyncio.sleep(30)
            rollout.adjust("me", max_failures_per_wave="50%", max_failures=40)
            rollout.pause("me")
            await asyncio.sleep(1)
            rollout.resume("me", retry=("failed", "unknown"))
            await running
            store, id_ = restarter.store, rollout.run_id
            return await events, await store.events(id_, 0, 10_000), await lines, await store.lines(id_, 0, 10_000)

    events, stored, lines, written = world.live(main)

    assert {"limit.changed", "run.resumed", "batch.submitting"} <= {each.event.name for each in events}
    assert events == stored
    assert [each.as_dict() for each in events] == [each.as_dict() for each in stored]
    assert lines == written


@dataclass(frozen=True)
class Watch:
    """A reader that begins behind ``after``, and needs ``pause`` seconds for each entry."""

    after: int
    pause: float
    lines: bool


steps = st.one_of(
    st.integers(1, 12),
    st.floats(0.5, 20.0),
    st.builds(Watch, st.integers(0, 30), st.sampled_from([0.0, 0.0, 0.4, 3.0]), st.booleans()),
)


@settings(max_examples=150, deadline=None)
@given(st.lists(steps, max_size=25), st.sampled_from([1, 2, 3, 8, 1000]))
def test_every_reader_gets_every_entry_once_in_order_and_none_before_it_is_stored(
    steps: list[int | float | Watch], kept: int
) -> None:
    """Whatever it has missed in memory, on both sides of the edge of what is kept there."""

    async def main() -> None:
        async with open_store("memory:", inline=True) as store:
            lease = await store.create_run(NewRun("run", kind="direct", events=[]), Holder("me", "here", 1, 0.0))
            folded: list[Recorded] = []
            feed = EventFeed(lambda: store, "run", lambda: len(folded), kept=kept)

            def fold(commit: Sequence[Recorded]) -> None:
                folded.extend(commit)
                feed.publish(commit)

            writer = JournalWriter(store, lease, fold)
            watching: list[tuple[Watch, asyncio.Task[list[int]]]] = []
            for step in steps:
                if isinstance(step, Watch):
                    watching.append((step, asyncio.create_task(_numbers(feed, step, folded))))
                elif isinstance(step, int):
                    await writer.record(Transaction([WaveStarted(wave=n) for n in range(step)]))
                else:
                    await asyncio.sleep(step)
            feed.close()
            for watch, task in watching:
                assert await task == list(range(watch.after + 1, len(folded) + 1))

    run(main())


async def _numbers(feed: EventFeed, watch: Watch, folded: Sequence[Recorded]) -> list[int]:
    """Follow, and return the numbers of the entries; none is ahead of what is folded."""
    seen: list[int] = []
    async for entry in feed.lines(watch.after) if watch.lines else feed.events(watch.after):
        seen.append(orjson.loads(entry)["seq"] if isinstance(entry, bytes) else entry.seq)
        assert seen[-1] <= len(folded)
        await asyncio.sleep(watch.pause)
    return seen


@pytest.mark.parametrize("lines", [False, True])
def test_however_much_a_slow_reader_has_to_catch_up_with_little_is_kept_for_it(*, lines: bool) -> None:
    """And nothing at all for nobody."""

    async def main() -> tuple[int, int]:
        async with open_store("memory:", inline=True) as store:
            lease = await store.create_run(NewRun("run", kind="direct", events=[]), Holder("me", "here", 1, 0.0))
            folded: list[Recorded] = []
            feed = EventFeed(lambda: store, "run", lambda: len(folded), kept=10)

            def fold(commit: Sequence[Recorded]) -> None:
                folded.extend(commit)
                feed.publish(commit)

            writer = JournalWriter(store, lease, fold)
            slow = asyncio.create_task(_numbers(feed, Watch(0, 3600.0, lines), folded))
            quick = asyncio.create_task(_numbers(feed, Watch(0, 0.0, lines), folded))
            most = 0
            for _ in range(500):
                await writer.record(Transaction([WaveStarted()]))
                await asyncio.sleep(1)
                most = max(most, len(feed._events._entries) + len(feed._lines._entries))
            feed.close()
            assert await quick == list(range(1, 501)) == await slow
            return most, len(feed._events._entries) + len(feed._lines._entries)

    most, left = run(main())

    assert 10 <= most <= 20
    assert left == 0


def test_a_reader_whose_reading_fails_fails_alone() -> None:
    """The store refuses once: who asked hears it, another who waits for the same lines reads them itself."""

    async def main() -> list[object]:
        async with open_store("memory:", inline=True) as store:
            lease = await store.create_run(NewRun("run", kind="direct", events=[]), Holder("me", "here", 1, 0.0))
            folded: list[Recorded] = []
            refusing = RefusingStore(store)
            feed = EventFeed(lambda: refusing, "run", lambda: len(folded))

            def fold(commit: Sequence[Recorded]) -> None:
                folded.extend(commit)
                feed.publish(commit)

            await JournalWriter(store, lease, fold).record(Transaction([WaveStarted()]))
            feed.close()
            return await asyncio.gather(_all(feed.lines()), _all(feed.lines()), return_exceptions=True)

    refused, read = run(main())

    assert isinstance(refused, StoreError)
    assert isinstance(read, list)
    assert len(read) == 1


class CountingStore(Wrapper):
    """A store that counts how often a journal is read."""

    reads = 0

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Read and count."""
        self.reads += 1
        read: list[Recorded] = await self.inner.events(run_id, after, limit)
        return read

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Read and count."""
        self.reads += 1
        await asyncio.sleep(0.01)
        read: list[bytes] = await self.inner.lines(run_id, after, limit)
        return read


class RefusingStore(Wrapper):
    """A store whose first reading fails, after a while."""

    refused = False

    async def lines(self, run_id: str, after: int = 0, limit: int = 1000) -> list[bytes]:
        """Read."""
        await asyncio.sleep(1)
        if not self.refused:
            self.refused = True
            raise StoreError("not now")
        read: list[bytes] = await self.inner.lines(run_id, after, limit)
        return read


async def _all(reader: AsyncIterator[T], pause: float | None = None) -> list[T]:
    seen: list[T] = []
    async for each in reader:
        seen.append(each)
        if pause is not None:
            await asyncio.sleep(pause)
    return seen
