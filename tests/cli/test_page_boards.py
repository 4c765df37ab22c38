"""A run as it is told to all who watch it: whenever they came, whoever holds it, however slowly they read."""

from __future__ import annotations

import asyncio
import json
from base64 import b64decode
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from world import World

from ecsbatch.cli.dashboard.board import AWAY, Board
from ecsbatch.cli.dashboard.boards import KEPT, Boards
from ecsbatch.cli.dashboard.large_json import json_pieces
from ecsbatch.cli.dashboard.runs_list import RunsList
from ecsbatch.cli.dashboard.stream import MOST_BYTES, MOST_FRAMES, Audience, Seats, Viewer, event_frame
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import StoreError
from ecsbatch.model.json_text import json_bytes
from ecsbatch.model.outcome import RunStatus
from ecsbatch.policy.progress import progress
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.history import History
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.config import Faults
from ecsbatch.views.page.cells import cell_states

RUN = "nightly"
STRATEGY = Strategy(waves="10,100%", max_unavailable=20, max_failures="50%", soak="20s")


def ill() -> World:
    """Return a world in which some restarts fail and some replies are lost."""
    faults = Faults(lost_reply=0.05, reject_503=0.05)
    return World(servers=120, zones=("az1", "az2"), restart_median=20.0, seed=11, fail_rate=0.05, faults=faults)


class Browser:
    """What a page has made of its messages."""

    def __init__(self, board: Board, after: int = 0) -> None:
        self.viewer = Viewer(after)
        self.seen: list[tuple[str, int | None]] = []
        self.notices: list[str] = []
        self.cells = bytearray()
        self.progress: dict[str, Any] = {}
        self.timeline: dict[str, Any] = {}
        self.details: dict[int, Any] = {}
        self.feed: dict[int, Any] = {}
        board.audience.join(self.viewer)
        self._board = board

    async def read(self) -> None:
        """Read to the end."""
        while (frame := await self.viewer.next()) is not None:
            self.take(frame)

    def take(self, frame: bytes) -> None:
        """Take one message in."""
        if not frame:
            return
        fields = dict(line.split(": ", 1) for line in frame.decode().splitlines() if line)
        event, data = fields["event"], json.loads(fields["data"])
        self.seen.append((event, int(fields["id"]) if "id" in fields else None))
        if event == "notice":
            self.notices.append(data["text"])
        if event == "snapshot":
            self.cells, self.timeline, self.details = bytearray(b64decode(data["cells"])), data["timeline"], {}
        for at, to in zip(data.get("at", ()), data.get("to", ()), strict=True):
            self.cells[at] = to
        self.progress = data.get("progress", self.progress)
        self.feed.update({line["seq"]: line for line in data.get("feed", ())})
        self._merge(data.get("details"), data.get("timeline") if event == "changes" else None)

    def _merge(self, details: dict[str, Any] | None, tail: dict[str, Any] | None) -> None:
        if details:
            self.details.update(
                {at: details["values"][what] for at, what in zip(details["at"], details["what"], strict=True)}
            )
        if tail:
            first = tail.pop("from")
            self.timeline = {
                name: self.timeline[name][:first] + value if isinstance(value, list) else value
                for name, value in tail.items()
            }

    @property
    def knows(self) -> tuple[Any, ...]:
        """All but the time at which it was told, and what is told of time from then on."""
        told = {name: value for name, value in self.progress.items() if name not in {"at", "elapsed_s"}}
        told["quota"] = {**told["quota"], "next_free_in": None}
        return bytes(self.cells), told, self.timeline, self.details, self.feed

    def leave(self) -> None:
        """Close the page."""
        self._board.audience.leave(self.viewer)


@asynccontextmanager
async def running(restarter: Restarter, world: World, **more: Any) -> AsyncGenerator[Rollout]:
    rollout = restarter.rollout(world.ids, STRATEGY, run_id=RUN, **more)
    task = asyncio.create_task(rollout.run())
    await anext(rollout.events())
    yield rollout
    await task


@asynccontextmanager
async def watching(boards: Boards, after: int = 0) -> AsyncGenerator[Browser]:
    async with boards.board(RUN) as board:
        browser = Browser(board, after)
        reading = asyncio.create_task(browser.read())
        try:
            yield browser
        finally:
            browser.leave()
            reading.cancel()


def test_whenever_and_wherever_they_came_all_see_the_same() -> None:
    """One from the start in the run's own process, one from the middle in another, one when it is over."""
    world = ill()

    async def main() -> tuple[list[tuple[Any, ...]], bytes, dict[str, Any], dict[str, Any]]:
        async with world.restarter() as restarter, world.store() as store:
            history = History(store, clock=world.clock)
            own, other, later = Boards(restarter), Boards(history), Boards(history)
            async with running(restarter, world) as rollout, watching(own) as first:
                await asyncio.sleep(60.0)
                early = len(first.seen)
                async with watching(other) as second:
                    await rollout
                    await asyncio.sleep(5.0)
                    async with watching(later) as third:
                        await asyncio.sleep(100.0)
                assert early > 20
                found = [each.knows for each in (first, second, third)]
                told = json.loads(json_bytes((await history.progress(RUN)).as_dict()))
                return found, cell_states(rollout.state), told, first.progress

    found, cells, told, last = world.live(main)

    assert found[0] == found[1] == found[2]
    assert found[0][0] == cells
    timeless = [{n: value for n, value in each.items() if n not in {"at", "quota"}} for each in (last, told)]
    assert timeless[0] == timeless[1]
    assert last["status"] == "failed"
    assert last["failed"] > 0


def test_a_message_comes_four_times_a_second_at_most_and_its_number_never_goes_back() -> None:
    world = ill()

    async def main() -> tuple[list[tuple[str, int | None]], float]:
        async with world.restarter() as restarter:
            began = world.clock.wall()
            async with running(restarter, world) as rollout, watching(boards := Boards(restarter)) as browser:
                await rollout
                await asyncio.sleep(2.0)
                seen, took = list(browser.seen), world.clock.wall() - began
            await boards.close(b"")
            return seen, took

    seen, took = world.live(main)

    numbers = [number for _, number in seen if number is not None]
    assert [event for event, _ in seen[:2]] == ["snapshot", "changes"]
    assert {event for event, _ in seen[1:]} == {"changes"}
    assert numbers == sorted(numbers)
    assert len(seen) <= 4 * took + 2


def test_who_reads_too_slowly_gets_all_anew_and_holds_up_nobody() -> None:
    world = ill()

    async def main() -> tuple[Browser, Browser, list[int]]:
        async with (
            world.restarter() as restarter,
            running(restarter, world) as rollout,
            watching(boards := Boards(restarter)) as quick,
            boards.board(RUN) as board,
        ):
            slow, waits = Browser(board), list[int]()
            slow.take(await slow.viewer.next() or b"")
            while rollout.state.status is RunStatus.RUNNING:
                await asyncio.sleep(1.0)
                waits.append(len(slow.viewer._frames))
            await asyncio.sleep(100.0)
            reading = asyncio.create_task(slow.read())
            await asyncio.sleep(2.0)
            reading.cancel()
            return quick, slow, waits

    quick, slow, waits = world.live(main)

    assert max(waits) <= MOST_FRAMES
    assert 0 in waits
    assert [event for event, _ in slow.seen].count("snapshot") == 2
    assert [event for event, _ in quick.seen].count("snapshot") == 1
    assert slow.knows == quick.knows


def test_a_run_takes_as_long_with_one_who_never_reads_as_without() -> None:
    def lasted(*, watched: bool) -> float:
        world = ill()

        async def main() -> float:
            async with world.restarter() as restarter, running(restarter, world) as rollout:
                if watched:
                    async with Boards(restarter).board(RUN) as board:
                        Browser(board)
                        await rollout
                await rollout
                return rollout.state.elapsed

        return world.live(main)

    assert lasted(watched=True) == lasted(watched=False)


def test_another_process_goes_on_with_the_run_and_the_page_with_it() -> None:
    world = ill()

    async def main() -> tuple[list[str], tuple[Any, ...], tuple[Any, ...]]:
        async with world.store() as store:
            boards = Boards(History(store, clock=world.clock))
            async with world.restarter(name="first") as restarter, running(restarter, world) as rollout:
                await asyncio.sleep(2.0)
                async with watching(boards) as browser:
                    await asyncio.sleep(10.0)
                    standings = [browser.progress["status"]]
                    rollout.stop()
                    await rollout
                    await asyncio.sleep(30.0)
                    standings.append(browser.progress["status"])
                    async with world.restarter(name="second") as second:
                        resumed = await second.resume(RUN)
                        task = asyncio.create_task(resumed.run())
                        await asyncio.sleep(20.0)
                        standings.append(browser.progress["status"])
                        await task
                    await asyncio.sleep(100.0)
                    standings.append(browser.progress["status"])
                    async with watching(Boards(History(store, clock=world.clock))) as anew:
                        await asyncio.sleep(2.0)
                        return standings, browser.knows, anew.knows

    standings, went_on, anew = world.live(main)

    assert standings == ["running", "interrupted", "running", "failed"]
    assert went_on == anew


class Counting:
    """Counts what a store is asked, and is away when told so."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.asked: list[str] = []
        self.away = False

    def __getattr__(self, name: str) -> Any:
        """Note the question, and hand it on."""
        self.asked.append(name)
        if self.away and name in {"run", "events", "runs", "frozen"}:
            raise StoreError("The database is away: mend it.")
        return getattr(self.inner, name)


def test_nothing_is_read_once_nobody_watches_for_a_minute() -> None:
    world = ill()

    async def main() -> tuple[int, int, int]:
        async with world.restarter() as restarter, world.store() as store, running(restarter, world) as rollout:
            counting = Counting(store)
            boards = Boards(History(counting, clock=world.clock))  # type: ignore[arg-type]
            listed = RunsList(History(counting, clock=world.clock), boards)  # type: ignore[arg-type]
            listed.begin()
            async with watching(boards):
                await asyncio.sleep(5.0)
            await asyncio.sleep(KEPT - 1.0)
            kept = len(boards)
            await asyncio.sleep(2.0)
            left, asked = len(boards), len(counting.asked)
            await asyncio.sleep(10.0)
            more = len(counting.asked) - asked
            await listed.end()
            await rollout
            return kept, left, more

    assert world.live(main) == (1, 0, 0)


class Silent:
    """A store whose list of runs does not come for a minute, at first."""

    asked = 0
    waiting = 0.0
    waits_for = "the database (no answer yet)"

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        """Hand a question on."""
        return getattr(self.inner, name)

    async def runs(self, limit: int) -> Any:
        """Wait for a minute, the first time."""
        self.asked += 1
        if self.asked == 1:
            self.waiting = AWAY
            await asyncio.sleep(60.0)
            self.waiting = 0.0
        return await self.inner.runs(limit)


def test_on_the_list_a_store_that_does_not_answer_is_told_of_until_it_does() -> None:
    world = ill()

    async def main() -> list[bytes]:
        async with world.store() as store:
            runs = History(Silent(store), clock=world.clock)  # type: ignore[arg-type]
            listed, viewer = RunsList(runs, Boards(runs)), Viewer()
            listed.begin()
            listed.audience.join(viewer)
            told = [await viewer.next(100.0) or b"" for _ in range(3)]
            await listed.end()
            return told

    told = world.live(main)

    assert b"has waited for the database (no answer yet) for some time" in told[0]
    assert told[1] == b'event: notice\ndata: {"text":""}\n\n'
    assert told[2].startswith(b"event: runs\n")


def test_a_store_that_is_away_is_told_of_until_it_is_back() -> None:
    world = ill()

    async def main() -> tuple[list[str], tuple[Any, ...], tuple[Any, ...]]:
        async with world.restarter() as restarter, world.store() as store, running(restarter, world) as rollout:
            counting = Counting(store)
            boards = Boards(History(counting, clock=world.clock))  # type: ignore[arg-type]
            async with watching(boards) as browser:
                await asyncio.sleep(20.0)
                counting.away = True
                await asyncio.sleep(20.0)
                async with watching(boards) as newcomer:
                    await asyncio.sleep(1.0)
                    assert newcomer.notices
                counting.away = False
                await rollout
                await asyncio.sleep(100.0)
                async with watching(Boards(History(store, clock=world.clock))) as anew:
                    await asyncio.sleep(2.0)
                    return browser.notices, browser.knows, anew.knows

    notices, went_on, anew = world.live(main)

    text = "The store cannot be read, so that nothing new is seen: The database is away: mend it."
    assert notices == [text, ""]
    assert went_on == anew


def test_what_is_told_of_a_run_is_what_its_own_screen_shows() -> None:
    world = ill()

    async def main() -> tuple[dict[str, Any], dict[str, Any]]:
        async with world.restarter() as restarter, running(restarter, world) as rollout:
            async with watching(Boards(restarter)) as browser:
                rollout.pause(by="ann")
                await asyncio.sleep(60.0)
                shown = progress(rollout.state, world.clock.wall(), usage=await restarter.usage())
                told = browser.progress
                rollout.resume()
            return json.loads(json_bytes(shown.as_dict())), told

    shown, told = world.live(main)

    for name in ("standing", "paused_by", "servers", "limits", "quota", "counts", "waits_for", "held_after"):
        assert told.get(name) == shown.get(name), name


# -- one viewer's queue -----------------------------------------------------------------------------------------------


async def test_a_queue_is_bounded_by_messages_and_by_bytes() -> None:
    many, large = Viewer(), Viewer()
    for viewer in (many, large):
        viewer.begin(b"all")
    for _ in range(MOST_FRAMES + 5):
        many.put(b"x")
    for _ in range(3):
        large.put(b"x" * (MOST_BYTES // 2))

    assert (many.current, large.current, many.wants_all) == (False, False, False)
    waiting = asyncio.create_task(many.next())
    await asyncio.sleep(0)
    assert many.wants_all
    many.begin(b"all anew")
    assert await waiting == b"all anew"


async def test_a_snapshot_is_told_however_large_it_is() -> None:
    viewer = Viewer()
    viewer.begin(b"x" * 3 * MOST_BYTES)

    assert len(await viewer.next() or b"") == 3 * MOST_BYTES
    viewer.put(b"news")
    assert await viewer.next() == b"news"


async def test_where_nothing_comes_there_is_a_sign_of_life_and_behind_the_last_word_an_end() -> None:
    viewer = Viewer()

    assert await viewer.next(0.01) == b""
    viewer.close(b"bye")
    viewer.put(b"late")
    assert [await viewer.next(), await viewer.next()] == [b"bye", None]
    await viewer.read_to_its_end()


async def test_a_notice_that_stays_is_told_to_those_who_come_later() -> None:
    audience, early, late, after = Audience(), Viewer(), Viewer(), Viewer()
    audience.join(early)
    audience.notice(b"away", stays=True)
    audience.join(late)
    audience.notice(b"back", stays=False)
    audience.join(after)

    assert [await early.next(), await early.next()] == [b"away", b"back"]
    assert [await late.next(), await late.next()] == [b"away", b"back"]
    assert await after.next(0.01) == b""


def test_there_are_so_many_seats() -> None:
    seats = Seats(2)

    assert [seats.take(), seats.take(), seats.take()] == [True, True, False]
    seats.free()
    assert seats.take()


@pytest.mark.parametrize(
    ("number", "frame"), [(None, b'event: e\ndata: {"a":1}\n\n'), (7, b'id: 7\nevent: e\ndata: {"a":1}\n\n')]
)
def test_a_message_is_three_lines_and_an_empty_one(number: int | None, frame: bytes) -> None:
    assert event_frame("e", b'{"a":1}', number) == frame


@pytest.mark.parametrize(
    "value",
    [
        {},
        [],
        "",
        {"a": {}, "b": {"c": [1, None, True, {"d": "\u202e\x1b"}]}},
        {"names": ["<b>", "\u2028", "e\u0301"] * 3000, "\x7f": "x"},
        {"index": "QUJD" * 50_000, "text": "a b\x1b" * 50_000},
    ],
)
def test_large_json_is_the_same_in_pieces(value: Any) -> None:
    pieces = list(json_pieces(value))

    assert b"".join(pieces) == json_bytes(value)
