"""The public surface as a program with types sees it. Never executed: mypy and pyright check it, both strict.

An ignored error is one that must be found: mypy complains where there is nothing to ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any, Literal, assert_type

import pytest

from ecsbatch import (
    WITHOUT,
    Auth,
    Changes,
    EcsbatchError,
    EcsClient,
    Engine,
    Explanation,
    History,
    Invalid,
    KeyAuth,
    NotHolder,
    Outcome,
    OutcomeKind,
    Plan,
    Progress,
    Quota,
    Recorded,
    Restarter,
    Result,
    Rollout,
    RunConflict,
    RunNotFound,
    RunRecord,
    RunStatus,
    Sender,
    Server,
    Strategy,
    TokenAuth,
    credentials,
    open_store,
)
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.engine.ports import Cloud, Ledger, Store
from ecsbatch.errors import CloudError
from ecsbatch.model.freeze import Freeze
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.quota import Usage
from ecsbatch.model.spending import GroupSpending
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.standby import StandbyNews
from ecsbatch.store import DatabaseStore
from ecsbatch.testing import Faults, World


async def answers(server: Server) -> bool:
    """Be a check."""
    return server.domain != ""


async def calm(state: RolloutState) -> Literal["go", "wait", "stop"]:
    """Be a gate."""
    return "wait" if state.run.failures else "go"


heard: list[Recorded] = []


async def main(ids: list[str]) -> None:
    """Use everything."""
    async with (
        EcsClient(region="eu-west-101", project_id="0a0b", auth=credentials()) as ecs,
        EcsClient(endpoint="https://ecs.example.com", project_id="0a0c", auth=credentials({}), api_rate=5) as other,
        open_store("sqlite:///restarts.db", cold_start=True) as store,
        Restarter(ecs, store, quota=Quota(500, 60.0), engine=Engine(burst=100)) as restarter,
        Restarter({"one": ecs, "two": other}) as both,
    ):
        assert_type(restarter.submit(ids[0]), asyncio.Future[Outcome])
        outcome = await both.restart(Server(ids[0], site="two"), type="HARD")
        assert_type(outcome.kind, OutcomeKind)
        assert_type(outcome.evidence, Evidence | None)
        assert_type(await restarter.usage(), Usage)

        strategy = Strategy(max_unavailable="10%", waves=["1", "10%"], max_failures=3, soak=30.0)
        rollout = restarter.rollout(ids, strategy, check=answers, gate=calm, run_id="nightly")
        assert_type(rollout, Rollout)
        result = await rollout.run()
        assert_type(await rollout.start(), Rollout)
        assert_type(await rollout, Result)
        assert_type(await rollout.result(), Result)
        assert_type(rollout.progress, Progress)
        assert_type(restarter.rollouts, tuple[Rollout, ...])
        assert_type(await restarter.resume_orphans(check=answers, on_event=heard.append), list[Rollout])
        news: list[StandbyNews] = []
        standing_by = asyncio.create_task(
            restarter.stand_by(runs=["a"], max_runs=2, check=answers, on_news=news.append)
        )
        assert_type(standing_by, "asyncio.Task[None]")
        assert_type(await restarter.aclose(timeout=1.0, hand_over=True), None)
        assert_type(await restarter.plan(["web-1", ids[0], Server(ids[1])], strategy), Plan)
        assert_type(result, Result)
        assert_type(result.status, RunStatus)
        assert_type(result.counts, Mapping[OutcomeKind, int])
        assert_type(result.not_found, Sequence[str])
        async with aclosing(rollout.events(after=10)) as events, aclosing(restarter.events()) as singles:
            async for recorded in events:
                assert_type(recorded, Recorded)
            assert_type(singles, AsyncGenerator[Recorded])
        async for line in rollout.lines():
            assert_type(line, bytes)
        rollout.pause("me")
        rollout.adjust("me", max_unavailable="20%", max_failures=5)
        assert_type(rollout.state, RolloutState)
        again = await restarter.resume("nightly", changes=Changes(retry=["failed"], forgive=True))
        assert_type(again, Rollout)


async def asked(history: History, restarter: Restarter) -> None:
    """Ask about runs and steer them, with a cloud and without."""
    for each in (history, restarter):
        assert_type(await each.runs(status="running", limit=5), list[RunRecord])
        assert_type(await each.record("nightly"), RunRecord)
        assert_type(await each.state("nightly"), RolloutState)
        assert_type(await each.progress("nightly"), Progress)
        assert_type(await each.explain("nightly", "web-1"), Explanation)
        async with aclosing(each.outcomes("nightly", kinds=["failed", OutcomeKind.TIMED_OUT])) as outcomes:
            async for outcome in outcomes:
                assert_type(outcome, Outcome)
        async with aclosing(each.follow("nightly", after=7)) as followed:
            async for recorded in followed:
                assert_type(recorded.as_dict(), dict[str, Any])
        steering = each.steer("nightly")
        await steering.pause("me")
        await steering.resume("me", retry=["failed"])
        await steering.promote()
        await steering.adjust(max_unavailable=3)
        assert_type(await steering.abort(), bool)
        assert_type(await each.freeze("incident", by="me", lasts=3600), Freeze)
        assert_type(await each.freeze("incident", until=1_767_225_600), Freeze)
        assert_type(await each.frozen(), Freeze | None)
        assert_type(await each.thaw(by="me"), Freeze | None)
        assert_type(await each.spending(), Sequence[GroupSpending])


async def selected(ecs: EcsClient) -> list[Server]:
    """Choose servers."""
    return [server async for server in ecs.select(tags={"app": "web"}, az=["az1", "az2"])]


def told(error: EcsbatchError) -> tuple[int, dict[str, Any]]:
    """Tell one error from another, as a web service does."""
    match error:
        case Invalid():
            assert_type(error.field, str)
            return 400, error.as_dict()
        case RunNotFound():
            return 404, {"run": error.run_id}
        case NotHolder() | RunConflict():
            return 409, {"run": error.run_id, "holder": error.holder}
        case CloudError():
            return 502, {"status": error.status}
        case _:
            return 500, error.as_dict()


def signed() -> Sequence[Auth]:
    """Sign in two ways."""
    return [KeyAuth("ak", "sk"), TokenAuth("token")]


async def over_the_bus(request: Request, on_sent: Callable[[], None]) -> Answer:
    """Be a sender."""
    on_sent()
    return Answer(200, {}, request.body)


def sent() -> Sender:
    """Take it for one."""
    return over_the_bus


# -- a service's own parts, by the engine's Protocols ------------------------------------------------------------------


def sites(ecs: EcsClient) -> Mapping[str, Cloud]:
    """Name clients of clouds as the engine takes them."""
    cloud: Cloud = ecs
    return {"one": cloud, "two": ecs}


def ledger_of(kept: DatabaseStore) -> Ledger:
    """Take a store for what it also is."""
    store: Store = kept
    return store


def mistaken(ecs: EcsClient, kept: DatabaseStore) -> None:
    """Mistake one for the other: the Protocols tell them apart."""
    _cloud: Cloud = kept  # type: ignore[assignment]
    _store: Store = ecs  # type: ignore[assignment]
    Restarter(kept)  # type: ignore[arg-type]


@asynccontextmanager
async def engine(cloud: Cloud, store: Store, auth: Auth | None = None) -> AsyncGenerator[Restarter]:
    """Start an engine on parts that are known by their Protocols alone."""
    async with EcsClient(region="eu-west-101", auth=auth or credentials()) as spare, Restarter(spare) as alone:
        assert_type(alone.engine, Engine)
    async with Restarter(cloud, store) as restarter:
        yield restarter


async def went_on(restarter: Restarter, run_id: str) -> Result:
    """Go on with a run without the check that it was begun with."""
    rollout = await restarter.resume(run_id, check=WITHOUT, changes=Changes(skip_domains=["az2"]))
    return await rollout.run()


# -- a service's own tests ---------------------------------------------------------------------------------------------


def in_a_world() -> None:
    """Play in virtual time."""
    with World(servers=5, seed=7, faults=Faults(lost_reply=0.1)) as world:
        assert_type(world, World)

        async def main() -> Result:
            async with world.restarter(Engine(linger=0.1)) as restarter:
                assert_type(restarter, Restarter)
                return await restarter.rollout(world.ids, check=answers).run()

        async def by_its_parts() -> Outcome:
            async with world.client() as ecs, world.store() as store, engine(ecs, store) as restarter:
                assert_type(ecs, EcsClient)
                assert_type(store, DatabaseStore)
                return await restarter.restart(world.ids[0])

        assert_type(world.run(main), Result)
        assert_type(world.run(by_its_parts, kill_after=100), Outcome)
        assert_type(world.cloud.restarts(world.ids[0]), int)
        assert_type(world.now(), float)


@pytest.mark.ecs_world(servers=5, seed=7)
async def test_with_the_fixtures(ecs_world: World, ecs_restarter: Restarter) -> None:
    """Ask for both fixtures, by the types that they have."""
    outcome = await ecs_restarter.restart(ecs_world.ids[0])
    assert_type(outcome, Outcome)
    ecs_world.cloud.doom(ecs_world.ids[1], "fail")
