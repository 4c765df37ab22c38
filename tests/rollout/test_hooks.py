"""Check and gate of the library: what a strategy names is asked, and what a run's record needs is not dropped."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import pytest
from world import World

from ecsbatch.config.settings import Engine, Programs, Strategy
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.ecs.sender import Answer, Request
from ecsbatch.errors import ConfigError, ProgramRefused
from ecsbatch.model.outcome import RunStatus
from ecsbatch.model.ownership import Exposure
from ecsbatch.model.plan import Plan, Wave
from ecsbatch.model.run import Changes, Result
from ecsbatch.model.servers import Fleet, Server
from ecsbatch.model.state import RolloutState
from ecsbatch.restarter import Restarter
from ecsbatch.rollout.gates import CommandGate
from ecsbatch.rollout.hooks import A_CALLABLE, WITHOUT, GivenHooks, cannot_be_asked, hooks_of
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.sender import SimulatedSender


async def healthy(_: Server) -> bool:
    return True


async def go(_: RolloutState) -> Literal["go", "wait", "stop"]:
    return "go"


def planned(check: str = "", gate: str = "") -> Plan:
    return Plan(Fleet(["a"]), (Wave(1, 0, 1),), check=check, gate=gate)


@pytest.mark.parametrize(
    ("plan", "given", "check", "gate"),
    [
        (planned(), GivenHooks(), "NoneType", "NoneType"),
        (planned("tcp:22", "sh ok.sh"), GivenHooks(), "TcpCheck", "CommandGate"),
        (planned("tcp:22", "sh ok.sh"), GivenHooks(healthy, go), "function", "function"),
        (planned("tcp:22", "sh ok.sh"), GivenHooks(WITHOUT, WITHOUT), "NoneType", "NoneType"),
        (planned(A_CALLABLE, A_CALLABLE), GivenHooks(healthy, go), "function", "function"),
        (planned(A_CALLABLE, A_CALLABLE), GivenHooks(WITHOUT, WITHOUT), "NoneType", "NoneType"),
        (planned("", ""), GivenHooks(healthy, go), "function", "function"),
    ],
)
def test_a_callable_wins_over_words_and_without_over_both(plan: Plan, given: GivenHooks, check: str, gate: str) -> None:
    hooks = hooks_of(plan, given)

    assert (type(hooks.check).__name__, type(hooks.gate).__name__) == (check, gate)
    assert hooks.built is (hooks.check if check == "TcpCheck" else None)
    assert not isinstance(hooks.gate, CommandGate) or hooks.gate.command == "sh ok.sh"


@pytest.mark.parametrize(
    ("plan", "given", "says"),
    [
        (planned(A_CALLABLE), {}, "planned with a check of its own program"),
        (planned(gate=A_CALLABLE), {"check": healthy}, "gate=WITHOUT to go without"),
        (planned("tcp:99999"), {}, "check = 'tcp:99999'"),
        (planned(gate='"'), {}, "cannot be split"),
        (planned(), {"check": "tcp:22"}, r"words go into Strategy\(check=...\)"),
        (planned(), {"gate": "sh ok.sh"}, r"words go into Strategy\(gate=...\)"),
    ],
)
def test_what_cannot_be_asked_is_refused(plan: Plan, given: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        hooks_of(plan, GivenHooks(**given))


@pytest.mark.parametrize(
    ("command", "why"),
    [
        ("no-such-gate now", "there is no program no-such-gate in PATH: install it, or give its path"),
        ("{folder}/missing.sh", "there is no file {folder}/missing.sh: put it there, or give its path"),
        ("{folder}/plain.sh", "{folder}/plain.sh may not be executed: chmod +x it"),
        ("{folder}", "{folder} is a folder: name a program"),
        ("{folder}/ready.sh", ""),
        ("sh -c true", ""),
    ],
)
def test_a_command_that_cannot_be_started_is_refused_before_anything_is_stored(
    tmp_path: Path, command: str, why: str
) -> None:
    (tmp_path / "plain.sh").touch(mode=0o644)
    (tmp_path / "ready.sh").touch(mode=0o755)
    command, why = command.format(folder=tmp_path), why.format(folder=tmp_path)
    for plan in (planned(gate=command), planned(check=f" cmd:{command}")):
        if not why:
            hooks_of(plan, GivenHooks())
            continue
        with pytest.raises(ConfigError) as caught:
            hooks_of(plan, GivenHooks())
        assert str(caught.value).endswith(f" cannot be started: {why}. Nothing was sent.")
        assert hooks_of(plan, GivenHooks(WITHOUT, WITHOUT)).gate is None
    assert cannot_be_asked(planned("tcp:22", A_CALLABLE), GivenHooks()) == []


SHARED = Exposure("r.db may be written by its group", "`chmod go-w r.db`")


@pytest.mark.parametrize(
    ("plan", "name", "text"),
    [
        (planned("cmd:sh up {id}"), "check", "cmd:sh up {id}"),
        (planned(" cmd:true"), "check", " cmd:true"),
        (planned("url:http://monitor/{id}"), "check", "url:http://monitor/{id}"),
        (planned("tcp:22", "sh ok.sh"), "gate", "sh ok.sh"),
    ],
)
def test_a_program_that_others_may_have_planned_runs_only_by_its_own_text(plan: Plan, name: str, text: str) -> None:
    with pytest.raises(ProgramRefused) as caught:
        hooks_of(plan, GivenHooks(programs=Programs(allow_programs=["sh ok.sh --now", "cmd:sh up"])), "k7f", SHARED)
    allowed = hooks_of(plan, GivenHooks(programs=Programs(allow_programs=[text.strip(), text])), "k7f", SHARED)
    spoken = hooks_of(plan, GivenHooks().speaking_for(plan), "k7f", SHARED)

    says = str(caught.value)
    assert says.startswith(f"Run k7f names the {name} ")
    assert (
        "r.db may be written by its group (`chmod go-w r.db` makes it private, with what stands in it by then)" in says
    )
    assert f"give --{name} with the same text" in says
    assert getattr(allowed, name) is not None
    assert getattr(spoken, name) is not None


@pytest.mark.parametrize(
    ("plan", "given", "exposure"),
    [
        (planned("tcp:22"), GivenHooks(), SHARED),
        (planned("https:8443/health"), GivenHooks(), SHARED),
        (planned("cmd:true", "sh ok.sh"), GivenHooks(), None),
        (planned("cmd:true", "sh ok.sh"), GivenHooks(healthy, go), SHARED),
        (planned("cmd:true", "sh ok.sh"), GivenHooks(WITHOUT, WITHOUT), SHARED),
    ],
)
def test_what_runs_no_program_of_others_goes_on(plan: Plan, given: GivenHooks, exposure: Exposure | None) -> None:
    assert hooks_of(plan, given, "k7f", exposure)


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    """A check that writes down whom it was asked about, and a gate that says stop; returns who was."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "check.sh").write_text('echo "$1" >> asked\n', encoding="utf-8")
    (tmp_path / "gate.sh").write_text("echo errors at 3%\nexit 1\n", encoding="utf-8")
    return lambda: (tmp_path / "asked").read_text(encoding="utf-8").split()


@pytest.mark.real
async def test_words_of_a_strategy_are_asked(asked: Callable[[], list[str]]) -> None:
    """Real commands in real time: a library that passed over them would restart a fleet behind a sick canary."""
    config = CloudConfig(servers=3, latency=0.0, restart_median=0.1)
    cloud = SimulatedCloud(config, time.monotonic, time.time)
    async with (
        EcsClient(
            auth=KeyAuth(config.access_key, config.secret_key),
            project_id=config.project_id,
            endpoint="https://ecs.example.com",
            sender=SimulatedSender(cloud),
            api_rate=200,
        ) as ecs,
        Restarter(ecs, engine=Engine(typical_restart=1.0, linger=0.0)) as restarter,
    ):
        how = Strategy(waves="1,100%", check="cmd:sh check.sh {id}", min_ready=0.0, gate="sh gate.sh")
        rollout = restarter.rollout(cloud.ids(), how)
        result = await rollout.run()

    assert (result.status, result.reason, result.message) == (RunStatus.STOPPED, "gate", "errors at 3%")
    assert asked() == [rollout.plan.fleet.ids[0]]


class Misleading(SimulatedSender):
    """The cloud says that each server is where this machine's keys are given out."""

    async def __call__(self, request: Request, on_sent: Callable[[], None]) -> Answer:
        """Answer as the cloud does, with other addresses."""
        answer = await super().__call__(request, on_sent)
        return replace(answer, body=re.sub(rb'"10\.[0-9.]+"', b'"169.254.169.254"', answer.body))


def test_a_check_does_not_go_where_only_this_machine_may() -> None:
    world = World(servers=1)
    strategy = Strategy(check="http:80/openstack/latest/securitykey", max_failures_per_wave="100%")

    async def restart() -> list[str]:
        sender = Misleading(world.cloud)
        async with (
            world.store() as store,
            world.client(sender=sender) as client,
            world.engine(client, store) as restarter,
        ):
            rollout = restarter.rollout(world.ids, strategy)
            await rollout.run()
            return [outcome.message for outcome in rollout.state.outcomes()]

    for message in world.live(restart):
        assert "it is not asked: the cloud's address for it is 169.254.169.254, which is link-local" in message


def lives(world: World, first: Strategy, given: dict[str, Any], then: dict[str, Any], *, by_id: bool) -> Result:
    """Stop a run behind its first wave, and go on with it."""

    async def begin() -> None:
        async with world.restarter() as restarter:
            rollout = restarter.rollout(world.ids, first, run_id="nightly", **given)
            rollout.stop()
            await rollout.run()

    async def again() -> Result:
        async with world.restarter() as restarter:
            if by_id:
                return await restarter.rollout(world.ids, run_id="nightly", **then).run()
            return await (await restarter.resume("nightly", **then)).run()

    world.live(begin)
    return world.live(again)


@pytest.mark.parametrize("by_id", [False, True])
@pytest.mark.parametrize("missing", ["check", "gate"])
def test_a_resume_without_what_the_record_needs_is_refused_and_takes_nothing(missing: str, *, by_id: bool) -> None:
    world = World(servers=3)
    hook = {"check": healthy, "gate": go}[missing]
    with pytest.raises(ConfigError, match=f"Run nightly was planned with a {missing} of its own"):
        lives(world, Strategy(), {missing: hook}, {}, by_id=by_id)

    async def events() -> list[str]:
        async with world.store() as store:
            return [recorded.event.name for recorded in await store.events("nightly", 0)]

    assert "run.resumed" not in world.live(events)


@pytest.mark.parametrize("by_id", [False, True])
def test_a_resume_goes_on_with_it_or_is_told_to_go_without(*, by_id: bool) -> None:
    asked: list[str] = []

    async def noted(server: Server) -> bool:
        asked.append(server.id)
        return True

    given = lives(World(servers=3), Strategy(min_ready=0.0), {"check": healthy}, {"check": noted}, by_id=by_id)
    without = lives(World(servers=3), Strategy(min_ready=0.0), {"check": healthy}, {"check": WITHOUT}, by_id=by_id)

    assert (given.status, without.status) == (RunStatus.SUCCEEDED, RunStatus.SUCCEEDED)
    assert len(set(asked)) == 3


def test_without_beats_the_strategy_of_a_new_run_and_a_callable_is_in_its_record() -> None:
    world = World(servers=1)

    async def plans() -> list[Plan]:
        async with world.restarter() as restarter:
            strategy = Strategy(check="tcp:22", gate="sh ok.sh")
            given: list[dict[str, Any]] = [{}, {"check": WITHOUT, "gate": WITHOUT}, {"check": healthy, "gate": go}]
            return [restarter.rollout(world.ids, strategy, **each).plan for each in given]

    told = [(plan.check, plan.gate, plan.min_ready) for plan in world.live(plans)]

    assert told == [("tcp:22", "sh ok.sh", 10.0), ("", "", 0.0), (A_CALLABLE, A_CALLABLE, 10.0)]


def test_a_run_that_is_over_needs_nobody_to_be_asked() -> None:
    world = World(servers=2)

    async def first() -> Result:
        async with world.restarter() as restarter:
            return await restarter.rollout(world.ids, check=healthy, run_id="nightly").run()

    async def again() -> tuple[Result, Result]:
        async with world.restarter() as restarter:
            resumed = await (await restarter.resume("nightly")).run()
            return resumed, await restarter.rollout(world.ids, run_id="nightly").run()

    done = world.live(first)
    assert world.live(again) == (done, done)

    async def retry() -> None:
        async with world.restarter() as restarter:
            await restarter.resume("nightly", changes=Changes(retry=["failed"]))

    with pytest.raises(ConfigError, match="planned with a check"):
        world.live(retry)
