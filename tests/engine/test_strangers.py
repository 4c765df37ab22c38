"""A stranger's service: checks, gates, ways to sign, senders and callers that do what nobody expects.

Whatever they do, the engine goes on for everybody else, and whoever is concerned hears the reason. In virtual time,
where a wait without an end is an error of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from typing import Any, NoReturn

import pytest
from engine_world import World

from ecsbatch.config import Engine, Strategy
from ecsbatch.ecs.auth import KeyAuth, Unsigned
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import ConfigError, EcsbatchError, EngineStopped, RunConflict
from ecsbatch.hosting import Result
from ecsbatch.models import Outcome, OutcomeKind, RunStatus, Server
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.cloud_config import Faults
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.state import RolloutState
from ecsbatch.store import Store

ALL_AT_ONCE = Strategy(max_unavailable="100%", max_failures="100%", waves="100%", server_timeout=60.0)
TWO_WAVES = Strategy(max_unavailable="100%", waves="1,100%", gate="theirs", gate_timeout=600.0)
HOUR = 3600.0

Calls = list[float]
Oddity = Callable[..., Any]


# -- what strangers do -------------------------------------------------------------------------------------------


class Unspeakable(Exception):
    """An error that cannot even be printed."""

    def __str__(self) -> str:
        raise SystemExit(7)


def raising(error: Callable[[], BaseException]) -> Oddity:
    async def odd(*_: object) -> NoReturn:
        raise error()

    return odd


def giving(answer: object) -> Oddity:
    async def odd(*_: object) -> object:
        return answer

    return odd


def plain(answer: object) -> Oddity:
    return lambda *_: answer


async def hanging(*_: object) -> None:
    await asyncio.sleep(HOUR * 24)


async def deaf(*_: object) -> None:
    """Hang, and go on when cancelled."""
    for _ in range(24):
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.sleep(HOUR)


async def ending_itself(*_: object) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.sleep(0)


def a_dead_future(*_: object) -> asyncio.Future[bool]:
    future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


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
    pytest.param(plain(True), "it gave back a bool, not something to await", id="is-no-coroutine"),
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
    engine: Engine | None = None,
) -> AsyncGenerator[Restarter]:
    """Start an engine whose client signs and sends as strangers want."""
    auth = auth or KeyAuth(world.config.access_key, world.config.secret_key)
    async with (
        EcsClient(
            auth=auth,
            project_id=world.config.project_id,
            endpoint="https://ecs.example.com",
            sender=sender(SimulatedSender(world.cloud)),
            clock=world.clock,
        ) as client,
        world.store() as store,
        Restarter(client, store, engine=engine, clock=world.clock, seed=1, name="tester") as restarter,
    ):
        yield restarter


async def ending(awaitable: Awaitable[Any]) -> Any:
    """Wait as a caller does who has patience for a day; return what it hears."""
    async with asyncio.timeout(24 * HOUR):
        return (await asyncio.gather(awaitable, return_exceptions=True))[0]


def resumed(world: World) -> Result:
    async def main() -> Result:
        async with world.restarter() as restarter:
            return await (await restarter.resume()).run()

    return world.live(main)


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
    asked: Calls = []

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
    assert resumed(world).status is RunStatus.SUCCEEDED


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
    asked: Calls = []

    async def gate(_: RolloutState) -> str:
        asked.append(world.now())
        return "go" if len(asked) > 2 else "wait"

    async def main() -> Result:
        async with world.restarter() as restarter, asyncio.TaskGroup() as group:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=gate)  # type: ignore[arg-type]
            running = group.create_task(rollout.run())
            while not asked:
                await asyncio.sleep(1)
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

    def headers(self, request: Unsigned, now: float) -> Mapping[str, str]:
        return self._good.headers(request, now) if self._now() > self._until else self._odd()

    async def renew(self) -> bool:
        return False

    def redact(self, text: str) -> str:
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

    async def expired(request: Request, on_sent: Callable[[], None]) -> Answer:
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
    odd: Oddity, says: str, behind: bool, method: str
) -> None:  # noqa: ARG001, FBT001 - parameters of a test
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


# -- callers -----------------------------------------------------------------------------------------------------


def test_a_caller_may_cancel_or_fill_its_future_and_the_others_hear_their_outcome() -> None:
    world = World(servers=4)

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            filled, failed, cancelled, good = [restarter.submit(server) for server in world.ids]
            joined = [restarter.submit(server) for server in world.ids]
            await asyncio.sleep(5)
            filled.set_result(None)  # type: ignore[arg-type]
            failed.set_exception(RuntimeError("mine"))
            cancelled.cancel()
            again = restarter.submit(world.ids[0])
            both = await asyncio.gather(ending(good), ending(good), ending(again))
            assert isinstance(failed.exception(), RuntimeError)
            return [*both, *[await ending(each) for each in joined]]

    heard = world.live(main)

    assert {outcome.kind for outcome in heard} == {OutcomeKind.RESTARTED}
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("steps", range(0, 60, 3))
@pytest.mark.parametrize("between", [0, 1, 2])
def test_a_run_that_is_cancelled_twice_at_any_instant_can_be_resumed(steps: int, between: int) -> None:
    """The first steps are those of its beginning."""
    world = World(servers=5)

    async def main() -> None:
        async with world.restarter() as restarter:
            running = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            for _ in range(steps):
                await asyncio.sleep(0)
            running.cancel()
            for _ in range(between):
                await asyncio.sleep(0)
            running.cancel()
            assert isinstance(await ending(running), asyncio.CancelledError)

    async def again() -> Result:
        async with world.restarter() as restarter:
            return await ending(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())

    world.live(main)
    result = world.live(again)

    assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 5)
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("later", [0.0, 0.3, 20.0])
def test_a_rollout_that_is_run_twice_refuses_the_second_and_the_first_goes_on(later: float) -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any, Any]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)
            first = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(later)
            second = await ending(rollout.run())
            result = await ending(first)
            return second, result, await ending(rollout.run())

    second, first, third = world.live(main)

    assert {type(second), type(third)} == {ConfigError}
    assert "earlier call" in str(second)
    assert (first.status, first.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 5)


def test_a_second_rollout_of_the_same_run_is_refused_and_the_first_goes_on() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            first = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            await asyncio.sleep(5)
            second = await ending(restarter.rollout(world.ids, ALL_AT_ONCE, run_id="nightly").run())
            return second, await ending(first)

    second, first = world.live(main)

    assert isinstance(second, RunConflict)
    assert first.status is RunStatus.SUCCEEDED


def test_who_could_not_begin_may_try_again() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            first = asyncio.ensure_future(restarter.rollout(world.ids, ALL_AT_ONCE).run())
            await asyncio.sleep(5)
            other = restarter.rollout(world.ids, ALL_AT_ONCE)
            refused = await ending(other.run())
            await first
            return refused, await ending(other.run())

    refused, result = world.live(main)

    assert isinstance(refused, RunConflict)
    assert result.counts[OutcomeKind.RESTARTED] == 5


# -- who ends the engine -----------------------------------------------------------------------------------------


def strike_all(_: str) -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task():
            task.cancel()


def strike_one(name: str) -> None:
    for task in asyncio.all_tasks():
        if task.get_name() == name:
            task.cancel()


WORKERS = [
    "ecsbatch-engine",
    "site-",
    "steer",
    "producer",
    "submitter",
    "poller",
    "health",
    "precheck",
    "pack",
    "submit-0",
    "poll",
    "tell",
    "look-0",
    "check-0",
]


@pytest.mark.parametrize("seconds", [0.1, 5.0])
@pytest.mark.parametrize("name", WORKERS)
def test_whichever_task_of_the_engine_a_stranger_cancels_everybody_hears_it(name: str, seconds: float) -> None:
    world = World(servers=10)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            await asyncio.sleep(seconds)
            strike_one(name)
            return await ending(asked), await ending(running)

    asked, ran = world.live(main)

    assert (type(asked), type(ran)) == (EngineStopped, EngineStopped)
    assert "cancelled from outside" in str(ran)
    assert resumed(world).status is RunStatus.SUCCEEDED
    assert world.cloud.audit()["restarted_more_than_once"] == 0


@pytest.mark.parametrize("seconds", [0.0, 0.55, 5.0])
def test_a_stranger_who_cancels_all_tasks_leaves_nobody_waiting(seconds: float) -> None:
    world = World(servers=10)

    async def main() -> tuple[Any, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            await asyncio.sleep(seconds)
            strike_all("")
            heard = await ending(asked), await ending(running)
            with pytest.raises(EngineStopped):
                restarter.submit(world.ids[0])
            return heard

    asked, ran = world.live(main)

    assert isinstance(asked, EngineStopped)
    assert isinstance(ran, EngineStopped | asyncio.CancelledError)


def test_a_run_that_waits_for_its_gate_hears_that_the_engine_has_ended() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, float]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, TWO_WAVES, gate=hanging)  # type: ignore[arg-type]
            running = asyncio.ensure_future(rollout.run())
            while rollout.state.wave_over < 1:
                await asyncio.sleep(1)
            strike_one("ecsbatch-engine")
            since = world.now()
            return await ending(running), world.now() - since

    heard, seconds = world.live(main)

    assert isinstance(heard, EngineStopped)
    assert seconds < 5


# -- entering and closing ----------------------------------------------------------------------------------------


def test_an_engine_is_entered_once() -> None:
    world = World(servers=1)

    async def main() -> int:
        async with world.client() as client, world.store() as store:
            engine = Restarter(client, store, clock=world.clock)
            async with engine:
                with pytest.raises(ConfigError, match="started before"):
                    await engine.__aenter__()
                assert (await engine.restart(world.ids[0])).kind is OutcomeKind.RESTARTED
            with pytest.raises(ConfigError, match="started before"):
                await engine.__aenter__()
        await asyncio.sleep(1)
        return len([task for task in asyncio.all_tasks() if task is not asyncio.current_task()])

    assert world.live(main) == 0


def test_an_engine_is_used_in_its_own_loop() -> None:
    world = World(servers=3)

    async def main() -> list[str]:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, ALL_AT_ONCE)

            async def elsewhere(call: Callable[[], Any]) -> None:
                await call()

            def from_a_thread() -> list[str]:
                said: list[str] = []
                calls = [rollout.run, restarter.usage, restarter.resume, restarter.aclose]
                for call in calls:
                    with pytest.raises(ConfigError) as refused:
                        asyncio.run(elsewhere(call))
                    said.append(str(refused.value))
                for plainly in (lambda: restarter.submit(world.ids[0]), lambda: restarter.rollout(world.ids)):
                    with pytest.raises(ConfigError) as refused:
                        plainly()
                    said.append(str(refused.value))
                return said

            said = await asyncio.to_thread(from_a_thread)
            assert (await rollout.run()).status is RunStatus.SUCCEEDED
            return said

    said = world.live(main)

    assert len(said) == 6
    assert all("another event loop" in each for each in said)


def test_closing_waits_for_a_silent_cloud_no_longer_than_it_is_told_to() -> None:
    world = World(servers=200, submit_faults=Faults(lost_reply=1.0))

    async def main() -> tuple[float, list[Any], Any]:
        async with world.restarter() as restarter:
            asked = [restarter.submit(server) for server in world.ids[:50]]
            patient = Strategy(max_unavailable="100%", waves="100%")
            running = asyncio.ensure_future(restarter.rollout(world.ids[50:], patient, run_id="nightly").run())
            await asyncio.sleep(3)
            since = world.now()
            await restarter.aclose()
            took = world.now() - since
            return took, [await ending(each) for each in asked], await ending(running)

    took, asked, ran = world.live(main)

    assert took < 8
    assert {type(each) for each in asked} == {EngineStopped}
    assert (ran.status, ran.reason) == (RunStatus.INTERRUPTED, "closed")
    assert resumed(world).counts[OutcomeKind.RESTARTED] == 150
    assert world.cloud.audit()["restarted_more_than_once"] == 0


def test_who_closes_while_it_is_being_closed_waits_for_the_same_end() -> None:
    world = World(servers=50, submit_faults=Faults(lost_reply=1.0))

    async def main() -> list[Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            await asyncio.sleep(3)
            first = asyncio.ensure_future(restarter.aclose(within=2.0))
            second = asyncio.ensure_future(restarter.aclose())
            await second
            closed = [first.done() or second.done(), repr(restarter)]
            await restarter.aclose()
            return [*closed, await ending(asked)]

    done, shown, heard = world.live(main)

    assert done
    assert "<Restarter closed" in shown
    assert isinstance(heard, EngineStopped)


def test_closing_that_is_cancelled_leaves_nobody_waiting() -> None:
    world = World(servers=50, submit_faults=Faults(lost_reply=1.0))

    async def main() -> tuple[Any, list[str]]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            await asyncio.sleep(3)
            closing = asyncio.ensure_future(restarter.aclose())
            await asyncio.sleep(1)
            closing.cancel()
            await asyncio.sleep(0)
            closing.cancel()
            await ending(closing)
            heard = await ending(asked)
            await asyncio.sleep(5)
            return heard, [task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()]

    heard, left = world.live(main)

    assert isinstance(heard, EngineStopped)
    assert left == []


def test_a_block_that_is_left_by_an_error_raises_that_error() -> None:
    world = World(servers=5)

    async def main() -> tuple[Any, Any]:
        asked: asyncio.Future[Outcome] | None = None
        try:
            async with world.restarter() as restarter:
                asked = restarter.submit(world.ids[0])
                await asyncio.sleep(2)
                raise KeyError("mine")
        except KeyError as e:
            assert asked is not None
            return e, await ending(asked)

    error, heard = world.live(main)

    assert error.args == ("mine",)
    assert isinstance(heard, EngineStopped)


# -- commands ----------------------------------------------------------------------------------------------------


GARBAGE: list[Any] = [
    [1, 2],
    "abort",
    None,
    {},
    {"command": ["abort"]},
    {"command": "adjust", "limits": 7},
    {"command": "adjust", "limits": {"max_unavailable": None}},
    {"command": "adjust", "limits": {"by": "me", "self": 1}},
    {"command": "resume", "retry": 7},
    {"command": "resume", "skip_domains": {"a": 1}, "forgive": "no"},
    {"command": "resume", "retry": [["failed"]]},
]


def test_garbage_among_commands_changes_nothing_and_the_next_one_is_followed() -> None:
    world = World(servers=20)

    async def main() -> tuple[Any, str, Any]:
        async with world.restarter() as restarter:
            asked = restarter.submit(world.ids[0])
            strategy = Strategy(max_unavailable=2, waves="100%")
            rollout = restarter.rollout(world.ids[1:], strategy, run_id="nightly")
            running = asyncio.ensure_future(rollout.run())
            await asyncio.sleep(2)
            rollout.pause()
            await asyncio.sleep(1)
            for body in GARBAGE:
                await restarter.store.command("nightly", body, "stranger")  # type: ignore[attr-defined]
            await asyncio.sleep(5)
            status = str(rollout.state.status)
            await restarter.store.command("nightly", {"command": "resume"}, "ann")  # type: ignore[attr-defined]
            return await ending(asked), status, await ending(running)

    asked, status, ran = world.live(main)

    assert (asked.kind, status, ran.status) == (OutcomeKind.RESTARTED, "paused", RunStatus.SUCCEEDED)


def test_a_read_of_commands_that_fails_ends_nothing() -> None:
    world = World(servers=20)

    class Forgetful:
        """A store whose commands cannot be read at times."""

        def __init__(self, store: Store) -> None:
            self._store, self._reads = store, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._store, name)

        async def commands(self, run_id: str, after: int = 0) -> Any:
            self._reads += 1
            if 2 < self._reads < 20:
                raise RuntimeError("the disk is busy")
            return await self._store.commands(run_id, after)

    async def main() -> tuple[Any, Any]:
        async with (
            world.client() as client,
            world.store() as store,
            Restarter(client, Forgetful(store), clock=world.clock) as restarter,
        ):  # type: ignore[arg-type]
            asked = restarter.submit(world.ids[0])
            running = asyncio.ensure_future(restarter.rollout(world.ids[1:], ALL_AT_ONCE).run())
            return await ending(asked), await ending(running)

    asked, ran = world.live(main)

    assert (asked.kind, ran.status) == (OutcomeKind.RESTARTED, RunStatus.SUCCEEDED)
