"""Stored files of version 0.1.0 (commit b9c137e; `before/README.md` says how they were made), read and gone on with."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections import Counter
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from ecsbatch.cli.app import main
from ecsbatch.ecs.auth.schemes import KeyAuth
from ecsbatch.ecs.client import EcsClient
from ecsbatch.model import events as ev
from ecsbatch.model.outcome import OutcomeKind, RunStatus
from ecsbatch.model.run import Changes, Result
from ecsbatch.planning.drift import find_drift
from ecsbatch.planning.plan_file import read_plan
from ecsbatch.restarter import Restarter
from ecsbatch.simulator.cloud import CloudConfig, SimulatedCloud
from ecsbatch.simulator.fleet import SimulatedFleet
from ecsbatch.simulator.sender import SimulatedSender
from ecsbatch.simulator.virtual_time import VirtualClock, VirtualLoop, run
from ecsbatch.store import open_store

BEFORE: Final = Path(__file__).parent / "before"
OUTPUTS: Final[Mapping[str, Mapping[str, Any]]] = {
    each["command"]: each for each in json.loads((BEFORE / "outputs.json").read_text())
}
SERVERS: Final[Mapping[str, Mapping[str, str]]] = json.loads((BEFORE / "cloud.json").read_text())
"""Every server as the cloud showed it in the end, in the order of their creation."""

RUNS: Final = ("finished", "interrupted", "stopped", "paused")

T = TypeVar("T")


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a copy, which the command line takes, too, and nothing else from the environment."""
    for name in [name for name in os.environ if name.startswith(("ECSBATCH", "HUAWEICLOUD"))]:
        monkeypatch.delenv(name)
    shutil.copy(BEFORE / "store.sqlite", tmp_path / "store.sqlite")
    url = f"sqlite:///{tmp_path / 'store.sqlite'}"
    monkeypatch.setenv("ECSBATCH_STORE", url)
    return url


# -- reading -----------------------------------------------------------------------------------------------------------

PLAN: Final = str(BEFORE / "night.plan")
SITE: Final[Mapping[str, str]] = json.loads(Path(PLAN).read_text())["site"]
OLD_GROUP: Final = f"{SITE['endpoint']}/{SITE['project_id']}"
"""How a quota was named; it is named by the project alone since, for a project has one by whatever name it is met."""


def texts() -> list[str]:
    return [command for command in OUTPUTS if not command.endswith("json")]


def objects() -> list[str]:
    return [command for command, said in OUTPUTS.items() if command.endswith("json") and said["code"] == 0]


def words(lines: list[str]) -> list[str]:
    """Return the words of a text, wherever its lines were broken, without servers' names: they are told since.

    So are, by an audit, those on their way, and it has the words of all other screens.
    """
    text = " ".join(lines).replace(OLD_GROUP, SITE["project_id"])
    text = re.sub(r",name\b|,?\bserver-\d{6}\b|, \d+ on their way", "", text)
    return re.sub(r"(?<=\d not)_(?=started)|(?<=\d timed)_(?=out)", " ", text).split()


def of_columns_before(out: list[str], before: list[str]) -> list[str]:
    """Leave out the columns that a table has got since; columns are added behind the others and never renamed."""
    if not before or not before[0].startswith("id,"):
        return out
    width = len(before[0].split(","))
    return [",".join(line.split(",")[:width]) for line in out]


NO_CHAIN: Final = (
    "The record has no chain of hashes, so an edit of it may not be found: a version from before there were any wrote "
    "it, or somebody has taken them away."
)


def without_its_note(told: list[str]) -> list[str]:
    """Leave out what an audit says of these runs since: that they have no chain."""
    return " ".join(told).replace(f"note {NO_CHAIN}", "").split()


def without_its_span(lines: list[str]) -> list[str]:
    """Leave out the line by which an orphaned run told how long it took: it tells how long ago it was begun now.

    So too what leads on from a run: more commands are named now.
    """
    text = "\n".join(line for line in lines if not line.startswith("Run paused orphaned"))
    return re.sub(r"^Next:\n(.+\n?)*", "", text, flags=re.MULTILINE).splitlines()


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", texts())
def test_what_is_printed_for_people_says_the_same(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = OUTPUTS[command]

    code, printed = main(command.split()), capsys.readouterr()

    assert code == before["code"]
    out = of_columns_before(printed.out.splitlines(), before["out"])
    assert without_its_note(words(without_its_span(out))) == words(without_its_span(before["out"]))
    assert printed.err.splitlines() == before["err"]


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("command", objects())
def test_what_is_printed_for_programs_has_every_field_that_it_had(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = json.loads("".join(OUTPUTS[command]["out"]).replace(OLD_GROUP, SITE["project_id"]))
    if command == "status paused -o json":
        del before["elapsed_s"]  # of an orphaned run it is the time until now

    assert main(command.split()) == 0
    now = json.loads(capsys.readouterr().out)
    if command.startswith("audit"):
        before["notes"].append(NO_CHAIN)
    assert of_before(now, before) == before


def of_before(now: Any, before: Any) -> Any:
    """Leave out the fields that an object has got since; fields are added and never renamed."""
    if isinstance(before, dict) and isinstance(now, dict):
        return {name: of_before(value, before[name]) for name, value in now.items() if name in before}
    if isinstance(before, list) and isinstance(now, list) and len(before) == len(now):
        return [of_before(*pair) for pair in zip(now, before, strict=True)]
    return now


# -- going on ----------------------------------------------------------------------------------------------------------


def seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


LATER: Final = 3600.0
"""Seconds after the start of the simulated cloud, when all that is on record is over and this version begins."""


class Machine:
    """This version, beside the cloud that the old one has restarted servers of: an hour later, in virtual time."""

    def __init__(self, store: str, *, lost: bool = False) -> None:
        """Let the cloud be as it was left; ``lost``: as it was before, as if it had carried nothing out."""
        self._store = store
        self._loop = VirtualLoop(start=LATER, max_time=LATER + 86_400.0)
        config = CloudConfig(seed=7, servers=len(SERVERS), shutoff=3, locked=1)
        self.cloud = SimulatedCloud(replace(config, epoch=self._start(config)), self._loop.time)
        self.clock = VirtualClock(self._loop, epoch=self.cloud.config.epoch)
        for server, view in SERVERS.items() if not lost else ():
            self._restore(server, view["status"], seconds(view["updated"]) - self.cloud.config.epoch)

    @staticmethod
    def _start(config: CloudConfig) -> float:
        """Return when the old version's cloud was started, which its servers' creation tells."""
        fleet = SimulatedFleet(config)
        created = {server: fleet.created(number) for server, number in fleet.numbers.items()}
        return next(
            seconds(v["updated"]) - created[server] for server, v in SERVERS.items() if v["status"] == "SHUTOFF"
        )

    def _restore(self, server: str, status: str, updated: float) -> None:
        """Have the cloud have restarted a server, where it has."""
        fleet = self.cloud.fleet
        number = fleet.numbers[server]
        if updated > fleet.created(number):
            fleet.begin(number, "SOFT", "error" if status == "ERROR" else "ok", updated - 1.0, updated)

    def live(self, main: Callable[[Restarter, EcsClient], Awaitable[T]]) -> T:
        """Run this version."""

        async def life() -> T:
            async with self._engine() as (restarter, client):
                return await main(restarter, client)

        return run(life(), loop=self._loop)

    @asynccontextmanager
    async def _engine(self) -> AsyncGenerator[tuple[Restarter, EcsClient]]:
        config = self.cloud.config
        client = EcsClient(
            auth=KeyAuth(config.access_key, config.secret_key),
            project_id=config.project_id,
            endpoint="https://ecs.example.com",
            sender=SimulatedSender(self.cloud),
            clock=self.clock,
        )
        async with (
            client,
            open_store(self._store, inline=True, clock=self.clock) as store,
            Restarter(client, store, clock=self.clock, seed=1, name="eve@desk") as restarter,
        ):
            yield restarter, client

    def restarts(self, servers: Iterable[str]) -> Counter[int]:
        """Count servers by how often this cloud has restarted them."""
        return Counter(self.cloud.truth(server).restarts for server in servers)


def outcomes(run_id: str) -> Mapping[str, list[str]]:
    """Return the servers of a run by what the old version has reported of them."""
    rows = json.loads("".join(OUTPUTS[f"report {run_id} -o json"]["out"]))["servers"]
    return {
        kind: [row["id"] for row in rows if row["outcome"] == kind] for kind in (each.value for each in OutcomeKind)
    }


@pytest.mark.parametrize(
    ("run_id", "changes", "status", "counts"),
    [
        ("interrupted", Changes(), "succeeded", {"restarted": 18, "skipped": 2}),
        ("paused", Changes(), "succeeded", {"restarted": 5, "skipped": 1}),
        # Of three failed servers the cloud has left two in ERROR: they are not restarted again, and stay failed.
        ("stopped", Changes(retry=["failed"], forgive=True), "failed", {"restarted": 7, "failed": 2}),
        ("finished", Changes(retry=["failed"]), "succeeded", {"restarted": 21, "skipped": 1}),
    ],
)
def test_a_run_goes_on_to_its_end_and_restarts_nobody_again(
    store: str, run_id: str, changes: Changes, status: str, counts: dict[str, int], capsys: pytest.CaptureFixture[str]
) -> None:
    machine, before = Machine(store), outcomes(run_id)
    once = [*before["restarted"], *before["unknown"], *before["not_started"]]

    async def resume(restarter: Restarter, _: EcsClient) -> Result:
        return await (await restarter.resume(run_id, changes=changes)).run()

    result = machine.live(resume)

    assert (result.status, {k: n for k, n in result.counts.items() if n}) == (status, counts)
    assert machine.restarts(once) == Counter({1: len(once)})
    assert machine.restarts(before["skipped"]) == Counter({0: len(before["skipped"])})
    assert main(["audit", run_id]) == 0
    assert "no promise is broken" in capsys.readouterr().out


def test_whose_accepted_restart_has_left_no_trace_is_unknown_and_not_sent_again(store: str) -> None:
    """A cloud that has lost all that it did for the old version: what it had said is not undone by that."""
    machine, before = Machine(store, lost=True), outcomes("interrupted")

    async def resume(restarter: Restarter, _: EcsClient) -> Result:
        return await (await restarter.resume("interrupted")).run()

    result = machine.live(resume)

    assert (result.status, result.counts[OutcomeKind.UNKNOWN]) == (RunStatus.FAILED, len(before["unknown"]))
    assert machine.restarts([*before["restarted"], *before["unknown"]]) == {0: 11}
    assert machine.restarts(before["not_started"]) == {1: 7}


def test_single_restarts_of_before_hold_nobody_up(store: str) -> None:
    """Those servers can be restarted again: somebody asks for it."""
    machine = Machine(store)
    free = [server for server in SERVERS if not any(server in ids for run in RUNS for ids in outcomes(run).values())]

    async def restart(restarter: Restarter, _: EcsClient) -> set[OutcomeKind]:
        return {outcome.kind for outcome in await asyncio.gather(*map(restarter.restart, free))}

    assert (len(free), machine.live(restart)) == (3, {OutcomeKind.RESTARTED})


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_a_kept_plan_has_its_numbers_and_its_servers() -> None:
    kept = read_plan(PLAN)
    plan = kept.plan

    assert (kept.made_by, len(kept.views), plan.to_restart) == ("0.1.0", 60, 56)
    assert [(wave.label, len(wave)) for wave in plan.waves] == [
        ("1", 1),
        ("10%", 5),
        ("az1", 18),
        ("az2", 16),
        ("az3", 16),
    ]
    assert (plan.type, plan.soak, plan.hold_after, plan.max_unavailable) == ("HARD", 60.0, (1,), 11)
    assert [(skip.reason, len(skip)) for skip in plan.skips] == [("not_active", 3), ("locked", 1)]


def test_a_kept_plan_is_rehearsed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["rehearse", PLAN, "-o", "json"]) == 0

    run = json.loads(capsys.readouterr().out)
    assert (run["status"], run["restarted"], run["skipped"]) == ("succeeded", 56, 4)


def test_a_kept_plan_is_carried_out_where_nothing_has_drifted(tmp_path: Path) -> None:
    kept = read_plan(PLAN)
    machine = Machine(f"sqlite:///{tmp_path / 'new.sqlite'}", lost=True)

    async def apply(restarter: Restarter, client: EcsClient) -> Result:
        look = await client.look(kept.plan.fleet.ids)
        assert find_drift(kept.plan, kept.views, look.servers) == []
        rollout = restarter.rollout(kept.plan)
        async with asyncio.TaskGroup() as group:
            running = group.create_task(rollout.run())
            async for recorded in rollout.events():
                if isinstance(recorded.event, ev.GateChecked):
                    rollout.promote("ann@desk")
                    break
        return running.result()

    result = machine.live(apply)

    assert (result.status, result.counts[OutcomeKind.RESTARTED]) == (RunStatus.SUCCEEDED, 56)
    assert machine.restarts(SERVERS) == {1: 56, 0: 4}
