"""What the library's reference says: every name in it leads somewhere, and every example is run."""

from __future__ import annotations

import ast
import asyncio
import inspect
import logging
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest
from reference import GUIDES, PAGES, Docstring, anchor, docstrings, examples, names_on, split, unknown_names

import ecsbatch
from ecsbatch.testing import World

EXAMPLES = list({code: (at, code) for at, code in examples()}.values())
"""Each once, though what has a page of its own may be on the first as well."""

NAMES = ("web-1", "web-2", "web-08142")
"""Servers that examples call by their names."""


def test_every_name_of_a_page_is_there_and_the_thirty_are_on_the_first() -> None:
    assert [
        f"{page}.{name}" for page in PAGES for name in names_on(page) if not hasattr(import_module(page), name)
    ] == []
    assert list(names_on("ecsbatch")) == ecsbatch.__all__
    assert set(PAGES) >= GUIDES


def test_every_name_and_every_method_has_a_sentence() -> None:
    assert [f"{at.page}.{at.name}" for at in docstrings() if not at.text and not at.name.endswith("__init__")] == []


def test_every_name_in_backticks_is_on_a_page() -> None:
    assert unknown_names() == []


@pytest.mark.parametrize(
    ("named", "at", "found"),
    [
        ("submit", ("ecsbatch", "Restarter.restart"), ("ecsbatch", "Restarter.submit")),
        ("explain", ("ecsbatch", "Restarter.submit"), ("ecsbatch.rollout.history", "History.explain")),
        ("Result.status", ("ecsbatch", "Rollout.run"), ("ecsbatch", "Result")),
        ("Usage", ("ecsbatch", "Restarter.usage"), ("ecsbatch.model.quota", "Usage")),
        ("ecsbatch.errors", ("ecsbatch", ""), ("ecsbatch.errors", "")),
        ("ecsbatch.testing.World", ("ecsbatch", ""), ("ecsbatch.testing", "World")),
        ("Restarter.pipelines", ("ecsbatch", ""), None),
        ("submti", ("ecsbatch", "Restarter.restart"), None),
        ("Restarter.submti", ("ecsbatch", ""), None),
        ("ecsbatch.engine", ("ecsbatch", ""), None),
    ],
)
def test_a_name_leads_to_what_it_means_where_it_stands(
    named: str, at: tuple[str, str], found: tuple[str, str] | None
) -> None:
    assert anchor(named, Docstring(*at, "")) == found


def test_an_indented_block_is_an_example_unless_it_is_in_a_section() -> None:
    text = "Do it::\n\n    first()\n\n    second()\n\nArgs:\n    name: one.\n\n    other: two.\n\nMore.\n\n    third()"

    assert [part for is_example, part in split(text) if is_example] == ["    first()\n\n    second()", "    third()"]


def test_there_are_examples_of_what_a_service_does_first() -> None:
    code = "\n".join(code for _, code in EXAMPLES)

    assert len(EXAMPLES) > 30
    for name in (
        "submit",
        "restart",
        "rollout",
        "plan",
        "resume",
        "resume_orphans",
        "usage",
        "select",
        "steer",
        "follow",
    ):
        assert f".{name}(" in code


# -- every example is run ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "code"), EXAMPLES, ids=[f"{at.page.removeprefix('ecsbatch.')}-{at.name}" for at, _ in EXAMPLES]
)
def test_an_example_runs(at: Docstring, code: str) -> None:
    with World(servers=30, seed=3, longest=3_600) as world:
        for server_id, name in zip(world.ids, NAMES, strict=False):
            world.cloud.rename(server_id, name)
        names = words(world)
        if "world.run(" in code or "@pytest.mark" in code:
            exec(compile(code, at.name, "exec"), names)  # noqa: S102 - ours
            _run_tests(names)
        else:
            world.run(partial(_in_world, code, names, world))


async def _in_world(code: str, names: dict[str, Any], world: World) -> None:
    """Run an example in a service that has restarted a server and has a rollout that waits for somebody's word."""
    async with world.client() as ecs, world.store() as store, names["Restarter"](ecs, store) as restarter:
        await restarter.restart(world.ids[-1])
        names |= {"ecs": ecs, "store": store, "restarter": restarter, "history": names["History"](store)}
        run_id = "another-run" if re.search(r'run_id="kernel-7"|"another-run"', code) else "kernel-7"
        resumes = "restarter.resume(" in code
        strategy = ecsbatch.Strategy(waves=["2", "100%"], hold_after=None if resumes else 1)
        servers = [ecsbatch.Server(world.ids[2], name=NAMES[2]), *world.ids[20:29]]
        rollout = names["rollout"] = await restarter.rollout(servers, strategy, run_id=run_id).start()
        names |= {"run_id": run_id, "steering": restarter.steer(run_id)}
        if resumes:
            rollout.stop()
            await rollout
        else:
            await _until_held(rollout)
        ending = asyncio.create_task(_end(rollout, restarter))  # for whoever waits for it
        running = eval(compile(code, "example", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), names)  # noqa: S307 - ours
        if inspect.isawaitable(running):
            await running
        ending.cancel()


async def _until_held(rollout: ecsbatch.Rollout) -> None:
    async for recorded in rollout.events():
        if recorded.event.name == "gate.checked":
            return


async def _end(rollout: ecsbatch.Rollout, restarter: ecsbatch.Restarter) -> None:
    await asyncio.sleep(600)
    rollout.abort()
    await asyncio.sleep(600)
    await restarter.aclose()


def _run_tests(names: dict[str, Any]) -> None:
    """Run what an example defines for pytest, as its plugin does."""
    for test in [value for name, value in names.items() if name.startswith("test_")]:
        with World(**test.pytestmark[0].kwargs) as world:

            async def main(test: Callable[..., Any] = test, world: World = world) -> None:
                async with world.restarter() as restarter:
                    await test(world, restarter)

            world.run(main)


def words(world: World) -> dict[str, Any]:
    """Return what an example may use: all names of the reference, and what a service has; nothing real is reached."""

    def client(**given: Any) -> ecsbatch.EcsClient:
        inspect.signature(ecsbatch.EcsClient).bind(**given)
        return world.client()

    @asynccontextmanager
    async def store(*given: Any, **more: Any) -> AsyncIterator[Any]:
        inspect.signature(ecsbatch.open_store).bind(*given, **more)
        async with world.store() as opened:
            yield opened

    async def nothing(*_: object, **__: object) -> bool:
        return False

    named = {name: getattr(import_module(page), name) for page in PAGES for name in names_on(page)}
    return named | {
        "EcsClient": client,
        "open_store": store,
        "credentials": lambda: None,
        "Restarter": partial(ecsbatch.Restarter, clock=world.clock, seed=5),
        "History": partial(ecsbatch.History, clock=world.clock),
        "asyncio": asyncio,
        "pytest": pytest,
        "log": logging.getLogger(__name__),
        "print": lambda *_: None,
        "world": world,
        "ids": world.ids[3:20],
        "auth": None,
        "access_key": "SIMULATEDKEY00000000",
        "secret_key": "secret-secret-secret",
        "token": "token-token-token",
        "last_event_id": 0,
        **dict.fromkeys(("ping", "alarms", "send"), nothing),
    }
