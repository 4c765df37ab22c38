"""A pytest plugin: ``async def`` tests that ask for ``ecs_world`` or ``ecs_restarter`` run in virtual time.

It is loaded wherever ecsbatch and pytest are installed, so it imports nothing of ecsbatch before a test asks for it.
``@pytest.mark.ecs_world(servers=50, seed=7)`` gives the arguments of `ecsbatch.testing.World`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, Final, cast

import pytest

if TYPE_CHECKING:
    from ecsbatch.restarter import Restarter
    from ecsbatch.testing import World

_FIXTURES: Final = frozenset({"ecs_world", "ecs_restarter"})


class _NotEntered:
    """Stands for the engine until that is started, in the test's own loop."""

    def __init__(self, world: World) -> None:
        self.world = world

    def __getattr__(self, name: str) -> Any:
        raise RuntimeError(f"ecs_restarter.{name}: an engine needs a running loop, so make the test an `async def`.")


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "ecs_world(**parameters): how the test's simulated world is to be")


@pytest.fixture
def ecs_world(request: pytest.FixtureRequest) -> Generator[World]:
    """Make a simulated cloud and a store in virtual time; see `ecsbatch.testing.World`."""
    from ecsbatch.testing import World  # noqa: PLC0415 - a plugin that is loaded everywhere must cost nothing

    node: Any = request.node  # pytest's own hints leave it untyped
    marker: pytest.Mark | None = node.get_closest_marker("ecs_world")
    with World(**(marker.kwargs if marker else {})) as world:
        yield world


@pytest.fixture
def ecs_restarter(ecs_world: World) -> Restarter:
    """Start an engine in ``ecs_world``, a `Restarter`, for the time of an ``async def`` test."""
    waiting: Any = _NotEntered(ecs_world)
    return waiting  # type: ignore[no-any-return]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, object, object]:
    """Have the tests that use our fixtures run in virtual time, before other plugins take them for theirs."""
    made: object = yield
    for item in _items(made):
        if _FIXTURES.intersection(item.fixturenames) and inspect.iscoroutinefunction(item.obj):
            item.obj = _in_virtual_time(item.obj)
    return made


def _items(made: object) -> list[pytest.Function]:
    """Return the tests among what was made of one name in a module."""
    each = cast("list[object]", made) if isinstance(made, list) else [made]
    return [item for item in each if isinstance(item, pytest.Function)]


def _in_virtual_time(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        engine = arguments.get("ecs_restarter")
        world: World = arguments["ecs_world"] if engine is None else engine.world

        async def main() -> None:
            if engine is None:
                await test(**arguments)
                return
            async with world.restarter() as restarter:
                await test(**{**arguments, "ecs_restarter": restarter})

        world.run(main)

    # What pytest unwraps is the coroutine function: other plugins would take it for theirs.
    del run.__dict__["__wrapped__"]
    return run
