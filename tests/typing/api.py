"""The public surface as a program with types sees it. Never executed: mypy and pyright check it, both strict.

An ignored error is one that must be found: mypy complains where there is nothing to ignore.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Literal, assert_type

import pytest

from ecsbatch import (
    Changes,
    EcsbatchError,
    EcsClient,
    Engine,
    Outcome,
    OutcomeKind,
    Quota,
    Restarter,
    Result,
    Rollout,
    RunStatus,
    Server,
    Strategy,
    credentials,
    open_store,
)
from ecsbatch.ecs.auth.schemes import Auth
from ecsbatch.engine.ports import Cloud, Ledger, Store
from ecsbatch.errors import CloudError
from ecsbatch.model.events import Recorded
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.quota import Usage
from ecsbatch.model.state import RolloutState
from ecsbatch.rollout.hooks import WITHOUT
from ecsbatch.store import DatabaseStore
from ecsbatch.testing import Faults, World


async def answers(server: Server) -> bool:
    """Be a check."""
    return server.domain != ""


async def calm(state: RolloutState) -> Literal["go", "wait", "stop"]:
    """Be a gate."""
    return "wait" if state.run.failures else "go"


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
        assert_type(result, Result)
        assert_type(result.status, RunStatus)
        assert_type(result.counts, Mapping[OutcomeKind, int])
        assert_type(result.not_found, Sequence[str])
        async for recorded in rollout.events(after=10):
            assert_type(recorded, Recorded)
        async for line in rollout.lines():
            assert_type(line, bytes)
        rollout.pause("me")
        rollout.adjust("me", max_unavailable="20%", max_failures=5)
        assert_type(rollout.state, RolloutState)
        again = await restarter.resume("nightly", changes=Changes(retry=["failed"], forgive=True))
        assert_type(again, Rollout)


def told(error: EcsbatchError) -> int:
    """Tell one error from another."""
    return error.status if isinstance(error, CloudError) else 0


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
