"""What can be asked of runs by their ids, of whatever process they are, and without a cloud."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import aclosing
from typing import Any

import pytest
from elsewhere import RUN, TWO_WAVES, CountingStore, elsewhere, until_held
from world import World

from ecsbatch import host_loop
from ecsbatch.config.settings import Strategy
from ecsbatch.errors import EngineStopped, Invalid, RunNotFound, SelectionError, ServerNotFound
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.recorded import Recorded
from ecsbatch.model.run import Holder, Lease, NewRun, Transaction
from ecsbatch.model.servers import Fleet
from ecsbatch.model.tokens import TokenRequest
from ecsbatch.policy.explanation import Cause
from ecsbatch.policy.progress import Progress, progress
from ecsbatch.rollout import followed_journal
from ecsbatch.rollout.followed_runs import FollowedRuns
from ecsbatch.rollout.follower import RunFollower, new_history
from ecsbatch.rollout.history import History, LiveRun
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.simulator.virtual_time import Killed
from ecsbatch.store import DatabaseStore, open_store

HOLDER = Holder("ann@web", "web", 7, 0.0)
ALL_AT_ONCE = Strategy(waves="100%", max_unavailable="100%")


def small(**more: Any) -> World:
    return World(servers=40, zones=("az1", "az2"), restart_median=20.0, **more)


async def begun(store: DatabaseStore, run_id: str = RUN, servers: int = 4) -> Lease:
    """Store a run that nobody drives, so that a test says what happens to it."""
    fleet = Fleet([f"{run_id}-{number}" for number in range(servers)], names=[f"web-{n}" for n in range(servers)])
    plan = Plan(fleet=fleet, waves=(Wave(1, 0, servers, "100%"),), max_unavailable=servers, max_failures=0)
    events = [ev.RunStarted(total=servers), ev.HolderChanged(holder="ann@web", fence=1, limit=50, window=10.0)]
    return await store.create_run(NewRun(run_id, plan=plan.to_json(), fleet=fleet, events=events), HOLDER)


# -- runs -----------------------------------------------------------------------------------------------------------


async def test_runs_are_listed_newest_first_by_how_they_stand() -> None:
    async with open_store("memory:", inline=True) as store:
        for number in range(9):
            lease = await begun(store, f"r{number}")
            if number % 2:
                over = Transaction([ev.RunFinished(status="succeeded")], status=RunStatus.SUCCEEDED)
                await store.commit(lease, over)
        await store.create_run(NewRun("single", kind="direct"), HOLDER)
        history = History(store)
        ids = {
            name: [record.run_id for record in await history.runs(**asked)]  # type: ignore[arg-type]
            for name, asked in {
                "all": {},
                "two": {"limit": 2},
                "running": {"status": "running", "limit": 3},
                "succeeded": {"status": RunStatus.SUCCEEDED},
                "paused": {"status": "paused"},
                "none": {"status": "running", "limit": 0},
            }.items()
        }
        kinds = {record.run_id: record.kind for record in await history.runs()}

    assert ids == {
        "all": ["single", *(f"r{number}" for number in range(8, -1, -1))],
        "two": ["single", "r8"],
        "running": ["single", "r8", "r6"],
        "succeeded": ["r7", "r5", "r3", "r1"],
        "paused": [],
        "none": [],
    }
    assert (kinds["single"], kinds["r0"]) == ("direct", "rollout")


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"status": "going"}, "status", "status = 'going': give one of running, paused, "),
        ({"limit": -1}, "limit", "limit = -1: give a count."),
        ({"limit": "9"}, "limit", "limit = '9': give a count."),
    ],
)
async def test_a_listing_of_what_there_is_not_is_refused(asked: dict[str, Any], field: str, says: str) -> None:
    async with open_store("memory:", inline=True) as store:
        with pytest.raises(Invalid) as refused:
            await History(store).runs(**asked)

    assert str(refused.value).startswith(says)
    assert refused.value.field == field


async def test_a_run_is_named_by_its_id_or_its_beginning_and_the_latest_by_nothing() -> None:
    async with open_store("memory:", inline=True) as store:
        history = History(store)
        with pytest.raises(RunNotFound, match="no runs yet"):
            await history.state()
        await begun(store, "night-1")
        await begun(store, "night-2")
        await begun(store, "day")
        found = [(await history.record(name)).run_id for name in ("night-1", "da", "")]
        with pytest.raises(RunNotFound) as several:
            await history.state("night")
        with pytest.raises(RunNotFound) as none:
            await history.explain("noon")

    assert found == ["night-1", "day", "day"]
    assert several.value.candidates == ["night-2", "night-1"]
    assert (none.value.run_id, none.value.candidates) == ("noon", [])


async def test_single_restarts_are_refused_with_a_sentence_by_what_is_about_rollouts() -> None:
    async with open_store("memory:", inline=True) as store:
        await store.create_run(NewRun("single", kind="direct"), HOLDER)
        history = History(store)
        assert (await history.record("single")).kind == "direct"
        for ask in (
            history.state("single"),
            history.explain("single"),
            anext(history.outcomes("single")),
            anext(history.follow("single")),
            history.steer("single").pause(),
            history.steer("single").abort(),
        ):
            with pytest.raises(Invalid, match="Run single holds single restarts of a program") as refused:
                await ask
            assert refused.value.field == "run_id"


def test_without_a_store_it_is_said_that_there_is_none_yet() -> None:
    with pytest.raises(EngineStopped, match="no store yet"):
        _ = History(None).store


# -- states ---------------------------------------------------------------------------------------------------------


def test_the_state_of_another_process_is_its_own_and_is_read_on_from_where_it_was() -> None:
    world = small()

    async def main() -> tuple[list[int], list[int], int]:
        async with elsewhere(world) as at:
            here, there = list[int](), list[int]()
            for _ in range(5):
                await asyncio.sleep(6.0)
                here.append((await at.history.state(RUN)).seq)
                there.append(at.rollout.state.seq)
            return here, there, at.store.asked.count("targets")

    here, there, fetched = world.live(main)

    assert here == there
    assert here[-1] > here[0]
    assert fetched == 1


class SlowStore(CountingStore):
    """Takes a second for a page of events.

    Attributes:
        pages: how many were read.
    """

    pages = 0

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Read now, tell later."""
        self.pages += 1
        found: list[Recorded] = await self.inner.events(run_id, after, limit)
        await asyncio.sleep(1.0)
        return found


def test_however_many_ask_at_once_one_reads_for_all() -> None:
    world = small()

    async def main() -> tuple[int, int, float]:
        async with world.store() as store:
            await begun(store)
            slow = SlowStore(store)
            history = History(slow)  # type: ignore[arg-type]
            began = world.now()
            states = await asyncio.gather(*(history.state(RUN) for _ in range(50)))
            return len(set(map(id, states))), slow.pages, world.now() - began

    states, pages, took = world.live(main)

    assert states == 1
    assert pages <= 5  # those of who asked first, and of all who asked meanwhile
    assert took < 6.0


def test_who_asks_while_another_reads_is_not_told_what_was_read_before() -> None:
    world = small()

    async def main() -> tuple[RunStatus, RunStatus]:
        async with world.store() as store:
            lease = await begun(store)
            history = History(SlowStore(store))  # type: ignore[arg-type]
            await history.state(RUN)
            async with asyncio.TaskGroup() as group:
                early = group.create_task(history.state(RUN))
                await asyncio.sleep(0.5)
                await store.commit(lease, Transaction([ev.RunPaused(by="bob")], status=RunStatus.PAUSED))
                late = await history.state(RUN)
                return late.status, early.result().status

    assert world.live(main) == (RunStatus.PAUSED, RunStatus.PAUSED)


def test_who_is_cancelled_while_reading_leaves_the_others_an_answer() -> None:
    world = small()

    async def main() -> int:
        async with world.store() as store:
            await begun(store)
            history = History(SlowStore(store))  # type: ignore[arg-type]
            first = asyncio.create_task(history.state(RUN))
            second = asyncio.create_task(history.state(RUN))
            await asyncio.sleep(0.5)
            first.cancel()
            return (await second).seq

    assert world.live(main) == 2


async def test_a_run_that_has_the_id_of_one_that_was_forgotten_is_read_anew() -> None:
    async with open_store("memory:", inline=True) as store, open_store("memory:", inline=True) as other:
        await begun(store, servers=4)
        await asyncio.sleep(0)
        await begun(other, servers=9)
        moving = CountingStore(store)
        history = History(moving)  # type: ignore[arg-type]
        before = len((await history.state(RUN)).plan.fleet)
        moving.inner = other
        after = len((await history.state(RUN)).plan.fleet)

    assert (before, after) == (4, 9)


async def test_only_the_runs_last_asked_about_are_kept() -> None:
    async with open_store("memory:", inline=True) as store:
        counting = CountingStore(store)
        history = History(counting)  # type: ignore[arg-type]
        for number in range(20):
            await begun(store, f"r{number}")
            await history.state(f"r{number}")
            await history.state("r0")
        kept = len(history._followed)
        fetched = counting.asked.count("targets")

    assert kept == 16
    assert fetched == 20


async def test_a_run_larger_than_what_is_kept_is_kept_alone() -> None:
    async with open_store("memory:", inline=True) as store:
        counting = CountingStore(store)
        history = History(counting)  # type: ignore[arg-type]
        history._followed = FollowedRuns(lambda: history.store, servers=10)
        for run_id, servers in (("a", 4), ("b", 4), ("large", 20)):
            await begun(store, run_id, servers)
            await history.state(run_id)
        await history.state("large")

    assert len(history._followed) == 1
    assert counting.asked.count("targets") == 3


async def test_a_long_record_is_folded_in_slices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host's loop has other things to do meanwhile."""
    monkeypatch.setattr(host_loop, "SLICE", -1.0)
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async with open_store("memory:", inline=True) as store:
        lease = await begun(store, servers=200)
        events = [ev.ServerRestarted(server=f"{RUN}-{number}") for number in range(200)]
        await store.commit(lease, Transaction(events))
        busy = asyncio.create_task(others())
        state = await History(store).state(RUN)
        busy.cancel()

    assert state.counts[OutcomeKind.RESTARTED] == 200
    assert turns >= 200


# -- outcomes and explanations --------------------------------------------------------------------------------------


def test_outcomes_are_told_one_by_one_and_by_kind() -> None:
    world = small(fail_rate=0.3, fail_to_error=0.0)

    async def main() -> dict[str, list[tuple[str, str]]]:
        strategy = Strategy(waves="100%", max_unavailable="100%", max_failures="100%")
        async with elsewhere(world, strategy) as at:
            await at.running
            asked: dict[str, Any] = {
                "all": (),
                "words": ["failed", "timed_out"],
                "kinds": {OutcomeKind.FAILED, OutcomeKind.TIMED_OUT},
                "one": "restarted",
            }
            return {
                name: [(each.server, each.kind.value) async for each in at.history.outcomes(RUN, kinds)]
                for name, kinds in asked.items()
            }

    told = world.live(main)

    assert sorted(server for server, _ in told["all"]) == sorted(world.ids)
    assert told["words"] == told["kinds"] == [each for each in told["all"] if each[1] != "restarted"] != []
    assert told["one"] == [each for each in told["all"] if each[1] == "restarted"] != []


def test_an_outcome_says_what_its_server_is_called_and_where_it_is() -> None:
    world = small()
    zones = {each: world.cloud.truth(each).zone for each in world.ids}

    async def main() -> list[Outcome]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(await restarter.plan(world.ids))
            await rollout.run()
            return [each async for each in restarter.outcomes(rollout.run_id)]

    told = world.live(main)

    assert {each.server: each.domain for each in told} == zones
    assert all(each.name.startswith("server-") for each in told)


@pytest.mark.parametrize("kinds", ["broken", ["failed", "broken"], [3]])
async def test_a_kind_that_does_not_exist_is_refused_before_anything_is_read(kinds: Any) -> None:
    with pytest.raises(Invalid, match="is none of restarted, failed, ") as refused:
        History(None).outcomes(RUN, kinds)

    assert refused.value.field == "kinds"


def test_a_server_is_explained_by_its_id_its_name_or_the_begin_of_its_id() -> None:
    world = small()

    async def main() -> tuple[list[str], str, str, str, str]:
        async with elsewhere(world) as at, world.restarter(name="other") as restarter:
            await until_held(at.rollout)
            fleet = at.rollout.plan.fleet
            server = fleet.ids[-1]
            other = asyncio.create_task(restarter.rollout([SPARE], ALL_AT_ONCE, run_id="other").run())
            await asyncio.sleep(1.0)
            asked = [(await at.history.explain(RUN, text)).cause.value for text in (server, server[:12], "")]
            claimed = (await at.history.explain(RUN, SPARE)).text
            full = await at.history.explain(RUN, "00000000-0000-4000-8000-000000000000")
            with pytest.raises(ServerNotFound) as none:
                await at.history.explain(RUN, "web-1")
            (begin, _), *_ = Counter(id_[:1] for id_ in fleet.ids).most_common()
            with pytest.raises(SelectionError) as several:
                await at.history.explain(RUN, begin)
            await other
            return asked, claimed, full.cause.value, str(none.value), str(several.value)

    world.ids, SPARE = world.ids[:-1], world.ids[-1]  # noqa: N806 - the one that another run has
    asked, claimed, none_of_them, not_found, several = world.live(main)

    assert asked == ["hold", "hold", "hold"]
    assert claimed == f"Server {SPARE} is claimed by run other until that is over."
    assert none_of_them == "not_of_run"
    assert not_found == "No server of run nightly has 'web-1' as its id, as its name or as the begin of its id."
    assert "servers of the run have ids that begin with" in several


def test_a_run_without_a_living_process_is_explained_so() -> None:
    world = small()

    async def main() -> tuple[str, str]:
        async with elsewhere(world) as at:
            await until_held(at.rollout)
            at.running.cancel()
            await asyncio.wait([at.running])
            answer = await at.history.explain()
            return answer.cause.value, answer.standing

    assert world.live(main) == ("interrupted", "interrupted")


def test_who_has_frozen_the_store_is_told_of_a_run_that_nobody_holds() -> None:
    """No event of it can tell that: its process was gone by then."""
    world = small()

    async def driving() -> None:
        async with world.restarter() as restarter:
            await restarter.rollout(world.ids, TWO_WAVES, run_id=RUN).run()

    async def asking() -> list[Any]:
        async with world.store() as store:
            history = History(store, clock=world.clock)
            follower = RunFollower(store, await new_history(store, await store.run(RUN)))
            told = list[Any]()
            await history.freeze("incident", by="ann")
            await follower.refresh()
            for state in (await history.state(RUN), follower.state):
                told.append(state.frozen)
            answers = await history.explain(RUN), await history.progress(RUN)
            told += [answers[0].cause, "Frozen by ann" in answers[0].text, answers[0].frozen, answers[1].frozen]
            await history.thaw(by="bob")
            await follower.refresh()
            return [*told, (await history.state(RUN)).frozen, follower.state.frozen]

    with pytest.raises(Killed):
        world.live(driving, kill_after=400)
    first, second, cause, words, explained, shown, *thawed = world.live(asking)

    assert (first.by, first.reason) == ("ann", "incident")
    assert first == second == explained == shown
    assert (cause, words, thawed) == (Cause.ORPHANED, True, [None, None])


def test_the_quota_of_the_site_is_what_an_explanation_goes_by() -> None:
    world = small()

    async def main() -> str:
        from ecsbatch.config.settings import Engine  # noqa: PLC0415 - this test alone
        from ecsbatch.model.quota import Quota  # noqa: PLC0415 - the same

        async with world.restarter(Engine(quota=Quota(5, 600.0))) as restarter, world.store() as store:
            running = asyncio.create_task(restarter.rollout(world.ids, ALL_AT_ONCE, run_id=RUN).run())
            await asyncio.sleep(100.0)
            answer = await History(store, clock=world.clock).explain(RUN)
            running.cancel()
            await asyncio.wait([running])
            return answer.text

    assert world.live(main).startswith("The quota of 5 servers is spent: ")


async def test_of_a_halved_quota_no_more_is_free_than_that_for_whoever_asks() -> None:
    """Else a quota that is spent looks half free, and a run that waits for it looks as if nothing held it."""
    fleet = Fleet(["s1", "s2"])
    plan = Plan(fleet=fleet, waves=(Wave(1, 0, 2, "100%"),), max_unavailable=2, max_failures=0)
    events = [
        ev.RunStarted(total=2),
        ev.HolderChanged(holder="ann@web", fence=1, limit=1_000, window=60.0),
        ev.WaveStarted(wave=1),
        ev.QuotaDesync(limit=500, seconds=600.0),
    ]
    async with open_store("memory:", inline=True) as store:
        stored = plan.to_json() | {"sites": {"": "project"}}
        await store.create_run(NewRun(RUN, plan=stored, fleet=fleet, events=events), HOLDER)
        await store.take(TokenRequest("project", 500, 1, 500, 60.0))
        history, record = History(store), await store.run(RUN)
        progress, explained = await history.progress(RUN), await history.explain(RUN)
        follower = RunFollower(store, await new_history(store, record))
        await follower.refresh()
        followed = await follower.usage()

    assert followed is not None
    assert progress.usage is not None
    assert (progress.usage.limit, progress.usage.free) == (followed.limit, followed.free) == (500, 0)
    assert explained.cause is Cause.QUOTA


def test_the_progress_of_another_process_is_that_of_its_own_screen() -> None:
    world = small()

    async def main() -> tuple[Progress, Progress, Progress]:
        async with elsewhere(world) as at:
            await asyncio.sleep(40.1)
            there = await at.history.progress(RUN)
            here = progress(at.rollout.state, world.clock.wall(), usage=there.usage)
            at.rollout.stop()
            await at.running
            return here, there, await at.history.progress(RUN)

    here, there, stopped = world.live(main)

    assert there == here
    assert (there.servers.total, there.usage is not None, there.sending) == (40, True, False)
    assert (there.waits_for.cause, stopped.status, stopped.sending) == ("hold", RunStatus.INTERRUPTED, False)


# -- following ------------------------------------------------------------------------------------------------------


def test_events_of_another_process_come_as_they_are_written_until_its_run_ends() -> None:
    world = small()

    async def main() -> tuple[list[int], list[float], list[int], int]:
        async with elsewhere(world) as at:
            told, late = list[int](), list[float]()
            reading = asyncio.create_task(numbers(at.history, 3))
            async for recorded in at.history.follow(RUN):
                told.append(recorded.seq)
                late.append(world.clock.wall() - recorded.ts)
                if recorded.event.name == "gate.checked" and recorded.event.verdict == "wait":
                    at.rollout.promote()
            return told, late, await reading, at.rollout.state.seq

    told, late, behind, last = world.live(main)

    assert told == list(range(1, last + 1))
    assert behind == list(range(4, last + 1))
    assert max(late) <= 0.6


async def numbers(history: History, after: int = 0, pause: float = 0.0) -> list[int]:
    seen: list[int] = []
    async for recorded in history.follow(RUN, after):
        seen.append(recorded.seq)
        await asyncio.sleep(pause)
    return seen


def test_many_followers_of_a_run_share_the_reading() -> None:
    """Fifty clients of a replica that does not hold the run ask its store no more often than one."""
    world = small()

    async def reads(followers: int) -> tuple[list[list[int]], int, float]:
        async with elsewhere(world, ALL_AT_ONCE, f"{RUN}{followers}") as at:
            await asyncio.sleep(1.0)
            at.store.asked.clear()
            began = world.now()
            tasks = [asyncio.create_task(seen_of(at.history, f"{RUN}{followers}")) for _ in range(followers)]
            told = [await task for task in tasks]
            return told, at.store.asked.count("events"), world.now() - began

    one, alone, lasted = world.live(lambda: reads(1))
    fifty, together, lasted_too = world.live(lambda: reads(50))

    assert len(one) == 1
    assert all(told == fifty[0] == list(range(1, len(fifty[0]) + 1)) for told in fifty)
    assert alone <= 4 * lasted + 10
    assert together <= 4 * lasted_too + 110  # each reads what was before for itself, twice at most


async def seen_of(history: History, run_id: str) -> list[int]:
    return [recorded.seq async for recorded in history.follow(run_id)]


def test_a_slow_follower_sees_everything_and_delays_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(followed_journal, "_KEPT", 5)
    monkeypatch.setattr(followed_journal, "_AT_ONCE", 3)
    world = small()

    async def main() -> tuple[list[int], list[int], float, float]:
        async with elsewhere(world, ALL_AT_ONCE) as at:
            slow = asyncio.create_task(numbers(at.history, 0, 30.0))
            quick = asyncio.create_task(numbers(at.history))
            told = await quick
            ended = world.now()
            await at.running
            return told, await slow, ended, world.now()

    quick, slow, ended, slowly = world.live(main)

    assert quick == slow == list(range(1, len(quick) + 1))
    assert slowly - ended > 600


def test_a_follower_that_leaves_hands_the_reading_on() -> None:
    world = small()

    async def main() -> tuple[list[int], int]:
        async with world.store() as store:
            lease = await begun(store)
            history = History(store)
            leading = asyncio.create_task(seen_of(history, RUN))
            await asyncio.sleep(0)
            staying = asyncio.create_task(seen_of(history, RUN))
            await asyncio.sleep(3.0)
            leading.cancel()
            await asyncio.wait([leading])
            await store.commit(lease, Transaction([ev.RunFinished(status="aborted")], status=RunStatus.ABORTED))
            told = await staying
            return told, len(history._followed._tails)

    assert world.live(main) == ([1, 2, 3], 0)


def test_a_run_that_nobody_holds_is_told_to_its_last_event_and_followed_again_once_it_goes_on() -> None:
    world = small()

    async def main() -> tuple[list[int], bool, list[int]]:
        async with world.store() as store:
            lease = await begun(store)
            history = History(store)
            await store.release(lease)
            left = await seen_of(history, RUN)
            again = await store.take_run(RUN, HOLDER)
            following = asyncio.create_task(seen_of(history, RUN))
            await asyncio.sleep(3.0)
            goes_on = not following.done()
            events = [ev.HolderChanged(holder="bob@web", fence=2), ev.RunFinished(status="succeeded")]
            await store.commit(again, Transaction(events, status=RunStatus.SUCCEEDED))
            told = await following
            return left, goes_on, told

    assert world.live(main) == ([1, 2], True, [1, 2, 3, 4])


def test_who_begins_to_follow_once_a_run_goes_on_is_not_told_of_the_end_before() -> None:
    world = small()

    async def main() -> tuple[list[int], list[int]]:
        async with world.store() as store:
            lease = await begun(store)
            history = History(store)
            slow = asyncio.create_task(numbers(history, 0, 30.0))
            await asyncio.sleep(1.0)
            await store.release(lease)
            quick = await seen_of(history, RUN)
            again = await store.take_run(RUN, HOLDER)
            following = asyncio.create_task(seen_of(history, RUN))
            await asyncio.sleep(5.0)
            events = [ev.HolderChanged(holder="bob@web", fence=2), ev.RunFinished(status="succeeded")]
            await store.commit(again, Transaction(events, status=RunStatus.SUCCEEDED))
            told = await following
            assert not slow.done(), "it has kept what is shared"
            await slow
            return quick, told

    assert world.live(main) == ([1, 2], [1, 2, 3, 4])


class OlderStore(CountingStore):
    """Is of a version that does not know what a pause is."""

    async def events(self, run_id: str, after: int = 0, limit: int = 1000) -> list[Recorded]:
        """Leave out what it does not know."""
        found: list[Recorded] = await self.inner.events(run_id, after, limit)
        return [each for each in found if each.event.name != "run.paused"]


def test_an_event_that_only_a_later_version_knows_is_no_end_of_a_run() -> None:
    world = small()

    async def main() -> list[int]:
        async with world.store() as store:
            lease = await begun(store)
            paused = Transaction([ev.RunPaused(by="bob")], status=RunStatus.PAUSED)
            await store.commit(lease, paused)
            following = asyncio.create_task(seen_of(History(OlderStore(store)), RUN))  # type: ignore[arg-type]
            await asyncio.sleep(5.0)
            await store.commit(lease, paused)
            await asyncio.sleep(5.0)
            await store.commit(lease, Transaction([ev.RunFinished(status="aborted")], status=RunStatus.ABORTED))
            return await following

    assert world.live(main) == [1, 2, 5]


async def test_a_follower_may_leave_at_any_event() -> None:
    async with open_store("memory:", inline=True) as store:
        await begun(store)
        history = History(store)
        async with aclosing(history.follow(RUN)) as events:
            async for recorded in events:
                first = recorded.seq
                break

    assert first == 1
    assert history._followed._tails == {}


@pytest.mark.parametrize("after", [-1, "4", True, 1.5])
def test_what_is_no_number_of_an_event_is_refused(after: Any) -> None:
    with pytest.raises(Invalid, match="give the number of an event, or 0") as refused:
        History(None).follow(RUN, after)

    assert refused.value.field == "after"


@pytest.mark.parametrize("after", [-1, "4", True, 1.5])
@pytest.mark.parametrize("watch", ["events", "lines"])
def test_what_is_no_number_of_an_event_is_refused_by_a_rollout_too(watch: str, after: Any) -> None:
    world = small()

    async def main() -> str:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids)
            with pytest.raises(Invalid, match="give the number of an event, or 0") as refused:
                getattr(rollout, watch)(after)
            return refused.value.field

    assert world.live(main) == "after"


# -- runs of this process -------------------------------------------------------------------------------------------


def test_a_run_of_this_process_is_answered_from_its_rollout() -> None:
    world = small()

    class Here(History):
        rollout: Rollout

        def _live(self, run_id: str) -> LiveRun | None:
            return self.rollout if run_id == RUN else None

    async def main() -> tuple[bool, bool, list[int], int, str, list[str]]:
        async with elsewhere(world, TWO_WAVES) as at:
            here = Here(at.store, clock=world.clock)  # type: ignore[arg-type]
            here.rollout = at.rollout
            await until_held(at.rollout)
            same = [(await here.state(name)) is at.rollout.state for name in (RUN, "night")]
            explained = (await here.explain(RUN)).cause.value
            await here.steer(RUN).promote("ann")
            told = [recorded.seq async for recorded in here.follow(RUN)]
            asked = list(at.store.asked)
            return same[0], same[1], told, at.rollout.state.seq, explained, asked

    by_id, by_begin, told, last, explained, asked = world.live(main)

    assert (by_id, by_begin, explained) == (True, True, "hold")
    assert told == list(range(1, last + 1))
    assert "targets" not in asked
    assert asked.count("events") < 10, "its own journal tells what is new"


def test_who_closes_its_following_of_a_run_of_this_process_reads_nothing_any_more() -> None:
    world = small()

    async def main() -> tuple[int, int, int]:
        async with world.restarter() as restarter:
            rollout = await restarter.rollout(world.ids, TWO_WAVES).start()
            feed = rollout._session.feed
            async with aclosing(restarter.follow(rollout.run_id)) as events:
                first = (await anext(events)).seq
                reading = feed.readers
            return first, reading, feed.readers

    assert world.live(main) == (1, 1, 0)
