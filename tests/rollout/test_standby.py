"""A standby beside the process that holds a run: what it takes, what it leaves alone, and what it hands over again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager, nullcontext
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from world import LateStore, World

from ecsbatch.config.settings import Programs, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.errors import ConfigError, EngineStopped, RunConflict, StoreError
from ecsbatch.model import events as ev
from ecsbatch.model.conflicts import RunHeld, RunTaken
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.run import Changes, Holder, RunRecord
from ecsbatch.model.servers import Server
from ecsbatch.policy.standing import standing
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.follower import RunFollower, new_history
from ecsbatch.rollout.hooks import WITHOUT
from ecsbatch.rollout.rollout import Rollout
from ecsbatch.rollout.standby import Standby as StandbyLoop
from ecsbatch.rollout.standby import StandbyNews
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.store import MemoryDatabase
from ecsbatch.testing import ENDPOINT

SLOWLY = Strategy(waves="100%", max_unavailable=1, max_failures="100%", max_failures_per_wave=None)
AT_ONCE = Strategy(waves="100%", max_unavailable="100%")
GATED = Strategy(waves="1,100%", max_unavailable=1, gate="./may-i")
ASKING = Strategy(waves="4,100%", max_unavailable=1, gate="true")


class Standing:
    """A standby at work, and what it has said."""

    def __init__(self, restarter: Restarter, **given: Any) -> None:
        self.restarter = restarter
        self.news: list[StandbyNews] = []
        self.heard = asyncio.Event()
        self.task = asyncio.create_task(restarter.stand_by(on_news=self._hear, **given))

    def _hear(self, news: StandbyNews) -> None:
        self.news.append(news)
        self.heard.set()

    def words(self) -> list[tuple[str, str]]:
        """What it said, without the sentences."""
        return [(each.word, each.run_id) for each in self.news]


@asynccontextmanager
async def standby(world: World, name: str = "standby", **given: Any) -> AsyncGenerator[Standing]:
    """Stand by in a process of its own for as long as the block lasts."""
    async with world.restarter(name=name) as restarter:
        at_work = Standing(restarter, **given)
        try:
            yield at_work
        finally:
            at_work.task.cancel()
            await asyncio.wait([at_work.task])


async def left(world: World, *run_ids: str, strategy: Strategy = SLOWLY, hand_over: bool = True, **given: Any) -> None:
    """Begin runs of five servers each in a process that ends a moment later, in order."""
    async with world.restarter(name="first") as restarter:
        for number, run_id in enumerate(run_ids):
            servers = world.ids[5 * number : 5 * number + 5]
            await restarter.rollout(servers, strategy, run_id=run_id, **given).start()
        await asyncio.sleep(5)
        await restarter.aclose(hand_over=hand_over)


async def _all_over(world: World, *run_ids: str) -> list[str]:
    """Wait until runs are over, and return how."""
    async with asyncio.timeout(7200), world.store() as store:
        while True:
            records = [await store.run(run_id) for run_id in run_ids]
            if all(each.status.over for each in records):
                return [each.status.value for each in records]
            await asyncio.sleep(1)


def _died(world: World, *run_ids: str) -> None:
    """Have a process begin runs and be killed."""

    async def first() -> None:
        async with world.restarter(name="first") as restarter:
            for number, run_id in enumerate(run_ids):
                servers = world.ids[5 * number : 5 * number + 5]
                await restarter.rollout(servers, SLOWLY, run_id=run_id).start()
            await asyncio.sleep(3600)

    with pytest.raises(BaseException, match="killed"):
        world.live(first, kill_after=300)


def test_a_run_that_is_handed_over_goes_on_in_the_process_beside_it_within_a_second() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, ...]:
        async with standby(world) as beside:
            async with world.restarter(name="first") as restarter:
                rollout = await restarter.rollout(world.ids, SLOWLY, run_id="night").start()
                await asyncio.sleep(5)
                await restarter.aclose(hand_over=True)
                stopped, how = world.now(), standing(rollout.state, 0.0)
            await beside.heard.wait()
            taken = world.now() - stopped
            statuses = await _all_over(world, "night")
            events = await beside.restarter.store.events("night")
            return (how.text, rollout.state.reason, taken, statuses, beside.words(), events)

    text, reason, taken, statuses, words, events = world.live(main)

    assert (text, reason, statuses) == ("handed over (not taken yet)", "handed_over", ["succeeded"])
    assert taken < 1.1
    assert words == [("taken", "night"), ("ended", "night")]
    holders = [each.event.holder for each in events if isinstance(each.event, ev.HolderChanged)]
    assert holders == ["first", "standby"]
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_what_a_dead_process_has_left_is_taken_and_what_somebody_has_stopped_or_closed_is_not() -> None:
    world = World(servers=25)
    _died(world, "dead")

    async def stopped() -> None:
        async with world.restarter(name="other") as restarter:
            by_word = await restarter.rollout(world.ids[5:10], SLOWLY, run_id="stopped").start()
            cancelled = asyncio.ensure_future(restarter.rollout(world.ids[10:15], SLOWLY, run_id="cancelled").run())
            await restarter.rollout(world.ids[15:20], SLOWLY, run_id="closed").start()
            await asyncio.sleep(2)
            by_word.stop()
            cancelled.cancel()
            await asyncio.wait([cancelled])

    async def main() -> list[tuple[str, str]]:
        async with standby(world) as beside:
            await _all_over(world, "dead")
            await asyncio.sleep(10)
            return beside.words()

    world.live(stopped)

    assert world.live(main) == [("taken", "dead"), ("ended", "dead")]
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_of_two_that_race_one_has_each_run_and_the_other_says_nothing() -> None:
    world = World(servers=15)
    runs = ("a", "b", "c")
    _died(world, *runs)

    async def main() -> list[list[tuple[str, str]]]:
        async with standby(world, "one", max_runs=9) as one, standby(world, "other", max_runs=9) as other:
            await _all_over(world, *runs)
            await asyncio.sleep(2)
            return [one.words(), other.words()]

    words = world.live(main)

    assert sorted(words[0] + words[1]) == sorted([(word, run) for run in runs for word in ("taken", "ended")])
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_it_has_no_more_runs_than_it_may_and_only_those_that_it_is_for() -> None:
    world = World(servers=20)
    _died(world, "a", "b", "c", "d")

    async def main() -> tuple[int, list[str], list[str]]:
        most = 0
        async with standby(world, runs=["b", "c", "d"], max_runs=2) as beside:
            waiting = asyncio.create_task(_all_over(world, "b", "c", "d"))
            while not waiting.done():
                most = max(most, len(beside.restarter.rollouts))
                await asyncio.sleep(0.5)
            a = await beside.restarter.record("a")
            return most, [run for word, run in beside.words() if word == "taken"], [a.status]

    assert world.live(main) == (2, ["b", "c", "d"], ["orphaned"])


@pytest.mark.parametrize(
    ("ask", "stands"),
    [(Rollout.stop, RunStatus.INTERRUPTED), (Rollout.abort, RunStatus.ABORTED), (None, RunStatus.SUCCEEDED)],
    ids=["stopped", "aborted", "done"],
)
def test_a_run_that_has_ended_since_it_was_looked_at_is_left_alone(
    ask: Callable[[Rollout], object] | None, stands: RunStatus
) -> None:
    """Its row is read, then its lock is found free: in between its process has written how it ends, and is gone."""
    world = World(servers=5)

    async def main() -> tuple[RunStatus, str, int]:
        async with world.restarter(name="first") as restarter, world.store() as store:
            rollout = await restarter.rollout(world.ids, SLOWLY, run_id="night").start()
            await asyncio.sleep(5)
            seen = replace(await store.run("night"), status=RunStatus.ORPHANED, held=False)
            if ask is not None:
                ask(rollout)
            await rollout.result()
        async with world.restarter(name="standby") as beside:
            with pytest.raises(RunConflict, match="gone on since"):
                await beside.standby_worker().take_over(seen)
            record = await beside.store.run("night")
            return record.status, record.holder.name, record.fence

    assert world.live(main) == (stands, "first", 1)


@pytest.mark.parametrize(("since", "fence"), [(0, 3), (1, 2)])
def test_a_run_that_was_over_is_ended_again_as_it_was_looked_at_or_not_at_all(since: int, fence: int) -> None:
    """Whoever was about to try its servers again has died: its row says interrupted, and its record that it is over."""
    world = World(servers=5)

    async def main() -> int:
        async with world.restarter(name="first") as restarter, world.store() as store:
            await restarter.rollout(world.ids, SLOWLY, run_id="night").run()
            seen = await store.run("night")
            await store.release(await store.take_run("night", Holder("second", "there", 1, 0.0)))
            changes = Changes(as_of=seen.seq - since)
            with pytest.raises(RunConflict, match="gone on since") if since else nullcontext():
                await (await restarter.resume("night", changes=changes)).start()
            return (await store.run("night")).fence

    assert world.live(main) == fence


def test_what_was_paused_stays_paused_until_a_person_says_so() -> None:
    world = World(servers=5)

    async def main() -> list[Any]:
        async with world.restarter(name="first") as restarter:
            rollout = await restarter.rollout(world.ids, SLOWLY, run_id="night").start()
            await asyncio.sleep(5)
            rollout.pause("ada")
            await asyncio.sleep(60)
            await restarter.aclose(hand_over=True)
        async with standby(world) as beside:
            await asyncio.sleep(120)
            progress = await beside.restarter.progress("night")
            sent = world.cloud.audit()["restarted_servers"]
            await asyncio.sleep(120)
            more = world.cloud.audit()["restarted_servers"] - sent
            await beside.restarter.steer("night").resume("ada")
            return [progress.standing.text, more, *await _all_over(world, "night")]

    assert world.live(main) == ["paused by ada", 0, "succeeded"]


def test_a_run_that_is_being_aborted_is_only_looked_after_and_its_gate_is_not_asked() -> None:
    world = World(servers=5)

    async def main() -> list[Any]:
        await left(world, "night", strategy=ASKING)
        before = world.cloud.audit()["restarted_servers"]
        async with standby(world) as alone, world.store() as store:
            await asyncio.sleep(5)
            refused = [each.message for each in alone.news]
            await store.command("night", {"command": "abort"}, "ada")
            alone.task.cancel()
        async with standby(world) as beside:
            statuses = await _all_over(world, "night")
            return [refused, statuses, beside.words(), world.cloud.audit()["restarted_servers"] - before]

    refused, statuses, words, more = world.live(main)

    assert "which is none of allow_programs here" in refused[0]
    assert (statuses, words, more) == (["aborted"], [("taken", "night"), ("ended", "night")], 0)


@pytest.mark.parametrize(
    ("strategy", "given", "said"),
    [
        (GATED, {}, "Run night is left alone: it names the gate ./may-i, which is none of allow_programs here."),
        (Strategy(check="cmd:./up {id}"), {}, "it names the check 'cmd:./up {id}', which is none of"),
        (
            Strategy(check="url:http://10.0.0.1/{id}"),
            {},
            "it names the check 'url:http://10.0.0.1/{id}', which is none",
        ),
        (SLOWLY, {"check": True}, "it was planned with a check of its own program, which this one does not bring"),
        (SLOWLY, {"gate": True}, "it was planned with a gate of its own program, which this one does not bring"),
    ],
)
def test_what_it_lacks_something_for_is_left_alone_and_it_says_why_once(
    strategy: Strategy, given: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("may-i", "up"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o700)
    monkeypatch.chdir(tmp_path)
    world = World(servers=5)

    async def yes(_: Any) -> Any:
        return True

    async def first() -> None:
        await left(world, "night", strategy=strategy, **dict.fromkeys(given, yes))

    async def main() -> tuple[list[StandbyNews], str]:
        async with standby(world) as beside:
            await asyncio.sleep(60)
            return beside.news, (await beside.restarter.record("night")).status.value

    world.live(first)
    sent = world.cloud.audit()["requests"]
    [news], status = world.live(main)

    assert (news.word, news.run_id, status) == ("left_alone", "night", "interrupted")
    assert said in news.message
    assert world.cloud.audit()["requests"] == sent


def test_a_file_of_certificates_that_only_the_record_names_is_not_read() -> None:
    world, authority = World(servers=5), str(Path(__file__).parent / "other_ca.pem")

    async def main() -> list[str]:
        await left(world, "night", strategy=Strategy(check="https:8443/health", check_ca=authority))
        async with standby(world) as beside:
            await asyncio.sleep(5)
            return [each.message for each in beside.news]

    [message] = world.live(main)

    assert message.endswith(f"it names the file of certificates {authority}, which is none of allow_programs here.")


def test_a_run_of_another_project_is_left_alone_by_its_quota() -> None:
    world = World(servers=5)

    async def main() -> list[str]:
        await left(world, "night")
        key = KeyAuth(world.config.access_key, world.config.secret_key)
        other = EcsClient(
            auth=key, project_id="other", endpoint=ENDPOINT, sender=SimulatedSender(world.cloud), clock=world.clock
        )
        async with other as client, world.store() as store, world.engine(client, store) as restarter:
            at_work = Standing(restarter)
            await asyncio.sleep(5)
            at_work.task.cancel()
            return [each.message for each in at_work.news]

    [message] = world.live(main)

    assert f"it belongs to project {world.config.project_id}, and the key here is for other" in message


def test_a_callable_that_it_brings_and_a_text_of_its_own_settings_are_asked() -> None:
    world, asked = World(servers=10), list[str]()

    async def healthy(server: Server) -> bool:
        asked.append(server.id)
        return True

    async def first() -> None:
        async with world.restarter(name="first") as restarter:
            await restarter.rollout(world.ids[:5], SLOWLY, run_id="called", check=healthy).start()
            await restarter.rollout(world.ids[5:], GATED, run_id="gated", gate=WITHOUT).start()
            await asyncio.sleep(5)
            await restarter.aclose(hand_over=True)

    async def main() -> list[str]:
        async with standby(world, check=healthy):
            return await _all_over(world, "called", "gated")

    world.live(first)
    asked.clear()

    assert world.live(main) == ["succeeded", "succeeded"]
    assert set(asked) >= set(world.ids[1:5])


def test_nothing_that_only_a_record_names_runs_though_the_store_is_private_and_the_look_before_was_passed() -> None:
    """The second line of defence: a record that is changed between the look and the taking."""
    world = World(servers=5)

    async def main() -> str:
        await left(world, "night", strategy=Strategy(waves="1,100%", max_unavailable=1, gate="true"))
        async with world.restarter(name="standby") as restarter:
            worker = restarter.standby_worker()
            with pytest.raises(Exception, match="names the gate true, and nobody is asked here") as refused:
                await worker.take_over(await restarter.record("night"))
            return type(refused.value).__name__

    assert world.live(main) == "ProgramRefused"


def test_allow_programs_lets_a_gate_run_by_its_very_text() -> None:
    world = World(servers=5)

    async def main() -> list[Any]:
        await left(world, "night", strategy=Strategy(waves="1,100%", max_unavailable=1, gate="true"))
        async with world.client() as client, world.store() as store:
            allowed = Programs(allow_programs=["true"])
            async with Restarter(client, store, programs=allowed, clock=world.clock, name="standby") as restarter:
                record = await restarter.record("night")
                worker = restarter.standby_worker()
                return [await worker.lacking(record), (await worker.take_over(record)).held]

    assert world.live(main) == [[], True]


class ShakyStore:
    """A store that cannot list runs while it is `away`."""

    def __init__(self, inner: Any, *, raises: bool) -> None:
        self.inner, self.away, self.raises = inner, False, raises

    def __getattr__(self, name: str) -> Any:
        """Hand on."""
        return getattr(self.inner, name)

    async def open_rollouts(self) -> Any:
        """Fail, wait, or list."""
        if self.away and self.raises:
            raise StoreError("The database does not answer.")
        while self.away:  # noqa: ASYNC110 - a store has no other word
            await asyncio.sleep(0.1)
        return await self.inner.open_rollouts()

    @property
    def waiting(self) -> float:
        """Whether it waits."""
        return float(self.away)

    waits_for = "the database (connection refused)"


@pytest.mark.parametrize(
    ("raises", "why"),
    [(True, "The database does not answer."), (False, "The store waits for the database (connection refused).")],
)
def test_a_store_that_is_away_is_told_of_once_and_looked_at_until_it_is_back(*, raises: bool, why: str) -> None:
    world = World(servers=5)

    async def main() -> list[StandbyNews]:
        async with world.client() as client, world.store() as inner:
            store = ShakyStore(inner, raises=raises)
            async with world.engine(client, store) as restarter:
                at_work = Standing(restarter)
                store.away = True
                await left(world, "night")
                await asyncio.sleep(30)
                store.away = False
                await _all_over(world, "night")
                await asyncio.sleep(2)
                at_work.task.cancel()
                return at_work.news

    news = world.live(main)

    assert [each.word for each in news] == ["store_away", "store_back", "taken", "ended"]
    assert news[0].message == f"The runs cannot be looked at until the store answers. {why}"


def test_it_ends_with_its_engine_and_says_so() -> None:
    world = World(servers=5)

    async def main() -> str:
        async with world.restarter() as restarter:
            at_work = Standing(restarter)
            await asyncio.sleep(1)
        with pytest.raises(EngineStopped):
            await at_work.task
        return "ended"

    assert world.live(main) == "ended"


def test_who_starts_anew_takes_what_was_handed_over_too() -> None:
    world = World(servers=5)

    async def main() -> list[RunStatus]:
        await left(world, "night")
        async with world.restarter() as restarter:
            rollouts: list[Rollout] = await restarter.resume_orphans()
            return [(await each).status for each in rollouts]

    assert world.live(main) == [RunStatus.SUCCEEDED]


@pytest.mark.parametrize("hand_over", [True, False])
def test_a_run_whose_servers_came_back_while_its_stop_was_being_written_is_found_all_the_same(
    *, hand_over: bool
) -> None:
    """What looks have shown meanwhile stands behind the stop in the record: the stop is not its last event."""
    world = World(servers=120)
    pairs = Strategy(waves="100%", max_unavailable="100%", batch_size=2)  # of so many requests one is looked at soon

    async def main() -> list[Any]:
        async with (
            world.client() as client,
            world.store() as inner,
            world.engine(client, LateStore(inner)) as restarter,
        ):
            rollout = await restarter.rollout(world.ids, pairs, run_id="night").start()
            while rollout.state.counts["restarted"] < 40:  # noqa: ASYNC110 - what is waited for is no event
                await asyncio.sleep(0.1)
            await restarter.aclose(timeout=10, hand_over=hand_over)
            events = [each.event.name for each in await inner.events("night")]
        async with standby(world) if hand_over else world.restarter() as other:
            taken = [] if isinstance(other, Standing) else [each.run_id for each in await other.resume_orphans()]
            return [events[events.index("run.stopped") + 1 :], taken, *await _all_over(world, "night")]

    behind, taken, status = world.live(main)

    assert "server.restarted" in behind
    assert (taken, status) == ([] if hand_over else ["night"], "succeeded")
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("after", [0.0, 0.2, 0.7, 1.5, 2.5])
def test_one_that_ends_while_it_is_taking_a_run_leaves_it_for_the_next(after: float) -> None:
    """Its store tells late what is written: at whatever instant, the run is nothing then that nobody would take."""
    world = World(servers=5)
    _died(world, "night")

    async def main() -> list[Any]:
        async with (
            world.client() as client,
            world.store() as inner,
            world.engine(client, LateStore(inner)) as restarter,
        ):
            at_work = Standing(restarter)
            await asyncio.sleep(after)
            at_work.task.cancel()
            await asyncio.wait([at_work.task])
            await restarter.aclose(hand_over=True)
            record = await inner.run("night")
        async with standby(world, "other"):
            return [record.status, *await _all_over(world, "night")]

    status, end = world.live(main)

    assert status in {"orphaned", "interrupted"}
    assert end == "succeeded"
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("after", [0.0, 0.2, 0.7, 1.5, 2.5])
def test_one_that_is_ended_while_it_starts_leaves_what_it_was_taking_for_one_that_stands_by(after: float) -> None:
    """Cancelling what a service does first when it starts is nobody's word that the run should stop."""
    world = World(servers=5)
    _died(world, "night")

    async def main() -> list[Any]:
        async with (
            world.client() as client,
            world.store() as inner,
            world.engine(client, LateStore(inner)) as restarter,
        ):
            starting = asyncio.create_task(restarter.resume_orphans())
            await asyncio.sleep(after)
            starting.cancel()
            await asyncio.wait([starting])
            await restarter.aclose(hand_over=True)
            record = await inner.run("night")
        async with standby(world, "other"):
            return [record.status, *await _all_over(world, "night")]

    status, end = world.live(main)

    assert status in {"orphaned", "interrupted"}
    assert end == "succeeded"
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("stands_by", [True, False])
def test_who_watches_sees_through_a_hand_over_and_waits_for_the_next_process_for_a_while(*, stands_by: bool) -> None:
    world = World(servers=5)

    async def watched(leave: asyncio.Event) -> tuple[str, float, int]:
        async with world.store() as store:
            history = await new_history(store, await store.run("night"))
            follower = RunFollower(store, history, patience=15.0)
            lines = asyncio.create_task(_count(follower))
            await follower.to_its_end(leave)
            return follower.state.status.value, world.now(), await lines

    async def main() -> tuple[str, float, bool]:
        async with world.restarter(name="first") as restarter:
            await restarter.rollout(world.ids, SLOWLY, run_id="night").start()
            watching = asyncio.create_task(watched(asyncio.Event()))
            await asyncio.sleep(5)
            await restarter.aclose(hand_over=True)
            left = world.now()
        if stands_by:
            async with standby(world) as beside:
                status, ended, lines = await watching
                return status, ended - left, lines == (await beside.restarter.record("night")).seq
        status, ended, _ = await watching
        return status, ended - left, True

    status, seconds, whole = world.live(main)

    assert (status, whole) == (("succeeded", True) if stands_by else ("interrupted", True))
    assert seconds > 30 if stands_by else 14 < seconds < 17


async def _count(follower: RunFollower) -> int:
    return len([line async for line in follower.lines()])


# -- leases by time ----------------------------------------------------------------------------------------------------


def test_it_looks_at_the_leases_own_end_and_has_the_run_at_that_instant() -> None:
    world = World(servers=5)
    world.database.close()
    world.database = MemoryDatabase(leases=True, clock=world.clock.wall)
    _died(world, "night")

    async def main() -> tuple[float, float, list[str]]:
        async with standby(world) as beside:
            left = (await beside.restarter.record("night")).lease_left
            assert left is not None
            ends = world.now() + left
            await beside.heard.wait()
            return left, world.now() - ends, await _all_over(world, "night")

    left, late, statuses = world.live(main)

    assert 1 < left <= 4
    assert 0 <= late < 0.1
    assert statuses == ["succeeded"]
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_of_two_that_wait_for_one_lease_one_has_the_run() -> None:
    world = World(servers=15)
    world.database.close()
    world.database = MemoryDatabase(leases=True, clock=world.clock.wall)
    _died(world, "a", "b", "c")

    async def main() -> list[tuple[str, str]]:
        async with standby(world, "one") as one, standby(world, "other") as other:
            await _all_over(world, "a", "b", "c")
            await asyncio.sleep(2)
            return one.words() + other.words()

    assert sorted(world.live(main)) == sorted([(word, run) for run in "abc" for word in ("taken", "ended")])
    assert world.cloud.audit()["restarted_more_than_once"] == 0


# -- what becomes of what was taken ------------------------------------------------------------------------------------


class Taken:
    """A run that was taken, and ends as a test wants."""

    run_id = "night"

    def __init__(self, end: Exception) -> None:
        self._end = end

    def __await__(self) -> Generator[Any, None, Any]:
        """End."""
        yield from asyncio.sleep(1).__await__()
        raise self._end


class TakesAll:
    """Takes what it is given, from a store that has one orphan for ever.

    Attributes:
        tried: when it took.
    """

    def __init__(self, taken: Taken | None = None, fault: Exception | None = None) -> None:
        holder = Holder("ann@web", "web", 7, 0.0)
        self._record = RunRecord("night", "rollout", 0.0, RunStatus.ORPHANED, holder, False, 1, 1, 5, {}, "", {})  # noqa: FBT003 - as it stands
        self._taken, self._fault = taken, fault
        self.tried: list[float] = []

    @property
    def store(self) -> Any:
        """Itself: it lists the orphan."""
        return self

    async def open_rollouts(self) -> list[RunRecord]:
        """List the orphan."""
        return [self._record]

    def check(self) -> None:
        """Be well."""

    async def lacking(self, _: RunRecord) -> list[str]:
        """Lack nothing."""
        return []

    async def take_over(self, _: RunRecord) -> Any:
        """Take, or fail."""
        self.tried.append(asyncio.get_running_loop().time())
        if self._fault is not None:
            raise self._fault
        return self._taken


def played(taker: TakesAll, seconds: float) -> list[StandbyNews]:
    """Stand by with a taker for so long; return what was said."""
    news = list[StandbyNews]()

    async def main() -> None:
        looking = asyncio.create_task(StandbyLoop(taker, on_news=news.append).run())
        await asyncio.sleep(seconds)
        looking.cancel()
        await asyncio.wait([looking])

    World(servers=1).live(main)
    return news


def test_what_another_process_has_taken_is_told_by_its_name() -> None:
    news = played(TakesAll(Taken(RunTaken("night", Holder("bob@db", "db", 8, 0.0)))), 1.5)

    assert [(each.word, each.run_id) for each in news] == [("taken", "night"), ("lost", "night")]
    assert "taken over by bob@db" in news[1].message


def test_what_ends_by_an_error_or_cannot_be_taken_is_tried_again_ever_more_seldom_and_told_once() -> None:
    broken = TakesAll(Taken(StoreError("The disk is full.")))
    refusing = TakesAll(fault=ConfigError("There is no program ./up."))
    ended, refused = played(broken, 60), played(refusing, 60)

    assert [round(later - before) for before, later in pairwise(broken.tried)] == [6, 11, 21]
    assert {each.word for each in ended} == {"taken", "ended"}
    assert "The disk is full." in ended[1].message
    assert [round(later - before) for before, later in pairwise(refusing.tried)] == [5, 10, 20]
    assert [(each.word, each.message) for each in refused] == [
        ("left_alone", "Run night is left alone: There is no program ./up.")
    ]


def test_what_another_one_was_quicker_with_is_no_word_worth() -> None:
    taker = TakesAll(fault=RunHeld("night", Holder("bob@db", "db", 8, 0.0)))

    assert played(taker, 5.5) == []
    assert [round(later - before) for before, later in pairwise(taker.tried)] == [1, 1, 1, 1, 1]


# -- edited records ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("strategy", "edit"),
    [
        (SLOWLY, "UPDATE journal SET lines = 'nonsense' WHERE run_id = 'edited'"),
        (GATED, "UPDATE journal SET lines = 'nonsense' WHERE run_id = 'edited' AND seq_first = 1"),
        (GATED, "UPDATE targets SET servers = x'ff' WHERE run_id = 'edited'"),
        (SLOWLY, "DELETE FROM journal WHERE run_id = 'edited' AND seq_first = 1"),
    ],
)
def test_a_run_whose_record_was_edited_is_left_alone_and_the_others_go_on(strategy: Strategy, edit: str) -> None:
    world = World(servers=10)

    async def main() -> tuple[list[str], list[tuple[str, str]]]:
        await left(world, "edited", strategy=strategy, hand_over=True, gate=lambda _: "go")
        async with world.restarter(name="first") as restarter:
            await restarter.rollout(world.ids[5:], SLOWLY, run_id="night").start()
            await asyncio.sleep(5)
            await restarter.aclose(hand_over=True)
        world.database.connection.execute(edit)
        async with standby(world) as beside:
            return await _all_over(world, "night"), beside.words()

    statuses, words = world.live(main)

    assert statuses == ["succeeded"]
    assert sorted(set(words) - {("ended", "night")}) == [("left_alone", "edited"), ("taken", "night")]
    assert words.count(("left_alone", "edited")) == 1
