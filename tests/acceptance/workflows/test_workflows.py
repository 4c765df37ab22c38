"""The page about workflow engines is run as it stands, in virtual time, with stand-ins for what the engines bring."""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from ecsbatch import OutcomeKind, Strategy
from ecsbatch.testing import Killed, World

PAGE = (Path(__file__).parent / "workflows.md").read_text(encoding="utf-8")


def block(mark: str) -> str:
    """Return the block that stands behind ``<!-- mark -->``."""
    [found] = re.findall(rf"<!-- {mark} -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


def bare(function: Callable[..., Any]) -> Callable[..., Any]:
    """Be a decorator that adds nothing."""
    return function


class ApplicationError(Exception):
    """Temporal's."""

    def __init__(self, message: str, *, type: str, non_retryable: bool) -> None:  # noqa: A002 - the API's word
        super().__init__(message)
        self.type, self.non_retryable = type, non_retryable


class AirflowFailException(Exception):
    """Airflow's: a task is not tried again."""


def engines() -> dict[str, dict[str, Any]]:
    """Return the modules of the engines with the names that the page takes of them."""
    beats = list[None]()
    activity = SimpleNamespace(
        defn=bare,
        info=lambda: SimpleNamespace(workflow_id="kernel-7"),
        heartbeat=lambda: beats.append(None),
        beats=beats,
    )

    async def execute_activity(function: Any, *arguments: Any, **limits: Any) -> Any:
        assert set(limits) == {"start_to_close_timeout", "heartbeat_timeout"}
        return await function(*arguments)

    workflow = SimpleNamespace(defn=bare, run=bare, execute_activity=execute_activity)
    dbos = SimpleNamespace(step=lambda: bare, workflow=lambda: bare, workflow_id="7")
    context = {"run_id": "scheduled__2026-03-01T22:00:00+00:00"}

    def task(**options: Any) -> Callable[..., Any]:
        assert set(options) == {"retries", "retry_delay"}
        return bare

    return {
        "temporalio": {"activity": activity, "workflow": workflow},
        "temporalio.exceptions": {"ApplicationError": ApplicationError},
        "dbos": {"DBOS": dbos},
        "airflow": {},
        "airflow.exceptions": {"AirflowFailException": AirflowFailException},
        "airflow.sdk": {"task": task, "get_current_context": lambda: context},
    }


@pytest.fixture(autouse=True)
def _engines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the engines' names to import; their packages are none of ours."""
    for name, names in engines().items():
        module = ModuleType(name)
        vars(module).update(names)
        monkeypatch.setitem(sys.modules, name, module)


def page(world: World, *marks: str) -> SimpleNamespace:
    """Run blocks of the page; only the engine is the world's, and the event loop that a task of Airflow makes."""
    names: dict[str, Any] = {"__name__": "page"}
    for mark in ("fleet", *marks):
        exec(compile(block(mark), f"workflows.md:{mark}", "exec"), names)  # noqa: S102 - our own page

    @asynccontextmanager
    async def engine() -> AsyncGenerator[Any]:
        async with world.restarter(name="worker") as restarter:
            yield restarter

    names["engine"] = engine
    if "airflow" in marks:
        names["asyncio"] = SimpleNamespace(run=lambda coroutine: world.run(lambda: coroutine))
    names["STRATEGY"] = Strategy(max_unavailable=2, waves="100%")
    return SimpleNamespace(names=names, **{name: value for name, value in names.items() if name[0] != "_"})


def once(world: World) -> None:
    """Hold the cloud's books to it that every server was restarted, and once."""
    books = world.cloud.audit()
    assert (books["restarted_servers"], books["restarted_more_than_once"]) == (len(world.ids), 0)


def test_an_activity_of_temporal_is_done_again_after_a_kill_and_goes_on() -> None:
    world = World(servers=10)
    told = page(world, "temporal")

    async def attempt() -> dict[str, Any]:
        result: dict[str, Any] = await told.KernelUpdate().run(world.ids)
        return result

    with pytest.raises(Killed):
        world.run(attempt, kill_after=400)
    before = world.cloud.audit()["restarted_servers"]
    first = world.run(attempt)
    again = world.run(attempt)

    assert 0 < before < 10
    assert (first["run_id"], first["status"], first["restarted"]) == ("kernel-7", "succeeded", 10)
    assert again == first
    assert len(told.activity.beats) > 5
    once(world)


def test_an_attempt_waits_for_an_earlier_one_that_still_lives() -> None:
    world = World(servers=10)
    told = page(world, "dbos")

    async def both() -> list[dict[str, Any]]:
        first = asyncio.create_task(told.kernel_update(world.ids))
        await asyncio.sleep(5)
        return [await told.kernel_update(world.ids), await first]

    second, first = world.run(both)

    assert (first["run_id"], first["status"]) == ("kernel-7", "succeeded")
    assert second == first
    once(world)


def test_a_step_of_dbos_goes_on_where_a_cancelled_one_was() -> None:
    world = World(servers=10)
    told = page(world, "dbos")

    async def cancelled() -> None:
        attempt = asyncio.create_task(told.kernel_update(world.ids))
        await asyncio.sleep(15)
        attempt.cancel()
        await asyncio.wait([attempt])

    async def recovered() -> str:
        return str((await told.kernel_update(world.ids))["status"])

    world.run(cancelled)

    assert world.run(recovered) == "succeeded"
    once(world)


@pytest.mark.parametrize("mark", ["temporal", "airflow"])
def test_what_a_limit_has_stopped_is_an_error_that_no_engine_tries_again(mark: str) -> None:
    world = World(servers=10)
    told = page(world, mark)
    told.names["STRATEGY"] = Strategy(max_unavailable=1, max_failures=0, max_failures_per_wave=None, waves="100%")
    for server in world.ids:
        world.cloud.doom(server, "error")

    def step() -> None:
        if mark == "airflow":
            told.restart_servers(world.ids)
        else:
            world.run(lambda: told.restart_servers(world.ids))

    def attempt() -> str:
        with pytest.raises((ApplicationError, AirflowFailException)) as raised:
            step()
        assert getattr(raised.value, "non_retryable", True)
        return str(raised.value)

    first = attempt()
    sent = world.cloud.audit()["requests"]
    again = attempt()

    assert "max_failures" in first
    assert "look at it with ecsbatch explain kernel-" in again
    assert world.cloud.audit()["requests"] == sent


def test_a_task_of_airflow_has_a_run_id_that_can_be_one() -> None:
    world = World(servers=4)
    told = page(world, "airflow")

    result = told.restart_servers(world.ids)

    assert result["run_id"] == "kernel-scheduled__2026-03-01T22-00-00-00-00"
    assert result[OutcomeKind.RESTARTED] == 4


def test_the_page_takes_its_engine_as_the_library_has_it() -> None:
    """The only part that the tests above replace is type-checked by its names: what it imports is there."""
    names: dict[str, Any] = {}
    exec(compile(block("fleet"), "workflows.md", "exec"), names)  # noqa: S102 - our own page

    assert names["STRATEGY"].max_unavailable == "10%"
    assert "async with (\n        EcsClient(" in block("fleet")
