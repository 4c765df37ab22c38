"""Strangers, whose code does what nobody expects, and an engine between them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, NoReturn

import pytest
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.model.run import Result
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.sender import SimulatedSender

ALL_AT_ONCE = Strategy(max_unavailable="100%", max_failures="100%", waves="100%", server_timeout=60.0)
TWO_WAVES = Strategy(max_unavailable="100%", waves="1,100%", gate="theirs", gate_timeout=600.0)
HOUR = 3600.0

Oddity = Callable[..., Any]


class Unspeakable(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise SystemExit(7)


def raising(error: Callable[[], BaseException]) -> Oddity:
    """Raise."""

    async def odd(*_: object) -> NoReturn:
        raise error()

    return odd


def giving(answer: object) -> Oddity:
    """Answer by a coroutine."""

    async def odd(*_: object) -> object:
        return answer

    return odd


def plain(answer: object) -> Oddity:
    """Answer at once."""
    return lambda *_: answer


async def hanging(*_: object) -> None:
    """Give no answer for a day."""
    await asyncio.sleep(HOUR * 24)


async def deaf(*_: object) -> None:
    """Hang, and go on when cancelled."""
    for _ in range(24):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(HOUR)


async def ending_itself(*_: object) -> None:
    """Cancel the task that it runs in."""
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def a_dead_future(*_: object) -> asyncio.Future[bool]:
    """Answer by a future that somebody has cancelled."""
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


# What it does, and what whoever is concerned hears of it.
ODD = [
    pytest.param(raising(lambda: ValueError("no route")), "no route", id="raises"),
    pytest.param(raising(asyncio.CancelledError), "CancelledError", id="raises-cancelled"),
    pytest.param(raising(GeneratorExit), "GeneratorExit", id="raises-generator-exit"),
    pytest.param(raising(lambda: SystemExit(3)), "SystemExit: 3", id="exits"),
    pytest.param(raising(Unspeakable), "Unspeakable", id="raises-what-cannot-be-printed"),
    pytest.param(raising(lambda: ValueError("\ud800\x1b[31m")), "ValueError", id="raises-what-cannot-be-stored"),
    pytest.param(ending_itself, "CancelledError", id="cancels-itself"),
    pytest.param(a_dead_future, "CancelledError", id="gives-a-cancelled-future"),
    pytest.param(giving(7), "it gave back a int", id="answers-nonsense"),
    pytest.param(giving(None), "it gave back None", id="answers-nothing"),
    pytest.param(plain("yes"), "it gave back a str, not something to await", id="is-no-coroutine"),
]
SLOW = [
    pytest.param(hanging, "", id="hangs"),
    pytest.param(deaf, "", id="hangs-and-will-not-be-cancelled"),
]


@contextlib.asynccontextmanager
async def engine_of(
    world: World,
    *,
    auth: Any = None,
    sender: Callable[[SimulatedSender], Any] = lambda sender: sender,
) -> AsyncGenerator[Restarter]:
    """Start an engine whose client signs and sends as strangers want."""
    async with (
        world.client(auth=auth, sender=sender(SimulatedSender(world.cloud))) as client,
        world.store() as store,
        Restarter(client, store, clock=world.clock, seed=1, name="tester") as restarter,
    ):
        yield restarter


async def ending(awaitable: Awaitable[Any]) -> Any:
    """Wait as a caller does who has patience for a day; return what it hears."""
    async with asyncio.timeout(24 * HOUR):
        return (await asyncio.gather(awaitable, return_exceptions=True))[0]


def resumed(world: World, **hooks: Any) -> Result:
    """Go on with the latest run in another life."""

    async def main() -> Result:
        async with world.restarter() as restarter:
            return await (await restarter.resume(**hooks)).run()

    return world.live(main)
