"""A stranger's service: checks, gates, ways to sign and senders that do what nobody expects.

Whatever they do, the engine goes on for everybody else, and whoever is concerned hears the reason. In virtual time,
where a wait without an end is an error of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import pytest
from strangers import (
    ALL_AT_ONCE,
    HOUR,
    ODD,
    SLOW,
    TWO_WAVES,
    Oddity,
    deaf,
    ending,
    engine_of,
    giving,
    plain,
    raising,
    resumed,
)
from world import World

from ecsbatch.config.settings import Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth, UnsignedRequest
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import EcsbatchError
from ecsbatch.model.outcome import Outcome, OutcomeKind, RunStatus
from ecsbatch.model.run import Result
from ecsbatch.model.servers import Server
from ecsbatch.model.state import RolloutState
from ecsbatch.simulator.config import Faults
from ecsbatch.simulator.sender import SimulatedSender

# -- checks ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "says"), [*ODD, *(pytest.param(*slow.values[:1], "longer than 10 s", id=slow.id) for slow in SLOW)]
)
def test_a_check_may_do_anything_and_only_its_server_is_unhealthy(odd: Oddity, says: str) -> None:
    world = World(servers=5)

    def check(server: Server) -> Any:
        return odd() if server.id == world.ids[2] else giving(answer=True)()

    async def main() -> tuple[Result, Outcome]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE, check=check)
            return await ending(rollout.run()), rollout.state.outcome(2)

    result, unhealthy = world.live(main)

    assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.FAILED, 4)
    assert (unhealthy.kind, unhealthy.reason) == (OutcomeKind.FAILED, "unhealthy")
    assert says in unhealthy.message


def test_a_check_that_is_odd_for_a_while_counts_once_it_says_yes() -> None:
    world = World(servers=1)
    oddities = [raising(asyncio.CancelledError), raising(GeneratorExit), raising(SystemExit), deaf, giving(None)]

    def check(_: Server) -> Any:
        return oddities.pop(0)() if oddities else giving(answer=True)()

    async def main() -> Result:
        async with world.restarter() as restarter:
            return await ending(restarter.rollout(world.ids, Strategy(waves="100%"), check=check).run())

    assert world.live(main).status is RunStatus.SUCCEEDED
    assert not oddities


def test_a_future_that_checks_share_outlives_the_check_that_is_given_up() -> None:
    world = World(servers=3)

    async def main() -> tuple[Result, bool]:
        answer: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(150, answer.set_result, True)  # noqa: FBT003 - a future has one argument
        async with world.restarter() as restarter:
            strategy = Strategy(max_unavailable="100%", waves="100%")
            result = await ending(restarter.rollout(world.ids, strategy, check=lambda _: answer).run())
        return result, answer.cancelled()

    result, cancelled = world.live(main)

    assert (result.status, cancelled) == (RunStatus.SUCCEEDED, False)


# -- gates -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("odd", "says"), [*ODD, *(pytest.param(*slow.values[:1], "no answer within 600 s", id=slow.id) for slow in SLOW)]
)
def test_a_gate_may_do_anything_and_stops_the_run_when_its_time_is_over(odd: Oddity, says: str) -> None:
    world = World(servers=5)
    asked: list[float] = []

    def gate(_: RolloutState) -> Any:
        asked.append(asyncio.get_running_loop().time())
        return odd()

    async def main() -> tuple[Result, float]:
        async with world.restarter() as restarter:
            result = await ending(restarter.rollout(world.ids, TWO_WAVES, gate=gate).run())
            return result, world.now() - asked[0]

    result, seconds = world.live(main)

    assert (result.status, result.reason) == (RunStatus.STOPPED, "gate_timeout")
    assert "did not say go within 600 s; its last word was inconclusive: " in result.message
    assert says in result.message
    assert len(asked) <= 42
    assert 599 < seconds < 605
    assert resumed(world, gate=giving("go")).status is RunStatus.SUCCEEDED


def test_a_gate_that_is_odd_for_a_while_lets_the_run_go_on_once_it_says_go() -> None:
    world = World(servers=5)
    oddities = [raising(asyncio.CancelledError), raising(SystemExit), giving(answer=True), giving("wait"), giving([])]

    def gate(_: RolloutState) -> Any:
        return oddities.pop(0)() if oddities else giving("go")()

    async def main() -> tuple[Result, list[tuple[str, str]]]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=gate)
            result = await ending(rollout.run())
            told = [e.event for e in await restarter.store.events(rollout.run_id) if e.event.name == "gate.checked"]
            return result, [(event.verdict, event.message) for event in told]  # type: ignore[attr-defined]

    result, told = world.live(main)

    assert result.status is RunStatus.SUCCEEDED
    assert [verdict for verdict, _ in told] == [
        "inconclusive",
        "inconclusive",
        "inconclusive",
        "wait",
        "inconclusive",
        "go",
    ]
    assert told[2][1] == 'it gave back a bool, not "go", "wait" or "stop"'


def test_slow_askings_share_one_time() -> None:
    world = World(servers=5)

    async def gate(_: RolloutState) -> str:
        await asyncio.sleep(170)
        return "wait"

    async def main() -> tuple[Result, float]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=gate)  # type: ignore[arg-type]
            result = await ending(rollout.run())
            return result, world.now() - rollout.state.wave_over_at + world.clock.wall() - world.now()

    result, seconds = world.live(main)

    assert result.reason == "gate_timeout"
    assert 595 < seconds < 605


def test_a_pause_is_none_of_the_gates_time() -> None:
    world = World(servers=5)
    asked: list[float] = []

    async def gate(_: RolloutState) -> str:
        asked.append(world.now())
        return "go" if world.now() > HOUR else "wait"

    async def main() -> Result:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=gate)  # type: ignore[arg-type]
            running = group.create_task(rollout.run())
            await asyncio.sleep(120)
            assert asked
            rollout.pause()
            await asyncio.sleep(HOUR)
            rollout.resume()
            return await running

    assert world.live(main).status is RunStatus.SUCCEEDED


# -- ways to sign ------------------------------------------------------------------------------------------------


class OddAuth:
    """Signs well, but for ``until`` seconds does what a stranger does."""

    def __init__(self, world: World, odd: Callable[[], Any], until: float) -> None:
        self._good = KeyAuth(world.config.access_key, world.config.secret_key)
        self._odd, self._until, self._now = odd, until, world.now

    def headers(self, request: UnsignedRequest, now: float) -> Mapping[str, str]:
        """Sign, or do the odd thing."""
        return self._good.headers(request, now) if self._now() > self._until else self._odd()

    async def renew(self) -> bool:
        """Have nothing to renew."""
        return False

    def redact(self, text: str) -> str:
        """Hide the key."""
        return self._good.redact(text)


def throw(error: BaseException) -> Callable[[], NoReturn]:
    def thrown() -> NoReturn:
        raise error

    return thrown


SIGNS = [
    pytest.param(throw(ValueError("the vault is sealed")), "the vault is sealed", id="raises"),
    pytest.param(throw(asyncio.CancelledError()), "CancelledError", id="raises-cancelled"),
    pytest.param(throw(SystemExit(3)), "SystemExit: 3", id="exits"),
    pytest.param(throw(GeneratorExit()), "GeneratorExit", id="raises-generator-exit"),
    pytest.param(plain(None), "it gave back None", id="answers-nothing"),
    pytest.param(plain({"Authorization": 7}), "no texts", id="answers-numbers"),
    pytest.param(giving({}), "it gave back a coroutine", id="is-a-coroutine"),
]


@pytest.mark.parametrize(("odd", "says"), SIGNS)
def test_a_way_to_sign_that_fails_stops_the_run_with_what_it_said(odd: Callable[[], Any], says: str) -> None:
    world = World(servers=5)

    async def main() -> tuple[Result, Outcome]:
        async with engine_of(world, auth=OddAuth(world, odd, 24 * HOUR)) as restarter:
            asked = restarter.submit(world.ids[0])
            result = await ending(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            return result, await ending(asked)

    result, asked = world.live(main)

    assert (result.status, result.reason) == (RunStatus.STOPPED, "cloud_unreachable")
    assert "could not be signed" in result.message
    assert says in result.message
    assert (asked.kind, asked.reason) == (OutcomeKind.NOT_STARTED, "cloud_unreachable")
    assert world.cloud.audit()["restarts"] == 0


@pytest.mark.parametrize(("odd", "says"), SIGNS)
def test_a_way_to_sign_that_fails_for_a_while_delays_everybody_and_harms_nobody(
    odd: Callable[[], Any], says: str
) -> None:
    world = World(servers=5)

    async def main() -> tuple[Outcome, tuple[float, str]]:
        async with engine_of(world, auth=OddAuth(world, odd, 60)) as restarter:
            asked = restarter.submit(world.ids[0])
            await asyncio.sleep(30)
            seen = restarter.blindness()
            return await ending(asked), seen

    outcome, (blind_for, why) = world.live(main)

    assert outcome.kind is OutcomeKind.RESTARTED
    assert blind_for > 20
    assert says in why


@pytest.mark.parametrize(("odd", "says"), [*ODD[:5], ODD[8], *SLOW])
def test_a_renewal_may_do_anything_and_the_run_says_so(odd: Oddity, says: str) -> None:
    world = World(servers=5)

    class Spent(OddAuth):
        async def renew(self) -> bool:
            return await odd()  # type: ignore[no-any-return]

    async def expired(_: Request, on_sent: Callable[[], None]) -> Answer:
        on_sent()
        return Answer(
            401,
            {},
            b'{"error_code":"APIGW.0301","error_msg":"Incorrect IAM authentication information: token expired"}',
        )

    async def main() -> Result:
        async with engine_of(world, auth=Spent(world, plain({}), -1), sender=lambda _: expired) as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE).run())

    result = world.live(main)

    assert (result.status, result.reason) in {(RunStatus.STOPPED, "auth"), (RunStatus.STOPPED, "cloud_unreachable")}
    assert "could not be renewed" in result.message
    assert says in result.message


def test_a_way_to_hide_secrets_that_fails_shows_nothing_and_ends_nothing() -> None:
    world = World(servers=5, submit_faults=Faults(reject_503=0.5), look_faults=Faults(reject_503=0.5))

    class Blurting(OddAuth):
        def redact(self, text: str) -> str:
            raise asyncio.CancelledError(text)

    async def main() -> Result:
        async with engine_of(world, auth=Blurting(world, plain({}), -1)) as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE).run())

    assert world.live(main).status is RunStatus.SUCCEEDED


# -- senders -----------------------------------------------------------------------------------------------------


class OddSender:
    """Does a stranger's thing with the first requests of a method, before or behind its word that a byte may leave."""

    def __init__(self, good: SimulatedSender, odd: Oddity, *, behind: bool, method: str, times: int) -> None:
        self._good, self._odd, self._behind, self._method, self._left = good, odd, behind, method, times

    def __call__(self, request: Request, on_sent: Callable[[], None]) -> Any:
        """Send, or do the odd thing."""
        if request.method != self._method or not self._left:
            return self._good(request, on_sent)
        self._left -= 1
        if self._behind:
            on_sent()
        return self._odd()


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize("behind", [False, True], ids=["before-a-byte", "behind-a-byte"])
@pytest.mark.parametrize(
    ("odd", "says"), [*ODD, *SLOW, pytest.param(giving(Answer("200", None, "")), "", id="answers-strange-parts")]
)  # type: ignore[arg-type]
def test_a_sender_may_do_anything_and_every_server_is_restarted_once(
    odd: Oddity,
    says: str,  # noqa: ARG001 - the table's
    behind: bool,  # noqa: FBT001 - the table's
    method: str,
) -> None:
    world = World(servers=5)

    async def main() -> Result:
        def sender(good: SimulatedSender) -> OddSender:
            return OddSender(good, odd, behind=behind, method=method, times=2)

        async with engine_of(world, sender=sender) as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE).run())

    result = world.live(main)

    assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 5)
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_a_sender_that_was_given_up_may_send_nothing_any_more() -> None:
    world = World(servers=5)
    heard: list[BaseException] = []

    class Late:
        """Keeps a request for an hour, whoever cancels it, and only then lets it leave."""

        def __init__(self, good: SimulatedSender) -> None:
            self._good, self._kept = good, 0

        async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
            if request.method != "POST" or self._kept:
                return await self._good(request, on_sent)
            self._kept += 1
            until = world.now() + HOUR
            while world.now() < until:
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.sleep(until - world.now())
            try:
                on_sent()
            except BaseException as e:
                heard.append(e)
                raise
            return await self._good(request, lambda: None)

    async def main() -> Result:
        async with engine_of(world, sender=Late) as restarter:
            result = await ending(restarter.rollout(world.ids, ALL_AT_ONCE).run())
            await asyncio.sleep(2 * HOUR)
            return result

    result = world.live(main)

    assert (result.status, len(heard)) == (RunStatus.SUCCEEDED, 1)
    assert "given up" in str(heard[0])
    assert world.cloud.audit()["restarts"] == 5


def test_a_sender_that_says_twice_that_it_sends_is_believed_once() -> None:
    world = World(servers=5)

    def stammering(good: SimulatedSender) -> Any:
        async def send(request: Request, on_sent: Callable[[], None]) -> Answer:
            on_sent()
            answer = await good(request, on_sent)
            with contextlib.suppress(EcsbatchError):
                on_sent()
            return answer

        return send

    async def main() -> Result:
        async with engine_of(world, sender=stammering) as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE).run())

    assert world.live(main).status is RunStatus.SUCCEEDED
