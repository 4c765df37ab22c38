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
    from types import TracebackType

    from ecsbatch.restarter import Restarter
    from ecsbatch.testing import World

_FIXTURES: Final = frozenset({"ecs_world", "ecs_restarter"})


class _Engine:
    """Stands for the engine in whatever was built before the test's own loop ran, and hands on to it from then on."""

    def __init__(self) -> None:
        self.started: Restarter | None = None

    def __getattr__(self, name: str) -> Any:
        if self.started is None:
            raise RuntimeError(
                f"ecs_restarter.{name}: an engine needs a running loop, so make the test an `async def`, and let "
                "fixtures touch the engine only when the test runs."
            )
        return getattr(self.started, name)


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker."""
    config.addinivalue_line("markers", "ecs_world(**parameters): how the test's simulated world is to be")


@pytest.fixture
def ecs_world(request: pytest.FixtureRequest) -> Generator[World]:
    """Make a simulated cloud and a store in virtual time; see `ecsbatch.testing.World`."""
    from ecsbatch.testing import World  # noqa: PLC0415 - a plugin that is loaded everywhere must cost nothing

    with World(**_parameters(request)) as world:
        yield world


def _parameters(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Return what the markers say of the world: of the module, the class and the test, the nearest wins."""
    node: Any = request.node  # pytest's own hints leave it untyped
    parameters: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("ecs_world"))):
        if marker.args:
            raise pytest.UsageError(
                f"@pytest.mark.ecs_world takes its parameters by name, such as servers={marker.args[0]!r}."
            )
        parameters |= marker.kwargs
    return parameters


@pytest.fixture
def ecs_restarter(ecs_world: World) -> Restarter:  # noqa: ARG001 - the engine is started in that world, by the test
    """Start an engine in ``ecs_world``, a `Restarter`, for the time of an ``async def`` test."""
    engine: Any = _Engine()
    return engine  # type: ignore[no-any-return]


@pytest.hookimpl(wrapper=True, trylast=True)
def pytest_pycollect_makeitem() -> Generator[None, object, object]:
    """Have the tests that use our fixtures run in virtual time, before other plugins take them for theirs."""
    made: object = yield
    for item in _items(made):
        if _FIXTURES.intersection(item.fixturenames) and inspect.iscoroutinefunction(item.obj):
            item.obj = _in_virtual_time(item, item.obj)
    return made


def _items(made: object) -> list[pytest.Function]:
    """Return the tests among what was made of one name in a module."""
    each = cast("list[object]", made) if isinstance(made, list) else [made]
    return [item for item in each if isinstance(item, pytest.Function)]


def _from_the_test_on(failure: BaseException, test: Callable[..., object]) -> TracebackType | None:
    """Return a failure's trace without what runs the test: its own lines come first, as in any test."""
    code, trace = getattr(test, "__code__", None), failure.__traceback__
    while trace is not None and trace.tb_frame.f_code is not code:
        trace = trace.tb_next
    return trace or failure.__traceback__


def _in_virtual_time(item: pytest.Function, test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    @functools.wraps(test)
    def run(**arguments: Any) -> None:
        __tracebackhide__ = True
        # From all fixtures, not only the test's arguments: others may be built on ours.
        fixtures: dict[str, Any] = item.funcargs
        world: World = fixtures["ecs_world"]
        engine: _Engine | None = fixtures.get("ecs_restarter")

        async def main() -> None:
            if engine is None:
                await test(**arguments)
                return
            async with world.restarter() as engine.started:
                await test(**{name: engine.started if each is engine else each for name, each in arguments.items()})

        try:
            world.run(main)
        except BaseException as failure:
            failure.__traceback__ = _from_the_test_on(failure, test)
            raise

    # What pytest unwraps is the coroutine function: other plugins would take it for theirs.
    del run.__dict__["__wrapped__"]
    return run
