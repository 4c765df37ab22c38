"""The public surface as a program with types sees it. Never executed: mypy and pyright check it, both strict."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Literal, assert_type

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
from ecsbatch.errors import CloudError
from ecsbatch.model.events import Recorded
from ecsbatch.model.outcome import Evidence
from ecsbatch.model.quota import Usage
from ecsbatch.model.state import RolloutState


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
